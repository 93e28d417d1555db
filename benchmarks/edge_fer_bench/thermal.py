"""Temperature and throttling before and after a run."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edge_fer.machine import THROTTLE_BITS, Reading

__all__ = ["Thermal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Thermal:
    """Two looks, around the measured frames."""

    before: Reading
    after: Reading

    @property
    def events(self) -> list[str] | None:
        """What slowed the machine down during the run: now, or new since the first look."""
        if self.before.throttled is None or self.after.throttled is None:
            return None
        now = (self.before.throttled | self.after.throttled) & 0xF
        new = (self.after.throttled & ~self.before.throttled) >> 16
        return [name for bit, name in THROTTLE_BITS.items() if (now | new) >> bit & 1]

    @property
    def words(self) -> str:
        """One phrase each for temperature and throttling."""
        if self.before.celsius is None or self.after.celsius is None:
            heat = "temperature not measured: this machine does not tell it"
        else:
            heat = f"{self.before.celsius:.0f} °C before, {self.after.celsius:.0f} °C after"
        if self.events is None:
            return f"{heat}; throttling not measured: there is no vcgencmd"
        return f"{heat}; {', '.join(self.events) or 'no throttling'}"

    def to_json(self) -> dict[str, Any]:
        """The field ``thermal``."""
        return {
            "before": _json(self.before),
            "after": _json(self.after),
            "events": self.events,
            "words": self.words,
        }


def _json(reading: Reading) -> dict[str, Any]:
    bits = None if reading.throttled is None else hex(reading.throttled)
    return {**asdict(reading), "throttled": bits}
