"""The model that is converted, and what it or the user says about it: labels and input.

Four forms are told apart by what is in them, not by their names: a ``.keras`` zip, an HDF5 file of
older Keras releases, a TensorFlow SavedModel folder, and a float ``.tflite``.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge_fer.contract import InputSpec, Licence, ModelContract, OutputSpec, Quantisation
from edge_fer.errors import ConfigError, ModelError
from edge_fer.evaluation.labels import read_labels
from edge_fer.modelfile import METADATA_NAME, read_model
from edge_fer_convert.inputs.accepted import check_float, read_graph
from edge_fer_train.record import CONTRACT_MEMBER

__all__ = ["Form", "Labels", "Source", "choose_labels", "first_contract", "read_source"]

_FORMS = "Name a .keras or .h5 file, a SavedModel folder, or a float .tflite."
_RESAVE = f"Save it again in Keras 3, model.save('model.keras'). {_FORMS}"
_GRAPH = "saved_model.pb"
_MEMBERS = {"config.json", "model.weights.h5"}
_HDF5 = b"\x89HDF\r\n\x1a\n"

Form = Literal["keras", "h5", "savedmodel", "tflite"]
Kind = Literal["logits", "probabilities", "sigmoid"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A whole model.

    Attributes:
        path: the file, or the folder of a SavedModel.
        sha256: of the file; of a folder, over the lines ``relative path, space, sha256 of the
            file`` in the order of the paths.
        draft: the contract inside it, without what was measured; None where it has none.
        form: what it is.
    """

    path: Path
    sha256: str
    draft: ModelContract | None
    form: Form = "keras"

    @property
    def size(self) -> int:
        """Bytes on disk; of a folder, those of all its files."""
        files = self.path.rglob("*") if self.path.is_dir() else (self.path,)
        return sum(file.stat().st_size for file in files if file.is_file())


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The classes in the model's order, and the name of that order (``custom`` for any other)."""

    names: tuple[str, ...]
    scheme: Literal["ferplus8", "fer2013-7", "custom"]


def read_source(path: Path) -> Source:
    """Look at a model without TensorFlow.

    Raises:
        ModelError: missing, cut off, damaged, quantised already, or another kind of file.
    """
    try:
        if path.is_dir():
            return _saved_model(path)
        data = path.read_bytes()
    except OSError as err:
        raise ModelError(
            f"There is no model at {path} ({err.strerror}).",
            f"{_FORMS} Or train one: edge-fer train --help",
        ) from err
    sha256 = hashlib.sha256(data).hexdigest()
    if data[4:8] == b"TFL3":
        return Source(path=path, sha256=sha256, draft=_draft_of_tflite(path, data), form="tflite")
    if data[: len(_HDF5)] == _HDF5:
        _check_hdf5(path, data)
        return Source(path=path, sha256=sha256, draft=None, form="h5")
    if data[:2] != b"PK":
        raise ModelError(f"{path} is not a .keras file, nor another model.", _RESAVE)
    return Source(path=path, sha256=sha256, draft=_draft_of_keras(path), form="keras")


def choose_labels(source: Source, stated: str | None) -> Labels:
    """The labels of a model: from the contract inside it, else as the user states them.

    Args:
        source: the model.
        stated: a scheme's name, a comma-separated list in the model's order, or None.

    Raises:
        ConfigError: nobody says them, or the two contradict each other.
    """
    draft = None
    if source.draft is not None:
        draft = Labels(names=source.draft.labels, scheme=source.draft.label_scheme)
    if stated is None:
        if draft is None:
            raise ConfigError(
                f"{source.path} does not say what its outputs mean.",
                "Say it with --labels ferplus8, --labels fer2013-7, or the names in the model's "
                "order: --labels angry,disgust,fear,happy,neutral,sad,surprise",
            )
        return draft
    names, scheme = read_labels(stated)
    labels = Labels(names=names, scheme=scheme)
    if draft is not None and draft.names != labels.names:
        raise ConfigError(
            f"--labels {stated} contradicts {source.path}, whose contract says "
            f"{', '.join(draft.names)}.",
            "Leave out --labels.",
        )
    return draft or labels


