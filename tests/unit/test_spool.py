"""Store and forward on disk: order, bounds, what survives and what counts as a duplicate."""

import json
import os
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from edge_fer.errors import DeviceError
from edge_fer.sinks.spool import Spool


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def lines(*numbers: int) -> list[tuple[str, str]]:
    return [("observation", json.dumps({"seq": n})) for n in numbers]


def seqs(spool: Spool, after: int = 0, limit: int = 10_000) -> list[int]:
    return [json.loads(r.line)["seq"] for r in spool.take(after, limit)]


def test_what_was_committed_comes_back_in_order_and_is_no_duplicate(tmp_path: Path) -> None:
    spool = Spool(tmp_path / "made" / "here")
    spool.append(lines(*range(100)))
    spool.commit()
    spool.append(lines(100))
    assert (len(spool), spool.stored, spool.unstored) == (101, 100, 1)
    spool.close()
    again = Spool(tmp_path / "made" / "here")
    assert len(again) == 101
    taken = again.take(0, 1000)
    assert [json.loads(r.line)["seq"] for r in taken] == list(range(101))
    assert not any(r.duplicate for r in taken)
    assert {r.kind for r in taken} == {"observation"}
    again.close()


def test_what_is_delivered_before_the_commit_never_touches_the_disk(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    before = spool.bytes_written, spool.size
    for n in range(50):
        spool.append(lines(n))
        (record,) = spool.take(0, 10)
        spool.delivered(record.id)
        spool.commit()
    assert (spool.bytes_written, spool.size) == before
    assert len(spool) == 0
    spool.append(lines(50))
    spool.commit()
    assert spool.bytes_written > before[0]
    spool.close()


def test_taken_and_not_delivered_comes_again_as_a_duplicate_and_the_rest_not(
    tmp_path: Path,
) -> None:
    spool = Spool(tmp_path)
    spool.append(lines(*range(10)))
    spool.commit()
    first = spool.take(0, 4)
    assert not any(r.duplicate for r in first)
    spool.delivered(first[0].id)
    assert seqs(spool, after=first[-1].id, limit=0) == []
    second = spool.take(0, 5)
    assert [(json.loads(r.line)["seq"], r.duplicate) for r in second] == [
        (1, True),
        (2, True),
        (3, True),
        (4, False),
        (5, False),
    ]
    spool.close()


@pytest.mark.parametrize("committed", [True, False])
def test_an_acknowledgement_out_of_order_deletes_the_right_one(
    tmp_path: Path, committed: bool
) -> None:
    spool = Spool(tmp_path)
    spool.append(lines(0, 1, 2))
    if committed:
        spool.commit()
    taken = spool.take(0, 3)
    spool.delivered(taken[1].id)
    spool.delivered(taken[1].id)  # and twice is once
    spool.delivered(99)
    assert len(spool) == 2
    spool.close()
    again = Spool(tmp_path)
    assert seqs(again) == [0, 2]
    again.close()


KILLED = """
import json, os, sys, time
from pathlib import Path
from edge_fer.sinks.spool import Spool
spool = Spool(Path(sys.argv[1]))
sent = int(sys.argv[2])
spool.append([("observation", json.dumps({"seq": n})) for n in range(800)])
spool.commit()
for record in spool.take(0, sent):
    pass
spool.append([("observation", json.dumps({"seq": n})) for n in range(800, 850)])
print("ready", flush=True)
time.sleep(600)
"""


def killed(tmp_path: Path, sent: int) -> Spool:
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), str(sent)], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == b"ready\n"
        os.kill(process.pid, signal.SIGKILL)
    process.wait()
    return Spool(tmp_path)


def test_killed_before_anything_was_sent_all_that_was_committed_is_there_and_none_is_marked(
    tmp_path: Path,
) -> None:
    spool = killed(tmp_path, 0)
    taken = spool.take(0, 1000)
    assert [json.loads(r.line)["seq"] for r in taken] == list(range(800))
    assert not any(r.duplicate for r in taken)
    spool.close()


def test_killed_while_records_were_under_way_every_one_of_them_is_marked(tmp_path: Path) -> None:
    spool = killed(tmp_path, 30)
    taken = spool.take(0, 1000)
    assert [json.loads(r.line)["seq"] for r in taken] == list(range(800))
    marked = [r.duplicate for r in taken]
    assert all(marked[:30])
    # The mark is moved on in blocks, so some more are; those beyond the block are not.
    assert not any(marked[600:])
    assert marked == sorted(marked, reverse=True)
    spool.close()


