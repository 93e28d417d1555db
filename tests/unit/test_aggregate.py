"""Counts for each minute, and nothing about one face."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from edge_fer.aggregate import Aggregator
from edge_fer.records import AGGREGATE, Record, Recorder
from edge_fer.types import Box, Expression, Face, Observation, ObservedFace, Reason

SECOND = 1_000_000_000
START = 7 * SECOND + 123


def face(label: str, track: int | None, reason: Reason | None = None) -> ObservedFace:
    return ObservedFace(
        face=Face(box=Box(x=11.25, y=22.5, w=33.75, h=44), score=0.875, track=track),
        expression=Expression(
            label=label, probabilities={"neutral": 0.625, "fear": 0.375}, entropy=1, reason=reason
        ),
        raw_expression="sadness",
    )


def seen(second: float, *faces: ObservedFace) -> Observation:
    return Observation(
        frame=int(second * 10), t_ns=START + int(second * SECOND), source="cam", faces=faces
    )


def run(observations: Sequence[Observation]) -> list[Record]:
    aggregator = Aggregator(Recorder("0123456789abcdef" * 4))
    found = [aggregator.add(one) for one in observations]
    return [r for r in (*found, aggregator.flush(), aggregator.flush()) if r is not None]


def test_the_record_is_the_published_one() -> None:
    first, second = run(
        [
            seen(0),
            seen(1, face("neutral", 4), face("unknown", 5, "dark")),
            seen(2, face("neutral", 4), face("unknown", 5, "blurred")),
            seen(59.9, face("fear", 4)),
            seen(60, face("fear", 6)),
            seen(72.5),
        ]
    )
    stamp = {"boot_id", "run", "wall_time", "clock_ok"}
    assert stamp < set(first.document)
    assert {k: v for k, v in first.document.items() if k not in stamp} == {
        "schema": "edge-fer/aggregate/1",
        "seq": 0,
        "t_ns": START,
        "source": "cam",
        "model": "0123456789ab",
        "seconds": 59.9,
        "partial": False,
        "frames": 4,
        "frames_with_faces": 3,
        "faces": 5,
        "mean_faces": 1.25,
        "tracks": 2,
        "expressions": {"fear": 1, "neutral": 2, "unknown": 2},
        "unknown": {"blurred": 1, "dark": 1},
    }
    assert (first.schema, first.seq, second.seq) == (AGGREGATE, 0, 1)
    partial = second.document
    assert (partial["t_ns"], partial["seconds"]) == (START + 60 * SECOND, 12.5)
    assert (partial["partial"], partial["frames"], partial["tracks"]) == (True, 2, 1)


def test_nothing_of_one_face_is_in_it() -> None:
    (record,) = run([seen(0, face("neutral", 77))])
    for value in ("11.25", "22.5", "33.75", "0.875", "0.625", "0.375", "sadness", "77"):
        assert value not in json.dumps(
            {k: v for k, v in record.document.items() if k not in ("run", "boot_id", "wall_time")}
        )
    keys = set(record.document)
    assert not keys & {"box", "probabilities", "track", "score", "frame", "timings_ms"}


def test_every_face_is_counted_once_over_an_hour() -> None:
    observations = [
        seen(i / 2, *(face("fear", i // 100) for _ in range(i % 3))) for i in range(7200)
    ]
    records = run(observations)
    assert len(records) == 60
    assert [r.document["frames"] for r in records] == [120] * 60
    assert sum(r.document["faces"] for r in records) == sum(len(o.faces) for o in observations)
    assert [r.seq for r in records] == list(range(60))


def test_minutes_without_a_frame_have_no_record() -> None:
    first, second = run([seen(0), seen(3600, face("fear", 1))])
    assert (first.document["frames"], second.document["frames"]) == (1, 1)
    assert second.document["t_ns"] - first.document["t_ns"] == 3600 * SECOND


def test_without_a_tracker_tracks_are_not_counted() -> None:
    (record,) = run([seen(0, face("fear", None))])
    assert record.document["tracks"] is None
    (empty,) = run([seen(0)])
    assert empty.document["tracks"] == 0


def test_a_source_that_begins_anew_begins_a_minute() -> None:
    records = run([seen(65), seen(65.5), seen(0), seen(0.5)])
    assert [r.document["frames"] for r in records] == [2, 2]
    assert len({r.document["t_ns"] for r in records}) == 2


def test_nothing_seen_nothing_said() -> None:
    assert run([]) == []


def test_a_minute_says_how_much_of_it_there_was() -> None:
    (record,) = run([seen(second) for second in range(12)])
    assert (record.document["seconds"], record.document["partial"]) == (11, True)
    first, *_ = run([*(seen(second) for second in range(12)), seen(3 * 3600)])
    assert (first.document["seconds"], first.document["partial"]) == (11, True)
    # It came late: the camera was away at the minute's beginning.
    _, second = run([seen(0), *(seen(60 + second) for second in range(20, 60))])
    assert (second.document["seconds"], second.document["partial"]) == (39, True)
    whole, _ = run([*(seen(second + 0.3) for second in range(60)), seen(61)])
    assert (whole.document["seconds"], whole.document["partial"]) == (59, False)
    slow, _ = run([seen(0), seen(20), seen(40), seen(60)])
    assert (slow.document["seconds"], slow.document["partial"]) == (40, False)


class Clocks:
    """Both clocks of a machine, and an aggregator that reads them."""

    def __init__(self) -> None:
        self.passed_s = 0.0
        self.noon = datetime(2026, 5, 1, 12, tzinfo=UTC)
        recorder = Recorder("0" * 64, now=lambda: self.noon + timedelta(seconds=self.passed_s))
        self.aggregator = Aggregator(recorder, clock=self.now)

    def now(self) -> int:
        return START + int(self.passed_s * SECOND)

    def add(self, second: float, late_s: float = 0.0) -> Record | None:
        self.passed_s = second + late_s
        return self.aggregator.add(seen(second))

    def tick(self, second: float) -> Record | None:
        self.passed_s = second
        return self.aggregator.tick(self.now())


def wall(record: Record | None) -> str:
    assert record is not None
    return str(record.document["wall_time"])


def test_the_wall_clock_is_read_for_the_end_of_the_minute() -> None:
    clocks = Clocks()
    for second in range(11):
        assert clocks.add(second) is None
    assert wall(clocks.add(3 * 3600.0)) == "2026-05-01T12:01:00.000Z"
    clocks.passed_s += 20  # a run that ends in the middle of a minute
    assert wall(clocks.aggregator.flush()) == "2026-05-01T15:00:20.000Z"


def test_a_minute_ends_without_a_frame() -> None:
    clocks = Clocks()
    assert clocks.tick(500) is None  # nothing has begun
    for second in range(11):
        clocks.add(second)
    assert clocks.tick(59) is None
    assert clocks.tick(60.9) is None  # a frame of this minute may still be on its way
    record = clocks.tick(61)
    assert wall(record) == "2026-05-01T12:01:00.000Z"
    assert record is not None
    assert (record.document["frames"], record.document["partial"]) == (11, True)
    assert clocks.tick(3600) is None
    assert clocks.add(7200) is None
    later = clocks.tick(7262)
    assert later is not None
    assert later.document["t_ns"] == START + 7200 * SECOND


def test_a_camera_with_a_clock_of_its_own_ends_its_minutes_by_ours() -> None:
    clocks = Clocks()
    for second in range(11):
        clocks.add(second, late_s=1000)
    assert clocks.tick(1059) is None
    assert wall(clocks.tick(1061)) == "2026-05-01T12:17:40.000Z"