def first_contract(
    source: Source,
    labels: Labels,
    shape: tuple[int, int, int],
    kind: Kind,
    input_range: tuple[float, float] | None,
) -> tuple[ModelContract, tuple[str, ...]]:
    """The contract of the float model, before anything was measured.

    Args:
        source: the model.
        labels: from :func:`choose_labels`.
        shape: the graph's input, height, width, channels.
        kind: what the graph ends in, as far as its last operator tells.
        input_range: what black and white are as the model's input; None for the draft's, else 0, 1.

    Returns:
        The contract, and what was assumed for want of knowledge, one sentence each.

    Raises:
        ConfigError: ``input_range`` contradicts the contract inside the model.
        ModelError: that contract contradicts the graph.
    """
    height, width, channels = shape
    if source.draft is not None:
        return _checked_draft(source.path, source.draft, shape, kind, input_range), ()
    low, high = input_range or (0.0, 1.0)
    spec = InputSpec(
        height=height,
        width=width,
        channels=1 if channels == 1 else 3,
        colour="gray" if channels == 1 else "rgb",
        scale=((high - low) / 255,) * channels,
        offset=(low,) * channels,
    )
    assumed = []
    if input_range is None:
        assumed.append(
            "The model does not say what it was fed: black is taken as 0 and white as 1. "
            "If it was trained on other values, say so, for example --input-range 0,255."
        )
    if channels == 3:
        assumed.append("The model does not say the order of its three colours: taken as RGB.")
    contract = ModelContract(
        labels=labels.names,
        label_scheme=labels.scheme,
        input=spec,
        output=OutputSpec(kind=kind),
        licence=Licence(code="not stated", weights="not stated"),
    )
    return contract, tuple(assumed)


def _checked_draft(
    path: Path,
    draft: ModelContract,
    shape: tuple[int, int, int],
    kind: Kind,
    input_range: tuple[float, float] | None,
) -> ModelContract:
    spec = draft.input
    if draft.task != "expression-frame":
        raise ModelError(f"{path} is a model for {draft.task}; single pictures can be converted.")
    if (spec.height, spec.width, spec.channels) != shape:
        raise ModelError(
            f"{path} takes pictures of {list(shape)}, but its contract says "
            f"{[spec.height, spec.width, spec.channels]}.",
            "Train it again, or save it without the contract and use --labels.",
        )
    if draft.output.kind == "logits" and kind != "logits":
        raise ModelError(
            f"{path} ends in {'softmax' if kind == 'probabilities' else 'sigmoid'}, "
            "but its contract says logits.",
            "Train it again, or save it without the contract and use --labels.",
        )
    if input_range is not None:
        low, high = input_range
        stated = [(o, o + 255 * s) for s, o in zip(spec.scale, spec.offset, strict=True)]
        if any(abs(a - low) > 1e-6 or abs(b - high) > 1e-6 for a, b in stated):
            raise ConfigError(
                f"--input-range {low:g},{high:g} contradicts {path}, whose contract says "
                f"{stated[0][0]:g},{stated[0][1]:g}.",
                "Leave out --input-range.",
            )
    return draft


def _draft_of_keras(path: Path) -> ModelContract | None:
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
            members = set(archive.namelist())
            draft = archive.read(CONTRACT_MEMBER) if CONTRACT_MEMBER in members else None
    except (zipfile.BadZipFile, OSError, EOFError) as err:
        raise ModelError(f"{path} is cut off or damaged ({err}).", _fresh(path)) from err
    if damaged is not None:
        raise ModelError(f"{path} is damaged: {damaged} in it is not whole.", _fresh(path))
    if not members >= _MEMBERS:
        raise ModelError(f"{path} is a zip, but not one that Keras 3 wrote.", _RESAVE)
    return None if draft is None else ModelContract.parse(draft, str(path))


def _draft_of_tflite(path: Path, data: bytes) -> ModelContract | None:
    graph = read_graph(data, str(path))
    check_float(graph, str(path))
    if METADATA_NAME not in graph.metadata:
        return None
    return read_model(path).contract.with_(
        metrics=(), golden=None, calibration=None, quantisation=Quantisation(scheme="float32")
    )


def _saved_model(folder: Path) -> Source:
    if not (folder / _GRAPH).is_file():
        raise ModelError(f"{folder} is a folder without {_GRAPH}, so no SavedModel.", _FORMS)
    files = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    digest = hashlib.sha256()
    for name, file in sorted(files.items()):
        with file.open("rb") as opened:
            sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
        digest.update(f"{name} {sha256}\n".encode())
    return Source(path=folder, sha256=digest.hexdigest(), draft=None, form="savedmodel")


def _check_hdf5(path: Path, data: bytes) -> None:
    """See that an HDF5 file has the length that its superblock says (HDF5 File Format 3.0, II.A).

    Of its addresses the third is the end of the file, in every version; what stands before the
    addresses differs.
    """
    version = data[8] if len(data) > 8 else 0
    size, first = (13, 24 + 4 * (version == 1)) if version < 2 else (9, 12)
    width = data[size] if len(data) > size else 8
    field = data[first + 2 * width : first + 3 * width]
    if len(field) < width or int.from_bytes(field, "little") > len(data):
        raise ModelError(
            f"{path} is cut off: it holds {len(data)} bytes of an HDF5 file.", _fresh(path)
        )


def _fresh(path: Path) -> str:
    return f"Copy {path.name} again from where it was trained, or save it again."
