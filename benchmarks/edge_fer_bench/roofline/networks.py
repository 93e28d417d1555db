"""The networks of a pipeline: what each multiplies and moves, by its file."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_fer.backends.base import Array
from edge_fer.graphfile import GraphTable, read_graph
from edge_fer.loaded import LoadedModel
from edge_fer.pipeline import Pipeline
from edge_fer.preprocess import quantise, to_real
from edge_fer.types import Detector
from edge_fer_bench.roofline.turns import Timed

__all__ = ["Network", "detectors", "networks", "typical_input"]

_DEPTHWISE = "DEPTHWISE_CONV_2D"
_BYTES = {"INT8": 1, "UINT8": 1, "BOOL": 1, "INT16": 2, "FLOAT16": 2, "INT32": 4, "FLOAT32": 4}


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network: its work by the file, and its time here.

    Attributes:
        name: of the model file.
        scheme: ``int8`` or ``float32``.
        on_cpu: whether its backend is on the processor that the peak is of.
        size_bytes: of the file.
        operators: in its graph.
        macs: multiply-accumulates of one run; None where some operator's cannot be told.
        depthwise_macs: those of depthwise convolutions.
        moved_bytes: weights, input and what each operator writes, each once; None where unknown.
        timed: one call, from the input array to the output arrays.
    """

    name: str
    scheme: str
    on_cpu: bool
    size_bytes: int
    operators: int
    macs: int | None
    depthwise_macs: int
    moved_bytes: int | None
    timed: Timed

    @classmethod
    def of(cls, part: LoadedModel, timed: Timed) -> Network:
        """Read what the file tells."""
        graph = read_graph(part.model.flatbuffer)
        counted = [line.macs or 0 for line in graph.lines if line.operator == _DEPTHWISE]
        return cls(
            name=part.model.name,
            scheme=part.contract.quantisation.scheme,
            on_cpu=not part.backend.name.startswith("edgetpu"),
            size_bytes=Path(part.model.path).stat().st_size,
            operators=len(graph.lines),
            macs=graph.macs,
            depthwise_macs=sum(counted),
            moved_bytes=_moved_bytes(part, graph),
            timed=timed,
        )

    @property
    def ms(self) -> float:
        """Median milliseconds of one call."""
        return self.timed.p50_ns / 1e6

    @property
    def gmac_s(self) -> float | None:
        """10^9 multiply-accumulates per second in the median call; None without a count."""
        return None if self.macs is None else self.macs / max(1.0, self.timed.p50_ns)

    @property
    def intensity(self) -> float | None:
        """Multiply-accumulates per byte; None where either is unknown."""
        if self.macs is None or not self.moved_bytes:
            return None
        return self.macs / self.moved_bytes

    def to_json(self) -> dict[str, Any]:
        """Its figures."""
        return {
            "name": self.name,
            "scheme": self.scheme,
            "size_bytes": self.size_bytes,
            "operators": self.operators,
            "macs": self.macs,
            "depthwise_macs": self.depthwise_macs,
            "moved_bytes": self.moved_bytes,
            "mac_per_byte": self.intensity,
            "invoke_ms": {
                "n": self.timed.calls,
                "p25": self.timed.p25_ns / 1e6,
                "p50": self.ms,
                "p75": self.timed.p75_ns / 1e6,
            },
            "gmac_s": self.gmac_s,
        }


def detectors(pipeline: Pipeline) -> tuple[Detector, ...]:
    """That of whole frames, and that of regions where a tracker has another for them."""
    return pipeline.tracker.detectors if pipeline.tracker else (pipeline.detector,)


def networks(pipeline: Pipeline) -> list[LoadedModel]:
    """The networks that a pipeline calls: the classifier, and those of its detectors."""
    near = detectors(pipeline)
    return [pipeline.classifier, *(part for part in near if isinstance(part, LoadedModel))]


def typical_input(part: LoadedModel) -> Array:
    """A picture of soft shades and some noise, as the network takes it."""
    spec, tensor = part.contract.input, part.contract.quantisation.input
    rng = np.random.default_rng(1)
    coarse = rng.uniform(40, 200, (5, 5, spec.channels)).astype(np.float32)
    smooth = cv2.resize(coarse, (spec.width, spec.height)).reshape(
        spec.height, spec.width, spec.channels
    )
    pixels = (smooth + rng.normal(0, 4, smooth.shape)).clip(0, 255).astype(np.uint8)[None]
    return to_real(pixels, spec) if tensor is None else quantise(pixels, spec, tensor)


def _moved_bytes(part: LoadedModel, graph: GraphTable) -> int | None:
    if any(line.dtype not in _BYTES or min(line.shape, default=1) < 0 for line in graph.lines):
        return None
    given = part.backend.input
    written = sum(prod(line.shape) * _BYTES[line.dtype] for line in graph.lines)
    return graph.weight_bytes + written + prod(given.shape) * given.dtype.itemsize
