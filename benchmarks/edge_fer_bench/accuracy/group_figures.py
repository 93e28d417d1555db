"""A float model and its int8 twin on groups of the same rows: the arithmetic.

Groups differ in more than what they are named after. Where one has more of the easy classes, its
accuracy is higher for that alone, so that accuracies are given a second time as if every group had
the same mix of classes (direct standardisation, as epidemiology does it for age).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.evaluation.drop import clearly_beyond, measure_drop, wilson

__all__ = ["MIN_GROUP_ROWS", "Compared", "Gap", "GroupFigures", "Grouping", "compare"]

MIN_GROUP_ROWS = 50
"""A group with fewer is shown and never judged."""

_MIN_CELL_ROWS = 5  # of a class in every judged group, for it to be in the common mix
_DRAWS = 10_000
_SAME = 1e-9  # shares that differ by rounding alone

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Grouping:
    """Which row belongs to which group.

    Attributes:
        name: what the rows are grouped by.
        groups: names, in the order in which they are shown.
        member: ``int64[N]``, index into ``groups``; -1 for rows without a group.
        unit: of the bounds in the groups' names; empty for none.
    """

    name: str
    groups: tuple[str, ...]
    member: NDArray[np.int64]
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFigures:
    """One group; fractions 0 to 1, drops in points.

    Attributes:
        n: rows.
        reference, quantised: accuracies.
        quantised_ci95: Wilson interval of the latter.
        reference_recall, quantised_recall: macro recall over the classes that the group has.
        reference_even, quantised_even: accuracies with the common mix of classes, or None.
        drop_points, ci95_points, mcnemar_p: as of :class:`edge_fer.evaluation.drop.AccuracyDrop`.
    """

    name: str
    n: int
    reference: float
    quantised: float
    quantised_ci95: tuple[float, float]
    reference_recall: float
    quantised_recall: float
    reference_even: float | None
    quantised_even: float | None
    drop_points: float
    ci95_points: tuple[float, float]
    mcnemar_p: float

    @property
    def few(self) -> bool:
        """Too few rows to be judged."""
        return self.n < MIN_GROUP_ROWS

    def loses(self, limit: float, comparisons: int) -> bool:
        """Whether int8 clearly loses more than a limit, in points, and there are enough rows."""
        return not self.few and clearly_beyond(self.ci95_points, self.mcnemar_p, limit, comparisons)

    def to_json(self) -> dict[str, Any]:
        """Without the name."""
        return {
            "n": self.n,
            "too_few": self.few,
            "reference": {
                "accuracy": self.reference,
                "macro_recall": self.reference_recall,
                "accuracy_same_classes": self.reference_even,
            },
            "quantised": {
                "accuracy": self.quantised,
                "ci95": list(self.quantised_ci95),
                "macro_recall": self.quantised_recall,
                "accuracy_same_classes": self.quantised_even,
            },
            "drop_points": self.drop_points,
            "ci95_points": list(self.ci95_points),
            "mcnemar_p": self.mcnemar_p,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Between the groups that int8 is best and worst on, in points.

    Attributes:
        best, worst: their names.
        points: how far their int8 accuracies are apart.
        reference_points: how far the float model's are, of the same two groups.
        ci95_points: interval that holds for all pairs of groups at once.
        p: how likely groups that are alike stray as far apart.
    """

    best: str
    worst: str
    points: float
    reference_points: float
    ci95_points: tuple[float, float]
    p: float

    def told(self, comparisons: int) -> bool:
        """Whether the interval leaves out 0, and chance among several gaps does not explain it."""
        return clearly_beyond(self.ci95_points, self.p, 0.0, comparisons)

    def to_json(self) -> dict[str, Any]:
        """All fields."""
        return {
            "best": self.best,
            "worst": self.worst,
            "gap_points": self.points,
            "reference_gap_points": self.reference_points,
            "ci95_points": list(self.ci95_points),
            "p": self.p,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One grouping.

    Attributes:
        name: what the rows are grouped by.
        groups: those that have rows.
        without: rows without a group.
        gap: between judged groups; None where there are fewer than two.
        even_gap: the same with the common mix of classes; None where there is no common class.
        even_classes: the classes of that mix.
        unit: of the bounds in the groups' names; empty for none.
    """

    name: str
    groups: tuple[GroupFigures, ...]
    without: int
    gap: Gap | None
    even_gap: Gap | None
    even_classes: tuple[str, ...]
    unit: str = ""

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """Those that there are."""
        return tuple(gap for gap in (self.gap, self.even_gap) if gap is not None)

    def to_json(self) -> dict[str, Any]:
        """Groups by name."""
        return {
            "unit": self.unit or None,
            "groups": {group.name: group.to_json() for group in self.groups},
            "without_group": self.without,
            "gap": self.gap and self.gap.to_json(),
            "gap_same_classes": self.even_gap and self.even_gap.to_json(),
            "same_classes": list(self.even_classes),
        }


def compare(
    grouping: Grouping,
    before: NDArray[np.floating],
    after: NDArray[np.floating],
    truth: NDArray[np.int64],
    labels: tuple[str, ...],
) -> Compared:
    """The figures of every group that has rows.

    Args:
        grouping: of the rows.
        before: ``[N, C]`` probabilities of the float model.
        after: ``[N, C]`` probabilities of the int8 model on the same rows.
        truth: ``int64[N]``, index into ``labels``.
        labels: the C classes.
    """
    rows = [np.flatnonzero(grouping.member == i) for i in range(len(grouping.groups))]
    judged = [i for i, chosen in enumerate(rows) if len(chosen) >= MIN_GROUP_ROWS]
    right = [said.argmax(axis=1) == truth for said in (before, after)]
    counts = np.zeros((len(rows), len(labels)), np.int64)
    for i, chosen in enumerate(rows):
        counts[i] = np.bincount(truth[chosen], minlength=len(labels))
    common = np.flatnonzero((counts[judged] >= _MIN_CELL_ROWS).all(axis=0))
    if len(judged) < 2:
        common = common[:0]
    weights = counts[judged][:, common].sum(axis=0)
    weights = weights / max(1, weights.sum())
    # Accuracy per judged group and class of the mix, of both models.
    cells = [
        np.array(
            [[hit[r][truth[r] == c].mean() for c in common] for r in (rows[i] for i in judged)]
        )
        for hit in right
    ]
    even = [dict(zip(judged, cell @ weights, strict=True)) for cell in cells if len(common)]
    groups = []
    for i, chosen in enumerate(rows):
        if len(chosen) == 0:
            continue
        drop = measure_drop(before[chosen], after[chosen], truth[chosen], labels)
        groups.append(
            GroupFigures(
                name=grouping.groups[i],
                n=len(chosen),
                reference=drop.reference.accuracy,
                quantised=drop.quantised.accuracy,
                quantised_ci95=wilson(int(right[1][chosen].sum()), len(chosen)),
                reference_recall=drop.reference.macro_recall,
                quantised_recall=drop.quantised.macro_recall,
                reference_even=float(even[0][i]) if even and i in even[0] else None,
                quantised_even=float(even[1][i]) if even and i in even[1] else None,
                drop_points=drop.drop_points,
                ci95_points=drop.ci95_points,
                mcnemar_p=drop.mcnemar_p,
            )
        )
    gap = even_gap = None
    if len(judged) > 1:
        names = [grouping.groups[i] for i in judged]
        plain = [np.array([[hit[rows[i]].mean()] for i in judged]) for hit in right]
        sizes = np.array([[len(rows[i])] for i in judged])
        gap = _gap(names, plain, sizes, np.ones(1))
        if len(common):
            even_gap = _gap(names, cells, counts[judged][:, common], weights)
    return Compared(
        name=grouping.name,
        groups=tuple(groups),
        without=int((grouping.member < 0).sum()),
        gap=gap,
        even_gap=even_gap,
        even_classes=tuple(labels[c] for c in common),
        unit=grouping.unit,
    )


def _gap(
    names: Sequence[str], shares: Sequence[Floats], sizes: NDArray[np.int64], weights: Floats
) -> Gap:
    """Best minus worst int8 group, with its interval.

    Best and worst are picked after looking, so that an interval for two groups named beforehand
    would call chance a gap too often. As Tukey's range does, it is made wide enough for every pair:
    in 95 % of the resamples no two groups stray further apart than its half width.

    A few rows of a class that are all right would be drawn right every time. So the shares that
    are drawn from are moved towards one half, by half a row right and half a row wrong (as
    Jeffreys' prior does), and for ``p`` every group has the share of all of them together.

    Args:
        names: of the G groups.
        shares: of float and int8, ``[G, K]``: share of right rows per stratum.
        sizes: ``int64[G, K]``, rows.
        weights: ``[K]``, of the strata; they sum to 1.
    """
    reference, quantised = (share @ weights for share in shares)
    best, worst = int(quantised.argmax()), int(quantised.argmin())
    hits = shares[1] * sizes
    apart = _ranges(sizes, (hits + 0.5) / (sizes + 1), weights)
    alike = _ranges(sizes, (hits.sum(axis=0) + 0.5) / (sizes.sum(axis=0) + 1), weights)
    gap = float(quantised[best] - quantised[worst])
    half, points = 100 * float(np.percentile(apart, 95)), 100 * gap
    return Gap(
        best=names[best],
        worst=names[worst],
        points=points,
        reference_points=100 * float(reference[best] - reference[worst]),
        ci95_points=(points - half, points + half),
        p=float((1 + (alike >= gap - _SAME).sum()) / (1 + _DRAWS)),
    )


def _ranges(sizes: NDArray[np.int64], shares: Floats, weights: Floats) -> Floats:
    """How far apart groups stray by chance, ``float64[D]``: see :func:`_gap`."""
    drawn = np.random.default_rng(0).binomial(sizes, shares, size=(_DRAWS, *sizes.shape)) / sizes
    return np.asarray(np.ptp((drawn - shares) @ weights, axis=1))
