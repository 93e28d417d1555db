"""What the check says about user-data, network-config, meta-data and firstrun.sh."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from card_folders import FIRSTRUN, USER_DATA, Folder

from edge_fer_firmware.checking import check

HASHES = {
    # openssl passwd -6 -salt abcdefgh raspberry, and of a long random word.
    "raspberry": "$6$abcdefgh$RASPBERRY",
    "strong": "$6$abcdefgh$STRONG",
}


def crypt(word: str, setting: str) -> str:
    """A libcrypt that knows one password."""
    return HASHES["raspberry"] if word == "raspberry" else "$6$abcdefgh$other"


def with_user_data(tmp_path: Path, text: str, **settings: Any) -> Folder:
    card = Folder(tmp_path, **settings)
    card.write("user-data", text, 0o600)
    card.sign()
    return card


def test_a_line_that_is_no_yaml(tmp_path: Path) -> None:
    card = with_user_data(tmp_path, "#cloud-config\nhostname: [kiosk\nusers: 3\n")
    assert card.problem("user-data", "not YAML").line == 3


def test_a_tab(tmp_path: Path) -> None:
    card = with_user_data(tmp_path, "#cloud-config\nusers:\n\t- name: edge\n")
    assert card.problem("user-data", "not YAML").line == 3


def test_the_first_line(tmp_path: Path) -> None:
    card = with_user_data(tmp_path, USER_DATA.replace("#cloud-config", "# cloud config"))
    assert card.problem("user-data", "first line").line == 1


def test_a_list_instead_of_keys(tmp_path: Path) -> None:
    card = with_user_data(tmp_path, "#cloud-config\n- hostname\n")
    assert card.problem("user-data", "no keys").line == 1


def test_enable_ssh(tmp_path: Path) -> None:
    card = with_user_data(tmp_path, f"{USER_DATA}enable_ssh: true\n")
    found = card.problem("user-data", "ignores enable_ssh")
    assert found.line == 8
    # Nobody is told to do what their settings do not want.
    assert found.remedy == "Take it out: the settings say ssh = false."
    card = Folder(tmp_path, network={"ssh": True})
    card.write("user-data", f"{USER_DATA}enable_ssh: true\n")
    found = card.problem("user-data", "ignores enable_ssh")
    assert "systemctl, enable, --now, ssh" in found.remedy


@pytest.mark.parametrize("command", ["[systemctl, enable, --now, ssh]", "raspi-config do_ssh 0"])
def test_ssh_that_the_settings_do_not_want(tmp_path: Path, command: str) -> None:
    text = USER_DATA.replace("runcmd: [", f"runcmd: [{command}, ")
    card = with_user_data(tmp_path, text)
    assert card.problem("user-data", "ssh = false").line == 6
    wanted = Folder(tmp_path, network={"ssh": True}, user={"ssh_keys": ["ssh-ed25519 AAAA"]})
    wanted.write("user-data", text)
    wanted.sign()
    assert wanted.said() == []


def test_a_user_data_that_installs_nothing(tmp_path: Path) -> None:
    card = with_user_data(tmp_path, USER_DATA.replace("edge-fer/install.sh", "other.sh"))
    assert card.problem("user-data", "nothing is installed").line == 6


def test_a_root_that_takes_the_data_partitions_place(tmp_path: Path) -> None:
    text = USER_DATA.replace('"off"', "auto")
    card = with_user_data(tmp_path, text)
    assert card.problem("user-data", "growpart").line == 7
    plain = Folder(tmp_path, storage="root")
    plain.write("user-data", text)
    plain.sign()
    assert plain.said() == []


def test_rpi_is_raspberry_pi_os_alone(tmp_path: Path) -> None:
    card = with_user_data(tmp_path, f"{USER_DATA}rpi:\n  interfaces: {{}}\n")
    (found,) = card.said("user-data")
    assert (found.state, found.line) == ("warning", 8)
    assert "Debian" in found.message


def test_an_unknown_key(tmp_path: Path) -> None:
    card = with_user_data(tmp_path, USER_DATA.replace("hostname", "hostnam"))
    found = card.problem("user-data", "'hostnam'")
    assert (found.line, found.remedy) == (2, "Did you mean hostname?")


def test_a_key_twice(tmp_path: Path) -> None:
    card = with_user_data(tmp_path, f"{USER_DATA}hostname: other\n")
    assert card.problem("user-data", "second time").line == 8


def test_a_key_twice_further_down(tmp_path: Path) -> None:
    card = with_user_data(tmp_path, USER_DATA.replace("    lock", "    name: b\n    lock"))
    assert card.problem("user-data", "'name'").line == 5


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (USER_DATA.replace("lock_passwd: true", "plain_text_passwd: sesame"), 5),
        (f"{USER_DATA}password: sesame\n", 8),
        (f"{USER_DATA}chpasswd:\n  list: |\n    edge:sesame\n", 9),
        (f"{USER_DATA}chpasswd:\n  users:\n    - name: edge\n      password: sesame\n", 11),
        (USER_DATA.replace("lock_passwd: true", "passwd: sesame"), 5),
    ],
)
def test_passwords_in_plain_text(tmp_path: Path, text: str, line: int) -> None:
    card = with_user_data(tmp_path, text)
    found = card.problem("user-data", "plain text")
    assert found.line == line
    assert "sesame" not in f"{found}"


def test_a_default_password(tmp_path: Path) -> None:
    text = USER_DATA.replace("lock_passwd: true", f"passwd: {HASHES['raspberry']}")
    with_user_data(tmp_path, text)
    (found,) = [f for f in check(tmp_path, crypt=crypt) if f.state == "problem"]
    assert (found.place, found.check) == ("bootfs/user-data:5", "users")
    assert "default-password" in found.remedy
    assert "raspberry" not in found.message


def test_a_password_of_ones_own(tmp_path: Path) -> None:
    text = USER_DATA.replace("lock_passwd: true", f"passwd: {HASHES['strong']}")
    with_user_data(tmp_path, text)
    assert [f for f in check(tmp_path, crypt=crypt) if f.state == "problem"] == []


def test_no_libcrypt_is_said(tmp_path: Path) -> None:
    text = USER_DATA.replace("lock_passwd: true", f"passwd: {HASHES['raspberry']}")
    with_user_data(tmp_path, text)
    (found,) = [f for f in check(tmp_path, crypt=None) if f.state == "skipped"]
    assert "no libcrypt" in found.message


def test_ssh_with_a_password(tmp_path: Path) -> None:
    card = with_user_data(tmp_path, f"{USER_DATA}ssh_pwauth: true\n")
    assert card.problem("user-data", "SSH takes a password").line == 8


def test_ssh_with_a_password_that_was_said_twice(tmp_path: Path) -> None:
    card = with_user_data(
        tmp_path,
        f"{USER_DATA}ssh_pwauth: true\n",
        accept=["ssh-password"],
        network={"ssh": True, "ssh_password": True},
    )
    (found,) = card.said()
    assert (found.state, found.place) == ("warning", "bootfs/user-data:8")


SUDO = "sudo: ALL=(ALL) NOPASSWD:ALL"


def test_sudo_without_the_password_that_there_is(tmp_path: Path) -> None:
    text = USER_DATA.replace("lock_passwd: true", f"passwd: {HASHES['strong']}\n    {SUDO}")
    with_user_data(tmp_path, text)
    (found,) = [f for f in check(tmp_path, crypt=crypt) if f.state == "problem"]
    assert (found.line, "passwordless-sudo" in found.remedy) == (6, True)


def test_sudo_of_a_user_with_a_key_alone(tmp_path: Path) -> None:
    text = USER_DATA.replace("lock_passwd: true", f"lock_passwd: true\n    {SUDO}")
    (found,) = with_user_data(tmp_path, text).said()
    assert (found.state, found.line) == ("warning", 6)


def test_a_secret_file_that_others_may_read(tmp_path: Path) -> None:
    card = with_user_data(
        tmp_path, USER_DATA.replace("lock_passwd: true", "passwd: $6$abcdefgh$STRONGSTRONG")
    )
    assert card.said("user-data") == []
    (card.boot / "user-data").chmod(0o640)
    assert card.problem("user-data", "mode 0640").remedy == "chmod 600 bootfs/user-data"


WIFI = """\
version: 2
wifis:
  wlan0:
    dhcp4: true
    regulatory-domain: DE
    access-points:
      "museum":
        password: "{}"
