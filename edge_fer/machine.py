"""What this machine says of itself while it works: heat, throttling, memory and its clocks.

The throttle bits and the temperature limits are those of Raspberry Pi's documentation
(computers/os, ``vcgencmd get_throttled``; hardware/frequency-management): the firmware slows the
cores from 80 °C and much more from 85 °C; a Pi 3B+ has a soft limit at 60 °C besides.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "THROTTLE_BITS",
    "Reading",
    "Thermometer",
    "alive",
    "boottime_ns",
    "read_thermal",
    "rss_mb",
    "rss_peak_mb",
    "vcgencmd",
]

# Bits of `vcgencmd get_throttled`; the same + 16: since boot.
THROTTLE_BITS = {
    0: "under-voltage",
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
}
_CPU_ZONES = ("cpu", "soc", "x86_pkg")
# A sandbox without /dev/vcio refuses every time; asking on for months would be of no use.
_FAILURES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One look: degrees Celsius, and the throttle bits; None where the machine does not say."""

    celsius: float | None
    throttled: int | None

    @property
    def now(self) -> tuple[str, ...]:
        """What slows the machine down at this moment."""
        return self._names(0)

    @property
    def since_boot(self) -> tuple[str, ...]:
        """What slowed it down at some time since it was started."""
        return self._names(16)

    @property
    def words(self) -> str:
        """One phrase: ``61 °C, throttled; since boot: under-voltage``."""
        heat = "temperature unknown" if self.celsius is None else f"{self.celsius:.0f} °C"
        if self.throttled is None:
            return f"{heat}, throttling unknown"
        past = f"; since boot: {', '.join(self.since_boot)}" if self.since_boot else ""
        return f"{heat}, {', '.join(self.now) or 'not throttled'}{past}"

    def _names(self, shift: int) -> tuple[str, ...]:
        bits = (self.throttled or 0) >> shift
        return tuple(name for bit, name in THROTTLE_BITS.items() if bits >> bit & 1)


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
    """Look once, and wait for the answer.

    Args:
        root: where ``sys`` lies.
        firmware: asks the firmware; see :func:`vcgencmd`.
    """
    measured = re.search(r"temp=([\d.]+)", firmware("measure_temp") or "")
    return Reading(
        celsius=float(measured[1]) if measured else _zone(root),
        throttled=_bits(firmware("get_throttled") or ""),
    )


class Thermometer:
    """Looks again and again without ever holding up a frame.

    The temperature is the kernel's thermal zone, a file. The throttle bits only ``vcgencmd``
    tells (kernels of 2025 dropped their file): it is started at one look and read at the next.

    Args:
        root: where ``sys`` lies.
        command: asks the firmware for the throttle bits.
        every_s: seconds between two questions; each starts a process.

    Attributes:
        said: the whole of the last answer, for a command that asks for more than the bits.
        answers: how many there were.
    """

    def __init__(
        self,
        root: Path = Path("/"),
        command: Sequence[str] = ("vcgencmd", "get_throttled"),
        *,
        every_s: float = 5.0,
    ) -> None:
        self._root, self._command, self._every_s = root, tuple(command), every_s
        self._next_s = 0.0
        self._asked: subprocess.Popen[str] | None = None
        self._throttled: int | None = None
        self._failures = 0
        self.said = ""
        self.answers = 0

    def look(self) -> Reading:
        """The temperature now, and the throttle bits as of a look before."""
        self._collect()
        if self._asked is None and self._failures < _FAILURES and time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + self._every_s
            self._ask()
        return Reading(celsius=_zone(self._root), throttled=self._throttled)

    def close(self) -> None:
        """Leave no question behind. Calling it twice is fine."""
        if self._asked is not None:
            # The whole group: a shell's own children hold the pipe open.
            with suppress(ProcessLookupError):
                os.killpg(self._asked.pid, signal.SIGKILL)
            self._asked.communicate()
            self._asked = None

    def _ask(self) -> None:
        try:
            self._asked = subprocess.Popen(
                self._command,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
        except OSError:  # no Raspberry Pi
            self._failures = _FAILURES

    def _collect(self) -> None:
        if self._asked is None or self._asked.poll() is None:
            return
        self.said, _ = self._asked.communicate()
        self.answers += 1
        self._throttled = _bits(self.said) if self._asked.returncode == 0 else None
        self._failures = 0 if self._throttled is not None else self._failures + 1
        self._asked = None


def rss_mb(root: Path = Path("/")) -> float | None:
    """The memory that this process has resident now, in 10^6 bytes."""
    resident = re.search(r"^VmRSS:\s+(\d+) kB", _read(root / "proc/self/status"), re.M)
    return int(resident[1]) * 1024 / 1e6 if resident else None


def rss_peak_mb(root: Path = Path("/")) -> float:
    """The most memory that this process ever had resident, in 10^6 bytes.

    The kernel's VmHWM where it is told: ``ru_maxrss`` also counts what a parent had before exec.
    """
    peak = re.search(r"^VmHWM:\s+(\d+) kB", _read(root / "proc/self/status"), re.M)
    kilobytes = int(peak[1]) if peak else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes * 1024 / 1e6


def boottime_ns() -> int:
    """Nanoseconds since the boot, sleep included: the same for every process of this boot."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def alive(pid: int) -> bool:
    """Whether a process of this number runs, whoever owns it."""
    if pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError) as err:
        return isinstance(err, PermissionError)
    return True


def _zone(root: Path) -> float | None:
    """The processor's thermal zone of the kernel, which counts in thousandths of a degree."""
    for zone in sorted((root / "sys/class/thermal").glob("thermal_zone*")):
        try:
            if (zone / "type").read_text().strip().startswith(_CPU_ZONES):
                return int((zone / "temp").read_text()) / 1000
        except (OSError, ValueError):
            continue
    return None


def _bits(said: str) -> int | None:
    found = re.search(r"throttled=(0x[0-9a-fA-F]+)", said)
    return int(found[1], 16) if found else None


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
