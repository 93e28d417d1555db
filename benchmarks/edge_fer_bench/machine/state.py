"""What a machine did during a run: heat, clock, memory, power and who else was at work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.machine import Reading
from edge_fer_bench.machine.energy import Energy, measure_energy
from edge_fer_bench.machine.thermal import Thermal

__all__ = ["MachineState", "Sample"]

# From this share of all cores on, what others do shows in the frame times.
_NOISY = 0.1
_DIGITS = {"at_s": 2, "celsius": 1, "mhz": 0, "firmware_mhz": 0, "rss_mb": 1, "watts": 3}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """One look; None where the machine does not say.

    Attributes:
        at_s: seconds from the run's start.
        celsius: the processor's temperature.
        throttled: the firmware's throttle bits, as of an answer a few seconds old.
        mhz: of the fastest core, as the kernel says: on a Raspberry Pi that is what it asked for.
        firmware_mhz: what a Raspberry Pi's firmware measured; throttling shows here.
        rss_mb: resident memory of this process, 10^6 bytes.
        other_cores: cores' worth of work of other processes since the look before.
        stolen_cores: cores' worth of time that the host of a virtual machine gave to others.
        watts: power, where the meter had something new to say.
    """

    at_s: float
    celsius: float | None = None
    throttled: int | None = None
    mhz: float | None = None
    firmware_mhz: float | None = None
    rss_mb: float | None = None
    other_cores: float | None = None
    stolen_cores: float | None = None
    watts: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineState:
    """All looks of a run, and what they come to.

    Attributes:
        before, after: temperature and throttle bits, around the run.
        samples: about one a second, ascending; the run begins at 0.
        seconds, frames: of the run.
        cores: that this process may use.
        governor: of the processor's frequency; two with an arrow where it changed.
        mhz_source: where ``mhz`` is from, in words.
        meter, covers, meter_every_s: the power meter; None for none.
        no_meter: why there is none.
        idle: (watts, seconds) before the run; None where that was not measured.
        cost_share: of one core, spent in looking; its processes not counted.
    """

    before: Reading
    after: Reading
    samples: tuple[Sample, ...] = ()
    seconds: float = 0.0
    frames: int = 0
    cores: int = 1
    governor: str | None = None
    mhz_source: str | None = None
    meter: str | None = None
    covers: str | None = None
    meter_every_s: float = 1.0
    no_meter: str = "no meter is readable"
    idle: tuple[float, float] | None = None
    cost_share: float | None = None

    @property
    def thermal(self) -> Thermal:
        """Temperature and throttling of all looks."""
        during = tuple(
            (s.at_s, Reading(celsius=s.celsius, throttled=s.throttled)) for s in self.samples
        )
        return Thermal(before=self.before, after=self.after, during=during)

    @property
    def energy(self) -> Energy:
        """What the run drew."""
        return measure_energy(
            [(s.at_s, s.watts) for s in self.samples if s.watts is not None],
            meter=self.meter,
            covers=self.covers,
            every_s=self.meter_every_s,
            why_not=self.no_meter,
            seconds=self.seconds,
            frames=self.frames,
            idle=self.idle,
        )

    @property
    def noisy(self) -> bool | None:
        """Whether others took more than a tenth of the machine on average."""
        others = self._mean("other_cores")
        if others is None:
            return None
        return others + (self._mean("stolen_cores") or 0.0) > _NOISY * self.cores

    def column(self, name: str) -> NDArray[np.float64]:
        """``float64[N]`` of one field of the samples; NaN where it is unknown."""
        values = [getattr(sample, name) for sample in self.samples]
        return np.array([np.nan if v is None else v for v in values], np.float64)

    @property
    def true_mhz(self) -> NDArray[np.float64]:
        """``float64[N]``: the firmware's measurement where it gives one, else the kernel's."""
        measured = self.column("firmware_mhz")
        return self.column("mhz") if np.isnan(measured).all() else measured

    @property
    def words(self) -> dict[str, str]:
        """A line for each thing that was watched."""
        return {
            "temperature": self.thermal.words,
            "frequency": self._frequency(),
            "memory over time": self._memory(),
            "other load": self._others(),
            "energy": self.energy.words.removeprefix("energy: "),
        }

    def to_json(self) -> dict[str, Any]:
        """Summaries, samples in columns, and words; None where unknown."""
        return {
            "seconds": self.seconds,
            "governor": self.governor,
            "mhz": self._spread("mhz"),
            "firmware_mhz": self._spread("firmware_mhz"),
            "mhz_source": self.mhz_source,
            "celsius": self._course("celsius"),
            "rss_mb": self._course("rss_mb"),
            "other_cores": self._mean("other_cores"),
            "stolen_cores": self._mean("stolen_cores"),
            "cores": self.cores,
            "noisy": self.noisy,
            "energy": self.energy.to_json(),
            "spells": [spell.to_json() for spell in self.thermal.spells],
            "watching_share_of_a_core": self.cost_share,
            "samples": {
                name: [_rounded(getattr(sample, name), name) for sample in self.samples]
                for name in Sample.__dataclass_fields__
            },
            "words": self.words,
        }

    def _known(self, name: str) -> NDArray[np.float64]:
        values = self.column(name)
        return values[~np.isnan(values)]

    def _mean(self, name: str) -> float | None:
        known = self._known(name)
        return float(known.mean()) if len(known) else None

    def _spread(self, name: str) -> dict[str, float] | None:
        return _summary(self._known(name), {"min": np.min, "median": np.median, "max": np.max})

    def _course(self, name: str) -> dict[str, float] | None:
        return _summary(
            self._known(name), {"first": lambda v: v[0], "last": lambda v: v[-1], "max": np.max}
        )

    def _frequency(self) -> str:
        measured, said = self._spread("firmware_mhz"), self._spread("mhz")
        shown = measured or said
        if shown is None:
            return "not measured: this machine does not tell it"
        low, middle, high = (shown[name] for name in ("min", "median", "max"))
        words = f"{middle:.0f} MHz"
        if high - low >= 1:
            words += f" (median; {low:.0f} to {high:.0f})"
        source = "measured by the firmware" if measured else self.mhz_source
        words += f", {source}" if source else ""
        return words + (f"; governor {self.governor}" if self.governor else "")

    def _memory(self) -> str:
        course = self._course("rss_mb")
        if course is None:
            return "not measured: the kernel does not tell it"
        return f"{course['first']:.0f} MB at the start, {course['last']:.0f} MB at the end"

    def _others(self) -> str:
        others, stolen = self._mean("other_cores"), self._mean("stolen_cores")
        if others is None:
            return "not measured: the kernel does not tell it"
        words = f"other processes used {others:.2f} of {self.cores} cores on average"
        if stolen is not None and stolen >= 0.005:
            words += f", other virtual machines took {stolen:.2f}"
        return words + ("; that shows in the times" if self.noisy else "")


def _summary(
    values: NDArray[np.float64], figures: dict[str, Callable[[NDArray[np.float64]], Any]]
) -> dict[str, float] | None:
    if not len(values):
        return None
    return {name: float(figure(values)) for name, figure in figures.items()}


def _rounded(value: float | None, name: str) -> float | None:
    return value if value is None or name == "throttled" else round(value, _DIGITS.get(name, 3))
