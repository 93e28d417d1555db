"""One thing's time over another's, where both took their turn in every round."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edge_fer_bench.statistics.bootstrap import Interval

__all__ = ["Ratio"]

_TAIL = 0.025


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """A time over another's.

    Attributes:
        median: of the rounds.
        low, high: their quartiles.
        ci95: interval of the median, from the order of the rounds alone (Conover, Practical
            Nonparametric Statistics, 3.2: at least 95 %); None with fewer than six rounds.
    """

    median: float
    low: float
    high: float
    ci95: Interval | None

    @classmethod
    def of(cls, own: Sequence[float], other: Sequence[float]) -> Ratio:
        """From one time per round each, in the same order."""
        ratios = np.sort(np.asarray(own) / np.asarray(other))
        low, median, high = (float(q) for q in np.percentile(ratios, [25, 50, 75]))
        n, outside, tail = len(ratios), 0, 0.5 ** len(ratios)
        # So many of the smallest and of the largest leave at most 2.5 % on either side.
        while tail <= _TAIL:
            outside += 1
            tail += math.comb(n, outside) * 0.5**n
        ends = (float(ratios[outside - 1]), float(ratios[n - outside])) if outside else None
        return cls(median=median, low=low, high=high, ci95=ends)
