"""Where int8 differs from float inside the graph: error per layer, in the deployed graph.

Both models run on the same pictures with every tensor kept; activations are paired by name. The
error of a layer is cumulative: it holds what the layers before it did wrong. What a layer adds is
therefore given beside it, as noise over signal of its output minus that of its noisiest input.
The measure is the signal-to-quantisation-noise ratio (Widrow and Kollar, Quantization Noise,
2008), with the float activation as the signal.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.contract import ModelContract
from edge_fer.errors import ModelError
from edge_fer.preprocess import quantise, to_real
from edge_fer.types import Image
from edge_fer_convert.graph import Graph, GraphTensor, Operator
from edge_fer_convert.measuring.probe import open_plain

__all__ = ["MOST_PICTURES", "LayerError", "layer_errors", "short_name", "worst"]

MOST_PICTURES = 32
"""More change the figures little and cost time."""

_DIGITS = 4
_KERNELS = frozenset({"Add", "MatMul", "Mean", "Softmax", "convolution", "depthwise"})
_RAILS = (-128, 127)


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerError:
    """One layer of the int8 graph against the same layer of the float graph.

    Attributes:
        index: place in the order of execution.
        operator: the schema's name: ``CONV_2D``.
        tensor: the name of its output.
        shape: of its output.
        mse: mean squared error of the output, in the float model's units.
        sqnr_db: power of the float output over power of the error, in decibels; None where one of
            the two is zero. 6 dB is one bit.
        added: noise over signal of the output, less that of the noisiest input; below 0 where the
            layer averages noise away. None where ``sqnr_db`` is.
        saturated: share of the int8 values at -128 or 127, not counting the one that stands for 0:
            a ReLU leaves many of those, and they are exact.
        clipped: share of the float values that lie more than half a step outside what int8 holds.
        weight_bytes: weights and biases that it reads, as stored.
    """

    index: int
    operator: str
    tensor: str
    shape: tuple[int, ...]
    mse: float
    sqnr_db: float | None
    added: float | None
    saturated: float
    clipped: float
    weight_bytes: int

    def to_json(self) -> dict[str, Any]:
        """For the report; four significant digits, so that other processors give the same text."""
        return {
            key: list(value) if isinstance(value, tuple) else _short(value)
            for key, value in asdict(self).items()
        }


class _Sums:
    """What is added up over the pictures for one tensor."""

    def __init__(self, tensor: GraphTensor) -> None:
        self.scale, self.zero = tensor.scales[0], tensor.zero_points[0]
        self.rails = [rail for rail in _RAILS if rail != self.zero]
        half = self.scale / 2
        self.low = (_RAILS[0] - self.zero) * self.scale - half
        self.high = (_RAILS[1] - self.zero) * self.scale + half
        self.values = self.saturated = self.clipped = 0
        self.signal = self.noise = 0.0

    def add(self, real: NDArray[np.floating], stored: NDArray[np.int8]) -> None:
        wanted = real.astype(np.float64)
        error = (stored.astype(np.float64) - self.zero) * self.scale - wanted
        self.values += wanted.size
        self.signal += float(np.square(wanted).sum())
        self.noise += float(np.square(error).sum())
        self.saturated += int(np.isin(stored, self.rails).sum())
        self.clipped += int(((wanted < self.low) | (wanted > self.high)).sum())

    @property
    def ratio(self) -> float | None:
        """Noise over signal."""
        return self.noise / self.signal if self.signal > 0 else None


def layer_errors(
    float_flatbuffer: bytes,
    int8_flatbuffer: bytes,
    pixels: Image,
    contract_float: ModelContract,
    contract_int8: ModelContract,
    *,
    on_done: Callable[[int], None] = lambda done: None,
) -> tuple[LayerError, ...]:
    """Run both models with the plain kernels and compare what each layer gives.

    Args:
        float_flatbuffer: the float model that was quantised, after its passes: equalisation moves
            scales between layers, and before it the two graphs hold different numbers.
        int8_flatbuffer: the int8 model; layers whose output has another name there are left out.
        pixels: ``uint8[N, h, w, c]``; the first 32 are used.
        contract_float: says how pixels become the float input.
        contract_int8: says how pixels become the int8 input.
        on_done: told how many pictures have been run.

    Returns:
        The layers in the order of execution.

    Raises:
        ModelError: no activation has the same name in both, the contract has no int8 input, or
            LiteRT cannot run one of the models.
    """
    graphs = Graph.read(float_flatbuffer), Graph.read(int8_flatbuffer)
    pairs = _pairs(*graphs)
    stated = contract_int8.quantisation.input
    if not pairs or stated is None:
        raise ModelError(
            "The float and the int8 model have no layer in common that could be compared.",
            "Compare a model with the float model that it was quantised from.",
        )
    shown = pixels[:MOST_PICTURES]
    real_input = to_real(shown, contract_float.input)
    int8_input = quantise(shown, contract_int8.input, stated)
    interpreters = [open_plain(model) for model in (float_flatbuffer, int8_flatbuffer)]
    sums = {int8.name: _Sums(int8) for _, int8 in pairs}
    for i in range(len(shown)):
        for interpreter, array in ((interpreters[0], real_input), (interpreters[1], int8_input)):
            interpreter.set_tensor(interpreter.get_input_details()[0]["index"], array[i : i + 1])
            interpreter.invoke()
        for real, int8 in pairs:
            sums[int8.name].add(
                interpreters[0].get_tensor(real.index), interpreters[1].get_tensor(int8.index)
            )
        on_done(i + 1)
    made = (_layer(graphs[1], number, sums) for number in range(len(graphs[1].operators)))
    return tuple(layer for layer in made if layer is not None)


def worst(layers: Sequence[LayerError]) -> Iterator[LayerError]:
    """The layers that add noise, the one that adds most first."""
    adding = [layer for layer in layers if layer.added is not None and layer.added > 0]
    yield from sorted(adding, key=lambda layer: (-(layer.added or 0.0), layer.index))


def short_name(tensor: str) -> str:
    """Of the names that a fused layer's tensor carries, the shortest way to say which one it is."""
    fused = [name.split("/") for name in tensor.split(";")]
    best = next((name for name in fused if name[-1] in _KERNELS), fused[0])
    return "/".join(best[-2:])


