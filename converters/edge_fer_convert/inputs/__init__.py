"""Whatever the user has, as one kind of float ``.tflite``, and what is known about it."""
