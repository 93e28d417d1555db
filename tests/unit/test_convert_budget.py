"""Budgets: what passes, what fails, what cannot be told."""

from __future__ import annotations

import numpy as np
import pytest

from edge_fer.evaluation.drop import AccuracyDrop, measure_drop
from edge_fer_convert.climbing.budget import Budget, judge

LABELS = ("a", "b")


def drop(n: int, lost: int, won: int = 0, only_class: int | None = None) -> AccuracyDrop:
    """A float model that is always right but for ``won`` rows; int8 loses ``lost`` others."""
    truth = np.arange(n) % 2
    order = np.arange(n) if only_class is None else np.flatnonzero(truth == only_class)
    before, after = truth.copy(), truth.copy()
    after[order[:lost]] ^= 1
    before[order[lost : lost + won]] ^= 1
    return measure_drop(np.eye(2)[before], np.eye(2)[after], truth, LABELS)


@pytest.mark.parametrize(
    ("lost", "max_drop", "verdict"),
    [
        (0, 0.4, "pass"),
        (0, 0.3, "not_distinguishable"),
        (10, 2.0, "pass"),
        (50, 2.0, "fail"),
        (10, 1.0, "not_distinguishable"),
    ],
)
def test_verdict(lost: int, max_drop: float, verdict: str) -> None:
    assert judge(drop(1000, lost), Budget(max_drop=max_drop)).verdict == verdict


def test_no_budget_no_verdict() -> None:
    judged = judge(drop(1000, 300), Budget())
    assert judged.verdict is None
    assert "30.00 points" in judged.words
    assert "nothing was judged" in judged.words


def test_one_class_can_fail_alone() -> None:
    measured = drop(1000, 20, only_class=1)
    assert judge(measured, Budget(max_drop=5.0)).verdict == "pass"
    judged = judge(measured, Budget(max_drop=5.0, max_class_drop=3.0))
    assert judged.verdict == "fail"
    assert judged.classes_over == ("b",)
    assert "b 4.00" in judged.words
    assert judge(measured, Budget(max_class_drop=4.5)).verdict == "pass"


def test_undecided_says_how_many_rows_would_decide() -> None:
    judged = judge(drop(1000, 8, 2), Budget(max_drop=1.0))
    assert judged.verdict == "not_distinguishable"
    # The drop is 0.6, 0.4 points from the budget. If it were 1, the likeliest share of won rows
    # would be 0.1525 %, and a row's variance 2 * 0.001525 + 0.01 * 0.99.
    assert judged.rows_to_decide == pytest.approx(1.96**2 * 0.01295 / 0.004**2, rel=0.01)
    assert str(judged.rows_to_decide) in judged.words


def test_exactly_on_the_budget_is_never_decided() -> None:
    judged = judge(drop(1000, 10), Budget(max_drop=1.0))
    assert judged.rows_to_decide is None
    assert "no number of rows" in judged.words


def test_a_better_int8_model_is_called_better() -> None:
    assert "better than the float model" in judge(drop(1000, 0, 10), Budget()).words
