"""Each check against machines that were made up for it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from stub_delegate import compiled_stand_in

from edge_fer.backends.coral import UDEV_RULES
from edge_fer.backends.fake import FakeBackend
from edge_fer.backends.probe import Probe
from edge_fer.cameras import open_camera
from edge_fer.cameras.fake import FakeCamera
from edge_fer.config import Settings
from edge_fer.detectors.fake import FakeDetector
from edge_fer.doctor import (
    board,
    cameras,
    coral,
    examine,
    models,
    rights,
    service,
    software,
    storage,
)
from edge_fer.doctor.aim import aim, grab, with_rotation
from edge_fer.doctor.findings import Finding, as_json, ok, problem, problems, warning
from edge_fer.doctor.machine import Answer, Machine, Space
from edge_fer.errors import CameraAway, DeviceError, MissingExtra, ModelError
from edge_fer.loaded import LoadedModel
from edge_fer.modelfile import embed
from edge_fer.models import load, shipped
from edge_fer.types import Box, Face, Frame

SETTINGS = Settings()
NOW = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
GB = 10**9


def machine(root: Path, **changes: Any) -> Machine:
    """A healthy 64-bit Pi of nobody in particular; ``files`` are written below its root."""
    for path, text in changes.pop("files", {}).items():
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    values: dict[str, Any] = {
        "root": root,
        "environment": {},
        "architecture": "aarch64",
        "bits": 64,
        "python": (3, 11, 2),
        "executable": "/venv/bin/python",
        "prefix": root / "venv",
        "page_size": 4096,
        "user": "kiosk",
        "groups": frozenset({"kiosk"}),
        "load": lambda name: cv2(),
        "version": {"ai-edge-litert": "2.3.0", "numpy": "2.4.6"}.get,
        "run": lambda words: None,
        "may": lambda path, mode: True,
        "space": lambda path: Space(free=20 * GB, total=32 * GB, read_only=False),
        "probe": lambda model: Probe(
            ok=False, reason="Not there.", remedy="Get it.", cause="no_library"
        ),
        "now": lambda: NOW,
    }
    return Machine(**{**values, **changes})


def versions(**found: str) -> Callable[[str], str | None]:
    return {name.replace("_", "-"): version for name, version in found.items()}.get


def refusing(name: str, error: Exception) -> Callable[[str], Any]:
    def load(module: str) -> Any:
        if module == name:
            raise error
        return SimpleNamespace()

    return load


def answering(answers: Mapping[str, Answer]) -> Callable[[Sequence[str]], Answer | None]:
    """By the program's name, or its first two words."""
    return lambda words: answers.get(" ".join(words[:2])) or answers.get(words[0])


def expect(finding: Finding, state: str, *words: str) -> None:
    assert finding.state == state, finding
    for word in words:
        assert word in f"{finding.message} {finding.remedy}", finding
    # What is wrong has a line that mends it; what is right needs none.
    assert bool(finding.remedy) == (state in ("warning", "problem"))
    assert finding.message.rstrip("'\"").endswith((".", ")")), finding


@pytest.mark.parametrize(
    ("changes", "state", "word"),
    [
        ({}, "ok", "3.11.2 on aarch64"),
        ({"python": (3, 13, 1)}, "ok", "3.13.1"),
        ({"python": (3, 9, 2)}, "problem", "bookworm"),
        ({"architecture": "armv7l", "bits": 32}, "problem", "64-bit Raspberry Pi OS"),
        ({"architecture": "armv6l", "bits": 32}, "problem", "32-bit"),
        ({"architecture": "aarch64", "bits": 32}, "problem", "32-bit"),
    ],
)
def test_python(tmp_path: Path, changes: dict[str, Any], state: str, word: str) -> None:
    expect(software.check_python(machine(tmp_path, **changes)), state, word)


@pytest.mark.parametrize(
    ("found", "state", "word"),
    [
        ({"ai_edge_litert": "2.3.0", "numpy": "2.4.6"}, "ok", "ai-edge-litert 2.3.0"),
        ({"tflite_runtime": "2.14.0", "numpy": "1.26.4"}, "ok", "tflite-runtime 2.14.0"),
        ({"tflite_runtime": "2.14.0", "numpy": "2.4.6"}, "problem", "constraints-tflite-runtime"),
        (
            {"ai_edge_litert": "2.3.0", "tflite_runtime": "2.14.0", "numpy": "2.4.6"},
            "warning",
            "pip uninstall tflite-runtime",
        ),
        ({"numpy": "2.4.6"}, "problem", "pip install"),
    ],
)
def test_runtime_and_its_numpy(
    tmp_path: Path, found: dict[str, str], state: str, word: str
) -> None:
    expect(software.check_runtime(machine(tmp_path, version=versions(**found))), state, word)


