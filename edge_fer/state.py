"""What outlives a restart: counters, the number of the next record, the day's bytes on disk.

Numbers are reserved in blocks before they are handed out, and the reservation is on the disk
first: after a kill, the next run begins at the end of the reserved block, so a gap between two runs
is no loss, and no number comes twice. Within a run there are no gaps. A file that cannot be read is
set aside, and numbering goes on at a number that no earlier run can have reached.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from glob import escape
from pathlib import Path
from typing import Any

from edge_fer.errors import DeviceError
from edge_fer.files import service_file, write_text

__all__ = ["STATE", "Counters", "State", "default_path"]

STATE = "edge-fer/state/1"
# Numbers reserved ahead: most of an hour at 30 frames a second.
BLOCK = 100_000
# For what the sinks still number while they are closed: aggregates that had not ended.
SPARE = 1_000
# Begins after the n-th damaged file at n times this: a thousand years of 30 records a second, and
# far below the 2**53 up to which every reader of JSON counts exactly.
LEAP = 2**40
# What an SD card takes for one writing: the file, its folder and the file system's journal.
_COST = 20_000


def default_path(setting: str = "", environ: Mapping[str, str] = os.environ) -> Path | None:
    """Where a service keeps its state: the setting, the service's own folder, or nowhere.

    Args:
        setting: ``state_file``; empty: not set.
        environ: with systemd's ``STATE_DIRECTORY`` where the unit has one.
    """
    return service_file(setting, "STATE_DIRECTORY", "state.json", environ)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """Sums over all runs.

    Attributes:
        starts: how often the service was started, this time included.
        frames: frames that went through the pipeline.
        faces: faces seen in them.
        observations: observations handed to the sinks.
        uptime_s: seconds that it ran.
    """

    starts: int = 0
    frames: int = 0
    faces: int = 0
    observations: int = 0
    uptime_s: float = 0.0


class State:
    """The counters of a service, kept in a file where there is one.

    The file is written when the service begins, every ``every_s`` seconds, when half of the
    reserved numbers is used, and at the end. In between it is written by a thread, because syncing
    an SD card can take longer than a frame. A kill loses the counts since the last writing.

    Args:
        path: the file; None keeps nothing.
        every_s: seconds between writings. Each costs an SD card about 20 kB: 6 MB a day by default.

    Attributes:
        before: the counters when this run began, without it.
        first_seq: the number of this run's first record.
        budget: what was kept of the day's budget when this run began
            (:meth:`edge_fer.sinks.delivery.Delivery.budget_state`); empty: nothing.
        keep_budget: is asked for what to keep of it from now on.
        bytes_written: to the disk so far.
        problem: why the file could not be read or written; empty: all is well.
    """

    def __init__(self, path: Path | None = None, *, every_s: float = 300.0) -> None:
        self.path, self.every_s, self.problem = path, every_s, ""
        self.bytes_written = 0
        self.budget: dict[str, Any] = {}
        self.keep_budget: Callable[[], Mapping[str, Any]] = lambda: self.budget
        self.before, self.first_seq = self._load()
        self.total = replace(self.before, starts=self.before.starts + 1)
        self._reserved = self.first_seq
        self._next_seq = self.first_seq
        self._next_s: float | None = None
        self._writing: threading.Thread | None = None
        self._save(self.total, self.first_seq + BLOCK, self.budget)

    def turn(
        self, *, frames: int, faces: int, observations: int, uptime_s: float, next_seq: int
    ) -> None:
        """What this run has counted so far; writes the file when it is time.

        Args:
            frames: of this run.
            faces: of this run.
            observations: of this run.
            uptime_s: of this run, by a monotonic clock.
            next_seq: the number that the next record will get.
        """
        self.total = Counters(
            starts=self.before.starts + 1,
            frames=self.before.frames + frames,
            faces=self.before.faces + faces,
            observations=self.before.observations + observations,
            uptime_s=round(self.before.uptime_s + uptime_s, 3),
        )
        self._next_seq = max(self._next_seq, next_seq)
        if self._next_s is None:
            self._next_s = uptime_s + self.every_s
        due = uptime_s >= self._next_s or self._next_seq > self._reserved - BLOCK // 2
        if due and self.path is not None and not self._busy():
            self._next_s = uptime_s + self.every_s
            self._writing = threading.Thread(
                target=self._save,
                args=(self.total, self._next_seq + BLOCK, dict(self.keep_budget())),
                name="edge-fer-state",
            )
            self._writing.start()

    def settle(self) -> None:
        """Wait until a writing that is under way has ended."""
        if self._writing is not None:
            self._writing.join()
            self._writing = None

    def close(self) -> None:
        """Write the last counts, and give back most of the unused numbers. Twice is fine."""
        self.settle()
        self._save(self.total, self._next_seq + SPARE, dict(self.keep_budget()))

    def _busy(self) -> bool:
        return self._writing is not None and self._writing.is_alive()

    def _save(self, counters: Counters, reserved: int, budget: Mapping[str, Any]) -> None:
        if self.path is None:
            return
        document = {"schema": STATE, "next_seq": reserved, **asdict(counters), "budget": budget}
        self.bytes_written += _COST
        try:
            write_text(self.path, json.dumps(document) + "\n")
        except DeviceError as err:
            # Not worth an end: within a run no number comes twice, and `run` tells runs apart.
            self.problem = f"The state was not kept: {err.message}"
        else:
            self._reserved = reserved
            if self.problem.startswith("The state was not kept"):
                self.problem = ""

    def _load(self) -> tuple[Counters, int]:
        if self.path is None:
            return Counters(), 0
        # What a process left that was killed while it wrote; no other service has this file.
        for left in self.path.parent.glob(f".{escape(self.path.name)}.*"):
            with suppress(OSError):
                left.unlink()
        try:
            counters, first_seq, self.budget = _read(self.path.read_bytes())
        except FileNotFoundError:
            return Counters(), 0
        except OSError as err:
            why = str(err.strerror or err)
        except (ValueError, RecursionError) as err:
            why = str(err)
        else:
            return counters, first_seq
        aside, nth = self._set_aside(self.path)
        self.problem = f"{self.path} could not be used ({why}); {aside}, counters begin anew."
        return Counters(), nth * LEAP

    @staticmethod
    def _set_aside(path: Path) -> tuple[str, int]:
        nth = 1
        while (aside := path.with_name(f"{path.name}.damaged-{nth}")).exists():
            nth += 1
        try:
            path.rename(aside)
        except OSError as err:
            return f"it could not be set aside ({err.strerror})", nth
        return f"it is {aside.name} now", nth


def _read(data: bytes) -> tuple[Counters, int, dict[str, Any]]:
    document = json.loads(data)
    if not isinstance(document, dict) or document.get("schema") != STATE:
        raise ValueError(f"it is no {STATE}")
    counters = Counters(
        starts=_whole(document, "starts"),
        frames=_whole(document, "frames"),
        faces=_whole(document, "faces"),
        observations=_whole(document, "observations"),
        uptime_s=_number(document, "uptime_s"),
    )
    budget = document.get("budget")  # a file of an earlier version has none
    return counters, _whole(document, "next_seq"), budget if isinstance(budget, dict) else {}


def _whole(document: dict[str, Any], key: str) -> int:
    value = document.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**53:
        raise ValueError(f"its {key} is {value!r}")
    return value


def _number(document: dict[str, Any], key: str) -> float:
    value = document.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise ValueError(f"its {key} is {value!r}")
    return float(value)
