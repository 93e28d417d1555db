"""Units and rules where no validator is installed: the least, and what can be read at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from card_folders import SANDBOX, UNITS, Folder

from edge_fer_firmware.checking.rules import fault
from edge_fer_firmware.checking.service_unit import is_size, is_span

DROP_IN = f"{UNITS}/edge-fer.service.d/sandbox.conf"
RULES = "edge-fer/root/etc/udev/rules.d/60-ours.rules"


@pytest.mark.parametrize("span", ["20", "1min 30s", "2h30m", "1.5s", "infinity", "250ms", ""])
def test_times(span: str) -> None:
    assert is_span(span)


@pytest.mark.parametrize("span", ["20 secs.", "20sx", "soon", "-1", "1,5s"])
def test_no_times(span: str) -> None:
    assert not is_span(span)


@pytest.mark.parametrize("size", ["400M", "1.5G", "65%", "0", "infinity", "512K", ""])
def test_sizes(size: str) -> None:
    assert is_size(size)


@pytest.mark.parametrize("size", ["400MB", "400m", "much", "-1", "400 MiB"])
def test_no_sizes(size: str) -> None:
    assert not is_size(size)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("TimeoutStopSec=20 secs.", "no time"),
        ("MemoryHigh=400MB", "no size"),
        ("LimitCORE=0:much", "no size"),
        ("CPUQuota=80", "no share"),
    ],
)
def test_values_that_systemd_leaves_out(tmp_path: Path, line: str, words: str) -> None:
    card = Folder(tmp_path)
    card.write(DROP_IN, f"{SANDBOX}{line}\n")
    card.sign()
    assert card.problem("sandbox.conf", words).line == 8


@pytest.mark.parametrize(
    ("line", "weak"),
    [
        ("User=edge-fer", "User=root"),
        ("NoNewPrivileges=yes", "NoNewPrivileges=no"),
        ("ProtectSystem=strict", "ProtectSystem=full"),
        ("DevicePolicy=closed", "DevicePolicy=auto"),
        ("RestrictAddressFamilies=AF_UNIX", "RestrictAddressFamilies="),
        ("MemoryMax=400M", "MemoryMax=infinity"),
    ],
)
def test_a_service_that_is_not_shut_in(tmp_path: Path, line: str, weak: str) -> None:
    card = Folder(tmp_path)
    card.edit(f"{UNITS}/edge-fer.service", "DynamicUser=yes\n", "")
    number = SANDBOX.split("\n").index(line) + 1
    card.write(DROP_IN, SANDBOX.replace(line, weak))
    card.sign()
    found = card.problem("sandbox.conf", "Without")
    assert found.line == number
    card.write(DROP_IN, SANDBOX.replace(f"{line}\n", ""))
    card.sign()
    assert card.problem("edge-fer.service", line.partition("=")[0]).line == 6


def test_private_devices_are_as_good(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    card.write(DROP_IN, SANDBOX.replace("DevicePolicy=closed", "PrivateDevices=yes"))
    card.sign()
    assert card.said() == []


def test_a_service_that_nobody_watches(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    card.edit(f"{UNITS}/edge-fer.service", "Type=notify\nWatchdogSec=20", "Type=exec\nNice=1")
    card.sign()
    assert card.problem("edge-fer.service", "nobody notices").line == 6


@pytest.mark.parametrize(
    "rule",
    [
        'SUBSYSTEM=="usb", ATTRS{idVendor}=="1a6e", MODE="0660", TAG+="uaccess"',
        'ACTION!="remove",KERNEL=="vcio",GROUP:="video"',
        'IMPORT{program}="x \\" y", ENV{A}-="b", KERNEL==e"a\\n",',
    ],
)
def test_rules(rule: str) -> None:
    assert fault(rule) == ("", "")


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ('SUBSYTEM=="usb", MODE="0660"', "no key SUBSYTEM"),
        ('SUBSYSTEM=="usb" MODE="0660"', "no comma"),
        ('SUBSYSTEM=="usb, MODE=0660', "is no KEY"),
        ('KERNEL=~"vcio"', "is no KEY"),
        ('KERNEL="vcio", MODE="0660"', "KERNEL is compared"),
        ('KERNEL=="vcio", MODE=="0660"', "MODE is set"),
    ],
)
def test_rules_that_udev_cannot_read(tmp_path: Path, rule: str, words: str) -> None:
    card = Folder(tmp_path)
    card.write(RULES, f'# words\n\nKERNEL=="a", \\\n  MODE="0600"\n{rule}\n')
    card.sign()
    assert card.problem("60-ours.rules", words).line == 5
