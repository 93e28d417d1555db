"""Variants timed beside each other: blocks in turn, so that whatever else the machine does meets
all of them.

Every block has the same number of frames, so that all variants see the same pictures of a source,
and another variant begins each round, so that nobody always follows the same one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from edge_fer.assemble import open_camera
from edge_fer.config import Settings
from edge_fer.errors import DataError, EdgeFerError
from edge_fer.pipeline import Pipeline
from edge_fer.types import Camera
from edge_fer_bench.sweep.variants import Variant
from edge_fer_bench.timing.source import Source, kind_of

__all__ = ["MOST_OPEN", "Block", "Rounds", "Skipped", "Taken", "take_turns"]

MOST_OPEN = 12  # pipelines at a time: a small board has the memory for so many
_WARM_UP, _REOPENED = 20, 10  # frames
_MUCH_LONGER = 1.5
# A pause is a jump to the tracker, and others have used the caches.
_SETTLE = 5
_BLOCK = 10  # frames, or a multiple: as many as from one search of the whole frame to the next
_LEAST_ROUNDS, _USUAL_ROUNDS = 6, 20  # with fewer there is no 95 % interval of a median


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """A variant that could not be opened or went wrong, and why."""

    variant: Variant
    error: EdgeFerError


@dataclass(slots=True, kw_only=True)
class Block:
    """The frames of one turn: milliseconds of each, the faces in all, and their wall time."""

    total_ms: list[float] = field(default_factory=list)
    capture_ms: list[float] = field(default_factory=list)
    detect_ms: list[float] = field(default_factory=list)
    classify_ms: list[float] = field(default_factory=list)
    faces: int = 0
    seconds: float = 0.0

    @property
    def median_ms(self) -> float:
        """Of the whole frames."""
        return float(np.median(self.total_ms))


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What one variant gave.

    Attributes:
        variant: which.
        blocks: one per round.
        size: width and height of its frames in pixels.
        live: whether its source has a rate of its own.
    """

    variant: Variant
    blocks: tuple[Block, ...]
    size: tuple[int, int]
    live: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounds:
    """All of it.

    Attributes:
        taken: those that were measured to the end, in the order of the plan.
        skipped: the others.
        rounds: that are whole.
        frames: of a block.
        reopened: whether each block had to open its pipeline anew.
        interrupted: whether Ctrl-C ended it early.
    """

    taken: tuple[Taken, ...]
    skipped: tuple[Skipped, ...]
    rounds: int
    frames: int
    reopened: bool
    interrupted: bool


def take_turns(
    variants: Sequence[Variant],
    base: Settings,
    *,
    seconds: float,
    opened: Callable[[Settings], Pipeline],
    clock: Callable[[], int],
    cameras: Callable[[str], Camera] = open_camera,
    on_progress: Callable[[float, float], None] = lambda done, total: None,
    on_skip: Callable[[str], None] = lambda why: None,
) -> Rounds:
    """Warm all of them up, then time them in rounds.

    Args:
        variants: at least one; the first is what the others are compared with.
        base: settings that they share.
        seconds: per variant, on average: slow ones take more of it, for they see as many frames.
            A few rounds are measured however long they take.
        opened: makes a pipeline.
        clock: nanoseconds, monotonic.
        cameras: opens a recording again, when it is at its end.
        on_progress: told how many blocks of how many are done, the warm-ups among them.
        on_skip: told of each variant that is left out, and if it all takes longer.

    Raises:
        EdgeFerError: of the first one, where no variant could be measured.
        KeyboardInterrupt: Ctrl-C before the first round was whole.
    """
    reopened = len(variants) > MOST_OPEN or any(_goes_on(v.source) for v in variants)
    usual = _LEAST_ROUNDS if reopened else _USUAL_ROUNDS
    skipped: list[Skipped] = []

    def leave_out(entrant: _Entrant, error: EdgeFerError) -> None:
        skipped.append(Skipped(variant=entrant.variant, error=error))
        on_skip(f"{entrant.variant.name}: left out of the sweep: {error}")
        entrant.close()

    with ExitStack() as stack:
        entrants: list[_Entrant] = []
        for number, variant in enumerate(variants):
            on_progress(number, len(variants) * (1 + usual))
            entrant = _Entrant(variant, variant.settings(base), opened, clock, cameras, reopened)
            stack.callback(entrant.close)
            try:
                entrant.warm_up()
            except EdgeFerError as error:
                leave_out(entrant, error)
            else:
                entrants.append(entrant)
        if not entrants:
            raise skipped[0].error
        uncounted = _REOPENED if reopened else _SETTLE
        rounds, frames = _planned(entrants, seconds, usual, uncounted)
        needed = rounds * (frames + uncounted) * sum(one.frame_s for one in entrants)
        if 0 < _MUCH_LONGER * seconds * len(entrants) < needed:
            on_skip(f"{rounds} rounds, the fewest that tell something, take about {needed:.0f} s.")
        done, blocks = len(variants), len(variants) + rounds * len(entrants)
        whole, interrupted = 0, False
        ends = clock() + seconds * 1e9 * len(entrants)
        try:
            while whole < rounds and (whole < _LEAST_ROUNDS or clock() < ends):
                first = whole % len(entrants)
                for entrant in (*entrants[first:], *entrants[:first]):
                    on_progress(done, blocks)
                    done += 1
                    try:
                        entrant.turn(frames)
                    except EdgeFerError as error:
                        leave_out(entrant, error)
                        entrants.remove(entrant)
                if not entrants:
                    raise skipped[0].error
                whole += 1
            on_progress(blocks, blocks)
        except KeyboardInterrupt:
            interrupted = True
            if not whole:
                raise
        return Rounds(
            taken=tuple(entrant.taken(whole) for entrant in entrants),
            skipped=tuple(skipped),
            rounds=whole,
            frames=frames,
            reopened=reopened,
            interrupted=interrupted,
        )


