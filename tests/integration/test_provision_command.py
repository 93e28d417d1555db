"""``edge-fer provision``, as a person who flashes runs it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "examples" / "kiosk.toml"
CMDLINE = (
    "console=serial0,115200 console=tty1 root=PARTUUID=12345678-02 rootfstype=ext4 fsck.repair=yes "
    "rootwait resize\n"
)
CONFIG = "dtparam=audio=on\ncamera_auto_detect=1\n\n[cm4]\notg_mode=1\n\n[pi5]\ndtoverlay=nospi10\n"


def provision(*words: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", "edge_fer", "provision", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def bootfs(tmp_path: Path) -> Path:
    """What a freshly flashed card has, as far as we look at it."""
    folder = tmp_path / "bootfs"
    (folder / "overlays").mkdir(parents=True)
    (folder / "config.txt").write_text(CONFIG)
    (folder / "cmdline.txt").write_text(CMDLINE)
    (folder / "user-data").write_text("#cloud-config\n")
    (folder / "meta-data").write_text("dsmode: local\n")
    for name in ("kernel8.img", "kernel_2712.img", "bcm2711-rpi-4-b.dtb", "start4.elf"):
        (folder / name).write_bytes(b"\0")
    return folder


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize(("board", "system"), [("zero2w", "bookworm"), ("pi5", "trixie")])
def test_rendered_and_checked(tmp_path: Path, board: str, system: str) -> None:
    out = tmp_path / "out"
    provision("render", EXAMPLE, "--board", board, "--system", system, "-o", out)
    done = provision("check", out, "--no-validators", "--json")
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["schema"] == "edge-fer/provision-check/1"
    assert document["problems"] == 0, document["findings"]


def test_the_validators_of_this_machine_agree(tmp_path: Path) -> None:
    provision("render", EXAMPLE, "-o", tmp_path / "out")
    done = provision("check", tmp_path / "out")
    assert "problem" not in done.stdout


def test_into_a_card_and_again(bootfs: Path) -> None:
    provision("render", EXAMPLE, "--into", bootfs)
    once = tree(bootfs)
    assert once["config.txt"].decode().startswith(CONFIG)
    assert once["cmdline.txt"].decode().count("\n") == 1
    assert "root=PARTUUID=12345678-02" in once["cmdline.txt"].decode()
    assert "resize" not in once["cmdline.txt"].decode().split()
    provision("check", bootfs, "--no-validators")
    provision("render", EXAMPLE, "--into", bootfs)
    assert tree(bootfs) == once


def test_a_hand_edit_is_found_with_its_line(bootfs: Path) -> None:
    provision("render", EXAMPLE, "--into", bootfs)
    (bootfs / "cmdline.txt").write_text(CMDLINE + "quiet\n")
    done = provision("check", bootfs, "--no-validators", code=2)
    assert "cmdline.txt:2" in done.stdout


@pytest.mark.parametrize(
    ("change", "code", "says"),
    [
        (("pi4", "pi7"), 2, "kiosk.toml:3: board"),
        (("[host]", "[hots]"), 2, "Did you mean host?"),
        (('"picamera2:0', '"picamera3:0'), 2, "Did you mean picamera2?"),
        (('"expression"', '"missing.tflite"'), 5, "There is no model"),
        (('"expression"', '"bare.tflite"'), 5, "bare.tflite"),
        (('area = "exhibition"', 'area = "workplace"'), 2, "5(1)(f)"),
        (("data-partition", "overlay"), 2, "sqlite:"),
    ],
)
def test_bad_settings_leave_nothing(
    tmp_path: Path, change: tuple[str, str], code: int, says: str
) -> None:
    settings = tmp_path / "kiosk.toml"
    (tmp_path / "bare.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(64))
    text = EXAMPLE.read_text(encoding="utf-8")
    assert change[0] in text
    settings.write_text(text.replace(*change, 1), encoding="utf-8")
    done = provision("render", settings, "-o", tmp_path / "out", code=code)
    assert says in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_folder_that_is_no_boot_partition_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"meow")
    done = provision("render", EXAMPLE, "--into", tmp_path / "photos", code=2)
    assert "config.txt" in done.stderr
    assert tree(tmp_path / "photos") == {"cat.jpg": b"meow"}


def test_a_cmdline_of_two_lines_is_refused_untouched(bootfs: Path) -> None:
    (bootfs / "cmdline.txt").write_text(CMDLINE + "quiet\n")
    before = tree(bootfs)
    done = provision("render", EXAMPLE, "--into", bootfs, code=2)
    assert "cmdline.txt:2" in done.stderr
    assert tree(bootfs) == before


def test_render_says_what_it_wrote_and_warns(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = provision("render", EXAMPLE, "--board", "zero2w", "-o", out, "-v")
    written = [line for line in done.stderr.splitlines() if line.startswith(str(out))]
    assert sorted(written) == sorted(str(p) for p in out.rglob("*") if p.is_file())
    line = EXAMPLE.read_text(encoding="utf-8").split("\n").index("enabled = true") + 1
    assert f"Warning: {EXAMPLE}:{line}: " in done.stderr
    assert str(out / "notice.html") not in done.stdout
    folded = provision("check", out, "--no-validators").stdout.splitlines()
    unfolded = provision("check", out, "--no-validators", "-v").stdout.splitlines()
    assert len(unfolded) >= len(folded)
    assert not any(" files: " in text for text in unfolded)


def test_what_only_rendering_finds_has_its_line(tmp_path: Path) -> None:
    settings = tmp_path / "kiosk.toml"
    text = EXAMPLE.read_text(encoding="utf-8")
    url = 'enabled = true\nurl = "ftp://museum.example/"'
    settings.write_text(text.replace("enabled = true", url), encoding="utf-8")
    line = settings.read_text(encoding="utf-8").split("\n").index(url.split("\n")[1]) + 1
    done = provision("render", settings, "-o", tmp_path / "out", code=2)
    assert f"{settings}:{line}: kiosk.url: " in done.stderr
    home = ("sqlite:/var/lib/edge-fer/", "sqlite:/home/me/")
    settings.write_text(text.replace(*home), encoding="utf-8")
    line = next(n for n, row in enumerate(text.split("\n"), 1) if row.startswith("sinks"))
    done = provision("render", settings, "-o", tmp_path / "out", code=2)
    assert f"{settings}:{line}: run.sinks: " in done.stderr
    missing = tmp_path / "no.img"
    done = provision("render", EXAMPLE, "--image", missing, "-o", tmp_path / "out", code=2)
    assert "no.img cannot be read" in done.stderr
    assert "kiosk.toml" not in done.stderr


def test_where_to_must_be_said_once(tmp_path: Path) -> None:
    assert "--into" in provision("render", EXAMPLE, code=2).stderr
    provision("render", EXAMPLE, "-o", tmp_path / "a", "--into", tmp_path / "b", code=2)


def test_no_wheels_for_this_python(tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    done = provision(
        "render", EXAMPLE, "--wheels", tmp_path / "wheels", "-o", tmp_path / "out", code=2
    )
    assert "edge-fer provision wheels" in done.stderr
    assert not (tmp_path / "out").exists()


def test_pip_is_heard_with_v(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    words = ("wheels", "--system", "trixie", "-o", tmp_path / "wheels")
    assert "Looking in links" not in provision(*words, code=4).stderr
    assert "Looking in links" in provision(*words, "-v", code=4).stderr


@pytest.mark.parametrize("command", ["render", "check", "wheels"])
def test_help_has_an_example(command: str) -> None:
    assert "Example: edge-fer provision" in " ".join(provision(command, "--help").stdout.split())
