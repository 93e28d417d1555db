"""Models by name: the shipped ones (each an int8 ``.tflite`` and its float twin, contract inside),
and those that were pulled.
"""

from __future__ import annotations

import hashlib
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

from edge_fer.errors import ModelError
from edge_fer.modelfile import ModelFile, read_model
from edge_fer.models.catalogue import CATALOGUE, Entry, contract_of
from edge_fer.models.folders import folders, pulled

__all__ = ["find", "load", "published", "pulled", "shipped"]


def shipped() -> dict[str, Path]:
    """Name to file: ``expression``, ``expression.float``, ..."""
    folder = Path(str(files(__name__)))
    # By name, not by file: "expression" before "expression-nano", although "-" sorts before ".".
    return dict(sorted((p.name.removesuffix(".tflite"), p) for p in folder.glob("*.tflite")))


def find(model: str) -> Path:
    """The file of a shipped or pulled model's name, or the path itself.

    Raises:
        ModelError: neither a name nor a file.
    """
    known = {**pulled(), **shipped()}
    if model in known:
        return known[model]
    path = Path(model)
    if path.exists():
        return path
    if model in CATALOGUE:
        raise ModelError(
            f"The model {model} is not on this machine.",
            f"Pull it with: edge-fer models pull {model}",
        )
    near = get_close_matches(model, {*known, *CATALOGUE}, n=1, cutoff=0.6)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise ModelError(f"There is no model {model!r}.", f"{hint}See: edge-fer models list")


def published(name: str) -> Path:
    """The pulled file of a catalogue's name, once its sha256 is the pinned one.

    Raises:
        ModelError: not on this machine, cannot be read, or another file.
    """
    path, entry = find(name), CATALOGUE[name]
    try:
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as err:
        raise ModelError(
            f"{path} cannot be read: {err.strerror}.",
            f"Pull it again: edge-fer models pull {name} --force",
        ) from err
    if sha256 != entry.sha256:
        raise _unusable(entry, path, sha256)
    return path


def load(model: str | Path) -> ModelFile:
    """Read a model and its contract, by name or path.

    As :func:`edge_fer.modelfile.read_model`, and a file that the catalogue knows by its sha256
    gets the contract that stands there.

    Raises:
        ModelError: not there, damaged, or without a contract.
    """
    path = find(model) if isinstance(model, str) else model
    try:
        data = path.read_bytes()
    except OSError:
        return read_model(path)  # which says what is wrong
    sha256 = hashlib.sha256(data).hexdigest()
    contract = contract_of(sha256)
    if contract is not None:
        return ModelFile(path=path, flatbuffer=data, contract=contract, sha256=sha256)
    try:
        return read_model(path)
    except ModelError as err:
        entry = _meant(path)
        if entry is None:
            raise
        raise _unusable(entry, path, sha256) from err


def _meant(path: Path) -> Entry | None:
    """The entry that a file in the folders is named for."""
    here = path.parent in folders()
    return next((e for e in CATALOGUE.values() if here and e.file_name == path.name), None)


def _unusable(entry: Entry, path: Path, sha256: str) -> ModelError:
    if sha256 == entry.sha256:
        return ModelError(
            f"{path} carries no contract: a library runs it, and it is no model for this command.",
            f"Use it as a detector: edge-fer predict IMAGE --detector {entry.name}",
        )
    return ModelError(
        f"{path} is not the published {entry.name}: its sha256 is {sha256}, not {entry.sha256}.",
        f"Pull it again: edge-fer models pull {entry.name} --force",
    )
