"""Counts for each minute, and nothing about one face."""

from __future__ import annotations

import json
from collections.abc import Sequence

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
        "seconds": 60,
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
