from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from edge_fer.assemble import open_classifier
from edge_fer.errors import DataError
from edge_fer.evaluation.data import load
from edge_fer.evaluation.evaluate import evaluate
from edge_fer_bench.sweep.shares import measure_shares
from edge_fer_bench.sweep.swept import MeasuredShare


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Thirty gray squares of FER2013's seven classes."""
    rng = np.random.default_rng(4)
    path = tmp_path / "faces.npz"
    np.savez(
        path,
        images=rng.integers(0, 256, (30, 48, 48), dtype=np.uint8),
        emotion=rng.integers(0, 7, 30),
        usage=np.array(["PublicTest"] * 20 + ["Training"] * 10),
    )
    return path


def test_the_figure_is_that_of_evaluate(data: Path) -> None:
    told: list[tuple[float, float]] = []
    found = measure_shares(
        ["expression", "expression-fer2013"], data, on_progress=lambda *at: told.append(at)
    )
    assert list(found) == ["expression", "expression-fer2013"]
    for model, share in found.items():
        classifier = open_classifier(model)
        document = evaluate(classifier, load(data, classifier.labels, split=None)).to_json("", "")
        classifier.close()
        assert share.share == pytest.approx(document["accuracy"], abs=1e-12)
        assert (share.n, share.split) == (20, "PublicTest")
    assert told == [(20, 40), (40, 40)]


def test_what_is_known_is_not_measured_again(data: Path) -> None:
    mine = {"expression": MeasuredShare(share=0.5, n=3), "other": MeasuredShare(share=0.1, n=3)}
    assert measure_shares(["expression"], data, known=mine) == {"expression": mine["expression"]}
    # Not even the data is read then.
    assert measure_shares(["expression"], Path("nowhere.npz"), known=mine)
    with pytest.raises(DataError, match="nowhere"):
        measure_shares(["expression-nano"], Path("nowhere.npz"), known=mine)


def test_a_model_that_cannot_be_scored_is_left_out(data: Path) -> None:
    told: list[str] = []
    found = measure_shares(["nosuch", "face", "expression"], data, on_skip=told.append)
    assert list(found) == ["expression"]
    assert [words.partition(":")[0] for words in told] == ["nosuch", "face"]
    told.clear()
    assert measure_shares(["expression"], data, split="nosuch", on_skip=told.append) == {}
    assert "no rows of split 'nosuch'" in told[0]