def test_a_runtime_that_cannot_be_loaded(tmp_path: Path) -> None:
    load = refusing("ai_edge_litert.interpreter", SystemError("bad\n  wheel"))
    expect(software.check_runtime(machine(tmp_path, load=load)), "problem", "(bad wheel)", "force")


def cv2(version: str = "4.11.0", *, cascade: bool = True, lacking: str = "") -> SimpleNamespace:
    rows = ("FFMPEG", "v4l/v4l2")
    text = "\n".join(f"    {row}:   {'NO' if row == lacking else 'YES'}" for row in rows)
    made = SimpleNamespace(__version__=version, getBuildInformation=lambda: text)
    if cascade:
        made.CascadeClassifier = object
    return made


@pytest.mark.parametrize(
    ("module", "state", "word"),
    [
        (cv2(), "ok", "4.11.0"),
        (cv2("5.0.0", cascade=False), "warning", "no CascadeClassifier"),
        (cv2("4.12.0"), "warning", "numpy 2.3"),
        (cv2(lacking="FFMPEG"), "warning", "RTSP"),
        (cv2(lacking="v4l/v4l2"), "warning", "USB cameras"),
    ],
)
def test_opencv(tmp_path: Path, module: SimpleNamespace, state: str, word: str) -> None:
    expect(software.check_opencv(machine(tmp_path, load=lambda name: module)), state, word)


def test_opencv_that_is_not_there_or_there_twice(tmp_path: Path) -> None:
    load = refusing("cv2", ImportError("libGL.so.1: cannot open"))
    expect(software.check_opencv(machine(tmp_path, load=load)), "problem", "libGL", "headless")
    both = versions(opencv_python="4.11", opencv_python_headless="4.11")
    found = software.check_opencv(machine(tmp_path, load=lambda name: cv2(), version=both))
    expect(found, "warning", "pip uninstall -y opencv-python-headless opencv-python")


@pytest.mark.parametrize(
    ("total", "free", "state"),
    [(8_000_000, 6_000_000, "ok"), (512_000, 150_000, "warning"), (350_000, 300_000, "warning")],
)
def test_memory(tmp_path: Path, total: int, free: int, state: str) -> None:
    files = {"proc/meminfo": f"MemTotal: {total} kB\nMemAvailable:   {free} kB\n"}
    expect(board.check_memory(machine(tmp_path, files=files)), state, "MB")


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    bare = machine(tmp_path)
    for check in (board.check_memory, board.check_heat, board.check_power):
        expect(check(bare), "not_applicable")
    expect(service.check_service(bare), "not_applicable", "systemd")
    expect(cameras.check_usb_cameras(bare), "not_applicable")
    expect(rights.check_groups(bare), "not_applicable")


def firmware(bits: str, celsius: str = "51.0") -> Callable[[Sequence[str]], Answer | None]:
    return answering(
        {
            "vcgencmd get_throttled": Answer(code=0, out=f"throttled={bits}\n"),
            "vcgencmd measure_temp": Answer(code=0, out=f"temp={celsius}'C\n"),
        }
    )


@pytest.mark.parametrize(
    ("bits", "celsius", "heat", "power"),
    [
        ("0x0", "51.0", ("ok", "51 °C"), ("ok", "never")),
        ("0x50005", "51.0", ("warning", "now: throttled"), ("problem", "power supply")),
        ("0x10000", "51.0", ("ok", "51 °C"), ("warning", "some time since boot")),
        ("0x80000", "60.0", ("warning", "since boot: soft temperature limit"), ("ok", "never")),
        ("0x0", "76.0", ("ok", "near the 80 °C"), ("ok", "never")),
        ("0x0", "82.5", ("warning", "heat sink"), ("ok", "never")),
    ],
)
def test_throttle_bits_in_words(
    tmp_path: Path, bits: str, celsius: str, heat: tuple[str, str], power: tuple[str, str]
) -> None:
    pi = machine(tmp_path, run=firmware(bits, celsius))
    expect(board.check_heat(pi), *heat)
    expect(board.check_power(pi), *power)


