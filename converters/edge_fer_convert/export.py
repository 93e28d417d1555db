"""Keras to a float ``.tflite``: the only module that imports TensorFlow.

:func:`export` starts ``python -m edge_fer_convert.export`` and takes the result, so that
TensorFlow's memory, its messages and its leaks end with that process. What it leaves is a graph
with batch 1 and a static shape; everything after works on that file.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from edge_fer import errors
from edge_fer.errors import EdgeFerError, MissingExtra, ModelError

__all__ = ["Exported", "export", "require_extra"]

_INSTALL = "Install it with: pip install 'edge-fer[convert]'"
_CLASSIFIER = "edge-fer converts classifiers: one picture in, one score per class out."
_LAST_LINES = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A float model that is out of Keras.

    Attributes:
        flatbuffer: the ``.tflite``, without a contract.
        shape: of its input: height, width, channels.
        classes: how many scores it gives.
        software: versions of what made it.
    """

    flatbuffer: bytes
    shape: tuple[int, int, int]
    classes: int
    software: dict[str, str]


def require_extra() -> None:
    """See that the packages of the extra ``convert`` are there, without importing them.

    Raises:
        MissingExtra: one is not; the remedy is the pip line.
    """
    for module in ("tensorflow", "keras", "ai_edge_quantizer", "ai_edge_litert"):
        if find_spec(module) is None:
            raise MissingExtra(f"Converting needs {module}, which is not installed.", _INSTALL)


def export(model: Path, *, on_log: Callable[[str], None] = lambda line: None) -> Exported:
    """Convert a ``.keras`` file to a float ``.tflite`` in a process of its own.

    Args:
        model: the file.
        on_log: told of each line that TensorFlow wrote.

    Raises:
        ModelError: Keras cannot load it, it is no classifier, or TFLite cannot express it.
        MissingExtra: TensorFlow is not installed or cannot be loaded.
    """
    with TemporaryDirectory(prefix="edge-fer-") as folder:
        command = [sys.executable, "-P", "-m", __name__, str(model.resolve()), folder]
        done = subprocess.run(
            command,
            env=_environment(folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        lines = done.stdout.decode(errors="replace").splitlines()
        for line in lines:
            on_log(line)
        return _result(model, Path(folder), done.returncode, lines)


def _environment(folder: str) -> dict[str, str]:
    return {
        **os.environ,
        # The child must find what this process found, however that came about.
        "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry),
        "TMPDIR": folder,  # TensorFlow leaves its intermediate files there
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "CUDA_VISIBLE_DEVICES": "-1",
    }


def _result(model: Path, folder: Path, code: int, lines: list[str]) -> Exported:
    refused = folder / "error.json"
    if refused.exists():
        stated = json.loads(refused.read_text())
        raise getattr(errors, stated["type"])(stated["message"], stated["remedy"])
    if code != 0:
        last = " | ".join(lines[-_LAST_LINES:])
        raise ModelError(
            f"TensorFlow gave up on {model} (exit {code}): {last or 'it said nothing'}",
            "Run it again with -v to see everything that TensorFlow said.",
        )
    info = json.loads((folder / "info.json").read_text())
    height, width, channels = info["shape"]
    return Exported(
        flatbuffer=(folder / "float.tflite").read_bytes(),
        shape=(height, width, channels),
        classes=info["classes"],
        software=info["software"],
    )


def _main(model: Path, folder: Path) -> int:
    """The child: writes float.tflite and info.json, or error.json."""
    try:
        try:
            import keras
            import tensorflow as tf
        except ImportError as err:
            raise MissingExtra(f"TensorFlow cannot be loaded ({err}).", _INSTALL) from err
        loaded = _load(keras, model)
        shape, classes = _classifier(loaded, model)
        (folder / "float.tflite").write_bytes(_lite(keras, tf, loaded, shape, model))
        software = {"keras": keras.__version__, "tensorflow": tf.__version__}
        info = {"shape": shape, "classes": classes, "software": software}
        (folder / "info.json").write_text(json.dumps(info))
    except EdgeFerError as err:
        traceback.print_exc()
        stated = {"type": type(err).__name__, "message": err.message, "remedy": err.remedy}
        (folder / "error.json").write_text(json.dumps(stated))
        return 1
    return 0


def _load(keras: Any, model: Path) -> Any:
    try:
        return keras.models.load_model(model, compile=False)
    except Exception as err:  # Keras raises whatever its layers raise
        raise ModelError(
            f"Keras cannot load {model}: {_first_line(err)}",
            "Save it again with this Keras release and with standard layers only; "
            "custom layers and Lambda layers cannot be converted.",
        ) from err


def _classifier(loaded: Any, model: Path) -> tuple[tuple[int, int, int], int]:
    """Input height, width, channels and the number of classes, or ModelError."""
    try:
        inputs = [tuple(t.shape) for t in loaded.inputs]
        outputs = [tuple(t.shape) for t in loaded.outputs]
    except (AttributeError, TypeError, ValueError) as err:
        raise ModelError(
            f"{model} has no fixed input: it was saved before it saw data.",
            "Give its first layer a shape, keras.Input((48, 48, 1)), and save it again.",
        ) from err
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(
            f"{model} has {len(inputs)} inputs and {len(outputs)} outputs.", _CLASSIFIER
        )
    picture, scores = inputs[0], outputs[0]
    if len(picture) != 4 or picture[3] not in (1, 3):
        raise ModelError(
            f"{model} takes {list(picture)}, which is no picture [N, height, width, 1 or 3].",
            _CLASSIFIER,
        )
    if None in picture[1:]:
        raise ModelError(
            f"{model} takes pictures of any size {list(picture)}; an int8 model needs one size.",
            "Build it with a fixed input, keras.Input((48, 48, 1)), and save it again.",
        )
    if len(scores) != 2 or scores[1] is None or scores[1] < 2:
        raise ModelError(
            f"{model} gives {list(scores)}, which is not a score for each of several classes.",
            _CLASSIFIER,
        )
    return (int(picture[1]), int(picture[2]), int(picture[3])), int(scores[1])


def _lite(keras: Any, tf: Any, loaded: Any, shape: tuple[int, int, int], model: Path) -> bytes:
    try:
        # A batch of one, for good: every shape in the graph becomes static.
        picture = keras.Input(batch_shape=(1, *shape), name="face", dtype="float32")
        fixed = keras.Model(picture, loaded(picture, training=False), name="classifier")
        converter = tf.lite.TFLiteConverter.from_keras_model(fixed)
        return bytes(converter.convert())
    except Exception as err:  # the converter raises whatever MLIR said
        raise ModelError(
            f"TensorFlow Lite has no operators for {model}: {_first_line(err)}",
            "Run it again with -v for all of it; replace the layer that it names.",
        ) from err


def _first_line(err: Exception) -> str:
    lines = [line.strip() for line in str(err).splitlines() if line.strip()]
    return lines[0] if lines else type(err).__name__


if __name__ == "__main__":
    sys.exit(_main(Path(sys.argv[1]), Path(sys.argv[2])))
