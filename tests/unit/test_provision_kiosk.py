"""The screen: which page it shows, what its unit may do, and the script that starts it."""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from card_plans import plan

from edge_fer.errors import ConfigError
from edge_fer_firmware.units import kiosk

ANALYZE = shutil.which("systemd-analyze")
PAGE = {"source": "synthetic", "sinks": ["jsonl:seen.jsonl", "sse://127.0.0.1:8765?replay=9"]}


def texts(url: str = "", rotate: int = 0, **changes: Any) -> tuple[str, str]:
    table = {"enabled": True, "url": url, "rotate": rotate}
    unit, script = kiosk.files(plan(kiosk=table, **{"run": PAGE, **changes}))
    assert unit.path == "edge-fer/root/etc/systemd/system/edge-fer-kiosk.service"
    assert script.path == "edge-fer/root/usr/lib/edge-fer/kiosk"
    assert script.executable
    assert isinstance(unit.content, bytes)
    assert isinstance(script.content, bytes)
    return unit.content.decode(), script.content.decode()


def keys(text: str, name: str) -> list[str]:
    return re.findall(rf"^{name}=(.*)$", text, re.M)


def test_without_a_kiosk_there_is_nothing() -> None:
    assert kiosk.files(plan()) == ()


@pytest.mark.parametrize(
    ("url", "sinks", "shown"),
    [
        ("", ["sse://127.0.0.1:8765?replay=9"], "http://127.0.0.1:8765/"),
        ("", ["sse://[::1]:80"], "http://[::1]:80/"),
        ("http://localhost:1234/board", ["sse://127.0.0.1:8765"], "http://localhost:1234/board"),
        ("file:///srv/page.html", [], "file:///srv/page.html"),
    ],
)
def test_the_page(url: str, sinks: list[str], shown: str) -> None:
    found = plan(
        kiosk={"enabled": True, "url": url}, run={"source": "synthetic", "sinks": sinks}
    )  # fmt: skip
    assert kiosk.page(found) == shown


