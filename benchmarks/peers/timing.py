"""How long each takes beside the others: blocks in turn, on one core, as a ratio.

Everybody takes a turn in each round, so that whatever else the machine does meets all of them; a
round gives one ratio, and the median of the rounds is what counts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.errors import EdgeFerError
from edge_fer_bench.statistics.rounds import Ratio
from peers.entrant import PARTS, Entrant, Part

__all__ = ["Lost", "core", "in_turns", "interleaved", "one_core", "ratio"]

Lost = Callable[[int, EdgeFerError], None]
"""Told of one whose turn failed: its place, and why."""


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


def in_turns(
    blocks: Sequence[Callable[[], Sequence[int]]],
    *,
    rounds: int,
    on_turn: Callable[[int, int], None] = lambda done, total: None,
    on_lost: Lost = lambda place, err: None,
) -> NDArray[np.float64]:
    """Give each block one turn a round, after one that does not count.

    Args:
        blocks: each does its work once and says how many nanoseconds every piece took; the first
            is what the others are compared with.
        rounds: how often each has its turn.
        on_turn: told how many turns of how many are done.
        on_lost: told of a block that failed; it has no further turn.

    Returns:
        ``float64[rounds, blocks]``, milliseconds: a turn's median piece; NaN after a failure.

    Raises:
        EdgeFerError: the first block's.
    """
    spent = np.full((rounds, len(blocks)), np.nan)
    present = set(range(len(blocks)))
    with one_core():
        for turn in range(-1, rounds):
            # Another one begins each time, so that nobody always follows the same one.
            for place in np.roll(np.arange(len(blocks)), turn).tolist():
                if place not in present:
                    continue
                try:
                    ns = blocks[place]()
                except EdgeFerError as err:
                    if place == 0:
                        raise
                    present.remove(place)
                    spent[:, place] = np.nan
                    on_lost(place, err)
                    continue
                if turn >= 0:
                    spent[turn, place] = np.median(ns) / 1e6
            on_turn(turn + 1, rounds)
    return spent


def ratio(reference: NDArray[np.float64], other: NDArray[np.float64]) -> Ratio | None:
    """Round by round, the reference's time over the other's; None for one that failed."""
    if np.isnan(other).any():
        return None
    return Ratio.of(reference.tolist(), other.tolist())


def interleaved(
    entrants: Sequence[Entrant],
    *,
    rounds: int,
    calls: int,
    on_round: Callable[[int, int], None] = lambda done, total: None,
    on_lost: Lost = lambda place, err: None,
) -> list[dict[Part, Ratio]]:
    """Time all of them on faces.

    Args:
        entrants: prepared; the first is the reference, whose ratio is 1.
        rounds: how often each has its turn.
        calls: pictures per turn.
        on_round: told how many rounds of how many are done.
        on_lost: told of an entrant that failed.

    Returns:
        One for each entrant, in their order; empty for those that failed.
    """
    found: list[dict[Part, Ratio]] = [{} for _ in entrants]
    lost: set[int] = set()

    def drop(place: int, err: EdgeFerError) -> None:
        if place not in lost:  # it fails in the second part, too
            lost.add(place)
            on_lost(place, err)

    for number, part in enumerate(PARTS):
        times = in_turns(
            [partial(entrant.time, part, calls) for entrant in entrants],
            rounds=rounds,
            on_turn=_onwards(on_round, number * rounds, len(PARTS) * rounds),
            on_lost=drop,
        )
        for into, column in zip(found, times.T, strict=True):
            quotient = ratio(times[:, 0], column)
            if quotient is not None:
                into[part] = quotient
    return [{} if place in lost else one for place, one in enumerate(found)]


def _onwards(
    told: Callable[[int, int], None], before: int, total: int
) -> Callable[[Any, Any], None]:
    return lambda done, _: told(before + done, total)
