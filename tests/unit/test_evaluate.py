"""What is kept and how right it is, when the contract knows ``unknown``."""

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_fer.backends import open_backend
from edge_fer.classifier import Classifier
from edge_fer.cli.evaluate import evaluate as command
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.evaluation.evaluate import evaluate, probabilities_of
from edge_fer.modelfile import ModelFile, embed, read_model
from edge_fer.models import find

MODEL = read_model(find("expression"))


def careful(least: float | None) -> ModelFile:
    unknown = None if least is None else {"min_probability": least}
    output = MODEL.contract.output.model_copy(update={"unknown": unknown})
    return replace(MODEL, contract=MODEL.contract.with_(output=output))


def classifier(least: float | None) -> Classifier:
    return Classifier(careful(least), open_backend("auto", MODEL.flatbuffer))


@pytest.fixture(scope="module")
def faces() -> LabelledFaces:
    rng = np.random.default_rng(3)
    coarse = rng.integers(0, 256, (40, 6, 6), dtype=np.uint8)
    images = [cv2.resize(c, (48, 48), interpolation=cv2.INTER_CUBIC) for c in coarse]
    truth = rng.integers(0, 8, 40)
    return LabelledFaces(
        path="x.npz",
        sha256="00",
        split="PublicTest",
        images=images,
        labels=MODEL.contract.labels,
        truth=truth,
        target=np.eye(8, dtype=np.float32)[truth],
        copy_of_training=None,
    )


def test_accepted_is_what_has_a_name(faces: LabelledFaces) -> None:
    p = probabilities_of(classifier(None), faces)
    least = float(np.median(p.max(axis=1)))
    kept = p.max(axis=1) >= least
    right = p.argmax(axis=1) == faces.truth
    document = evaluate(classifier(least), faces).to_json("m", "00")
    assert 0 < kept.sum() < 40
    assert document["accepted"] == {
        "coverage": kept.mean(),
        "accuracy": pytest.approx(right[kept].mean()),
    }
    assert document["unknown_rate"] == pytest.approx(1 - kept.mean())
    assert document["accuracy"] == pytest.approx(right.mean())  # without unknown, as ever


def test_without_a_rule_everything_is_accepted(faces: LabelledFaces) -> None:
    document = evaluate(classifier(None), faces).to_json("m", "00")
    assert document["unknown_rate"] == 0
    assert document["accepted"] == {"coverage": 1.0, "accuracy": document["accuracy"]}


def test_nothing_accepted_has_no_accuracy(faces: LabelledFaces) -> None:
    document = evaluate(classifier(1.0), faces).to_json("m", "00")
    assert document["unknown_rate"] == 1
    assert document["accepted"] == {"coverage": 0.0, "accuracy": None}


@pytest.mark.parametrize(("least", "said"), [(None, ""), (1.0, "0.00 % of the rows")])
def test_it_is_printed_where_there_is_a_rule(
    tmp_path: Path,
    faces: LabelledFaces,
    capsys: pytest.CaptureFixture[str],
    least: float | None,
    said: str,
) -> None:
    (tmp_path / "data" / "happy").mkdir(parents=True)
    for i, image in enumerate(faces.images[:3]):
        cv2.imwrite(str(tmp_path / "data" / "happy" / f"{i}.png"), image)
    file = tmp_path / "m.tflite"
    file.write_bytes(embed(MODEL.flatbuffer, careful(least).contract))
    command(str(file), data=tmp_path / "data", quiet=True)
    printed = capsys.readouterr().out
    assert said in printed
    assert ("not called unknown" in printed) == (least is not None)
