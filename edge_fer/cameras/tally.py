"""Numbers, stamps and counts the frames of a live camera, over all its reopenings."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any, cast

import numpy as np

from edge_fer.cameras.lazy import LazyFrame
from edge_fer.types import Frame, Image

__all__ = ["Tally"]

# Limited range puts black at 16 of 255, and sensors with the lens capped add little noise to it.
_BLACK_MEAN, _BLACK_DEVIATION = 18.0, 4.0
_RECENT = 30  # frames that the rate is taken over
_SILENT_NS = 10**9  # a camera is silent after that, and its rate falls


class Tally:
    """What has come out of a camera so far. Not for two threads at once.

    Args:
        now: the monotonic clock in ns.

    Attributes:
        captured: frames that came out of the camera.
        dropped: of these, the ones that nobody read; counted by whoever drops them.
        missed: gaps in the source's own numbers.
        corrupt: frames that could not be decoded; counted by whoever tried.
        arrived_ns: when the last frame came, or when counting began.
    """

    def __init__(self, now: int) -> None:
        self.captured = self.dropped = self.missed = self.corrupt = 0
        self.arrived_ns = now
        self._sequence = -1
        self._t_ns: int | None = None
        self._last: int | None = None  # the source's own number of its last frame
        self._shift = 0  # from its numbers to ours
        self._size: tuple[int, int] | None = None
        self._arrivals: deque[int] = deque(maxlen=_RECENT)
        self._black_since_ns: int | None = None

    def reopened(self) -> None:
        """From now on the source counts from its own beginning again, and so does the rate."""
        self._last = None
        self._arrivals.clear()
        self._black_since_ns = None

    def take(self, frame: Frame, now: int) -> Frame:
        """The frame with a number above all earlier ones and a time not before theirs."""
        if self._last is None or frame.sequence <= self._last:
            self._shift = self._sequence + 1 - frame.sequence
        else:
            self.missed += frame.sequence - self._last - 1
        self._last, self._sequence = frame.sequence, frame.sequence + self._shift
        t_ns = frame.t_ns
        if self._t_ns is not None and t_ns < self._t_ns:
            t_ns = max(self._t_ns, now)
        self.captured += 1
        self.arrived_ns, self._t_ns, self._size = now, t_ns, (frame.width, frame.height)
        self._arrivals.append(now)
        if not _is_black(frame.luma):
            self._black_since_ns = None
        elif self._black_since_ns is None:
            self._black_since_ns = now
        if (self._sequence, t_ns) == (frame.sequence, frame.t_ns):
            return frame
        return _renumbered(frame, self._sequence, t_ns)

    def silent_s(self, now: int) -> float:
        """Seconds since the last frame, or since counting began."""
        return (now - self.arrived_ns) / 1e9

    def fps(self, now: int) -> float:
        """Frames a second, lately."""
        if len(self._arrivals) < 2:
            return 0.0
        span = max(self._arrivals[-1], now - _SILENT_NS) - self._arrivals[0]
        return round((len(self._arrivals) - 1) * 1e9 / span, 1) if span > 0 else 0.0

    def status(self, now: int) -> dict[str, Any]:
        """The counts, the newest frame's size and age, the rate, and for how long it is black."""
        black = self._black_since_ns
        return {
            "size": None if self._size is None else list(self._size),
            "captured": self.captured,
            "dropped": self.dropped,
            "missed": self.missed,
            "corrupt": self.corrupt,
            "fps": self.fps(now),
            "age_s": round(self.silent_s(now), 3) if self.captured else None,
            "black_for_s": 0.0 if black is None else round((now - black) / 1e9, 1),
        }


def _renumbered(frame: Frame, sequence: int, t_ns: int) -> Frame:
    if not isinstance(frame, LazyFrame):
        return replace(frame, sequence=sequence, t_ns=t_ns)
    return LazyFrame(
        luma=frame.luma,
        colour=lambda: cast("Image", frame.colour),  # replace() would make it at once
        lores=frame.lores,
        t_ns=t_ns,
        sequence=sequence,
        source=frame.source,
    )


def _is_black(luma: Image) -> bool:
    sample = luma[::8, ::8]
    return bool(sample.mean() <= _BLACK_MEAN and np.std(sample) <= _BLACK_DEVIATION)
