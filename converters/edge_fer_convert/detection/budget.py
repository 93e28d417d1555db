"""What int8 may cost a detector, and the verdict on what it does."""

from __future__ import annotations

from edge_fer.evaluation.drop import Verdict
from edge_fer_convert.detection.accuracy import PrecisionDrop
from edge_fer_convert.detection.agreement import Agreement

__all__ = ["LEAST_OVERLAP", "judge_detector"]

LEAST_OVERLAP = 0.94
"""Median overlap of float and int8 boxes of a face, below which an int8 detector is refused."""


def judge_detector(
    max_drop: float | None, agreement: Agreement, accuracy: PrecisionDrop | None, coarse: str
) -> tuple[Verdict, str]:
    """Hold what was measured against the budget.

    As for a classifier, what an interval leaves open is no failure, and is said.

    Args:
        max_drop: points of AP50 that int8 may cost; None sets no limit.
        agreement: of float and int8.
        accuracy: of both, where there were boxes.
        coarse: why int8 cannot hold the scores, or nothing.

    Returns:
        The verdict, and its words.
    """
    problems = [coarse] if coarse else []
    said = []
    overlap = agreement.median_overlap
    if overlap is None:
        problems.append("Not one face was found by both the float and the int8 detector.")
    else:
        said.append(
            f"The two boxes of a face overlap by {overlap:.3f} (median of {len(agreement.pairs)} "
            f"faces; at least {LEAST_OVERLAP:g} wanted)."
        )
        if not overlap >= LEAST_OVERLAP:
            problems.append(said[-1])
    verdict: Verdict = "pass"
    if accuracy is not None:
        low, high = accuracy.ci95_points
        said.append(
            f"AP50 goes from {100 * accuracy.float32['ap50']:.2f} % to "
            f"{100 * accuracy.int8['ap50']:.2f} %: drop {accuracy.drop_points:+.2f} points, "
            f"95 % interval {low:+.2f} to {high:+.2f}."
        )
        if max_drop is not None and low > max_drop:
            problems.append(f"{said[-1]} All of it is beyond the {max_drop:g} allowed.")
        elif max_drop is not None and high > max_drop:
            verdict = "not_distinguishable"
            said.append(
                f"Whether that is within the {max_drop:g} points allowed cannot be told "
                f"from {accuracy.float32['faces']} faces."
            )
    return ("fail", " ".join(problems)) if problems else (verdict, " ".join(said))
