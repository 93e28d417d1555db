"""What Home Assistant is told, and what it is not."""

import json
from typing import Any

import pytest

from edge_fer.sinks.home_assistant import NO_FACE, Device, State, discovery

DEVICE = Device(name="Lobby Kiosk №1", topic="museum/lobby")


def observation(*faces: tuple[str, float]) -> dict[str, Any]:
    return {"faces": [{"expression": label, "box": [0, 0, size, size]} for label, size in faces]}


def test_the_biggest_face_speaks_for_all() -> None:
    state = State()
    state.see(observation(("anger", 40.0), ("happiness", 90.0), ("fear", 60.0)))
    assert state.document == {"expression": "happiness", "faces": 3, "unknown_rate": 0}
    state.see(observation())
    assert state.document == {"expression": NO_FACE, "faces": 0, "unknown_rate": 0}


def test_the_unknown_rate_is_of_the_last_200_faces() -> None:
    state = State()
    state.see(observation())
    assert "unknown_rate" not in state.document
    for _ in range(300):
        state.see(observation(("unknown", 10.0)))
    assert state.document["unknown_rate"] == 100
    for _ in range(150):
        state.see(observation(("anger", 10.0)))
    assert state.document["unknown_rate"] == 25


def counts(faces: int, mean: float, **expressions: int) -> dict[str, Any]:
    return {
        "schema": "edge-fer/aggregate/1",
        "faces": faces,
        "mean_faces": mean,
        "expressions": expressions,
    }


def test_counts_of_a_minute_say_nothing_about_one_face() -> None:
    state = State()
    assert not state.counts_only
    state.see(observation(("anger", 40.0)))
    state.see(counts(120, 1.96, anger=90, unknown=30))
    assert state.counts_only
    assert state.document == {"faces": 2.0, "unknown_rate": 25}
    state.see(counts(0, 0.0))
    assert state.document == {"faces": 0.0}
    state.see({"schema": "edge-fer/another/1"})
    assert state.counts_only


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, {}),
        ({"fps": None, "thermal": None}, {}),
        ({"fps": 23.96, "thermal": {"celsius": None}}, {"fps": 24.0}),
        ({"fps": "fast", "thermal": {"celsius": 61.5}}, {"temperature": 62}),
    ],
)
def test_a_status_adds_what_it_knows(status: dict[str, Any], expected: dict[str, Any]) -> None:
    state = State()
    state.measure(status)
    assert state.document == expected


def test_a_sensor_is_announced_for_each_value_there_is() -> None:
    told = discovery(DEVICE, {"expression": "anger", "temperature": 50, "other": 1}, "ha")
    assert list(told) == [
        "ha/sensor/lobby-kiosk-1/expression/config",
        "ha/sensor/lobby-kiosk-1/temperature/config",
    ]
    warm = told["ha/sensor/lobby-kiosk-1/temperature/config"]
    assert warm["device_class"] == "temperature"
    assert warm["unit_of_measurement"] == "°C"
    assert warm["value_template"] == "{{ value_json.temperature }}"
    assert warm["state_topic"] == "museum/lobby/state"
    assert warm["availability_topic"] == "museum/lobby/availability"
    assert warm["device"]["name"] == "Lobby Kiosk №1"
    assert len({d["unique_id"] for d in told.values()}) == 2
    assert len({json.dumps(d["device"]) for d in told.values()}) == 1


@pytest.mark.parametrize(
    ("name", "expected"),
    [("Lobby", "lobby"), ("a/b+c#d", "a-b-c-d"), ("№", "edge-fer"), ("x_1-y", "x_1-y")],
)
def test_a_name_becomes_a_part_of_a_topic(name: str, expected: str) -> None:
    assert Device(name=name, topic="t").id == expected
