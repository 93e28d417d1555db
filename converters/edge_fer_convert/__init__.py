"""Makes int8 ``.tflite`` models of Keras classifiers, and shows what that cost."""
