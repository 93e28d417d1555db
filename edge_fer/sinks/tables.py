"""The tables of the SQLite sink, and how records come into them.

Version 1:

``runs(id, run, boot_id, model, source)``
    each start of edge-fer (``id`` grows), its model and source.
``observations(run, seq, t_ns, wall_time, clock_ok, frame, faces, total_ms, written_s)``
    one row a frame; ``run`` is ``runs.id``, ``t_ns`` monotonic ns of that boot, ``clock_ok`` 1, 0
    or null, ``written_s`` the seconds that this file had been written to by then, over all runs.
``faces(run, seq, face, track, x, y, w, h, score, expression, reason, raw_expression,
probabilities)``
    one row a face of an observation, ``face`` 0, 1, ...; the box in pixels, probabilities as JSON.
``minutes(run, minute, wall_time, clock_ok, frames, frames_with_faces, faces, tracks, written_s)``
    one row a minute that had frames (``minute`` is ``t_ns`` / 60e9); ``tracks`` only from counts.
``minute_expressions(run, minute, expression, reason, frames)``
    faces summed over the frames of a minute, for each expression; ``reason`` is '' where known.
``documents(run, seq, schema, document)``
    records of any other schema, as JSON.

How often each expression was seen in each hour::

    SELECT substr(m.wall_time, 1, 13) AS hour, e.expression, sum(e.frames)
    FROM minutes AS m JOIN minute_expressions AS e USING (run, minute) GROUP BY 1, 2;

How sure of happiness the model was in the last thousand faces::

    SELECT run, seq, json_extract(probabilities, '$.happiness') FROM faces
    ORDER BY run DESC, seq DESC LIMIT 1000;
"""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any

from edge_fer.errors import ConfigError
from edge_fer.records import AGGREGATE, OBSERVATION, Record
from edge_fer.types import UNKNOWN

__all__ = ["SCHEMA_VERSION", "agree", "forget", "insert", "seconds_written", "transaction"]

SCHEMA_VERSION = 1
_APPLICATION_ID = 0x65666572  # "efer"
_MINUTE_NS = 60_000_000_000
# Rows looked at in one transaction when old ones are deleted: more than a window brings.
_BITE = 1000

_SCHEMA = f"""
CREATE TABLE runs (id INTEGER PRIMARY KEY, run TEXT NOT NULL UNIQUE, boot_id TEXT, model TEXT,
  source TEXT);
CREATE TABLE observations (run INTEGER, seq INTEGER, t_ns INTEGER, wall_time TEXT,
  clock_ok INTEGER, frame INTEGER, faces INTEGER, total_ms REAL, written_s INTEGER,
  PRIMARY KEY (run, seq)) WITHOUT ROWID;
CREATE TABLE faces (run INTEGER, seq INTEGER, face INTEGER, track INTEGER, x REAL, y REAL, w REAL,
  h REAL, score REAL, expression TEXT, reason TEXT, raw_expression TEXT, probabilities TEXT,
  PRIMARY KEY (run, seq, face)) WITHOUT ROWID;
CREATE TABLE minutes (run INTEGER, minute INTEGER, wall_time TEXT, clock_ok INTEGER,
  frames INTEGER, frames_with_faces INTEGER, faces INTEGER, tracks INTEGER, written_s INTEGER,
  PRIMARY KEY (run, minute)) WITHOUT ROWID;
CREATE TABLE minute_expressions (run INTEGER, minute INTEGER, expression TEXT, reason TEXT,
  frames INTEGER, PRIMARY KEY (run, minute, expression, reason)) WITHOUT ROWID;
CREATE TABLE documents (run INTEGER, seq INTEGER, schema TEXT, document TEXT,
  PRIMARY KEY (run, seq)) WITHOUT ROWID;
PRAGMA application_id = {_APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
"""
_MINUTE = """
INSERT INTO minutes VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO UPDATE SET
  frames = frames + ?5, frames_with_faces = frames_with_faces + ?6, faces = faces + ?7,
  tracks = tracks + ?8, written_s = ?9
"""
_MINUTE_EXPRESSION = """
INSERT INTO minute_expressions VALUES (?1, ?2, ?3, ?4, ?5)
  ON CONFLICT DO UPDATE SET frames = frames + ?5
"""


def agree(connection: sqlite3.Connection, name: str) -> None:
    """Make the tables of a new file, and refuse a file that is not ours.

    Raises:
        ConfigError: another program's database, or one of a newer edge-fer.
        sqlite3.Error: it cannot be read or written.
    """
    with transaction(connection):
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (owner,) = connection.execute("PRAGMA application_id").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if owner != _APPLICATION_ID and (tables or version or owner):
            raise ConfigError(
                f"{name} is another program's database.", "Name a new file: sqlite:FILE"
            )
        if version > SCHEMA_VERSION:
            raise ConfigError(
                f"{name} was made by a newer edge-fer (its tables are version {version}, "
                f"this one writes {SCHEMA_VERSION}).",
                "Name a new file, or update: pip install -U edge-fer",
            )
        if not tables:
            for statement in filter(str.strip, _SCHEMA.split(";")):
                connection.execute(statement)


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Everything in the block is stored, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        with suppress(sqlite3.Error):  # a full disk has rolled it back already
            connection.execute("ROLLBACK")
        raise


