"""What a running service says of itself, in a file that ``edge-fer status`` and others read."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, cast

from edge_fer import __version__
from edge_fer.errors import DeviceError
from edge_fer.files import service_file
from edge_fer.machine import Reading, alive, boottime_ns, rss_mb
from edge_fer.records import boot_id, clock_ok, wall_text

__all__ = [
    "STATUS",
    "Latency",
    "Phase",
    "Report",
    "Status",
    "default_path",
    "find_status",
    "read_status",
]

STATUS = "edge-fer/status/1"
Phase = Literal["starting", "running", "camera_away", "reloading", "stopping"]
# What a pipeline tells of itself; a key that it leaves out is null in the document.
PARTS = ("source", "model", "backend", "detector", "camera", "sinks")
# Seven writings missed, and more than the longest step of a healthy service.
FRESH_S = 15.0
_WINDOW_S = 120.0
_RATE_S = 10.0
_RUN = Path("/run/edge-fer/status.json")


def default_path(setting: str = "", environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where a service writes its status: the setting, the service's folder in /run, or nowhere.

    Args:
        setting: ``status_file``; empty: not set.
        environ: with systemd's ``RUNTIME_DIRECTORY`` where the unit has one.
    """
    return service_file(setting, "RUNTIME_DIRECTORY", "status.json", environ)


