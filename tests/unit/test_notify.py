"""sd_notify, against a real datagram socket."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_service import Clock, FakeSystemd

from edge_fer.notify import Notify


@pytest.fixture(params=[False, True], ids=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[FakeSystemd]:
    manager = FakeSystemd(tmp_path, abstract=request.param)
    yield manager
    manager.close()


def test_what_a_service_says_in_its_life(systemd: FakeSystemd) -> None:
    clock = Clock(12.345678)
    notify = Notify(systemd.address, clock=clock)
    assert notify.listening
    notify.ready("running")
    notify.status("running")  # nothing new
    notify.status("running: 15 frames/s")
    notify.reloading()
    notify.ready("running")
    notify.stopping("told to")
    notify.close()
    notify.close()
    assert systemd.read() == [
        "READY=1\nSTATUS=running",
        "STATUS=running: 15 frames/s",
        "RELOADING=1\nMONOTONIC_USEC=12345678",
        "READY=1\nSTATUS=running",
        "STOPPING=1\nSTATUS=told to",
    ]


def test_a_line_break_in_a_status_is_no_second_assignment(systemd: FakeSystemd) -> None:
    notify = Notify(systemd.address)
    notify.status("camera away: a\nSTOPPING=1")
    notify.close()
    assert systemd.read() == ["STATUS=camera away: a STOPPING=1"]


def test_the_watchdog_is_petted_at_half_its_time(systemd: FakeSystemd) -> None:
    clock = Clock()
    notify = Notify(systemd.address, watchdog_s=20, clock=clock)
    petted = []
    for _ in range(41):
        petted.append(notify.alive())
        clock.pass_s(1)
    notify.close()
    assert [i for i, was in enumerate(petted) if was] == [0, 10, 20, 30, 40]
    assert systemd.read() == ["WATCHDOG=1"] * 5


@pytest.mark.parametrize(
    ("environ", "watchdog_s"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "20000000"}, 20.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "77"}, 20.0),
        ({"WATCHDOG_USEC": "20000000", "WATCHDOG_PID": "78"}, None),  # meant for another
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "²"}, None),
    ],
)
def test_the_watchdog_of_the_environment(environ: dict[str, str], watchdog_s: float | None) -> None:
    notify = Notify.from_environment(environ, pid=77)
    assert notify.watchdog_s == watchdog_s
    assert not notify.listening


def test_without_a_manager_nothing_is_said_and_nothing_fails() -> None:
    notify = Notify.from_environment({})
    notify.ready("running")
    assert not notify.alive()
    assert notify.failed == ""


@pytest.mark.parametrize(
    "address", ["vsock:2:1234", "/nowhere/at/all", "@" + "x" * 200, "relative"]
)
def test_an_address_that_cannot_be_reached_is_said_and_survived(address: str) -> None:
    notify = Notify.from_environment({"NOTIFY_SOCKET": address})
    assert not notify.listening
    assert address in notify.failed
    notify.ready("running")
    notify.close()


def test_a_manager_that_goes_away_is_said_and_survived(systemd: FakeSystemd) -> None:
    notify = Notify(systemd.address)
    systemd.close()
    notify.ready("running")
    assert "READY=1" in notify.failed
    notify.close()


def test_a_manager_that_does_not_read_is_told_again(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    clock = Clock()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(address)
        notify = Notify(address, watchdog_s=20, clock=clock)
        sent = 0
        while notify.alive():
            clock.pass_s(10)
            sent += 1
        assert 1 <= sent < 5000
        assert "WATCHDOG=1" in notify.failed
        deaf.recv(100)  # room for one
        assert notify.alive()
        assert notify.failed == ""
        notify.close()
