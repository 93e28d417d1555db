"""What quantisation cost: a reference and a quantised model on identical crops, paired."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, comb, sqrt
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_fer.evaluation.metrics import (
    MIN_CLASS_ROWS,
    confusion,
    expected_calibration_error,
    macro_f1,
    recall,
    top1,
)

__all__ = [
    "AccuracyDrop",
    "ClassDrop",
    "ModelFigures",
    "Verdict",
    "clearly_beyond",
    "mcnemar",
    "measure_drop",
    "paired_drop",
    "score_interval",
    "wilson",
]

Verdict = Literal["pass", "fail", "not_distinguishable"]
Probabilities = NDArray[np.floating]

_MIN_CLASS_IMAGES = 3
_Z = 1.959963984540054  # 97.5 % point of the normal distribution
_HALVINGS = 60  # until a double has no digit left
_BY_CHANCE = 0.05
_SAME = 1e-12  # shares that differ by rounding alone


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFigures:
    """One model on one split; fractions 0 to 1."""

    accuracy: float
    macro_recall: float
    macro_f1: float
    ece: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassDrop:
    """Recall of one class, before and after; None where the class has no rows."""

    n: int
    reference_recall: float | None
    quantised_recall: float | None
    drop_points: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyDrop:
    """The comparison. ``drop_points`` is reference minus quantised, in percentage points.

    Attributes:
        n: rows.
        reference, quantised: figures of each.
        drop_points, ci95_points: top-1 drop and its score interval for paired rows (Tango 1998).
        mcnemar_p: exact binomial on the rows that only one of the two got right.
        discordant: how many rows only the reference, and only the quantised model got right.
        agreement: share of rows with the same label, right or wrong.
        mean_abs_dp: mean absolute change of a probability.
        per_class: by label.
    """

    n: int
    reference: ModelFigures
    quantised: ModelFigures
    drop_points: float
    ci95_points: tuple[float, float]
    mcnemar_p: float
    discordant: tuple[int, int]
    agreement: float
    mean_abs_dp: float
    per_class: dict[str, ClassDrop]

    def verdict(self, max_drop: float) -> Verdict:
        """``pass`` when the whole interval is within the budget, ``fail`` when it is beyond."""
        low, high = self.ci95_points
        if high <= max_drop:
            return "pass"
        return "fail" if low > max_drop else "not_distinguishable"

    def clearly_beyond(self, limit: float, comparisons: int) -> bool:
        """:func:`clearly_beyond` of this drop."""
        return clearly_beyond(self.ci95_points, self.mcnemar_p, limit, comparisons)

    def rows_to_decide(self, limit: float) -> int | None:
        """About how many rows would tell this drop from a limit, in points; None where equal.

        The score at the limit grows with the root of the rows where the shares stay as they are.
        """
        lost, won = (count / self.n for count in self.discordant)
        away = lost - won - limit / 100
        if abs(away) < _SAME:
            return None
        return ceil(_Z**2 * _variance(lost, won, limit / 100) / away**2)

    def classes_over(self, max_class_drop: float) -> list[str]:
        """Labels with at least 50 rows that lost more than the budget and at least 3 pictures."""
        return [
            label
            for label, c in self.per_class.items()
            if c.n >= MIN_CLASS_ROWS
            and c.drop_points is not None
            and c.drop_points > max_class_drop
            and round(c.drop_points / 100 * c.n) >= _MIN_CLASS_IMAGES
        ]

    def to_json(self) -> dict[str, Any]:
        """The fields of ``accuracy`` in ``edge-fer/benchmark/1``, without data and verdict."""
        from dataclasses import asdict

        fields = asdict(self)
        fields["ci95_points"] = list(self.ci95_points)
        fields["discordant"] = list(self.discordant)
        return fields


def measure_drop(
    reference: Probabilities,
    quantised: Probabilities,
    truth: NDArray[np.int64],
    labels: tuple[str, ...],
) -> AccuracyDrop:
    """Compare two models on the same rows.

    Args:
        reference: ``[N, C]`` probabilities of the float model.
        quantised: ``[N, C]`` probabilities of the int8 model on the same crops.
        truth: ``int64[N]``, index into ``labels``.
        labels: the C classes.
    """
    said_a, said_b = reference.argmax(axis=1), quantised.argmax(axis=1)
    right_a, right_b = said_a == truth, said_b == truth
    lost, won = int((right_a & ~right_b).sum()), int((~right_a & right_b).sum())
    n = len(truth)
    rows = np.bincount(truth, minlength=len(labels))
    recalls = [recall(confusion(said, truth, len(labels))) for said in (said_a, said_b)]
    return AccuracyDrop(
        n=n,
        reference=_figures(reference, truth, len(labels)),
        quantised=_figures(quantised, truth, len(labels)),
        drop_points=100 * (lost - won) / n,
        ci95_points=score_interval(lost, won, n),
        mcnemar_p=mcnemar(lost, won),
        discordant=(lost, won),
        agreement=float((said_a == said_b).mean()),
        mean_abs_dp=float(np.abs(reference - quantised).mean()),
        per_class={
            label: _class_drop(int(rows[i]), float(recalls[0][i]), float(recalls[1][i]))
            for i, label in enumerate(labels)
        },
    )


def paired_drop(
    before: NDArray[np.bool_], after: NDArray[np.bool_]
) -> tuple[float, tuple[float, float]]:
    """What was right before less what is right after, points, and its score interval (Tango 1998).

    Args:
        before: ``bool[N]``, at least one row.
        after: ``bool[N]``, the same rows.
    """
    n, lost, won = len(before), int((before & ~after).sum()), int((~before & after).sum())
    return 100 * (lost - won) / n, score_interval(lost, won, n)


def score_interval(lost: float, won: float, n: float) -> tuple[float, float]:
    """95 % interval of the drop, in points: every drop that a score test does not refuse.

    T. Tango, "Equivalence test and confidence interval for the difference in proportions for the
    paired-sample design", Statistics in Medicine 17, 891-908, 1998. It needs no rows that changed:
    where none did, the ends are +-z^2 / (n + z^2).

    Args:
        lost: rows that were right before alone.
        won: rows that are right after alone.
        n: all rows, at least one.
    """
    drop = (lost - won) / n
    low, high = (_end(lost / n, won / n, n, drop, beyond) for beyond in (-1.0, 1.0))
    return 100 * low, 100 * high


def clearly_beyond(
    ci95_points: tuple[float, float], p: float, limit: float, comparisons: int
) -> bool:
    """Whether a loss is beyond a limit and none that chance gives one of several comparisons.

    Every twentieth 95 % interval misses its value, so that where many are looked at, each is also
    asked at 0.05 over their number (Bonferroni).

    Args:
        ci95_points: of the loss.
        p: how likely chance alone makes such a loss.
        limit: in points.
        comparisons: how many are looked at together, at least one.
    """
    return ci95_points[0] > limit and p < _BY_CHANCE / comparisons


def mcnemar(lost: int, won: int) -> float:
    """Exact two-sided p (McNemar 1947; binomial with p = 1/2 on the discordant rows)."""
    total = lost + won
    tail = sum(comb(total, k) for k in range(min(lost, won) + 1))
    return float(min(1.0, 2 * tail / 2**total))


def wilson(hits: int, n: int) -> tuple[float, float]:
    """95 % interval of a share (Wilson 1927), fractions."""
    z, share = _Z, hits / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


def _figures(p: Probabilities, truth: NDArray[np.int64], classes: int) -> ModelFigures:
    matrix = confusion(p.argmax(axis=1), truth, classes)
    return ModelFigures(
        accuracy=top1(p, truth),
        macro_recall=float(np.nanmean(recall(matrix))),
        macro_f1=macro_f1(matrix),
        ece=expected_calibration_error(p, truth),
    )


def _class_drop(n: int, before: float, after: float) -> ClassDrop:
    if n == 0:
        return ClassDrop(n=0, reference_recall=None, quantised_recall=None, drop_points=None)
    return ClassDrop(
        n=n,
        reference_recall=before,
        quantised_recall=after,
        drop_points=100 * (before - after),
    )


def _end(lost: float, won: float, n: float, kept: float, refused: float) -> float:
    """The last drop from ``kept`` towards ``refused`` that is not refused; all fractions.

    The score only falls as the drop grows, so that halving finds it.
    """
    for _ in range(_HALVINGS):
        middle = (kept + refused) / 2
        # Without the division: the variance is 0 at both ends of the scale.
        if n * (lost - won - middle) ** 2 <= _Z**2 * _variance(lost, won, middle):
            kept = middle
        else:
            refused = middle
    return kept


def _variance(lost: float, won: float, drop: float) -> float:
    """Of one row's part in the drop, if the drop is this; fractions.

    The share of won rows is its maximum likelihood under that condition (Tango's q21).
    """
    b = (2 - lost + won) * drop - lost - won
    q = (sqrt(max(0.0, b * b + 8 * won * drop * (1 - drop))) - b) / 4
    return max(0.0, 2 * q + drop * (1 - drop))
