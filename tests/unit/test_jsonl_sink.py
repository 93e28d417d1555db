"""The JSON lines sinks: their record, restarts, rotation, full disks, and their addresses."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic

import numpy as np
import pytest

from edge_fer.errors import ConfigError, DeviceError
from edge_fer.records import Record, Recorder, boot_id, clock_ok
from edge_fer.sinks import check_writer, open_writer
from edge_fer.sinks.budget import sync_cost
from edge_fer.sinks.delivery import Delivery
from edge_fer.sinks.jsonl import JsonlWriter
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


def open_sink(uri: str) -> Delivery:
    return Delivery(Recorder(SHA), [open_writer(uri)], live=False)


def lines(path: Path) -> list[dict]:
    text = path.read_text()
    assert text.endswith("\n")
    return [json.loads(line) for line in text.splitlines()]


def records(count: int, first: int = 0) -> list[Record]:
    recorder = Recorder(SHA, first_seq=first)
    return [recorder.record(SEEN) for _ in range(count)]


def test_the_record_is_the_published_one(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    recorder = Recorder(SHA, now=lambda: NOON)
    with_two = JsonlWriter(path)
    with_two.write([recorder.record(SEEN), recorder.record(SEEN)])
    with_two.close()
    first, second = lines(path)
    assert first.pop("boot_id") == boot_id()
    assert first.pop("clock_ok") in (True, False, None)
    assert first.pop("run") == recorder.run
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


def test_run_and_seq_name_a_record_across_restarts() -> None:
    one, other = Recorder(SHA), Recorder(SHA, first_seq=10)
    first, later = one.record(SEEN), other.record(SEEN)
    assert one.run != other.run
    assert (first.seq, later.seq, other.seq) == (0, 10, 11)
    assert later.document["seq"] == 10


def test_a_clock_that_jumps_fifty_years_disturbs_nothing() -> None:
    clock = [NOON]
    recorder = Recorder(SHA, now=lambda: clock[0])
    seen = []
    for jump in (0, 50 * 365, -80 * 365):
        clock[0] = NOON + timedelta(days=jump)
        seen.append(recorder.record(SEEN).document)
    assert [d["seq"] for d in seen] == [0, 1, 2]
    assert {d["t_ns"] for d in seen} == {SEEN.t_ns}
    assert [d["wall_time"][:4] for d in seen] == ["2026", "2076", "1946"]
    assert seen[2]["clock_ok"] is False  # and not what was true a moment ago


def test_a_source_with_a_line_break_stays_one_line(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    sink = open_sink(f"jsonl:{path}")
    sink.emit(Observation(frame=0, t_ns=0, source="a\nb\u2028c", faces=()))
    sink.close()
    assert [line["source"] for line in lines(path)] == ["a\nb\u2028c"]


def test_lines_are_with_the_system_when_write_returns(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    writer = JsonlWriter(path)
    writer.write(records(2))
    assert [line["seq"] for line in lines(path)] == [0, 1]
    assert writer.bytes_written == path.stat().st_size
    writer.close()


def test_a_restart_appends(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    for _ in range(2):
        sink = open_sink(f"jsonl:{path}")
        sink.emit(SEEN)
        sink.close()
    assert [line["seq"] for line in lines(path)] == [0, 0]


def test_a_half_line_of_a_killed_process_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text('{"whole": 1}\n{"schema": "edge-fer/obs')
    writer = JsonlWriter(path)
    assert path.read_text().count("\n") == 1  # opening alone changes nothing
    for record in records(2):
        writer.write([record])
    writer.close()
    whole, half, *new = path.read_text().splitlines()
    assert (whole, half) == ('{"whole": 1}', '{"schema": "edge-fer/obs')
    assert [json.loads(line)["seq"] for line in new] == [0, 1]


def names(folder: Path) -> dict[str, list[int]]:
    return {p.name: [line["seq"] for line in lines(p)] for p in folder.iterdir()}


def test_rotation_keeps_the_newest(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    size = len(records(1)[0].line) + 1
    writer = JsonlWriter(path, rotate=2 * size + 1, keep=2)
    for record in records(9):
        writer.write([record])
    writer.close()
    assert names(tmp_path) == {"out.jsonl": [8], "out.jsonl.1": [6, 7], "out.jsonl.2": [4, 5]}


def test_a_rotation_that_was_cut_short_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    (tmp_path / "out.jsonl.1").write_text('{"seq": -2}\n')
    # Killed after out.jsonl.2 became .3, before .1 became .2: there is a gap.
    (tmp_path / "out.jsonl.3").write_text('{"seq": -3}\n')
    path.write_text('{"seq": -1}\n')
    writer = JsonlWriter(path, rotate=50, keep=3)
    writer.write(records(1))
    writer.close()
    assert names(tmp_path) == {
        "out.jsonl": [0],
        "out.jsonl.1": [-1],
        "out.jsonl.2": [-2],
        "out.jsonl.3": [-3],
    }


def test_a_batch_larger_than_a_file_may_be_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    writer = JsonlWriter(path, rotate=1000, keep=2)
    writer.write(records(9))
    writer.write(records(1, first=9))
    writer.close()
    assert names(tmp_path) == {"out.jsonl": [9], "out.jsonl.1": list(range(9))}


def test_a_file_that_somebody_moved_away_is_followed_by_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    writer = JsonlWriter(path)
    first, second = records(2)
    writer.write([first])
    path.rename(tmp_path / "moved")
    writer.write([second])
    writer.close()
    assert names(tmp_path) == {"moved": [0], "out.jsonl": [1]}


CROWD = """
import sys
from edge_fer.records import Recorder
from edge_fer.sinks import open_writer
from edge_fer.types import Observation

