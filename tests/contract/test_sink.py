"""What every sink must do, the fake included."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_fer.errors import EdgeFerError
from edge_fer.sinks import open_sink
from edge_fer.sinks.fake import FakeSink
from edge_fer.types import Observation, Sink

Opened = tuple[Sink, Callable[[], list[int]]]


def observation(frame: int) -> Observation:
    return Observation(frame=frame, t_ns=frame * 1000, source="somewhere", faces=())


@pytest.fixture(params=["jsonl", "fake"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opened:
    """A sink, and the frame numbers that have arrived at its other side."""
    if request.param == "fake":
        fake = FakeSink()
        return fake, lambda: [o.frame for o in fake.observations]
    path = tmp_path / "out.jsonl"
    sink = open_sink(f"jsonl:{path}", "0" * 64)
    return sink, lambda: [json.loads(line)["frame"] for line in path.read_text().splitlines()]


def test_nothing_emitted_nothing_there(opened: Opened) -> None:
    sink, arrived = opened
    sink.close()
    assert arrived() == []


def test_there_as_soon_as_emit_returns(opened: Opened) -> None:
    sink, arrived = opened
    for frame in (5, 6, 9):
        sink.emit(observation(frame))
        assert arrived()[-1] == frame
    assert arrived() == [5, 6, 9]
    sink.close()
    assert arrived() == [5, 6, 9]


def test_close_twice_and_emit_after(opened: Opened) -> None:
    sink, arrived = opened
    sink.emit(observation(0))
    sink.close()
    sink.close()
    with pytest.raises(EdgeFerError, match="closed"):
        sink.emit(observation(1))
    assert arrived() == [0]
