import json

import numpy as np
import pytest
from pydantic import ValidationError

from edge_fer.contract import Golden, InputSpec, ModelContract
from edge_fer.errors import ModelError
from edge_fer.evaluation.labels import FER2013_7, FERPLUS8
from edge_fer.modelfile import read_model
from edge_fer.models import find

DETECTION: dict[str, object] = {
    "decoder": "grid",
    "strides": [8],
    "anchors": [1],
    "square": {"unit": "height", "side": 1.0, "centre_y": 0.48},
}


def minimal() -> dict[str, object]:
    return {
        "schema": "edge-fer/contract/1",
        "labels": ["neutral", "happiness"],
        "label_scheme": "custom",
        "input": {
            "height": 8,
            "width": 8,
            "channels": 1,
            "colour": "gray",
            "scale": [0.00392],
            "offset": [0],
        },
        "output": {"kind": "logits"},
        "licence": {"code": "Apache-2.0", "weights": "none"},
    }


def parse(changes: dict[str, object]) -> ModelContract:
    return ModelContract.parse(json.dumps(minimal() | changes), "x.tflite")


def test_unknown_keys_are_ignored_within_version_1() -> None:
    assert parse({"colour_of_the_box": "blue"}).labels == ("neutral", "happiness")


def test_a_higher_version_is_refused_and_says_to_update() -> None:
    with pytest.raises(ModelError, match=r"version 2.*pip install -U edge-fer"):
        parse({"schema": "edge-fer/contract/2"})


def test_a_detector_has_one_label_and_says_how_its_heads_are_read() -> None:
    found = parse({"labels": ["face"], "task": "face-detection", "detection": DETECTION})
    assert found.detection is not None
    assert found.detection.max_overlap == 0.3
    assert ModelContract.parse(found.to_json(), "x") == found
    assert b"detection" not in parse({}).to_json()


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"labels": ["one"]}, "labels"),
        ({"labels": []}, "labels"),
        ({"task": "face-detection"}, "detection"),
        ({"detection": DETECTION}, "detection"),
        ({"task": "face-detection", "detection": DETECTION | {"anchors": [1, 1]}}, "per grid"),
        ({"task": "face-detection", "detection": DETECTION | {"strides": [0]}}, "positive"),
        ({"labels": ["a", "a"]}, "twice"),
        ({"labels": ["a", "unknown"]}, "unknown"),
        ({"label_scheme": "mine"}, "label_scheme"),
        ({"input": {"height": 0}}, "input.height"),
        ({"schema": "something/1"}, "schema"),
        ({"output": {"kind": "logits", "temperature": 0}}, "output.temperature"),
    ],
)
def test_a_broken_field_is_named(changes: dict[str, object], where: str) -> None:
    with pytest.raises(ModelError, match=where) as caught:
        parse(changes)
    assert "x.tflite" in caught.value.message


@pytest.mark.parametrize("text", ["{", "[]", "null", '"text"'])
def test_what_is_no_contract_is_refused(text: str) -> None:
    with pytest.raises(ModelError):
        ModelContract.parse(text, "x.tflite")


def test_channels_colour_and_scales_must_agree() -> None:
    good = {"height": 1, "width": 1, "channels": 3, "colour": "rgb", "scale": [1] * 3}
    with pytest.raises(ValidationError, match="per channel"):
        InputSpec.model_validate(good | {"offset": [0]})
    with pytest.raises(ValidationError, match="do not go with"):
        InputSpec.model_validate(good | {"offset": [0] * 3, "colour": "gray"})


def test_json_is_canonical_and_comes_back() -> None:
    contract = parse({})
    text = contract.to_json()
    assert text == ModelContract.parse(text, "x").to_json()
    assert json.loads(text)["schema"] == "edge-fer/contract/1"
    assert list(json.loads(text)) == sorted(json.loads(text))


def test_golden_vectors_come_back_as_they_went_in() -> None:
    spec = parse({}).input
    pixels = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
    output = np.arange(-3, 3, dtype=np.float32).reshape(3, 2)
    golden = Golden.of(pixels, output)
    assert np.array_equal(golden.pixels(spec), pixels)
    assert np.array_equal(golden.expected("float32", 2), output)
    with pytest.raises(ModelError, match="golden"):
        golden.expected("int8", 2)


@pytest.mark.parametrize("name", ["expression", "expression.float"])
def test_the_shipped_models_say_what_they_are(name: str) -> None:
    contract = read_model(find(name)).contract
    assert contract.label_scheme == "ferplus8"
    assert contract.labels == FERPLUS8
    assert (contract.input.height, contract.input.width, contract.input.colour) == (48, 48, "gray")
    assert contract.provenance["trained_on"]["split"] == "Training"
    assert any(
        "FER2013" in line and "unclear" not in line.lower() for line in contract.licence.data
    )
    assert contract.metrics[0].n == 3199
    assert contract.golden is not None


def test_the_two_schemes_name_the_same_classes_but_contempt() -> None:
    assert set(FERPLUS8) - set(FER2013_7) == {"contempt"}
    assert set(FER2013_7) <= set(FERPLUS8)


QUALITY = {"n": 9} | {
    name: {"p1": 1.0, "p50": 2.0, "p99": 3.5}
    for name in ("brightness", "contrast", "sharpness", "noise")
}


def test_quality_comes_back_and_is_not_asked_of_older_contracts() -> None:
    assert parse({}).quality is None
    found = parse({"quality": QUALITY})
    assert found.quality is not None
    assert found.quality.noise.p99 == 3.5
    assert ModelContract.parse(found.to_json(), "x") == found
    assert json.loads(found.to_json())["quality"] == QUALITY
    assert ModelContract.parse(parse({}).to_json(), "x").quality is None


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"n": 0}, "quality.n"),
        ({"noise": {"p1": 1, "p50": 2}}, "quality.noise.p99"),
        ({"noise": {"p1": 3, "p50": 2, "p99": 4}}, "not in order"),
        ({"contrast": {"p1": 1, "p50": 2, "p99": float("inf")}}, "quality.contrast.p99"),
    ],
)
def test_broken_quality_is_named(changes: dict[str, object], where: str) -> None:
    with pytest.raises(ModelError, match=where):
        parse({"quality": QUALITY | changes})


@pytest.mark.parametrize("least", [0, 0.5, 1.0, None])
def test_the_threshold_of_unknown_is_a_probability(least: float | None) -> None:
    output = {"kind": "logits", "unknown": {"min_probability": least, "later": "key"}}
    assert parse({"output": output}).output.unknown == {"min_probability": least, "later": "key"}


@pytest.mark.parametrize("least", [-0.1, 1.5, "0.5", True, float("nan"), [0.5]])
def test_a_threshold_that_is_none_is_refused(least: object) -> None:
    with pytest.raises(ModelError, match=r"min_probability is .* not a number from 0 to 1"):
        parse({"output": {"kind": "logits", "unknown": {"min_probability": least}}})
