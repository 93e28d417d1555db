"""What we render passes our own check: every board and system, beside an image and merged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from card_folders import PI_CMDLINE, PI_CONFIG
from card_plans import plan

from edge_fer_firmware.boot.writing import write_folder, write_into
from edge_fer_firmware.carded import PAYLOAD, ROOT, Card
from edge_fer_firmware.checking import check
from edge_fer_firmware.facts import boards, systems
from edge_fer_firmware.findings import Finding
from edge_fer_firmware.loading import load
from edge_fer_firmware.planning import make_plan
from edge_fer_firmware.rendering import render

KIOSK = Path(__file__).resolve().parents[2] / "examples" / "kiosk.toml"
HASH = "$6$saltsalt$" + "qU0ck/br0wn." * 7 + "ab"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ2hQ4mE6fDkqQ7xqQz3T0dJ2mQ0cZ7z1x1H0p9v5k8s me@home"
USES: dict[str, dict[str, Any]] = {
    "Wi-Fi and a key": {
        "user": {"ssh_keys": [KEY]},
        "network": {
            "ssh": True,
            "wifi": {"ssid": "museum", "psk": "correct horse", "country": "DE"},
        },
    },
    "MQTT": {
        "network": {"ethernet": True},
        "run": {"source": "picamera2:0", "sinks": ["mqtts://broker.example/faces"]},
        "service": {"credentials": {"mqtt-password": "secret.txt"}},
        "credentials": {"mqtt-password": "sesame"},
    },
    "password": {
        "user": {"password_hash": HASH, "ssh_keys": [KEY]},
        "network": {"ssh": True, "ethernet": True},
    },
    "overlay": {"storage": "overlay", "run": {"source": "picamera2:0"}},
    "root": {"storage": "root"},
    "USB": {"run": {"source": "usb:0"}, "coral": {"usb": True}},
    "RTSP": {"network": {"ethernet": True}, "run": {"source": "rtsp://192.168.1.5/a"}},
}


def both(tmp_path: Path, card: Card, system: str) -> list[list[Finding]]:
    """What is said about a card in a folder of its own, and about one on an image."""
    out, boot = tmp_path / "out", tmp_path / "boot"
    write_folder(card, out)
    (boot / "overlays").mkdir(parents=True)
    for name in ("vc4-kms-v3d", "pcie-32bit-dma-pi5"):
        (boot / f"overlays/{name}.dtbo").write_bytes(b"overlay")
    (boot / "kernel8.img").write_bytes(b"kernel")
    (boot / "start4.elf").write_bytes(b"firmware")
    (boot / "config.txt").write_text(PI_CONFIG)
    growing = " init=/usr/lib/raspberrypi-sys-mods/firstboot"
    if system == "trixie":
        growing = " resize"
        (boot / "user-data").write_text("#cloud-config\n")
        (boot / "meta-data").write_text("dsmode: local\ninstance_id: rpios-image\n")
    (boot / "cmdline.txt").write_text(PI_CMDLINE.strip() + growing + "\n")
    write_into(card, boot)
    return [[f for f in check(x) if f.state in ("problem", "warning")] for x in (out, boot)]


@pytest.mark.parametrize("system", systems())
@pytest.mark.parametrize("board", boards())
def test_nothing_is_wrong_with_what_we_render(tmp_path: Path, board: str, system: str) -> None:
    card = render(make_plan(load(KIOSK, {"board": board, "system": system})))
    for said in both(tmp_path, card, system):
        # That a browser fits into the smallest board nobody has tried.
        less = ["memory"] if board == "zero2w" else []
        assert [f.check for f in said] == [*less, "wheels", "image"], said


@pytest.mark.parametrize("system", systems())
@pytest.mark.parametrize("use", USES)
def test_nothing_is_wrong_with_what_people_want(tmp_path: Path, use: str, system: str) -> None:
    card = render(plan(system=system, **USES[use]))
    for said in both(tmp_path, card, system):
        assert [f for f in said if f.state == "problem"] == []


@pytest.mark.parametrize("system", systems())
def test_what_the_first_boot_took_off_the_card_is_not_missed(tmp_path: Path, system: str) -> None:
    made = plan(
        system=system,
        network={"ethernet": True},
        run={
            "source": "rtsp://me:hunter2@192.168.1.5/a",
            "sinks": ["mqtts://broker.example/faces"],
        },
        service={"credentials": {"mqtt-password": "secret.txt"}},
        credentials={"mqtt-password": "sesame"},
    )
    card = render(made)
    write_folder(card, tmp_path / "out")
    boot = tmp_path / "out" / "bootfs"
    taken = [f.path for f in card.boot if f.secret and f.path.startswith(f"{ROOT}/")]
    assert len(taken) == 2
    for path in taken:
        (boot / path).unlink()

    def problems() -> list[Finding]:
        return [f for f in check(tmp_path / "out") if f.state == "problem"]

    assert problems()
    # As install.sh leaves it.
    lines = "".join(f"{path.removeprefix(ROOT)}\n" for path in taken)
    (boot / PAYLOAD / "taken").write_text(lines)
    (boot / PAYLOAD / "install.log").write_text("done\n")
    if system == "bookworm":
        (boot / "firstrun.sh").unlink()
        line = tmp_path / "out" / "fragments" / "cmdline.txt"
        kept = [word for word in line.read_text().split() if not word.startswith("systemd.")]
        line.write_text(" ".join(kept) + "\n")
    assert problems() == []
