"""The contract that travels inside a model file: labels, preprocessing, quantisation, provenance,
recorded metrics and golden vectors. The runtime has none of these of its own.

This module is the schema; :mod:`edge_fer.modelfile` puts it into a ``.tflite`` and reads it back.
Unknown keys are ignored within version 1; a higher version is refused.
"""

from __future__ import annotations

import base64
import json
import math
from typing import Annotated, Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from edge_fer.errors import ModelError

__all__ = [
    "SCHEMA",
    "Calibration",
    "CropConvention",
    "DetectionSpec",
    "Golden",
    "InputSpec",
    "Licence",
    "Metric",
    "ModelContract",
    "OutputSpec",
    "QualityRange",
    "QualityRanges",
    "Quantisation",
    "SquareRule",
    "TensorQuantisation",
]

SCHEMA: Literal["edge-fer/contract/1"] = "edge-fer/contract/1"
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class CropConvention(_Part):
    """Where a face lies in the crop, in fractions of its side; defaults: FER2013's medians."""

    eye_distance: Positive = 0.354
    eye_midpoint: tuple[float, float] = (0.496, 0.386)
    border: Literal["replicate"] = "replicate"
    roll_limit_deg: float = Field(10.0, ge=0)


class InputSpec(_Part):
    """The picture that the model takes. ``real = uint8 * scale + offset`` per channel."""

    height: int = Field(gt=0)
    width: int = Field(gt=0)
    channels: Literal[1, 3]
    colour: Literal["gray", "rgb"]
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    interpolation: Literal["area", "linear"] = "area"
    crop: CropConvention = CropConvention()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.channels != (1 if self.colour == "gray" else 3):
            raise ValueError(f"{self.channels} channels do not go with colour {self.colour!r}")
        if not len(self.scale) == len(self.offset) == self.channels:
            raise ValueError("scale and offset need one number per channel")
        if any(s == 0 for s in self.scale):
            raise ValueError("scale must not be 0")
        return self


class OutputSpec(_Part):
    """What the graph ends in, and the temperature that its logits are divided by.

    ``unknown`` says when the runtime does not name an expression: below ``min_probability``, where
    it is there; keys of later versions may stand beside it.
    """

    kind: Literal["logits", "probabilities", "sigmoid"]
    temperature: Positive = 1.0
    unknown: dict[str, Any] | None = None

    @property
    def min_probability(self) -> float:
        """Below it the answer is ``unknown``; 0 where the contract names no threshold."""
        return float((self.unknown or {}).get("min_probability") or 0.0)

    @model_validator(mode="after")
    def _is_a_probability(self) -> Self:
        least = (self.unknown or {}).get("min_probability")
        number = isinstance(least, int | float) and not isinstance(least, bool)
        if least is not None and not (number and 0 <= least <= 1):
            raise ValueError(f"unknown.min_probability is {least!r}, not a number from 0 to 1")
        return self


class SquareRule(_Part):
    """The square that FER2013 would have cropped around a face, from a detector's box of it.

    ``unit`` is the box's width or its height. The square's side is ``side`` units; its centre lies
    over the middle of the box, ``centre_y`` units below the box's top.
    """

    unit: Literal["width", "height"]
    side: Positive
    centre_y: Finite


class DetectionSpec(_Part):
    """How the raw heads of a detector become faces: :mod:`edge_fer.detectors` has the decoders.

    Attributes:
        decoder: ``anchors`` (BlazeFace: fixed-size anchors, pixels of the input, logits) or
            ``grid`` (one prediction a cell: offset of the centre and logarithm of the size in
            strides, a score after the sigmoid).
        strides: of the grids, finest first, in pixels of the input.
        anchors: how many each cell of a grid has.
        keypoints: what they are, the person's two eyes first, the one that is left in the picture
            of an upright face first; empty where the model gives none.
        min_score: what a face must score, 0 to 1, unless the user says otherwise.
        max_overlap: intersection over union above which two boxes are one face.
        square: FER2013's square from a box.
    """

    decoder: Literal["anchors", "grid"]
    strides: tuple[int, ...] = Field(min_length=1)
    anchors: tuple[int, ...] = Field(min_length=1)
    keypoints: tuple[str, ...] = ()
    min_score: float = Field(0.5, gt=0, lt=1)
    max_overlap: float = Field(0.3, gt=0, lt=1)
    square: SquareRule

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(self.strides) != len(self.anchors):
            raise ValueError("strides and anchors need one number per grid")
        if min(*self.strides, *self.anchors) < 1:
            raise ValueError("strides and anchors are positive numbers")
        return self


