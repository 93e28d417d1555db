"""``edge-fer status``, as a person or a script sees it."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import typer
from fake_service import Clock, FakeParts, FakeSignals

from edge_fer.cli.status import status
from edge_fer.errors import DeviceError
from edge_fer.machine import Reading
from edge_fer.notify import Notify
from edge_fer.pacing import Pacing, ThermalGovernor
from edge_fer.service import Service
from edge_fer.state import State
from edge_fer.status import Status


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """What a service wrote a moment ago; this test's process is the one that runs."""
    path, clock = tmp_path / "status.json", Clock()
    parts = FakeParts(clock, [1] * 50)
    parts.told |= {
        "source": "usb:[bold]cam",
        "model": {"name": "expression", "sha256": "0123456789ab"},
        "sinks": [{"name": "jsonl:/x.jsonl", "backlog": 3}, {"name": "sse:8080", "backlog": 0}],
    }
    look = Reading(celsius=61.0, throttled=0x50000)
    said = Status(path, thermal=lambda: look)
    Service(
        parts,
        signals=FakeSignals(clock),
        notify=Notify(),
        status=said,
        state=State(),
        pacing=Pacing(governor=ThermalGovernor(look=lambda: look)),
        clock=clock,
    ).run()
    said.write({**json.loads(path.read_text()), "state": "running"})
    return path


def test_a_running_service_in_words(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status(file=file, config=None, json=False)
    said = {line.split("  ")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert said["state"].split() == ["state", "running,", "0", "s", "ago"]
    assert "usb:[bold]cam" in said["source"]
    assert "name expression, sha256 0123456789ab" in said["model"]
    assert "name sse:8080, backlog 0" in said["sink"]
    assert "50.0 ms a frame at p50" in said["rate"]
    assert "61 °C, not throttled; since boot: under-voltage, throttled" in said["heat"]
    assert "full rate" in said["pace"]
    assert said["last error"].split()[-1] == "none"


def test_a_running_service_as_json(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status(file=file, config=None, json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["service_runs"]) == ("edge-fer/status/1", True)
    assert found["pid"] == os.getpid()
    assert 0 <= found["age_s"] < 15


@pytest.mark.parametrize("as_json", [False, True])
def test_one_that_does_not_run_is_shown_and_is_an_error(
    file: Path, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), "boot_id": "another"}))
    with pytest.raises(DeviceError, match="before the last restart") as caught:
        status(file=file, config=None, json=as_json)
    assert caught.value.exit_code == 4
    assert "systemctl start edge-fer" in caught.value.remedy
    assert caught.value.document is not None
    assert caught.value.document["service_runs"] is False
    out = capsys.readouterr().out
    assert out == "" if as_json else "not running now" in out


def test_a_document_of_other_types_is_shown_as_far_as_it_goes(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = dict.fromkeys(json.loads(file.read_text()), "odd")
    kept = {k: json.loads(file.read_text())[k] for k in ("schema", "pid", "t_boot_ns", "boot_id")}
    file.write_text(json.dumps({**odd, **kept}))
    status(file=file, config=None, json=False)
    assert "odd" in capsys.readouterr().out


def test_by_the_command_line(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    app = typer.Typer()
    app.command("status")(status)
    app(args=["--file", str(file), "--json"], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["state"] == "running"
    with pytest.raises(DeviceError, match="There is no status file"):
        app(args=["--file", str(file.parent / "none")], standalone_mode=False)