def test_the_kernels_temperature_without_firmware(tmp_path: Path) -> None:
    zone = "sys/class/thermal/thermal_zone0"
    files = {f"{zone}/type": "cpu-thermal\n", f"{zone}/temp": "48500\n"}
    expect(board.check_heat(machine(tmp_path, files=files)), "ok", "48 °C")


def test_the_clock(tmp_path: Path) -> None:
    expect(board.check_clock(machine(tmp_path)), "ok", "no real-time clock", "2026-11-21")
    past = machine(tmp_path, now=lambda: datetime(1970, 1, 1, 0, 5, tzinfo=UTC))
    expect(board.check_clock(past), "warning", "Not set", "fake-hwclock", "clock_ok: false")
    (tmp_path / "run/systemd/timesync").mkdir(parents=True)
    expect(board.check_clock(machine(tmp_path)), "warning", "not synchronised", "set-ntp")
    files = {"run/systemd/timesync/synchronized": "", "sys/class/rtc/rtc0/name": "rpi-rtc\n"}
    synced = machine(tmp_path, files=files)
    expect(board.check_clock(synced), "ok", "synchronised", "real-time clock rpi-rtc")


def test_the_time_zone(tmp_path: Path) -> None:
    expect(board.check_time_zone(machine(tmp_path)), "ok", "UTC")
    (tmp_path / "usr/share/zoneinfo/Europe").mkdir(parents=True)
    (tmp_path / "usr/share/zoneinfo/Europe/Berlin").touch()
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc/localtime").symlink_to("/usr/share/zoneinfo/Europe/Berlin")
    expect(board.check_time_zone(machine(tmp_path)), "ok", "Europe/Berlin")
    wrong = machine(tmp_path, environment={"TZ": "Europe/Atlantis"})
    expect(board.check_time_zone(wrong), "warning", "no time zone Europe/Atlantis", "set-timezone")


WEBCAM = {
    "sys/class/video4linux/video0/name": "HD Webcam\n",
    "sys/class/video4linux/video0/index": "0\n",
    "sys/devices/usb1/1-1/idVendor": "046d\n",
    "sys/devices/usb1/1-1/idProduct": "082d\n",
    "dev/video0": "",
}


def with_webcam(root: Path, **changes: Any) -> Machine:
    made = machine(root, files=WEBCAM, **changes)
    (root / "sys/devices/usb1/1-1/1-1:1.0").mkdir()
    (root / "sys/class/video4linux/video0/device").symlink_to(root / "sys/devices/usb1/1-1/1-1:1.0")
    return made


def test_usb_cameras_by_name(tmp_path: Path) -> None:
    found = with_webcam(tmp_path)
    expect(cameras.check_usb_cameras(found), "ok", "video0 HD Webcam")
    assert cameras.first_source(found) == str(tmp_path / "dev/video0")


def test_a_usb_camera_that_is_closed_to_us(tmp_path: Path) -> None:
    closed = with_webcam(tmp_path, may=lambda path, mode: False)
    expect(cameras.check_usb_cameras(closed), "problem", "usermod -aG video kiosk")


def test_a_usb_camera_that_a_container_hides(tmp_path: Path) -> None:
    found = with_webcam(tmp_path)
    (tmp_path / "dev/video0").unlink()
    expect(cameras.check_usb_cameras(found), "problem", "no node", "--device")


def test_a_pis_own_decoders_are_no_usb_cameras(tmp_path: Path) -> None:
    files = {"sys/class/video4linux/video10/name": "bcm2835-codec-decode\n", "dev/video10": ""}
    expect(cameras.check_usb_cameras(machine(tmp_path, files=files)), "not_applicable")
    assert cameras.first_source(machine(tmp_path)) is None


PI = {"proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0"}
SIZE_CHANGED = "ValueError: numpy.dtype size changed, may indicate binary incompatibility."


@pytest.mark.parametrize(
    ("answer", "state", "word"),
    [
        (Answer(code=0, out='a line of libcamera\n["imx708", "ov5647"]\n'), "ok", "picamera2:1 ov"),
        (Answer(code=0, out="[]\n"), "not_applicable", "no camera"),
        (Answer(code=1, out="", err=SIZE_CHANGED), "problem", 'pip install "numpy<2"'),
        (Answer(code=1, out="", err="ModuleNotFoundError: libcamera"), "problem", "apt install"),
        (None, "problem", "did not answer"),
    ],
)
def test_the_camera_module(tmp_path: Path, answer: Answer | None, state: str, word: str) -> None:
    found = machine(
        tmp_path,
        files=PI,
        version=versions(picamera2="0.3.31"),
        run=lambda words: answer if "picamera2" in words[-1] else None,
    )
    expect(cameras.check_camera_module(found), state, word)
    assert cameras.first_source(found) == ("picamera2:0" if state == "ok" else None)


