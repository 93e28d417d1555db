"""The last few events, and everybody who follows them; whoever is too slow loses the oldest."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable

__all__ = ["Follower", "Ring"]


class Ring:
    """A bounded list of (sequence number, event) that any number of threads follow.

    Args:
        size: events that are kept.
        clock: monotonic seconds.
    """

    def __init__(self, size: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._events: deque[tuple[int, bytes]] = deque(maxlen=size)
        self._begun = 0  # how many events there were before the oldest one that is kept
        self._clock, self._newest_at, self.closed = clock, float("-inf"), False
        self.changed = threading.Condition()

    @property
    def age_s(self) -> float:
        """Seconds since the newest event; infinite where there is none."""
        return self._clock() - self._newest_at

    def add(self, events: Iterable[tuple[int, bytes]]) -> None:
        """Append, and wake everybody. Waits for nobody."""
        with self.changed:
            for event in events:
                self._begun += len(self._events) == self._events.maxlen
                self._events.append(event)
                self._newest_at = self._clock()
            self.changed.notify_all()

    def close(self) -> None:
        """All followers end."""
        with self.changed:
            self.closed = True
            self.changed.notify_all()

    def follow(self, last_seq: int | None) -> Follower:
        """Follow from behind a number that was seen last, or from the newest event.

        A number that is not kept any more, or comes from another life of this process, gives what
        is kept of the later ones, or the newest event.
        """
        with self.changed:
            position = max(0, len(self._events) - 1)
            if last_seq is not None:
                seen = [i for i, (seq, _) in enumerate(self._events) if seq == last_seq]
                later = [i for i, (seq, _) in enumerate(self._events) if seq > last_seq]
                position = seen[-1] + 1 if seen else later[0] if later else position
            return Follower(self, self._begun + position)

    def after(self, position: int, limit: int) -> tuple[int, list[bytes], int]:
        """Position behind what is returned, at most ``limit`` events, and how many were missed."""
        missed = max(0, self._begun - position)
        start = position + missed - self._begun
        events = [data for _, data in list(self._events)[start : start + limit]]
        return self._begun + start + len(events), events, missed


class Follower:
    """One reader's place in a ring.

    Attributes:
        missed: events that were gone before this reader came to them.
    """

    def __init__(self, ring: Ring, position: int) -> None:
        self._ring, self._position, self.missed = ring, position, 0

    def next(self, timeout_s: float, limit: int = 64) -> list[bytes] | None:
        """The next events; empty after the time-out, None when the ring was closed."""
        with self._ring.changed:
            self._position, events, missed = self._ring.after(self._position, limit)
            if not events and not self._ring.closed:
                self._ring.changed.wait(timeout_s)
                self._position, events, more = self._ring.after(self._position, limit)
                missed += more
            self.missed += missed
            return events if events or not self._ring.closed else None
