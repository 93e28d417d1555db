"""How soon the next frame is taken: an activity gate and a thermal governor, under one bound.

Nothing here waits or reads a clock: the caller says what time it is and waits as told, so that a
signal can end the wait. Only live sources are paced; a file's frames are all wanted, and soon.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from edge_fer.machine import Reading

__all__ = ["ActivityGate", "Pacing", "ThermalGovernor"]

_FULL = math.inf  # frames per second: as the camera gives them
# How quickly the measured rate follows: about the last 20 frames.
_FOLLOW = 0.05
# A longer one is a camera that was away, and no frame rate.
_PAUSE_S = 2.0


@dataclass(slots=True, kw_only=True)
class ActivityGate:
    """Nobody there: look less often. The first face brings the full rate back at once.

    Attributes:
        idle_fps: frames per second while nobody is seen; 0 switches the gate off.
        idle_after_s: how long nobody must have been seen.
    """

    idle_fps: float = 2.0
    idle_after_s: float = 10.0
    _seen_ns: int | None = None

    def seen(self, faces: int, now_ns: int) -> None:
        """A frame had so many faces."""
        if faces or self._seen_ns is None:
            self._seen_ns = now_ns

    def idle(self, now_ns: int) -> bool:
        """Whether nobody has been there for long enough."""
        if self.idle_fps <= 0 or self._seen_ns is None:
            return False
        return now_ns - self._seen_ns >= self.idle_after_s * 1e9


@dataclass(slots=True, kw_only=True)
class ThermalGovernor:
    """Lowers the rate before the firmware throttles, which costs less than being throttled.

    An integrating controller with a dead band: every few seconds, the allowed rate is multiplied
    by a factor that falls with the degrees above ``max_celsius``, is kept within ``band`` degrees
    below it, and rises slowly under that. A throttle bit halves it at once. The Raspberry Pi's
    firmware begins to slow the cores at 80 °C (Raspberry Pi documentation, frequency management),
    hence a default of 75.

    Attributes:
        look: reads temperature and throttle bits without delay
            (:meth:`edge_fer.machine.Thermometer.look`).
        max_celsius: what the processor should stay below.
        band: degrees under it within which nothing is changed.
        every_s: seconds between looks.
        floor_fps: never slower than this.
    """

    look: Callable[[], Reading]
    max_celsius: float = 75.0
    band: float = 4.0
    every_s: float = 5.0
    floor_fps: float = 1.0
    allowed_fps: float = _FULL
    reading: Reading = field(default_factory=lambda: Reading(celsius=None, throttled=None))
    _reference: float = 0.0
    _next_ns: int | None = None
    _halved_ns: int | None = None

    def update(self, rate: float, now_ns: int) -> float:
        """The rate that is allowed now, in frames per second; infinite while all is cool.

        Args:
            rate: of frames while nothing holds them back; 0: not known yet.
            now_ns: monotonic clock.
        """
        if self._next_ns is None or now_ns >= self._next_ns:
            self._next_ns = now_ns + int(self.every_s * 1e9)
            self.reading = self.look()
            self._adjust(rate, now_ns)
        return self.allowed_fps

    def status(self) -> dict[str, Any]:
        """For the service's status."""
        blind = self.reading.celsius is None and self.reading.throttled is None
        return {
            "max_celsius": self.max_celsius,
            "allowed_fps": _finite(self.allowed_fps),
            "words": (
                "off: this machine tells neither temperature nor throttling"
                if blind
                else "full rate"
                if math.isinf(self.allowed_fps)
                else f"slowed down: {self.reading.words}"
            ),
        }

    def _adjust(self, rate: float, now_ns: int) -> None:
        celsius = self.reading.celsius
        above = -math.inf if celsius is None else celsius - self.max_celsius
        if self._throttled(above) and self._may_halve(now_ns):
            if self._lower(rate, 0.5):
                self._halved_ns = now_ns
        elif above > 0:
            self._lower(rate, max(0.6, 1 - 0.05 - 0.03 * above))
        elif above < -self.band and math.isfinite(self.allowed_fps) and self._calm(now_ns):
            self.allowed_fps *= 1.05
            if self.allowed_fps >= self._reference:
                self.allowed_fps = _FULL

    def _throttled(self, above: float) -> bool:
        now = set(self.reading.now)
        # A Pi 3B+ has its soft limit at 60 °C and only clocks 1.4 down to 1.2 GHz there.
        soft = "soft temperature limit" in now and (above == -math.inf or above > -self.band)
        return soft or bool(now & {"throttled", "frequency capped"})

    def _may_halve(self, now_ns: int) -> bool:
        # The bits stay up until the heat is gone; to halve at every look would reach the floor.
        return self._halved_ns is None or now_ns - self._halved_ns >= 6 * self.every_s * 1e9

    def _calm(self, now_ns: int) -> bool:
        return not self._throttled(-self.band) and self._may_halve(now_ns)

    def _lower(self, rate: float, factor: float) -> bool:
        if math.isinf(self.allowed_fps):
            if rate <= 0:  # no frame yet: nothing to begin from
                return False
            self._reference = self.allowed_fps = rate
        self.allowed_fps = max(min(self.floor_fps, self._reference), self.allowed_fps * factor)
        return True


