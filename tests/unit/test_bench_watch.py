"""What a machine did during a run, from fake files, a fake firmware and a fake clock."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from machine_tree import PI4, PI5, PMIC, PMIC_WATTS, FakeFirmware, FakeTime, stat, write

from edge_fer.machine import Reading, Thermometer
from edge_fer_bench.machine.meters import FakeMeter, Found, Pmic
from edge_fer_bench.machine.state import MachineState, Sample
from edge_fer_bench.machine.watch import Probe, Watch

NOTHING = Reading(celsius=None, throttled=None)
COOL = Reading(celsius=50.0, throttled=0)
NO_METER = Found(meter=None, why_not="no meter is readable")
POLICY = "sys/devices/system/cpu/cpufreq/policy{}/scaling_cur_freq"
GOVERNOR = "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"
PI_FILES = {
    "proc/stat": stat(100),
    "proc/self/status": "VmHWM:\t  60000 kB\nVmRSS:\t  50000 kB\n",
    POLICY.format(0): "1800000\n",
    GOVERNOR: "ondemand\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone0/temp": "51400\n",
}


def silent(word: str) -> None:
    """No firmware."""


def probe(root: Path, looks: Sequence[tuple[Reading, str | None]] = ((NOTHING, None),)) -> Probe:
    return Probe(
        root,
        found=NO_METER,
        firmware=FakeFirmware(looks),
        ask=silent,
        own_cpu_s=lambda: 0.0,
        cpus=(0, 1),
    )


def watched(given: Probe, waits: int, **asked: Any) -> MachineState:
    fake = FakeTime(waits)
    with Watch(given, clock=fake, wait=fake.wait) as watch:
        assert fake.over.wait(20)
    return watch.state(**asked)


def test_a_look_reads_what_there_is(tmp_path: Path) -> None:
    answer = PI5["measure_clock arm"] + PMIC + "throttled=0x4\n"
    there = probe(write(tmp_path, PI_FILES), [(Reading(celsius=51.4, throttled=4), answer)])
    assert there.look(1.0) == Sample(
        at_s=1.0,
        celsius=51.4,
        throttled=4,
        mhz=1800.0,
        firmware_mhz=2400.033792,
        rss_mb=51.2,
    )
    assert there.look(2.0).firmware_mhz is None  # no new answer
    assert (there.cores, there.governor) == (2, "ondemand")


@pytest.mark.parametrize(
    ("files", "mhz", "source"),
    [
        ({POLICY.format(0): "600000", POLICY.format(4): "2400000"}, 2400.0, "fastest core"),
        ({POLICY.format(0): "<unknown>", POLICY.format(4): "1000000"}, 1000.0, "fastest core"),
        ({POLICY.format(0): "<unknown>"}, None, "fastest core"),
        ({POLICY.format(0): "\u00b2"}, None, "fastest core"),
        ({"proc/cpuinfo": "cpu MHz\t\t: 800.5\ncpu MHz\t\t: 3100.0\n"}, 3100.0, "/proc/cpuinfo"),
        ({"proc/cpuinfo": "cpu MHz\t\t: fast\nBogoMIPS\t: 108.00\n"}, None, None),
        ({}, None, None),
    ],
)
def test_the_clock_is_that_of_the_fastest_core(
    tmp_path: Path, files: dict[str, str], mhz: float | None, source: str | None
) -> None:
    there = probe(write(tmp_path, files))
    assert there.look(0.0).mhz == mhz
    assert (there.mhz_source is None) == (source is None)
    assert source is None or source in (there.mhz_source or "")


def test_others_work_is_what_is_left_of_all_work(tmp_path: Path) -> None:
    own = iter([10.0, 11.5, 12.0, 99.0])
    there = Probe(
        write(tmp_path, {"proc/stat": stat(1000)}),
        found=NO_METER,
        firmware=FakeFirmware([(NOTHING, None)]),
        ask=silent,
        own_cpu_s=lambda: next(own),
        cpus=(0, 1),
    )
    first = there.look(0.0)
    assert (first.other_cores, first.stolen_cores) == (None, None)
    # In 2 s: 3.5 s of work, 1.5 s of them our own, and half a second stolen.
    write(tmp_path, {"proc/stat": stat(1350, steal=50)})
    found = there.look(2.0)
    assert found.other_cores == pytest.approx(1.0)
    assert found.stolen_cores == pytest.approx(0.25)
    # Our own half second is counted in finer steps than the kernel's: never below nothing.
    assert there.look(3.0).other_cores == 0.0
    # After a look that failed the next one has nothing to compare with.
    (tmp_path / "proc/stat").unlink()
    assert there.look(4.0).other_cores is None
    write(tmp_path, {"proc/stat": stat(9000)})
    assert there.look(5.0).other_cores is None


@pytest.mark.parametrize(
    ("cpus", "cores", "others"),
    [
        ({0}, 1, 0.25),
        ({1}, 1, 1.0),
        ({0, 1}, 2, 1.25),
        ({5, 9}, 2, 1.25),  # a container numbers them otherwise
    ],
)
def test_only_processors_that_this_process_may_use_count(
    tmp_path: Path, cpus: set[int], cores: int, others: float
) -> None:
    def ticks(first: int, second: int) -> dict[str, str]:
        lines = f"cpu0 {first} 0 0 9 0 0 0 0\ncpu1 {second} 0 0 9 0 0 0 0\n"
        return {"proc/stat": f"cpu  {first + second} 0 0 18 0 0 0 0\n{lines}"}

    there = Probe(
        write(tmp_path, ticks(1000, 1000)),
        found=NO_METER,
        firmware=FakeFirmware([(NOTHING, None)]),
        ask=silent,
        own_cpu_s=lambda: 0.0,
        cpus=cpus,
    )
    there.look(0.0)
    write(tmp_path, ticks(1050, 1200))
    assert there.look(2.0).other_cores == pytest.approx(others)
    assert there.cores == cores


@pytest.mark.parametrize(
    "text", ["", "cpu", "cpu  1 2 3", "cpu0 a b c d e f g h", "cpu0 1 2\n", "\x00\xff"]
)
def test_garbage_in_proc_stat_is_not_measured(tmp_path: Path, text: str) -> None:
    there = probe(write(tmp_path, {"proc/stat": text}))
    assert there.look(0.0).other_cores is None
    assert there.look(1.0).other_cores is None
    assert there.cores == 1


def test_files_that_vanish_leave_gaps_and_end_nothing(tmp_path: Path) -> None:
    there = probe(write(tmp_path, PI_FILES), [(COOL, None)])
    assert there.look(0.0).mhz == 1800.0
    for name in PI_FILES:
        (tmp_path / name).unlink()
    gone = there.look(1.0)
    assert (gone.mhz, gone.rss_mb, gone.other_cores) == (None, None, None)
    write(tmp_path, PI_FILES)
    assert there.look(2.0).rss_mb == 51.2


def test_nothing_at_all_is_said_and_null(tmp_path: Path) -> None:
    state = watched(probe(tmp_path), 3)
    document = json.loads(json.dumps(state.to_json(), allow_nan=False))
    for name in ("mhz", "firmware_mhz", "celsius", "rss_mb", "other_cores", "governor", "noisy"):
        assert document[name] is None
    assert document["samples"]["celsius"] == [None] * 4
    assert all("not measured: " in words for words in state.words.values())
    assert "memory" not in state.words  # that is the peak
    assert state.words["energy"] == "not measured: no meter is readable"


def test_a_look_a_second_and_one_at_the_end(tmp_path: Path) -> None:
    firmware = FakeFirmware([(COOL, None)])
    there = Probe(tmp_path, found=NO_METER, firmware=firmware, ask=PI4.get)
    state = watched(there, 3)
    assert [s.at_s for s in state.samples] == [0.0, 1.0, 2.0, 3.0]
    assert state.seconds == 3.0
    assert state.before == Reading(celsius=51.4, throttled=0)
    assert firmware.closed


def test_the_runs_own_zero_and_length(tmp_path: Path) -> None:
    state = watched(probe(tmp_path, [(COOL, None)]), 10, zero_ns=9_500_000_000, seconds=4.0)
    # The watch began at 7 s: 2.5 s of it came before the run.
    assert [s.at_s for s in state.samples] == [0.5, 1.5, 2.5, 3.5, 4.5]
    assert state.seconds == 4.0


def test_a_run_ends_with_the_watch_and_warming_up_is_left_out(tmp_path: Path) -> None:
    state = watched(probe(tmp_path, [(COOL, None)]), 10, seconds=3.5, frames=7)
    assert [s.at_s for s in state.samples] == [0.5, 1.5, 2.5, 3.5]
    assert (state.seconds, state.frames) == (3.5, 7)


def test_it_stops_when_the_run_fails(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), Watch(probe(tmp_path), every_s=1000):
        raise KeyboardInterrupt
    assert [t.name for t in threading.enumerate() if t.name == "watch"] == []


def test_a_pi_that_starts_to_throttle_half_way(tmp_path: Path) -> None:
    looks = []
    for second in range(101):
        heat = 70.0 + 0.2 * second
        bits = 0xC000C if heat >= 80 else 0
        clock = 1500 if heat >= 80 else 1800
        looks.append((Reading(celsius=heat, throttled=bits), f"frequency(48)={clock}000000\n"))
    state = watched(probe(write(tmp_path, PI_FILES), looks), 100)
    spells = state.thermal.spells
    assert [(s.name, s.began_s, s.ended_s) for s in spells] == [
        ("throttled", 50.0, None),
        ("soft temperature limit", 50.0, None),
    ]
    assert spells[0].celsius == pytest.approx(80.0)
    assert "throttled from second 50 to the end at 80 °C" in state.words["temperature"]
    # The kernel still says 1800; the firmware's measurement counts.
    assert state.words["frequency"].startswith("1500 MHz (median; 1500 to 1800), measured by")
    assert state.words["frequency"].endswith("governor ondemand")
    found = state.to_json()
    assert found["mhz"] == {"min": 1800.0, "median": 1800.0, "max": 1800.0}
    assert found["celsius"] == {"first": 70.0, "last": 90.0, "max": 90.0}


@pytest.mark.parametrize(
    ("others", "stolen", "noisy"), [(0.3, 0.0, False), (0.5, 0.0, True), (0.2, 0.3, True)]
)
def test_a_noisy_machine_is_told(others: float, stolen: float, noisy: bool) -> None:
    samples = (
        Sample(at_s=0.0),
        Sample(at_s=1.0, other_cores=others, stolen_cores=stolen),
    )
    state = MachineState(before=COOL, after=COOL, samples=samples, cores=4)
    assert state.noisy is noisy
    assert ("that shows in the times" in state.words["other load"]) is noisy
    assert ("other virtual machines" in state.words["other load"]) is (stolen > 0)


def test_a_governor_that_changed_is_told(tmp_path: Path) -> None:
    fake = FakeTime(2)
    with Watch(probe(write(tmp_path, PI_FILES)), clock=fake, wait=fake.wait) as watch:
        write(tmp_path, {GOVERNOR: "powersave\n"})
    assert watch.state().governor == "ondemand → powersave"


def test_idling_is_measured_from_the_looks_in_it(tmp_path: Path) -> None:
    meter = FakeMeter([2.0] * 3 + [8.0] * 300)
    there = Probe(
        tmp_path, found=Found(meter=meter), firmware=FakeFirmware([(COOL, None)]), ask=silent
    )
    looked = threading.Semaphore(0)
    fake = FakeTime(1000)
    go_on = threading.Semaphore(0)

    def wait(seconds: float) -> bool:
        looked.release()
        go_on.acquire()
        fake.wait(seconds)
        return ended.is_set()

    def step() -> None:
        go_on.release()
        looked.acquire()

    def rest(seconds: float) -> bool:
        for _ in range(int(seconds)):
            step()
        return False

    ended = threading.Event()
    with Watch(there, clock=fake, wait=wait, rest=rest) as watch:
        looked.acquire()
        watch.idle(2.0)
        zero_ns = fake()
        for _ in range(3):
            step()
        ended.set()
        go_on.release()
    state = watch.state(zero_ns=zero_ns, seconds=3.0, frames=3)
    assert state.idle == (2.0, 2.0)
    assert state.energy.watts == 8.0


def test_without_a_meter_nobody_waits_for_idle_watts(tmp_path: Path) -> None:
    def rest(seconds: float) -> bool:
        raise AssertionError(seconds)

    fake = FakeTime(1)
    with Watch(probe(tmp_path), clock=fake, wait=fake.wait, rest=rest) as watch:
        watch.idle(1000.0)
    assert watch.state().idle is None


def script(folder: Path, text: str) -> None:
    folder.mkdir()
    path = folder / "vcgencmd"
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)


def test_as_on_a_pi_5_all_is_asked_with_one_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = "".join(f"'{word}') cat <<'X'\n{said}X\n;;\n" for word, said in PI5.items())
    script(tmp_path / "bin", f'case "$*" in\n{cases}*) exit 1;; esac\n')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    there = Probe(write(tmp_path / "root", PI_FILES))
    assert isinstance(there.found.meter, Pmic)
    deadline = time.monotonic() + 20
    while (found := there.look(0.0)).firmware_mhz is None and time.monotonic() < deadline:
        time.sleep(0.02)
    there.close()
    assert found.watts == pytest.approx(PMIC_WATTS, abs=0.001)
    assert found.firmware_mhz == pytest.approx(2400.03, abs=0.01)
    assert (found.celsius, found.throttled) == (51.4, 0)


def test_a_shell_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    started = tmp_path / "started"
    thermometer = Thermometer(tmp_path, ("sh", "-c", f"sleep 1000 & echo . > {started}; wait"))
    thermometer.look()
    deadline = time.monotonic() + 20
    while not started.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    closing = threading.Thread(target=thermometer.close, daemon=True)
    closing.start()
    closing.join(20)
    assert not closing.is_alive()  # the sleep holds the pipe that the answer comes through
