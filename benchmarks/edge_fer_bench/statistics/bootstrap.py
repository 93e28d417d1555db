"""How sure the mean and the percentiles of frame times are.

Frames that follow each other are alike: a slow spell of the machine is one event, not thirty. So
whole blocks of frames are drawn anew and not single ones, in a circle so that the ends count as
often as the middle (the circular block bootstrap: Politis and Romano, "A circular block-resampling
procedure for stationary data", 1992). How long the spells are is read off the series itself
(Politis and White, "Automatic block-length selection for the dependent bootstrap", Econometric
Reviews 23(1), 2004, with the correction of Patton, Politis and White, 28(4), 2009).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log, log10, sqrt

import numpy as np
from numpy.typing import NDArray

__all__ = ["LEAST", "P99_FRAMES", "Z95", "Interval", "intervals"]

Floats = NDArray[np.floating]
Interval = tuple[float, float]

LEAST = 30
"""Fewer values than this give no interval."""

P99_FRAMES = 400
"""From 368 frames on a 95 % interval of the 99th percentile has an upper end whatever the times
are distributed like: 1 - 0.99^368 is 0.975 (David and Nagaraja, Order Statistics, 7.1)."""

_RESAMPLES = 400
_LEAST_RESAMPLES = 200
_BUDGET = 1_000_000  # values drawn in all: half a second or so on a Pi
_BATCH = 10  # frames from one search of the whole frame to the next: shorter patterns are no spells
_LEAST_BLOCKS = 5
_SECTIONS = 30
_LONG = _SECTIONS * P99_FRAMES  # from so many on each section has its own 99th percentile
Z95 = 1.959964
"""97.5 % point of the normal distribution."""
_NOTHING = 1e-9
_TAIL = 0.8  # what lies above this share of the values tells how the tail goes on


def intervals(
    values: Floats, percentiles: Sequence[int], *, seed: int = 0
) -> dict[str, Interval] | None:
    """95 % intervals of a series.

    Up to 12,000 values by drawing blocks that are as long as the series' own memory asks for,
    widened by Student's t where independent spells are few. A percentile that so few of them
    cannot bound (368 for the 99th) gets an upper end from an exponential tail as well. Longer
    series are cut into 30 sections, whose figures tell the spread (sectioning: Asmussen and Glynn,
    "Stochastic Simulation", III.5a); that takes milliseconds for hours of frames.

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
    values = np.asarray(values, np.float64)
    figures = np.array([values.mean(), *np.percentile(values, percentiles)])
    if n >= _LONG:
        ends = _sectioned(values, percentiles, figures)
    else:
        ends = _drawn(values, percentiles, figures, np.random.default_rng(seed))
    # A sum of many equal values may be off by its last digit.
    inside = np.clip(ends, values.min(), None)
    names = ("mean", *(f"p{p}" for p in percentiles))
    return {name: (float(a), float(b)) for name, (a, b) in zip(names, inside, strict=True)}