class Pacing:
    """How long to wait before the next frame is taken.

    Args:
        max_fps: never more frames per second; 0: as the camera gives them.
        gate: slows down while nobody is there.
        governor: slows down while it is hot.
        live: False for files, which are not paced at all.
    """

    def __init__(
        self,
        *,
        max_fps: float = 0.0,
        gate: ActivityGate | None = None,
        governor: ThermalGovernor | None = None,
        live: bool = True,
    ) -> None:
        self.max_fps, self.live = max_fps if max_fps > 0 else _FULL, live
        self.gate = gate or ActivityGate(idle_fps=0.0)
        self.governor = governor
        self._anchor_ns: int | None = None
        self._last_ns = 0
        self._fps = _FULL  # in force
        self._held_back = False  # by gate or governor
        self._period_s = 0.0  # between frames while nobody holds them back

    def wait_s(self, now_ns: int) -> float:
        """Seconds until the next frame may be taken; 0: now."""
        if not self.live:
            return 0.0
        rate = 1 / self._period_s if self._period_s else 0.0
        allowed = self.governor.update(rate, now_ns) if self.governor else _FULL
        fps = min(allowed, self.gate.idle_fps if self.gate.idle(now_ns) else _FULL)
        self._held_back = fps < self.max_fps
        self._fps = min(fps, self.max_fps)
        if math.isinf(self._fps) or self._anchor_ns is None:
            return 0.0
        # In whole nanoseconds, or rounding asks to wait for none of them, for ever.
        return max(0, self._anchor_ns + int(1e9 / self._fps) - now_ns) / 1e9

    def taken(self, now_ns: int) -> None:
        """A frame was taken then; not called for what gave none."""
        period = int(1e9 / self._fps)  # 0 where nothing bounds it
        # Keeps to the beat where a frame is a little late; what is very late is not made up for.
        beat = (self._anchor_ns or now_ns) + period
        since = (now_ns - self._last_ns) / 1e9
        if self._anchor_ns is not None and not self._held_back and since < _PAUSE_S:
            follow = _FOLLOW if self._period_s else 1.0
            self._period_s += follow * (since - self._period_s)
        self._anchor_ns = min(now_ns, max(beat, now_ns - period // 2))
        self._last_ns = now_ns

    def seen(self, faces: int, now_ns: int) -> None:
        """The frame had so many faces."""
        self.gate.seen(faces, now_ns)

    def status(self, now_ns: int) -> dict[str, Any]:
        """For the service's status."""
        idle = self.live and self.gate.idle(now_ns)
        return {
            "live": self.live,
            "max_fps": _finite(self.max_fps),
            "fps_in_force": _finite(self._fps),
            "idle": idle,
            "idle_fps": self.gate.idle_fps or None,
            "governor": self.governor.status() if self.governor and self.live else None,
        }


def _finite(fps: float) -> float | None:
    return None if math.isinf(fps) else round(fps, 2)
