"""Temperature and throttling before and after a run."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

__all__ = ["Reading", "Thermal", "read_thermal", "vcgencmd"]

# Bits of `vcgencmd get_throttled` (Raspberry Pi documentation); the same + 16: since boot.
_BITS = {
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
}
_CPU_ZONES = ("cpu", "soc", "x86_pkg")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One look: degrees Celsius, and the throttle bits; None where the machine does not say."""

    celsius: float | None
    throttled: int | None


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
        return [name for bit, name in _BITS.items() if (now | new) >> bit & 1]

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


def vcgencmd(word: str) -> str | None:
    """What the Raspberry Pi's firmware answers; None where there is no such firmware."""
    try:
        said = subprocess.run(
            ["vcgencmd", word], capture_output=True, text=True, timeout=2, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return said.stdout


def read_thermal(
    root: Path = Path("/"), firmware: Callable[[str], str | None] = vcgencmd
) -> Reading:
    """Look once.

    Args:
        root: where ``sys`` lies.
        firmware: asks the firmware; see :func:`vcgencmd`.
    """
    throttled = re.search(r"throttled=(0x[0-9a-fA-F]+)", firmware("get_throttled") or "")
    measured = re.search(r"temp=([\d.]+)", firmware("measure_temp") or "")
    return Reading(
        celsius=float(measured[1]) if measured else _zone(root),
        throttled=int(throttled[1], 16) if throttled else None,
    )


def _zone(root: Path) -> float | None:
    """The processor's thermal zone of the kernel, which counts in thousandths of a degree."""
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        try:
            if (zone / "type").read_text().strip().startswith(_CPU_ZONES):
                return int((zone / "temp").read_text()) / 1000
        except (OSError, ValueError):
            continue
    return None


def _json(reading: Reading) -> dict[str, Any]:
    bits = None if reading.throttled is None else hex(reading.throttled)
    return {**asdict(reading), "throttled": bits}