def _drawn(
    values: Floats, percentiles: Sequence[int], figures: Floats, rng: np.random.Generator
) -> Floats:
    """``[1 + P, 2]`` ends, from blocks drawn with replacement."""
    n = len(values)
    block, independent = _memory(values, figures[1:])
    blocks = ceil(n / block)
    resamples = max(_LEAST_RESAMPLES, min(_RESAMPLES, _BUDGET // n))
    around = np.concatenate([values, values[:block]])
    within = np.arange(block)
    found = np.empty((resamples, len(figures)))
    unbounded = [i for i, p in enumerate(percentiles, 1) if _too_few(independent, p / 100)]
    tails = np.empty((resamples, len(unbounded)))
    for row, tail in zip(found, tails, strict=True):
        drawn = around[(rng.integers(0, n, blocks)[:, None] + within).ravel()[:n]]
        row[0], row[1:] = drawn.mean(), np.percentile(drawn, percentiles)
        if unbounded:
            tail[:] = _by_tail(drawn, [percentiles[i - 1] / 100 for i in unbounded])
    ends = np.percentile(found, [2.5, 97.5], axis=0).T
    ends = figures[:, None] + _students(min(blocks, independent) - 1) * (ends - figures[:, None])
    for i, high in zip(unbounded, np.percentile(tails, 97.5, axis=0), strict=True):
        ends[i, 1] = max(ends[i, 1], high)
    return ends


def _sectioned(values: Floats, percentiles: Sequence[int], figures: Floats) -> Floats:
    """``[1 + P, 2]`` ends, from how far the figures of the sections are apart."""
    sections = values[: len(values) // _SECTIONS * _SECTIONS].reshape(_SECTIONS, -1)
    each = np.vstack([sections.mean(axis=1), np.percentile(sections, percentiles, axis=1)])
    off = np.sqrt(((each - figures[:, None]) ** 2).sum(axis=1) / (_SECTIONS - 1) / _SECTIONS)
    half = Z95 * _students(_SECTIONS - 1) * off
    return np.stack([figures - half, figures + half], axis=1)


def _memory(values: Floats, thresholds: Floats) -> tuple[int, float]:
    """How long blocks must be, and how many independent values the series is worth.

    The values may be alike in their size (for the mean) or in being beyond a percentile; what
    remembers longest counts.
    """
    n = len(values)
    block, worth = 1.0, float(n)
    for series in (values, *(values > t for t in thresholds)):
        spread = float(np.var(series))
        batches = np.asarray(series[: n // _BATCH * _BATCH], np.float64).reshape(-1, _BATCH)
        means = batches.mean(axis=1)
        # Where every batch is the same, a pattern returns with each and nothing is remembered.
        if len(means) < _LEAST_BLOCKS or np.var(means) <= _NOTHING * spread:
            continue
        length, time = _politis_white(means)
        block = max(block, length)
        # Of a batch's values as many are independent as its mean is steadier than one of them.
        time *= max(1.0, _BATCH * float(np.var(means)) / spread)
        if time > 1 + 3 * sqrt(2 / len(means)):  # less is chance
            worth = min(worth, n / time)
    longest = max(_BATCH, n // _LEAST_BLOCKS)
    return min(longest, _BATCH * ceil(block)), worth


def _politis_white(series: Floats) -> tuple[float, float]:
    """Block length for the circular bootstrap and integrated autocorrelation time, in values.

    Both are 1 where neighbours are not alike.
    """
    n = len(series)
    off = series - series.mean()
    most = min(n - 1, max(10, n // 4))
    spectrum = np.abs(np.fft.rfft(off, 2 * n)) ** 2
    covariance = np.fft.irfft(spectrum)[: most + 1]
    alike = np.abs(covariance[1:] / covariance[0]) >= 2 * sqrt(log10(n) / n)
    run = max(5, ceil(sqrt(log10(n))))
    last = next((m for m in range(len(alike)) if not alike[m : m + run].any()), len(alike))
    if not last:
        return 1.0, 1.0
    lags = np.arange(1, min(2 * last, most) + 1)
    # A flat top: full weight up to half of the lags, then down to none.
    weighted = np.clip(2 * (1 - lags / (2 * last)), 0, 1) * covariance[lags]
    whole = covariance[0] + 2 * float(weighted.sum())
    if whole <= 0:
        return 1.0, 1.0
    slope = 2 * float((lags * weighted).sum())
    length = (2 * slope**2 / (4 / 3 * whole**2)) ** (1 / 3) * n ** (1 / 3)
    return max(1.0, length), max(1.0, whole / covariance[0])


def _too_few(independent: float, share: float) -> bool:
    """Whether even the largest of so many values may well lie below this quantile."""
    return _TAIL < share < 1 and share**independent > 0.025


def _by_tail(drawn: Floats, shares: Sequence[float]) -> list[float]:
    """Quantiles above 80 % as an exponential tail has them that begins there."""
    start = float(np.quantile(drawn, _TAIL))
    beyond = drawn[drawn > start]
    excess = float(beyond.mean()) - start if len(beyond) else 0.0
    return [start + excess * log((1 - _TAIL) / (1 - s)) for s in shares]


def _students(freedom: float) -> float:
    """Student's 97.5 % point over the normal one (Abramowitz and Stegun 26.7.5, two terms)."""
    freedom, square = max(1.0, freedom), Z95**2
    return 1 + (square + 1) / (4 * freedom) + (5 * square**2 + 16 * square + 3) / (96 * freedom**2)
