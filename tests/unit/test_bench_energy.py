"""Power meters in a fake /sys, a Raspberry Pi's firmware, and the energy of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from machine_tree import PI4, PI5, PMIC, PMIC_WATTS, write

from edge_fer_bench.machine.energy import Energy, mean_watts, measure_energy
from edge_fer_bench.machine.hwmon import Hwmon
from edge_fer_bench.machine.meters import (
    Battery,
    FakeMeter,
    Meter,
    Pmic,
    Rapl,
    find_meter,
)

HWMON = "sys/class/hwmon/hwmon{}/{}"
RAPL = "sys/class/powercap/intel-rapl:{}/{}"
BATTERY = "sys/class/power_supply/BAT0/{}"


def silent(word: str) -> None:
    """No firmware."""


def hwmon(number: int, **files: str) -> dict[str, str]:
    return {HWMON.format(number, name): text + "\n" for name, text in files.items()}


def rapl(energy: int, *, domain: str = "0", name: str = "package-0") -> dict[str, str]:
    return {
        RAPL.format(domain, "name"): name + "\n",
        RAPL.format(domain, "energy_uj"): f"{energy}\n",
        RAPL.format(domain, "max_energy_range_uj"): "262143328850\n",
    }


def battery(status: str, **files: str) -> dict[str, str]:
    return {
        BATTERY.format(name): text + "\n"
        for name, text in {"type": "Battery", "status": status, **files}.items()
    }


def there(root: Path, files: dict[str, str]) -> Meter | None:
    return find_meter(write(root, files), silent).meter


@pytest.mark.parametrize(
    ("files", "watts", "covers"),
    [
        # As the kernel's ina2xx driver shows an INA219: in0 is the shunt, in1 the bus.
        (
            {
                "name": "ina219",
                "in0_input": "7",
                "in1_input": "5100",
                "curr1_input": "700",
                "power1_input": "3560000",
            },
            3.56,
            "power1_input",
        ),
        # A server's own.
        ({"name": "power_meter", "power1_average": "213000000"}, 213.0, "power1_average"),
        ({"name": "ina226", "in1_input": "5000", "curr1_input": "620"}, 3.1, "in1_input*curr1"),
        # An ina3221: in4 to in6 are shunts, and curr4 is a sum.
        (
            {
                "name": "ina3221",
                "in1_input": "5000",
                "curr1_input": "100",
                "in2_input": "3300",
                "curr2_input": "1000",
                "in4_input": "900",
                "curr4_input": "1100",
            },
            3.8,
            "in2_input*curr2_input",
        ),
        # A Jetson's: the first channel is all of the board, the second a part of it.
        (
            {
                "name": "ina3221",
                "in1_label": "VDD_IN",
                "in1_input": "5000",
                "curr1_input": "1000",
                "in2_label": "VDD_CPU",
                "in2_input": "5000",
                "curr2_input": "400",
            },
            5.0,
            "the board's whole input",
        ),
        # A chip that nobody has heard of, but that tells watts.
        ({"name": "wattwizard", "power2_input": "1500000"}, 1.5, "power2_input"),
    ],
)
def test_hwmon(tmp_path: Path, files: dict[str, str], watts: float, covers: str) -> None:
    meter = there(tmp_path, hwmon(0, **files))
    assert isinstance(meter, Hwmon)
    assert meter.watts(0.0) == pytest.approx(watts)
    assert meter.name == f"hwmon {files['name']}"
    assert covers in meter.covers


@pytest.mark.parametrize(
    "files",
    [
        {"name": "cpu_thermal", "temp1_input": "50000"},
        {"name": "rp1_adc", "in1_input": "1500", "in2_input": "2500"},  # a Pi 5's
        {"name": "rpi_volt", "in0_lcrit_alarm": "0"},
        {"name": "nct6775", "in1_input": "5000", "curr1_input": "100"},  # wired to whatever
        {"name": "amdgpu", "power1_input": "9000000"},  # only itself
        {"name": "BAT0", "power1_input": "9000000"},  # also while it is charged
        {"name": "ina219", "power1_input": "hot"},
        {"name": "ina219", "power1_input": ""},
        {"name": "ina219", "power1_input": "0"},  # wired to nothing
        {"name": "sfp", "power1_input": "400"},  # light
        {"power1_input": "3000000"},  # nameless
    ],
)
def test_what_is_no_power_meter(tmp_path: Path, files: dict[str, str]) -> None:
    assert there(tmp_path, hwmon(0, **files)) is None


def test_the_first_monitor_that_reads_anything_is_taken(tmp_path: Path) -> None:
    found = there(
        tmp_path,
        hwmon(0, name="wattwizard", power1_input="1")
        | hwmon(1, name="ina219", power1_input="0")
        | hwmon(2, name="ina219", power1_input="2000000"),
    )
    assert found is not None
    assert found.watts(0.0) == 2.0


def test_an_unknown_chip_comes_last(tmp_path: Path) -> None:
    found = there(tmp_path, hwmon(0, name="wattwizard", power1_input="9000000") | rapl(0))
    assert isinstance(found, Rapl)


def test_a_pi_5s_rails_are_added_up() -> None:
    meter = Pmic()
    assert meter.watts(0.0, PMIC) == pytest.approx(PMIC_WATTS, abs=1e-4)
    for left_out in ("USB", "HATs"):
        assert left_out in meter.covers


@pytest.mark.parametrize(
    "answer",
    [
        None,
        "",
        PI4["pmic_read_adc"],
        "throttled=0x0\nfrequency(0)=2400033792\n",
        "     EXT5V_V volt(24)=5.06788000V\n",  # volts without amperes
        "  VDD_CORE_A current(7)=1.1.8A\n  VDD_CORE_V volt(15)=0.8V\n",
    ],
)
def test_an_answer_without_a_whole_rail_is_no_reading(answer: str | None) -> None:
    assert Pmic().watts(0.0, answer) is None


def test_who_has_which_meter(tmp_path: Path) -> None:
    assert isinstance(find_meter(tmp_path, PI5.get).meter, Pmic)
    found = find_meter(tmp_path, PI4.get)
    assert found.meter is None
    assert found.why_not == "no meter is readable"


def test_rapl_counts_up_and_starts_again(tmp_path: Path) -> None:
    write(tmp_path, rapl(262_143_000_000) | rapl(1, domain="0:0", name="core"))
    meter = find_meter(tmp_path, silent).meter
    assert isinstance(meter, Rapl)
    assert meter.watts(10.0) is None  # nothing to compare with
    write(tmp_path, rapl(262_143_328_850))
    assert meter.watts(12.0) == pytest.approx(0.164425)
    # One more is zero; 15 J less the microjoule that led there, in 3 s.
    write(tmp_path, rapl(14_999_999))
    assert meter.watts(15.0) == 5.0
    assert meter.watts(15.0) is None  # no time has passed


def test_rapl_adds_packages_and_not_the_domains_in_them(tmp_path: Path) -> None:
    def count(energy: int) -> None:
        write(tmp_path, rapl(energy) | rapl(2 * energy, domain="1", name="package-1"))
        write(tmp_path, rapl(9 * energy, domain="2", name="psys"))

    count(0)
    meter = find_meter(tmp_path, silent).meter
    assert isinstance(meter, Rapl)
    assert meter.watts(0.0) is None
    count(3_000_000)
    assert meter.watts(1.0) == pytest.approx(9.0)


def test_rapl_that_vanishes_starts_over(tmp_path: Path) -> None:
    meter = there(tmp_path, rapl(0))
    assert meter is not None
    meter.watts(0.0)
    (tmp_path / RAPL.format("0", "energy_uj")).unlink()
    assert meter.watts(1.0) is None
    write(tmp_path, rapl(50_000_000))
    assert meter.watts(2.0) is None
    write(tmp_path, rapl(57_000_000))
    assert meter.watts(3.0) == pytest.approx(7.0)


def test_rapl_for_root_alone_is_said(tmp_path: Path) -> None:
    files = rapl(0)
    del files[RAPL.format("0", "energy_uj")]
    found = find_meter(write(tmp_path, files), silent)
    assert found.meter is None
    assert "only root may read it: sudo" in found.why_not


@pytest.mark.parametrize(
    ("files", "watts"),
    [
        (battery("Discharging", power_now="8500000"), 8.5),
        (battery("Discharging", power_now="-8500000"), 8.5),
        (battery("Discharging", current_now="1000000", voltage_now="7600000"), 7.6),
        (battery("Discharging", current_now="1000000"), None),
        (battery("Discharging", power_now="0"), None),
        (battery("Charging", power_now="8500000"), None),
        (battery("Full", power_now="8500000"), None),
        (battery("Discharging", power_now="8500000", type="UPS"), None),
    ],
)
def test_a_battery_only_while_it_is_used(
    tmp_path: Path, files: dict[str, str], watts: float | None
) -> None:
    meter = there(tmp_path, files)
    assert isinstance(meter, Battery) is (watts is not None)
    assert watts is None or (meter is not None and meter.watts(0.0) == pytest.approx(watts))


def test_a_battery_that_is_plugged_in_meanwhile(tmp_path: Path) -> None:
    meter = there(tmp_path, battery("Discharging", power_now="8500000") | rapl(0))
    assert isinstance(meter, Battery)  # covers more than the processor
    write(tmp_path, battery("Charging"))
    assert meter.watts(1.0) is None


def test_the_fake_ends() -> None:
    meter: Meter = FakeMeter([1.0, None])
    assert [meter.watts(float(s)) for s in range(4)] == [1.0, None, None, None]


def test_a_mean_is_weighted_with_time() -> None:
    # 2 W for one second, 5 W for the next two.
    assert mean_watts([1.0, 3.0], [2.0, 5.0], 1.0) == (4.0, 3.0)
    # The second reading is too far from the first to stand for all the time between.
    assert mean_watts([1.0, 11.0], [2.0, 5.0], 1.0) == (3.5, 2.0)
    assert mean_watts([], [], 1.0) == (None, 0.0)
    assert mean_watts([0.0], [4.0], 1.0) == (4.0, 0.0)


def of(
    readings: list[tuple[float, float]], seconds: float, *, frames: int = 100, **given: Any
) -> Energy:
    settings: dict[str, Any] = {
        "meter": "fake",
        "covers": "nothing real",
        "every_s": 1.0,
        "why_not": "no meter is readable",
    }
    return measure_energy(readings, seconds=seconds, frames=frames, **(settings | given))


def test_joules_and_millijoules() -> None:
    found = of([(float(s), 5.0) for s in range(1, 11)], 10.0, frames=200, idle=(2.0, 8.0))
    assert (found.watts, found.metered_s) == (5.0, 10.0)
    assert found.joules == 50.0
    assert found.mj_per_frame == 250.0  # and not less by what it draws when idle
    assert found.words == (
        "5.00 W, 50 J for the run, 250.0 mJ per frame; fake: nothing real; idle for 8 s before: "
        "2.00 W, not subtracted"
    )
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert (document["idle_watts"], document["idle_s"]) == (2.0, 8.0)


def test_a_meter_that_vanishes_mid_run_tells_watts_but_no_joules() -> None:
    found = of([(float(s), 5.0) for s in range(1, 41)], 100.0)
    assert found.watts == 5.0
    assert found.metered_s == 40.0
    assert found.joules is None
    assert found.mj_per_frame is None
    assert "readable for only 40 of 100 s, so the run's joules are not known" in found.words


def test_two_answers_of_a_pi_5_in_ten_seconds() -> None:
    found = of([(1.0, 5.0), (6.0, 7.0)], 10.0, every_s=5.0)
    assert found.watts == pytest.approx((5 * 1 + 7 * 5) / 6)
    assert found.metered_s == 10.0
    assert "from only 2 readings" in found.words


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"meter": None, "covers": None}, "energy: not measured: no meter is readable"),
        ({}, "energy: not measured: fake gave no reading during the run"),
    ],
)
def test_no_reading(given: dict[str, Any], words: str) -> None:
    found = of([], 10.0, **given)
    assert found.words == words
    assert found.meter is None
    assert {found.watts, found.joules, found.mj_per_frame} == {None}


def test_readings_outside_of_the_run_do_not_count() -> None:
    found = of([(-3.0, 99.0), (1.0, 5.0), (2.0, 5.0), (9.0, 99.0)], 2.0, frames=0)
    assert (found.watts, found.readings) == (5.0, 2)
    assert found.mj_per_frame is None