def _pairs(real: Graph, int8: Graph) -> list[tuple[GraphTensor, GraphTensor]]:
    """Activations of the same name and shape, float in one graph and int8 in the other."""
    floats = {t.name: t for t in real.activations() if t.dtype == "FLOAT32"}
    return [
        (floats[t.name], t)
        for t in int8.activations()
        if t.dtype == "INT8"
        and len(t.scales) == 1
        and t.name in floats
        and floats[t.name].shape == t.shape
    ]


def _layer(graph: Graph, number: int, sums: dict[str, _Sums]) -> LayerError | None:
    operator: Operator = graph.operators[number]
    output = graph.tensors[operator.outputs[0]]
    own = sums.get(output.name)
    if own is None:
        return None
    read = [graph.tensors[i] for i in operator.inputs if i >= 0]
    before = [sums[t.name].ratio or 0.0 for t in read if t.name in sums]
    ratio = own.ratio
    measured = ratio is not None and ratio > 0
    return LayerError(
        index=number,
        operator=operator.name,
        tensor=output.name,
        shape=output.shape,
        mse=own.noise / own.values,
        sqnr_db=-10 * math.log10(ratio) if measured and ratio is not None else None,
        added=ratio - max(before, default=0.0) if measured and ratio is not None else None,
        saturated=own.saturated / own.values,
        clipped=own.clipped / own.values,
        weight_bytes=sum(len(t.data) for t in read if t.data is not None),
    )


def _short(value: Any) -> Any:
    return float(f"{value:.{_DIGITS}g}") if isinstance(value, float) else value
