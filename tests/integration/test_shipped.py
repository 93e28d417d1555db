"""The shipped models keep what their cards promise: size, operators, accuracy, and manners."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from shipped_models import CLASSIFIERS

from edge_fer.modelfile import read_model
from edge_fer.models import find, shipped
from edge_fer_convert.int8.verify import Partitions, partitions

NAMES = CLASSIFIERS
# Multiply-accumulates, bytes.
BUDGETS = {
    "expression": (40e6, 400_000),
    "expression-fer2013": (40e6, 400_000),
    "expression-nano": (6e6, 100_000),
}


def test_three_models_ship_each_with_its_float_twin() -> None:
    assert set(NAMES) == set(BUDGETS)
    assert {f"{name}.float" for name in NAMES} | set(NAMES) <= set(shipped())


@pytest.mark.parametrize("name", NAMES)
def test_size_and_cost_are_within_the_budget(name: str) -> None:
    macs, size = BUDGETS[name]
    assert find(name).stat().st_size <= size
    assert read_model(find(name)).contract.provenance["macs"] <= macs


@pytest.mark.parametrize("name", NAMES)
def test_the_whole_graph_is_one_xnnpack_partition_of_integers(name: str) -> None:
    flatbuffer = read_model(find(name)).flatbuffer
    interpreter = Interpreter(model_content=flatbuffer, num_threads=1)
    kinds = {tensor["dtype"] for tensor in interpreter.get_tensor_details()}
    assert kinds <= {np.int8, np.int32}
    # From the picture to the answer: nothing is left outside.
    assert partitions(flatbuffer) == Partitions(count=1, outside=())


@pytest.mark.parametrize("name", NAMES)
def test_the_contract_says_when_it_does_not_know(name: str) -> None:
    contract = read_model(find(name)).contract
    assert contract.output.unknown is not None
    assert 0.2 < contract.output.unknown["min_probability"] < 0.8
    assert contract.quality is not None
    assert contract.quality.n > 2000
    assert contract.output.temperature != 1.0


@pytest.mark.parametrize("name", NAMES)
def test_what_it_was_made_from_is_recorded(name: str) -> None:
    folder = Path(__file__).resolve().parents[2] / "converters" / "models"
    record = json.loads((folder / f"{name}.run.json").read_text())
    provenance = read_model(find(name)).contract.provenance
    assert record["trained_on"] == provenance["trained_on"]
    assert record["parameters"] == provenance["parameters"]
    assert len(record["curve"]) == record["recipe"]["epochs"]
    assert {o["file"] for o in record["outliers"]} == {"nonface_scenes.zip", "faceboxes_train.zip"}
    assert (folder / f"{name}.run.html").stat().st_size > 5000
    report = json.loads((folder / f"{name}.report.json").read_text())
    assert report["outputs"]["int8"]["sha256"] == read_model(find(name)).sha256


@pytest.fixture(scope="module", params=NAMES)
def scored(request: pytest.FixtureRequest, fer2013: Path, shared: Path) -> tuple[str, Any]:
    scenes = shared / "data" / "nonface_scenes.zip"
    done = subprocess.run(
        [sys.executable, "-c", "from edge_fer.cli import main; main()", "evaluate", request.param,
         "--data", str(fer2013), "--robustness", "--non-faces", str(scenes), "--json", "--quiet"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return request.param, json.loads(done.stdout)


# Half a point below what was measured on the build host: kernels differ between processors.
FLOORS = {
    "expression": {"accuracy": 0.866, "clean": 0.866, "macro_recall_n50": 0.81},
    "expression-nano": {"accuracy": 0.833, "clean": 0.833, "macro_recall_n50": 0.76},
    "expression-fer2013": {"accuracy": 0.669, "clean": 0.66, "macro_recall_n50": 0.63},
}


def test_public_test_gives_what_the_card_says(scored: tuple[str, Any]) -> None:
    name, found = scored
    floors = FLOORS[name]
    assert found["accuracy"] >= floors["accuracy"]
    assert found["clean"]["accuracy"] >= floors["clean"]
    assert found["macro_recall_n50"] >= floors["macro_recall_n50"]
    assert found["ece"] <= 0.03


def test_conversion_cost_next_to_nothing(scored: tuple[str, Any]) -> None:
    name, found = scored
    (metric,) = read_model(find(name)).contract.metrics
    assert metric.drop_points <= 0.3
    assert metric.agreement >= 0.98
    assert found["accuracy"] == pytest.approx(metric.int8_accuracy, abs=0.004)
    for row in metric.per_class.values():
        lost = row["n"] * (row["float_recall"] - row["int8_recall"])
        assert row["n"] < 50 or lost <= max(3, 0.03 * row["n"])


def test_what_cannot_be_read_is_mostly_not_named(scored: tuple[str, Any]) -> None:
    name, found = scored
    if name == "expression-fer2013":
        pytest.skip("its labels are too noisy for any threshold to reach this")
    spoilt = found["robustness"]
    assert spoilt["clean"]["coverage"] >= 0.90
    assert spoilt["accepted_noise"] <= 0.05
    assert spoilt["accepted_non_faces"] <= 0.05
    assert spoilt["jitter_loss_points"] <= 1.0
    for kind in ("covered_mouth", "dark_glasses", "dark_noise", "turn_90"):
        # Named rightly four times in five, or next to never.
        kept = spoilt["corrupted"][kind]["all"]
        often = 0.10 if name == "expression" else 0.20
        assert kept["coverage"] <= often or kept["accuracy"] >= 0.80, (name, kind)
