import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_fer.classifier import softmax
from edge_fer.evaluation.drop import measure_drop, wilson
from edge_fer.evaluation.metrics import (
    confusion,
    expected_calibration_error,
    macro_f1,
    macro_recall,
    precision,
    recall,
    top1,
)

LABELS = ("a", "b", "c")


def one_hot(said: list[int], sure: float = 1.0) -> np.ndarray:
    p = np.full((len(said), 3), (1 - sure) / 2)
    p[np.arange(len(said)), said] = sure
    return p


def test_confusion_by_hand() -> None:
    truth, said = np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 0])
    matrix = confusion(said, truth, 3)
    assert matrix.tolist() == [[1, 1, 0], [1, 2, 0], [0, 0, 0]]
    assert recall(matrix)[:2].tolist() == pytest.approx([1 / 2, 2 / 3])
    assert precision(matrix)[:2].tolist() == pytest.approx([1 / 2, 2 / 3])
    assert np.isnan(recall(matrix)[2])
    assert macro_recall(said, truth, 3) == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert macro_f1(matrix) == pytest.approx((1 / 2 + 2 / 3) / 2)


def test_ece_of_a_model_that_is_sure_and_half_right() -> None:
    p = one_hot([0, 0, 0, 0], sure=0.9)
    assert expected_calibration_error(p, np.array([0, 0, 1, 1])) == pytest.approx(0.4)


def test_softmax_is_stable_and_sums_to_one() -> None:
    p = softmax(np.array([[1000.0, 1000.0, 0.0]]))
    assert p[0].tolist() == pytest.approx([0.5, 0.5, 0.0])


def test_wilson_against_published_values() -> None:
    # Newcombe 1998, table I: 81 of 263 gives 0.2553 to 0.3662; 0 of 20 gives 0 to 0.1611.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)


def test_the_drop_by_hand() -> None:
    truth = np.array([0] * 60 + [1] * 40)
    before = [0] * 60 + [1] * 40
    after = [1] * 6 + [0] * 54 + [1] * 40
    drop = measure_drop(one_hot(before), one_hot(after), truth, LABELS)
    assert drop.drop_points == pytest.approx(6.0)
    assert drop.discordant == (6, 0)
    assert drop.mcnemar_p == pytest.approx(2 / 64)
    assert drop.agreement == pytest.approx(0.94)
    assert drop.per_class["a"].drop_points == pytest.approx(10.0)
    assert drop.per_class["b"].drop_points == pytest.approx(0.0)
    assert drop.per_class["c"].n == 0
    assert drop.per_class["c"].drop_points is None
    # Binomial(100, 0.06): 2.5 % and 97.5 % points are 2 and 11.
    assert drop.ci95_points == pytest.approx((2.0, 11.0), abs=1.0)
    assert drop.verdict(0.5) == "fail"
    assert drop.verdict(6.0) == "not_distinguishable"
    assert drop.verdict(15.0) == "pass"
    assert drop.classes_over(3.0) == ["a"]
    assert drop.classes_over(10.0) == []


def test_a_small_class_is_never_over_the_budget() -> None:
    truth = np.array([0] * 100 + [1] * 49)
    drop = measure_drop(one_hot(truth.tolist()), one_hot([0] * 149), truth, LABELS)
    assert drop.per_class["b"].drop_points == pytest.approx(100.0)
    assert drop.classes_over(3.0) == []


def test_two_lost_pictures_are_not_held_against_a_class() -> None:
    truth = np.array([0] * 50)
    drop = measure_drop(one_hot([0] * 50), one_hot([1] * 2 + [0] * 48), truth, LABELS)
    assert drop.per_class["a"].drop_points == pytest.approx(4.0)
    assert drop.classes_over(3.0) == []


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)), min_size=1))
@settings(max_examples=50, deadline=None)
def test_identities_of_the_drop(rows: list[tuple[int, int, int]]) -> None:
    truth, before, after = (np.array(column) for column in zip(*rows, strict=True))
    a, b = one_hot(before.tolist(), 0.8), one_hot(after.tolist(), 0.8)
    drop, back = measure_drop(a, b, truth, LABELS), measure_drop(b, a, truth, LABELS)
    assert drop.drop_points == pytest.approx(100 * (top1(a, truth) - top1(b, truth)))
    assert drop.drop_points == pytest.approx(-back.drop_points)
    assert drop.mcnemar_p == back.mcnemar_p
    low, high = drop.ci95_points
    assert low <= drop.drop_points + 1e-9
    assert high >= drop.drop_points - 1e-9
    same = measure_drop(a, a, truth, LABELS)
    assert (same.drop_points, same.ci95_points, same.mcnemar_p) == (0, (0, 0), 1)
    assert same.agreement == 1
