"""On real rows and the shipped models: the benchmark's figures are those of ``evaluate``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_fer.assemble import open_classifier, open_detector
from edge_fer.evaluation.composites import drawn_faces, end_to_end
from edge_fer.evaluation.data import LabelledFaces, load
from edge_fer.evaluation.robustness import REPORT_SEED
from edge_fer_bench.accuracy.backdrops import backdrops
from edge_fer_bench.accuracy.end_to_end import measure_end_to_end
from edge_fer_bench.accuracy.robustness import measure_robustness

ROWS = 200


@pytest.fixture(scope="module")
def few(fer2013: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("spoilt") / "rows.npz"
    with np.load(fer2013) as data:
        kept = np.random.default_rng(4).choice(np.flatnonzero(data["usage"] == 0), 320, False)
        np.savez(path, **{k: data[k][kept] for k in ("images", "emotion", "ferplus")})
    return path


@pytest.fixture(scope="module")
def rows(few: Path) -> LabelledFaces:
    return load(few, open_classifier("expression-nano").labels, split=None)


def evaluate(data: Path) -> dict[str, Any]:
    words = ["evaluate", "expression-nano", "--data", str(data), "--robustness", "--json"]
    done = subprocess.run(
        [sys.executable, "-m", "edge_fer", *words], capture_output=True, text=True, check=True
    )
    document: dict[str, Any] = json.loads(done.stdout)
    return document


@pytest.mark.slow
def test_its_figures_are_those_of_evaluate(few: Path, rows: LabelledFaces) -> None:
    assert len(rows) >= ROWS
    int8, reference = (open_classifier(f"expression-nano{kind}") for kind in ("", ".float"))
    found = json.loads(json.dumps(measure_robustness(int8, reference, rows).to_json()))
    theirs = evaluate(few)
    assert found["n"] == theirs["data"]["n"] == len(rows)
    assert found["quantised"] == theirs["robustness"]
    assert found["clean"]["quantised_accuracy"] == theirs["accuracy"]
    assert found["same_pixels"]
    # Two precisions of one net: near each other, and not the same.
    assert found["reference"] != found["quantised"]
    assert found["clean"]["agreement"] > 0.9
    assert found["clean"]["refused_by_gate"] < 0.05
    assert found["corrupted"]["dark_noise"]["3"]["refused_by_gate"] > 0.9


def test_detection_and_both_models(rows: LabelledFaces) -> None:
    """As the library has it for the int8 model alone, and nearly all faces are found."""
    int8, reference = (open_classifier(f"expression-nano{kind}") for kind in ("", ".float"))
    detector, behind = open_detector("face"), backdrops(None)
    found = measure_end_to_end(
        detector, int8, reference, rows, behind, detector_name="face", count=60
    )
    drawn = drawn_faces(rows, 60, REPORT_SEED)
    alone = end_to_end({"x": detector}, int8, drawn, behind.scenes, seed=REPORT_SEED)["x"]
    document = found.to_json()
    assert document["quantised"] == alone.to_json()
    assert document["found"]["share"] > 0.85
    assert document["reference"]["recall"] == document["quantised"]["recall"]
    assert document["int8_cost"]["found"]["quantised_accuracy"] > 0.6
    assert abs(document["int8_cost"]["found"]["lost_points"]) <= 10
