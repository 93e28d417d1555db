"""What the check says about units, scripts, the clock, and secrets that were left in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from card_folders import CLOCK, INSTALL, SERVICE, UNITS, Folder

UNIT = f"{UNITS}/edge-fer.service"
NAME = "edge-fer.service"


def with_unit(tmp_path: Path, old: str, new: str, **settings: Any) -> Folder:
    card = Folder(tmp_path, **settings)
    card.edit(UNIT, old, new)
    card.sign()
    return card


def test_a_misspelt_watchdog(tmp_path: Path) -> None:
    card = with_unit(tmp_path, "WatchdogSec", "WatchDogSec")
    found = card.problem(NAME, "no such key")
    assert (found.line, found.remedy) == (7, "Did you mean WatchdogSec?")
    assert card.problem(NAME, "without WatchdogSec").line == 6


def test_a_key_in_the_wrong_section(tmp_path: Path) -> None:
    card = with_unit(tmp_path, "[Install]", "[Install]\nExecStop=/bin/true")
    assert card.problem(NAME, "ExecStop= in [Install]").line == 12


def test_a_misspelt_section(tmp_path: Path) -> None:
    card = with_unit(tmp_path, "[Install]", "[Instal]")
    found = card.problem(NAME, "no section [Instal]")
    assert (found.line, found.remedy) == (12, "Did you mean Install?")


def test_a_line_that_sets_nothing(tmp_path: Path) -> None:
    card = with_unit(tmp_path, "DynamicUser=yes", "DynamicUser yes")
    assert card.problem(NAME, "no Key=value").line == 9


def test_a_key_that_bookworm_does_not_know_yet(tmp_path: Path) -> None:
    line = "DynamicUser=yes\nRestartSteps=5"
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    new.mkdir()
    assert with_unit(new, "DynamicUser=yes", line, system="trixie").said() == []
    card = with_unit(old, "DynamicUser=yes", line, system="bookworm")
    assert card.problem(NAME, "systemd 252").line == 10


def test_joined_lines_and_comments_are_read_as_systemd_does(tmp_path: Path) -> None:
    text = (
        "ExecStart=/opt/edge-fer/bin/edge-fer run \\\n# a word\n  --config /etc/edge-fer/gone.toml"
    )
    card = with_unit(tmp_path, SERVICE.splitlines()[7], f"; Watchdogsec=1\nX-Ours=1\n{text}")
    assert card.problem(NAME, "/etc/edge-fer/gone.toml").line == 10


@pytest.mark.parametrize(
    ("line", "path"),
    [
        ("ExecStartPre=-/usr/lib/edge-fer/gone", "/usr/lib/edge-fer/gone"),
        ("ExecStartPre=+/opt/edge-fer/bin/other", "/opt/edge-fer/bin/other"),
        (
            "LoadCredential=mqtt-password:/etc/edge-fer/credentials/mqtt-password",
            "/etc/edge-fer/credentials/mqtt-password",
        ),
        ("EnvironmentFile=/etc/edge-fer/environment", "/etc/edge-fer/environment"),
        ("ExecStartPre=sh /boot/firmware/edge-fer/no.sh", "/boot/firmware/edge-fer/no.sh"),
    ],
)
def test_paths_that_nothing_brings(tmp_path: Path, line: str, path: str) -> None:
    card = with_unit(tmp_path, "DynamicUser=yes", line)
    assert card.problem(NAME, f"names {path},").line == 9


@pytest.mark.parametrize("key", ["ConditionPathExists", "RequiresMountsFor"])
def test_conditions_on_a_path_that_nothing_brings(tmp_path: Path, key: str) -> None:
    card = with_unit(tmp_path, "After=local-fs.target", f"{key}=/mnt/data")
    assert card.problem(NAME, "/mnt/data").line == 3


@pytest.mark.parametrize(
    "line",
    [
        "ExecStartPre=/usr/bin/true",
        "ExecStartPre=/usr/lib/edge-fer/clock save",
        "EnvironmentFile=-/etc/edge-fer/environment",
        "ExecStartPre=/usr/lib/edge-fer/%i",
        "ReadWritePaths=/var/lib/edge-fer",
    ],
)
def test_paths_that_are_there(tmp_path: Path, line: str) -> None:
    assert with_unit(tmp_path, "DynamicUser=yes", line).said() == []


def test_a_credential_that_is_there(tmp_path: Path) -> None:
    line = "LoadCredential=mqtt-password:/etc/edge-fer/credentials/mqtt-password"
    card = with_unit(tmp_path, "DynamicUser=yes", line)
    file = "edge-fer/root/etc/edge-fer/credentials/mqtt-password"
    card.write(file, "sesame\n", 0o600)
    assert card.said() == []
    (card.boot / file).chmod(0o644)
    assert "mode 0644" in card.problem("mqtt-password", "others may read").message


@pytest.mark.parametrize("target", ["network-online.target", "time-sync.target"])
def test_waiting_for_a_network_that_never_comes(tmp_path: Path, target: str) -> None:
    card = with_unit(tmp_path, "local-fs.target", f"local-fs.target {target}")
    assert card.problem(NAME, target).line == 3


def test_waiting_for_a_network_that_may_come(tmp_path: Path) -> None:
    card = with_unit(
        tmp_path, "local-fs.target", "network-online.target", network={"ethernet": True}
    )
    (found,) = card.said(NAME)
    assert (found.state, found.line) == ("warning", 3)


def test_a_unit_of_ours_that_is_not_there(tmp_path: Path) -> None:
    card = with_unit(tmp_path, "local-fs.target", "edge-fer-clok.service")
    found = card.problem(NAME, "edge-fer-clok.service")
    assert (found.line, found.remedy) == (3, "Did you mean edge-fer-clock.service?")


def test_notify_without_a_watchdog(tmp_path: Path) -> None:
    card = with_unit(tmp_path, "WatchdogSec=20\n", "")
    assert card.problem(NAME, "hung service").line == 6


def test_a_watchdog_in_a_drop_in_is_seen(tmp_path: Path) -> None:
    card = with_unit(tmp_path, "WatchdogSec=20\n", "")
    card.write(f"{UNIT}.d/watchdog.conf", "[Service]\nWatchdogSec=30\n")
    assert card.said() == []


def test_drop_ins_and_managers_are_read_too(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    folder = "edge-fer/root/etc/systemd"
    card.write(f"{folder}/system.conf.d/w.conf", "[Manager]\nRuntimeWatchdogSecs=15\n")
    card.write(f"{folder}/journald.conf.d/j.conf", "[Journal]\nStorage=volatile\nRuntimeMax=1M\n")
    card.write(f"{UNIT}.d/x.conf", "[Service]\nMemoryMx=1\n")
    assert card.problem("w.conf", "RuntimeWatchdogSecs").remedy.endswith("RuntimeWatchdogSec?")
    assert card.problem("j.conf", "RuntimeMax=").line == 3
    assert card.problem("x.conf", "MemoryMx").line == 2


def test_a_service_that_starts_nothing(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    card.write(f"{UNITS}/edge-fer-x.service", "[Service]\nType=oneshot\n")
    assert card.problem("edge-fer-x.service", "no ExecStart")


# The clock


def test_no_clock_and_nothing_that_restores_it(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    (card.boot / f"{UNITS}/edge-fer-clock.service").unlink()
    card.sign()
    (found,) = card.said()
    assert (found.check, found.state) == ("clock", "warning")


def test_a_board_with_a_clock_needs_none(tmp_path: Path) -> None:
    card = Folder(tmp_path, board="pi5")
    (card.boot / f"{UNITS}/edge-fer-clock.service").unlink()
    card.sign()
    assert card.said() == []


def test_fake_hwclock_on_an_overlay(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    card.write("edge-fer/install.sh", f"{INSTALL}# fake-hwclock\napt install fake-hwclock\n")
    card.sign()
    assert card.problem("install.sh", "fake-hwclock").line == 5


def test_an_overlay_on_a_board_without_a_clock(tmp_path: Path) -> None:
    card = Folder(tmp_path, storage="overlay")
    assert [f.state for f in card.said() if f.check == "clock"] == ["warning"]


# Scripts of the payload


def test_windows_line_ends_in_any_script(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    card.write("edge-fer/root/usr/lib/edge-fer/clock", "#!/bin/sh\r\necho\r\n")
    card.sign()
    assert card.problem("lib/edge-fer/clock", "CRLF").line == 1


# Secrets


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "a private key"),
        ("export GH=ghp_" + "a1" * 18, "a GitHub token"),
        ("x=glpat-" + "a1" * 12, "a GitLab token"),
        ("key: AKIA" + "A1" * 8, "an AWS key"),
        ("jwt " + "eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0In0." + "c2lnbmF0dXJl", "a JSON web"),
        ("mqtt://edge:sesame@broker.local/t", "a password in an address"),
        ("password=sesame", "a password"),
        ('"wifi_psk": "correct horse"', "a psk"),
        ("API_TOKEN=0f0f0f0f", "a token"),
    ],
)
def test_secrets_in_any_file(tmp_path: Path, line: str, what: str) -> None:
    card = Folder(tmp_path)
    card.write("edge-fer/root/etc/edge-fer/extra", f"# first\n{line}\n")
    found = card.problem("extra", what)
    assert found.line == 2
    assert line not in f"{found}"


@pytest.mark.parametrize(
    "line",
    [
        "# password=sesame",
        "psk=" + "ab" * 32,
        "password=$6$salt$hash",
        'password="$(cat /run/x)"',
        "LoadCredential=mqtt-password:/etc/edge-fer/credentials/mqtt-password",
        "chromium --password-store=basic",
        "rtsp://camera.local/stream",
        "mqtt://edge:***@broker.local/t",
        "PermitEmptyPasswords no",
        "lock_passwd: true",
    ],
)
def test_what_is_no_secret(tmp_path: Path, line: str) -> None:
    card = Folder(tmp_path)
    card.write("edge-fer/root/etc/edge-fer/extra", f"{line}\n")
    assert card.said() == []


def test_a_cameras_password_is_for_root_and_the_service(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    name = "edge-fer/root/etc/edge-fer/config.toml"
    card.edit(name, "usb:0", "rtsp://edge:sesame@192.168.1.5/a")
    card.sign()
    assert card.problem("config.toml", "mode 0644")
    (card.boot / name).chmod(0o600)
    (found,) = card.said("config.toml")
    assert (found.state, found.line) == ("warning", 1)
    assert "sesame" not in f"{found}"


def test_a_unit_of_the_clock_alone_is_clean(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    card.write(f"{UNITS}/edge-fer-clock-save.service", CLOCK.replace("restore", "save"))
    assert card.said() == []
