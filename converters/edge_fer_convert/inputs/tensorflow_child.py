"""A process of its own for TensorFlow: its memory, its messages and its leaks end with it.

The parent calls :func:`run_child`; the module that it names runs :func:`work_as_child`, which alone
imports TensorFlow. What goes wrong there comes back as the error that it was.
"""

from __future__ import annotations

import json
import subprocess
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from edge_fer import errors
from edge_fer.errors import EdgeFerError, MissingExtra, ModelError
from edge_fer_convert.child import child_environment, scratch_folder

__all__ = [
    "INSTALL",
    "LEGACY_KERAS",
    "SavedByKeras2",
    "first_line",
    "no_operators",
    "run_child",
    "work_as_child",
]

INSTALL = "Install it with: pip install 'edge-fer[convert]'"
LEGACY_KERAS = "tf_keras"
_LAST_LINES = 5


class SavedByKeras2(ModelError):
    """Keras 3 cannot load it, and its predecessor may."""


def run_child(
    module: str,
    words: Sequence[str],
    path: Path,
    *,
    legacy_keras: bool = False,
    on_log: Callable[[str], None] = lambda line: None,
) -> tuple[bytes, dict[str, str]]:
    """Have a module make ``float.tflite`` and ``info.json`` in a process of its own.

    Args:
        module: started with ``-m``; it ends in :func:`work_as_child`.
        words: its first arguments; the model and a folder follow.
        path: the model.
        legacy_keras: with tf-keras as Keras.
        on_log: told of each line that it wrote.

    Returns:
        The flatbuffer, and the versions of what made it.

    Raises:
        ModelError: what the module raised, or it ended without a word.
        MissingExtra: likewise.
    """
    with scratch_folder() as folder:
        command = [sys.executable, "-P", "-m", module, *words, str(path.resolve()), str(folder)]
        done = subprocess.run(
            command,
            env=child_environment(str(folder), legacy_keras=legacy_keras),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        lines = done.stdout.decode(errors="replace").splitlines()
        for line in lines:
            on_log(line)
        return _result(path, folder, done.returncode, lines)


def _result(model: Path, folder: Path, code: int, lines: list[str]) -> tuple[bytes, dict[str, str]]:
    refused = folder / "error.json"
    if refused.exists():
        stated = json.loads(refused.read_text())
        kind = SavedByKeras2 if stated["saved_by_keras_2"] else getattr(errors, stated["type"])
        raise kind(stated["message"], stated["remedy"])
    if code != 0:
        last = " | ".join(lines[-_LAST_LINES:])
        raise ModelError(
            f"TensorFlow gave up on {model} (exit {code}): {last or 'it said nothing'}",
            "Run it again with -v to see everything that TensorFlow said.",
        )
    return (folder / "float.tflite").read_bytes(), json.loads((folder / "info.json").read_text())


def work_as_child(keras: str, folder: Path, work: Callable[[Any, Any], tuple[bytes, bool]]) -> int:
    """The child: writes float.tflite and info.json, or error.json.

    Args:
        keras: the package to load, ``keras`` or ``tf_keras``.
        folder: where the files go.
        work: given Keras and TensorFlow, the flatbuffer, and whether Keras had a part in it.

    Returns:
        The exit code.
    """
    try:
        try:
            library = import_module(keras)
            tf = import_module("tensorflow")
        except ImportError as err:
            raise MissingExtra(f"TensorFlow cannot be loaded ({err}).", INSTALL) from err
        flatbuffer, with_keras = work(library, tf)
        software = {keras.replace("_", "-"): library.__version__} if with_keras else {}
        (folder / "float.tflite").write_bytes(flatbuffer)
        (folder / "info.json").write_text(json.dumps({**software, "tensorflow": tf.__version__}))
    except EdgeFerError as err:
        traceback.print_exc()
        retry = isinstance(err, SavedByKeras2) and keras != LEGACY_KERAS
        stated = {
            "type": "ModelError" if isinstance(err, ModelError) else type(err).__name__,
            "message": err.message,
            "remedy": err.remedy,
            "saved_by_keras_2": retry,
        }
        (folder / "error.json").write_text(json.dumps(stated))
        return 1
    return 0


def no_operators(model: Path, err: Exception) -> ModelError:
    """What to raise where TFLite cannot express a model."""
    return ModelError(
        f"TensorFlow Lite has no operators for {model}: {first_line(err)}",
        "Run it again with -v for all of it; replace the layer that it names.",
    )


def first_line(err: Exception | str) -> str:
    """Of what an error says; its kind where it says nothing."""
    lines = [line.strip() for line in str(err).splitlines() if line.strip()]
    return lines[0] if lines else type(err).__name__
