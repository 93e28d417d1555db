"""The SQLite sink: its rows, retention, damage, other people's files, and full disks."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge_fer.aggregate import Aggregator
from edge_fer.errors import ConfigError, DeviceError
from edge_fer.records import Recorder
from edge_fer.sinks import open_writer
from edge_fer.sinks.sqlite import SqliteWriter
from edge_fer.types import Box, Expression, Face, Observation, ObservedFace, Reason

SHA = "0123456789abcdef" * 4
MINUTE = 60_000_000_000


def face(label: str, reason: Reason | None = None) -> ObservedFace:
    return ObservedFace(
        face=Face(box=Box(x=1, y=2, w=30.5, h=40), score=0.9, track=3),
        expression=Expression(
            label=label, probabilities={"neutral": 0.75, "fear": 0.25}, entropy=0.5, reason=reason
        ),
        raw_expression="neutral",
    )


def seen(frame: int, *faces: ObservedFace, t_ns: int | None = None) -> Observation:
    return Observation(
        frame=frame,
        t_ns=frame if t_ns is None else t_ns,
        source="cam",
        faces=faces,
        timings_ms={"total": 12.5},
    )


def ask(path: Path, sql: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()


def test_rows_of_an_observation_and_its_minute(tmp_path: Path) -> None:
    path = tmp_path / "seen.db"
    now = datetime(2026, 5, 4, tzinfo=UTC)
    recorder, writer = Recorder(SHA, now=lambda: now), SqliteWriter(path)
    writer.write(
        [
            recorder.record(seen(0, face("fear"), face("unknown", "dark"), t_ns=MINUTE)),
            recorder.record(seen(1, face("fear"), t_ns=MINUTE + 5)),
            recorder.record(seen(2, t_ns=2 * MINUTE)),
        ]
    )
    writer.sync()
    # Asked while the writer has it open.
    assert ask(path, "SELECT run, model, source FROM runs") == [
        (recorder.run, "0123456789ab", "cam")
    ]
    assert ask(path, "SELECT run, seq, t_ns, wall_time, frame, faces, total_ms FROM observations")[
        0
    ] == (1, 0, MINUTE, "2026-05-04T00:00:00.000Z", 0, 2, 12.5)
    assert ask(path, "SELECT * FROM faces")[1] == (
        *(1, 0, 1, 3, 1.0, 2.0, 30.5, 40.0, 0.9, "unknown", "dark", "neutral"),
        '{"neutral":0.75,"fear":0.25}',
    )
    assert ask(path, "SELECT minute, frames, frames_with_faces, faces, tracks FROM minutes") == [
        (1, 2, 2, 3, None),
        (2, 1, 0, 0, None),
    ]
    assert ask(path, "SELECT minute, expression, reason, frames FROM minute_expressions") == [
        (1, "fear", "", 2),
        (1, "unknown", "dark", 1),
    ]
    assert writer.bytes_written > 0
    writer.close()
    assert ask(path, "PRAGMA journal_mode") == [("wal",)]


def test_the_documented_questions_have_answers(tmp_path: Path) -> None:
    from edge_fer.sinks import tables

    path = tmp_path / "seen.db"
    recorder, writer = Recorder(SHA), SqliteWriter(path)
    writer.write([recorder.record(seen(0, face("fear")))])
    writer.close()
    questions = [part for part in (tables.__doc__ or "").split("::") if "SELECT" in part]
    assert len(questions) == 2
    for question in questions:
        sql = question[question.index("SELECT") : question.index(";")]
        assert len(ask(path, sql)) == 1


def test_a_minute_of_counts_is_a_minute(tmp_path: Path) -> None:
    path = tmp_path / "seen.db"
    recorder, writer = Recorder(SHA), SqliteWriter(path)
    aggregator = Aggregator(recorder)
    for frame in range(10):
        aggregator.add(seen(frame, face("fear"), face("unknown", "dark")))
    record = aggregator.flush()
    assert record is not None
    writer.write([record])
    writer.close()
    assert ask(path, "SELECT frames, frames_with_faces, faces, tracks FROM minutes") == [
        (10, 10, 20, 1)
    ]
    assert ask(path, "SELECT expression, reason, frames FROM minute_expressions") == [
        ("fear", "", 10),
        ("unknown", "dark", 10),
    ]
    assert ask(path, "SELECT schema, document FROM documents") == [(record.schema, record.line)]
    assert ask(path, "SELECT count(*) FROM observations") == [(0,)]


def test_a_record_given_twice_is_there_and_counted_once(tmp_path: Path) -> None:
    path = tmp_path / "seen.db"
    recorder = Recorder(SHA)
    records = [recorder.record(seen(frame, face("fear"))) for frame in range(5)]
    for batch in (records[:3], records):
        writer = SqliteWriter(path)
        writer.write(batch)
        writer.close()
    assert ask(path, "SELECT seq FROM observations") == [(i,) for i in range(5)]
    assert ask(path, "SELECT frames, faces FROM minutes") == [(5, 5)]
    assert ask(path, "SELECT count(*) FROM runs") == [(1,)]


def test_retention_deletes_in_bites_and_keeps_the_minutes(tmp_path: Path) -> None:
    path, now = tmp_path / "seen.db", [1000.0]
    recorder = Recorder(SHA)
    writer = SqliteWriter(path, retention=100, minutes=5000, clock=lambda: now[0])
    writer.write([recorder.record(seen(frame, face("fear"))) for frame in range(2500)])
    writer.sync()
    left = []
    now[0] += 101
    for frame in range(2500, 2504):
        writer.write([recorder.record(seen(frame, t_ns=5 * MINUTE))])
        writer.sync()
        left.append(ask(path, "SELECT count(*), min(seq) FROM observations")[0])
    assert left == [(1501, 1000), (502, 2000), (3, 2500), (4, 2500)]
    assert ask(path, "SELECT count(*) FROM faces") == [(0,)]
    assert ask(path, "SELECT minute FROM minutes") == [(0,), (5,)]
    now[0] += 5001
    writer.write([recorder.record(seen(3000, t_ns=9 * MINUTE))])
    writer.close()
    assert ask(path, "SELECT minute FROM minutes") == [(9,)]
    assert ask(path, "SELECT count(*) FROM minute_expressions") == [(0,)]


def test_age_goes_on_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "seen.db"
    for start in (500.0, 3.0):  # after a reboot the monotonic clock begins anew
        now = [start]
        recorder = Recorder(SHA)
        writer = SqliteWriter(path, retention=100, clock=lambda now=now: now[0])
        writer.write([recorder.record(seen(0))])
        writer.sync()
        now[0] += 60
        writer.write([recorder.record(seen(1))])
        writer.close()
    assert ask(path, "SELECT written_s FROM observations") == [(60,), (60,), (120,)]


def test_a_wall_clock_that_jumps_fifty_years_deletes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "seen.db"
    clock = [datetime(2026, 5, 4, tzinfo=UTC)]
    recorder = Recorder(SHA, now=lambda: clock[0])
    writer = SqliteWriter(path, retention=86_400, clock=lambda: 0.0)
    for years in (0, 50, -100):
        clock[0] += timedelta(days=365 * years)
        writer.write([recorder.record(seen(years + 100))])
        writer.sync()
    writer.close()
    assert ask(path, "SELECT frame FROM observations") == [(100,), (150,), (0,)]


@pytest.mark.parametrize("where", ["in the middle", "header", "not a database"])
def test_a_damaged_file_is_set_aside_and_recording_goes_on(tmp_path: Path, where: str) -> None:
    path, said = tmp_path / "seen.db", []
    recorder, writer = Recorder(SHA), SqliteWriter(path)
    writer.write([recorder.record(seen(frame, face("fear"))) for frame in range(2000)])
    writer.close()
    data = bytearray(path.read_bytes())
    if where == "in the middle":
        # Every second page but the first ones, so that the tables themselves open.
        for page in range(20, len(data) // 4096, 2):
            data[page * 4096 : (page + 1) * 4096] = b"\xa5" * 4096
    elif where == "header":
        data[:100] = bytes(100)
    else:
        data = bytearray(b"a letter to my aunt\n" * 500)
    path.write_bytes(data)
    again = open_writer(f"sqlite:{path}", warn=said.append)
    again.write([recorder.record(seen(5000))])
    again.sync()
    again.close()
    aside = tmp_path / "seen.db.damaged-1"
    assert len(said) == 1
    assert str(aside) in said[0]
    assert aside.read_bytes()[: len(data)] == bytes(data)
    assert ask(path, "SELECT frame FROM observations") == [(5000,)]
    assert ask(path, "PRAGMA integrity_check") == [("ok",)]


def test_a_second_damaged_file_does_not_replace_the_first(tmp_path: Path) -> None:
    path = tmp_path / "seen.db"
    for text in ("one" * 99, "two" * 99):
        path.write_text(text)
        SqliteWriter(path).close()
    assert (tmp_path / "seen.db.damaged-1").read_text() == "one" * 99
    assert (tmp_path / "seen.db.damaged-2").read_text() == "two" * 99


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (x)")
    with pytest.raises(ConfigError, match="another program"):
        SqliteWriter(path)
    assert ask(path, "SELECT name FROM sqlite_master") == [("mine",)]


def test_a_file_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "seen.db"
    SqliteWriter(path).close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(ConfigError, match=r"newer edge-fer \(its tables are version 2"):
        SqliteWriter(path)


def test_a_locked_database_is_a_device_error_and_goes_on_later(tmp_path: Path) -> None:
    path = tmp_path / "seen.db"
    recorder, writer = Recorder(SHA), SqliteWriter(path)
    record = recorder.record(seen(0))
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        writer.write([record])
        with pytest.raises(DeviceError, match="locked"):
            writer.sync()
        other.execute("ROLLBACK")
    writer.write([record])
    writer.close()
    assert ask(path, "SELECT seq FROM observations") == [(0,)]


def test_a_reader_that_stays_stops_nobody(tmp_path: Path) -> None:
    path = tmp_path / "seen.db"
    recorder, writer = Recorder(SHA), SqliteWriter(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        assert reader.execute("SELECT count(*) FROM observations").fetchone() == (0,)
        for frame in range(3):
            writer.write([recorder.record(seen(frame))])
            writer.sync()
        assert reader.execute("SELECT count(*) FROM observations").fetchone() == (0,)
        reader.execute("ROLLBACK")
        assert reader.execute("SELECT count(*) FROM observations").fetchone() == (3,)
    writer.close()


def test_a_file_that_vanished_is_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "seen.db"
    recorder, writer = Recorder(SHA), SqliteWriter(path)
    first, second = recorder.record(seen(0)), recorder.record(seen(1))
    writer.write([first])
    writer.sync()
    for file in tmp_path.iterdir():
        file.unlink()
    writer.write([second])
    writer.sync()
    assert ask(path, "SELECT seq FROM observations") == [(1,)]
    writer.close()


@pytest.mark.parametrize("where", ["no/such/folder/seen.db", "."])
def test_a_file_that_cannot_be_opened(where: str, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match="cannot be opened") as caught:
        open_writer(f"sqlite:{tmp_path / where}")
    assert caught.value.exit_code == 4
    assert caught.value.remedy