@pytest.mark.parametrize(
    ("url", "sinks", "message"),
    [
        ("", [], "nothing to show"),
        ("", ["jsonl:seen.jsonl"], "nothing to show"),
        ("", ["sse://127.0.0.1:0"], "no port"),
        ("about:blank", [], "no address of a page"),
        ("http://127.0.0.1/a b", [], "no address of a page"),
        ("http://127.0.0.1/'$(reboot)'", [], "no address of a page"),
        ("http://127.0.0.1/\nUser=root", [], "no address of a page"),
        ("http:///page", [], "no network address"),
    ],
)
def test_a_page_that_cannot_be_shown(url: str, sinks: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        texts(url, run={"source": "synthetic", "sinks": sinks})
    assert caught.value.remedy


def test_a_local_page_is_waited_for_and_nothing_else_is_reached() -> None:
    unit, _ = texts()
    assert keys(unit, "Environment")[0] == "PAGE=http://127.0.0.1:8765/ ROTATE=0"
    assert keys(unit, "IPAddressDeny") == ["any"]
    assert keys(unit, "IPAddressAllow") == ["localhost"]
    assert keys(unit, "RestrictAddressFamilies") == ["AF_UNIX AF_NETLINK AF_INET"]
    assert "until /usr/bin/python3" in keys(unit, "ExecStartPre")[0]
    assert "network-online" not in unit


def test_a_file_needs_no_network() -> None:
    unit, _ = texts("file:///srv/50%25.html")
    assert keys(unit, "Environment")[0] == "PAGE=file:///srv/50%%25.html ROTATE=0"
    assert keys(unit, "RestrictAddressFamilies") == ["AF_UNIX AF_NETLINK"]
    assert keys(unit, "IPAddressDeny") == ["any"]
    assert keys(unit, "ExecStartPre") == []


def test_a_page_elsewhere_needs_names() -> None:
    unit, _ = texts("https://faces.example/board")
    assert keys(unit, "IPAddressDeny") == []
    assert keys(unit, "ExecStartPre") == []


def test_limits_hold_because_no_login_session_takes_the_processes_away() -> None:
    unit, _ = texts()
    assert keys(unit, "PAMName") == []
    assert keys(unit, "Restart") == ["always"]
    assert keys(unit, "StartLimitIntervalSec") == ["0"]
    assert keys(unit, "MemoryMax") == ["65%"]
    assert keys(unit, "ConditionPathExists") == ["/usr/bin/cage", "/dev/tty0"]
    assert keys(unit, "User") == ["edge-fer-kiosk"]  # whose groups sysusers.d names
    # Chromium's own sandbox ends it where these are refused.
    assert keys(unit, "RestrictNamespaces") == ["user pid net"]
    assert keys(unit, "SystemCallFilter")[-1] == "capset chroot seccomp"


@pytest.mark.skipif(ANALYZE is None, reason="no systemd: apt-get install systemd")
@pytest.mark.parametrize("url", ["", "file:///srv/a.html", "https://faces.example/"])
def test_systemd_understands_the_unit(url: str, tmp_path: Path) -> None:
    path = tmp_path / "edge-fer-kiosk.service"
    unit, _ = texts(url)
    path.write_text(unit)
    command = [str(ANALYZE), "security", "--offline=true", "--threshold=25", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-200:]
    path.write_text(unit.replace("/usr/lib/edge-fer/kiosk", "/bin/true"))
    verified = subprocess.run(
        [str(ANALYZE), "verify", "--man=no", str(path)], capture_output=True, text=True, check=False
    )
    assert (verified.returncode, verified.stderr) == (0, "")


def run_script(tmp_path: Path, rotate: int, *, old_cage: bool, inside: bool) -> list[str]:
    """What the script ran, with everything it calls replaced."""
    said = tmp_path / "said"
    usage = " -r  Rotate" if old_cage else " -v  Version"
    screens = 'HDMI-A-1 "Some screen"\n  Enabled: yes\nDSI-1 "Touch"\n  Enabled: no\n'
    (tmp_path / "screens").write_text(screens)
    tools = {
        "cage": f'[ "$1" = -h ] && {{ echo "{usage}"; exit; }}\n'
        f'echo "cage $* ROTATE=$ROTATE" >> {said}',
        "wlr-randr": f'[ $# -gt 0 ] && {{ echo "randr $*" >> {said}; exit; }}\n'
        f"cat {tmp_path}/screens",
        "chromium": f'for last; do :; done; echo "chromium $1 $last" >> {said}',
    }
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, body in tools.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n")
        (folder / name).chmod(0o755)
    script = tmp_path / "kiosk"
    script.write_text(texts(rotate=rotate)[1])
    script.chmod(0o755)
    environment = {"PATH": f"{folder}:{os.environ['PATH']}", "ROTATE": str(rotate)}
    environment["PAGE"] = "http://x/?a=1&b=2"
    if inside:
        environment["WAYLAND_DISPLAY"] = "wayland-0"
    done = subprocess.run(
        [str(script)], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return said.read_text().replace(str(script), "KIOSK").splitlines()


@pytest.mark.parametrize(
    ("rotate", "old_cage", "cage"),
    [
        (0, True, "cage -d -- KIOSK ROTATE=0"),
        (270, True, "cage -d -r -r -r -- KIOSK ROTATE=0"),
        (270, False, "cage -d -- KIOSK ROTATE=270"),
    ],
)
def test_outside_cage_it_becomes_cage(
    tmp_path: Path, rotate: int, old_cage: bool, cage: str
) -> None:
    assert run_script(tmp_path, rotate, old_cage=old_cage, inside=False) == [cage]


def test_inside_cage_it_turns_every_screen_and_becomes_the_browser(tmp_path: Path) -> None:
    assert run_script(tmp_path, 90, old_cage=False, inside=True) == [
        "randr --output HDMI-A-1 --transform 90",
        "randr --output DSI-1 --transform 90",
        "chromium --kiosk http://x/?a=1&b=2",
    ]


def test_inside_cage_an_upright_screen_is_left_alone(tmp_path: Path) -> None:
    assert run_script(tmp_path, 0, old_cage=True, inside=True) == [
        "chromium --kiosk http://x/?a=1&b=2"
    ]
