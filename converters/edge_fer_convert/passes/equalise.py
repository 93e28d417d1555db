"""Channels of very different reach share one int8 scale; equalisation makes them alike first.

Cross-layer equalisation (Nagel et al., arXiv:1906.04721): where the path between two layers is
positively homogeneous, f(s x) = s f(x), the first layer's output channel may be divided by s and
the second one's input channel multiplied by it; the float model computes the same. Weights have a
scale per output channel here, so the first layer pays nothing for it. What is balanced is
therefore the channel's *activation*, as measured, against the second layer's weights
(SmoothQuant, arXiv:2211.10438, with strength 0.5); a depthwise second layer pays nothing either,
and its input is made equal altogether.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer_convert.graph import (
    Graph,
    Operator,
    constant,
    from_object,
    set_constant,
    to_object,
)
from edge_fer_convert.measuring.probe import Probe
from edge_fer_convert.passes.paths import FUSED, RELU, RELU6, is_depthwise, paths

__all__ = ["equalise"]

_LIMIT = 64.0  # no channel is moved further than this


def equalise(
    flatbuffer: bytes,
    inputs: Iterable[NDArray[np.float32]],
    *,
    on_done: Callable[[int], None] = lambda done: None,
) -> bytes:
    """Rescale every two layers with a single, positively homogeneous path between them.

    Args:
        flatbuffer: a float model in canonical form.
        inputs: ``float32[1, h, w, c]`` calibration pictures as it takes them.
        on_done: told how many of them have been run.

    Returns:
        A float model that computes the same up to rounding. A ReLU6 that never reached 6 has
        become a ReLU; where one does reach 6, its layer is left alone.
    """
    reach = _reach(flatbuffer, inputs, on_done)
    model = to_object(flatbuffer)
    graph = Graph.of(model)
    changed = False
    for path in paths(graph):
        if path.second is None:
            continue
        first, second = graph.operators[path.first], graph.operators[path.second]
        output = reach[graph.tensors[first.outputs[0]].name]
        if first.option(FUSED) == RELU6:
            if output.max() >= 6:
                continue
            model.subgraphs[0].operators[path.first].builtinOptions.fusedActivationFunction = RELU
        # What this layer's input was divided by does not change the reach of its output.
        widest = np.max([reach[graph.tensors[t].name] for t in path.between], axis=0)
        factor = _factors(widest, None if is_depthwise(second) else _columns(model, second))
        _divide_outputs(model, first, factor)
        _multiply_inputs(model, second, factor)
        changed = True
    return from_object(model) if changed else flatbuffer


def _reach(
    flatbuffer: bytes, inputs: Iterable[NDArray[np.float32]], on_done: Callable[[int], None]
) -> dict[str, NDArray[np.float64]]:
    """The largest absolute value of each channel of each activation, ``float64[C]`` by name."""
    probe = Probe(flatbuffer)
    found: dict[str, NDArray[np.float64]] = {}
    for done, picture in enumerate(inputs, 1):
        for name, value in probe(picture).items():
            seen = np.abs(value.reshape(-1, value.shape[-1])).max(axis=0).astype(np.float64)
            found[name] = np.maximum(found[name], seen) if name in found else seen
        on_done(done)
    return found


def _factors(
    activation: NDArray[np.float64], weights: NDArray[np.float64] | None
) -> NDArray[np.float64]:
    """What each channel is divided by: ``float64[C]`` around 1; 1 for a channel that is dead."""
    ideal = activation if weights is None else np.sqrt(activation * _inverse(weights))
    alive = (ideal > 0) & np.isfinite(ideal)
    if not alive.any():
        return np.ones_like(activation)
    centre = np.exp(np.log(ideal[alive]).mean())
    factor = np.where(alive, ideal / centre, 1.0)
    return np.asarray(np.clip(factor, 1 / _LIMIT, _LIMIT), np.float64)


def _inverse(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(1.0, values, out=np.zeros_like(values), where=values > 0)


def _columns(model: Any, operator: Operator) -> NDArray[np.float64]:
    """How far each input channel's weights reach within the scale of their output channel."""
    weights = np.abs(constant(model, operator.inputs[1]).astype(np.float64))
    rows = weights.reshape(len(weights), -1).max(axis=1)
    relative = weights * _inverse(rows).reshape(-1, *(1,) * (weights.ndim - 1))
    return np.asarray(relative.max(axis=tuple(range(weights.ndim - 1))))


def _divide_outputs(model: Any, operator: Operator, factor: NDArray[np.float64]) -> None:
    weights = constant(model, operator.inputs[1])
    shape = (1, 1, 1, -1) if is_depthwise(operator) else (-1, *(1,) * (weights.ndim - 1))
    set_constant(model, operator.inputs[1], weights / factor.reshape(shape))
    if len(operator.inputs) > 2 and operator.inputs[2] >= 0:
        set_constant(model, operator.inputs[2], constant(model, operator.inputs[2]) / factor)


def _multiply_inputs(model: Any, operator: Operator, factor: NDArray[np.float64]) -> None:
    # The input channel is the last axis of all three kinds of weights.
    weights = constant(model, operator.inputs[1])
    set_constant(model, operator.inputs[1], weights * factor)
