"""Detectors that were never trained: contracts, heads that say what a test wants, and a tiny graph.

Every head is described by its real values; ``quantised`` heads are int8 with a scale of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.backends.base import Array, TensorSpec
from edge_fer.backends.fake import FakeBackend
from edge_fer.contract import (
    DetectionSpec,
    InputSpec,
    Licence,
    ModelContract,
    OutputSpec,
    Quantisation,
    SquareRule,
    TensorQuantisation,
)
from edge_fer.detectors.network import NetworkDetector
from edge_fer.modelfile import ModelFile
from edge_fer.types import Frame, Image

SCORE = TensorQuantisation(scale=1 / 256, zero_point=-128)
VALUE = TensorQuantisation(scale=1 / 32, zero_point=3)
PIXEL = TensorQuantisation(scale=1.0, zero_point=-128)


def gray_spec(height: int, width: int, **changes: Any) -> InputSpec:
    values: dict[str, Any] = {
        "height": height,
        "width": width,
        "channels": 1,
        "colour": "gray",
        "scale": (1.0,),
        "offset": (0.0,),
    }
    return InputSpec.model_validate(values | changes)


def contract_of(
    height: int = 64,
    width: int = 96,
    *,
    decoder: str = "grid",
    strides: Sequence[int] = (8, 16),
    anchors: Sequence[int] | None = None,
    keypoints: Sequence[str] = ("right_eye", "left_eye", "mouth"),
    quantised: bool = True,
    kind: str = "probabilities",
    **detection: Any,
) -> ModelContract:
    scheme = Quantisation(scheme="float32")
    if quantised:
        scheme = Quantisation(scheme="int8", input=PIXEL)
    rule = SquareRule(unit="width", side=1.2, centre_y=0.46)
    spec: dict[str, Any] = {
        "decoder": decoder,
        "strides": strides,
        "anchors": anchors or [1] * len(strides),
        "keypoints": keypoints,
        "square": rule,
    }
    return ModelContract(
        task="face-detection",
        labels=("face",),
        label_scheme="custom",
        input=gray_spec(height, width),
        output=OutputSpec.model_validate({"kind": kind}),
        detection=DetectionSpec.model_validate(spec | detection),
        quantisation=scheme,
        licence=Licence(code="Apache-2.0", weights="none"),
    )


def grid_heads(contract: ModelContract) -> list[TensorSpec]:
    """What a graph of the decoder ``grid`` ends in, finest stride first."""
    spec = contract.detection
    assert spec is not None
    int8 = contract.quantisation.scheme == "int8"
    heads = []
    for stride in spec.strides:
        size = (-(-contract.input.height // stride), -(-contract.input.width // stride))
        for name, depth in (("score", 1), ("box", 4), ("keypoints", 2 * len(spec.keypoints))):
            if depth:
                heads.append(head(f"{name}_{stride}", (1, *size, depth), int8=int8))
    return heads


def head(name: str, shape: tuple[int, ...], *, int8: bool = True) -> TensorSpec:
    tensor = SCORE if name.startswith("score") else VALUE
    dtype = np.dtype(np.int8 if int8 else np.float32)
    return TensorSpec(name=name, shape=shape, dtype=dtype, quantisation=tensor if int8 else None)


def stored(spec: TensorSpec, real: NDArray[Any]) -> Array:
    """Real values as the head holds them."""
    tensor = spec.quantisation
    if tensor is None:
        return real.astype(np.float32).reshape(spec.shape)
    levels = np.clip(np.rint(real / tensor.scale) + tensor.zero_point, -128, 127)
    return levels.astype(np.int8).reshape(spec.shape)


def saying(
    heads: Sequence[TensorSpec], said: Mapping[str, Mapping[tuple[int, int], Any]]
) -> list[Array]:
    """The heads with real values at some cells, by name and (row, column); elsewhere 0."""
    arrays = []
    for spec in heads:
        real = np.zeros(spec.shape, np.float64)
        for (row, column), values in said.get(spec.name, {}).items():
            real[0, row, column] = values
        arrays.append(stored(spec, real))
    return arrays


def file_of(contract: ModelContract, flatbuffer: bytes = b"") -> ModelFile:
    return ModelFile(Path("synthetic.tflite"), flatbuffer, contract, "0" * 64)


def detector_of(
    contract: ModelContract,
    answer: Callable[[Array], Sequence[Array]],
    heads: Sequence[TensorSpec] | None = None,
    **thresholds: float,
) -> NetworkDetector:
    """A detector over a backend that answers with a function of its input."""
    spec, int8 = contract.input, contract.quantisation.scheme == "int8"
    picture = TensorSpec(
        name="picture",
        shape=(1, spec.height, spec.width, spec.channels),
        dtype=np.dtype(np.int8 if int8 else np.float32),
        quantisation=contract.quantisation.input,
    )
    outputs = grid_heads(contract) if heads is None else heads
    backend = FakeBackend(picture, outputs, lambda array: tuple(answer(array)))
    return NetworkDetector(file_of(contract), backend, **thresholds)


def bright_square_detector() -> NetworkDetector:
    """Finds the one bright thing in a picture: heads that are made from where it is."""
    contract = contract_of(128, 128, strides=(8,), min_score=0.4)
    heads = grid_heads(contract)

    def answer(array: Array) -> Sequence[Array]:
        rows, columns = np.nonzero(array[0, :, :, 0] > 100)
        if not len(rows):
            return saying(heads, {})
        x1, x2, y1, y2 = columns.min(), columns.max() + 1, rows.min(), rows.max() + 1
        x, y = (x1 + x2) / 2, (y1 + y2) / 2
        row, column = min(int(y // 8), 15), min(int(x // 8), 15)
        at = (column + 0.5, row + 0.5)
        w, h = (x2 - x1) / 8, (y2 - y1) / 8
        dx, dy = x / 8 - at[0], y / 8 - at[1]
        points = [dx - w / 5, dy - h / 8, dx + w / 5, dy - h / 8, dx, dy + h / 4]
        return saying(
            heads,
            {
                "score_8": {(row, column): 0.75},
                "box_8": {(row, column): [dx, dy, np.log(w), np.log(h)]},
                "keypoints_8": {(row, column): points},
            },
        )

    return detector_of(contract, answer)


def frame_of(picture: Image, source: str = "test") -> Frame:
    """Of ``[H, W]`` luma or ``[H, W, 3]`` BGR pixels."""
    from edge_fer.pictures import luma_of

    colour = picture if picture.ndim == 3 else None
    luma = picture if colour is None else luma_of(picture)
    return Frame(luma=luma, colour=colour, t_ns=0, sequence=0, source=source)
