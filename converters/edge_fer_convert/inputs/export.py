"""Any form of model to a float ``.tflite``: the only module that imports TensorFlow.

:func:`export` starts ``python -m edge_fer_convert.inputs.export`` and takes the result, so that
TensorFlow's memory, its messages and its leaks end with that process. What it leaves is a graph
with batch 1 and a static shape; everything after works on that file. A ``.tflite`` is such a graph
from the start, so that no TensorFlow is needed for it.
"""

from __future__ import annotations

import json
import re
import sys
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edge_fer.errors import MissingExtra, ModelError
from edge_fer_convert.inputs.accepted import check_picture, check_scores
from edge_fer_convert.inputs.imports import import_float
from edge_fer_convert.inputs.source import Form, Source
from edge_fer_convert.inputs.tensorflow_child import (
    INSTALL,
    LEGACY_KERAS,
    SavedByKeras2,
    first_line,
    no_operators,
    run_child,
    work_as_child,
)

__all__ = ["Exported", "export", "load_keras", "require_extra"]

_CLASSIFIER = "edge-fer converts classifiers: one picture in, one score per class out."
_CUSTOM = (
    "Custom, subclassed and Lambda layers come through as a SavedModel: load it where their code "
    "is, and write one with model.export('folder')."
)
_WRAPPED = "Exception encountered:"
_SIGNATURE = "serving_default"
_SUFFIXES = {"keras": (".keras",), "h5": (".h5", ".hdf5")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """A float model that is out of Keras or TensorFlow.

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


def require_extra(form: Form = "keras") -> None:
    """See that the packages of the extra ``convert`` are there, without importing them.

    Args:
        form: of the model; a ``.tflite`` needs no TensorFlow.

    Raises:
        MissingExtra: one is not; the remedy is the pip line.
    """
    keras = () if form == "tflite" else ("tensorflow", "keras")
    for module in (*keras, "ai_edge_litert"):
        if find_spec(module) is None:
            raise MissingExtra(f"Converting needs {module}, which is not installed.", INSTALL)


def export(source: Source, *, on_log: Callable[[str], None] = lambda line: None) -> Exported:
    """Make a float ``.tflite`` of a model, with TensorFlow in a process of its own.

    What Keras 2 saved and Keras 3 cannot load goes through ``tf-keras`` in another process: which
    of the two TensorFlow uses is settled when it is imported.

    Args:
        source: the model.
        on_log: told of each line that TensorFlow wrote.

    Raises:
        ModelError: Keras cannot load it, it is no classifier, its weights are no numbers, or
            TFLite cannot express it.
        MissingExtra: TensorFlow, or the ``tf-keras`` that the file needs, is not installed.
    """
    name = str(source.path)
    flatbuffer, software = _flatbuffer(source, on_log)
    imported = import_float(flatbuffer, name)
    return Exported(
        flatbuffer=imported.flatbuffer,
        shape=imported.shape,
        classes=imported.classes,
        software=software,
    )


def _flatbuffer(source: Source, on_log: Callable[[str], None]) -> tuple[bytes, dict[str, str]]:
    if source.form == "tflite":
        return source.path.read_bytes(), {}
    try:
        return _child(source, "keras", on_log)
    except SavedByKeras2 as refused:
        if find_spec(LEGACY_KERAS) is None:
            raise MissingExtra(
                f"{refused.message} Keras 2 saved it, and loading that needs tf-keras.",
                "Install it with: pip install tf-keras",
            ) from refused
        on_log(f"{refused.message} Trying tf-keras, because Keras 2 saved it.")
    return _child(source, LEGACY_KERAS, on_log)


def _child(
    source: Source, keras: str, on_log: Callable[[str], None]
) -> tuple[bytes, dict[str, str]]:
    words = (source.form, keras)
    return run_child(
        __name__, words, source.path, legacy_keras=keras == LEGACY_KERAS, on_log=on_log
    )


def _main(form: Form, keras: str, model: Path, folder: Path) -> int:
    def work(library: Any, tf: Any) -> tuple[bytes, bool]:
        if form == "savedmodel":
            return _of_saved_model(tf, model), False
        return _of_keras(library, tf, model, folder, form), True

    return work_as_child(keras, folder, work)


def _of_keras(library: Any, tf: Any, model: Path, folder: Path, form: Form) -> bytes:
    if form == "h5":
        _check_whole(model)
    loaded = load_keras(library, model, folder, form)
    shape = _classifier(loaded, model)
    try:
        # A batch of one, for good: every shape in the graph becomes static.
        picture = library.Input(shape=shape, batch_size=1, name="face", dtype="float32")
        fixed = library.Model(picture, loaded(picture, training=False), name="classifier")
        return bytes(tf.lite.TFLiteConverter.from_keras_model(fixed).convert())
    except Exception as err:  # the converter raises whatever MLIR said
        raise no_operators(model, err) from err


def load_keras(library: Any, model: Path, folder: Path, form: Form) -> Any:
    """A Keras model from its file.

    Raises:
        ModelError: Keras cannot load it.
    """
    suffixes = _SUFFIXES[form]
    named = model
    if model.suffix not in suffixes:  # Keras goes by the name
        named = folder / f"model{suffixes[0]}"
        named.symlink_to(model)
    try:
        return library.models.load_model(named, compile=False)
    except Exception as err:  # Keras raises whatever its layers raise
        kind = SavedByKeras2 if _saved_by(model, form).startswith("2.") else ModelError
        raise kind(f"Keras cannot load {model}: {_innermost(err)}.", _CUSTOM) from err


def _check_whole(model: Path) -> None:
    with import_module("h5py").File(model) as file:
        if "model_config" not in file.attrs:
            raise ModelError(
                f"{model} holds weights alone, without the network that they belong to.",
                "Save the whole model: model.save('model.keras'), not save_weights.",
            )


def _saved_by(model: Path, form: Form) -> str:
    """The Keras release that wrote a file, ``2.15.0``; empty where it does not say."""
    if form == "keras":
        with zipfile.ZipFile(model) as archive:
            if "metadata.json" not in archive.namelist():
                return ""
            return str(json.loads(archive.read("metadata.json")).get("keras_version", ""))
    with import_module("h5py").File(model) as file:
        stated = file.attrs.get("keras_version", b"")
        return stated.decode() if isinstance(stated, bytes) else str(stated)


def _classifier(loaded: Any, model: Path) -> tuple[int, int, int]:
    """Input height, width, channels, or ModelError."""
    try:
        inputs, outputs = list(loaded.inputs), list(loaded.outputs)
        shape, scores = tuple(inputs[0].shape), tuple(outputs[0].shape)
    except (AttributeError, IndexError, TypeError, ValueError) as err:
        raise ModelError(
            f"{model} has no fixed input: it was saved before it saw data.",
            "Give its first layer a shape, keras.Input((48, 48, 1)), and save it again.",
        ) from err
    _check_ends([str(getattr(t.dtype, "name", t.dtype)) for t in inputs], len(outputs), model)
    check_picture(shape, str(model))
    _check_scores(scores, model)
    return int(shape[1]), int(shape[2]), int(shape[3])


def _of_saved_model(tf: Any, model: Path) -> bytes:
    try:
        loaded = tf.saved_model.load(str(model))
    except Exception as err:  # TensorFlow raises whatever its files and operators raise
        raise ModelError(
            f"TensorFlow cannot load {model}: {first_line(err)}",
            "Copy the whole folder again, variables included, or write it again: "
            "model.export('folder').",
        ) from err
    known = sorted(loaded.signatures)
    if _SIGNATURE not in known:
        raise ModelError(
            f"{model} has no signature {_SIGNATURE}; it has {', '.join(known) or 'none'}.",
            "Write it with model.export('folder'), which makes one.",
        )
    signature = loaded.signatures[_SIGNATURE]
    inputs, outputs = signature.structured_input_signature[1], signature.structured_outputs
    _check_ends([spec.dtype.name for spec in inputs.values()], len(outputs), model)
    ((word, given),), ((answer, score),) = inputs.items(), outputs.items()
    if given.shape.rank is None:
        raise ModelError(f"{model} takes anything of any shape.", _CLASSIFIER)
    check_picture(given.shape.as_list(), str(model))
    if score.shape.rank is not None:
        _check_scores(score.shape.as_list(), model)
    one = tf.TensorSpec((1, *given.shape.as_list()[1:]), tf.float32, name="face")
    try:
        function = tf.function(lambda face: signature(**{word: face})[answer], [one])
        concrete = function.get_concrete_function()
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], loaded)
        return bytes(converter.convert())
    except Exception as err:  # the converter raises whatever MLIR said
        raise no_operators(model, err) from err


def _check_ends(types: list[str], outputs: int, model: Path) -> None:
    if "string" in types:
        raise ModelError(f"{model} takes text, not pictures.", _CLASSIFIER)
    if len(types) != 1 or outputs != 1:
        raise ModelError(f"{model} has {len(types)} inputs and {outputs} outputs.", _CLASSIFIER)
    if types != ["float32"]:
        raise ModelError(
            f"{model} takes {types[0]}, where float32 is needed.",
            "Give it a float32 input; what black and white are is said with --input-range.",
        )


def _check_scores(shape: Sequence[int | None], model: Path) -> None:
    # A single sigmoid is a classifier too; only the graph shows whether it is one.
    if list(shape[1:]) not in ([1], [None]):
        check_scores(shape, str(model))


def _innermost(err: Exception) -> str:
    """Keras wraps what was wrong with a layer in what that means for the model, with advice."""
    said = first_line(str(err).rpartition(_WRAPPED)[2].strip("' ") or type(err).__name__)
    return re.split(r"\.? (?:Make sure|Please ensure|Full object config)", said)[0].rstrip(".")


if __name__ == "__main__":
    form, keras, model, folder = sys.argv[1:]
    sys.exit(_main(form, keras, Path(model), Path(folder)))  # type: ignore[arg-type]
