"""How far each activation reaches: the one thing that calibration learns.

Plain global minimum and maximum per tensor, as TFLite's own converter takes them (Jacob et al.,
arXiv:1712.05877, section 3.1, without its moving average, which clips and depends on the order).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from edge_fer.contract import InputSpec
from edge_fer.errors import ModelError
from edge_fer_convert.graph import Graph, GraphTensor
from edge_fer_convert.measuring.histograms import rounded_up
from edge_fer_convert.measuring.probe import computed, open_plain

__all__ = ["Ranges", "input_range", "run_watched"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranges:
    """Tensor name to (lowest, highest) value seen, in the float model's units."""

    of: Mapping[str, tuple[float, float]]

    def rounded(self) -> Ranges:
        """Every bound moved outward to 10 significant bits, at most 0.2 % further out.

        Processors differ in the last bits of a float sum; without this the same model converted
        on another machine would differ in every scale.
        """
        return Ranges(
            of=MappingProxyType(
                {
                    name: (-rounded_up(-low), rounded_up(high))
                    for name, (low, high) in self.of.items()
                }
            )
        )


def run_watched(
    flatbuffer: bytes,
    inputs: Iterable[NDArray[np.float32]],
    *,
    on_done: Callable[[int], None] = lambda done: None,
) -> Iterator[tuple[GraphTensor, NDArray[np.float32]]]:
    """Run a float model and give every activation, input by input.

    Args:
        flatbuffer: the float model.
        inputs: ``float32[1, h, w, c]`` each.
        on_done: told how many inputs have been run.

    Raises:
        ModelError: LiteRT cannot run the model, or an activation is not a finite number.
    """
    interpreter = open_plain(flatbuffer)
    graph = Graph.read(flatbuffer)
    watched = [t for t in computed(graph) if t.dtype == "FLOAT32"]
    where = graph.inputs[0]
    for done, array in enumerate(inputs, 1):
        interpreter.set_tensor(where, array)
        interpreter.invoke()
        for tensor in watched:
            value = interpreter.get_tensor(tensor.index)
            low, high = float(value.min()), float(value.max())
            if not (math.isfinite(low) and math.isfinite(high)):
                raise ModelError(
                    f"The float model computes {low} to {high} in {tensor.name}.",
                    "Its weights are damaged or it diverged in training: train it again.",
                )
            yield tensor, value
        on_done(done)


def input_range(spec: InputSpec) -> tuple[float, float]:
    """The range of the input tensor, such that pixels go in without loss where that is possible.

    int8 takes integers only for its zero point. Where black is a whole number of gray steps away
    from 0 (0..1, 0..255, -128..127), scale and zero point make ``int8 = uint8 - 128`` exact.
    Elsewhere (-1..1) the zero point is the one that needs the least widening; only the two
    middle gray values fall together then.

    Returns:
        (low, high) such that ``scale = (high - low) / 255`` and
        ``zero_point = -128 - low / scale`` is whole.
    """
    ends = [
        end
        for scale, offset in zip(spec.scale, spec.offset, strict=True)
        for end in (offset, offset + 255 * scale)
    ]
    low, high = min(0.0, *ends), max(0.0, *ends)

    def step(zero_point: int) -> float:
        """The smallest scale that reaches both ends from this zero point."""
        steps_down, steps_up = zero_point + 128, 127 - zero_point
        down = -low / steps_down if steps_down else (math.inf if low < 0 else 0.0)
        up = high / steps_up if steps_up else (math.inf if high > 0 else 0.0)
        return max(down, up)

    # Rounded, so that of two equally good zero points the one nearer to 0 wins everywhere.
    best = min(range(-128, 128), key=lambda z: (round(step(z), 12), abs(z)))
    return (-128 - best) * step(best), (127 - best) * step(best)
