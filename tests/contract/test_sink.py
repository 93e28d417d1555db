"""What every writer must do, the fake included; and what a delivery before it promises."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_fer.errors import EdgeFerError
from edge_fer.records import Record, Recorder
from edge_fer.sinks import open_writer
from edge_fer.sinks.base import Writer
from edge_fer.sinks.delivery import Delivery
from edge_fer.sinks.fake import FakeWriter
from edge_fer.types import Observation

# A writer, and the numbers of the records that have arrived at its other side.
Opened = tuple[Writer, Callable[[], list[int]]]


def jsonl(folder: Path) -> Opened:
    path = folder / "out.jsonl"
    return open_writer(f"jsonl:{path}"), lambda: [
        json.loads(line)["seq"] for line in path.read_text().splitlines()
    ]


def rotated(folder: Path) -> Opened:
    path = folder / "out.jsonl"

    def arrived() -> list[int]:
        files = sorted(folder.glob("out.jsonl*"))  # the oldest has the highest number
        lines = [line for file in files for line in file.read_text().splitlines()]
        return sorted(json.loads(line)["seq"] for line in lines)

    return open_writer(f"jsonl:{path}?rotate=1kB&keep=9"), arrived


def sqlite(folder: Path) -> Opened:
    path = folder / "out.db"

    def arrived() -> list[int]:
        connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
        try:
            return [seq for (seq,) in connection.execute("SELECT seq FROM observations")]
        finally:
            connection.close()

    return open_writer(f"sqlite:{path}"), arrived


def fake(folder: Path) -> Opened:
    writer = FakeWriter()
    return writer, lambda: [record.seq for record in writer.accepted]


# MQTT and SSE are added by a line here: a function of a folder.
KINDS: dict[str, Callable[[Path], Opened]] = {
    "jsonl": jsonl,
    "jsonl rotated": rotated,
    "sqlite": sqlite,
    "fake": fake,
}


@pytest.fixture(params=sorted(KINDS))
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    return KINDS[request.param](tmp_path)


def records(count: int) -> list[Record]:
    recorder = Recorder("0" * 64)
    return [recorder.record(observation(frame)) for frame in range(count)]


def observation(frame: int) -> Observation:
    return Observation(frame=frame, t_ns=frame * 1000, source="somewhere", faces=())


def test_it_has_a_name_and_figures(opened: Opened) -> None:
    writer, _ = opened
    assert writer.name
    assert writer.backlog == 0
    assert writer.bytes_written == 0
    writer.close()


def test_nothing_written_nothing_there(opened: Opened) -> None:
    writer, arrived = opened
    writer.sync()
    assert arrived() == []
    writer.close()
    assert arrived() == []


def test_there_when_sync_returns_and_in_order(opened: Opened) -> None:
    writer, arrived = opened
    given = records(9)
    writer.write(given[:2])
    writer.sync()
    assert arrived() == [0, 1]
    writer.write(given[2:3])
    writer.write(given[3:])
    writer.sync()
    writer.sync()
    assert arrived() == list(range(9))
    writer.close()
    assert arrived() == list(range(9))


def test_close_syncs_and_twice_is_fine(opened: Opened) -> None:
    writer, arrived = opened
    writer.write(records(3))
    writer.close()
    writer.close()
    assert arrived() == [0, 1, 2]
    with pytest.raises(EdgeFerError, match="closed"):
        writer.write(records(1))
    assert arrived() == [0, 1, 2]


@pytest.mark.parametrize("live", [True, False])
def test_behind_a_delivery_everything_is_there_after_close(opened: Opened, live: bool) -> None:
    writer, arrived = opened
    delivery = Delivery(Recorder("0" * 64), [writer], live=live)
    for frame in range(100):
        delivery.emit(observation(frame))
    delivery.close()
    delivery.close()
    assert arrived() == list(range(100))
    (status,) = delivery.status()["sinks"]
    assert (status["accepted"], status["last_seq"]) == (100, 99)
    assert (status["queued"], status["dropped"], status["last_error"]) == (0, 0, None)
    json.dumps(status)
    with pytest.raises(EdgeFerError, match="closed"):
        delivery.emit(observation(100))
