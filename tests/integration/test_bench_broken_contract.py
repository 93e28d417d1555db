"""The shipped models behind contracts that were broken on purpose: found, and named in words."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_fer.adopt import adopt
from edge_fer.assemble import open_classifier
from edge_fer.classifier import Classifier
from edge_fer.contract import Golden, InputSpec, ModelContract
from edge_fer.errors import ModelError
from edge_fer.evaluation.data import LabelledFaces, Rows, labelled, read
from edge_fer.evaluation.evaluate import probabilities_of
from edge_fer.modelfile import embed, read_model
from edge_fer.models import find
from edge_fer_bench.accuracy.diagnosis import LOW_AGREEMENT, diagnose

Change = Callable[[ModelContract], ModelContract]
SWAPPED = ("neutral", "sadness", "surprise", "happiness", "anger", "disgust", "fear", "contempt")
_ROWS = 300


@pytest.fixture(scope="module")
def data(fer2013: Path) -> Rows:
    return read(fer2013)


@pytest.fixture(scope="module")
def faces(data: Rows) -> LabelledFaces:
    return rows_of(data, read_model(find("expression")).contract.labels)


def rows_of(data: Rows, labels: tuple[str, ...]) -> LabelledFaces:
    """Some of the validation rows."""
    whole = labelled(data, labels, split="validation")
    return whole.take(np.linspace(0, len(whole) - 1, _ROWS).astype(np.int64))


_ANSWERS: dict[tuple[str, tuple[str, ...]], NDArray[np.float64]] = {}


def answers(model: Classifier, faces: LabelledFaces) -> NDArray[np.float64]:
    """Classes in the order of the data's labels; every file is asked once."""
    key = (model.model.sha256, faces.labels)
    if key not in _ANSWERS:
        _ANSWERS[key] = _asked(model, faces)
    return _ANSWERS[key]


def _asked(model: Classifier, faces: LabelledFaces) -> NDArray[np.float64]:
    return probabilities_of(model, faces)[:, [model.labels.index(label) for label in faces.labels]]


def diagnosed(quantised: str | Path, reference: str | Path, faces: LabelledFaces) -> str:
    """What a benchmark of these files would say."""
    int8, float_ = open_classifier(str(quantised)), open_classifier(str(reference))
    try:
        before, after = answers(float_, faces), answers(int8, faces)
        return " ".join(diagnose(int8, float_, faces, before, after))
    finally:
        int8.close()
        float_.close()


def broken(folder: Path, name: str, change: Change) -> Path:
    """A shipped model with another contract."""
    model = read_model(find(name))
    path = folder / f"{name}.broken.tflite"
    path.write_bytes(embed(model.flatbuffer, change(model.contract)))
    return path


def ranged(low: float, high: float) -> Change:
    def change(contract: ModelContract) -> ModelContract:
        spec = contract.input.model_copy(
            update={"scale": ((high - low) / 255,), "offset": (float(low),)}
        )
        return contract.with_(input=spec, golden=None)

    return change


def renamed(contract: ModelContract) -> ModelContract:
    return contract.with_(labels=SWAPPED, label_scheme="custom")


def test_swapped_labels_pass_the_golden_vectors_and_are_named(
    tmp_path: Path, faces: LabelledFaces
) -> None:
    """The vectors prove the arithmetic; they know no labels."""
    path = broken(tmp_path, "expression", renamed)
    model = open_classifier(str(path))
    assert model.check_golden() is not None
    model.close()
    words = diagnosed(path, "expression.float", faces)
    assert words.startswith(
        "The int8 model says sadness where the float reference says happiness, and the other way "
        "round: the labels of its contract look swapped."
    )
    assert "--labels ferplus8 " in words


def test_the_reference_may_have_the_swapped_labels(tmp_path: Path, faces: LabelledFaces) -> None:
    words = diagnosed("expression", broken(tmp_path, "expression.float", renamed), faces)
    assert words.startswith("The float reference says sadness where the int8 model says happiness")


def test_both_with_the_same_swapped_labels_are_told_by_the_data(
    tmp_path: Path, faces: LabelledFaces
) -> None:
    int8, float_ = (broken(tmp_path, n, renamed) for n in ("expression", "expression.float"))
    words = diagnosed(int8, float_, faces)
    assert words.startswith("Each of the two models says sadness where the data say happiness")


@pytest.mark.parametrize(
    ("which", "low", "high", "named"),
    [
        ("expression", -1, 1, "\u22121..1"),
        ("expression", -0.5, 0.5, "\u22120.5..0.5"),
        ("expression", 1, 0, "1..0 (inverted)"),
        ("expression.float", 0, 255, "0..255"),
        ("expression.float", -1, 1, "\u22121..1"),
    ],
)
def test_a_wrong_range_is_named_in_either_model(
    tmp_path: Path, faces: LabelledFaces, which: str, low: float, high: float, named: str
) -> None:
    path = broken(tmp_path, which, ranged(low, high))
    pair = {"expression": "expression", "expression.float": "expression.float"} | {which: path}
    words = diagnosed(pair["expression"], pair["expression.float"], faces)
    accused = "the int8 model" if which == "expression" else "the float reference"
    found = re.search(
        r"With pixels scaled to 0..1 instead of (.+), (the .+) agrees with the .+ on (\d+) % of "
        r"300 pictures \(now (\d+) %\): the (.+) in its contract looks wrong",
        words,
    )
    assert found, words
    assert found[1] == named
    assert found[2] == accused
    assert int(found[3]) >= 97
    assert int(found[4]) < 100 * LOW_AGREEMENT
    assert found[5] == ("range" if low < high else "sense of black and white")