def test_a_pi_without_picamera2_and_a_computer(tmp_path: Path) -> None:
    expect(cameras.check_camera_module(machine(tmp_path)), "not_applicable", "Raspberry Pi")
    found = cameras.check_camera_module(machine(tmp_path, files=PI))
    expect(found, "warning", "python3-picamera2", "--system-site-packages")


def test_a_virtual_environment_must_see_apts_packages_on_a_pi(tmp_path: Path) -> None:
    expect(cameras.check_venv(machine(tmp_path)), "ok", "system's Python")
    no = {"venv/pyvenv.cfg": "home = /usr/bin\ninclude-system-site-packages = false\n"}
    expect(cameras.check_venv(machine(tmp_path, files=no)), "ok", "without")
    expect(cameras.check_venv(machine(tmp_path, files=PI)), "warning", "--system-site-packages")
    yes = {"venv/pyvenv.cfg": "Include-System-Site-Packages = True\n"}
    expect(cameras.check_venv(machine(tmp_path, files=yes)), "ok", "with the system's")


def usb_coral(identity: str = "1a6e:089a") -> dict[str, str]:
    vendor, product = identity.split(":")
    device = "sys/bus/usb/devices/1-1"
    return {
        f"{device}/idVendor": vendor,
        f"{device}/idProduct": product,
        f"{device}/busnum": "1",
        f"{device}/devnum": "2",
        "dev/bus/usb/001/002": "",
    }


APEX = {
    "sys/bus/pci/devices/0000:01:00.0/vendor": "0x1ac1\n",
    "sys/bus/pci/devices/0000:01:00.0/device": "0x089a\n",
}


def test_groups(tmp_path: Path) -> None:
    files = {"etc/group": "video:x:44:kiosk\nplugdev:x:46:\n"}
    expect(rights.check_groups(machine(tmp_path, user="root")), "ok")
    late = rights.check_groups(machine(tmp_path, files=files))
    expect(late, "warning", "after this session began", "Log out")
    stranger = rights.check_groups(machine(tmp_path, user="guest"))
    expect(stranger, "warning", "usermod -aG video guest", "SupplementaryGroups=video")
    groups = frozenset({"kiosk", "video"})
    expect(rights.check_groups(machine(tmp_path, groups=groups)), "ok", "video")
    both = rights.check_groups(machine(tmp_path, groups=groups, files=usb_coral()))
    expect(both, "warning", "not in plugdev")


def test_no_coral_is_nothing_to_complain_about(tmp_path: Path) -> None:
    for check in (coral.check_coral, coral.check_udev, coral.check_delegate):
        expect(check(machine(tmp_path)), "not_applicable")
    idle = Probe(ok=False, reason="No.", remedy="Plug.", cause="no_device")
    expect(coral.check_delegate(machine(tmp_path, probe=lambda model: idle)), "not_applicable")


def test_a_coral_and_its_rights(tmp_path: Path) -> None:
    expect(coral.check_coral(machine(tmp_path, files=usb_coral())), "ok", "firmware", "1a6e:089a")
    closed = machine(tmp_path, may=lambda path, mode: False)
    expect(coral.check_coral(closed), "problem", "usermod -aG plugdev kiosk")
    (tmp_path / "dev/bus/usb/001/002").unlink()
    expect(coral.check_coral(machine(tmp_path)), "problem", "--device /dev/bus/usb")


def test_a_pcie_coral_without_its_driver(tmp_path: Path) -> None:
    expect(coral.check_coral(machine(tmp_path, files=APEX)), "problem", "gasket-dkms")
    expect(coral.check_udev(machine(tmp_path)), "problem", "apex")


