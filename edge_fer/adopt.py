"""A contract for somebody else's ``.tflite``: what the graph tells, and what it cannot tell."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

from edge_fer.backends import open_backend
from edge_fer.backends.base import TensorSpec
from edge_fer.contract import InputSpec, Licence, ModelContract, OutputSpec, Quantisation
from edge_fer.errors import ConfigError, ModelError
from edge_fer.evaluation.labels import read_labels
from edge_fer.modelfile import embed

__all__ = ["adopt", "read_range"]


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
    names, scheme = read_labels(labels)
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
        label_scheme=scheme,
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


def read_range(text: str) -> tuple[float, float]:
    """``LO,HI``: what black and white are to a model.

    Raises:
        ConfigError: not two finite numbers, the lower first.
    """
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = 0.0, 0.0
    if not (low < high and isfinite(low) and isfinite(high)):
        raise ConfigError(
            f"--input-range {text} is not two numbers, the lower first.",
            "For example: --input-range 0,255 or --input-range=-1,1",
        )
    return low, high


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
    low, high = read_range(input_range)
    channels = shape[3]
    return InputSpec(
        height=shape[1],
        width=shape[2],
        channels=channels,
        colour="gray" if channels == 1 else "rgb",
        scale=((high - low) / 255,) * channels,
        offset=(low,) * channels,
    )
