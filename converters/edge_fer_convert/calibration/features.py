"""Where a model puts a picture: what its last layer reads, as a vector per picture."""

from __future__ import annotations

import math
from contextlib import closing
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge_fer.backends import open_backend
from edge_fer.contract import InputSpec
from edge_fer.errors import ModelError
from edge_fer.preprocess import to_real
from edge_fer.types import Image
from edge_fer_convert.graph import Graph, GraphTensor, Operator, from_object, to_object

__all__ = ["Features", "far_apart", "penultimate"]

_BITS = 7  # and a sign


class Features(Protocol):
    """A place for every picture, near for pictures that are alike.

    Attributes:
        layer: its name, for the report.
        macs: multiplications in convolutions and dense layers that one picture takes.
    """

    @property
    def layer(self) -> str: ...

    @property
    def macs(self) -> int: ...

    def __call__(self, pixels: Image) -> NDArray[np.float32]:
        """``uint8[N, height, width, channels]`` to ``float32[N, F]``."""
        ...


def penultimate(flatbuffer: bytes, spec: InputSpec) -> Features:
    """What the last dense layer of a model reads, or else whatever makes its output.

    Args:
        flatbuffer: the float model, without a contract.
        spec: its input.

    Raises:
        ModelError: the output does not depend on the picture.
    """
    return _Penultimate(flatbuffer, spec)


def far_apart(points: NDArray[np.float32], count: int) -> list[int]:
    """The k-centre greedy order (Sener and Savarese, arXiv:1708.00489, algorithm 1).

    First the point nearest to the mean, then each time the one farthest from those taken. The
    first n of the order are the choice for n. Coordinates are rounded to 8 bits first: distances
    are whole numbers then, the same on every processor. Of equals the first is taken.

    Args:
        points: ``float32[N, F]``.
        count: how many, at most N.

    Returns:
        Their places.
    """
    reach = float(np.abs(points).max(initial=0.0))
    scale = math.ldexp(1.0, _BITS - math.frexp(reach)[1])
    whole = np.rint(points.astype(np.float64) * scale)
    squares = (whole * whole).sum(axis=1)
    # n |x - mean|^2 without its constant part, which keeps it whole.
    from_mean = len(whole) * squares - 2 * whole @ whole.sum(axis=0)
    taken: list[int] = []
    distance = np.full(len(whole), np.inf)
    for _ in range(count):
        new = int(np.argmax(distance)) if taken else int(np.argmin(from_mean))
        taken.append(new)
        distance = np.minimum(distance, squares + squares[new] - 2 * whole @ whole[new])
        distance[taken] = -1  # copies of a taken point are at 0
    return taken


class _Penultimate:
    """A float model, cut off before its last layer; LiteRT with XNNPACK runs the rest."""

    def __init__(self, flatbuffer: bytes, spec: InputSpec) -> None:
        graph = Graph.read(flatbuffer)
        tensor = _read_by_the_last_layer(graph)
        needed = _needed_for(graph, tensor.index)
        self._spec = spec
        self._layer = tensor.name
        self._macs = sum(_macs_of(graph, graph.operators[i]) for i in needed)
        self._model = _cut(flatbuffer, tensor.index, needed) if needed else None

    @property
    def layer(self) -> str:
        return self._layer

    @property
    def macs(self) -> int:
        return self._macs

    def __call__(self, pixels: Image) -> NDArray[np.float32]:
        real = to_real(pixels, self._spec)
        if self._model is None:  # the last layer reads the picture itself
            return real.reshape(len(real), -1)
        with closing(open_backend("litert", self._model)) as backend:
            rows = [backend.run(real[i : i + 1])[0].ravel() for i in range(len(real))]
        return np.stack(rows)


def _read_by_the_last_layer(graph: Graph) -> GraphTensor:
    dense = [o for o in graph.operators if o.name == "FULLY_CONNECTED"]
    makers = [o for o in graph.operators if graph.outputs[0] in o.outputs]
    for operator in (*reversed(dense), *makers):
        for number in operator.inputs:
            tensor = graph.tensors[number]
            if number >= 0 and tensor.data is None and tensor.dtype == "FLOAT32":
                return tensor
    raise ModelError(
        "The model computes its output from nothing that depends on the picture.",
        "Give a float classifier of pictures.",
    )


def _needed_for(graph: Graph, tensor: int) -> list[int]:
    """The operators, by place, that a tensor depends on."""
    wanted, needed = {tensor}, []
    for place, operator in reversed(list(enumerate(graph.operators))):
        if wanted & set(operator.outputs):
            wanted |= set(operator.inputs)
            needed.append(place)
    return needed[::-1]


def _cut(flatbuffer: bytes, output: int, needed: list[int]) -> bytes:
    model = to_object(flatbuffer)
    main = model.subgraphs[0]
    main.operators = [main.operators[place] for place in needed]
    main.outputs = [output]
    model.signatureDefs = []  # they name the old output
    return from_object(model)


def _macs_of(graph: Graph, operator: Operator) -> int:
    if operator.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV"):
        return 0
    kernel = math.prod(graph.tensors[operator.inputs[1]].shape)
    if operator.name == "FULLY_CONNECTED":
        return kernel
    # A transposed convolution uses its kernel at every place of its input, the third one.
    transposed = operator.name == "TRANSPOSE_CONV"
    shape = graph.tensors[operator.inputs[2] if transposed else operator.outputs[0]].shape
    return kernel * shape[1] * shape[2]
