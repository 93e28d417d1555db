"""The JSON lines sink: its record, restarts, full disks, and its address."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from edge_fer.errors import ConfigError, DeviceError
from edge_fer.sinks import open_sink
from edge_fer.sinks.jsonl import JsonlSink, boot_id, clock_ok
from edge_fer.types import Box, Expression, Face, Observation, ObservedFace

SHA = "0123456789abcdef" * 4
NOON = datetime(2026, 5, 4, 12, 0, 0, 250000, tzinfo=UTC)

SEEN = Observation(
    frame=7,
    t_ns=1_234_567_890_123,
    source="clip.mp4",
    faces=(
        ObservedFace(
            face=Face(
                box=Box(x=np.float32(1.5), y=2, w=30.126, h=np.int32(40)), score=1.0, track=3
            ),
            expression=Expression(
                label="unknown",
                probabilities={"neutral": 0.75, "happiness": np.float32(0.25)},
                entropy=0.56,
                reason="dark",
            ),
            raw_expression="neutral",
        ),
    ),
    timings_ms={"capture": 0.25, "total": 12.34567},
)


def lines(path: Path) -> list[dict]:
    text = path.read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def test_the_record_is_the_published_one(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = JsonlSink(path, SHA, now=lambda: NOON)
    sink.emit(SEEN)
    sink.emit(SEEN)
    sink.close()
    first, second = lines(path)
    assert first.pop("boot_id") == boot_id()
    assert first.pop("clock_ok") in (True, False, None)
    assert first == {
        "schema": "edge-fer/observation/1",
        "seq": 0,
        "t_ns": 1_234_567_890_123,
        "wall_time": "2026-05-04T12:00:00.250Z",
        "source": "clip.mp4",
        "model": "0123456789ab",
        "frame": 7,
        "faces": [
            {
                "track": 3,
                "box": [1.5, 2.0, 30.13, 40.0],
                "score": 1.0,
                "expression": "unknown",
                "reason": "dark",
                "probabilities": {"neutral": 0.75, "happiness": 0.25},
                "raw_expression": "neutral",
            }
        ],
        "timings_ms": {"capture": 0.25, "total": 12.346},
    }
    assert second["seq"] == 1
    assert datetime.fromisoformat(second["wall_time"]) == NOON


def test_a_source_with_a_line_break_stays_one_line(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = JsonlSink(path, SHA)
    sink.emit(Observation(frame=0, t_ns=0, source="a\nb\u2028c", faces=()))
    sink.close()
    assert [line["source"] for line in lines(path)] == ["a\nb\u2028c"]


def test_a_restart_appends(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    for _ in range(2):
        sink = open_sink(f"jsonl:{path}", SHA)
        sink.emit(SEEN)
        sink.close()
    assert [line["seq"] for line in lines(path)] == [0, 0]


def test_a_half_line_of_a_killed_process_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text('{"whole": 1}\n{"schema": "edge-fer/obs')
    sink = JsonlSink(path, SHA)
    assert path.read_text().count("\n") == 1  # opening alone changes nothing
    sink.emit(SEEN)
    sink.emit(SEEN)
    sink.close()
    whole, half, *new = path.read_text().splitlines()
    assert (whole, half) == ('{"whole": 1}', '{"schema": "edge-fer/obs')
    assert [json.loads(line)["seq"] for line in new] == [0, 1]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_a_device_error() -> None:
    sink = open_sink("jsonl:/dev/full", SHA)
    with pytest.raises(DeviceError, match="No space left") as caught:
        sink.emit(SEEN)
    assert caught.value.exit_code == 4
    assert "The 0 before it" in caught.value.message
    sink.close()


FILL = """
import resource, sys
from pathlib import Path
from edge_fer.errors import DeviceError
from edge_fer.sinks.jsonl import JsonlSink
from edge_fer.types import Observation

path = Path(sys.argv[1])
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
sink = JsonlSink(path, "0" * 64)
seen = Observation(frame=1, t_ns=2, source="s", faces=())
written = 0
try:
    while True:
        sink.emit(seen)
        written += 1
except DeviceError as err:
    print(written, path.stat().st_size, f"The {written} before it" in err.message)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
sink.emit(seen)
sink.close()
"""


def test_a_disk_that_fills_up_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text('{"seq": "from before"}\n')
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(path)], capture_output=True, text=True, check=True
    )
    written, size, said = done.stdout.split()
    assert int(written) > 3
    assert int(size) < 2000  # the half line that reached the limit is gone
    assert said == "True"
    seq = [line["seq"] for line in lines(path)]
    # Room again: the sink goes on where it stood.
    assert seq == ["from before", *range(int(written) + 1)]


def test_two_writers_keep_their_lines_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    one, other = JsonlSink(path, SHA), JsonlSink(path, SHA)
    for _ in range(3):
        one.emit(SEEN)
        other.emit(SEEN)
    assert [line["seq"] for line in lines(path)] == [0, 0, 1, 1, 2, 2]
    one.close()
    other.close()


def test_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    sink = open_sink("jsonl:-", SHA)
    sink.emit(SEEN)
    sink.emit(SEEN)
    sink.close()
    out = capfd.readouterr().out
    assert [json.loads(line)["seq"] for line in out.splitlines()] == [0, 1]
    sys.stdout.write("still open\n")
    sys.stdout.flush()
    assert capfd.readouterr().out == "still open\n"


def test_standard_output_that_is_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    sink = open_sink("jsonl:-", SHA)
    sink.emit(SEEN)
    sink.close()
    assert json.loads(capsys.readouterr().out)["frame"] == 7


@pytest.mark.parametrize("where", ["no/such/folder/out.jsonl", "."])
def test_a_file_that_cannot_be_opened(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DeviceError, match="cannot be opened") as caught:
        open_sink(f"jsonl:{where}", SHA)
    assert caught.value.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("jsonl:", "names no file"),
        ("jsonl", "Did you mean jsonl"),
        ("jsnol:out", "Did you mean jsonl"),
        ("out.jsonl", "Write jsonl:FILE"),
        ("", "There is no sink"),
        ("mqtt:broker", "This version writes JSON lines only"),
    ],
)
def test_addresses_that_make_no_sense(uri: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        open_sink(uri, SHA)


def test_clock_ok(tmp_path: Path) -> None:
    timesync = tmp_path / "timesync"
    assert clock_ok(datetime(1970, 1, 1, tzinfo=UTC), timesync) is False
    assert clock_ok(NOON, timesync) is None
    timesync.mkdir()
    assert clock_ok(NOON, timesync) is False
    (timesync / "synchronized").touch()
    assert clock_ok(NOON, timesync) is True