"""


@pytest.mark.parametrize(("psk", "problem"), [("correct horse", True), ("ab" * 32, False)])
def test_a_wifi_passphrase(tmp_path: Path, psk: str, problem: bool) -> None:
    card = Folder(tmp_path, network={"wifi": {"ssid": "museum", "country": "DE"}})
    card.write("network-config", WIFI.format(psk), 0o600)
    card.sign()
    if problem:
        found = card.problem("network-config", "passphrase")
        assert found.line == 8
        assert psk not in f"{found}"
    else:
        assert card.said() == []


def test_wifi_without_a_passphrase(tmp_path: Path) -> None:
    card = Folder(tmp_path, network={"wifi": {"ssid": "museum", "country": "DE"}})
    text = WIFI.replace('        password: "{}"\n', "").replace('"museum":', '"museum": {}')
    card.write("network-config", text)
    card.sign()
    found = card.problem("network-config", "no passphrase")
    assert (found.line, "open-wifi" in found.remedy) == (7, True)


def test_no_version_of_the_network(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    card.write("network-config", "ethernets:\n  eth0:\n    dhcp4: true\n")
    card.sign()
    assert card.problem("network-config", "no version")


def test_no_instance_id(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    card.write("meta-data", "dsmode: local\n")
    card.sign()
    assert card.problem("meta-data", "no instance-id")


def test_no_meta_data(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    (card.boot / "meta-data").unlink()
    card.sign()
    assert card.problem("user-data", "no meta-data")


# firstrun.sh


def test_windows_line_ends_in_firstrun(tmp_path: Path) -> None:
    card = Folder(tmp_path, system="bookworm")
    card.write("firstrun.sh", FIRSTRUN.replace("-eu\n", "-eu\r\n"))
    card.sign()
    assert card.problem("firstrun.sh", "CRLF").line == 2


def test_firstrun_without_a_shell(tmp_path: Path) -> None:
    card = Folder(tmp_path, system="bookworm")
    card.write("firstrun.sh", FIRSTRUN.replace("#!/bin/sh\n", "# firstrun\n"))
    card.sign()
    assert card.problem("firstrun.sh", "names no shell").line == 1


def test_a_default_password_in_firstrun(tmp_path: Path) -> None:
    card = Folder(tmp_path, system="bookworm")
    card.write("firstrun.sh", f"{FIRSTRUN}# $6$no\necho 'edge:{HASHES['raspberry']}'\n", 0o600)
    card.sign()
    (found,) = [f for f in check(tmp_path, crypt=crypt) if f.state == "problem"]
    assert found.place == "bootfs/firstrun.sh:5"


def test_sudo_and_ssh_in_firstrun(tmp_path: Path) -> None:
    card = Folder(tmp_path, system="bookworm")
    card.write(
        "firstrun.sh", f"{FIRSTRUN}echo 'PasswordAuthentication yes' >x\necho 'a {SUDO[6:]}' >y\n"
    )
    card.sign()
    assert card.problem("firstrun.sh", "SSH takes").line == 4
    (warned,) = [f for f in card.said("firstrun.sh") if f.state == "warning"]
    assert ("key is root" in warned.message, warned.line) == (True, 5)


def test_sudo_without_the_password_of_firstrun(tmp_path: Path) -> None:
    card = Folder(tmp_path, system="bookworm")
    text = f"{FIRSTRUN}HASH='{HASHES['strong']}'\necho 'edge {SUDO[6:]}' >sudoers\n"
    card.write("firstrun.sh", text, 0o600)
    card.sign()
    assert card.problem("firstrun.sh", "becomes root").line == 5


def test_firstrun_that_installs_nothing_and_switches_ssh_on(tmp_path: Path) -> None:
    card = Folder(tmp_path, system="bookworm")
    card.write("firstrun.sh", "#!/bin/sh\n# sh edge-fer/install.sh\nsystemctl enable ssh.service\n")
    card.sign()
    assert card.problem("firstrun.sh", "nothing is installed")
    assert card.problem("firstrun.sh", "ssh = false").line == 3
