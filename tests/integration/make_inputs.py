"""Makes one small model of each form that is converted, and what it answers, as ``NAME.npz``.

Runs in a process of its own, once with ``keras`` and once with ``tf_keras``: a process has one of
the two. ``command-keras`` and ``command-tf_keras`` make models together with labelled pictures, for
the whole command; ``vgg16`` makes a large one.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROWS = 6
GRAY = (24, 24, 1)


def pictures(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(5).random((ROWS, *shape), np.float32)


def shaken(model: Any) -> Any:
    """Random weights everywhere, batch norm's statistics too, so that nothing cancels out."""
    rng = np.random.default_rng(11)
    model.set_weights(
        [
            (rng.uniform(0.5, 1.5, w.shape) if w.ndim == 1 else w + rng.normal(0, 0.02, w.shape))
            for w in model.get_weights()
        ]
    )
    return model


def remember(folder: Path, name: str, model: Any, shape: tuple[int, ...], white: float = 1) -> None:
    given = pictures(shape) * np.float32(white)
    np.savez(folder / f"{name}.npz", given=given, answer=np.asarray(model(given, training=False)))


def sequential(
    keras: Any, *, classes: int = 7, activation: str | None = "softmax", hidden: str = "elu"
) -> Any:
    """As introductory articles build it: blocks of convolutions, flatten, dense, dropout."""
    layers = keras.layers
    return shaken(
        keras.Sequential(
            [
                layers.Input((24, 24, 1)),
                layers.Conv2D(8, 3, padding="same", activation="relu"),
                layers.BatchNormalization(),
                layers.MaxPooling2D(2),
                layers.Conv2D(8, 3, activation=hidden),
                layers.MaxPooling2D(2),
                layers.Dropout(0.3),
                layers.Flatten(),
                layers.Dense(16, activation="relu"),
                layers.Dense(classes, activation=activation),
            ]
        )
    )


