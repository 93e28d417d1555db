import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_fer.classifier import softmax
from edge_fer.evaluation.drop import (
    AccuracyDrop,
    measure_drop,
    paired_drop,
    score_interval,
    wilson,
)
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
    # Without won rows Tango's interval is Wilson's of the lost ones above 0: 6 of 100.
    assert drop.ci95_points[0] / 100 > 0
    assert drop.ci95_points[1] / 100 == pytest.approx(wilson(6, 100)[1], abs=1e-9)
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
    widest = 100 * 1.959964**2 / (len(truth) + 1.959964**2)
    assert (same.drop_points, same.mcnemar_p) == (0, 1)
    assert same.ci95_points == pytest.approx((-widest, widest), abs=1e-4)
    assert same.agreement == 1


def rights(lost: int, won: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Of n rows, right before and after."""
    row = np.arange(n)
    return (row < lost) | (row >= lost + won), row >= lost


def test_no_changed_row_among_few_does_not_say_that_nothing_is_lost() -> None:
    """Ten pictures on which both models agree: the drop may still be 28 points."""
    few = measure_drop(one_hot([0] * 10), one_hot([0] * 10), np.zeros(10, int), LABELS)
    # z^2 / (n + z^2), by hand.
    assert few.ci95_points == pytest.approx((-27.753, 27.753), abs=1e-3)
    assert few.verdict(0.5) == "not_distinguishable"
    assert few.rows_to_decide(0.5) == 765  # 1.96^2 * 0.995 / 0.005
    many = measure_drop(one_hot([0] * 765), one_hot([0] * 765), np.zeros(765, int), LABELS)
    assert many.verdict(0.5) == "pass"


@pytest.mark.parametrize(
    ("lost", "won", "n"), [(10, 6, 3199), (40, 20, 160), (1, 7, 21), (3, 0, 40), (0, 2, 30)]
)
def test_the_ends_are_the_drops_that_a_score_test_just_refuses(lost: int, won: int, n: int) -> None:
    """The share of won rows that is likeliest under each end is searched here, not solved for."""
    for end in (e / 100 for e in paired_drop(*rights(lost, won, n))[1]):
        q = np.linspace(max(0.0, -end), (1 - end) / 2, 400_001)[1:-1]
        likely = (
            lost * np.log(q + end) + won * np.log(q) + (n - lost - won) * np.log1p(-2 * q - end)
        )
        best = q[likely.argmax()]
        score = (lost - won - n * end) / np.sqrt(n * (2 * best + end * (1 - end)))
        assert abs(score) == pytest.approx(1.959964, abs=2e-3)


def test_tango_against_published_values() -> None:
    # 1 and 7 of 21 pairs changed: -0.517 to -0.026 in R's contingencytables.
    assert paired_drop(*rights(1, 7, 21))[1] == pytest.approx((-51.7, -2.6), abs=0.05)
    assert paired_drop(*rights(5, 0, 5))[1][1] == 100
    assert paired_drop(*rights(0, 5, 5))[1][0] == -100


@pytest.mark.parametrize(("lost", "won", "limit"), [(8, 2, 1.0), (0, 0, 0.5), (40, 10, 1.0)])
def test_as_many_rows_as_it_says_decide(lost: int, won: int, limit: float) -> None:
    drop = dropped(lost, won, 1000)
    needed = drop.rows_to_decide(limit)
    assert needed is not None
    ends = [
        score_interval(lost * rows / 1000, won * rows / 1000, rows) for rows in (needed - 1, needed)
    ]
    undecided, decided = (low <= limit < high for low, high in ends)
    assert undecided
    assert not decided
    assert dropped(10, 0, 1000).rows_to_decide(1.0) is None
    # Equal but for rounding: 100 * 3 / 3199 / 100 is not 3 / 3199.
    assert dropped(3, 0, 3199).rows_to_decide(100 * 3 / 3199) is None


def dropped(lost: int, won: int, n: int) -> AccuracyDrop:
    before, after = rights(lost, won, n)
    return measure_drop(
        one_hot((~before).astype(int).tolist()),
        one_hot((~after).astype(int).tolist()),
        np.zeros(n, int),
        LABELS,
    )


def test_the_interval_holds_as_often_as_it_says() -> None:
    """Few rows, few changes: where resampling the rows covers far less than 95 %."""
    rng = np.random.default_rng(3)
    for lost, won, n in ((0.02, 0.01, 60), (0.004, 0.002, 300), (0.1, 0.05, 100)):
        held = 0
        for a, b, _ in rng.multinomial(n, [lost, won, 1 - lost - won], size=400).tolist():
            low, high = paired_drop(*rights(a, b, n))[1]
            held += low <= 100 * (lost - won) <= high
        assert held / 400 >= 0.93


def test_a_loss_among_many_comparisons() -> None:
    drop = dropped(8, 0, 300)
    assert drop.ci95_points[0] > 0.5
    assert drop.mcnemar_p == pytest.approx(2 / 2**8)
    assert drop.clearly_beyond(0.5, 1)
    assert drop.clearly_beyond(0.5, 6)
    assert not drop.clearly_beyond(0.5, 7)  # 0.05 / 7 is below 2 / 256
    assert not drop.clearly_beyond(2.0, 1)
