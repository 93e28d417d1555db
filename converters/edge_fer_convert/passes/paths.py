"""Where a layer's channels go before the next layer mixes them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edge_fer_convert.graph import Graph, Operator

__all__ = ["FUSED", "NONE", "RELU", "RELU6", "Path", "is_depthwise", "is_layer", "paths"]

# ActivationFunctionType of the schema, and the option that holds it.
NONE, RELU, RELU6 = 0, 1, 3
FUSED = "fusedActivationFunction"

_LAYERS = frozenset({"CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"})
# f(s x) = s f(x) for s > 0, channel by channel.
_HOMOGENEOUS = frozenset({"RELU", "LEAKY_RELU", "MAX_POOL_2D", "AVERAGE_POOL_2D", "PAD", "MEAN"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """A layer, and the positively homogeneous operators that alone read its output.

    Attributes:
        first: operator number of the layer.
        second: operator number of the layer that the path ends in, or None where it ends in
            something else: a residual sum, a second reader, the graph's output.
        between: tensor numbers on the way, the layer's output first; each carries its channels.
        rectified: a ReLU or leaky ReLU lies on the way, so that values below 0 hardly count.
    """

    first: int
    second: int | None
    between: tuple[int, ...]
    rectified: bool


def paths(graph: Graph) -> tuple[Path, ...]:
    """One for every layer with constant weights, in the order in which they run.

    Left out: layers with a fused activation other than ReLU and ReLU6, depth multipliers above 1.
    """
    readers: dict[int, list[int]] = {}
    for number, operator in enumerate(graph.operators):
        for tensor in operator.inputs:
            readers.setdefault(tensor, []).append(number)
    return tuple(
        _path(graph, readers, number)
        for number, operator in enumerate(graph.operators)
        if is_layer(graph, operator) and operator.option(FUSED) in (NONE, RELU, RELU6)
    )


def is_layer(graph: Graph, operator: Operator) -> bool:
    """A convolution or dense layer with constant weights whose channels map one to one."""
    if operator.name not in _LAYERS or graph.tensors[operator.inputs[1]].data is None:
        return False
    return not is_depthwise(operator) or operator.option("depthMultiplier") == 1


def is_depthwise(operator: Operator) -> bool:
    """A layer in which each channel has weights of its own only."""
    return operator.name == "DEPTHWISE_CONV_2D"


def _path(graph: Graph, readers: dict[int, list[int]], number: int) -> Path:
    operator = graph.operators[number]
    between, second = [operator.outputs[0]], None
    rectified = operator.option(FUSED) != NONE
    while between[-1] not in graph.outputs and len(readers.get(between[-1], ())) == 1:
        (after,) = readers[between[-1]]
        reader = graph.operators[after]
        if is_layer(graph, reader) and reader.inputs[0] == between[-1]:
            # A flattened map has more inputs than there are channels.
            matches = graph.tensors[reader.inputs[1]].shape[-1] == _channels(graph, between[0])
            second = after if matches else None
            break
        if not _keeps_channels(graph, reader):
            break
        rectified |= reader.name in ("RELU", "LEAKY_RELU")
        between.append(reader.outputs[0])
    return Path(first=number, second=second, between=tuple(between), rectified=rectified)


def _channels(graph: Graph, tensor: int) -> int:
    return graph.tensors[tensor].shape[-1]


def _keeps_channels(graph: Graph, operator: Operator) -> bool:
    """Homogeneous, and the last axis is what it was."""
    if operator.name not in _HOMOGENEOUS or operator.option(FUSED) not in (None, NONE, RELU):
        return False
    before, after = operator.inputs[0], operator.outputs[0]
    if operator.name == "MEAN":
        axes = np.frombuffer(graph.tensors[operator.inputs[1]].data or b"", "<i4") % 4
        if len(axes) == 0 or 3 in axes:  # over the channels themselves
            return False
    same = _channels(graph, before) == _channels(graph, after)
    return same and len(graph.tensors[before].shape) == 4
