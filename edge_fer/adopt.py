"""A contract for somebody else's ``.tflite``: what the graph tells, and what it cannot tell."""

from __future__ import annotations

from pathlib import Path

from edge_fer.backends import open_backend
from edge_fer.backends.base import TensorSpec
from edge_fer.contract import InputSpec, Licence, ModelContract, OutputSpec, Quantisation
from edge_fer.errors import ConfigError, ModelError
from edge_fer.evaluation.labels import SCHEMES, canonical
from edge_fer.modelfile import embed

__all__ = ["adopt", "input_affine"]


def adopt(file: Path, *, labels: str, input_range: str, kind: str, licence: str) -> bytes:
    """The bytes of the same model with a contract inside.

    Args:
        file: a ``.tflite`` image classifier, one input, one output, batch 1.
        labels: a scheme's name, or class names in the order of the outputs, with commas.
        input_range: ``LO,HI`` that 0 and 255 are mapped to.
        kind: ``logits``, ``probabilities`` or ``sigmoid``.
        licence: of the weights.

    Raises:
        ModelError: not such a classifier.
        ConfigError: labels that do not fit its outputs, or a range that is none.
    """
    try:
        flatbuffer = file.read_bytes()
    except OSError as err:
        raise ModelError(
            f"There is no model at {file} ({err.strerror}).", "Check the path."
        ) from err
    backend = open_backend("auto", flatbuffer)
    try:
        given, answered = backend.input, backend.outputs[0]
    finally:
        backend.close()
    names = SCHEMES.get(labels) or tuple(canonical(n) for n in labels.split(",") if n.strip())
    spec = _input(given, input_range, file)
    if len(answered.shape) != 2 or answered.shape[1] != len(names):
        raise ConfigError(
            f"{file} gives {list(answered.shape)}, but there are {len(names)} labels.",
            "Name one label per output, in the order of the training code.",
        )
    if kind not in ("logits", "probabilities", "sigmoid"):
        raise ConfigError(
            f"There is no output kind {kind!r}.", "Known: logits, probabilities, sigmoid."
        )
    contract = ModelContract(
        labels=names,
        label_scheme=labels if labels in SCHEMES else "custom",
        input=spec,
        output=OutputSpec(kind=kind),
        quantisation=Quantisation(
            scheme="int8" if given.quantisation else "float32",
            input=given.quantisation,
            output=answered.quantisation,
        ),
        licence=Licence(code="unknown", weights=licence),
        provenance={"made_by": "adopted"},
    )
    return embed(flatbuffer, contract)


def input_affine(input_range: str) -> tuple[float, float]:
    """``LO,HI`` to ``(scale, offset)`` with ``real = uint8 * scale + offset``.

    Raises:
        ConfigError: not two different numbers.
    """
    try:
        low, high = (float(part) for part in input_range.split(","))
    except ValueError as err:
        raise ConfigError(f"{input_range!r} is not LO,HI.", "For example 0,1 or -1,1.") from err
    if not low < high:
        raise ConfigError(f"{input_range!r} is not LO,HI with LO < HI.", "For example 0,1.")
    return (high - low) / 255, low


def _input(tensor: TensorSpec, input_range: str, file: Path) -> InputSpec:
    shape = tensor.shape
    if (
        len(shape) != 4
        or shape[0] != 1
        or shape[3] not in (1, 3)
        or tensor.dtype.name
        not in (
            "int8",
            "float32",
        )
    ):
        raise ModelError(
            f"{file} takes {tensor.dtype}{list(shape)}; an expression classifier takes int8 or "
            "float32[1, H, W, 1 or 3].",
            "Convert it from its Keras source: edge-fer convert --help",
        )
    scale, offset = input_affine(input_range)
    channels = shape[3]
    return InputSpec(
        height=shape[1],
        width=shape[2],
        channels=channels,
        colour="gray" if channels == 1 else "rgb",
        scale=(scale,) * channels,
        offset=(offset,) * channels,
    )