def separable(keras: Any) -> Any:
    """Its depthwise layers say ``groups`` in Keras 2, a word that Keras 3 refuses."""
    layers = keras.layers
    inputs = keras.Input((20, 20, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1)(inputs)
    x = layers.Conv2D(8, 3, strides=2, use_bias=False)(x)
    x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
    x = layers.DepthwiseConv2D(3, padding="same")(x)
    x = layers.Add()([x, layers.Conv2D(8, 1)(x)])
    x = layers.GlobalAveragePooling2D()(x)
    return shaken(keras.Model(inputs, layers.Dense(7)(x)))


def subclassed(keras: Any, tf: Any) -> Any:
    """Python code decides what happens, so that only its traced graph can be carried away."""

    class Net(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = keras.layers.Conv2D(6, 3, activation="relu")
            self.dense = keras.layers.Dense(7)

        def call(self, x: Any, training: bool = False) -> Any:
            x = self.convolution(x)
            x = tf.reshape(x, (tf.shape(x)[0], -1))
            return self.dense(x) * (2.0 if training else 0.5)

    return Net()


def mobilenet(keras: Any, **more: Any) -> Any:
    """RGB 96x96. Untrained, fifty layers let nothing of a picture through: larger kernels do."""
    model = keras.applications.MobileNetV2((96, 96, 3), alpha=0.35, weights=None, classes=7, **more)
    rng = np.random.default_rng(11)
    model.set_weights(
        [3 * w if w.ndim > 1 else w + rng.uniform(0, 0.3, w.shape) for w in model.get_weights()]
    )
    return model


def with_keras_3(folder: Path) -> None:
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(1)
    gray = GRAY
    model = sequential(keras)
    remember(folder, "keras3", model, gray)
    model.save(folder / "keras3.h5")
    model.save_weights(folder / "only.weights.h5")

    converter = tf.lite.TFLiteConverter.from_keras_model(model)  # its batch is free
    (folder / "free-batch.tflite").write_bytes(converter.convert())
    remember(folder, "free-batch", model, gray)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    (folder / "float16.tflite").write_bytes(converter.convert())
    remember(folder, "float16", model, gray)

    net = subclassed(keras, tf)
    net(pictures(gray))
    remember(folder, "subclassed", net, gray)
    net.export(
        folder / "subclassed",
        input_signature=[keras.InputSpec(shape=(None, *gray), dtype="float32")],
        verbose=False,
    )

    shape = (96, 96, 3)
    mobile = mobilenet(keras)
    remember(folder, "mobilenet", mobile, shape)
    mobile.save(folder / "mobilenet.keras")

    binary = sequential(keras, classes=1, activation="sigmoid")
    remember(folder, "binary", binary, gray)
    binary.save(folder / "binary.keras")
    sequential(keras, classes=1, activation=None).save(folder / "regression.keras")
    refused(folder, keras, tf)


def refused(folder: Path, keras: Any, tf: Any) -> None:
    """Models that are no classifiers of single pictures."""
    layers = keras.layers
    sequence = keras.Input((4, 24, 24, 1))
    pooled = layers.GlobalAveragePooling3D()(layers.Conv3D(4, 3)(sequence))
    keras.Model(sequence, layers.Dense(7)(pooled)).save(folder / "sequence.keras")
    free = keras.Input((None, None, 1))
    pooled = layers.GlobalAveragePooling2D()(layers.Conv2D(4, 3)(free))
    keras.Model(free, layers.Dense(7)(pooled)).save(folder / "any-size.keras")
    net = subclassed(keras, tf)
    net(pictures(GRAY))
    net.save(folder / "subclassed.keras")

    class Doubled(layers.Layer):
        def call(self, x: Any) -> Any:
            return x * 2

    picture = keras.Input(GRAY)
    flat = layers.Flatten()(Doubled()(picture))
    keras.Model(picture, layers.Dense(7)(flat)).save(folder / "custom.keras")
    model = sequential(keras)
    model.layers[0].set_weights([np.full_like(w, np.nan) for w in model.layers[0].get_weights()])
    model.save(folder / "nan.keras")

    class Signed(tf.Module):
        def __init__(self, *specs: Any, answers: int = 1) -> None:
            super().__init__()
            self.weight = tf.Variable(tf.ones((1, 7)))
            self.answers = answers
            self.serve = tf.function(self._serve, input_signature=specs)

        def _serve(self, *given: Any) -> dict[str, Any]:
            if given[0].dtype == tf.string:
                given = (tf.strings.to_number(given[0])[:, None, None, None],)
            total = tf.add_n([tf.reduce_mean(g, axis=(1, 2)) for g in given])
            return {f"out{i}": total @ self.weight for i in range(self.answers)}

    def write(name: str, module: Any, key: str = "serving_default") -> None:
        tf.saved_model.save(module, str(folder / name), signatures={key: module.serve})

    picture = tf.TensorSpec((None, 8, 8, 1), tf.float32)
    write("two-inputs", Signed(picture, tf.TensorSpec((None, 8, 8, 1), tf.float32)))
    write("two-outputs", Signed(picture, answers=2))
    write("text", Signed(tf.TensorSpec((None,), tf.string)))
    write("any-size", Signed(tf.TensorSpec((None, None, None, 1), tf.float32)))
    write("other-signature", Signed(picture), key="predict")


def with_keras_2(folder: Path) -> None:
    keras = import_module("tf_keras")
    keras.utils.set_random_seed(1)
    model = separable(keras)
    remember(folder, "keras2", model, (20, 20, 3), white=255)
    model.save(folder / "keras2.h5")
    plain = sequential(keras)
    remember(folder, "keras2-plain", plain, (24, 24, 1))
    plain.save(folder / "keras2-plain.hdf5")


def smooth(count: int, shape: tuple[int, ...]) -> np.ndarray:
    """Smooth random pictures with some noise, ``uint8[count, height, width, channels]``."""
    rng = np.random.default_rng(7)
    height, width, channels = shape
    coarse = rng.integers(0, 256, (count, 4, 4, channels)).astype(np.float32)
    large = [cv2.resize(c, (width, height), interpolation=cv2.INTER_CUBIC) for c in coarse]
    noisy = np.reshape(large, (count, *shape)) + rng.normal(0, 8, (count, *shape))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def told_apart(
    model: Any, head: Any, given: np.ndarray, *, white: float = 1, factor: float = 1
) -> np.ndarray:
    """Make the classes of a random net about equally likely, and give what it then says.

    Args:
        model: it ends in logits.
        head: its last dense layer.
        given: ``uint8[N, height, width, channels]`` pictures.
        white: what 255 is to the model.
        factor: that the head's output is multiplied by.
    """

    def logits() -> np.ndarray:
        parts = [g * np.float32(white / 255) for g in np.array_split(given, -(-len(given) // 32))]
        return np.concatenate([np.asarray(model(p, training=False)) for p in parts])

    raw = logits()
    kernel, bias = head.get_weights()
    gain = 3 / raw.std(axis=0)
    head.set_weights([kernel * gain, (bias - raw.mean(axis=0) / factor) * gain])
    return logits()


def label(
    folder: Path, name: str, model: Any, shape: tuple[int, ...], rows: int, **more: Any
) -> None:
    """Pictures in two splits as ``NAME.data.npz``; the truth is what the model says."""
    given = smooth(rows, shape)
    head = more.pop("head", None) or model.layers[-1]
    truth = told_apart(model, head, given, **more).argmax(axis=1)
    np.savez(
        folder / f"{name}.data.npz",
        images=given if shape[2] == 3 else given[..., 0],
        emotion=truth,
        usage=np.where(np.arange(rows) < 0.6 * rows, "Training", "PublicTest"),
    )


def class_folders(folder: Path, keras: Any, model: Any, shape: tuple[int, ...], rows: int) -> None:
    """``train/happy``, ``train/sad``, ``test/...`` by what a model of one logit says.

    It is made to end in a sigmoid, which is how likely the second class is.
    """
    given = smooth(rows, shape)
    sad = told_apart(model, model.layers[-1], given)[:, 0] > 0
    model.layers[-1].activation = keras.activations.sigmoid
    for number, (picture, is_sad) in enumerate(zip(given, sad, strict=True)):
        split = "train" if number < 0.6 * rows else "test"
        place = folder / split / ("sad" if is_sad else "happy")
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"{number}.png"), picture[..., ::-1])


def for_the_command(folder: Path) -> None:
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(1)
    model = sequential(keras, activation=None, hidden="relu")
    label(folder, "gray", model, GRAY, 400)
    converter = tf.lite.TFLiteConverter.from_keras_model(model)  # its batch is free
    (folder / "gray.tflite").write_bytes(converter.convert())
    model.save(folder / "gray.h5")

    net = subclassed(keras, tf)
    net(pictures(GRAY))
    label(folder, "saved", net, GRAY, 240, head=net.dense, factor=0.5)
    signature = [keras.InputSpec(shape=(None, *GRAY), dtype="float32")]
    net.export(folder / "saved", input_signature=signature, verbose=False)

    mobile = mobilenet(keras, classifier_activation=None)
    label(folder, "mobilenet", mobile, (96, 96, 3), 200)
    mobile.save(folder / "mobilenet.keras")

    binary = sequential(keras, classes=1, activation=None, hidden="relu")
    class_folders(folder / "faces", keras, binary, GRAY, 90)
    binary.save(folder / "binary.keras")
    refused(folder, keras, tf)


def for_the_command_with_keras_2(folder: Path) -> None:
    keras = import_module("tf_keras")
    keras.utils.set_random_seed(1)
    model = separable(keras)
    label(folder, "keras2", model, (20, 20, 3), 240, white=255)
    model.save(folder / "keras2.h5")


def vgg16(folder: Path) -> None:
    """The transfer network of introductory articles: 14.7 million weights and a binary head."""
    import keras

    keras.utils.set_random_seed(1)
    shape = (48, 48, 3)
    base = keras.applications.VGG16(weights=None, include_top=False, input_shape=shape)
    pooled = keras.layers.GlobalAveragePooling2D()(base.output)
    model = keras.Model(base.input, keras.layers.Dense(1)(pooled))
    class_folders(folder / "faces", keras, model, shape, 60)
    model.save(folder / "vgg16.keras")


MAKERS = {
    "keras": with_keras_3,
    "tf_keras": with_keras_2,
    "command-keras": for_the_command,
    "command-tf_keras": for_the_command_with_keras_2,
    "vgg16": vgg16,
}

if __name__ == "__main__":
    MAKERS[sys.argv[1]](Path(sys.argv[2]))
