"""A Keras detector to a float ``.tflite`` with all of its outputs, at the input size wanted.

As in :mod:`~edge_fer_convert.inputs.export`, TensorFlow runs in a process of its own. One set of
weights serves several input sizes: a fully convolutional net is built again for the size and given
its weights.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edge_fer.errors import ModelError
from edge_fer_convert.inputs.accepted import check_picture
from edge_fer_convert.inputs.export import load_keras
from edge_fer_convert.inputs.tensorflow_child import no_operators, run_child, work_as_child

__all__ = ["export_heads"]

_ITS_OWN = "0x0"


def export_heads(
    path: Path,
    size: tuple[int, int] | None,
    where_open: tuple[int, int],
    *,
    on_log: Callable[[str], None] = lambda line: None,
) -> tuple[bytes, dict[str, str]]:
    """Make a float ``.tflite`` of a ``.keras`` detector.

    Args:
        path: the file.
        size: width and height of the input; None: its own.
        where_open: width and height for a net that is open in both and was given no size.
        on_log: told of each line that TensorFlow wrote.

    Returns:
        The flatbuffer, outputs named in their order, and the versions of what made it.

    Raises:
        ModelError: Keras cannot load it, it cannot be built for the size, or TFLite cannot express
            it.
        MissingExtra: TensorFlow is not installed.
    """
    words = [_ITS_OWN if s is None else f"{s[0]}x{s[1]}" for s in (size, where_open)]
    return run_child(__name__, words, path, on_log=on_log)


def _main(size: str, where_open: str, model: Path, folder: Path) -> int:
    def work(library: Any, tf: Any) -> tuple[bytes, bool]:
        loaded = load_keras(library, model, folder, "keras")
        shape = _input(loaded, model)
        wanted = where_open if size == _ITS_OWN and None in shape[1:3] else size
        if wanted != _ITS_OWN:
            width, height = (int(n) for n in wanted.split("x"))
            loaded = _built_for(loaded, (height, width), model)
            shape = (None, height, width, shape[3])
        check_picture(shape, str(model))
        try:
            picture = library.Input(shape=shape[1:], batch_size=1, name="picture", dtype="float32")
            fixed = library.Model(picture, loaded(picture, training=False), name="detector")
            return bytes(tf.lite.TFLiteConverter.from_keras_model(fixed).convert()), True
        except Exception as err:  # the converter raises whatever MLIR said
            raise no_operators(model, err) from err

    return work_as_child("keras", folder, work)


def _input(loaded: Any, model: Path) -> tuple[int | None, ...]:
    """The shape of the one picture, the batch first."""
    try:
        shapes = [tuple(given.shape) for given in loaded.inputs]
    except (AttributeError, TypeError, ValueError) as err:
        raise ModelError(
            f"{model} has no fixed input: it was saved before it saw data.",
            "Give its first layer a shape, keras.Input((192, 256, 1)), and save it again.",
        ) from err
    if len(shapes) != 1 or len(shapes[0]) != 4:
        raise ModelError(
            f"{model} takes {', '.join(map(str, shapes))}, which is not one picture.",
            "A detector takes [N, height, width, 1 or 3].",
        )
    return shapes[0]


def _built_for(loaded: Any, size: tuple[int, int], model: Path) -> Any:
    """The same layers and weights for another height and width."""
    config = loaded.get_config()
    for layer in config.get("layers", ()):
        if layer["class_name"] == "InputLayer":
            batch, _, _, channels = layer["config"]["batch_shape"]
            layer["config"]["batch_shape"] = (batch, *size, channels)
    try:
        built = type(loaded).from_config(config)
        built.set_weights(loaded.get_weights())
    except Exception as err:  # Keras raises whatever its layers raise
        raise ModelError(
            f"{model} cannot be built for pictures of {size[1]}x{size[0]}.",
            "Only a fully convolutional net serves several sizes, and only multiples of its "
            "largest stride, for example --input-size 256x192; -v shows what Keras said.",
        ) from err
    return built


if __name__ == "__main__":
    size, where_open, model, folder = sys.argv[1:]
    sys.exit(_main(size, where_open, Path(model), Path(folder)))
