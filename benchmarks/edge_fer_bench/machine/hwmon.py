"""Power monitors of the kernel's hwmon class: an INA219 in the supply's line, a Jetson's own.

The files are those of the kernel's ``hwmon/sysfs-interface``: power in microwatts, voltage in
millivolts, current in milliamperes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from edge_fer_bench.machine.sysfs import number, text

__all__ = ["Hwmon", "monitors"]

# Current and power monitors that somebody wired in; a chip of another name needs power*_input.
_MONITORS = ("ina", "ltc", "pac19", "isl28022", "max3440", "powerz", "power_meter", "corsairpsu")
# They measure themselves or light, not the machine.
_PARTS = (
    "amdgpu",
    "radeon",
    "nouveau",
    "i915",
    "xe",
    "nvme",
    "drivetemp",
    "mlx",
    "sfp",
    "BAT",
    "ucsi",
)
# The whole input, of which the other channels are parts (Jetson; a computer's supply).
_WHOLE = ("VDD_IN", "POM_5V_IN", "power total")
_CHANNELS = 3  # of an ina3221; its in4 to in6 are the shunts, its curr4 a sum


@dataclass(frozen=True, slots=True)
class Hwmon:
    """A power monitor of the kernel's hwmon class.

    Args:
        chip: its own name.
        channels: the files of each: power (microwatts), or voltage and current (mV and mA).
        whole: whether its one channel is known to be the board's input.
    """

    chip: str
    channels: tuple[tuple[Path, ...], ...]
    whole: bool = False
    every_s: float = 1.0
    asks: str | None = None

    @property
    def name(self) -> str:
        """The chip and how it is read."""
        return f"hwmon {self.chip}"

    @property
    def covers(self) -> str:
        """Which files, because only who wired the chip knows what flows through it."""
        if self.whole:
            return "the board's whole input"
        files = ", ".join("*".join(path.name for path in files) for files in self.channels)
        return f"whatever is wired behind it ({files})"

    @property
    def alive(self) -> bool:
        """Whether anything flows: a monitor that nobody wired reads zero."""
        return (self.watts(0.0) or 0.0) > 0

    def watts(self, _at_s: float, _answer: str | None = None, /) -> float | None:
        """The sum of the channels; None as soon as one cannot be read."""
        found = [_power(files) for files in self.channels]
        return None if None in found else sum(p for p in found if p is not None)


def monitors(root: Path) -> tuple[list[Hwmon], list[Hwmon]]:
    """The monitors that are known, and the unknown chips that tell watts all the same.

    Args:
        root: where ``sys`` lies.
    """
    known: list[Hwmon] = []
    unknown: list[Hwmon] = []
    for folder in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        chip = text(folder / "name") or ""
        if not chip or chip.startswith(_PARTS):
            continue
        wired = chip.startswith(_MONITORS)
        channels = _channels(folder, pairs=wired)
        whole = [
            n
            for n in channels
            if any(text(folder / f"{kind}{n}_label") in _WHOLE for kind in ("in", "power"))
        ]
        if channels:
            taken = [channels[n] for n in whole[:1] or channels]
            found = Hwmon(chip, tuple(taken), whole=bool(whole))
            (known if wired else unknown).append(found)
    return known, unknown


def _channels(folder: Path, *, pairs: bool) -> dict[int, tuple[Path, ...]]:
    # A server's own meter (ACPI) tells nothing but averages.
    for what in ("input", "average"):
        powers = _numbers(folder, "power", what)
        if powers:
            return {n: (folder / f"power{n}_{what}",) for n in powers}
    if not pairs:
        return {}
    both = sorted(set(_numbers(folder, "in")) & set(_numbers(folder, "curr")))
    return {
        n: (folder / f"in{n}_input", folder / f"curr{n}_input") for n in both if 1 <= n <= _CHANNELS
    }


def _numbers(folder: Path, kind: str, what: str = "input") -> list[int]:
    names = (re.fullmatch(rf"{kind}(\d+)_{what}", p.name) for p in folder.glob(f"{kind}*_{what}"))
    return sorted(int(found[1]) for found in names if found)


def _power(files: tuple[Path, ...]) -> float | None:
    values = [number(path) for path in files]
    if len(values) == 1:
        return None if values[0] is None else values[0] / 1e6
    volts, current = values
    return None if volts is None or current is None else volts * current / 1e6
