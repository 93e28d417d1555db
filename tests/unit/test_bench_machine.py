from pathlib import Path

import pytest

from edge_fer.machine import Reading, read_thermal
from edge_fer_bench.machine.card import read_machine, software
from edge_fer_bench.machine.thermal import Spell, Thermal

ARM = "processor\t: 0\nFeatures\t: fp asimd\nCPU part\t: 0xd0b\n"
X86 = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Some   CPU @ 3 GHz\nflags\t\t: fpu"


def root(tmp_path: Path, **texts: str) -> Path:
    names = {
        "cpuinfo": "proc/cpuinfo",
        "model": "proc/device-tree/model",
        "revision": "proc/device-tree/system/linux,revision",
        "governor": "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
        "max": "sys/devices/system/cpu/cpu0/cpufreq/cpuinfo_max_freq",
        "memory": "proc/meminfo",
        "vendor": "sys/class/dmi/id/sys_vendor",
        "release": "etc/os-release",
    }
    for key, text in texts.items():
        path = tmp_path / names[key]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_raspberry_pi_by_its_firmware(tmp_path: Path) -> None:
    there = root(
        tmp_path,
        cpuinfo=ARM,
        model="Raspberry Pi 5 Model B Rev 1.0\0",
        revision="\x00\xd0\x41\x70",
        governor="ondemand\n",
        max="2400000\n",
        memory="MemTotal:        8245000 kB\n",
        release='NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    )
    machine = read_machine(there, "aarch64")
    assert machine.kind == "raspberry_pi"
    assert machine.words == "Measured on a Raspberry Pi 5 Model B Rev 1.0."
    assert (machine.cpu, machine.governor, machine.max_mhz) == ("Cortex-A76", "ondemand", 2400.0)
    assert machine.memory_mb == pytest.approx(8442.88)
    assert machine.system.startswith("Debian GNU/Linux 12 (bookworm), ")


@pytest.mark.parametrize(
    ("kind", "architecture", "texts"),
    [
        ("emulated", "aarch64", {"cpuinfo": X86}),  # qemu-user
        ("emulated", "aarch64", {"cpuinfo": ARM, "model": "Raspberry Pi 3 Model B"}),  # raspi3b
        ("emulated", "aarch64", {"cpuinfo": ARM, "model": "linux,dummy-virt"}),
        ("board", "aarch64", {"cpuinfo": ARM, "model": "Radxa ROCK 5B", "revision": "1"}),
        ("virtual", "x86_64", {"cpuinfo": X86 + " hypervisor"}),
        ("virtual", "x86_64", {"cpuinfo": X86, "vendor": "QEMU"}),
        ("computer", "x86_64", {"cpuinfo": X86, "vendor": "Maker Inc."}),
        ("computer", "x86_64", {}),
    ],
)
def test_nothing_else_is_called_a_pi(
    tmp_path: Path, kind: str, architecture: str, texts: dict[str, str]
) -> None:
    machine = read_machine(root(tmp_path, **texts), architecture)
    assert machine.kind == kind
    assert not machine.is_pi
    assert "Measured on a Raspberry Pi" not in machine.words
    assert (
        "emulated times are no times" in machine.words or "not on a Raspberry Pi" in machine.words
    )


def test_what_a_machine_does_not_tell_is_none(tmp_path: Path) -> None:
    machine = read_machine(tmp_path, "x86_64")
    assert (machine.cpu, machine.governor, machine.max_mhz, machine.memory_mb) == (None,) * 4
    assert machine.cores >= 1


def test_the_processor_is_named_once(tmp_path: Path) -> None:
    assert (
        read_machine(root(tmp_path, cpuinfo=X86 + "\n" + X86), "x86_64").cpu == "Some CPU @ 3 GHz"
    )


def test_software_names_what_took_part() -> None:
    found = software("litert 1, 1 thread")
    assert found["backend"] == "litert 1, 1 thread"
    assert found["numpy"]
    assert found["opencv"]


def firmware(bits: str, heat: str = "temp=51.4'C\n") -> Reading:
    answers = {"get_throttled": f"throttled={bits}\n", "measure_temp": heat}
    return read_thermal(Path("/nonexistent"), answers.get)


@pytest.mark.parametrize(
    ("before", "after", "events"),
    [
        ("0x0", "0x0", []),
        ("0x50000", "0x50000", []),  # happened since boot, but not now
        ("0x0", "0x40000", ["throttled"]),  # over again already
        ("0x4", "0x40000", ["throttled"]),
        ("0x0", "0x90009", ["under-voltage", "soft temperature limit"]),
        ("0x10000", "0x30002", ["frequency capped"]),
    ],
)
def test_throttling_during_the_run_is_told_from_before(
    before: str, after: str, events: list[str]
) -> None:
    found = Thermal(before=firmware(before), after=firmware(after))
    assert found.events == events
    assert (", ".join(events) or "no throttling") in found.words
    assert found.to_json()["before"]["throttled"] == before


def test_not_measured_is_said_and_null(tmp_path: Path) -> None:
    nothing = read_thermal(tmp_path, lambda word: None)
    found = Thermal(before=nothing, after=nothing)
    assert found.events is None
    assert "temperature not measured" in found.words
    assert "throttling not measured" in found.words
    assert found.to_json()["after"] == {"celsius": None, "throttled": None}


def during(*bits: int | None) -> Thermal:
    """A look every five seconds; the firmware answered with these bits."""
    looks = tuple(
        (5.0 * i, Reading(celsius=60.0 + i, throttled=value)) for i, value in enumerate(bits)
    )
    return Thermal(before=firmware("0x0"), after=firmware(hex(bits[-1] or 0)), during=looks)


@pytest.mark.parametrize(
    ("bits", "spells"),
    [
        ((None, 0, 0, 0), []),
        ((None, 0, 0x40004, 0x40004), [("throttled", 10.0, None, 62.0)]),
        ((None, 0x40004, 0x40000, 0x40000), [("throttled", 5.0, 10.0, 61.0)]),
        # Again and again: the second time too, although it has been so since the boot.
        (
            (0, 0x40004, 0x40000, 0x40004),
            [("throttled", 5.0, 10.0, 61.0), ("throttled", 15.0, None, 63.0)],
        ),
        # Over again when the firmware was asked: seen by the bit since boot, once.
        ((0, 0, 0x20000, 0x20000), [("frequency capped", 10.0, 10.0, 62.0)]),
        # One after the other, and a question without an answer in between.
        (
            (0, 0x80008, None, 0xC000C),
            [("soft temperature limit", 5.0, None, 61.0), ("throttled", 15.0, None, 63.0)],
        ),
    ],
)
def test_the_second_at_which_throttling_began(
    bits: tuple[int | None, ...], spells: list[tuple[str, float, float | None, float]]
) -> None:
    found = during(*bits)
    assert found.spells == tuple(
        Spell(name=name, began_s=began, ended_s=ended, celsius=heat)
        for name, began, ended, heat in spells
    )
    assert set(found.events or ()) == {name for name, *_ in spells}
    assert [s["began_s"] for s in found.to_json()["spells"]] == [s[1] for s in spells]


@pytest.mark.parametrize(
    ("bits", "words"),
    [
        ((0, 0, 0), "no throttling"),
        ((0, 0x40004, 0x40004), "throttled from second 5 to the end at 61 °C"),
        ((0, 0x40004, 0x40000), "throttled from second 5 to second 10 at 61 °C"),
        ((0, 0x40000, 0x40000), "throttled shortly before second 5 at 61 °C"),
        (
            (0x40004, 0x40000, 0x40004, 0x40000),
            "throttled from the start to second 5 at 60 °C, 2 times in all",
        ),
    ],
)
def test_throttling_in_words(bits: tuple[int, ...], words: str) -> None:
    assert during(*bits).words.endswith(f"at most {59 + len(bits)} °C; {words}")


def test_a_machine_that_was_slow_before_the_run() -> None:
    found = Thermal(
        before=firmware("0x50005"),
        after=firmware("0x50001"),
        during=((0.0, firmware("0x50005")), (5.0, firmware("0x50001"))),
    )
    assert [(s.name, s.began_s, s.ended_s) for s in found.spells] == [
        ("under-voltage", 0.0, None),
        ("throttled", 0.0, 5.0),
    ]
    assert "under-voltage from the start to the end at 51 °C" in found.words
