"""Bias correction: int8 shifts the mean of a channel; the layer's bias takes it back.

Empirical form (Nagel et al., arXiv:1906.04721, section 4.2), layer after layer from the input on,
because what is corrected early need not be corrected again later. What is matched is the mean that
the next layer reads: the maximum over noisy values is too large on average, so a mean that is
right before pooling is wrong behind it (measured: 2 dB worse in the last layers of a pooled net).
Behind a ReLU only the share of values above 0 moves with the bias; the step is divided by it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer_convert.graph import Graph, constant, from_object, set_constant, to_object
from edge_fer_convert.measuring.probe import Probe
from edge_fer_convert.passes.paths import Path, paths

__all__ = ["correct_bias"]

_LEAST_ACTIVE = 0.1  # a channel that hardly ever fires says little about its mean


def correct_bias(
    flatbuffer: bytes,
    quantised: Callable[[bytes], bytes],
    inputs: NDArray[np.float32],
    *,
    progress: Callable[[int], Callable[[int], None]] = lambda total: lambda done: None,
) -> bytes:
    """Correct every layer that has a bias.

    Args:
        flatbuffer: the float model in canonical form.
        quantised: makes the int8 model of a float one, always with the same ranges.
        inputs: ``float32[N, h, w, c]`` calibration pictures as the float model takes them.
        progress: gives the counter of so many layers.

    Returns:
        A float model whose int8 form has the channel means of ``flatbuffer``; in float it is
        biased the other way.
    """
    graph = Graph.read(flatbuffer)
    corrected = [(p, bias) for p in paths(graph) if (bias := _bias(graph, p)) is not None]
    names = [graph.tensors[path.between[-1]].name for path, _ in corrected]
    wanted = _means(Probe(flatbuffer, names), inputs)
    on_done = progress(len(corrected))
    for done, ((path, bias), name) in enumerate(zip(corrected, names, strict=True), 1):
        found, _ = _means(Probe(quantised(flatbuffer), [name]), inputs)[name]
        mean, positive = wanted[name]
        moves = np.maximum(positive, _LEAST_ACTIVE) if path.rectified else 1.0
        model: Any = to_object(flatbuffer)
        set_constant(model, bias, constant(model, bias) + (mean - found) / moves)
        flatbuffer = from_object(model)
        on_done(done)
    return flatbuffer


def _bias(graph: Graph, path: Path) -> int | None:
    inputs = graph.operators[path.first].inputs
    return inputs[2] if len(inputs) > 2 and inputs[2] >= 0 else None


def _means(
    probe: Probe, inputs: Iterable[NDArray[np.float32]]
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """By tensor name: mean, and share of values above 0, ``float64[C]`` each."""
    sums: dict[str, list[NDArray[np.float64]]] = {}
    count = 0
    for picture in inputs:
        count += 1
        for name, value in probe(picture[None]).items():
            flat = value.reshape(-1, value.shape[-1]).astype(np.float64)
            parts = [flat.mean(axis=0), (flat > 0).mean(axis=0)]
            held = sums.setdefault(name, [np.zeros(value.shape[-1]) for _ in parts])
            for total, part in zip(held, parts, strict=True):
                np.add(total, part, out=total)
    return {name: (mean / count, positive / count) for name, (mean, positive) in sums.items()}
