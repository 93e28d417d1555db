"""How long each entrant takes beside the others: blocks in turn, on one core, as a ratio.

Entrants take turns block by block, so that whatever else the machine does meets all of them; a
round gives one ratio per entrant, and the median of the rounds is what counts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

from peers.entrant import PARTS, Entrant, Part

__all__ = ["Ratio", "core", "interleaved", "one_core"]

_WARM_UP_CALLS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """An entrant's time over the reference's: median of the rounds, and their quartiles."""

    median: float
    low: float
    high: float


def core() -> int:
    """The core that everything is timed on, the last that this process may use; -1: not told."""
    return max(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else -1


@contextmanager
def one_core() -> Iterator[None]:
    """Hold this process to :func:`core` for a moment."""
    chosen = core()
    if chosen < 0:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {chosen})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def interleaved(
    entrants: Sequence[Entrant],
    *,
    rounds: int,
    calls: int,
    on_round: Callable[[int, int], None] = lambda done, total: None,
) -> list[dict[Part, Ratio]]:
    """Time all of them.

    Args:
        entrants: prepared; the first is the reference, whose ratio is 1.
        rounds: how often each has its turn.
        calls: pictures per turn; a turn counts by the median of its calls.
        on_round: told how many rounds of how many are done.

    Returns:
        One for each entrant, in their order.
    """
    found: list[dict[Part, Ratio]] = [{} for _ in entrants]
    with one_core():
        for number, part in enumerate(PARTS):
            for entrant in entrants:
                entrant.time(part, _WARM_UP_CALLS)
            blocks = np.empty((rounds, len(entrants)))
            for turn in range(rounds):
                # Another one begins each time, so that nobody always follows the same one.
                for place in np.roll(np.arange(len(entrants)), turn).tolist():
                    blocks[turn, place] = np.median(entrants[place].time(part, calls))
                on_round(number * rounds + turn + 1, len(PARTS) * rounds)
            ratios = blocks / blocks[:, :1]
            for column, into in zip(ratios.T, found, strict=True):
                low, median, high = (float(q) for q in np.percentile(column, [25, 50, 75]))
                into[part] = Ratio(median=median, low=low, high=high)
    return found