def test_ids_after_a_restart_are_never_below_the_mark(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(lines(0, 1))
    spool.commit()
    for record in spool.take(0, 2):
        spool.delivered(record.id)
    spool.close()
    again = Spool(tmp_path)
    again.append(lines(2))
    assert [r.duplicate for r in again.take(0, 5)] == [False]
    again.close()


def test_a_full_spool_loses_the_oldest_and_counts_them(tmp_path: Path) -> None:
    spool = Spool(tmp_path, max_bytes=400_000)
    for start in range(0, 4000, 100):
        spool.append(
            [
                ("observation", f'{{"seq":{n},"pad":"{"x" * 300}"}}')
                for n in range(start, start + 100)
            ]
        )
        spool.commit()
        # The file does not grow beyond its bound; the log is cut at a megabyte.
        assert spool.path.stat().st_size <= 450_000
        assert spool.size <= 450_000 + 1_300_000
    kept = seqs(spool)
    assert kept == list(range(kept[0], 4000))
    assert 700 < len(kept) < 1400
    assert spool.dropped == 4000 - len(kept)
    assert len(spool) == len(kept)
    # An acknowledgement that comes for one that is gone changes nothing.
    spool.delivered(1)
    assert len(spool) == len(kept)
    spool.close()


def test_age_is_running_time_and_a_restart_does_not_reset_it(tmp_path: Path) -> None:
    clock = Clock()
    spool = Spool(tmp_path, max_age_s=100.0, clock=clock)
    spool.append(lines(0, 1))
    spool.commit()
    clock.now += 60
    spool.append(lines(2))
    spool.commit()
    assert spool.dropped == 0
    spool.close()
    other = Clock()
    other.now = 5.0  # another boot: the monotonic clock starts again
    again = Spool(tmp_path, max_age_s=100.0, clock=other)
    again.commit()
    assert len(again) == 3
    other.now += 41
    again.commit()
    assert seqs(again) == [2]
    assert again.dropped == 2
    again.close()


def test_one_spool_one_process(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    with pytest.raises(DeviceError, match="another process uses it") as caught:
        Spool(tmp_path)
    assert "?spool=" in caught.value.remedy
    spool.close()
    Spool(tmp_path).close()


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceError, match="cannot be opened"):
        Spool(tmp_path / "file")


def rubbish(path: Path) -> None:
    path.write_bytes(b"no data base at all " * 1000)


def torn(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096 : len(data) - 4096] = b"\x5a" * (len(data) - 8192)
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [rubbish, torn])
def test_a_damaged_file_is_set_aside_and_the_queue_goes_on(tmp_path: Path, damage: object) -> None:
    spool = Spool(tmp_path)
    spool.append(lines(*range(3000)))
    spool.commit()
    spool.close()
    assert callable(damage)
    damage(tmp_path / "spool.sqlite")
    again = Spool(tmp_path)
    assert again.set_aside is not None
    assert again.set_aside.exists()
    assert len(again) == 0
    again.append(lines(1))
    again.commit()
    assert seqs(again) == [1]
    again.close()
    assert Spool(tmp_path).set_aside is None


def test_a_disk_that_is_full_says_so_and_takes_the_same_records_again_later(
    tmp_path: Path,
) -> None:
    """The kernel refuses to let files grow (EFBIG), as a full disk refuses (ENOSPC)."""
    spool = Spool(tmp_path)
    spool.append(lines(0))
    spool.commit()
    many = lines(*range(1, 2000))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (spool.size, hard))
    try:
        spool.append(many)
        sent = spool.take(0, 5)
        with pytest.raises(DeviceError, match="cannot be written") as caught:
            spool.commit()
        assert "df -h" in caught.value.remedy
        assert len(spool) == 1
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    spool.append(many)
    spool.commit()
    taken = spool.take(0, 5000)
    assert [json.loads(r.line)["seq"] for r in taken] == list(range(2000))
    # Four of the new ones had been sent before the disk refused them, as had the old one.
    assert [r.duplicate for r in taken[:8]] == [True] * len(sent) + [False] * 3
    spool.close()


def test_what_it_says_it_wrote_is_what_the_log_holds(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for n in range(40):
        spool.append(lines(n))
        spool.commit()
    # Besides the log's header, made before the counting began: what lies in the log, and for each
    # commit the block that it shares with the one before, and the file system's notes.
    log = (tmp_path / "spool.sqlite-wal").stat().st_size
    assert 0.9 * log <= spool.bytes_written - 40 * 8192 <= log + 40 * 4096
    spool.close()
    with closing(sqlite3.connect(tmp_path / "spool.sqlite")) as db:
        assert db.execute("SELECT count(*) FROM records").fetchone() == (40,)


def test_closing_twice_is_fine_and_quick(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.close()
    began = time.monotonic()
    spool.close()
    assert time.monotonic() - began < 5


def test_a_mark_that_cannot_be_read_marks_everything(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(lines(0, 1))
    spool.close()
    (tmp_path / "spool.mark").write_bytes(b"\0" * 20)
    again = Spool(tmp_path)
    assert [r.duplicate for r in again.take(0, 5)] == [True, True]
    again.append(lines(2))
    assert [r.duplicate for r in again.take(2, 5)] == [False]
    again.close()


def test_a_backlog_leaves_while_the_disk_is_full(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.append(lines(*range(1200)))
    spool.commit()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        after = 0
        while taken := spool.take(after, 100):
            for record in taken:
                spool.delivered(record.id)
            after = taken[-1].id
            spool.commit()
        assert after == 1200
        assert len(spool) == 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    spool.close()
    again = Spool(tmp_path)
    assert len(again) == 0
    again.close()
