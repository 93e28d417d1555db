"""The status document: what it says, how it is written, and when it is believed."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fake_service import Clock

from edge_fer import __version__
from edge_fer.errors import DeviceError
from edge_fer.machine import Reading
from edge_fer.records import boot_id
from edge_fer.status import (
    FRESH_S,
    STATUS,
    Latency,
    Status,
    default_path,
    find_status,
    read_status,
)

NOON = datetime(2026, 5, 4, 12, 0, 0, 250000, tzinfo=UTC)


def status(path: Path | None, clock: Clock) -> Status:
    return Status(
        path,
        thermal=lambda: Reading(celsius=61.0, throttled=0x50005),
        now=lambda: NOON,
        clock=clock,
    )


def test_the_document_says_who_and_when_and_how() -> None:
    clock = Clock(50)
    said = status(None, clock)
    said.error("the camera is away")
    clock.pass_s(1)
    found = said.document(
        "running",
        {"source": "usb:cam", "camera": {"state": "streaming"}, "unheard_of": 1},
        frames=7,
    )
    assert found.pop("rss_mb") > 1
    assert found.pop("clock_ok") in (True, False, None)
    assert found == {
        "schema": "edge-fer/status/1",
        "state": "running",
        "version": __version__,
        "pid": os.getpid(),
        "boot_id": boot_id(),
        "t_boot_ns": 51_000_000_000,
        "wall_time": "2026-05-04T12:00:00.250Z",
        "source": "usb:cam",
        "model": None,
        "backend": None,
        "detector": None,
        "camera": {"state": "streaming"},
        "sinks": None,
        "frames": 7,
        "thermal": {
            "celsius": 61.0,
            "throttled": "0x50005",
            "now": ["under-voltage", "throttled"],
            "since_boot": ["under-voltage", "throttled"],
            "words": "61 °C, under-voltage, throttled; since boot: under-voltage, throttled",
        },
        "last_error": {
            "message": "the camera is away",
            "wall_time": "2026-05-04T12:00:00.250Z",
            "t_boot_ns": 50_000_000_000,
        },
    }


def test_it_is_written_whole_and_every_two_seconds_at_most(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "status.json"
    said = status(path, clock)
    written = 0
    for turn in range(100):
        if said.due():
            said.write({"turn": turn})
            written += 1
            assert json.loads(path.read_text()) == {"turn": turn}
        clock.pass_s(0.1)
    assert written == 5
    assert os.listdir(tmp_path) == ["status.json"]  # noqa: PTH208
    assert path.stat().st_mode & 0o777 == 0o644


def test_nobody_asked_for_a_file() -> None:
    said = status(None, Clock())
    assert not said.due()
    said.write({})
    assert said.problem == ""


@pytest.mark.parametrize("document", [{"fps": float("nan")}, {"fps": object()}])
def test_what_is_no_json_leaves_the_old_file(tmp_path: Path, document: dict[str, object]) -> None:
    path = tmp_path / "status.json"
    said = status(path, Clock())
    said.write({"good": 1})
    said.write(document)
    assert "status.json was not written" in said.problem
    assert json.loads(path.read_text()) == {"good": 1}
    said.write({"good": 2})
    assert said.problem == ""


def test_a_folder_that_is_missing_is_said_and_survived(tmp_path: Path) -> None:
    said = status(tmp_path / "no" / "status.json", Clock())
    said.write({})
    assert "No such file or directory" in said.problem


def test_a_link_that_somebody_laid_there_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / ".status.json.new").symlink_to(precious)
    said = status(tmp_path / "status.json", Clock())
    said.write({})
    assert precious.read_text() == "mine"
    assert said.problem


@pytest.mark.parametrize(
    ("setting", "environ", "path"),
    [
        ("", {}, None),
        ("/a/b.json", {"RUNTIME_DIRECTORY": "/run/x"}, Path("/a/b.json")),
        ("", {"RUNTIME_DIRECTORY": "/run/x"}, Path("/run/x/status.json")),
        ("", {"RUNTIME_DIRECTORY": "/run/x:/run/y"}, Path("/run/x/status.json")),
    ],
)
def test_where_it_is_written(setting: str, environ: dict[str, str], path: Path | None) -> None:
    assert default_path(setting, environ) == path


def test_where_it_is_found(tmp_path: Path) -> None:
    own, other = tmp_path / "status.json", tmp_path / "other.json"
    for path in (own, other):
        path.write_text("{}")
    environ = {"RUNTIME_DIRECTORY": str(tmp_path)}
    assert find_status(other, environ=environ) == other
    assert find_status(None, str(other), environ) == own
    assert find_status(None, str(other), {}) == other
    with pytest.raises(DeviceError, match="no service runs") as caught:
        find_status(tmp_path / "none", environ=environ)
    assert "systemctl start edge-fer" in caught.value.remedy


# Judging.


def written(path: Path, clock: Clock, **changed: object) -> Path:
    said = status(path, clock)
    said.write({**said.document("running", {}), **changed})
    assert said.problem == ""
    return path


def test_a_fresh_status_is_believed(tmp_path: Path) -> None:
    clock = Clock()
    path = written(tmp_path / "s.json", clock)
    clock.pass_s(FRESH_S - 1)
    report = read_status(path, clock=clock)
    assert (report.running, report.why, report.age_s) == (True, "", FRESH_S - 1)


def test_the_time_of_day_is_not_asked(tmp_path: Path) -> None:
    path = written(tmp_path / "s.json", Clock(), wall_time="1970-01-01T00:00:00.000Z")
    assert read_status(path, clock=Clock()).running


@pytest.mark.parametrize(
    ("changed", "later_s", "alive", "why"),
    [
        ({}, FRESH_S + 5, True, "said nothing for 20 s"),
        ({}, -60, True, "said nothing"),  # from the future: another clock
        ({}, 0, False, r"process \d+\) has ended"),
        ({"ended": "told to, by SIGTERM"}, 0, False, "has ended: told to, by SIGTERM"),
        ({"state": "stopping"}, 0, True, "is stopping"),
        ({"boot_id": "another"}, 0, True, "before the last restart"),
    ],
)
def test_what_is_not_believed_says_why_and_what_to_do(
    tmp_path: Path, changed: dict[str, object], later_s: float, alive: bool, why: str
) -> None:
    clock = Clock()
    path = written(tmp_path / "s.json", clock, **changed)
    clock.pass_s(later_s)
    report = read_status(path, clock=clock, is_alive=lambda pid: alive)
    assert not report.running
    import re

    assert re.search(why, report.why)
    assert "systemctl" in report.remedy


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"\xff\xff",
        b"[]",
        b"{}",
        b'{"schema": "edge-fer/run/1"}',
        b'{"schema": "edge-fer/status/1"}',
        b'{"schema": "edge-fer/status/1", "pid": "1", "t_boot_ns": 1}',
        b"[" * 100_000,
    ],
)
def test_a_damaged_file_is_an_error_with_a_remedy(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "s.json"
    path.write_bytes(text)
    with pytest.raises(DeviceError) as caught:
        read_status(path)
    assert caught.value.exit_code == 4
    assert caught.value.remedy


def test_a_file_that_goes_while_it_is_read(tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="cannot be read"):
        read_status(tmp_path / "gone.json")


# Latency.


def test_latency_of_the_last_two_minutes_in_bounded_memory() -> None:
    clock, latency = Clock(), Latency()
    assert latency.summary(clock()) == {
        "fps": 0.0,
        "latency_p50_ms": None,
        "latency_p99_ms": None,
        "latency_frames": 0,
    }
    for number in range(100_000):
        clock.pass_s(0.1)
        latency.add(clock(), 500.0 if number < 98_700 else 10.0 + number % 100)
    found = latency.summary(clock())
    assert found["latency_p50_ms"] in (59.0, 60.0)
    assert found["latency_p99_ms"] in (107.0, 108.0, 109.0)
    assert found["fps"] == pytest.approx(10, rel=0.02)
    assert found["latency_frames"] == 1201
    clock.pass_s(5)
    assert 0 < (latency.summary(clock())["fps"] or 0) < 6
    clock.pass_s(200)
    assert latency.summary(clock())["latency_frames"] == 0


def test_a_camera_too_fast_for_the_window_is_bounded() -> None:
    clock, latency = Clock(), Latency()
    for _ in range(10_000):
        clock.pass_s(0.001)
        latency.add(clock(), 1.0)
    found = latency.summary(clock())
    assert found["latency_frames"] == 2048
    assert found["fps"] == pytest.approx(1000, rel=0.01)


def test_the_schema_is_the_published_one() -> None:
    assert STATUS == "edge-fer/status/1"
