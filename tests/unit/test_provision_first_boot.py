"""What the first boot is told: by cloud-init on trixie, by firstrun.sh on bookworm."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import scratch_card
import yaml

from edge_fer_firmware import first_boot
from edge_fer_firmware.boot import cmdline
from edge_fer_firmware.first_boot.wifi import key_of, keyfile_ssid
from edge_fer_firmware.plan import Plan
from edge_fer_firmware.settings import Wifi

# IEEE 802.11i-2004, H.4.2, test vectors 1 and 2.
VECTORS = {
    ("IEEE", "password"): "f42c6fc52df0ebef9ebb4b90b38a5f902e83fe1b135a70e23aed762e9710a12e",
    (
        "ThisIsASSID",
        "ThisIsAPassword",
    ): "0dc0d6eb90555ed6419756b9a15ec3e3209b63df707dd508d14581f8982721af",
}


def loaded(card: Plan, path: str) -> Any:
    return yaml.safe_load(scratch_card.text(card, path))


@pytest.mark.parametrize(("ssid", "psk"), VECTORS)
def test_key_of_a_network_is_the_standards(ssid: str, psk: str) -> None:
    assert key_of(Wifi(ssid=ssid, psk=psk, country="DE")) == VECTORS[ssid, psk]


def test_key_that_is_one_already_stays_and_an_open_network_has_none() -> None:
    assert key_of(Wifi(ssid="x", psk="AB" * 32, country="DE")) == "ab" * 32
    assert key_of(Wifi(ssid="x", country="DE")) == ""


def test_networks_name_as_bytes() -> None:
    assert keyfile_ssid("a;é") == "97;59;195;169;"


def test_safe_by_default() -> None:
    card = scratch_card.plan()
    user_data = loaded(card, "user-data")
    assert scratch_card.text(card, "user-data").startswith("#cloud-config\n")
    (user,) = user_data["users"]
    assert user["lock_passwd"] is True
    assert "hashed_passwd" not in user
    assert "sudo" not in user
    assert "sudo" not in user["groups"]
    assert user_data["ssh_pwauth"] is False
    assert user_data["package_upgrade"] is False
    assert user_data["runcmd"][0] == ["systemctl", "disable", "--now", "ssh.service"]
    assert loaded(card, "network-config") == {"network": {"version": 2}}
    assert "unmanaged-devices=type:ethernet" in scratch_card.root_text(
        card, "/etc/NetworkManager/conf.d/edge-fer.conf"
    )


def test_user_with_everything() -> None:
    card = scratch_card.plan(**scratch_card.FULL)
    user_data = loaded(card, "user-data")
    (user,) = user_data["users"]
    assert user["hashed_passwd"] == scratch_card.FULL["user"]["password_hash"]
    assert user["lock_passwd"] is False
    assert user["sudo"] == "ALL=(ALL) ALL"
    assert user["ssh_authorized_keys"] == scratch_card.FULL["user"]["ssh_keys"]
    assert user_data["ssh_pwauth"] is False
    assert user_data["runcmd"][0][1] == "enable"
    network = loaded(card, "network-config")["network"]
    assert network["ethernets"] == {"eth0": {"dhcp4": True, "optional": True}}
    radio = network["wifis"]["wlan0"]
    assert radio["regulatory-domain"] == "DE"
    (point,) = radio["access-points"].items()
    assert point[0] == 'My "net" é'
    assert point[1]["hidden"] is True
    assert len(point[1]["password"]) == 64


def test_key_alone_gives_no_password_to_ask_for() -> None:
    card = scratch_card.plan(user={"ssh_keys": ["ssh-ed25519 AAAA me"]})
    (user,) = loaded(card, "user-data")["users"]
    assert user["sudo"] == "ALL=(ALL) NOPASSWD:ALL"
    assert user["lock_passwd"] is True


def test_password_over_ssh_only_where_both_are_wanted() -> None:
    both = scratch_card.plan(network={"ssh": True, "ssh_password": True})
    alone = scratch_card.plan(network={"ssh_password": True})
    assert loaded(both, "user-data")["ssh_pwauth"] is True
    assert loaded(alone, "user-data")["ssh_pwauth"] is False


def test_open_network_is_written_as_one() -> None:
    card = scratch_card.plan(network={"wifi": {"ssid": "cafe: #1", "country": "FR"}})
    points = loaded(card, "network-config")["network"]["wifis"]["wlan0"]["access-points"]
    assert points == {"cafe: #1": {}}
    assert not any(file.secret for file in first_boot.files(card))


@pytest.mark.parametrize("storage", ["data-partition", "overlay", "root"])
def test_root_grows_only_where_the_rest_of_the_card_is_free(storage: str) -> None:
    card = scratch_card.plan(storage=storage)
    kept = storage == "data-partition"
    assert loaded(card, "user-data").get("growpart") == ({"mode": "off"} if kept else None)
    _, gone = first_boot.cmdline(card)
    assert ("resize" in gone) is kept
    assert ("init=/usr/lib/raspberrypi-sys-mods/firstboot" in gone) is kept
    assert "init=/usr/lib/edge-fer/overlay-init" in gone
    assert "edge-fer.overlay=off" in gone


def test_another_rendering_is_another_instance_for_cloud_init() -> None:
    cards = [
        scratch_card.plan(),
        scratch_card.plan(host={"name": "other"}),
        scratch_card.plan(credentials={"mqtt-password": "a"}),
        scratch_card.plan(credentials={"mqtt-password": "b"}),
        scratch_card.plan(models=(scratch_card.model(),)),
        scratch_card.plan(run={"source": "/dev/video0"}),
    ]
    metas = [loaded(card, "meta-data") for card in cards]
    assert all(set(meta) == {"dsmode", "instance-id"} for meta in metas)
    assert metas[0]["dsmode"] == "local"
    assert len({meta["instance-id"] for meta in metas}) == len(cards)
    assert loaded(scratch_card.plan(), "meta-data") == metas[0]


def test_the_instance_is_ours_whatever_the_imager_left_on_the_kernels_line() -> None:
    text = "root=x ds=nocloud;i=rpi-imager-1700000000 quiet cloud-init=disabled\n"
    assert cmdline.merge(text, *first_boot.cmdline(scratch_card.plan())) == "root=x quiet\n"


def test_kernel_starts_firstrun_where_bookworm_keeps_it() -> None:
    add, gone = first_boot.cmdline(scratch_card.plan("bookworm", **scratch_card.FULL))
    assert add == (
        "cfg80211.ieee80211_regdom=DE",
        "systemd.run=/boot/firmware/firstrun.sh",
        "systemd.run_success_action=reboot",
        "systemd.unit=kernel-command-line.target",
    )
    assert not set(add) & set(gone)


def test_one_mechanism_each() -> None:
    names = {
        system: {file.path for file in first_boot.files(scratch_card.plan(system))}
        for system in ("trixie", "bookworm")
    }
    swap = "edge-fer/root/etc/rpi/swap.conf.d/60-edge-fer.conf"
    own = {"user-data", "network-config", "meta-data", swap}
    assert names["trixie"] - names["bookworm"] == own
    assert names["bookworm"] - names["trixie"] == {"firstrun.sh"}


@pytest.mark.parametrize("system", ["trixie", "bookworm"])
def test_secrets_stand_in_files_that_are_marked(system: str) -> None:
    card = scratch_card.plan(
        system, **scratch_card.FULL, credentials={"mqtt-password": "hunter2hunter2"}
    )
    assert card.settings.network.wifi is not None
    key = key_of(card.settings.network.wifi)
    marked = set()
    for file in first_boot.files(card):
        assert isinstance(file.content, bytes)
        content = file.content.decode()
        assert "passphrase" not in content
        if any(secret in content for secret in (key, "$6$salt", "hunter2")):
            marked.add(file.path)
            assert file.secret, file.path
    assert "edge-fer/root/etc/edge-fer/credentials/mqtt-password" in marked
    assert len(marked) == (3 if system == "trixie" else 2)


COMBINATIONS = [
    *itertools.product(
        ["trixie", "bookworm"], ["data-partition", "overlay", "root"], [scratch_card.FULL]
    ),
    ("trixie", "root", {}),
    ("bookworm", "root", {}),
]


@pytest.mark.parametrize(("system", "storage", "more"), COMBINATIONS)
def test_every_script_is_one_for_dash(system: str, storage: str, more: dict[str, Any]) -> None:
    scripts = [
        file.content
        for file in first_boot.files(scratch_card.plan(system, storage=storage, **more))
        if file.executable
    ]
    assert len(scripts) >= 3
    for script in scripts:
        assert isinstance(script, bytes)
        assert script.startswith(b"#!/bin/sh\n")
        assert b"\r" not in script
        done = subprocess.run(["sh", "-n"], input=script, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")


def test_scripts_please_shellcheck(tmp_path: Path) -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed: apt install shellcheck")
    scripts = []
    run = {"source": "picamera2", "sinks": ["sse://127.0.0.1:8765", "mqtt://u:p@10.0.0.9/x"]}
    for system in ("trixie", "bookworm"):
        more = {**scratch_card.FULL, "kiosk": {"enabled": True}, "run": run}
        for file in first_boot.files(scratch_card.plan(system, **more)):
            if file.executable:
                assert isinstance(file.content, bytes)
                scripts.append(tmp_path / f"{system}-{Path(file.path).name}")
                scripts[-1].write_bytes(file.content)
    # Functions that are called by their names, $ that is meant, and $? where -e has to hold.
    meant = "SC2016,SC2181,SC2317,SC2329"
    done = subprocess.run(
        ["shellcheck", "-s", "sh", "-e", meant, "-f", "gcc", *scripts],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stdout == ""


@pytest.mark.parametrize("more", [{}, scratch_card.FULL])
def test_user_data_pleases_cloud_init(tmp_path: Path, more: dict[str, Any]) -> None:
    program = shutil.which("cloud-init")
    if program is None:
        pytest.skip("cloud-init is not installed: apt install cloud-init (trixie's, 25.1)")
    file = tmp_path / "user-data"
    file.write_text(scratch_card.text(scratch_card.plan(**more), "user-data"))
    done = subprocess.run(
        [program, "schema", "--config-file", file], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_file_has_a_name_that_fat_cannot_hold() -> None:
    for system, storage, more in COMBINATIONS:
        for file in first_boot.files(scratch_card.plan(system, storage=storage, **more)):
            assert not set(file.path) & set('\\:*?"<>|')