def seconds_written(connection: sqlite3.Connection) -> int:
    """How long the file has been written to, over all runs: the clock of the retention."""
    row = connection.execute(
        "SELECT written_s FROM minutes ORDER BY run DESC, minute DESC LIMIT 1"
    ).fetchone()
    return 0 if row is None else int(row[0])


def insert(connection: sqlite3.Connection, records: Iterable[Record], written_s: int) -> None:
    """Store records and add them to their minutes; one that is there already changes nothing."""
    runs: dict[str, int] = {}
    for record in records:
        document = record.document
        name = document["run"]
        if name not in runs:
            runs[name] = _run(connection, document)
        if record.schema == OBSERVATION:
            _insert_observation(connection, runs[name], document, written_s)
            continue
        done = connection.execute(
            "INSERT OR IGNORE INTO documents VALUES (?, ?, ?, ?)",
            (runs[name], record.seq, record.schema, record.line),
        )
        if done.rowcount == 1 and record.schema == AGGREGATE:
            _add_minute(connection, runs[name], document, written_s)


def forget(
    connection: sqlite3.Connection, written_s: int, *, observations_s: int, minutes_s: int
) -> None:
    """Delete a bite of the rows that are older than their time, in seconds."""
    for key, tables, before in (
        ("seq", ("observations", "faces"), written_s - observations_s),
        ("minute", ("minutes", "minute_expressions"), written_s - minutes_s),
    ):
        oldest = f"SELECT run, {key}, written_s FROM {tables[0]} ORDER BY run, {key} LIMIT ?"  # noqa: S608
        first = connection.execute(oldest, (1,)).fetchone()
        if first is None or first[2] >= before:
            continue
        gone = [row[:2] for row in connection.execute(oldest, (_BITE,)) if row[2] < before]
        for table in tables:
            connection.execute(f"DELETE FROM {table} WHERE (run, {key}) <= (?, ?)", gone[-1])  # noqa: S608


def _run(connection: sqlite3.Connection, document: Mapping[str, Any]) -> int:
    name = document["run"]
    connection.execute(
        "INSERT OR IGNORE INTO runs (run, boot_id, model, source) VALUES (?, ?, ?, ?)",
        (name, document.get("boot_id"), document.get("model"), document.get("source")),
    )
    found = connection.execute("SELECT id FROM runs WHERE run = ?", (name,)).fetchone()
    return int(found[0])


def _insert_observation(
    connection: sqlite3.Connection, run: int, document: Mapping[str, Any], written_s: int
) -> None:
    faces, seq = document["faces"], document["seq"]
    done = connection.execute(
        "INSERT OR IGNORE INTO observations VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(run, seq, document["t_ns"], document["wall_time"], document["clock_ok"]),
            *(document["frame"], len(faces), document["timings_ms"].get("total"), written_s),
        ),
    )
    if done.rowcount != 1:
        return
    connection.executemany(
        "INSERT INTO faces VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (_face(run, seq, number, face) for number, face in enumerate(faces)),
    )
    counts = {
        "frames": 1,
        "frames_with_faces": int(bool(faces)),
        "faces": len(faces),
        "tracks": None,
        "expressions": Counter(face["expression"] for face in faces),
        "unknown": Counter(face["reason"] for face in faces if face["reason"] is not None),
    }
    _add_minute(connection, run, {**document, **counts}, written_s)


def _add_minute(
    connection: sqlite3.Connection, run: int, document: Mapping[str, Any], written_s: int
) -> None:
    minute = document["t_ns"] // _MINUTE_NS
    connection.execute(
        _MINUTE,
        (
            *(run, minute, document["wall_time"], document["clock_ok"], document["frames"]),
            *(document["frames_with_faces"], document["faces"], document["tracks"], written_s),
        ),
    )
    known = {label: n for label, n in document["expressions"].items() if label != UNKNOWN}
    rows = [(run, minute, label, "", n) for label, n in known.items()]
    rows += [(run, minute, UNKNOWN, reason, n) for reason, n in document["unknown"].items()]
    connection.executemany(_MINUTE_EXPRESSION, rows)


def _face(run: int, seq: int, number: int, face: Mapping[str, Any]) -> tuple[Any, ...]:
    probabilities = json.dumps(face["probabilities"], separators=(",", ":"))
    return (
        *(run, seq, number, face["track"], *face["box"], face["score"]),
        *(face["expression"], face["reason"], face["raw_expression"], probabilities),
    )