@pytest.mark.parametrize("folder", ["etc/udev/rules.d", "lib/udev/rules.d"])
def test_udev_rules_for_both_identities(tmp_path: Path, folder: str) -> None:
    both = (
        'SUBSYSTEM=="usb", ATTRS{idVendor}=="1a6e", ATTRS{idProduct}=="089a", MODE="0660"\n'
        'SUBSYSTEM=="usb", ATTRS{idVendor}=="18d1", ATTRS{idProduct}=="9302", MODE="0660"\n'
    )
    one = both.splitlines()[0] + "\n#" + both.splitlines()[1]
    found = machine(tmp_path, files={**usb_coral(), f"{folder}/60-coral.rules": one})
    expect(coral.check_udev(found), "problem", "No rule names 18d1, 9302", "udevadm trigger")
    expect(coral.check_udev(machine(tmp_path, user="root")), "ok", "root")
    found = machine(tmp_path, files={f"{folder}/60-coral.rules": both})
    expect(coral.check_udev(found), "ok", "each identity")


def test_the_remedy_writes_the_rules(tmp_path: Path) -> None:
    """As a shell reads it, up to the part that needs root."""
    remedy = coral.check_udev(machine(tmp_path, files=usb_coral())).remedy
    printf, _, rest = remedy.partition(" | ")
    done = subprocess.run(["sh", "-c", printf], capture_output=True, text=True, check=True)
    assert tuple(done.stdout.splitlines()) == UDEV_RULES
    (tmp_path / "etc/udev/rules.d").mkdir(parents=True)
    (tmp_path / "etc/udev/rules.d/60-edge-fer-coral.rules").write_text(done.stdout)
    expect(coral.check_udev(machine(tmp_path)), "ok")
    assert rest.startswith("sudo tee /etc/udev/rules.d/60-edge-fer-coral.rules && ")


@pytest.mark.parametrize(
    ("cause", "state"),
    [
        ("crashed", "problem"),
        ("no_library", "problem"),
        ("no_permission", "problem"),
        ("refused", "warning"),
    ],
)
def test_the_delegate_with_a_coral_plugged_in(tmp_path: Path, cause: Any, state: str) -> None:
    probe = Probe(ok=False, reason="It does not.", remedy="Mend it.", cause=cause)
    found = machine(tmp_path, files=usb_coral(), probe=lambda model: probe)
    expect(coral.check_delegate(found), state, "It does not.", "Mend it.")
    found = machine(tmp_path, probe=lambda model: Probe(ok=True))
    expect(coral.check_delegate(found), "ok")


def test_the_delegate_is_tried_with_the_configured_models_compiled_file(tmp_path: Path) -> None:
    given: list[bytes | None] = []

    def probe(model: bytes | None) -> Probe:
        given.append(model)
        return Probe(ok=True)

    plain = shipped()["expression"]
    compiled = compiled_stand_in(load(str(plain)).flatbuffer)
    own = tmp_path / "own.tflite"
    own.write_bytes(plain.read_bytes())
    (tmp_path / "own.edgetpu.tflite").write_bytes(embed(compiled, load(str(plain)).contract))
    here = machine(tmp_path, files=usb_coral("18d1:9302"), probe=probe)
    expect(coral.check_delegate(here, SETTINGS), "ok", "no compiled model was tried")
    configured = SETTINGS.model_copy(update={"model": str(own)})
    expect(coral.check_delegate(here, configured), "ok", "ran the configured model")
    gone = SETTINGS.model_copy(update={"model": "no-such-model"})
    expect(coral.check_delegate(here, gone), "ok", "no compiled model")
    assert [model is not None for model in given] == [False, True, False]


def test_a_crash_is_a_problem_without_a_coral_too(tmp_path: Path) -> None:
    probe = Probe(ok=False, reason="SIGSEGV.", remedy="Other release.", cause="crashed")
    expect(coral.check_delegate(machine(tmp_path, probe=lambda model: probe)), "problem")


def test_the_page_size_matters_to_a_pcie_coral_only(tmp_path: Path) -> None:
    big = machine(tmp_path, page_size=16384)
    expect(coral.check_page_size(big), "ok", "16 KiB")
    expect(coral.check_page_size(machine(tmp_path, files=APEX)), "ok", "4 KiB")
    expect(coral.check_page_size(big), "warning", "kernel=kernel8.img")


def disk(free_mb: float, *, read_only: bool = False) -> Callable[[Path], Space]:
    return lambda path: Space(free=int(free_mb * 1e6), total=32 * GB, read_only=read_only)


