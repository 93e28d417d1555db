"""Times of a run, per stage: mean, percentiles and maximum in milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edge_fer.pipeline import STAGES
from edge_fer_bench.protocol import Run
from edge_fer_bench.source import Source

__all__ = ["Latency", "StageTimes", "bounded_by", "summarise"]

_P99_FRAMES = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class StageTimes:
    """One stage over the frames in which it ran; all None, with n 0, where it never did."""

    n: int
    mean: float | None
    p50: float | None
    p90: float | None
    p99: float | None
    max: float | None

    @classmethod
    def of(cls, values: Sequence[float]) -> StageTimes:
        """Summarise milliseconds; percentiles interpolate linearly (numpy's default)."""
        if not values:
            return cls(n=0, mean=None, p50=None, p90=None, p99=None, max=None)
        p50, p90, p99 = (float(p) for p in np.percentile(values, [50, 90, 99]))
        mean = float(np.mean(values))
        return cls(n=len(values), mean=mean, p50=p50, p90=p90, p99=p99, max=float(max(values)))


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
        return {stage: asdict(times) for stage, times in self.stages.items()}


def summarise(run: Run) -> Latency:
    """Stage by stage."""
    columns: dict[str, list[float]] = {stage: [] for stage in STAGES}
    for frame in run.frames:
        for stage, value in frame.timings_ms.items():
            columns[stage].append(value)
    found = [frame.faces for frame in run.frames]
    notes = []
    if len(run.frames) < _P99_FRAMES:
        notes.append(
            f"{len(run.frames)} frames are too few for a 99th percentile: "
            f"p99 leans on the slowest frame (it takes {_P99_FRAMES})."
        )
    if not any(found):
        notes.append("No face was found, so cropping and classifying were never timed.")
    if not run.warm_up.steady:
        notes.append("The times were not steady when warming up ended.")
    return Latency(
        stages={stage: StageTimes.of(values) for stage, values in columns.items()},
        faces=sum(found),
        frames_with_face=sum(n > 0 for n in found),
        notes=tuple(notes),
    )


def bounded_by(run: Run, latency: Latency, source: Source, seconds: float) -> str:
    """In words, what the number of frames per second depended on, and what ended the run."""
    shares = _shares(latency)
    if source.live and shares.get("capture", 0.0) > 0.5:
        words = (
            f"The source: {_percent(shares['capture'])} of the time went into waiting for the "
            "next picture, so a faster machine would give no more frames."
        )
    else:
        stage = max((s for s in shares if s != "capture"), key=lambda s: shares[s])
        words = (
            f"Computing: {_WORDS[stage]} takes {_percent(shares[stage])} of the time of a frame."
        )
        if "capture" in shares:
            words += f" {_CAPTURE[source.kind].format(_percent(shares['capture']))}"
    if run.stopped_by == "source_ended":
        words += (
            f" The source ended after {len(run.frames)} frames ({run.seconds:.1f} s of the "
            f"{seconds:g} s asked for); all that it had was measured."
        )
    elif run.stopped_by == "interrupted":
        words += f" The run was interrupted after {run.seconds:.1f} s of {seconds:g} s."
    return words


def _shares(latency: Latency) -> dict[str, float]:
    """Share of all frames' time per stage that ran; a stage counts 0 where it did not run."""
    sums = {s: t.n * t.mean for s, t in latency.stages.items() if t.mean is not None}
    whole = sums.pop("total")
    return {stage: spent / whole for stage, spent in sums.items()} if whole else dict(sums)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


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
