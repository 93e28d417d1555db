"""Temperature, throttle bits and memory of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge_fer.machine import (
    Reading,
    Thermometer,
    alive,
    boottime_ns,
    read_thermal,
    rss_mb,
    rss_peak_mb,
)


def zones(root: Path, **heats: str) -> Path:
    for number, (kind, heat) in enumerate(heats.items()):
        zone = root / f"sys/class/thermal/thermal_zone{number}"
        zone.mkdir(parents=True, exist_ok=True)
        (zone / "type").write_text(kind.replace("_", "-") + "\n")
        (zone / "temp").write_text(heat + "\n")
    return root


def firmware(bits: str, heat: str = "temp=51.4'C\n") -> Reading:
    answers = {"get_throttled": f"throttled={bits}\n", "measure_temp": heat}
    return read_thermal(Path("/nonexistent"), answers.get)


def test_the_firmwares_reading() -> None:
    found = firmware("0x50005")
    assert found == Reading(celsius=51.4, throttled=0x50005)
    assert found.now == ("under-voltage", "throttled")
    assert found.since_boot == ("under-voltage", "throttled")
    assert found.words == "51 °C, under-voltage, throttled; since boot: under-voltage, throttled"


@pytest.mark.parametrize(
    ("reading", "words"),
    [
        (Reading(celsius=None, throttled=None), "temperature unknown, throttling unknown"),
        (Reading(celsius=60.4, throttled=None), "60 °C, throttling unknown"),
        (Reading(celsius=60.6, throttled=0), "61 °C, not throttled"),
        (
            Reading(celsius=83.0, throttled=0x80008),
            "83 °C, soft temperature limit; since boot: soft temperature limit",
        ),
        (
            Reading(celsius=83.0, throttled=0x20000),
            "83 °C, not throttled; since boot: frequency capped",
        ),
    ],
)
def test_bits_in_words(reading: Reading, words: str) -> None:
    assert reading.words == words


def test_without_firmware_the_kernels_zone_is_read(tmp_path: Path) -> None:
    zones(tmp_path, acpitz="27800", cpu_thermal="48312")
    assert read_thermal(tmp_path, lambda word: None) == Reading(celsius=48.312, throttled=None)


@pytest.mark.parametrize("heat", ["", "hot", "\x00"])
def test_a_zone_that_talks_nonsense_is_passed_over(tmp_path: Path, heat: str) -> None:
    zones(tmp_path, cpu_thermal=heat, soc_thermal="40000")
    assert read_thermal(tmp_path, lambda word: None).celsius == 40.0


def wait_for(meter: Thermometer, throttled: int | None) -> Reading:
    deadline = time.monotonic() + 20
    while (found := meter.look()).throttled != throttled and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


def test_a_thermometer_asks_now_and_hears_later(tmp_path: Path) -> None:
    answer = tmp_path / "answer"
    answer.write_text("throttled=0x50005\n")
    meter = Thermometer(zones(tmp_path, cpu_thermal="61000"), ("cat", str(answer)), every_s=0)
    assert meter.look() == Reading(celsius=61.0, throttled=None)
    assert wait_for(meter, 0x50005) == Reading(celsius=61.0, throttled=0x50005)
    answer.write_text("throttled=0x0\n")
    assert wait_for(meter, 0).throttled == 0
    meter.close()
    meter.close()


def test_a_firmware_that_never_answers_holds_nothing_up(tmp_path: Path) -> None:
    meter = Thermometer(zones(tmp_path, cpu_thermal="61000"), ("sleep", "1000"), every_s=0)
    for _ in range(5):
        assert meter.look() == Reading(celsius=61.0, throttled=None)
    assert len(children("sleep")) == 1  # asked once, not five times
    meter.close()
    assert children("sleep") == []


def test_a_firmware_that_refuses_is_not_asked_for_ever(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    script = tmp_path / "vcgencmd"
    script.write_text(f"#!/bin/sh\necho . >> {asked}\nexit 1\n")
    script.chmod(0o755)
    meter = Thermometer(tmp_path, (str(script),), every_s=0)
    deadline = time.monotonic() + 20
    while meter._failures < 3 and time.monotonic() < deadline:
        meter.look()
        time.sleep(0.02)
    for _ in range(10):
        assert meter.look() == Reading(celsius=None, throttled=None)
    assert asked.read_text() == ".\n" * 3
    meter.close()


def test_it_is_not_asked_at_every_look(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    meter = Thermometer(tmp_path, ("sh", "-c", f"echo . >> {asked}; echo throttled=0x0"))
    wait_for(meter, 0)
    for _ in range(100):
        meter.look()
    meter.close()
    # Once, and again should these looks have taken longer than five seconds.
    assert len(asked.read_text().split()) <= 2


def test_no_raspberry_pi_no_question(tmp_path: Path) -> None:
    meter = Thermometer(tmp_path, ("edge-fer-no-such-command",))
    assert meter.look() == Reading(celsius=None, throttled=None)
    assert meter.look() == Reading(celsius=None, throttled=None)
    meter.close()


def children(name: str) -> list[str]:
    done = subprocess.run(
        ["ps", "--ppid", str(os.getpid()), "-o", "comm="],
        capture_output=True,
        text=True,
        check=False,
    )
    return [line for line in done.stdout.split() if line == name]


def test_memory_is_the_kernels_word(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/status").write_text("VmHWM:\t  100000 kB\nVmRSS:\t  50000 kB\n")
    assert rss_peak_mb(tmp_path) == 102.4
    assert rss_mb(tmp_path) == 51.2
    assert rss_mb(tmp_path / "proc") is None
    held = bytearray(60_000_000)
    assert rss_peak_mb() > len(held) / 1e6


def test_the_clock_since_the_boot_is_the_same_for_all() -> None:
    code = "from edge_fer.machine import boottime_ns; print(boottime_ns())"
    before = boottime_ns()
    said = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout)
    assert before < said < boottime_ns()


def test_who_is_alive() -> None:
    assert alive(os.getpid())
    assert alive(1)
    child = subprocess.Popen(["true"])
    child.wait()
    assert not alive(child.pid)
    for number in (0, -1, 2**40):
        assert not alive(number)
