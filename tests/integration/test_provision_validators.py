"""The real validators on a card, where this machine has them, and the lines that they name."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edge_fer_firmware.boot.writing import write_folder
from edge_fer_firmware.checking import Validators, check
from edge_fer_firmware.checking.folder import open_folder
from edge_fer_firmware.findings import Finding
from edge_fer_firmware.loading import load
from edge_fer_firmware.planning import make_plan
from edge_fer_firmware.rendering import render

KIOSK = Path(__file__).resolve().parents[2] / "examples" / "kiosk.toml"
UNIT = "edge-fer/root/etc/systemd/system/edge-fer.service"


def needs(tool: str, package: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not shutil.which(tool), reason=f"no {tool}: apt install {package}")


def made(folder: Path, system: str) -> Path:
    loaded = load(KIOSK, {"board": "pi4", "system": system})
    write_folder(render(make_plan(loaded)), folder)
    return folder


@pytest.fixture
def card(tmp_path: Path) -> Path:
    return made(tmp_path / "card", "trixie")


def found(card: Path, tool: str) -> list[Finding]:
    """What one tool says; the others are not run."""
    name = tool.partition(" ")[0]
    tools = Validators(find=lambda asked: shutil.which(asked) if asked == name else None)
    return [f for f in check(card, validators=tools) if f.check.startswith(tool)]


def edit(path: Path, old: str, new: str) -> int:
    """Change a line, and say which."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return text[: text.index(old)].count("\n") + 1


@pytest.mark.parametrize("system", ["trixie", "bookworm"])
def test_none_of_them_has_a_problem_with_what_we_render(tmp_path: Path, system: str) -> None:
    said = check(made(tmp_path / "card", system), validators=Validators())
    assert [f for f in said if f.state == "problem"] == []


@needs("systemd-analyze", "systemd")
def test_systemd_knows_every_key_and_a_misspelt_one_is_found(card: Path) -> None:
    (good,) = found(card, "systemd-analyze verify")
    assert good.state == "ok"
    line = edit(card / "bootfs" / UNIT, "WatchdogSec=", "WatchdogSecs=")
    (bad,) = found(card, "systemd-analyze verify")
    assert (bad.state, bad.place) == ("problem", f"bootfs/{UNIT}:{line}")


@needs("systemd-analyze", "systemd")
def test_systemd_misses_a_program_that_the_card_has_to_bring(card: Path) -> None:
    edit(card / "bootfs" / UNIT, "[Service]", "[Service]\nExecStop=/usr/lib/edge-fer/gone")
    said = [f for f in found(card, "systemd-analyze verify") if f.state == "problem"]
    assert any("/usr/lib/edge-fer/gone" in f.message for f in said)


@needs("systemd-analyze", "systemd")
def test_the_service_is_well_shut_in_and_it_is_noticed_when_it_is_not(card: Path) -> None:
    said = {f.file.rpartition("/")[2]: f for f in found(card, "systemd-analyze security")}
    assert said["edge-fer.service"].state == "ok"
    path = card / "bootfs" / UNIT
    path.write_text("[Service]\nExecStart=/opt/edge-fer/bin/edge-fer run\n", encoding="utf-8")
    said = {f.file.rpartition("/")[2]: f for f in found(card, "systemd-analyze security")}
    assert said["edge-fer.service"].state == "problem"


def test_the_shell_finds_an_open_if(card: Path) -> None:
    path = card / "bootfs/edge-fer/install.sh"
    lines = path.read_text(encoding="utf-8").count("\n")
    path.write_text(path.read_text(encoding="utf-8") + "if true; then\n", encoding="utf-8")
    (bad,) = [f for f in found(card, "sh -n") if f.state == "problem"]
    assert bad.file == "bootfs/edge-fer/install.sh"
    assert bad.line > lines


@needs("shellcheck", "shellcheck")
def test_shellcheck_finds_it_too(card: Path) -> None:
    path = card / "bootfs/edge-fer/install.sh"
    path.write_text(path.read_text(encoding="utf-8") + "if true; then\n", encoding="utf-8")
    assert any(f.state == "problem" and f.line for f in found(card, "shellcheck"))


@needs("cloud-init", "cloud-init")
def test_cloud_init_reads_user_data(card: Path) -> None:
    user_data = card / "bootfs/user-data"
    line = edit(user_data, "hostname: ", "hostname: [")
    bad = found(card, "cloud-init schema")[0]
    assert (bad.file, bad.state in ("problem", "warning")) == ("bootfs/user-data", True)
    assert line <= bad.line <= line + 1


@needs("mkfs.vfat", "dosfstools mtools")
@needs("mcopy", "dosfstools mtools")
def test_a_card_fits_on_a_fat_partition(card: Path, tmp_path: Path) -> None:
    image = tmp_path / "boot.img"
    image.touch()
    with image.open("r+b") as file:
        file.truncate(64 << 20)
    folder = open_folder(card).boot
    for command in (
        ["mkfs.vfat", "-F", "32", "-n", "BOOTFS", str(image)],
        ["mcopy", "-s", "-i", str(image), *map(str, folder.iterdir()), "::"],
        ["fsck.vfat", "-n", str(image)],
    ):
        done = subprocess.run(command, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
