"""Looks at the machine about once a second while frames are measured, in a thread of its own.

A look reads half a dozen small files, a few tenths of a millisecond. Only the Raspberry Pi's
firmware has to be asked with a process, ``vcgencmd``: one shell every five seconds asks all.

How busy others are is the processor time that ``/proc/stat`` counted since the look before, on the
processors that this process may use, less its own: nothing between two looks is missed, as it is by
the run queue, and the own threads do not count, as they do in the load average. Time that a host
took away is ``steal`` there.

A Raspberry Pi's ``scaling_cur_freq`` is what the kernel asked for; when the firmware throttles,
only ``vcgencmd measure_clock arm`` shows it (github.com/raspberrypi/linux issue 2986).
"""

from __future__ import annotations

import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Protocol

from edge_fer.machine import Reading, Thermometer, read_thermal, rss_mb, vcgencmd
from edge_fer_bench.machine.meters import Found, Meter, find_meter
from edge_fer_bench.machine.state import MachineState, Sample
from edge_fer_bench.machine.sysfs import number, text

__all__ = ["Firmware", "Probe", "Watch"]

_TICKS = os.sysconf("SC_CLK_TCK")
_BITS = "vcgencmd get_throttled"
_CPU = "sys/devices/system/cpu"
_PROCESSOR = re.compile(r"^cpu([0-9]+) +((?:[0-9]+ ?){8,})", re.M)


class Firmware(Protocol):
    """Temperature and throttle bits without waiting; see :class:`edge_fer.machine.Thermometer`."""

    said: str
    answers: int

    def look(self) -> Reading: ...
    def close(self) -> None: ...


class Probe:
    """Everything that one look reads. What cannot be read is None, at that look or at all.

    Args:
        root: where ``proc`` and ``sys`` lie.
        found: the power meter; looked for where it is None.
        firmware: answers without being waited for; None for the Raspberry Pi's own.
        ask: asks the Raspberry Pi's firmware, and waits.
        own_cpu_s: processor time of this process.
        cpus: numbers of the processors that count; those that this process may use where None.
    """

    def __init__(
        self,
        root: Path = Path("/"),
        *,
        found: Found | None = None,
        firmware: Firmware | None = None,
        ask: Callable[[str], str | None] = vcgencmd,
        own_cpu_s: Callable[[], float] = time.process_time,
        cpus: Iterable[int] | None = None,
    ) -> None:
        self._root, self._ask, self._own_cpu_s = root, ask, own_cpu_s
        self._cpus = frozenset(os.sched_getaffinity(0) if cpus is None else cpus)
        self.found = find_meter(root, ask) if found is None else found
        self._firmware = (
            Thermometer(root, _question(self.found.meter)) if firmware is None else firmware
        )
        self._heard = 0
        self._clocks = sorted((root / _CPU / "cpufreq").glob("policy*/scaling_cur_freq"))
        self._before: tuple[float, float, float, float] | None = None

    @property
    def cores(self) -> int:
        """That this process may use; 1 where the kernel lists none."""
        return len(self._ticks()) or 1

    @property
    def governor(self) -> str | None:
        """Of the first core's frequency."""
        return text(self._root / _CPU / "cpu0/cpufreq/scaling_governor") or None

    @property
    def mhz_source(self) -> str | None:
        """Where the kernel's figure is from."""
        if self._clocks:
            return "as the kernel says of its fastest core"
        if self._mhz() is not None:
            return "as /proc/cpuinfo says, which in a virtual machine never changes"
        return None

    def reading(self) -> Reading:
        """Temperature and throttle bits of this moment, waited for."""
        return read_thermal(self._root, self._ask)

    def look(self, at_s: float) -> Sample:
        """Look once.

        Args:
            at_s: the time, in seconds from any start.
        """
        reading = self._firmware.look()
        answer = None
        if self._firmware.answers > self._heard:
            self._heard, answer = self._firmware.answers, self._firmware.said
        measured = re.search(r"frequency\(\d+\)=(\d+)", answer or "")
        others, stolen = self._work(at_s)
        meter = self.found.meter
        return Sample(
            at_s=at_s,
            celsius=reading.celsius,
            throttled=reading.throttled,
            mhz=self._mhz(),
            firmware_mhz=int(measured[1]) / 1e6 if measured else None,
            rss_mb=rss_mb(self._root),
            other_cores=others,
            stolen_cores=stolen,
            watts=None if meter is None else meter.watts(at_s, answer),
        )

    def close(self) -> None:
        """Leave no question behind."""
        self._firmware.close()

    def _mhz(self) -> float | None:
        """Of the fastest core: the others may idle."""
        if self._clocks:
            said = [number(path) for path in self._clocks]
            return max((khz / 1000 for khz in said if khz is not None), default=None)
        shown = re.findall(
            r"^cpu MHz\s*:\s*(\d+(?:\.\d+)?)", text(self._root / "proc/cpuinfo") or "", re.M
        )
        return max(map(float, shown), default=None)

    def _ticks(self) -> list[list[int]]:
        """The first eight counters of each processor that counts."""
        listed = {
            int(number): [int(ticks) for ticks in counters.split()[:8]]
            for number, counters in _PROCESSOR.findall(text(self._root / "proc/stat") or "")
        }
        # A container may number them otherwise; then all that it lists are its own.
        counting = self._cpus if self._cpus <= listed.keys() else listed.keys()
        return [listed[number] for number in sorted(counting)]

    def _work(self, at_s: float) -> tuple[float | None, float | None]:
        """Cores' worth of others' work and of stolen time since the look before."""
        lines = self._ticks()
        if not lines:
            self._before = None
            return None, None
        user, nice, system, _idle, _wait, irq, soft, steal = map(sum, zip(*lines, strict=True))
        busy = (user + nice + system + irq + soft) / _TICKS
        now = (at_s, busy, steal / _TICKS, self._own_cpu_s())
        before, self._before = self._before, now
        if before is None or at_s <= before[0]:
            return None, None
        gone, work, stolen, own = (b - a for a, b in zip(before, now, strict=True))
        return max(0.0, work - own) / gone, max(0.0, stolen) / gone


