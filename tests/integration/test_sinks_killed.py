"""Sinks whose process is killed, whose disk fills up, or becomes read-only: for real."""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from time import monotonic, sleep

import pytest

from edge_fer.errors import DeviceError
from edge_fer.records import Recorder
from edge_fer.sinks import open_writer
from edge_fer.sinks.delivery import Delivery
from edge_fer.sinks.lane import Patience
from edge_fer.types import Observation

KILLS = 200 if os.environ.get("EDGE_FER_LONG") == "1" else 20
SOON = Patience(retry_s=0.05, longest_s=0.1, give_up_s=20)

# Prints each acknowledged number as soon as it is; goes on until it is killed.
CHILD = """
import os, sys
from time import sleep
from edge_fer.records import Recorder
from edge_fer.sinks import open_writer
from edge_fer.sinks.delivery import Delivery
from edge_fer.types import Observation

uri, first, window = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
recorder = Recorder("0" * 64, first_seq=first)

def tell(name, seq):
    os.write(1, f"{recorder.run} {seq}\\n".encode())

delivery = Delivery(
    recorder, [open_writer(uri)], live=False, commit_interval_s=window, on_accepted=tell
)
frame = 0
while True:
    delivery.emit(Observation(frame=frame, t_ns=frame * 10**8, source="s" * 200, faces=()))
    frame += 1
    if frame % 20 == 0:
        sleep(0.001)
"""


def kill_one(uri: str, first: int, luck: random.Random) -> tuple[str, list[int]]:
    """Run a child, kill it at a random moment after its first word; its run and what it said."""
    window = luck.choice(["0", "0.002", "0.02"])
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, uri, str(first), window], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    said = [process.stdout.readline()]
    sleep(luck.uniform(0, 0.08))
    process.kill()
    said += process.stdout.readlines()
    process.stdout.close()
    assert process.wait(20) == -9
    words = [line.split() for line in said if line.endswith("\n")]
    assert words, "the child ended before it had said anything"
    return words[0][0], [int(seq) for _, seq in words]


def in_lines(folder: Path) -> Counter[tuple[str, int]]:
    """Run and number of every whole line, and how often it is there; half lines are few."""
    found: Counter[tuple[str, int]] = Counter()
    torn = 0
    for path in folder.glob("out.jsonl*"):
        for line in path.read_text().split("\n"):
            try:
                document = json.loads(line) if line else None
            except ValueError:
                torn += 1
                continue
            if document is not None:
                found[document["run"], document["seq"]] += 1
    assert torn <= KILLS
    return found


def in_tables(folder: Path) -> Counter[tuple[str, int]]:
    with closing(sqlite3.connect(f"file:{folder}/out.db?mode=ro", uri=True)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = connection.execute(
            "SELECT r.run, o.seq FROM observations AS o JOIN runs AS r ON r.id = o.run"
        ).fetchall()
        # The minutes' counts belong to the same transaction.
        frames = connection.execute("SELECT sum(frames) FROM minutes").fetchone()[0]
    assert frames == len(rows)
    return Counter(rows)


@pytest.mark.parametrize(
    ("uri", "read"),
    [
        ("jsonl:{}/out.jsonl", in_lines),
        ("jsonl:{}/out.jsonl?rotate=40kB&keep=999", in_lines),
        ("sqlite:{}/out.db", in_tables),
    ],
    ids=["jsonl", "rotated", "sqlite"],
)
def test_killed_at_random_points_nothing_accepted_is_lost(
    uri: str, read: object, tmp_path: Path
) -> None:
    assert callable(read)
    luck = random.Random(f"{uri} {KILLS}")  # noqa: S311
    acknowledged: dict[str, int] = {}  # run to its last accepted number
    for _ in range(KILLS):
        run, said = kill_one(uri.format(tmp_path), 1000, luck)
        assert said == sorted(said)
        acknowledged[run] = said[-1]
    found = read(tmp_path)
    assert len(acknowledged) == KILLS
    for run, last in acknowledged.items():
        # All up to the last acknowledged one, each exactly once.
        assert [found[run, seq] for seq in range(1000, last + 1)] == [1] * (last - 999)
    assert set(found.values()) == {1}
    # And the file goes on from there.
    recorder = Recorder("0" * 64)
    writer = open_writer(uri.format(tmp_path))
    writer.write([recorder.record(Observation(frame=0, t_ns=0, source="s", faces=()))])
    writer.close()
    assert read(tmp_path)[recorder.run, 0] == 1


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1M", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def until_state(delivery: Delivery, state: str, frame: int) -> int:
    """Emit until the sink's state is this one; the next frame."""
    give_up = monotonic() + 20
    while delivery.status()["sinks"][0]["state"] != state:
        assert monotonic() < give_up, delivery.status()
        for _ in range(10):
            delivery.emit(observation(frame))
            frame += 1
        sleep(0.005)
    return frame


def observation(frame: int) -> Observation:
    return Observation(frame=frame, t_ns=frame * 10**8, source="s" * 500, faces=())


URIS = [("jsonl:{}/out.jsonl", in_lines), ("sqlite:{}/out.db", in_tables)]


@pytest.mark.parametrize(("uri", "read"), URIS, ids=["jsonl", "sqlite"])
def test_a_disk_that_fills_up_and_has_room_again(uri: str, read: object, small_disk: Path) -> None:
    assert callable(read)
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(600_000))
    recorder, accepted = Recorder("0" * 64), []
    delivery = Delivery(
        recorder,
        [open_writer(uri.format(small_disk))],
        live=True,
        commit_interval_s=0.01,
        queue=100_000,
        on_accepted=lambda name, seq: accepted.append(seq),
        patience=SOON,
    )
    frame = until_state(delivery, "failing", 0)
    full = delivery.status()["sinks"][0]
    assert full["accepted"] > 0
    assert full["last_error"]
    before = read(small_disk)
    assert all(before[recorder.run, seq] == 1 for seq in range(accepted[-1] + 1))
    ballast.unlink()
    frame = until_state(delivery, "ok", frame)
    delivery.close(20)
    assert delivery.status()["sinks"][0]["dropped"] == 0
    # Nothing was lost, nothing stands there twice, no half line is left.
    assert read(small_disk) == Counter({(recorder.run, seq): 1 for seq in range(frame)})


