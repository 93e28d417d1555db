"""Other settings for a running pipeline: what they leave alone stays, failure changes nothing."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edge_fer.assemble import build, next_seq, rebuild
from edge_fer.config import Settings, load_settings
from edge_fer.errors import ConfigError, DataError, DeviceError, ModelError
from edge_fer.models import find
from edge_fer.pipeline import Pipeline


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg"))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return Path(shutil.copy(find("expression"), tmp_path / "mine.tflite"))


def settings(model: Path, **changed: Any) -> Settings:
    sinks = (f"jsonl:{model.parent}/seen.jsonl",)
    usual = {"source": "synthetic?seed=3", "model": str(model), "sinks": sinks}
    return load_settings(None, usual | changed)


@pytest.fixture
def running(model: Path) -> Iterator[Pipeline]:
    pipeline = build(settings(model))
    steps(pipeline, 3)
    yield pipeline
    pipeline.close()


def steps(pipeline: Pipeline, count: int) -> list[Any]:
    seen = [pipeline.step() for _ in range(count)]
    assert all(seen)
    return seen


def lines(model: Path, name: str = "seen.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (model.parent / name).read_text().splitlines()]


def test_the_same_settings_keep_everything_but_read_the_model_again(
    running: Pipeline, model: Path
) -> None:
    tracks = {f.face.track for f in steps(running, 1)[0].faces}
    new = rebuild(running, settings(model), settings(model))
    assert (new.camera, new.detector, new.tracker) == (
        running.camera,
        running.detector,
        running.tracker,
    )
    assert new.sinks == running.sinks
    assert new.smoother is running.smoother
    assert new.classifier is not running.classifier
    assert {f.face.track for f in steps(new, 1)[0].faces} == tracks
    new.close()
    assert [line["frame"] for line in lines(model)] == [0, 1, 2, 3, 4]
    assert [line["seq"] for line in lines(model)] == [0, 1, 2, 3, 4]


def test_another_model_is_named_in_the_next_record(running: Pipeline, model: Path) -> None:
    before = running.classifier.model.sha256[:12]
    shutil.copy(find("expression-nano"), model)
    new = rebuild(running, settings(model), settings(model))
    after = new.classifier.model.sha256[:12]
    assert new.smoother is not running.smoother
    steps(new, 2)
    new.close()
    assert [line["model"] for line in lines(model)] == [before] * 3 + [after] * 2


@pytest.mark.parametrize("damage", ["cut", "other bytes", "gone", "no model"])
def test_a_broken_model_file_leaves_the_old_one_in_use(
    running: Pipeline, model: Path, damage: str
) -> None:
    data = bytearray(model.read_bytes())
    if damage == "gone":
        model.unlink()
    elif damage == "cut":
        model.write_bytes(data[: len(data) // 2])
    elif damage == "no model":
        model.write_bytes(b"hello")
    else:
        data[len(data) // 3] ^= 0xFF
        model.write_bytes(data)
    with pytest.raises(ModelError):
        rebuild(running, settings(model), settings(model))
    assert all(observation.faces for observation in steps(running, 3))
    running.close()
    assert [line["frame"] for line in lines(model)] == list(range(6))


def test_another_source_and_other_sinks(running: Pipeline, model: Path) -> None:
    seq = next_seq(running)
    after = settings(
        model, source="synthetic?seed=4&size=320x240", sinks=(f"jsonl:{model.parent}/more.jsonl",)
    )
    new = rebuild(running, settings(model), after)
    (observation,) = steps(new, 1)
    assert observation.frame == 0
    assert new.frame is not None
    assert new.frame.width == 320
    new.close()
    assert len(lines(model)) == 3
    (line,) = lines(model, "more.jsonl")
    assert line["seq"] == seq


def test_a_new_detector_gives_new_numbers(running: Pipeline, model: Path) -> None:
    before = {f.face.track for f in steps(running, 1)[0].faces}
    after = settings(model, detector="haar")
    new = rebuild(running, settings(model), after)
    later = {f.face.track for seen in steps(new, 5) for f in seen.faces}
    assert before
    assert later
    assert not before & later
    new.close()


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"source": "no/such.mp4"}, DataError),
        ({"sinks": ("carrier-pigeon:home",)}, ConfigError),
        ({"sinks": ("jsonl:/no/such/folder/seen.jsonl",)}, DeviceError),
        ({"detector": "har"}, ConfigError),
        ({"backend": "tensorrt"}, ConfigError),
    ],
    ids=["source", "kind of sink", "sink", "detector", "backend"],
)
def test_settings_that_fail_leave_a_pipeline_that_works(
    running: Pipeline, model: Path, changed: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        rebuild(running, settings(model), settings(model, **changed))
    steps(running, 2)
    running.close()
    assert len(lines(model)) == 5
    assert len({(line["run"], line["seq"]) for line in lines(model)}) == 5
    assert [line["seq"] for line in lines(model)] == list(range(5))