class Latency:
    """Frame rate and latency of the last two minutes, in bounded memory (2,048 frames at most)."""

    def __init__(self) -> None:
        self._frames: deque[tuple[int, float]] = deque(maxlen=2048)

    def add(self, t_ns: int, total_ms: float) -> None:
        """A frame ended at ``t_ns`` (monotonic) and had taken so long."""
        self._frames.append((t_ns, total_ms))

    def summary(self, now_ns: int) -> dict[str, float | int | None]:
        """``fps`` of the last ten seconds, ``latency_p50_ms``, ``latency_p99_ms`` and their n."""
        while self._frames and now_ns - self._frames[0][0] > _WINDOW_S * 1e9:
            self._frames.popleft()
        ordered = sorted(ms for _, ms in self._frames)
        n = len(ordered)
        return {
            "fps": self._fps(now_ns),
            "latency_p50_ms": round(ordered[(n - 1) // 2], 3) if n else None,
            "latency_p99_ms": round(ordered[-(-n * 99 // 100) - 1], 3) if n else None,
            "latency_frames": n,
        }

    def _fps(self, now_ns: int) -> float:
        times = [t_ns for t_ns, _ in self._frames if now_ns - t_ns <= _RATE_S * 1e9]
        if len(times) < 2:
            return 0.0
        # Up to now, not to the last frame: where none come any more, the rate falls.
        return round((len(times) - 1) / max(1, now_ns - times[0]) * 1e9, 2)


class Status:
    """Builds the document, and writes it at most every ``every_s`` seconds.

    Args:
        path: the file; None writes nothing.
        thermal: reads temperature and throttle bits.
        now: the wall clock; shown, never reckoned with.
        clock: nanoseconds since the boot.
        every_s: seconds between two writings.

    Attributes:
        problem: why the file was not written; empty: it was, or nobody asked for it.
        watched: whether somebody in this process reads ``last``, with a file or without.
        last: the newest document; replaced as a whole, so that any thread may read it.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        thermal: Callable[[], Reading] = lambda: Reading(celsius=None, throttled=None),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        clock: Callable[[], int] = boottime_ns,
        every_s: float = 2.0,
    ) -> None:
        self.path, self.problem, self.every_s = path, "", every_s
        self.watched, self.last = False, cast(Mapping[str, Any], {})
        self._thermal, self._now, self._clock = thermal, now, clock
        self._boot_id, self._next_ns = boot_id(), 0
        self._error: dict[str, Any] | None = None

    def error(self, message: str) -> None:
        """Remember the last thing that went wrong, and when."""
        self._error = {
            "message": message,
            "wall_time": wall_text(self._now()),
            "t_boot_ns": self._clock(),
        }

    def due(self) -> bool:
        """Whether it is time for another document, and anybody who wants one."""
        wanted = self.path is not None or self.watched
        return wanted and self._clock() >= self._next_ns

    def document(self, phase: Phase, parts: Mapping[str, Any], **counts: Any) -> dict[str, Any]:
        """The whole document.

        Args:
            phase: what the service is doing.
            parts: what the pipeline tells; :data:`PARTS` are taken from it.
            counts: the other fields, as they are.
        """
        wall, reading = self._now(), self._thermal()
        return {
            "schema": STATUS,
            "state": phase,
            "version": __version__,
            "pid": os.getpid(),
            "boot_id": self._boot_id,
            "t_boot_ns": self._clock(),
            "wall_time": wall_text(wall),
            "clock_ok": clock_ok(wall),
            **{key: parts.get(key) for key in PARTS},
            **counts,
            "thermal": {
                "celsius": reading.celsius,
                "throttled": None if reading.throttled is None else hex(reading.throttled),
                "now": list(reading.now),
                "since_boot": list(reading.since_boot),
                "words": reading.words,
            },
            "rss_mb": rss_mb(),
            "last_error": self._error,
        }

    def write(self, document: Mapping[str, Any]) -> None:
        """Replace the file in one go. Not synced: it belongs on a tmpfs, and is old in seconds.

        What goes wrong is no reason to stop; it stands in ``problem``.
        """
        self.last = document
        self._next_ns = self._clock() + int(self.every_s * 1e9)
        if self.path is None:
            return
        # One name: a process that is killed here leaves one file behind, not one each time.
        temporary = self.path.with_name(f".{self.path.name}.new")
        try:
            text = json.dumps(document, allow_nan=False, indent=1)
            handle = os.open(
                temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644
            )
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(text + "\n")
            temporary.replace(self.path)
        except (OSError, ValueError, TypeError) as err:
            self.problem = f"{self.path} was not written: {getattr(err, 'strerror', None) or err}."
        else:
            self.problem = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A status file, judged.

    Attributes:
        path: where it was found.
        document: what it says.
        age_s: seconds since it was written; None where it is of another boot.
        running: whether the service that wrote it still runs and still writes.
        why: one sentence where it does not.
        remedy: the line that mends it.
    """

    path: Path
    document: Mapping[str, Any]
    age_s: float | None
    running: bool
    why: str = ""
    remedy: str = ""


def find_status(
    file: Path | None = None, setting: str = "", environ: Mapping[str, str] = os.environ
) -> Path:
    """The status file: the one named, else the first of the usual places.

    Args:
        file: named on the command line.
        setting: ``status_file`` of the settings.
        environ: with ``RUNTIME_DIRECTORY``, or without.

    Raises:
        DeviceError: there is none.
    """
    if file is not None:
        places = [file]
    else:
        own = default_path("", environ)
        places = [*([own] if own else []), _RUN, *([Path(setting)] if setting else [])]
    for place in places:
        try:
            if place.is_file():
                return place
        except OSError:  # a folder that we may not enter
            continue
    raise DeviceError(
        f"There is no status file ({', '.join(map(str, places))}): no service runs, or it writes "
        "none.",
        "Start it with: sudo systemctl start edge-fer, or name the file: edge-fer status --file F",
    )


def read_status(
    path: Path,
    *,
    clock: Callable[[], int] = boottime_ns,
    boot: str | None = None,
    is_alive: Callable[[int], bool] = alive,
) -> Report:
    """Read and judge a status file, by the clock since the boot and not by the time of day.

    Args:
        path: the file.
        clock: nanoseconds since the boot.
        boot: id of this boot; None: ask the kernel.
        is_alive: whether a process of this number runs.

    Raises:
        DeviceError: it cannot be read, is damaged, or is no status.
    """
    try:
        document = json.loads(path.read_bytes())
    except OSError as err:
        raise DeviceError(f"{path} cannot be read: {err.strerror}.", f"ls -l {path}") from err
    except (ValueError, RecursionError) as err:
        raise DeviceError(f"{path} is damaged: {err}.", _RESTART) from err
    if not isinstance(document, dict) or document.get("schema") != STATUS:
        raise DeviceError(f"{path} is no {STATUS}.", "Name the service's own file with --file.")
    pid, written, phase = (document.get(k) for k in ("pid", "t_boot_ns", "state"))
    if type(pid) is not int or type(written) is not int:
        raise DeviceError(f"{path} is damaged: it has no pid or no time.", _RESTART)
    if document.get("boot_id") != (boot or boot_id()):
        return Report(
            path=path,
            document=document,
            age_s=None,
            running=False,
            why="It was written before the last restart of this machine.",
            remedy=_START,
        )
    age = (clock() - written) / 1e9
    why, remedy = "", ""
    if not is_alive(pid):
        ended = document.get("ended")
        how = f": {str(ended).rstrip('.')}" if ended else ""
        why = f"The service (process {pid}) has ended{how}."
        remedy = _START
    elif phase == "stopping":
        why, remedy = "The service is stopping.", _START
    elif not 0 <= age <= FRESH_S:
        why = f"The service (process {pid}) has said nothing for {age:.0f} s."
        remedy = _RESTART
    return Report(path=path, document=document, age_s=age, running=not why, why=why, remedy=remedy)


_START = "sudo systemctl start edge-fer; what it said: journalctl -u edge-fer -n 50"
_RESTART = "sudo systemctl restart edge-fer; what it said: journalctl -u edge-fer -n 50"