@pytest.mark.parametrize(("uri", "read"), URIS, ids=["jsonl", "sqlite"])
def test_a_disk_that_becomes_read_only_and_writable_again(
    uri: str, read: object, small_disk: Path
) -> None:
    assert callable(read)

    def remount(how: str) -> None:
        # The kernel refuses it while a file is open for writing.
        subprocess.run(["mount", "-o", f"remount,{how}", str(small_disk)], check=True)

    recorder = Recorder("0" * 64)

    def store(frame: int) -> None:
        writer = open_writer(uri.format(small_disk))
        writer.write([recorder.record(observation(frame))])
        writer.close()

    store(0)
    remount("ro")
    try:
        with pytest.raises(DeviceError, match=r"[Rr]ead-?only") as caught:
            store(1)
        assert caught.value.exit_code == 4
        assert caught.value.remedy
    finally:
        remount("rw")
    store(2)
    found = read(small_disk)
    assert found[recorder.run, 0] == 1
    assert sum(found.values()) == 2


ACKNOWLEDGE = """
import os, sys
from edge_fer.records import Recorder
from edge_fer.sinks import open_writer
from edge_fer.types import Observation

writer, recorder = open_writer(sys.argv[1]), Recorder("0" * 64)
for frame in range(20):
    for _ in range(3):
        writer.write([recorder.record(Observation(frame=frame, t_ns=0, source="s", faces=()))])
    writer.sync()
    os.write(1, b"accepted\\n")
os._exit(0)
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="apt-get install strace")
@pytest.mark.parametrize(
    "uri", ["jsonl:{}/out.jsonl", "jsonl:{}/out.jsonl?rotate=1kB", "sqlite:{}/out.db"]
)
def test_what_is_accepted_was_synced_before(uri: str, tmp_path: Path) -> None:
    """A kill cannot show it, since the pages outlive the process: so the system calls are read."""
    trace = tmp_path / "trace.txt"
    calls = "trace=write,pwrite64,pwritev,fsync,fdatasync"
    child = [sys.executable, "-c", ACKNOWLEDGE, uri.format(tmp_path)]
    done = subprocess.run(
        ["strace", "-f", "-y", "-e", calls, "-o", str(trace), *child],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"no process can be traced here: {done.stderr.strip()}")
    accepted, unsynced, synced = 0, set(), 0
    for line in trace.read_text().splitlines():
        name, _, rest = line.partition("(")
        call, (handle, _, place) = name.split()[-1], rest.partition(">")[0].partition("<")
        if 'accepted\\n"' in rest:
            assert unsynced == set()
            accepted += 1
        elif "/out." in place and not place.endswith("-shm"):
            if call in ("fsync", "fdatasync"):
                unsynced.discard(handle)
                synced += 1
            else:
                unsynced.add(handle)
    assert accepted == 20
    assert synced >= 20
