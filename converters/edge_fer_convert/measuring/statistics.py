"""What the activations of a float model are like, and the ranges that follow from it.

One pass over the calibration pictures gives a histogram of every activation; minimum and maximum,
percentiles and the ranges of least error are then read off without running the model again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from edge_fer.errors import ConfigError
from edge_fer_convert.graph import Graph, Operator
from edge_fer_convert.measuring.histograms import Histogram, rounded_up
from edge_fer_convert.measuring.ranges import Ranges, run_watched
from edge_fer_convert.operators import RULES

__all__ = ["Statistics", "measure_statistics"]

_ONE_SCALE = frozenset(name for name, rule in RULES.items() if rule.scales == "shared")
# Through these clipping passes unchanged: it makes no odds whether it is done before or after.
_CLIPS_ALIKE = _ONE_SCALE - {"AVERAGE_POOL_2D", "RESIZE_BILINEAR"}
# The kernel has its own output scale, whatever was seen.
_FIXED_SCALE = frozenset(name for name, rule in RULES.items() if rule.fixed is not None)
_METHODS = "Known: minmax, mse, percentile:P with P above 50 and at most 100."


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistics:
    """Of every float activation, by tensor name; the order of the pictures means nothing.

    Attributes:
        graph: the model.
        histograms: of every activation, the input included.
    """

    graph: Graph = field(repr=False)
    histograms: Mapping[str, Histogram] = field(repr=False)

    def ranges(
        self, method: str = "minmax", *, pinned: Mapping[str, tuple[float, float]] | None = None
    ) -> Ranges:
        """A range for every activation, 0 included, equal for tensors that share a scale.

        The input, the output, and what a kernel gives a fixed scale keep their exact ends: a
        clipped score could tie with another.

        Args:
            method: ``minmax``; ``percentile:99.99``, values left out at either end; ``mse``, the
                least error of int8 (:meth:`Histogram.least_error`).
            pinned: ranges that are known, by tensor; they stand as they are, also for tensors
                that share their scale and reach no further. The others are rounded outward to
                10 bits.

        Raises:
            ConfigError: no such method.
        """
        choose = _chooser(method)
        known, ends = pinned or {}, self._exact()
        found: dict[str, tuple[float, float]] = {}
        rounded: dict[str, tuple[float, float]] = {}
        for group in self._groups():
            fixed = next((known[name] for name in sorted(group) if name in known), None)
            if fixed is not None:
                others = [self.histograms[name] for name in group if name not in known]
                found |= dict.fromkeys(group, _holding(fixed, others))
                continue
            exact = method == "minmax" or bool(group & ends)
            seen = group if exact else self._seen(group)
            whole = Histogram().merged(*(self.histograms[name] for name in sorted(seen)))
            low, high = (whole.lowest, whole.highest) if exact else choose(whole)
            rounded |= dict.fromkeys(group, (min(low, 0.0), max(high, 0.0)))
        found |= Ranges(of=rounded).rounded().of
        return Ranges(of=MappingProxyType({name: found[name] for name in self.histograms}))

    def _activations(self, numbers: Iterable[int]) -> list[str]:
        names = (self.graph.tensors[i].name for i in numbers if i >= 0)
        return [name for name in names if name in self.histograms]

    def _groups(self) -> list[frozenset[str]]:
        """The tensors that must have one range, each with its like."""
        of = {name: frozenset({name}) for name in self.histograms}
        for operator in self.graph.operators:
            if operator.name in _ONE_SCALE:
                tied = self._activations((*operator.inputs, *operator.outputs))
                joined = frozenset[str]().union(*(of[name] for name in tied))
                of |= dict.fromkeys(joined, joined)
        return list(dict.fromkeys(of.values()))

    def _exact(self) -> frozenset[str]:
        made = (o.outputs for o in self.graph.operators if o.name in _FIXED_SCALE)
        ends = (self.graph.inputs, self.graph.outputs, *made)
        return frozenset(name for numbers in ends for name in self._activations(numbers))

    def _readers(self, name: str) -> Iterator[Operator]:
        return (o for o in self.graph.operators if name in self._activations(o.inputs))

    def _seen(self, group: frozenset[str]) -> frozenset[str]:
        """Those of a group whose values somebody computes with: before a max pool only the pooled
        ones do, the others may be clipped as if they were not there.
        """
        return frozenset(
            name
            for name in group
            if any(reader.name not in _CLIPS_ALIKE for reader in self._readers(name))
            or not any(self._readers(name))
        )


def measure_statistics(
    flatbuffer: bytes,
    inputs: Iterable[NDArray[np.float32]],
    *,
    on_done: Callable[[int], None] = lambda done: None,
) -> Statistics:
    """Run a float model once over the inputs and count.

    Args:
        flatbuffer: the float model.
        inputs: ``float32[1, h, w, c]`` each.
        on_done: told how many inputs have been run.

    Raises:
        ModelError: LiteRT cannot run the model, or an activation is not a finite number.
    """
    histograms: dict[str, Histogram] = {}
    for tensor, value in run_watched(flatbuffer, inputs, on_done=on_done):
        histograms.setdefault(tensor.name, Histogram()).add(value)
    return Statistics(graph=Graph.read(flatbuffer), histograms=histograms)


def _holding(fixed: tuple[float, float], others: Sequence[Histogram]) -> tuple[float, float]:
    """A known range, either end moved out as far as those that share its scale reach beyond it.

    What shares the input's scale may reach further, a branch beside it for example.
    """
    low, high = fixed
    lowest = min((h.lowest for h in others), default=low)
    highest = max((h.highest for h in others), default=high)
    return (
        low if low <= lowest else -rounded_up(-lowest),
        high if highest <= high else rounded_up(highest),
    )


def _chooser(method: str) -> Callable[[Histogram], tuple[float, float]]:
    name, colon, number = method.partition(":")
    if name == "percentile" and colon:
        try:
            percent = float(number)
        except ValueError:
            percent = 0.0
        if 50 < percent <= 100:
            return lambda histogram: histogram.percentile(percent)
    elif method in ("minmax", "mse"):
        return Histogram.least_error
    raise ConfigError(f"There is no way {method!r} to choose ranges.", _METHODS)
