"""Cards for Debian 13 under its own validators, which are stricter than those of Debian 12."""

from __future__ import annotations

from pathlib import Path

import pytest
from needs import ROOT, rendered, run_script, workplace

TOOLS = {"mmdebstrap": "mmdebstrap", "unshare": "util-linux"}
# All that goes into user-data and network-config: a person, a radio, a socket.
MORE = """
board = "pi5"
system = "trixie"
storage = "root"
[host]
name = "lobby"
keyboard = "de"
[user]
name = "ada"
password_hash = "{password}"
ssh_keys = ["ssh-ed25519 {key} ada@desk"]
[network]
ethernet = true
ssh = true
[network.wifi]
ssid = "Ada's: net #1"
psk = "correct horse: battery"
country = "DE"
hidden = true
[run]
source = "/dev/video0"
[deployment]
operator = "Ada, ada@example.org"
purpose = "Tries it."
area = "research"
[deployment.notice]
en = "A camera here looks at faces."
"""
RULES = "/card/edge-fer/root/etc/udev/rules.d"
PASSWORD = "$6$saltsalt$" + 86 * "a"
KEY = "AAAAC3NzaC1lZDI1NTE5AAAAI" + 43 * "A"
SCHEMA = ("cloud-init", "schema", "--config-file")
NETWORK = ("cloud-init", "schema", "--schema-type", "network-config", "--config-file")


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return workplace(tmp_path_factory.mktemp("trixie"), TOOLS, lane="device")


@pytest.fixture(scope="module", params=["kiosk", "more"])
def card(
    request: pytest.FixtureRequest, work: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    settings = ROOT / "examples" / "kiosk.toml"
    if request.param == "more":
        settings = folder / "more.toml"
        settings.write_text(MORE.format(password=PASSWORD, key=KEY))
    return rendered(folder / "card", settings)


def test_cloud_init_takes_it(work: Path, card: Path) -> None:
    for command, name in ((SCHEMA, "user-data"), (NETWORK, "network-config")):
        code, said = run_script("trixie.sh", work, card, *command, f"/card/{name}")
        assert code == 0, said
        assert "Valid schema" in said


def test_udev_takes_it(work: Path, card: Path) -> None:
    code, said = run_script("trixie.sh", work, card, "udevadm", "verify", RULES)
    assert code == 0, said
    assert "Fail:    0" in said
    # Groups that are not there are not counted as failures.
    assert "ignoring" not in said


def test_they_refuse_what_is_wrong(work: Path, tmp_path: Path) -> None:
    (tmp_path / "user-data").write_text("#cloud-config\nhostnme: lobby\n")
    (tmp_path / "network-config").write_text("network: {version: 2, wifi: {wlan0: {}}}\n")
    (tmp_path / "60-wrong.rules").write_text('SUBSYSTEM=="usb", MODE="0660", GRUOP="plugdev"\n')
    for *command, name, word in (
        (*SCHEMA, "user-data", "hostnme"),
        (*NETWORK, "network-config", "wifi"),
        ("udevadm", "verify", "60-wrong.rules", "GRUOP"),
    ):
        code, said = run_script("trixie.sh", work, tmp_path, *command, f"/card/{name}")
        assert code != 0, said
        assert word in said
