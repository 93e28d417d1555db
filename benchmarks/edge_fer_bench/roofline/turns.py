"""Times pieces of work against each other: in turns, so that what disturbs a machine for a second
disturbs all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter_ns

import numpy as np

__all__ = ["Timed", "Work", "in_turns"]

Work = Callable[[], object]
_BLOCK_NS = 10_000_000
_MOST_CALLS = 1000  # in a block
_LEAST_ROUNDS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Timed:
    """Nanoseconds of one call: least, median and quartiles of ``calls`` calls."""

    calls: int
    min_ns: float
    p25_ns: float
    p50_ns: float
    p75_ns: float

    @classmethod
    def of(cls, spent_ns: Sequence[int]) -> Timed:
        """Summarise calls; percentiles interpolate linearly (numpy's default)."""
        least, p25, p50, p75 = (float(p) for p in np.percentile(spent_ns, [0, 25, 50, 75]))
        return cls(calls=len(spent_ns), min_ns=least, p25_ns=p25, p50_ns=p50, p75_ns=p75)


def in_turns(
    works: Sequence[Work],
    *,
    seconds: float,
    clock: Callable[[], int] = perf_counter_ns,
    on_progress: Callable[[float, float], None] = lambda done, total: None,
) -> tuple[Timed, ...]:
    """Call each for about 10 ms, one after another, again and again; the first round warms up.

    Args:
        works: what is timed.
        seconds: for all of it; three rounds are timed at least.
        clock: nanoseconds, monotonic.
        on_progress: told how many of the seconds are over.
    """
    spent: list[list[int]] = [[] for _ in works]
    began = clock()
    for work in works:
        _block(work, clock)
    rounds, elapsed = 0, 0.0
    while works and (rounds < _LEAST_ROUNDS or elapsed < seconds):
        for calls, work in zip(spent, works, strict=True):
            calls.extend(_block(work, clock))
        rounds += 1
        elapsed = (clock() - began) / 1e9
        on_progress(min(elapsed, seconds), seconds)
    return tuple(Timed.of(calls) for calls in spent)


def _block(work: Work, clock: Callable[[], int]) -> list[int]:
    spent: list[int] = []
    whole = 0
    while whole < _BLOCK_NS and len(spent) < _MOST_CALLS:
        began = clock()
        work()
        spent.append(clock() - began)
        whole += spent[-1]
    return spent
