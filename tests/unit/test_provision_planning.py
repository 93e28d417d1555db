"""What a card is rendered from: models that can do their work, and errors with their place."""

from __future__ import annotations

import json
from pathlib import Path
from shutil import copyfile

import pytest

from edge_fer.errors import ConfigError, ModelError
from edge_fer.models import shipped
from edge_fer_firmware.carded import CardFile
from edge_fer_firmware.loading import load
from edge_fer_firmware.plan import Plan
from edge_fer_firmware.planning import load_model, make_plan
from edge_fer_firmware.rendering import CARD, render, shown

SMALL = """board = "pi4"
system = "trixie"

[deployment]
operator = "Museum, museum@example.org"
purpose = "Counts smiles in the hall"
notice = {en = "A camera counts smiles."}

[run]
source = "synthetic"
"""


def content(file: CardFile) -> bytes:
    assert isinstance(file.content, bytes)
    return file.content


def planned(folder: Path, text: str) -> Plan:
    path = folder / "card.toml"
    path.write_text(text, encoding="utf-8")
    return make_plan(load(path))


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A classifier, a detector and one without a contract, beside the settings."""
    copyfile(shipped()["expression-nano"], tmp_path / "mine.tflite")
    copyfile(shipped()["face"], tmp_path / "finder.tflite")
    (tmp_path / "bare.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(64))
    return tmp_path


def test_own_models_go_with_the_card(models: Path) -> None:
    plan = planned(
        models, SMALL + 'model = "mine.tflite"\ndetector = "finder.tflite?min_score=0.7"\n'
    )
    assert [model.name for model in plan.models] == ["mine.tflite", "finder.tflite"]
    assert plan.settings.run["model"] == "/opt/edge-fer/models/mine.tflite"
    assert plan.settings.run["detector"] == "/opt/edge-fer/models/finder.tflite?min_score=0.7"


@pytest.mark.parametrize(
    ("line", "says", "remedy"),
    [
        ('model = "finder.tflite"', "for face-detection", "detector ="),
        ('model = "face"', "for face-detection", "detector ="),
        ('detector = "mine.tflite"', "for expression-frame", "model ="),
        ('detector = "expression"', "for expression-frame", "model ="),
        ('model = "bare.tflite"', "bare.tflite", "adopt"),
        ('detector = "bare.tflite"', "bare.tflite", "adopt"),
        ('model = "missing.tflite"', "There is no model", "models list"),
    ],
)
def test_a_model_that_cannot_do_it(models: Path, line: str, says: str, remedy: str) -> None:
    with pytest.raises(ModelError) as caught:
        planned(models, f"{SMALL}{line}\n")
    key = line.partition(" ")[0]
    assert caught.value.message.startswith(f"{models / 'card.toml'}:11: run.{key}: ")
    assert says in caught.value.message
    assert remedy in caught.value.remedy


def test_one_rule_for_all_who_read_models(models: Path) -> None:
    assert load_model(models / "mine.tflite", "model").contract.task == "expression-frame"
    assert load_model(models / "finder.tflite", "detector").contract.detection is not None
    with pytest.raises(ModelError, match="for face-detection"):
        load_model(models / "finder.tflite", "model")


def test_a_weak_choice_is_refused_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        planned(tmp_path, SMALL + 'sinks = ["mqtt://broker.example.com/t"]\n')
    assert caught.value.message.startswith(f"{tmp_path / 'card.toml'}:11: run.sinks: ")


def test_warnings_have_their_line(tmp_path: Path) -> None:
    text = SMALL.replace("pi4", "zero2w") + "[service]\nmemory_max_mb = 500\n"
    (warning,) = planned(tmp_path, text).warnings
    assert warning.startswith(f"{tmp_path / 'card.toml'}:12: memory_max_mb = 500")


def test_what_everybody_can_read_has_no_password(tmp_path: Path) -> None:
    plan = planned(tmp_path, SMALL.replace("synthetic", "rtsp://me:sesame@camera.local/live?a=b"))
    settings = plan.settings.model_copy(
        update={
            "kiosk": plan.settings.kiosk.model_copy(update={"url": "http://u:sesame@h/?a=sesame"}),
            "run": {
                **plan.settings.run,
                "sinks": ["mqtts://u:sesame@h/t", "mqtts://h/t?qos=1&password=sesame"],
                "detector": "mine.tflite?token=sesame",
            },
        }
    )
    assert "sesame" not in json.dumps(shown(settings))
    assert "qos=1" in json.dumps(shown(settings))
    (card,) = (file for file in render(plan).boot if file.path == CARD)
    assert b"sesame" not in content(card)


def test_a_manifest_only_for_an_image(tmp_path: Path) -> None:
    plan = planned(tmp_path, SMALL)
    image = tmp_path / "2025-12-04-raspios-trixie-arm64-lite.img"
    image.write_bytes(bytes(512))
    for chosen, there in ((None, False), (image, True)):
        beside = {file.path: content(file) for file in render(plan, chosen).beside}
        assert ("imager.json" in beside) is there
        assert (b"imager.json" in beside["README.txt"]) is there