def _goes_on(source: str) -> bool:
    """Whether a source works also while others have their turn, or can be opened once only."""
    kind = kind_of(source)
    return kind in ("camera", "stream") or (kind == "synthetic" and "fps=" in source)


def _planned(
    entrants: Sequence[_Entrant], seconds: float, usual: int, uncounted: int
) -> tuple[int, int]:
    """How many rounds, and of how many frames each, besides those that are not counted."""
    # So many frames each that all of them together take the time that all may take.
    frames = int(seconds * len(entrants) / max(1e-9, sum(one.frame_s for one in entrants)))
    block = max(1, (frames // usual - uncounted) // _BLOCK) * _BLOCK
    return max(_LEAST_ROUNDS, frames // (block + uncounted)), block


class _Entrant:
    """One variant with its pipeline, open all the time or only for its turns.

    ``frame_s`` is the wall time of a frame, known after the warm-up.
    """

    def __init__(
        self,
        variant: Variant,
        settings: Settings,
        opened: Callable[[Settings], Pipeline],
        clock: Callable[[], int],
        cameras: Callable[[str], Camera],
        reopened: bool,
    ) -> None:
        self.variant = variant
        self.frame_s = 0.0
        self._settings, self._opened, self._clock = settings, opened, clock
        self._cameras, self._reopened = cameras, reopened
        self._running: tuple[Pipeline, Source] | None = None
        self._size, self._live = (0, 0), False
        self._blocks: list[Block] = []

    def warm_up(self) -> None:
        """Open it, and have it take its first frames."""
        self._open(_WARM_UP)
        if self._reopened:
            self.close()

    def turn(self, frames: int) -> None:
        """Its block of a round."""
        if self._running is None:
            self._blocks.append(self._take(self._open(_REOPENED), frames))
            self.close()
        else:
            self._take(self._running, _SETTLE)
            self._blocks.append(self._take(self._running, frames))

    def taken(self, rounds: int) -> Taken:
        """What it gave in the first ``rounds``."""
        blocks = tuple(self._blocks[:rounds])
        return Taken(variant=self.variant, blocks=blocks, size=self._size, live=self._live)

    def close(self) -> None:
        """Close the pipeline; twice is fine."""
        if self._running is not None:
            self._running[0].close()
            self._running = None

    def _open(self, frames: int) -> tuple[Pipeline, Source]:
        """A pipeline that has taken so many frames."""
        pipeline = self._opened(self._settings)
        source = Source.of(pipeline, self._settings.source, self._cameras)
        self._running = pipeline, source
        self._take(self._running, frames - _BLOCK)
        self.frame_s = self._take(self._running, _BLOCK).seconds / _BLOCK
        self._size, self._live = source.size or self._size, source.live
        return self._running

    def _take(self, running: tuple[Pipeline, Source], frames: int) -> Block:
        """So many frames; a recording goes round."""
        pipeline, source = running
        block = Block()
        rewound_at = -1
        while len(block.total_ms) < frames:
            began = self._clock()
            observation = pipeline.step()
            if observation is None:
                # One that gave nothing since the last time never will.
                if rewound_at == len(block.total_ms) or not source.rewind():
                    raise DataError(
                        f"{source.uri} ended after too few frames.",
                        "Name a source that goes on: synthetic without frames=, or a recording.",
                    )
                rewound_at = len(block.total_ms)
                continue
            block.seconds += (self._clock() - began) / 1e9
            timings = observation.timings_ms
            block.total_ms.append(timings["total"])
            block.capture_ms.append(timings.get("capture", 0.0))
            if "detect" in timings:
                block.detect_ms.append(timings["detect"])
            if "classify" in timings:
                block.classify_ms.append(timings["classify"])
            block.faces += len(observation.faces)
        return block
