from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from bench_samples import accuracy

from edge_fer.backends import open_backend
from edge_fer.classifier import Classifier
from edge_fer.errors import ConfigError, ModelError
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.evaluation.evaluate import evaluate
from edge_fer.modelfile import embed, read_model
from edge_fer.models import find
from edge_fer_bench.accuracy.measured import check_comparable, find_reference, measure_accuracy
from edge_fer_bench.budgets import Budgets

INT8, FLOAT = read_model(find("expression")), read_model(find("expression.float"))


def faces(n: int = 40) -> LabelledFaces:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 8, n)
    return LabelledFaces(
        path="x.npz",
        sha256="00",
        split="PublicTest",
        images=list(rng.integers(0, 256, (n, 48, 48), dtype=np.uint8)),
        labels=INT8.contract.labels,
        truth=truth,
        target=np.eye(8, dtype=np.float32)[truth],
        copy_of_training=np.arange(n) < 10,
    )


def classifier(model: object = INT8) -> Classifier:
    return Classifier(model, open_backend("auto", model.flatbuffer))  # type: ignore[attr-defined,arg-type]


def test_its_figures_are_those_of_evaluate() -> None:
    rows = faces()
    told: list[tuple[int, int]] = []
    found = measure_accuracy(
        classifier(), classifier(FLOAT), rows, on_progress=lambda *at: told.append(at)
    )
    for figures, model in ((found.drop.quantised, INT8), (found.drop.reference, FLOAT)):
        document = evaluate(classifier(model), rows).to_json("", "")
        assert figures.accuracy == pytest.approx(document["accuracy"], abs=1e-12)
        assert figures.macro_recall == pytest.approx(document["macro_recall"], abs=1e-12)
        assert figures.macro_f1 == pytest.approx(document["macro_f1"], abs=1e-12)
        assert figures.ece == pytest.approx(document["ece"], abs=1e-12)
    assert told[-1] == (80, 80)
    assert found.clean is not None
    assert found.clean.n == 30
    assert found.to_json()["clean"]["n"] == 30


def test_a_foreign_reference_is_noticed() -> None:
    child = replace(
        INT8,
        contract=INT8.contract.with_(
            quantisation=INT8.contract.quantisation.model_copy(
                update={"parent_sha256": FLOAT.flatbuffer_sha256}
            )
        ),
    )
    rows = faces(8)
    assert measure_accuracy(classifier(child), classifier(FLOAT), rows).reference_is_parent is True
    other = replace(
        child,
        contract=child.contract.with_(
            quantisation=child.contract.quantisation.model_copy(update={"parent_sha256": "0" * 64})
        ),
    )
    assert measure_accuracy(classifier(other), classifier(FLOAT), rows).reference_is_parent is False


def test_the_shipped_reference_is_found_by_name() -> None:
    assert find_reference("expression", None) == "expression.float"
    assert find_reference("expression", "other.tflite") == "other.tflite"


def test_a_files_reference_lies_beside_it(tmp_path: Path) -> None:
    model = tmp_path / "mine.tflite"
    model.write_bytes(INT8.path.read_bytes())
    with pytest.raises(ConfigError, match=r"no .*mine\.float\.tflite") as caught:
        find_reference(str(model), None)
    assert "--reference" in caught.value.remedy
    twin = tmp_path / "mine.float.tflite"
    twin.write_bytes(FLOAT.path.read_bytes())
    assert find_reference(str(model), None) == str(twin)


def test_a_float_model_has_no_drop() -> None:
    with pytest.raises(ConfigError, match="is a float model"):
        find_reference("expression.float", None)
    with pytest.raises(ModelError, match="nosuch"):
        find_reference("nosuch", None)


def test_models_that_cannot_be_compared_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is no float model"):
        check_comparable(INT8, INT8)
    names = ("awe", *FLOAT.contract.labels[1:])
    others = FLOAT.contract.with_(labels=names, label_scheme="custom", golden=None)
    path = tmp_path / "others.tflite"
    path.write_bytes(embed(FLOAT.flatbuffer, others))
    with pytest.raises(ConfigError, match="has the labels awe"):
        check_comparable(INT8, read_model(path))
    larger = FLOAT.contract.input.model_copy(update={"height": 64, "width": 64})
    path.write_bytes(embed(FLOAT.flatbuffer, FLOAT.contract.with_(input=larger, golden=None)))
    with pytest.raises(ConfigError, match="takes faces of 64x64 pixels"):
        check_comparable(INT8, read_model(path))
    # The order of the labels may be what is wrong with one of them: that is measured and told.
    turned = FLOAT.contract.with_(labels=FLOAT.contract.labels[::-1], label_scheme="custom")
    path.write_bytes(embed(FLOAT.flatbuffer, turned))
    check_comparable(INT8, read_model(path))
    check_comparable(INT8, FLOAT)


@pytest.mark.parametrize(
    ("lost", "won", "n", "verdict"),
    [
        (0, 0, 1000, "pass"),
        (2, 2, 10_000, "pass"),
        (100, 0, 10_000, "fail"),  # 1 point, interval about 0.8 to 1.2
        (6, 0, 1000, "not_distinguishable"),  # 0.6 points, interval about 0.2 to 1.1
    ],
)
def test_the_interval_decides(lost: int, won: int, n: int, verdict: str) -> None:
    found = accuracy(lost, won, n=n)
    assert found.verdict == verdict
    assert found.to_json()["verdict"] == verdict


def test_one_class_that_lost_too_much_fails_the_whole() -> None:
    # 40 of 990 happy faces: 0.2 points overall, 4 points of recall.
    found = accuracy(40, n=20_000 - 18_000, label=1)
    assert found.classes_over == ["happiness"]
    assert found.verdict == "fail"
    # Ten rows of contempt are too few to judge a class by.
    assert accuracy(5, n=4000, label=2).classes_over == []


def test_how_many_rows_would_decide() -> None:
    # 0.6 % changed rows, 0.1 points from the limit: 0.006 * (1.96 / 0.001) ** 2.
    assert accuracy(6, n=1000).rows_to_decide == pytest.approx(19_112, abs=2)
    assert accuracy(5, n=1000).rows_to_decide is None


def test_a_drop_limit_without_data_is_refused_not_passed() -> None:
    Budgets(max_p99=5.0).require_data(None)
    Budgets(max_drop=0.5).require_data("data")
    for budgets in (Budgets(max_drop=0.5), Budgets(max_class_drop=3.0)):
        with pytest.raises(ConfigError, match="without --data"):
            budgets.require_data(None)