class Watch:
    """Looks at the machine from ``with`` to its end; then :meth:`state` tells what was seen.

    Args:
        probe: what a look reads; this machine where it is None.
        every_s: seconds between two looks.
        clock: nanoseconds, that of the measured frames.
        wait: waits so many seconds and tells whether to stop; None for real time.
        rest: waits in the caller's thread; see :meth:`idle`.
    """

    def __init__(
        self,
        probe: Probe | None = None,
        *,
        every_s: float = 1.0,
        clock: Callable[[], int] = time.perf_counter_ns,
        wait: Callable[[float], bool] | None = None,
        rest: Callable[[float], object] = time.sleep,
    ) -> None:
        self._rest = rest
        self._probe = Probe() if probe is None else probe
        self._every_s, self._clock = every_s, clock
        self._stop = threading.Event()
        self._wait = self._stop.wait if wait is None else wait
        self._thread = threading.Thread(target=self._look_on, name="watch", daemon=True)
        self._samples: list[Sample] = []
        self._cost_s = 0.0
        self._idle: tuple[float, float] | None = None

    def __enter__(self) -> Watch:
        self._before = self._after = self._probe.reading()
        self._governor = self._probe.governor
        self._began = self._clock()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._seconds = self._now()
        self._stop.set()
        self._thread.join()
        self._samples.append(self._probe.look(self._now()))
        self._probe.close()
        self._after = self._probe.reading()

    def idle(self, seconds: float) -> None:
        """Let the machine rest, to tell later what it draws then; at once without a meter.

        Args:
            seconds: how long; a Raspberry Pi 5 has a reading every 5 s.
        """
        if self._probe.found.meter is None:
            return
        began = self._now()
        self._rest(seconds)
        self._idle = (began, self._now())

    def state(
        self, *, zero_ns: int | None = None, seconds: float | None = None, frames: int = 0
    ) -> MachineState:
        """What was seen; after the ``with``.

        Args:
            zero_ns: when the run began, by the clock; where None, so long before the end of the
                ``with`` that the run ended with it.
            seconds: the run's length; all of the watch where None.
            frames: how many the run had.
        """
        if zero_ns is not None:
            zero = (zero_ns - self._began) / 1e9
        else:
            zero = 0.0 if seconds is None else self._seconds - seconds
        length = self._seconds - zero if seconds is None else seconds
        inside = [s for s in self._samples if zero <= s.at_s <= zero + length + self._every_s]
        found, governor = self._probe.found, self._probe.governor
        changed = self._governor and governor and governor != self._governor
        meter = found.meter
        return MachineState(
            before=self._before,
            after=self._after,
            samples=tuple(_shifted(s, zero) for s in inside),
            seconds=length,
            frames=frames,
            cores=self._probe.cores,
            governor=f"{self._governor} → {governor}" if changed else self._governor,
            mhz_source=self._probe.mhz_source,
            meter=None if meter is None else meter.name,
            covers=None if meter is None else meter.covers,
            meter_every_s=1.0 if meter is None else max(meter.every_s, self._every_s),
            no_meter=found.why_not,
            idle=self._idle_watts(),
            cost_share=self._cost_s / max(1e-9, self._seconds),
        )

    def _look_on(self) -> None:
        while True:
            self._samples.append(self._probe.look(self._now()))
            self._cost_s = time.thread_time()
            if self._wait(self._every_s):
                return

    def _now(self) -> float:
        return (self._clock() - self._began) / 1e9

    def _idle_watts(self) -> tuple[float, float] | None:
        if self._idle is None:
            return None
        began, ended = self._idle
        # The first may still stand for the time before.
        seen = [s.watts for s in self._samples if began < s.at_s <= ended and s.watts is not None]
        return (sum(seen) / len(seen), ended - began) if seen else None


def _question(meter: Meter | None) -> tuple[str, ...]:
    """One command that asks the firmware for all; its exit status is that of the throttle bits."""
    if shutil.which("vcgencmd") is None:
        return tuple(_BITS.split())
    asks = [f"vcgencmd {meter.asks}"] if meter is not None and meter.asks else []
    return ("sh", "-c", "; ".join(["vcgencmd measure_clock arm", *asks, _BITS]))


def _shifted(sample: Sample, zero_s: float) -> Sample:
    return replace(sample, at_s=sample.at_s - zero_s)