class QualityRange(_Part):
    """First percentile, median and 99th percentile of one measure."""

    p1: Finite
    p50: Finite
    p99: Finite

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if not self.p1 <= self.p50 <= self.p99:
            raise ValueError(f"percentiles {self.p1}, {self.p50}, {self.p99} are not in order")
        return self


class QualityRanges(_Part):
    """The pictures that the model was chosen by, in the measures of :mod:`edge_fer.quality`.

    ``n`` is how many there were. A crop far outside is none that the model was judged on.
    """

    n: int = Field(gt=0)
    brightness: QualityRange
    contrast: QualityRange
    sharpness: QualityRange
    noise: QualityRange


class TensorQuantisation(_Part):
    """``real = (quantised - zero_point) * scale``."""

    scale: Positive
    zero_point: int


class Quantisation(_Part):
    """How the weights and activations are stored, and which float file they came from."""

    scheme: Literal["int8", "float32"]
    recipe: str | None = None
    input: TensorQuantisation | None = None
    output: TensorQuantisation | None = None
    parent_sha256: str | None = None


class Calibration(_Part):
    """The representative data set: sha256 over its pixels, and how many there were."""

    sha256: str
    n: int


class Metric(_Part):
    """What was measured at conversion, on the build host: fractions, ``*_points`` in points."""

    data: str
    data_sha256: str
    split: str
    n: int
    float_accuracy: float
    int8_accuracy: float
    drop_points: float
    ci95_points: tuple[float, float]
    agreement: float
    per_class: dict[str, dict[str, float | int | None]] = {}


