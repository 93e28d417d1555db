"""The accuracy that the user is willing to pay, and the verdict on what was measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edge_fer.evaluation.drop import AccuracyDrop, Verdict

__all__ = ["Budget", "Judgement", "judge"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Points of accuracy that conversion may cost; None sets no limit.

    Attributes:
        max_drop: overall top-1, judged by the paired interval.
        max_class_drop: recall of any class with 50 rows or more, and 3 pictures or more.
        min_agreement: share of rows whose label stays; a goal of the ladder, never a verdict,
            because a label may as well change for the better.
    """

    max_drop: float | None = None
    max_class_drop: float | None = None
    min_agreement: float | None = None

    def shortfalls(self, drop: AccuracyDrop, *, labels_too: bool = True) -> tuple[str, ...]:
        """What a measured drop lacks, each in a few words; empty where it meets the budget.

        By the figures as measured: a rung is chosen by this, the verdict by :func:`judge`.

        Args:
            drop: float against int8.
            labels_too: hold it against ``min_agreement``, too.
        """
        found = []
        if self.max_drop is not None and drop.drop_points > self.max_drop:
            found.append(f"{drop.drop_points:.2f} points lost, {self.max_drop:g} allowed")
        if self.max_class_drop is not None:
            found += [
                f"{label} lost {drop.per_class[label].drop_points:.2f} points, "
                f"{self.max_class_drop:g} allowed"
                for label in drop.classes_over(self.max_class_drop)
            ]
        if labels_too and self.min_agreement is not None and drop.agreement < self.min_agreement:
            found.append(
                f"{100 * drop.agreement:.2f} % of labels stay, "
                f"{100 * self.min_agreement:g} % wanted"
            )
        return tuple(found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """``verdict`` is None where no budget was set. ``words`` says it in a sentence or two."""

    verdict: Verdict | None
    classes_over: tuple[str, ...]
    rows_to_decide: int | None
    words: str

    def to_json(self, budget: Budget) -> dict[str, Any]:
        """For the report."""
        return {
            "max_drop": budget.max_drop,
            "max_class_drop": budget.max_class_drop,
            "verdict": self.verdict,
            "classes_over": list(self.classes_over),
            "rows_to_decide": self.rows_to_decide,
            "words": self.words,
        }


def judge(drop: AccuracyDrop, budget: Budget) -> Judgement:
    """Hold a measured drop against a budget.

    ``fail`` when the whole interval lies beyond ``max_drop``, or a class lost more than
    ``max_class_drop``; ``not_distinguishable`` when the interval straddles ``max_drop``.
    """
    words = [_measured(drop)]
    overall: Verdict | None = None
    rows = None
    if budget.max_drop is not None:
        overall = drop.verdict(budget.max_drop)
        if overall == "not_distinguishable":
            rows = _rows_to_decide(drop, budget.max_drop)
            needed = (
                f"about {rows} rows would decide it" if rows else "no number of rows decides it"
            )
            words.append(
                f"Whether that is within the budget of {budget.max_drop:g} points "
                f"cannot be told from {drop.n} rows; {needed}."
            )
        else:
            where = "within" if overall == "pass" else "beyond"
            words.append(f"The whole interval is {where} the budget of {budget.max_drop:g} points.")
    over: tuple[str, ...] = ()
    if budget.max_class_drop is not None:
        over = tuple(drop.classes_over(budget.max_class_drop))
        if over:
            lost = ", ".join(f"{label} {drop.per_class[label].drop_points:.2f}" for label in over)
            words.append(
                f"Beyond the budget of {budget.max_class_drop:g} points per class: {lost}."
            )
        else:
            words.append(f"No class lost more than {budget.max_class_drop:g} points.")
    verdict = "fail" if over else overall
    if verdict is None and budget.max_class_drop is not None:
        verdict = "pass"
    if verdict is None:
        words.append("No budget was set, so nothing was judged.")
    return Judgement(verdict=verdict, classes_over=over, rows_to_decide=rows, words=" ".join(words))


def _measured(drop: AccuracyDrop) -> str:
    low, high = drop.ci95_points
    if drop.drop_points > 0:
        change = f"Conversion to int8 cost {drop.drop_points:.2f} points"
    elif drop.drop_points < 0:
        change = f"The int8 model is {-drop.drop_points:.2f} points better than the float model"
    else:
        change = "Conversion to int8 cost nothing that can be seen"
    return f"{change} on {drop.n} rows (drop, 95 % interval {low:.2f} to {high:.2f})."


def _rows_to_decide(drop: AccuracyDrop, max_drop: float) -> int | None:
    """Rows at which the interval would no longer straddle the budget, were the drop as measured."""
    rows = drop.rows_to_decide(max_drop)
    return None if rows is None else max(drop.n + 1, rows)
