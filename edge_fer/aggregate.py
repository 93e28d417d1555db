"""Counts for each minute instead of observations: nothing about one face leaves the process."""

from __future__ import annotations

from collections import Counter
from typing import Any

from edge_fer.records import AGGREGATE, Record, Recorder
from edge_fer.types import UNKNOWN, Observation

__all__ = ["Aggregator"]

_MINUTE_NS = 60_000_000_000


class Aggregator:
    """One record (:data:`~edge_fer.records.AGGREGATE`) for each minute that had frames.

    Minutes are counted from the first observation, by the frames' own monotonic clock. A record
    holds ``seconds`` (from the first frame to the last one, or a whole minute), ``partial``,
    ``frames``, ``frames_with_faces``, ``faces`` (summed over frames), ``mean_faces`` (a frame),
    ``tracks`` (distinct ones, null where nobody was followed), ``expressions`` (label to faces
    summed over frames, ``unknown`` among them) and ``unknown`` (reason to the same). No box, no
    probability, no number of a track.

    Args:
        recorder: numbers and stamps the records.
    """

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._first_ns: int | None = None
        self._minute = 0
        self._begin()

    def add(self, observation: Observation) -> Record | None:
        """Count one observation; the record of the minute before, where that is over."""
        if self._first_ns is None:
            self._first_ns = observation.t_ns
        minute = (observation.t_ns - self._first_ns) // _MINUTE_NS
        record = None
        if minute != self._minute:
            record = self._record(partial=False)
            self._minute = minute
            self._begin()
        self._count(observation)
        return record

    def flush(self) -> Record | None:
        """The record of the minute that is not over, None where it has no frames."""
        record = self._record(partial=True)
        self._begin()
        return record

    def _begin(self) -> None:
        self._frames = self._frames_with_faces = self._faces = 0
        self._tracks: set[int] = set()
        self._expressions: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._source, self._last_ns = "", 0

    def _count(self, observation: Observation) -> None:
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

    def _record(self, *, partial: bool) -> Record | None:
        if not self._frames:
            return None
        begun = (self._first_ns or 0) + self._minute * _MINUTE_NS
        content: dict[str, Any] = {
            "source": self._source,
            "model": self._recorder.model,
            "seconds": round((self._last_ns - begun) / 1e9, 1) if partial else 60,
            "partial": partial,
            "frames": self._frames,
            "frames_with_faces": self._frames_with_faces,
            "faces": self._faces,
            "mean_faces": round(self._faces / self._frames, 3),
            "tracks": len(self._tracks) if self._tracks or not self._faces else None,
            "expressions": dict(sorted(self._expressions.items())),
            "unknown": dict(sorted(self._reasons.items())),
        }
        return self._recorder.stamp(AGGREGATE, begun, content)