def test_the_golden_vectors_refuse_a_changed_range_first(tmp_path: Path) -> None:
    """Exit 5, before anything is measured: the vectors are pixels, and the range comes after."""

    def with_vectors(contract: ModelContract) -> ModelContract:
        return ranged(-1, 1)(contract).with_(golden=contract.golden)

    model = open_classifier(str(broken(tmp_path, "expression", with_vectors)))
    with pytest.raises(ModelError, match="computes something else here") as caught:
        model.check_golden()
    model.close()
    assert caught.value.exit_code == 5


def test_golden_vectors_made_with_the_wrong_range_hide_nothing(
    tmp_path: Path, faces: LabelledFaces
) -> None:
    wrong = open_classifier(str(broken(tmp_path, "expression", ranged(0, 255))))

    def with_its_own(contract: ModelContract) -> ModelContract:
        assert contract.golden is not None
        pixels = contract.golden.pixels(contract.input)
        return ranged(0, 255)(contract).with_(golden=Golden.of(pixels, wrong.raw(pixels)))

    path = broken(tmp_path, "expression", with_its_own)
    wrong.close()
    model = open_classifier(str(path))
    assert model.check_golden() == (4, 0.0)
    model.close()
    assert "instead of 0..255" in diagnosed(path, "expression.float", faces)


def test_what_the_remedy_says_mends_it(tmp_path: Path, faces: LabelledFaces) -> None:
    """Somebody adopted the bare file with wrong labels and a wrong range."""
    adopted = tmp_path / "adopted.tflite"
    adopted.write_bytes(
        adopt(
            find("expression"),
            labels=",".join(SWAPPED),
            input_range="0,255",
            kind="logits",
            licence="unknown",
        )
    )
    words = diagnosed(adopted, "expression.float", faces)
    assert "instead of 0..255" in words
    assert "says sadness where the float reference says happiness" in words
    line = words[words.index("models adopt") :].replace("FIXED.tflite", str(tmp_path / "f.tflite"))
    subprocess.run(
        [sys.executable, "-c", "from edge_fer.cli import main; main()", *shlex.split(line)],
        check=True,
        capture_output=True,
    )
    assert diagnosed(tmp_path / "f.tflite", "expression.float", faces) == ""


@pytest.mark.parametrize("name", ["expression", "expression-nano", "expression-fer2013"])
def test_the_shipped_models_are_healthy(data: Rows, name: str) -> None:
    faces = rows_of(data, read_model(find(name)).contract.labels)
    assert diagnosed(name, f"{name}.float", faces) == ""


@pytest.mark.parametrize(
    ("name", "amount"),
    [
        ("expression", 0.1),
        ("expression", 0.2),
        ("expression-nano", 0.2),
        ("expression-nano", 0.4),
        ("expression-fer2013", 0.1),
        ("expression-fer2013", 0.3),
    ],
)
def test_a_damaged_model_with_a_right_contract_is_not_accused(
    tmp_path: Path, data: Rows, name: str, amount: float
) -> None:
    path = tmp_path / "damaged.tflite"
    model = read_model(find(name))
    path.write_bytes(embed(damaged(model.flatbuffer, amount), model.contract.with_(golden=None)))
    faces = rows_of(data, model.contract.labels)
    int8, float_ = open_classifier(str(path)), open_classifier(f"{name}.float")
    before, after = answers(float_, faces), answers(int8, faces)
    assert (before.argmax(1) == after.argmax(1)).mean() < LOW_AGREEMENT  # it was asked
    assert diagnose(int8, float_, faces, before, after) == ()
    int8.close()
    float_.close()


def damaged(flatbuffer: bytes, amount: float) -> bytes:
    """Noise on every int8 weight, in standard deviations of its tensor."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(flatbuffer))
    rng = np.random.default_rng(0)
    for tensor in model.subgraphs[0].tensors:
        data = model.buffers[tensor.buffer].data
        if tensor.type != 9 or data is None or len(data) < 8:  # schema.fbs: INT8
            continue
        weights = np.frombuffer(bytes(data), np.int8).astype(float)
        noisy = weights + rng.normal(0, amount * weights.std(), len(weights))
        changed = np.clip(np.rint(noisy), -127, 127).astype(np.int8)
        model.buffers[tensor.buffer].data = list(changed.view(np.uint8))
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def test_other_colours_than_the_graphs_are_refused_first(tmp_path: Path) -> None:
    """Exit 5: the graph itself says how many channels it takes."""
    gray = read_model(find("expression"))
    spec = InputSpec(
        height=48, width=48, channels=3, colour="rgb", scale=(1 / 255,) * 3, offset=(0.0,) * 3
    )
    path = tmp_path / "rgb.tflite"
    path.write_bytes(embed(gray.flatbuffer, gray.contract.with_(input=spec, golden=None)))
    with pytest.raises(ModelError, match="breaks its contract") as caught:
        open_classifier(str(path))
    assert caught.value.exit_code == 5
