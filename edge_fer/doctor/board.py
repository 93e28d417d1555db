"""The board itself: memory, heat, power, and the clock."""

from __future__ import annotations

import re

from edge_fer.doctor.findings import Finding, not_applicable, ok, problem, warning
from edge_fer.doctor.machine import Machine
from edge_fer.machine import Reading, read_thermal
from edge_fer.records import clock_ok

__all__ = ["check_clock", "check_heat", "check_memory", "check_power", "check_time_zone"]

# A run with tracking needs 130 MB; the rest is the system's.
_LITTLE_MB, _TOO_LITTLE_MB = 400, 200
# Raspberry Pi's firmware lowers the frequency from 80 degrees.
_WARM, _HOT = 75.0, 80.0


def check_memory(machine: Machine) -> Finding:
    """How much memory there is, and is free."""
    name = "memory"
    rows = re.finditer(r"^(\w+):\s+(\d+) kB", machine.text("proc/meminfo") or "", re.MULTILINE)
    figures = {row[1]: int(row[2]) for row in rows}
    if "MemTotal" not in figures:
        return not_applicable(name, "The kernel does not tell it.")
    total = figures["MemTotal"] * 1024 / 1e6
    free = figures.get("MemAvailable", figures["MemTotal"]) * 1024 / 1e6
    message = f"{total:.0f} MB, {free:.0f} MB of it free."
    if free < _TOO_LITTLE_MB:
        return warning(
            name, f"{message} A run needs about 130 MB.", "See what takes it: ps aux --sort=-rss"
        )
    if total < _LITTLE_MB:
        return warning(
            name,
            f"{message} That is little for a desktop beside it.",
            "sudo raspi-config nonint do_boot_behaviour B1",
        )
    return ok(name, message)


def check_heat(machine: Machine) -> Finding:
    """The temperature now, and whether heat slows the processor down."""
    name = "temperature"
    reading = _reading(machine)
    if reading.celsius is None:
        return not_applicable(name, "This machine does not tell its temperature.")
    hot = [text for text in reading.now if text != "under-voltage"]
    past = [text for text in reading.since_boot if text != "under-voltage"]
    message = f"{reading.celsius:.0f} °C"
    cool = "Fit a heat sink or a fan, or lower max_fps in the settings."
    if hot:
        return warning(name, f"{message}, and slowed down now: {', '.join(hot)}.", cool)
    if reading.celsius >= _HOT:
        return warning(name, f"{message}: from {_HOT:.0f} °C on a Pi slows down.", cool)
    if past:
        return warning(name, f"{message}; slowed down since boot: {', '.join(past)}.", cool)
    near = (
        f", near the {_HOT:.0f} °C from which a Pi slows down" if reading.celsius >= _WARM else ""
    )
    return ok(name, f"{message}{near}.")


def check_power(machine: Machine) -> Finding:
    """Under-voltage: the usual cause of cameras and sticks that come and go."""
    name = "power"
    reading = _reading(machine)
    if reading.throttled is None:
        return not_applicable(name, "Only a Raspberry Pi's firmware (vcgencmd) tells the voltage.")
    better = "Use the board's own power supply (Pi 5: 5 V 5 A; Pi 4: 5.1 V 3 A) and a short cable."
    if "under-voltage" in reading.now:
        return problem(name, "The voltage is too low at this moment.", better)
    if "under-voltage" in reading.since_boot:
        return warning(name, "The voltage was too low at some time since boot.", better)
    return ok(name, "The voltage was never too low since boot.")


def check_clock(machine: Machine) -> Finding:
    """Set and synchronised; a Pi before the 5 has no clock that runs without power."""
    name = "clock"
    now = machine.now()
    said = f"{now:%Y-%m-%d %H:%M:%S} UTC"
    trusted = clock_ok(now, machine.root / "run/systemd/timesync")
    own = machine.text("sys/class/rtc/rtc0/name")
    has_own = f"real-time clock {own}" if own else "no real-time clock"
    if trusted is False and now.year < 2025:
        return warning(
            name,
            f"Not set: it says {said}; {has_own}. Records carry clock_ok: false.",
            f'sudo date -u -s "YYYY-MM-DD HH:MM:SS"; offline for good: {_FAKE}',
        )
    if trusted is False:
        return warning(
            name,
            f"{said}, not synchronised since boot; {has_own}. Records carry clock_ok: false.",
            f"sudo timedatectl set-ntp true; offline for good: {_FAKE}",
        )
    sure = "synchronised" if trusted else "set; no systemd-timesyncd tells whether synchronised"
    return ok(name, f"{said}, {sure}; {has_own}.")


def check_time_zone(machine: Machine) -> Finding:
    """For people only: records are in UTC."""
    name = "time zone"
    zone = machine.environment.get("TZ", "").removeprefix(":") or _local_zone(machine)
    if not zone:
        return ok(name, "None is set: UTC.")
    if "/" in zone and not (machine.root / "usr/share/zoneinfo" / zone).exists():
        return warning(
            name,
            f"There is no time zone {zone}: times are shown in UTC.",
            "sudo timedatectl set-timezone Europe/Berlin (timedatectl list-timezones)",
        )
    return ok(name, f"{zone}; records are in UTC whatever it is.")


_FAKE = "sudo apt install fake-hwclock"


def _local_zone(machine: Machine) -> str:
    try:
        target = str((machine.root / "etc/localtime").readlink())
    except OSError:  # not there, or a copy
        return machine.text("etc/timezone") or ""
    return target.partition("zoneinfo/")[2]


def _reading(machine: Machine) -> Reading:
    def firmware(word: str) -> str | None:
        answer = machine.run(["vcgencmd", word])
        return answer.out if answer is not None and answer.code == 0 else None

    return read_thermal(machine.root, firmware)
