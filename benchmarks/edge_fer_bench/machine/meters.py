"""Power meters that a machine may have, and the one that is taken.

Sources: the kernel's ``power/powercap`` and ``power/power_supply_class``. What ``vcgencmd
pmic_read_adc`` of a Raspberry Pi 5 leaves out: the 5 V input has a voltage but no current
(github.com/ml-energy/zeus issue 273); a meter in the supply's cable shows about an eighth and
0.6 W more than the sum of the rails (github.com/jfikar/RPi5-power).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from edge_fer.machine import vcgencmd
from edge_fer_bench.machine.hwmon import monitors
from edge_fer_bench.machine.sysfs import number, text

__all__ = [
    "PMIC_QUESTION",
    "Battery",
    "FakeMeter",
    "Found",
    "Meter",
    "Pmic",
    "Rapl",
    "find_meter",
]

PMIC_QUESTION = "pmic_read_adc"


class Meter(Protocol):
    """Tells how much power is drawn.

    Attributes:
        name: in a word or two.
        covers: what its figure includes and what not, a phrase.
        every_s: how often it has something new to say.
        asks: the question to the Raspberry Pi's firmware whose answer it reads; None for none.
    """

    @property
    def name(self) -> str: ...
    @property
    def covers(self) -> str: ...
    @property
    def every_s(self) -> float: ...
    @property
    def asks(self) -> str | None: ...

    def watts(self, at_s: float, answer: str | None = None, /) -> float | None:
        """Watts now, or on average since the last look; None where there is nothing new.

        Args:
            at_s: the time, in seconds from any start.
            answer: what the firmware said since the last look.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The meter, or for each kind of meter why it is none."""

    meter: Meter | None
    why_not: str = ""


@dataclass(slots=True)
class FakeMeter:
    """Gives these watts one after the other, then nothing more."""

    readings: Sequence[float | None]
    name: str = "fake"
    covers: str = "nothing real"
    every_s: float = 1.0
    asks: str | None = None
    _next: int = 0

    def watts(self, _at_s: float, _answer: str | None = None, /) -> float | None:
        """The next reading."""
        self._next += 1
        return self.readings[self._next - 1] if self._next <= len(self.readings) else None


class Pmic:
    """The power management chip of a Raspberry Pi 5, as the firmware reads it."""

    name = "Raspberry Pi 5 PMIC"
    covers = (
        "the sum of the board's rails (processor, memory, radio, HDMI), without what passes the "
        "chip by: 5 V of USB, fan and HATs, and the losses of the converters"
    )
    every_s = 5.0
    asks = PMIC_QUESTION

    def watts(self, _at_s: float, answer: str | None = None, /) -> float | None:
        """Volts times amperes of every rail that has both."""
        pairs: dict[str, dict[str, float]] = {}
        pattern = r"^\s*(\w+)_([AV]) (?:current|volt)\(\d+\)=(\d+(?:\.\d+)?)[AV]\s*$"
        for rail, kind, value in re.findall(pattern, answer or "", re.M):
            pairs.setdefault(rail, {})[kind] = float(value)
        powers = [pair["A"] * pair["V"] for pair in pairs.values() if len(pair) == 2]
        return sum(powers) if powers else None


@dataclass(slots=True)
class Rapl:
    """Intel's running average power limit: energy counters of the processor's packages.

    Args:
        counters: each package's ``energy_uj`` and what it counts up to before it starts again.
    """

    counters: tuple[tuple[Path, int], ...]
    name: str = "Intel RAPL"
    covers: str = "the processor's packages alone, without memory modules, disk, screen and supply"
    every_s: float = 1.0
    asks: str | None = None
    _last: tuple[float, list[int]] | None = field(default=None)

    def watts(self, at_s: float, _answer: str | None = None, /) -> float | None:
        """On average since the last look; None at the first, and after one that failed."""
        values = [number(path) for path, _ in self.counters]
        if None in values:
            self._last = None
            return None
        now = [v for v in values if v is not None]
        before, self._last = self._last, (at_s, now)
        if before is None or at_s <= before[0]:
            return None
        used = 0
        for old, new, (_, reach) in zip(before[1], now, self.counters, strict=True):
            used += new - old if new >= old else new - old + reach + 1
        return used / 1e6 / (at_s - before[0])


@dataclass(frozen=True, slots=True)
class Battery:
    """A battery, which tells what the machine draws only while nothing charges it."""

    folder: Path
    name: str = "battery"
    covers: str = "the whole machine with its screen, as the battery reports it"
    every_s: float = 5.0
    asks: str | None = None

    def watts(self, _at_s: float, _answer: str | None = None, /) -> float | None:
        """What flows out of it now."""
        if text(self.folder / "status") != "Discharging":
            return None
        power = number(self.folder / "power_now")
        if power is None:
            current, volts = (number(self.folder / f"{n}_now") for n in ("current", "voltage"))
            power = current * volts // 10**6 if current is not None and volts is not None else None
        # Some drivers count what flows out as negative.
        return abs(power) / 1e6 if power else None


def find_meter(root: Path = Path("/"), firmware: Callable[[str], str | None] = vcgencmd) -> Found:
    """The meter that covers most: one that somebody wired in, battery, Pi 5, processor.

    A chip of which only the name is known comes last: it may measure anything.

    Args:
        root: where ``sys`` lies.
        firmware: asks the Raspberry Pi's firmware.
    """
    known, unknown = monitors(root)
    for monitor in known:
        if monitor.alive:
            return Found(meter=monitor)
    for folder in sorted((root / "sys/class/power_supply").glob("*")):
        battery = Battery(folder)
        if text(folder / "type") == "Battery" and battery.watts(0.0) is not None:
            return Found(meter=battery)
    pmic = Pmic()
    if pmic.watts(0.0, firmware(PMIC_QUESTION)) is not None:
        return Found(meter=pmic)
    rapl, closed = _rapl(root)
    if rapl is not None:
        return Found(meter=rapl)
    for monitor in unknown:
        if monitor.alive:
            return Found(meter=monitor)
    return Found(
        meter=None,
        why_not="no meter is readable"
        + (" (Intel RAPL is there, but only root may read it: sudo)" if closed else ""),
    )


def _rapl(root: Path) -> tuple[Rapl | None, bool]:
    """The packages' counters, and whether there are such that this user may not read."""
    counters = []
    closed = False
    for folder in sorted((root / "sys/class/powercap").glob("intel-rapl:*")):
        if not (text(folder / "name") or "").startswith("package-"):
            continue
        reach = number(folder / "max_energy_range_uj")
        if reach is not None and number(folder / "energy_uj") is not None:
            counters.append((folder / "energy_uj", reach))
        else:
            closed = True
    return (Rapl(tuple(counters)), closed) if counters else (None, closed)
