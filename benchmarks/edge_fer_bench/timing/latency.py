"""Times of a run, per stage: mean, percentiles and maximum in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_fer.pipeline import STAGES
from edge_fer_bench.drawing.section import percent
from edge_fer_bench.statistics.bootstrap import Interval, intervals
from edge_fer_bench.timing.protocol import P99_FRAMES, Run
from edge_fer_bench.timing.source import Source

__all__ = ["Bound", "Latency", "StageTimes", "bounded_by", "summarise"]

_PERCENTILES = (50, 90, 99)


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTimes:
    """One stage over the frames in which it ran; all None, with n 0, where it never did.

    Attributes:
        n: frames.
        mean, p50, p90, p99, max: milliseconds.
        ci95: 95 % intervals of ``mean``, ``p50``, ``p90`` and ``p99``; None below 30 frames.
    """

    n: int
    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p99: float | None = None
    max: float | None = None
    ci95: dict[str, Interval] | None = None

    @property
    def claimed_p99(self) -> float | None:
        """``p99``, where there are frames enough to claim it."""
        return self.p99 if self.n >= P99_FRAMES else None

    @classmethod
    def of(cls, values: Sequence[float] | NDArray[np.floating]) -> StageTimes:
        """Summarise milliseconds; percentiles interpolate linearly (numpy's default)."""
        if not len(values):
            return cls(n=0)
        each = np.asarray(values, np.float64)
        p50, p90, p99 = (float(p) for p in np.percentile(each, _PERCENTILES))
        return cls(
            n=len(each),
            mean=float(each.mean()),
            p50=p50,
            p90=p90,
            p99=p99,
            max=float(each.max()),
            ci95=intervals(each, _PERCENTILES),
        )

    def to_json(self) -> dict[str, Any]:
        """One stage of the field ``latency_ms``."""
        fields = asdict(self)
        if self.ci95 is not None:
            fields["ci95"] = {name: list(ends) for name, ends in self.ci95.items()}
        return fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Every stage of :data:`edge_fer.pipeline.STAGES`, and what to know when reading them."""

    stages: dict[str, StageTimes]
    faces: int
    frames_with_face: int
    notes: tuple[str, ...]

    @property
    def total(self) -> StageTimes:
        """The whole frame."""
        return self.stages["total"]

    def to_json(self) -> dict[str, Any]:
        """The field ``latency_ms``."""
        return {stage: times.to_json() for stage, times in self.stages.items()}


def summarise(run: Run) -> Latency:
    """Stage by stage."""
    samples = run.samples
    stages = {}
    for stage in STAGES:
        column = samples.stage(stage)
        stages[stage] = StageTimes.of(column[~np.isnan(column)])
    found = samples.faces
    notes = []
    if run.frames < P99_FRAMES:
        notes.append(
            f"{run.frames} frames are too few for a 99th percentile: "
            f"p99 leans on the slowest frames (it takes {P99_FRAMES})."
        )
    if not found.any():
        notes.append("No face was found, so cropping and classifying were never timed.")
    if not run.warm_up.steady:
        notes.append("The times were not steady when warming up ended.")
    return Latency(
        stages=stages,
        faces=int(found.sum()),
        frames_with_face=int((found > 0).sum()),
        notes=tuple(notes),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """What the number of frames per second depended on.

    Attributes:
        by: the source that was waited for, computing, or a sink.
        words: whole sentences.
    """

    by: Literal["source", "compute", "sink"]
    words: str


def bounded_by(run: Run, latency: Latency, source: Source, seconds: float) -> Bound:
    """What the frame rate depended on, which frames were lost, and what ended the run."""
    shares = _shares(latency)
    stage = max((s for s in shares if s != "capture"), key=lambda s: shares[s])
    by: Literal["source", "compute", "sink"] = "sink" if stage == "emit" else "compute"
    if source.live and shares.get("capture", 0.0) > 0.5:
        by = "source"
        words = (
            f"The source: {percent(shares['capture'])} of the time went into waiting for the "
            "next picture, so a faster machine would give no more frames."
        )
    else:
        subject = "Writing" if by == "sink" else "Computing"
        words = f"{subject}: {_WORDS[stage]} takes {percent(shares[stage])} of the time of a frame."
        if "capture" in shares:
            words += f" {_CAPTURE[source.kind].format(percent(shares['capture']))}"
    if run.dropped:
        words += (
            f" {run.dropped:,} frames came and were not taken, because the one before was still "
            f"worked on ({percent(run.dropped / (run.dropped + run.frames))} of those that came)."
        )
    if run.stopped_by == "passes":
        length = round(run.frames / run.passes)
        often = "once" if run.passes == 1 else f"{run.passes} times"
        words += f" The recording has {_frames(length)} and was gone through {often}."
    elif source.kind == "recording" and run.stopped_by == "time":
        words += f" The recording is longer than its first {_frames(run.frames)}, which were timed."
    elif run.stopped_by == "source_ended":
        words += (
            f" The source ended after {run.frames} frames ({run.seconds:.1f} s of the "
            f"{seconds:g} s asked for); all that it had was measured."
        )
    elif run.stopped_by == "interrupted":
        words += f" The run was interrupted after {run.seconds:.1f} s of {seconds:g} s."
    return Bound(by=by, words=words)


def _shares(latency: Latency) -> dict[str, float]:
    """Share of all frames' time per stage that ran; a stage counts 0 where it did not run."""
    sums = {s: t.n * t.mean for s, t in latency.stages.items() if t.mean is not None}
    whole = sums.pop("total")
    return {stage: spent / whole for stage, spent in sums.items()} if whole else dict(sums)


def _frames(n: int) -> str:
    return f"{n:,} frame" + ("" if n == 1 else "s")


_WORDS = {
    "detect": "finding faces",
    "track": "tracking",
    "preprocess": "cropping",
    "classify": "classifying",
    "smooth": "smoothing",
    "emit": "writing results",
}
_CAPTURE = {
    "synthetic": "Drawing the synthetic scene takes {}, which a camera would spare.",
    "recording": "Reading and decoding the recording takes {}.",
    "camera": "Getting the picture from the camera takes {}.",
    "stream": "Getting the picture from the stream takes {}.",
}
