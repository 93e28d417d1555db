"""What a run drew from its supply, as far as a meter of the machine tells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["Energy", "mean_watts", "measure_energy"]

_PATIENCE = 3.0  # readings may be this many times as far apart as the meter's own pace
_COVERED = 0.8  # share of the run that must have been metered for its joules to be told
_FEW = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """Power of a run. What the machine draws when idle is never subtracted.

    Attributes:
        meter: None where none was read; then the other figures are None too.
        covers: what the meter's figure includes.
        why_not: in words, where there is no figure.
        watts: mean over the metered part of the run.
        metered_s: how long that was.
        seconds, frames: of the run.
        readings: how many there were.
        idle_watts, idle_s: the mean before the run, over so many seconds in which nothing was
            asked of the machine; None where that was not measured.
    """

    meter: str | None
    covers: str | None
    why_not: str
    watts: float | None
    metered_s: float
    seconds: float
    frames: int
    readings: int
    idle_watts: float | None = None
    idle_s: float | None = None

    @property
    def joules(self) -> float | None:
        """Of the whole run; None where the meter covered less than four fifths of it."""
        if self.watts is None or self.metered_s < _COVERED * self.seconds:
            return None
        return self.watts * self.seconds

    @property
    def mj_per_frame(self) -> float | None:
        """Millijoules for each frame, what the idle machine draws included."""
        return None if self.joules is None or not self.frames else 1e3 * self.joules / self.frames

    @property
    def words(self) -> str:
        """Figures, meter and what it covers, in a line."""
        if self.watts is None:
            return f"energy: not measured: {self.why_not}"
        parts = [f"{self.watts:.2f} W"]
        if self.joules is not None:
            parts.append(f"{self.joules:.0f} J for the run")
        if self.mj_per_frame is not None:
            parts.append(f"{self.mj_per_frame:.1f} mJ per frame")
        said = ", ".join(parts)
        said += f"; {self.meter}: {self.covers}"
        if self.joules is None:
            said += (
                f"; it was readable for only {self.metered_s:.0f} of {self.seconds:.0f} s, so "
                "the run's joules are not known"
            )
        if self.readings < _FEW:
            said += f"; from only {self.readings} reading{'s' if self.readings > 1 else ''}"
        if self.idle_watts is not None and self.idle_s is not None:
            said += (
                f"; idle for {self.idle_s:.0f} s before: {self.idle_watts:.2f} W, not subtracted"
            )
        return said

    def to_json(self) -> dict[str, Any]:
        """Watts, joules and millijoules; None where unknown."""
        return {
            "meter": self.meter,
            "covers": self.covers,
            "watts": self.watts,
            "joules": self.joules,
            "mj_per_frame": self.mj_per_frame,
            "metered_s": self.metered_s,
            "readings": self.readings,
            "idle_watts": self.idle_watts,
            "idle_s": self.idle_s,
            "words": self.words,
        }


def mean_watts(
    at_s: Sequence[float], watts: Sequence[float], every_s: float
) -> tuple[float | None, float]:
    """Mean over time, and how many seconds it stands for.

    Each reading stands for the time since the one before, as an energy counter's does; where they
    lie too far apart, for the meter's own pace only, and the rest is unknown.

    Args:
        at_s: ``[N]`` when each reading was taken, seconds from the start; ascending.
        watts: ``[N]``.
        every_s: how often the meter is read.
    """
    joules = seconds = before = 0.0
    for at, power in zip(at_s, watts, strict=True):
        gap = at - before
        stands = gap if gap <= _PATIENCE * every_s else every_s
        joules += power * stands
        seconds += stands
        before = at
    if not seconds:
        # A single reading at the very start.
        return (float(watts[0]) if len(watts) else None), 0.0
    return joules / seconds, seconds


def measure_energy(
    readings: Sequence[tuple[float, float]],
    *,
    meter: str | None,
    covers: str | None,
    every_s: float,
    why_not: str,
    seconds: float,
    frames: int,
    idle: tuple[float, float] | None = None,
) -> Energy:
    """Put a run's readings together.

    Args:
        readings: (seconds from the run's start, watts), ascending.
        meter: its name; None for none.
        covers: what it includes.
        every_s: how often it is read.
        why_not: in words, where there is no meter.
        seconds: the run's length.
        frames: in the run.
        idle: (watts, over how many seconds) before the run.
    """
    inside = [(at, watts) for at, watts in readings if 0 <= at <= seconds + every_s]
    mean, metered = mean_watts([at for at, _ in inside], [w for _, w in inside], every_s)
    # The last reading stands for what is left of the run where that is less than its pace.
    if inside and seconds - inside[-1][0] <= every_s:
        metered = min(seconds, metered + max(0.0, seconds - inside[-1][0]))
    if meter is not None and mean is None:
        why_not = f"{meter} gave no reading during the run"
    return Energy(
        meter=None if mean is None else meter,
        covers=None if mean is None else covers,
        why_not=why_not,
        watts=mean,
        metered_s=min(metered, seconds),
        seconds=seconds,
        frames=frames,
        readings=len(inside),
        idle_watts=None if idle is None else idle[0],
        idle_s=None if idle is None else idle[1],
    )
