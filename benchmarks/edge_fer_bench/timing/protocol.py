"""How a run is measured: warm up until the times are steady, then time every frame."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter_ns
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_fer.errors import DataError, DeviceError, EdgeFerError
from edge_fer.pipeline import STAGES, Pipeline
from edge_fer.types import Frame, Observation
from edge_fer_bench.statistics.bootstrap import P99_FRAMES
from edge_fer_bench.timing.source import Source

__all__ = [
    "P99_FRAMES",
    "Protocol",
    "Run",
    "Samples",
    "StoppedBy",
    "WarmUp",
    "measure",
    "timed",
    "warmed_up",
]

_REPORT_NS = 500_000_000
StoppedBy = Literal["time", "passes", "source_ended", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """The rules of a run; printed with its results.

    A recording that ends before there is enough is gone through again, always to its end, so that
    each of its pictures counts alike: until there are ``p99_frames`` or ``seconds`` are over,
    whichever comes first, but not before ``min_frames``. One that is longer is cut.

    Attributes:
        seconds: how long frames are measured, at least.
        min_frames: how many frames are measured, at least, however long they take.
        p99_frames: measuring goes on until there are so many, but not beyond ``stretch`` times
            ``seconds``; 0: there is no such number, only the time counts.
        stretch: see ``p99_frames``.
        window: frames per warm-up window.
        tolerance: warm-up ends when the median of a window is within this share of the one before.
        warm_up_cap_s: warm-up ends after this many seconds in any case.
    """

    seconds: float = 10.0
    min_frames: int = 30
    p99_frames: int = P99_FRAMES
    stretch: float = 4.0
    window: int = 10
    tolerance: float = 0.10
    warm_up_cap_s: float = 5.0

    def wants_more(self, frames: int, seconds: float) -> bool:
        """Whether measuring goes on after so much."""
        if frames < self.min_frames or seconds < self.seconds:
            return True
        return frames < self.p99_frames and seconds < self.stretch * self.seconds

    def wants_again(self, frames: int, seconds: float) -> bool:
        """Whether a recording is gone through once more after so much."""
        if frames < self.min_frames:
            return True
        reached = 0 < self.p99_frames <= frames
        return seconds < self.seconds and not reached

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUp:
    """What was run before measuring; ``steady`` is False where the cap ended it."""

    frames: int
    seconds: float
    steady: bool


class Samples:
    """The times of frames in columns, 42 bytes a frame: hours of them are no burden on memory.

    Args:
        frames: to begin with: seconds since the run's start, stage times in ms, faces found.
    """

    def __init__(self, frames: Iterable[tuple[float, Mapping[str, float], int]] = ()) -> None:
        self._at = array("d")
        self._faces = array("H")
        self._stages = {stage: array("f") for stage in STAGES}
        for frame in frames:
            self.add(*frame)

    def __len__(self) -> int:
        return len(self._at)

    def add(self, at_s: float, timings_ms: Mapping[str, float], faces: int) -> None:
        """One frame more; a stage that is not among its times did not run in it."""
        self._at.append(at_s)
        self._faces.append(faces)
        for stage, column in self._stages.items():
            column.append(timings_ms.get(stage, float("nan")))

    @property
    def at_s(self) -> NDArray[np.float64]:
        """``float64[N]``, when each frame ended, in seconds from the run's start."""
        return np.array(self._at, np.float64)

    @property
    def faces(self) -> NDArray[np.int64]:
        """``int64[N]``, faces in each frame."""
        return np.array(self._faces, np.int64)

    @property
    def total_ms(self) -> NDArray[np.float64]:
        """``float64[N]``, the whole time of each frame."""
        return self.stage("total")

    def stage(self, name: str) -> NDArray[np.float64]:
        """``float64[N]`` milliseconds of a stage; NaN in frames in which it did not run."""
        return np.array(self._stages[name], np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything that was timed.

    Attributes:
        warm_up: what came before.
        samples: every measured frame, in order.
        seconds: wall time from the start of the first to the end of the last.
        stopped_by: why it ended; ``passes``: a recording was gone through often enough.
        best: the frame with the most faces, the largest among equals, and what was seen in it.
        dropped: frames of a live source that were not taken, None where nothing counts them.
        passes: how often a recording was gone through to its end; 0 for one that was cut, and for
            other sources.
        reopening_s: of ``seconds``, what went into opening a recording again.
    """

    warm_up: WarmUp
    samples: Samples
    seconds: float
    stopped_by: StoppedBy
    best: tuple[Frame, Observation] | None
    dropped: int | None = None
    passes: int = 0
    reopening_s: float = 0.0

    @property
    def frames(self) -> int:
        """How many were measured."""
        return len(self.samples)

    @property
    def fps(self) -> float:
        """Frames per second of wall time, the source's own time included, but not reopening it."""
        return self.frames / max(1e-9, self.seconds - self.reopening_s)


def measure(
    pipeline: Pipeline,
    source: Source,
    protocol: Protocol,
    *,
    clock: Callable[[], int] = perf_counter_ns,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> Run:
    """Warm up, then time frames: :func:`warmed_up`, then :func:`timed`.

    Ctrl-C while frames are timed ends the run early with the frames that are whole.

    Args:
        pipeline: of which every step is one frame.
        source: what the pipeline reads from; rewound after the warm-up where it is a recording.
        protocol: the rules.
        clock: nanoseconds, monotonic.
        on_progress: told the seconds measured so far, now and then.

    Raises:
        DataError: a recording without a single frame, or one that cannot be decoded.
        DeviceError: a device or stream that gives no frame.
    """
    warm_up = warmed_up(pipeline, source, protocol, clock=clock)
    source.rewind()
    return timed(pipeline, source, protocol, warm_up=warm_up, clock=clock, on_progress=on_progress)


def timed(
    pipeline: Pipeline,
    source: Source,
    protocol: Protocol,
    *,
    warm_up: WarmUp | None = None,
    clock: Callable[[], int] = perf_counter_ns,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> Run:
    """Time frames, from where the source stands; arguments and errors as of :func:`measure`.

    A recording goes round as :class:`Protocol` says. One that gives no frame in a pass, and any
    other source that ends, ends the run.

    Args:
        pipeline: of which every step is one frame.
        source: what it reads from; a recording is opened again at its end.
        protocol: the rules.
        warm_up: what came before, for the report.
        clock: nanoseconds, monotonic.
        on_progress: told the seconds measured so far, now and then.
    """
    samples = Samples()
    best: tuple[Frame, Observation] | None = None
    stopped_by: StoppedBy = "time"
    dropped = source.dropped
    passes = whole = reopening_ns = 0
    rewound = False
    started = ended = reported = clock()
    try:
        # A pass that was begun anew is not cut.
        while passes or protocol.wants_more(len(samples), (ended - started) / 1e9):
            observation = pipeline.step()
            if observation is None:
                gave, whole = len(samples) > whole, len(samples)
                if source.kind != "recording" or (rewound and not gave):
                    stopped_by = "source_ended"
                    break
                passes += gave
                opening = clock()
                if gave and not protocol.wants_again(whole, (opening - started) / 1e9):
                    stopped_by = "passes"
                    break
                rewound = source.rewind()
                reopening_ns += clock() - opening
                continue
            ended = clock()
            samples.add((ended - started) / 1e9, observation.timings_ms, len(observation.faces))
            if pipeline.frame is not None and _shows_more(observation, best):
                best = (pipeline.frame, observation)
            if ended - reported > _REPORT_NS:
                reported = ended
                on_progress((ended - started) / 1e9)
    except KeyboardInterrupt:
        stopped_by = "interrupted"
        if not len(samples):
            raise
    if not len(samples):
        raise _nothing(source, warm_up)
    missed = source.dropped
    return Run(
        warm_up=warm_up or WarmUp(frames=0, seconds=0.0, steady=True),
        samples=samples,
        seconds=max(1e-9, (ended - started) / 1e9),
        stopped_by=stopped_by,
        best=best,
        dropped=None if missed is None or dropped is None else missed - dropped,
        passes=passes,
        reopening_s=reopening_ns / 1e9,
    )


def warmed_up(
    pipeline: Pipeline,
    source: Source,
    protocol: Protocol,
    *,
    clock: Callable[[], int] = perf_counter_ns,
) -> WarmUp:
    """Run frames until their times are steady; arguments and errors as of :func:`measure`."""
    totals: list[float] = []
    began = clock()
    rewound_at = -1
    steady = False
    while not steady and clock() - began < protocol.warm_up_cap_s * 1e9:
        observation = pipeline.step()
        if observation is None:
            # A short recording goes round; one that gave nothing since the last time never will.
            if rewound_at == len(totals) or not source.rewind():
                break
            rewound_at = len(totals)
            continue
        totals.append(observation.timings_ms["total"])
        steady = _steady(totals, protocol)
    if not totals:
        raise _nothing(source)
    return WarmUp(frames=len(totals), seconds=(clock() - began) / 1e9, steady=steady)


def _steady(totals: list[float], protocol: Protocol) -> bool:
    window = protocol.window
    if len(totals) < 2 * window:
        return False
    before, now = median(totals[-2 * window : -window]), median(totals[-window:])
    return abs(now - before) <= protocol.tolerance * before


def _shows_more(observation: Observation, best: tuple[Frame, Observation] | None) -> bool:
    if not observation.faces:
        return best is None
    if best is None:
        return True
    return _shown(observation) > _shown(best[1])


def _shown(observation: Observation) -> tuple[int, float]:
    faces = observation.faces
    return len(faces), min((seen.face.box.area for seen in faces), default=0.0)


def _nothing(source: Source, warm_up: WarmUp | None = None) -> EdgeFerError:
    if warm_up is not None and warm_up.frames:
        words = f"{source.uri} ended after {warm_up.frames} frames, which warming up took."
        if source.live:
            return DeviceError(words, "Name a camera or stream that goes on.")
        return DataError(
            words,
            "Name a source that gives more: a recording goes round, and synthetic without frames= "
            "never ends.",
        )
    if source.live:
        return DeviceError(
            f"{source.uri} gave no frame.", "Check that the camera is plugged in and not in use."
        )
    return DataError(
        f"{source.uri} holds no frame that could be read.",
        "Name a video, a picture or a folder of pictures, or use --source synthetic.",
    )