@pytest.mark.parametrize(
    ("changes", "state", "word"),
    [
        ({}, "ok", "20000 MB free"),
        ({"space": disk(700)}, "warning", "du -xh"),
        ({"space": disk(20)}, "problem", "du -xh"),
        ({"space": disk(900, read_only=True)}, "problem", "remount,rw /"),
        ({"files": {"proc/mounts": "overlay / overlay rw 0 0\n"}}, "warning", "in memory"),
        (
            {"files": {"var/lib/edge-fer/x": ""}, "may": lambda path, mode: False},
            "warning",
            "chown -R kiosk",
        ),
    ],
)
def test_the_state_folder(tmp_path: Path, changes: dict[str, Any], state: str, word: str) -> None:
    found = storage.check_state_folder(machine(tmp_path, **changes), SETTINGS)
    expect(found, state, word, "var/lib/edge-fer")


def test_where_the_state_folder_is(tmp_path: Path) -> None:
    own = machine(tmp_path, environment={"STATE_DIRECTORY": "/var/lib/a:/var/lib/b"})
    assert storage.state_folder(own, None) == Path("/var/lib/a")
    stated = SETTINGS.model_copy(update={"state_file": "/data/state.json"})
    assert storage.state_folder(own, stated) == Path("/data")


def test_wear_of_an_sd_card(tmp_path: Path) -> None:
    expect(storage.check_card(machine(tmp_path), SETTINGS), "ok", "not run from an SD card")
    mounts = {"proc/mounts": "proc /proc proc rw 0 0\n/dev/mmcblk0p2 / ext4 rw,noatime 0 0\n"}
    card = machine(tmp_path, files=mounts)
    expect(storage.check_card(card, SETTINGS), "ok", "at most 50 MB a day")
    often = SETTINGS.model_copy(update={"commit_interval": 0.5})
    expect(storage.check_card(card, often), "warning", "commit_interval = 5.0")


@pytest.mark.parametrize(
    ("lines", "state", "word"),
    [
        ("LoadState=not-found\nActiveState=inactive", "not_applicable", "not installed"),
        ("LoadState=loaded\nActiveState=active\nSubState=running\nNRestarts=0", "ok", "running"),
        ("LoadState=loaded\nActiveState=active\nNRestarts=9", "warning", "started again 9 times"),
        ("LoadState=loaded\nActiveState=failed\nResult=watchdog", "problem", "watchdog"),
        ("LoadState=loaded\nActiveState=inactive\nSubState=dead", "warning", "enable --now"),
    ],
)
def test_the_service(tmp_path: Path, lines: str, state: str, word: str) -> None:
    run = answering({"systemctl": Answer(code=0, out=lines + "\n")})
    expect(service.check_service(machine(tmp_path, run=run)), state, word)


def test_the_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    found, settings = service.check_settings()
    expect(found, "ok", "expression")
    assert settings is not None
    (tmp_path / "edge-fer").mkdir()
    (tmp_path / "edge-fer/config.toml").write_text("sauce = 1\n")
    found, settings = service.check_settings()
    expect(found, "problem", "sauce", "Did you mean source")
    assert settings is None


def test_every_shipped_model_is_right_here() -> None:
    (found,) = models.check_models()
    expect(found, "ok", f"{len(shipped())} files", "golden vectors")


def test_the_configured_model_is_looked_at_too(tmp_path: Path) -> None:
    own = tmp_path / "own.tflite"
    own.write_bytes(shipped()["expression-nano"].read_bytes())
    (found,) = models.check_models(str(own), models={})
    expect(found, "ok", "1 file is", "golden vectors")
    (found,) = models.check_models("expresion", models={})
    expect(found, "problem", "expresion", "Did you mean expression")


def test_models_that_are_not_right_are_named(tmp_path: Path) -> None:
    name, path = next(iter(shipped().items()))
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(path.read_bytes()[:-100])
    (found,) = models.check_models(models={name: path, "cut": cut})
    expect(found, "problem", "cut off")
    assert found.name == "cut"

    def elsewhere(model: str) -> LoadedModel:
        raise MissingExtra("No runtime for models is installed.", "pip install ai-edge-litert")

    (found,) = models.check_models(models={"a": path, "b": path}, opened=elsewhere)
    expect(found, "problem", "No runtime")
    (found,) = models.check_models(models={})
    expect(found, "problem", "no models")


def test_a_model_that_computes_something_else_here() -> None:
    path = shipped()["expression"]
    file = load(str(path))

    def wrong(model: str) -> LoadedModel:
        from edge_fer.backends import open_backend

        real = open_backend("auto", file.flatbuffer)
        off = FakeBackend(real.input, real.outputs, lambda x: (real.run(x)[0] - np.int8(40),))
        return LoadedModel(file, off)

    (found,) = models.check_models(models={"expression": path}, opened=wrong)
    expect(found, "problem", "golden vectors")


