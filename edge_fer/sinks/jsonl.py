"""Observations as JSON lines (``edge-fer/observation/1``), appended to a file."""

from __future__ import annotations

import io
import json
import os
import stat
import sys
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_fer.errors import DeviceError, EdgeFerError
from edge_fer.types import Observation, ObservedFace

__all__ = ["SCHEMA", "JsonlSink", "boot_id", "clock_ok"]

SCHEMA = "edge-fer/observation/1"
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_TIMESYNC = Path("/run/systemd/timesync")
# No copy of this program is older, so an earlier clock is a clock that was never set.
_BUILT_AFTER = datetime(2025, 1, 1, tzinfo=UTC)


class JsonlSink:
    """One observation a line, handed to the operating system before ``emit`` returns.

    A killed process loses no line that was accepted; a power cut may lose the last seconds, since
    syncing every line would wear an SD card out. What is in the file stays: new lines are
    appended, and after a half-written last line (a power cut) they start on a new line. ``seq``
    counts from 0 in each process; ``t_ns`` with ``boot_id`` orders lines across restarts.

    Args:
        path: the file, or None for standard output.
        model_sha256: of the model; its first 12 digits are written.
        now: the wall clock.

    Raises:
        DeviceError: the file cannot be opened for appending.
    """

    def __init__(
        self,
        path: Path | None,
        model_sha256: str,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.name = "standard output" if path is None else str(path)
        self._model, self._now, self._boot_id = model_sha256[:12], now, boot_id()
        self._seq = 0
        self._closed = False
        try:
            self._handle = _stdout() if path is None else _open(path)
            self._mend = path is not None and _ends_mid_line(path)
        except OSError as err:
            raise DeviceError(
                f"{self.name} cannot be opened for writing: {err.strerror or err}.",
                "Check that the folder exists and that you may write there.",
            ) from err
        self._to_stdout = path is None

    @classmethod
    def open(cls, target: str, model_sha256: str) -> JsonlSink:
        """Open from an address: a path, or ``-`` for standard output."""
        return cls(None if target == "-" else Path(target), model_sha256)

    def emit(self, observation: Observation) -> None:
        """Append one line, whole or not at all.

        Raises:
            DeviceError: the disk is full or gone; no part of the line is left in the file.
            BrokenPipeError: whoever read our standard output has gone.
        """
        if self._closed:
            raise EdgeFerError(f"The sink {self.name} was closed.")
        line = json.dumps(self._record(observation), allow_nan=False, separators=(",", ":"))
        # A line break first, where a line of an earlier process was cut short.
        data = f"\n{line}\n" if self._mend else f"{line}\n"
        try:
            self._write(data.encode())
        except BrokenPipeError:
            if self._to_stdout:
                raise
            raise self._not_written("whoever read it has gone") from None
        except OSError as err:
            raise self._not_written(err.strerror or str(err)) from err
        self._mend = False
        self._seq += 1

    def close(self) -> None:
        """Close the file. Calling it twice is fine."""
        if not self._closed:
            self._closed = True
            if self._handle is not None:
                os.close(self._handle)

    def _record(self, observation: Observation) -> dict[str, Any]:
        now = self._now()
        return {
            "schema": SCHEMA,
            "boot_id": self._boot_id,
            "seq": self._seq,
            "t_ns": observation.t_ns,
            "wall_time": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "clock_ok": clock_ok(now),
            "source": observation.source,
            "model": self._model,
            "frame": observation.frame,
            "faces": [_face(face) for face in observation.faces],
            "timings_ms": {k: round(float(v), 3) for k, v in observation.timings_ms.items()},
        }

    def _write(self, data: bytes) -> None:
        if self._handle is None:
            sys.stdout.write(data.decode())
            sys.stdout.flush()
            return
        before, written = os.fstat(self._handle).st_size, 0
        try:
            while written < len(data):
                written += os.write(self._handle, data[written:])
        except OSError:
            if written:
                self._take_back(self._handle, before, written)
            raise

    def _take_back(self, handle: int, before: int, written: int) -> None:
        """Cut a half-written line off again; where that cannot be, the next starts a new line."""
        with suppress(OSError):
            state = os.fstat(handle)
            # Never cut what another process has appended in the meantime.
            if stat.S_ISREG(state.st_mode) and state.st_size == before + written:
                os.ftruncate(handle, before)
                os.lseek(handle, before, os.SEEK_SET)
                return
        self._mend = True

    def _not_written(self, reason: str) -> DeviceError:
        return DeviceError(
            f"An observation could not be written to {self.name}: {reason}. "
            f"The {self._seq} before it are safe.",
            "Make room (df -h) or choose another file, then start again: new lines are appended.",
        )


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


def _open(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _stdout() -> int | None:
    """A handle of our own, past Python's buffer; None where stdout is no file (a notebook)."""
    sys.stdout.flush()
    try:
        return os.dup(sys.stdout.fileno())
    except io.UnsupportedOperation:
        return None


def _ends_mid_line(path: Path) -> bool:
    if not path.is_file() or path.stat().st_size == 0:
        return False
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) != b"\n"
