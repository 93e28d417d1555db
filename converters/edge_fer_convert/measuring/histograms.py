"""How often a tensor takes which value: counted in one pass, and what to clip follows from it.

Bins are a power of two wide and aligned at 0. A value out of reach doubles their width and joins
neighbours, which is exact, so the counts depend on the values alone: not on their order, and not
on how they were parted before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["Histogram", "rounded_up"]

_MANTISSA_BITS = 10
_BINS_LOG2 = 11  # at most 2048 bins from lowest to highest, so at least about 1024
_FINEST = -100  # bins of 2**-100: what is smaller counts as next to nothing

_STEPS = 255  # of int8
_PER_OCTAVE = 16  # clipping bounds that are tried: 4 % apart
_OCTAVES = 6  # ... down to 1/64 of what was seen
_ROUNDS = 8
_AS_GOOD = 1.001  # of two errors this close the wider range is taken


class Histogram:
    """Counts of the values of one tensor, with their exact ends.

    Attributes:
        lowest, highest: of the values; infinite (``inf``, ``-inf``) while there are none.
        zeros: how many were exactly 0, which int8 represents without error.
        total: how many there were.
    """

    __slots__ = ("_counts", "_exponent", "_first", "highest", "lowest", "total", "zeros")

    def __init__(self) -> None:
        self.lowest, self.highest = math.inf, -math.inf
        self.zeros = self.total = 0
        self._exponent, self._first = _FINEST, 0
        self._counts = np.zeros(1, np.int64)

    @property
    def width(self) -> float:
        """Of a bin, a power of two."""
        return math.ldexp(1.0, self._exponent)

    @property
    def counts(self) -> NDArray[np.int64]:
        """``int64[bins]``, from the bin of the lowest value (or 0) to that of the highest."""
        return self._counts

    @property
    def edges(self) -> NDArray[np.float64]:
        """``float64[bins + 1]``; a bin holds its lower edge, not its upper one."""
        places = np.arange(self._first, self._first + len(self._counts) + 1)
        return places.astype(np.float64) * self.width

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Histogram):
            return NotImplemented
        ours, theirs = (
            (h.lowest, h.highest, h.zeros, h.total, h._exponent, h._first) for h in (self, other)
        )
        return ours == theirs and np.array_equal(self._counts, other._counts)

    __hash__ = None  # type: ignore[assignment]  # it grows

    def add(self, values: NDArray[np.float32]) -> None:
        """Count some values, of any shape.

        Raises:
            ValueError: one is not a finite number.
        """
        flat = values.ravel()
        if not flat.size:
            return
        low, high = float(flat.min()), float(flat.max())
        if not (math.isfinite(low) and math.isfinite(high)):
            raise ValueError(f"values from {low} to {high} cannot be counted")
        self._reach(low, high)
        # float64, so that scaling by a power of two is exact for every float32.
        places = np.multiply(flat, math.ldexp(1.0, -self._exponent), dtype=np.float64)
        np.floor(places, out=places)
        places -= self._first
        self._counts += np.bincount(places.astype(np.intp), minlength=len(self._counts))
        self.zeros += int(flat.size - np.count_nonzero(flat))
        self.total += flat.size

    def merged(self, *others: Histogram) -> Histogram:
        """Of all their values together."""
        whole = Histogram()
        for part in (self, *others):
            if not part.total:
                continue
            whole._reach(part.lowest, part.highest)
            places = _coarser(part._places(), whole._exponent - part._exponent) - whole._first
            np.add.at(whole._counts, places, part._counts)
            whole.zeros += part.zeros
            whole.total += part.total
        return whole

    def percentile(self, percent: float) -> tuple[float, float]:
        """(low, high) that leave at most ``100 - percent`` % of the values out at either end.

        To the edge of a bin outward; 100 gives the exact ends.

        Args:
            percent: above 50, at most 100.
        """
        spare = math.floor(self.total * (1 - percent / 100))
        edges, below = self.edges, np.cumsum(self._counts)
        first = int(np.searchsorted(below, spare, side="right"))
        last = int(np.searchsorted(below, self.total - spare, side="left"))
        return max(self.lowest, float(edges[first])), min(self.highest, float(edges[last + 1]))

    def squared_error(self, low: float, high: float) -> float:
        """Mean squared error of int8 over [low, high]: what is clipped and what is rounded.

        Exact for values that lie evenly within each bin; zeros cost nothing. Scale and zero
        point are those that a quantiser makes of the range.

        Args:
            low: of the range, at most 0.
            high: of the range, at least 0; with ``low == high`` the error is infinite.
        """
        step = (high - low) / _STEPS
        if step <= 0:
            return math.inf
        zero_point = round(-low / step)
        bottom, top = -zero_point * step, (_STEPS - zero_point) * step
        edges = self.edges
        inside = np.clip(edges, bottom, top)
        whole = np.rint(inside / step)
        # The integral of the squared error up to each edge; rounding's is a sawtooth's.
        integral = whole * step**3 / 12 + (inside - whole * step) ** 3 / 3
        integral += (edges - inside) ** 3 / 3
        counts = self._counts.astype(np.float64)
        counts[-self._first] -= self.zeros
        return float(np.diff(integral) @ counts) / self.width / self.total

    def least_error(self) -> tuple[float, float]:
        """(low, high) with the least :meth:`squared_error`, either side searched in turn.

        The error is split into clipping and rounding as in ACIQ (Banner et al.,
        arXiv:1810.05723) and minimised over the values themselves, not over a density that they
        might have, as in OCTAV (Sakr et al., arXiv:2206.06501). The bounds tried are 4 % apart and
        of 10 bits, so that the last bits of a count do not matter.
        """
        lows, highs = _bounds(min(self.lowest, 0.0)), _bounds(max(self.highest, 0.0))
        low, high = lows[0], highs[0]
        for _ in range(_ROUNDS):
            before = low, high
            errors = [self.squared_error(low, end) for end in highs]
            high = highs[_widest_of_the_best(errors)]
            errors = [self.squared_error(end, high) for end in lows]
            low = lows[_widest_of_the_best(errors)]
            if (low, high) == before:
                break
        return low, high

    def _reach(self, low: float, high: float) -> None:
        """Widen and extend the bins until they hold [low, high] and 0."""
        self.lowest, self.highest = min(self.lowest, low), max(self.highest, high)
        low, high = min(self.lowest, 0.0), max(self.highest, 0.0)
        exponent = max(_FINEST, math.frexp(high - low)[1] - _BINS_LOG2)
        while _place(high, exponent) - _place(low, exponent) >= 1 << _BINS_LOG2:
            exponent += 1
        first, last = _place(low, exponent), _place(high, exponent)
        counts = np.zeros(last - first + 1, np.int64)
        np.add.at(counts, _coarser(self._places(), exponent - self._exponent) - first, self._counts)
        self._counts, self._first, self._exponent = counts, first, exponent

    def _places(self) -> NDArray[np.int64]:
        return np.arange(self._first, self._first + len(self._counts))


def rounded_up(value: float) -> float:
    """The least number of 10 significant bits that is not below, at most 0.2 % away."""
    if value == 0:
        return 0.0
    step = math.ldexp(1.0, math.frexp(value)[1] - _MANTISSA_BITS)
    return math.ceil(value / step) * step


def _place(value: float, exponent: int) -> int:
    return math.floor(math.ldexp(value, -exponent))


def _coarser(places: NDArray[np.int64], doublings: int) -> NDArray[np.int64]:
    return places >> min(doublings, 63)


def _bounds(end: float) -> list[float]:
    """What is tried for one end, the widest first."""
    if end == 0:
        return [0.0]
    sizes = (abs(end) * 2 ** (-n / _PER_OCTAVE) for n in range(_PER_OCTAVE * _OCTAVES + 1))
    return [*(math.copysign(rounded_up(size), end) for size in sizes), 0.0]


def _widest_of_the_best(errors: Sequence[float]) -> int:
    least = min(errors)
    return next(n for n, error in enumerate(errors) if error <= least * _AS_GOOD)
