"""How much may be written in a day: SD cards wear out, and disks fill up."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["DAY_NS", "DailyBudget"]

DAY_NS = 86_400_000_000_000
_MINUTE_NS = 60_000_000_000
# The rest of a day's bytes is kept for the thinned records.
_WHOLE = 0.9


class DailyBudget:
    """Says which observations may go to a disk.

    While less than nine tenths of the day's bytes are used, all of them. Then one in a minute, so
    that the record of the day has no hole; and when everything is used, none. The next day begins
    anew. Days are counted by the monotonic clock from when this object was made: a wall clock that
    jumps gives nobody a second budget.

    Args:
        limit: bytes a day.
        now_ns: monotonic clock.
        warn: is told when the rate of the first minute is too high, when thinning begins and when
            it ends.
    """

    def __init__(
        self, limit: int, *, now_ns: int, warn: Callable[[str], None] = lambda text: None
    ) -> None:
        self.limit = limit
        self.thinning = False
        self._warn, self._started, self._day = warn, now_ns, 0
        self._before_today = self._last_ns = 0
        self._estimated = False

    def admits(self, now_ns: int, written: int) -> bool:
        """Whether an observation of this moment may be written.

        Args:
            now_ns: monotonic clock.
            written: bytes, since this object was made.
        """
        passed = now_ns - self._started
        if passed // DAY_NS != self._day:
            self._day, self._before_today = passed // DAY_NS, written
            if self.thinning:
                self._warn("A new day: every observation is written again.")
            self.thinning = False
        if not self._estimated and passed >= _MINUTE_NS:
            self._estimated = True
            self._estimate(written * DAY_NS / passed)
        used = written - self._before_today
        if used < _WHOLE * self.limit:
            return True
        if not self.thinning:
            self.thinning = True
            self._warn(
                f"{_mb(used)} of {_mb(self.limit)} a day were written: until the day is over one "
                "observation in a minute goes to disk. Counts for each minute need far less: "
                'aggregate = "1min". Or raise max_mb_per_day.'
            )
        if used >= self.limit or now_ns - self._last_ns < _MINUTE_NS:
            return False
        self._last_ns = now_ns
        return True

    def _estimate(self, bytes_per_day: float) -> None:
        if bytes_per_day > self.limit:
            hours = 24 * _WHOLE * self.limit / bytes_per_day
            self._warn(
                f"At this rate {_mb(bytes_per_day)} a day go to disk; the bound is "
                f"{_mb(self.limit)} and will be reached after {hours:.1f} h. Lower max_fps, set "
                'aggregate = "1min", or raise max_mb_per_day.'
            )


def _mb(size: float) -> str:
    return f"{size / 1e6:.3g} MB"
