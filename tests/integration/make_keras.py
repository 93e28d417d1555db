"""Makes small Keras models and data for the conversion tests; runs in a process of its own."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from edge_fer.contract import (
    InputSpec,
    Licence,
    ModelContract,
    OutputSpec,
    QualityRange,
    QualityRanges,
)
from edge_fer.evaluation.labels import FER2013_7
from edge_fer_train.record import keras_bytes

SIDE = 16


def pictures(count: int, side: int, channels: int) -> np.ndarray:
    """Smooth random pictures, ``uint8[count, side, side, channels]``."""
    rng = np.random.default_rng(7)
    coarse = rng.integers(0, 256, (count, 4, 4, channels)).astype(np.float32)
    smooth = tf.image.resize(coarse, (side, side), method="bicubic").numpy()
    return np.clip(smooth + rng.normal(0, 8, smooth.shape), 0, 255).astype(np.uint8)


def classifier(images: np.ndarray, offset: float) -> Any:
    """A random residual net with classes about equally likely; ``offset`` is on every logit."""
    keras.utils.set_random_seed(3)
    inputs = layers.Input((SIDE, SIDE, 1))
    x = layers.Conv2D(8, 3, strides=2, padding="same", use_bias=False)(inputs)
    x = layers.ReLU(max_value=6.0)(layers.BatchNormalization()(x))
    y = layers.DepthwiseConv2D(3, padding="same", activation="relu")(x)
    y = layers.Conv2D(8, 1)(y)
    x = layers.ReLU()(layers.Add()([x, y]))
    x = layers.MaxPooling2D(2)(x)
    x = layers.GlobalAveragePooling2D()(x)
    head = layers.Dense(len(FER2013_7))
    model = keras.Model(inputs, head(x))
    raw = model.predict(images / np.float32(255), verbose=0)
    kernel, _ = head.get_weights()
    spread = raw.std(axis=0)
    head.set_weights([3 * kernel / spread, offset - 3 * raw.mean(axis=0) / spread])
    return model


def contract() -> ModelContract:
    spec = InputSpec(
        height=SIDE, width=SIDE, channels=1, colour="gray", scale=(1 / 255,), offset=(0.0,)
    )
    measure = QualityRange(p1=1.0, p50=2.0, p99=3.0)
    return ModelContract(
        labels=FER2013_7,
        label_scheme="fer2013-7",
        input=spec,
        output=OutputSpec(kind="logits", temperature=1.5, unknown={"min_probability": 0.25}),
        quality=QualityRanges(
            n=9, brightness=measure, contrast=measure, sharpness=measure, noise=measure
        ),
        licence=Licence(code="Apache-2.0", weights="Apache-2.0"),
        provenance={"arch": "tiny"},
    )


def tflite_int8(model: Any, images: np.ndarray) -> bytes:
    """The second opinion: TensorFlow's own int8 converter."""
    fixed = keras.Input(batch_shape=(1, SIDE, SIDE, 1))
    converter = tf.lite.TFLiteConverter.from_keras_model(keras.Model(fixed, model(fixed)))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [images[i : i + 1] / np.float32(255)] for i in range(64)
    )
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return bytes(converter.convert())


def main(folder: Path) -> None:
    images = pictures(700, SIDE, 1)
    sound = classifier(images, offset=0.0)
    (folder / "tiny.keras").write_bytes(keras_bytes(sound, contract()))
    (folder / "tiny.tensorflow.tflite").write_bytes(tflite_int8(sound, images))
    # One step of its int8 output is larger than what its logits differ by.
    fragile = classifier(images, offset=400.0)
    (folder / "fragile.keras").write_bytes(keras_bytes(fragile, contract()))
    truth = sound.predict(images / np.float32(255), verbose=0).argmax(axis=1)
    np.savez(
        folder / "data.npz",
        images=images[..., 0],
        emotion=truth,
        usage=np.array(["Training"] * 400 + ["PublicTest"] * 300),
    )

    keras.Sequential(
        [
            layers.Input((20, 20, 3)),
            layers.Conv2D(6, 3, activation="relu"),
            layers.MaxPooling2D(3),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ]
    ).save(folder / "foreign.keras")
    keras.Sequential([layers.Input((20, 20, 1)), layers.Flatten(), layers.Dense(1)]).save(
        folder / "regression.keras"
    )
    a, b = layers.Input((8,)), layers.Input((8,))
    keras.Model([a, b], layers.Dense(7)(layers.Concatenate()([a, b]))).save(
        folder / "two-inputs.keras"
    )


main(Path(sys.argv[1]))