class Golden(_Part):
    """Generated inputs and what the build host computed for them.

    ``input`` is ``uint8[n, height, width, channels]`` pixels before quantisation, or, where they
    are blocks of b x b equal pixels, ``uint8[n, height / b, width / b, channels]``; ``output`` the
    raw output tensor ``[n, values]`` (int8, or little-endian float32), both base64. The values of a
    classifier are its labels' scores; a detector's are its heads, flattened, in the graph's order.
    ``max_steps`` is how far int8 outputs of correct kernels may be apart, in steps of the output.
    """

    n: int = Field(gt=0)
    input: str
    output: str
    max_steps: int = Field(1, ge=1)

    @classmethod
    def of(cls, pixels: NDArray[np.uint8], output: NDArray[Any]) -> Golden:
        """Pack vectors: ``uint8[n, h, w, c]`` and ``int8`` or ``float32[n, values]``."""
        little = output.astype(output.dtype.newbyteorder("<"), copy=False)
        return cls(
            n=len(pixels),
            input=base64.b64encode(pixels.tobytes()).decode(),
            output=base64.b64encode(little.tobytes()).decode(),
        )

    def pixels(self, spec: InputSpec) -> NDArray[np.uint8]:
        """The inputs, ``uint8[n, height, width, channels]``."""
        stored = self._unpack(self.input, np.dtype(np.uint8), (self.n, -1, spec.channels))
        b = math.isqrt(spec.height * spec.width // max(stored.shape[1], 1)) or 1
        shape = (self.n, spec.height // b, spec.width // b, spec.channels)
        blocks = self._unpack(self.input, np.dtype(np.uint8), shape)
        return blocks.repeat(b, axis=1).repeat(b, axis=2) if b > 1 else blocks

    def expected(self, scheme: str, values: int) -> NDArray[Any]:
        """The outputs, ``int8`` or ``float32[n, values]``."""
        return self._unpack(
            self.output, np.dtype("i1" if scheme == "int8" else "<f4"), (self.n, values)
        )

    def _unpack(self, text: str, dtype: np.dtype[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        try:
            return np.frombuffer(base64.b64decode(text, validate=True), dtype).reshape(shape)
        except ValueError as err:
            raise ModelError(
                f"The golden vectors of this model do not have the shape {shape}: {err}.",
                "Convert the model again, or get a fresh copy of the file.",
            ) from err


class Licence(_Part):
    """What code, weights and data may be used for."""

    code: str
    weights: str
    data: tuple[str, ...] = ()


class ModelContract(_Part):
    """Everything that the runtime must know about a model, and nothing that it can look up."""

    schema_: Literal["edge-fer/contract/1"] = Field(SCHEMA, alias="schema")
    task: Literal["expression-frame", "expression-sequence", "face-detection"] = "expression-frame"
    labels: tuple[str, ...] = Field(min_length=1)
    label_scheme: Literal["ferplus8", "fer2013-7", "custom"]
    input: InputSpec
    output: OutputSpec
    detection: DetectionSpec | None = None
    quantisation: Quantisation = Quantisation(scheme="float32")
    calibration: Calibration | None = None
    metrics: tuple[Metric, ...] = ()
    golden: Golden | None = None
    quality: QualityRanges | None = None
    licence: Licence
    provenance: dict[str, Any] = {}

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.task == "face-detection") != (self.detection is not None):
            raise ValueError("detection goes with the task face-detection, and with no other")
        if self.detection is None and len(self.labels) < 2:
            raise ValueError("a classifier needs two labels or more")
        if len(set(self.labels)) != len(self.labels):
            raise ValueError("a label occurs twice")
        if "unknown" in self.labels:
            raise ValueError("'unknown' is the runtime's word and cannot be a label")
        return self

    @classmethod
    def parse(cls, text: bytes | str, source: str) -> ModelContract:
        """Read a contract.

        Args:
            text: its JSON.
            source: the file it came from, for the error.

        Raises:
            ModelError: not JSON, a field wrong or missing, or a version above 1.
        """
        try:
            raw = json.loads(text)
        except ValueError as err:
            raise ModelError(f"The contract inside {source} is not JSON ({err}).", _FRESH) from err
        version = str(raw.get("schema", "")) if isinstance(raw, dict) else ""
        head, _, number = version.rpartition("/")
        if head == SCHEMA.rpartition("/")[0] and number.isdigit() and int(number) > 1:
            raise ModelError(
                f"{source} carries a contract of version {number}; this edge-fer reads version 1.",
                "Update edge-fer: pip install -U edge-fer",
            )
        try:
            return cls.model_validate(raw)
        except ValidationError as err:
            first = err.errors()[0]
            where = ".".join(str(p) for p in first["loc"]) or "contract"
            raise ModelError(
                f"The contract inside {source} is broken: {where}: {first['msg']}.", _FRESH
            ) from err

    def to_json(self) -> bytes:
        """Canonical bytes: sorted keys, no time, host or path, so that equal models are equal."""
        stated = self.model_dump(mode="json", by_alias=True)
        if self.detection is None:
            del stated["detection"]  # a classifier says nothing of it
        if self.golden is not None and self.golden.max_steps == 1:
            del stated["golden"]["max_steps"]  # the rule, which older files follow unsaid
        return json.dumps(
            stated,
            sort_keys=True,
            separators=(",", ":"),
            allow_nan=False,
        ).encode()

    def with_(self, **changes: Any) -> ModelContract:
        """A copy with some fields replaced, validated again."""
        return ModelContract.model_validate(
            {**{name: getattr(self, name) for name in type(self).model_fields}, **changes}
        )


_FRESH = "Get a fresh copy of the file, or write a contract with: edge-fer models adopt FILE"
