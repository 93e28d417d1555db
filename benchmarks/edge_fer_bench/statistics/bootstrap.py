"""How sure the mean and the percentiles of frame times are.

Frames that follow each other are alike: a slow spell of the machine is one event, not thirty. So
whole runs of frames are drawn anew and not single ones (the moving block bootstrap: Kuensch, "The
jackknife and the bootstrap for general stationary observations", Annals of Statistics 17(3), 1989).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST", "Interval", "intervals"]

Interval = tuple[float, float]

LEAST = 30
"""Fewer values than this give no interval."""

_RESAMPLES = 400
_LEAST_RESAMPLES = 100
_BUDGET = 4_000_000  # values drawn in all: a second or so on a Pi


def intervals(
    values: NDArray[np.floating], percentiles: Sequence[int], *, seed: int = 0
) -> dict[str, Interval] | None:
    """95 % intervals of a series, by drawing blocks of n^(1/3), at least 10, values.

    Args:
        values: ``[N]`` in the order in which they were measured.
        percentiles: each 0 to 100.
        seed: of the draws.

    Returns:
        (low, high) of ``mean`` and of each percentile, as ``p50``; None where there are fewer than
        :data:`LEAST` values.
    """
    n = len(values)
    if n < LEAST:
        return None
    block = max(10, round(n ** (1 / 3)))
    resamples = max(_LEAST_RESAMPLES, min(_RESAMPLES, _BUDGET // n))
    rng = np.random.default_rng(seed)
    found = np.empty((resamples, 1 + len(percentiles)))
    within = np.arange(block)
    for row in found:
        starts = rng.integers(0, n - block + 1, -(-n // block))
        drawn = values[(starts[:, None] + within).ravel()[:n]]
        row[0], row[1:] = drawn.mean(), np.percentile(drawn, percentiles)
    ends = np.percentile(found, [2.5, 97.5], axis=0).T
    names = ("mean", *(f"p{p}" for p in percentiles))
    return {name: (float(a), float(b)) for name, (a, b) in zip(names, ends, strict=True)}
