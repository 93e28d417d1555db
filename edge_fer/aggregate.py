"""Counts for each minute instead of observations: nothing about one face leaves the process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from time import monotonic_ns
from typing import Any

from edge_fer.records import AGGREGATE, Record, Recorder
from edge_fer.types import UNKNOWN, Observation

__all__ = ["Aggregator"]

_MINUTE_NS = 60_000_000_000
# Frames of the minute may still be on their way for so long after its end.
_LATE_NS = 1_000_000_000
# A minute whose frames span that much is a whole one: they do not come at even distances.
_WHOLE_NS = 58_000_000_000


class Aggregator:
    """One record (:data:`~edge_fer.records.AGGREGATE`) for each minute that had frames.

    Minutes are counted from the first observation, by the frames' own monotonic clock. A record
    holds ``seconds`` (from the minute's first frame to its last one), ``partial`` (frames are
    missing at the minute's beginning or end: the run began or ended, or the camera was away),
    ``frames``, ``frames_with_faces``, ``faces`` (summed over frames), ``mean_faces`` (a frame),
    ``tracks`` (distinct ones, null where nobody was followed), ``expressions`` (label to faces
    summed over frames, ``unknown`` among them) and ``unknown`` (reason to the same). No box, no
    probability, no number of a track. Its ``wall_time`` is that of the minute's end (of the moment
    where a run ends before that), whenever it is made.

    Args:
        recorder: numbers and stamps the records.
        clock: monotonic ns: tells a minute's end when no frame does.
    """

    def __init__(self, recorder: Recorder, *, clock: Callable[[], int] = monotonic_ns) -> None:
        self._recorder, self._clock = recorder, clock
        self._first_ns: int | None = None
        self._minute = 0
        # From the frames' clock to ours, as of the last frame: how old it was when it came, if the
        # two are the same, and whatever it takes where they are not.
        self._behind_ns = 0
        self._begin()

    def add(self, observation: Observation) -> Record | None:
        """Count one observation; the record of the minute before, where that is over."""
        if self._first_ns is None:
            self._first_ns = observation.t_ns
        minute = (observation.t_ns - self._first_ns) // _MINUTE_NS
        record = None
        if minute != self._minute:
            record = self._record()
            self._minute = minute
            self._begin()
        self._behind_ns = self._clock() - observation.t_ns
        self._count(observation)
        return record

    def tick(self, now: int) -> Record | None:
        """The record of a minute that is over though no frame has come since.

        Not for a source whose frames have another pace than the clock (a video file).

        Args:
            now: ns, of the clock.
        """
        if not self._frames or now < self._end_ns() + _LATE_NS:
            return None
        record = self._record()
        self._begin()
        return record

    def flush(self) -> Record | None:
        """The record of the minute that is not over, None where it has no frames."""
        record = self._record()
        self._begin()
        return record

    def _begin(self) -> None:
        self._frames = self._frames_with_faces = self._faces = 0
        self._tracks: set[int] = set()
        self._expressions: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._source, self._begun_ns, self._last_ns = "", 0, 0

    def _count(self, observation: Observation) -> None:
        if not self._frames:
            self._begun_ns = observation.t_ns
        self._frames += 1
        self._frames_with_faces += bool(observation.faces)
        self._faces += len(observation.faces)
        self._source, self._last_ns = observation.source, observation.t_ns
        for seen in observation.faces:
            self._expressions[seen.expression.label] += 1
            if seen.expression.label == UNKNOWN:
                self._reasons[seen.expression.reason or "low_confidence"] += 1
            if seen.face.track is not None:
                self._tracks.add(seen.face.track)

    def _end_ns(self) -> int:
        """When the minute ends, by our clock."""
        return (self._first_ns or 0) + (self._minute + 1) * _MINUTE_NS + self._behind_ns

    def _record(self) -> Record | None:
        if not self._frames:
            return None
        spanned = self._last_ns - self._begun_ns
        # n frames at one distance lie n - 1 distances apart, and stand for n of them.
        covered = spanned + spanned // max(1, self._frames - 1)
        content: dict[str, Any] = {
            "source": self._source,
            "model": self._recorder.model,
            "seconds": round(spanned / 1e9, 1),
            "partial": covered < _WHOLE_NS,
            "frames": self._frames,
            "frames_with_faces": self._frames_with_faces,
            "faces": self._faces,
            "mean_faces": round(self._faces / self._frames, 3),
            "tracks": len(self._tracks) if self._tracks or not self._faces else None,
            "expressions": dict(sorted(self._expressions.items())),
            "unknown": dict(sorted(self._reasons.items())),
        }
        begun = (self._first_ns or 0) + self._minute * _MINUTE_NS
        ago_s = max(0, self._clock() - self._end_ns()) / 1e9
        return self._recorder.stamp(AGGREGATE, begun, content, ago_s=ago_s)
