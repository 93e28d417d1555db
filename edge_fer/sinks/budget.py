"""How much may be written in a day: SD cards wear out, and disks fill up."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from edge_fer.records import boot_id

__all__ = ["DAY_NS", "LONGEST_COMMIT_S", "MINUTE_NS", "DailyBudget", "DiskUser", "sync_cost"]

DAY_NS = 86_400_000_000_000
MINUTE_NS = 60_000_000_000
LONGEST_COMMIT_S = 60.0
_BLOCK = 4096
_NOTES = 2
# The rest of a day's bytes is kept for the thinned records.
_WHOLE = 0.9
_QUIET_NS = 10 * MINUTE_NS
_LONGEST_DAY = 2**53


def sync_cost(before: int, after: int) -> int:
    """Bytes that a disk takes for appending to a file and syncing it.

    Whole blocks of 4096 bytes: those that the new bytes lie in, the half-filled last one of the
    sync before among them, and two for what the file system notes about the file (its size) and
    for what it writes of itself in between. On ext4 a process's ``write_bytes`` stay below it.

    Args:
        before: size of the file at the last sync.
        after: its size now; as before where nothing was appended.
    """
    if after <= before:
        return 0
    return ((after - 1) // _BLOCK - before // _BLOCK + 1 + _NOTES) * _BLOCK


class DailyBudget:
    """Says which observations may go to a disk.

    While less than nine tenths of the day's bytes are used, all of them. Then one in a minute, so
    that the record of the day has no hole; and when everything is used, none. The next day begins
    anew. Days are counted by the monotonic clock: a wall clock that jumps gives nobody a second
    budget, and neither does a restart (:meth:`kept`).

    Args:
        limit: bytes a day.
        now_ns: monotonic clock.
        kept: what :meth:`kept` has returned, in this process or one before; a day goes on. After a
            reboot, which has a clock of its own, it goes on where it was when that was asked.
            What cannot be understood counts for nothing.
        warn: is told when the rate of the first minute is too high, when thinning begins and when
            it ends.
    """

    def __init__(
        self,
        limit: int,
        *,
        now_ns: int,
        kept: Mapping[str, Any] | None = None,
        warn: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.limit = limit
        self.thinning = False
        self._warn, self._began, self._day = warn, now_ns, 0
        # Bytes of the day before this object was made, negative for those of earlier days.
        self._carried = self._last_ns = 0
        self._estimated = False
        used, passed, at = (_whole(kept, key) for key in ("used", "passed_ns", "at_ns"))
        if kept and kept.get("boot_id") == boot_id() is not None and at <= now_ns:
            passed += now_ns - at
        if passed < DAY_NS:
            self._carried = used
            self._day_zero = now_ns - passed
        else:
            self._day_zero = now_ns

    def kept(self, now_ns: int, written: int) -> dict[str, Any]:
        """What of the day is used up, JSON-able, for the budget of a later process."""
        self._turn(now_ns, written)
        return {
            "used": self._carried + written,
            "passed_ns": (now_ns - self._day_zero) % DAY_NS,
            "at_ns": now_ns,
            "boot_id": boot_id(),
        }

    def admits(self, now_ns: int, written: int) -> bool:
        """Whether an observation of this moment may be written.

        Args:
            now_ns: monotonic clock.
            written: bytes, since this object was made.
        """
        self._turn(now_ns, written)
        passed = now_ns - self._began
        if not self._estimated and passed >= MINUTE_NS:
            self._estimated = True
            self._estimate(written * DAY_NS / passed)
        used = self._carried + written
        if used < _WHOLE * self.limit:
            return True
        if not self.thinning:
            self.thinning = True
            self._warn(
                f"{_mb(used)} of {_mb(self.limit)} a day were written: until the day is over one "
                "observation in a minute goes to disk. Counts for each minute need far less: "
                'aggregate = "1min". Or raise max_mb_per_day.'
            )
        if used >= self.limit or now_ns - self._last_ns < MINUTE_NS:
            return False
        self._last_ns = now_ns
        return True

    def _turn(self, now_ns: int, written: int) -> None:
        """Begin a new day where one is over."""
        day = (now_ns - self._day_zero) // DAY_NS
        if day != self._day:
            self._day, self._carried = day, -written
            if self.thinning:
                self._warn("A new day: every observation is written again.")
            self.thinning = False

    def _estimate(self, bytes_per_day: float) -> None:
        if bytes_per_day > self.limit:
            hours = 24 * _WHOLE * self.limit / bytes_per_day
            self._warn(
                f"At this rate {_mb(bytes_per_day)} a day go to disk; the bound is "
                f"{_mb(self.limit)} and would be reached after {hours:.1f} h. Commits become rarer "
                f"first, {LONGEST_COMMIT_S:g} s apart at most. Lower max_fps, set "
                'aggregate = "1min", or raise max_mb_per_day.'
            )


class DiskUser:
    """Whether a writer's records go to a disk at present: a queue for a broker is on it sometimes.

    They do from when its bytes grow until it was given records for ten minutes and they did not.

    Args:
        now_ns: monotonic clock.
        written: the writer's bytes so far.
    """

    def __init__(self, now_ns: int, written: int) -> None:
        self.on_disk = False
        self._last_ns, self._written, self._quiet_ns = now_ns, written, 0

    def look(self, written: int) -> bool:
        """Whether the writer is on a disk, given its bytes so far."""
        if written > self._written:
            self.on_disk, self._written, self._quiet_ns = True, written, 0
        return self.on_disk

    def given(self, now_ns: int) -> None:
        """It was given a record."""
        # A pause in which nothing came proves nothing about the writer.
        self._quiet_ns += min(now_ns - self._last_ns, MINUTE_NS)
        self._last_ns = now_ns
        if self._quiet_ns >= _QUIET_NS:
            self.on_disk = False


def _whole(kept: Mapping[str, Any] | None, key: str) -> int:
    """A number of a document that anybody may have edited; 0 where it is none."""
    value = (kept or {}).get(key)
    sound = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < _LONGEST_DAY
    return value if sound and value is not None else 0


def _mb(size: float) -> str:
    return f"{size / 1e6:.3g} MB"