def test_everything_at_once_and_a_check_that_fails_itself(tmp_path: Path) -> None:
    def broken(model: bytes | None) -> Probe:
        raise RuntimeError("out of luck")

    seen: list[str] = []
    findings, settings = examine(machine(tmp_path, probe=broken), seen.append)
    assert seen == list(findings)
    assert settings is not None
    (bad,) = [f for f in problems(findings) if "itself failed" in f.message]
    assert bad.name == "delegate"
    assert "RuntimeError: out of luck" in bad.message
    names = [f.name for group in findings.values() for f in group]
    assert len(names) == len(set(names))
    for group in findings.values():
        for finding in group:
            assert bool(finding.remedy) == (finding.state in ("warning", "problem"))


def test_the_document() -> None:
    findings = {
        "a": [ok("x", "Good.")],
        "b": [warning("y", "Hm.", "do"), problem("z", "No.", "do")],
    }
    document = as_json(findings)
    assert document["schema"] == "edge-fer/doctor/1"
    assert document["healthy"] is False
    assert document["counts"] == {"ok": 1, "warning": 1, "problem": 1, "not_applicable": 0}
    assert document["groups"]["b"][1] == {
        "name": "z",
        "state": "problem",
        "message": "No.",
        "remedy": "do",
    }
    assert document["camera"] is None
    assert as_json({"a": [ok("x", "Good.")]})["healthy"] is True
    json.dumps(document)


def test_this_machine_answers_every_question() -> None:
    here = Machine()
    assert here.bits in (32, 64)
    assert here.page_size >= 4096
    assert here.user
    assert here.groups
    assert here.version("numpy")
    assert here.version("no-such-distribution") is None
    assert here.run(["no-such-program"]) is None
    answer = here.run([here.executable, "-c", "import sys; sys.exit('no\\nlast')"])
    assert answer == Answer(code=1, out="", err="last")
    assert here.space(Path("/")).total > 0
    assert here.usable(Path(os.devnull))
    assert here.text("no/such/file") is None


# Through the camera.


@pytest.mark.parametrize(
    ("source", "further", "result"),
    [
        ("/dev/video0", 90, "/dev/video0?rotate=90"),
        ("/dev/video0?size=640x480", 180, "/dev/video0?size=640x480&rotate=180"),
        ("/dev/video0?rotate=90&fps=5", 270, "/dev/video0?fps=5"),
        ("/dev/video0?rotate=270", 180, "/dev/video0?rotate=90"),
        ("/dev/video0?mirror=1", 90, "/dev/video0?mirror=1&rotate=270"),
        ("/dev/video0", 0, "/dev/video0"),
        ("rtsp://host/path?token=a%2Fb&rotate=90", 90, "rtsp://host/path?token=a%2Fb&rotate=180"),
        ("http://host/?action", 90, "http://host/?action&rotate=90"),
    ],
)
def test_the_address_with_another_turn(source: str, further: Any, result: str) -> None:
    assert with_rotation(source, further) == result


def picture(sequence: int) -> Frame:
    """White in its upper left quarter."""
    luma = np.full((60, 80), 60, np.uint8)
    luma[:30, :40] = np.random.default_rng(sequence).integers(100, 255, (30, 40), np.uint8)
    return Frame(
        luma=luma, colour=None, t_ns=sequence * 100_000_000, sequence=sequence, source="fake"
    )


