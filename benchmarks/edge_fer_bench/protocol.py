"""How a run is measured: warm up until the times are steady, then time every frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter_ns
from typing import Any, Literal

from edge_fer.errors import DataError, DeviceError, EdgeFerError
from edge_fer.pipeline import Pipeline
from edge_fer.types import Frame, Observation
from edge_fer_bench.source import Source

__all__ = ["FrameTimes", "Protocol", "Run", "StoppedBy", "WarmUp", "measure"]

_REPORT_NS = 500_000_000
StoppedBy = Literal["time", "source_ended", "interrupted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """The rules of a run; printed with its results.

    Attributes:
        seconds: how long frames are measured, at least.
        min_frames: how many frames are measured, at least, however long they take.
        window: frames per warm-up window.
        tolerance: warm-up ends when the median of a window is within this share of the one before.
        warm_up_cap_s: warm-up ends after this many seconds in any case.
    """

    seconds: float = 10.0
    min_frames: int = 30
    window: int = 10
    tolerance: float = 0.10
    warm_up_cap_s: float = 5.0

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class WarmUp:
    """What was run before measuring; ``steady`` is False where the cap ended it."""

    frames: int
    seconds: float
    steady: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameTimes:
    """One measured frame: seconds since the run's start, stage times in ms, faces found."""

    at_s: float
    timings_ms: Mapping[str, float]
    faces: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Everything that was timed.

    Attributes:
        warm_up: what came before.
        frames: every measured frame, in order.
        seconds: wall time from the start of the first to the end of the last.
        stopped_by: why it ended.
        best: the frame with the most faces, the largest among equals, and what was seen in it.
    """

    warm_up: WarmUp
    frames: tuple[FrameTimes, ...]
    seconds: float
    stopped_by: StoppedBy
    best: tuple[Frame, Observation] | None

    @property
    def fps(self) -> float:
        """Frames per second of wall time, the source's own time included."""
        return len(self.frames) / self.seconds

    @property
    def totals_ms(self) -> list[float]:
        """The whole time of each frame."""
        return [frame.timings_ms["total"] for frame in self.frames]


def measure(
    pipeline: Pipeline,
    source: Source,
    protocol: Protocol,
    *,
    clock: Callable[[], int] = perf_counter_ns,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> Run:
    """Warm up, then time frames.

    Ctrl-C while frames are timed ends the run early with the frames that are whole.

    Args:
        pipeline: reads from ``source``.
        source: rewound after the warm-up where it is a recording.
        protocol: the rules.
        clock: nanoseconds, monotonic.
        on_progress: told the seconds measured so far, now and then.

    Raises:
        DataError: a recording without a single frame, or one that cannot be decoded.
        DeviceError: a device or stream that gives no frame.
    """
    warm_up = _warm_up(pipeline, source, protocol, clock)
    source.rewind()
    frames: list[FrameTimes] = []
    best: tuple[Frame, Observation] | None = None
    stopped_by: StoppedBy = "time"
    started = ended = reported = clock()
    try:
        while len(frames) < protocol.min_frames or ended - started < protocol.seconds * 1e9:
            observation = pipeline.step()
            if observation is None:
                stopped_by = "source_ended"
                break
            ended = clock()
            frames.append(
                FrameTimes(
                    at_s=(ended - started) / 1e9,
                    timings_ms=observation.timings_ms,
                    faces=len(observation.faces),
                )
            )
            if pipeline.frame is not None and _shows_more(observation, best):
                best = (pipeline.frame, observation)
            if ended - reported > _REPORT_NS:
                reported = ended
                on_progress((ended - started) / 1e9)
    except KeyboardInterrupt:
        stopped_by = "interrupted"
        if not frames:
            raise
    if not frames:
        raise _nothing(source)
    return Run(
        warm_up=warm_up,
        frames=tuple(frames),
        seconds=max(1e-9, (ended - started) / 1e9),
        stopped_by=stopped_by,
        best=best,
    )


def _warm_up(
    pipeline: Pipeline, source: Source, protocol: Protocol, clock: Callable[[], int]
) -> WarmUp:
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


def _nothing(source: Source) -> EdgeFerError:
    if source.live:
        return DeviceError(
            f"{source.uri} gave no frame.", "Check that the camera is plugged in and not in use."
        )
    return DataError(
        f"{source.uri} holds no frame that could be read.",
        "Name a video, a picture or a folder of pictures, or use --source synthetic.",
    )