writer = open_writer(sys.argv[1])
recorder = Recorder(sys.argv[2] * 64)
seen = Observation(frame=1, t_ns=2, source="s" * 300, faces=())
for _ in range(300):
    writer.write([recorder.record(seen) for _ in range(3)])
writer.close()
"""


def test_several_processes_rotate_one_file_and_lose_no_line(tmp_path: Path) -> None:
    uri = f"jsonl:{tmp_path}/out.jsonl?rotate=50kB&keep=99"
    crowd = [subprocess.Popen([sys.executable, "-c", CROWD, uri, name]) for name in "abc"]
    assert [process.wait(60) for process in crowd] == [0, 0, 0]
    found = [line for path in tmp_path.iterdir() for line in lines(path)]
    for name in "abc":
        mine = sorted(line["seq"] for line in found if line["model"] == name * 12)
        assert mine == list(range(900))
    assert len(list(tmp_path.iterdir())) > 10
    assert all(path.stat().st_size <= 50_000 for path in tmp_path.iterdir())


def test_a_file_that_another_process_holds_locked_is_said(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    writer = JsonlWriter(path)
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(DeviceError, match="holds it locked"):
            writer.write(records(1))
    writer.write(records(1))
    writer.close()
    assert len(lines(path)) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_a_full_disk_is_a_device_error() -> None:
    writer = open_writer("jsonl:/dev/full")
    with pytest.raises(DeviceError, match="No space left") as caught:
        writer.write(records(1))
    assert caught.value.exit_code == 4
    assert "df -h" in caught.value.remedy
    writer.close()


FILL = """
import resource, sys
from pathlib import Path
from edge_fer.errors import DeviceError
from edge_fer.records import Recorder
from edge_fer.sinks.jsonl import JsonlWriter
from edge_fer.types import Observation

path = Path(sys.argv[1])
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
writer, recorder = JsonlWriter(path), Recorder("0" * 64)
seen = Observation(frame=1, t_ns=2, source="s", faces=())
written = 0
try:
    while True:
        batch = [recorder.record(seen), recorder.record(seen)]
        writer.write(batch)
        written += 2
except DeviceError:
    print(written, path.stat().st_size)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
