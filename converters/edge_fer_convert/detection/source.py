"""The detector that is converted, and the contract that says how its heads are read.

A contract is looked for where the user says, beside the file (``FILE.contract.json``), inside it,
and among the official files that are known by their sha256.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from edge_fer.contract import ModelContract, Quantisation
from edge_fer.errors import ConfigError, ModelError
from edge_fer.modelfile import METADATA_NAME
from edge_fer.models.catalogue import CATALOGUE, contract_of
from edge_fer_convert.inputs.accepted import check_float, read_graph
from edge_fer_convert.inputs.source import read_source

__all__ = ["DetectorSource", "read_detector"]

_FORMS = "Name a float .tflite or a .keras file."
# BlazeFace short range (2020 on) has the anchors of the one of 2019. Nobody pulls it, because it
# does not survive int8; converting it says so with figures.
_SHORT_RANGE = "3bc182eb9f33925d9e58b5c8d59308a760f4adea8f282370e428c51212c26633"
_SHORT_RANGE_LIKE, _SHORT_RANGE_SCORE = "blazeface-front", 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorSource:
    """A whole file.

    Attributes:
        path: of it.
        data: its bytes.
        sha256: of them.
        form: what it is.
        contract: how its heads are read, without what was measured.
    """

    path: Path
    data: bytes = field(repr=False)
    sha256: str
    form: Literal["keras", "tflite"]
    contract: ModelContract


def read_detector(path: Path, contract: Path | None = None) -> DetectorSource:
    """Look at a detector without TensorFlow.

    Args:
        path: the file.
        contract: the file with its contract, where it is not to be looked for.

    Raises:
        ConfigError: nobody says how its heads are read.
        ModelError: missing, cut off, damaged, quantised already, no detector, or another kind of
            file; or a contract that cannot be used.
    """
    try:
        data = path.read_bytes()
    except OSError as err:
        raise ModelError(f"There is no detector at {path} ({err.strerror}).", _FORMS) from err
    sha256 = hashlib.sha256(data).hexdigest()
    if data[4:8] == b"TFL3":
        graph = read_graph(data, str(path))
        check_float(graph, str(path), detector=True)
        inside = graph.metadata.get(METADATA_NAME)
        form: Literal["keras", "tflite"] = "tflite"
    elif data[:2] == b"PK":
        kept = read_source(path).draft
        inside, form = None if kept is None else kept.to_json(), "keras"
    else:
        raise ModelError(f"{path} is neither a float .tflite nor a .keras file.", _FORMS)
    return DetectorSource(
        path=path,
        data=data,
        sha256=sha256,
        form=form,
        contract=_found(path, contract, inside, sha256),
    )


def _found(path: Path, stated: Path | None, inside: bytes | None, sha256: str) -> ModelContract:
    beside = path.with_name(f"{path.name}.contract.json")
    file = stated or (beside if beside.exists() else None)
    if file is not None:
        try:
            contract = ModelContract.parse(file.read_bytes(), str(file))
        except OSError as err:
            raise ConfigError(
                f"There is no contract at {file} ({err.strerror}).", "Name another: --contract FILE"
            ) from err
    elif inside is not None:
        contract = ModelContract.parse(inside, str(path))
    else:
        known = contract_of(sha256) or _short_range(sha256)
        if known is None:
            raise ConfigError(
                f"{path} does not say how its heads are read, and it is none of the official "
                f"files of {', '.join(n for n, e in CATALOGUE.items() if e.contract)}.",
                f"Write {beside.name} beside it, or name it with --contract FILE; "
                "a classifier is converted without --detector.",
            )
        contract = known
    if contract.detection is None:
        raise ModelError(
            f"The contract of {path} is for {contract.task}, not for a detector.",
            f"Convert it without --detector: edge-fer convert {path} --help",
        )
    return contract.with_(
        metrics=(), golden=None, calibration=None, quantisation=Quantisation(scheme="float32")
    )


def _short_range(sha256: str) -> ModelContract | None:
    like = CATALOGUE[_SHORT_RANGE_LIKE].contract
    if sha256 != _SHORT_RANGE or like is None or like.detection is None:
        return None
    spec = like.detection.model_copy(update={"min_score": _SHORT_RANGE_SCORE})
    return like.with_(detection=spec, provenance={"made_by": "Google, MediaPipe"})