def where_white_is(corner: str) -> Callable[[Frame], tuple[Face, ...]]:
    """Faces stand upright: the white is then in that corner."""

    def find(frame: Frame) -> tuple[Face, ...]:
        h, w = frame.luma.shape
        half = frame.luma[: h // 2] if "top" in corner else frame.luma[h // 2 :]
        part = half[:, : w // 2] if "left" in corner else half[:, w // 2 :]
        found = bool(part.mean() > 120)
        return (Face(box=Box(x=w / 4, y=h / 4, w=w / 2, h=h / 2), score=0.9),) * found

    return find


@pytest.mark.parametrize(
    ("corner", "turn"),
    [("top left", 0), ("top right", 90), ("bottom right", 180), ("bottom left", 270)],
)
def test_the_turn_that_finds_faces_is_advised(corner: str, turn: int) -> None:
    steps: list[None] = []
    view = aim(
        FakeCamera([picture(n) for n in range(6)]),
        FakeDetector(where_white_is(corner)),
        load("expression").contract,
        source="/dev/video0",
        min_side=10.0,
        frames=5,
        on_step=lambda: steps.append(None),
    )
    assert [look.frames for look in view.looks] == [5 * (t == turn) for t in (0, 90, 180, 270)]
    assert view.best.rotate == turn
    assert view.advised == ("/dev/video0" if turn == 0 else f"/dev/video0?rotate={turn}")
    assert (view.frames, len(steps), view.fps) == (5, 20, None)
    size = 40 if turn in (0, 180) else 30
    assert view.best.size == pytest.approx(size, abs=20)
    findings = {f.name: f for f in view.findings()}
    expect(findings["rotation"], "ok" if turn == 0 else "warning", "5 of 5")
    if turn:
        assert f"?rotate={turn}" in findings["rotation"].remedy
    json.dumps(view.to_json(), allow_nan=False)


def test_no_faces_and_small_faces() -> None:
    contract = load("expression").contract
    nobody = aim(
        FakeCamera([picture(0)]),
        FakeDetector(lambda frame: ()),
        contract,
        source="x",
        min_side=10.0,
    )
    assert nobody.advised is None
    assert nobody.fps is None
    expect(nobody.findings()[-1], "warning", "No face in 1 pictures", "Stand in front")
    small = aim(
        FakeCamera([picture(n) for n in range(3)]),
        FakeDetector(where_white_is("top left")),
        contract,
        source="x",
        min_side=500.0,
    )
    expect(small.findings()[-1], "warning", "too small in 3 of 3", "Come nearer")


def test_two_turns_that_are_as_good_are_not_told_apart() -> None:
    upright = where_white_is("top left")
    upside = where_white_is("bottom right")
    view = aim(
        FakeCamera([picture(n) for n in range(3)]),
        FakeDetector(lambda frame: upright(frame) or upside(frame)),
        load("expression").contract,
        source="/dev/video0",
        min_side=10.0,
    )
    assert view.advised == "/dev/video0"
    rotation = next(f for f in view.findings() if f.name == "rotation")
    expect(rotation, "warning", "turned by 0 and by 180 degrees alike", "--annotate")


def test_a_live_camera_tells_its_rate() -> None:
    with closing(open_camera("synthetic?fps=50&size=320x240")) as camera:
        view = aim(
            camera,
            FakeDetector(lambda frame: ()),
            load("expression").contract,
            source="synthetic?fps=50",
            min_side=10.0,
            frames=5,
        )
    assert view.fps is not None
    assert 0 < view.fps < 100
    assert "frames a second" in view.findings()[0].message


def test_a_camera_that_gives_nothing() -> None:
    with pytest.raises(DeviceError, match="no picture"):
        aim(
            FakeCamera([]),
            FakeDetector(lambda frame: ()),
            load("expression").contract,
            source="/dev/video9",
            min_side=10.0,
        )


class Hesitant:
    """Away so many times between one picture and the next."""

    def __init__(self, away: int) -> None:
        self.away, self.left = away, away

    def read(self) -> Frame:
        if self.left:
            self.left -= 1
            raise CameraAway("It gives nothing.", "Wait.")
        self.left = self.away
        return picture(0)

    def close(self) -> None:
        pass


def test_a_live_camera_may_be_away_for_a_while_but_not_for_good() -> None:
    seconds = iter(range(10_000))
    assert len(grab(Hesitant(3), 4, patience=10, clock=lambda: next(seconds))) == 4
    with pytest.raises(CameraAway):
        grab(Hesitant(50), 4, patience=10, clock=lambda: next(seconds))


def test_pictures_are_kept_without_colour_and_are_our_own() -> None:
    luma = np.zeros((8, 8), np.uint8)
    colour = np.zeros((8, 8, 3), np.uint8)
    frame = Frame(luma=luma, colour=colour, t_ns=0, sequence=0, source="x")
    (kept,) = grab(FakeCamera([frame]), 1)
    assert kept.colour is None
    assert not np.shares_memory(kept.luma, luma)


def test_what_models_raise_has_always_a_remedy() -> None:
    def mute(model: str) -> LoadedModel:
        raise ModelError("Broken.")

    (found,) = models.check_models(models={"a": shipped()["expression"]}, opened=mute)
    expect(found, "problem", "pip install")