writer.write(batch)
writer.close()
"""


def test_a_disk_that_fills_up_leaves_whole_batches(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text('{"seq": "from before"}\n')
    done = subprocess.run(
        [sys.executable, "-c", FILL, str(path)], capture_output=True, text=True, check=True
    )
    written, size = done.stdout.split()
    assert int(written) > 3
    assert int(size) < 2000  # what reached the limit is gone
    seq = [line["seq"] for line in lines(path)]
    # Room again: the same batch, given again, stands there once.
    assert seq == ["from before", *range(int(written) + 2)]


def test_two_writers_keep_their_lines_whole(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    one, other = JsonlWriter(path), JsonlWriter(path)
    for record in records(3):
        one.write([record])
        other.write([record])
    assert [line["seq"] for line in lines(path)] == [0, 0, 1, 1, 2, 2]
    one.close()
    other.close()


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def reader(pipe: Path) -> int:
    """Open before there is a writer; reading it never waits."""
    return os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)


def test_a_pipe_is_written_to_and_its_end_is_said(pipe: Path) -> None:
    there = reader(pipe)
    writer = JsonlWriter(pipe, rotate=1000)
    writer.write(records(1))
    writer.sync()
    assert json.loads(os.read(there, 10_000))["seq"] == 0
    assert writer.bytes_written == 0  # it is on no disk
    os.close(there)
    with pytest.raises(DeviceError, match="Broken pipe"):
        writer.write(records(1))
    with pytest.raises(DeviceError, match="nobody reads"):
        writer.write(records(1))
    there = reader(pipe)  # it comes back
    writer.write(records(1))
    assert json.loads(os.read(there, 10_000))["seq"] == 0
    os.close(there)
    writer.close()


def test_a_pipe_without_a_reader_is_refused_at_once(pipe: Path) -> None:
    with pytest.raises(DeviceError, match="is a pipe that nobody reads") as caught:
        JsonlWriter(pipe)
    assert caught.value.remedy == f"Start its reader: cat {pipe}"


def test_a_full_pipe_keeps_nobody_waiting_and_what_fits_comes_in_order(pipe: Path) -> None:
    there = reader(pipe)
    fcntl.fcntl(there, fcntl.F_SETPIPE_SZ, 4096)
    delivery = Delivery(
        Recorder(SHA), [open_writer(f"jsonl:{pipe}")], live=True, queue=20, commit_interval_s=0
    )
    count = 0
    # The thread hangs in a write when the queue stays full: emit has returned every time.
    while not delivery.status()["sinks"][0]["dropped"]:
        delivery.emit(SEEN)
        count += 1
        assert count < 100_000
    data, give_up = b"", monotonic() + 20
    while delivery.status()["sinks"][0]["queued"] or b"\n" not in data[-1:]:
        assert monotonic() < give_up
        with suppress(BlockingIOError):
            data += os.read(there, 65536)
    delivery.close()
    with suppress(BlockingIOError):
        data += os.read(there, 65536)
    os.close(there)
    seqs = [json.loads(line)["seq"] for line in data.splitlines()]
    assert seqs == sorted(set(seqs))
    assert len(seqs) == count - delivery.status()["sinks"][0]["dropped"]


def test_what_a_sync_costs_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text("x" * 99 + "\n")
    writer = JsonlWriter(path, rotate=100_000)
    costs = []
    for _ in range(50):
        before = path.stat().st_size
        counted = writer.bytes_written
        writer.write(records(2))
        writer.sync()
        writer.sync()  # nothing is left to be synced
        costs.append(writer.bytes_written - counted)
        assert costs[-1] == sync_cost(before, path.stat().st_size)
    assert min(costs) == 3 * 4096
    writer.close()


@pytest.mark.parametrize("uri", ["jsonl:-", "stdout", "stdout:"])
def test_standard_output(uri: str, capfd: pytest.CaptureFixture[str]) -> None:
    sink = open_sink(uri)
    sink.emit(SEEN)
    sink.emit(SEEN)
    sink.close()
    out = capfd.readouterr().out
    assert [json.loads(line)["seq"] for line in out.splitlines()] == [0, 1]
    sys.stdout.write("still open\n")
    sys.stdout.flush()
    assert capfd.readouterr().out == "still open\n"


def test_standard_output_that_is_no_file(capsys: pytest.CaptureFixture[str]) -> None:
    sink = open_sink("jsonl:-")
    sink.emit(SEEN)
    sink.close()
    assert json.loads(capsys.readouterr().out)["frame"] == 7


PIPED = """
import sys
from edge_fer.records import Recorder
from edge_fer.sinks import open_writer
from edge_fer.sinks.delivery import Delivery
from edge_fer.types import Observation

