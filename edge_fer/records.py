"""What leaves the process: observations as JSON documents, numbered and stamped once for all sinks.

Time inside is monotonic; the wall clock only stands beside it, with a mark that says whether it can
be believed. ``run`` and ``seq`` together name a record for ever.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from edge_fer.types import Observation, ObservedFace

__all__ = ["AGGREGATE", "OBSERVATION", "Record", "Recorder", "boot_id", "clock_ok", "wall_text"]

OBSERVATION = "edge-fer/observation/1"
AGGREGATE = "edge-fer/aggregate/1"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TIMESYNC = Path("/run/systemd/timesync")
# No copy of this program is older, so an earlier clock is a clock that was never set.
_BUILT_AFTER = datetime(2025, 1, 1, tzinfo=UTC)
# json.dumps would build this anew for every record: half of its time.
_ENCODE = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One document on its way to the sinks.

    Attributes:
        schema: what it is, for example :data:`OBSERVATION`.
        seq: its number; no number comes twice in a run, and later records have higher ones.
        document: JSON-able, with ``schema``, ``run`` and ``seq`` in it.
        line: the document as one line of JSON, without the line break.
    """

    schema: str
    seq: int
    document: Mapping[str, Any]
    line: str

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Record:
        """Of a whole document: ``schema`` and ``seq`` are read from it."""
        return cls(
            schema=document["schema"],
            seq=document["seq"],
            document=document,
            line=_ENCODE(document),
        )


class Recorder:
    """Numbers and stamps observations. One thread uses it.

    Attributes:
        model: the first 12 digits of the model's sha256.
        run: eight hex digits, drawn anew in every process.
        seq: the number of the next record.

    Args:
        model_sha256: of the model that classifies; its first 12 digits are written.
        first_seq: the first record's number: a service goes on where it stopped.
        now: the wall clock.
    """

    def __init__(
        self,
        model_sha256: str,
        *,
        first_seq: int = 0,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.model, self.seq = model_sha256[:12], first_seq
        self._now, self._boot_id, self.run = now, boot_id(), os.urandom(4).hex()
        self._asked, self._trusted = _BUILT_AFTER, clock_ok(_BUILT_AFTER)

    def record(self, observation: Observation) -> Record:
        """The record of one observation, in the schema :data:`OBSERVATION`."""
        return self.stamp(
            OBSERVATION,
            observation.t_ns,
            {
                "source": observation.source,
                "model": self.model,
                "frame": observation.frame,
                "faces": [_face(face) for face in observation.faces],
                "timings_ms": {k: round(float(v), 3) for k, v in observation.timings_ms.items()},
            },
        )

    def stamp(
        self, schema: str, t_ns: int, content: Mapping[str, Any], *, ago_s: float = 0.0
    ) -> Record:
        """Any other document, with the next number and the time.

        Args:
            schema: of the document.
            t_ns: monotonic, of what it tells.
            content: all the rest of it.
            ago_s: seconds since the moment that ``wall_time`` is to name.
        """
        now, seq = self._now(), self.seq
        self.seq += 1
        then = now - timedelta(seconds=ago_s)
        return Record.of(
            {
                "schema": schema,
                "boot_id": self._boot_id,
                "run": self.run,
                "seq": seq,
                "t_ns": t_ns,
                "wall_time": wall_text(then),
                "clock_ok": self._clock_ok(now),
                **content,
            }
        )

    def _clock_ok(self, now: datetime) -> bool | None:
        # Twice a look at the file system: once a second is enough, and after every jump.
        if abs(now - self._asked) >= timedelta(seconds=1):
            self._asked, self._trusted = now, clock_ok(now)
        return self._trusted


def wall_text(time: datetime) -> str:
    """A time of day in UTC as every document has it: ISO 8601, milliseconds, ``Z``."""
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def boot_id() -> str | None:
    """The kernel's id of this boot; None where there is none (not Linux)."""
    try:
        return _BOOT_ID.read_text().strip() or None
    except OSError:
        return None


def clock_ok(now: datetime, timesync: Path = _TIMESYNC) -> bool | None:
    """Whether the wall clock can be believed; None where that is unknown.

    False before 2025: a Pi without a network wakes up in the past. Else what systemd-timesyncd
    says (Raspberry Pi OS runs it): it touches ``/run/systemd/timesync/synchronized`` at every
    synchronisation since the boot (systemd-timesyncd(8), since 239). Other time services (chrony,
    ntpd) leave no such mark.

    Args:
        now: the wall clock, with a time zone.
        timesync: the folder that timesyncd keeps while it runs.
    """
    if now < _BUILT_AFTER:
        return False
    if not timesync.is_dir():
        return None
    return (timesync / "synchronized").exists()


def _face(seen: ObservedFace) -> dict[str, Any]:
    box, expression = seen.face.box, seen.expression
    return {
        "track": seen.face.track,
        "box": [round(float(v), 2) for v in (box.x, box.y, box.w, box.h)],
        "score": round(float(seen.face.score), 4),
        "expression": expression.label,
        "reason": expression.reason,
        "probabilities": {k: round(float(p), 6) for k, p in expression.probabilities.items()},
        "raw_expression": seen.raw_expression,
    }
