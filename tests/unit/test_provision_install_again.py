"""What an installation takes away, secrets and an earlier card, and what it says is missing."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import scratch_card
from scratch_card import FULL, Scratch


def bookworm(tmp_path: Path, **settings: object) -> Scratch:
    plan = scratch_card.plan("bookworm", storage="root", **settings)
    return Scratch(tmp_path, plan).with_wheels()


def with_sinks(**run: object) -> dict[str, Any]:
    return {"source": "synthetic", "sinks": ["sse://127.0.0.1:8765"], **run}


KINDS: dict[str, tuple[dict[str, Any], str]] = {
    "credential": ({"credentials": {"mqtt-password": "hunter2"}}, "hunter2"),
    "camera": ({"run": with_sinks(source="rtsp://me:hunter2@10.0.0.9/live")}, "hunter2"),
    "broker": ({"run": with_sinks(sinks=["mqtt://me:hunter2@10.0.0.9/x"])}, "hunter2"),
    "password": ({"user": FULL["user"]}, "$6$salt"),
    "wifi": (
        {"network": {"wifi": {"ssid": "net", "psk": "ab" * 32, "country": "DE"}}},
        "ab" * 32,
    ),
}


@pytest.mark.parametrize("system", ["trixie", "bookworm"])
@pytest.mark.parametrize("kind", KINDS)
def test_no_secret_is_left_on_the_boot_partition(tmp_path: Path, kind: str, system: str) -> None:
    settings, secret = KINDS[kind]
    card = Scratch(tmp_path, scratch_card.plan(system, storage="root", **settings)).with_wheels()

    def holding() -> list[Path]:
        files = [path for path in card.boot.rglob("*") if path.is_file()]
        return [path for path in files if secret.encode() in path.read_bytes()]

    assert holding()
    done = card.run("firstrun.sh" if system == "bookworm" else "edge-fer/install.sh")
    assert done.returncode == 0, card.log
    assert not holding()
    if kind in ("credential", "camera", "broker"):
        name = "credentials/mqtt-password" if kind == "credential" else "config.toml"
        kept = card.root / "etc/edge-fer" / name
        assert secret in kept.read_text()
        # By hand again: what was taken off the boot partition is still this card's.
        assert card.run("edge-fer/install.sh").returncode == 0, card.log
        assert secret in kept.read_text()
        assert not holding()


def test_settings_without_a_secret_stay_on_the_boot_partition(tmp_path: Path) -> None:
    card = Scratch(tmp_path, scratch_card.plan(storage="root", run=with_sinks())).with_wheels()
    assert card.run("edge-fer/install.sh").returncode == 0, card.log
    assert (card.boot / "edge-fer/root/etc/edge-fer/config.toml").exists()
    assert not (card.boot / "edge-fer/taken").exists()


def test_what_an_earlier_card_had_is_disabled_and_removed(tmp_path: Path) -> None:
    before = scratch_card.plan(
        storage="overlay", kiosk={"enabled": True}, run=with_sinks(),
        credentials={"mqtt-password": "hunter2", "other": "x"},
    )  # fmt: skip
    card = Scratch(tmp_path, before).with_wheels()
    assert card.run("edge-fer/install.sh").returncode == 0, card.log
    kiosk = card.root / "etc/systemd/system/edge-fer-kiosk.service"
    swap = card.root / "etc/rpi/swap.conf.d/60-edge-fer.conf"
    credentials = card.root / "etc/edge-fer/credentials"
    assert kiosk.exists()
    assert swap.read_text().endswith("[Main]\nMechanism=zram\n")
    (card.root / "etc/systemd/system/theirs.service").write_text("[Service]\n")
    assert "systemctl disable edge-fer-kiosk.service" not in card.called

    card.put(scratch_card.plan(storage="root", run=with_sinks(), credentials={"other": "y"}))
    card.with_wheels()
    assert card.run("edge-fer/install.sh").returncode == 0, card.log
    assert not kiosk.exists()
    assert not swap.exists()
    assert not (card.root / "usr/lib/edge-fer/overlay-init").exists()
    assert [path.name for path in credentials.iterdir()] == ["other"]
    assert (card.root / "etc/systemd/system/theirs.service").exists()
    assert (card.root / "etc/systemd/system/edge-fer.service").exists()
    assert "systemctl disable edge-fer-kiosk.service" in card.called
    assert "systemctl disable edge-fer.service" not in card.called
    assert "removing /etc/edge-fer/credentials/mqtt-password" in card.log
    listed = (card.root / "usr/lib/edge-fer/files").read_text().splitlines()
    assert "/etc/edge-fer/credentials/other" in listed
    assert not any("kiosk" in path for path in listed)


def test_wifi_that_is_no_longer_wanted_goes_on_bookworm(tmp_path: Path) -> None:
    card = bookworm(tmp_path, **FULL)
    connection = card.root / "etc/NetworkManager/system-connections/edge-fer.nmconnection"
    assert card.run("firstrun.sh").returncode == 0
    assert card.run("edge-fer/install.sh").returncode == 0, card.log
    assert connection.exists()
    theirs = connection.with_name("theirs.nmconnection")
    theirs.write_text("[connection]\n")
    card.put(scratch_card.plan("bookworm", storage="root"))
    card.with_wheels()
    assert card.run("firstrun.sh").returncode == 0
    assert "FAILED" not in card.log
    assert not connection.exists()
    assert theirs.exists()


def test_a_full_root_is_tried_again_at_the_next_boot(tmp_path: Path) -> None:
    card = bookworm(tmp_path)
    card.fake("cp", 'case $1 in *clock*) exit 1 ;; esac; exec /bin/cp "$@"')
    assert card.run("firstrun.sh").returncode == 0
    assert "FAILED: copying files" in card.log
    assert "systemctl enable edge-fer-install.service" in card.called
    assert (card.root / "etc/systemd/system/edge-fer-install.service").exists()
    assert "the next boot tries again" in card.log


def test_a_try_that_will_not_come_is_not_promised(tmp_path: Path) -> None:
    card = bookworm(tmp_path)
    card.fake("cp", "exit 1")
    card.fake("systemctl", '[ "$1" != is-enabled ]')
    assert card.run("firstrun.sh").returncode == 0
    assert "the next boot tries again" not in card.log
    assert "Run it again: sudo sh /boot/firmware/edge-fer/install.sh" in card.log


def test_what_the_system_lacks_is_said_and_the_rest_goes_on(tmp_path: Path) -> None:
    plan = scratch_card.plan(
        storage="root", kiosk={"enabled": True}, run=with_sinks(source="picamera2")
    )
    card = Scratch(tmp_path, plan).with_wheels()
    works = (card.bin / "python3").read_text()
    card.fake("python3", f'[ "$1" != -c ] || exit 1\n{works}')
    for name in ("chromium-browser", "seatd"):
        card.fake(name)
    done = card.run("edge-fer/install.sh")
    assert done.returncode == 0, card.log
    missing = [line for line in card.log.splitlines() if line.startswith("MISSING: ")]
    if not shutil.which("cage"):
        assert missing.pop(0).startswith("MISSING: cage, for the screen: sudo apt install cage ")
    assert missing == [
        "MISSING: python3-venv, to install the program: sudo apt install python3-venv",
        "MISSING: picamera2, for the camera: "
        "sudo apt install --no-install-recommends python3-picamera2",
    ]
    assert all(line in done.stdout for line in missing)
    console = (tmp_path / "console").read_text()
    assert "things are MISSING, see install.log" in console
    assert console.strip() in done.stdout


def test_a_system_that_has_everything_misses_nothing(tmp_path: Path) -> None:
    plan = scratch_card.plan(storage="root", run=with_sinks(source="picamera2"))
    card = Scratch(tmp_path, plan).with_wheels()
    done = card.run("edge-fer/install.sh")
    assert done.returncode == 0, card.log
    assert "MISSING" not in card.log + done.stdout