sink = Delivery(Recorder("0" * 64), [open_writer("jsonl:-")], live=False)
try:
    for frame in range(100_000):
        sink.emit(Observation(frame=frame, t_ns=0, source="s", faces=()))
    sink.close()
except BrokenPipeError as err:
    sink.close()
    sys.exit(f"pipe {err.errno}")
"""


def test_a_reader_that_leaves_ends_the_run() -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", PIPED], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert json.loads(process.stdout.readline())["frame"] == 0
    process.stdout.close()
    assert process.stderr.read().strip() == "pipe 32"
    assert process.wait(60) == 1
    process.stderr.close()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_standard_output_on_a_full_disk() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", PIPED.replace("100_000", "3").replace("close()", "close(0.5)")],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert "stdout: 3 records were not accepted" in done.stderr
    assert "No space left" in done.stderr


@pytest.mark.parametrize("where", ["no/such/folder/out.jsonl", "."])
def test_a_file_that_cannot_be_opened(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DeviceError, match="cannot be opened") as caught:
        open_writer(f"jsonl:{where}")
    assert caught.value.remedy
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("jsonl:", "names no file"),
        ("jsonl:?keep=2", "names no file"),
        ("jsonl", "Did you mean jsonl"),
        ("jsnol:out", "Did you mean jsonl"),
        ("out.jsonl", "Write jsonl:FILE"),
        ("", "There is no sink"),
        ("sqlite:", "names no file"),
        ("jsonl:out?kep=2", "Did you mean keep"),
        ("jsonl:out?keep=0", "keep cannot be '0'"),
        ("jsonl:out?rotate=10", "rotate cannot be '10'"),
        ("jsonl:out?rotate=10 MB", "rotate cannot be"),
        ("jsonl:out?fsync=-1", "fsync cannot be"),
        ("sqlite:out?retention=30", "retention cannot be '30'"),
        ("sqlite:out?retention=0d", "retention cannot be '0d'"),
        ("jsonl:-?keep=2", "no option 'keep'"),
        ("stdout:file", "after 'stdout'"),
    ],
)
def test_addresses_that_make_no_sense(
    uri: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for read in (open_writer, check_writer):
        with pytest.raises(ConfigError, match=says):
            read(uri)
    assert list(tmp_path.iterdir()) == []


def test_an_address_is_read_and_nothing_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for uri in (
        "jsonl:out?rotate=10MB",
        "sqlite:out",
        "stdout",
        "sse://127.0.0.1:8765?replay=5",
        "mqtts://user@broker.local:8884/t?ca=not-there.pem&qos=1",
    ):
        check_writer(uri)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("mqtt://", "no address of a broker"),
        ("mqtt://h:99999", "no address of a broker"),
        ("mqtt://h/a/+", "cannot publish"),
        ("mqtt://h?qs=1", "Did you mean qos"),
        ("mqtt://h?ca=own.pem", "no TLS"),
        ("mqtt://:s3cret@h?qos=7", "qos cannot be"),
    ],
)
def test_brokers_that_make_no_sense(uri: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        check_writer(uri)
    assert "s3cret" not in str(caught.value)


def test_options_are_read(tmp_path: Path) -> None:
    writer = open_writer(f"jsonl:{tmp_path}/out.jsonl?rotate=10MB&keep=5&fsync=0.5")
    assert isinstance(writer, JsonlWriter)
    assert writer.commit_interval_s == 0.5
    writer.close()


def test_clock_ok(tmp_path: Path) -> None:
    timesync = tmp_path / "timesync"
    assert clock_ok(datetime(1970, 1, 1, tzinfo=UTC), timesync) is False
    assert clock_ok(NOON, timesync) is None
    timesync.mkdir()
    assert clock_ok(NOON, timesync) is False
    (timesync / "synchronized").touch()
    assert clock_ok(NOON, timesync) is True
