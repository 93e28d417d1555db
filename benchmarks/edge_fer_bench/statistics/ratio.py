"""Two measurements of one figure: their ratio, its interval, and what may be said of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, hypot, log
from typing import Literal

from edge_fer_bench.statistics.bootstrap import Z95, Interval

__all__ = [
    "FLOOR",
    "METHOD",
    "Rule",
    "Says",
    "difference_interval",
    "ratio_interval",
    "tell",
]

Says = Literal["higher", "lower", "no_difference", "cannot_be_told"]

# Two runs of one program on one machine differ in p50 by up to this share, and no interval of a
# single run knows: where memory came to lie, what else ran, how warm it was.
FLOOR = 0.10
METHOD = (
    "Intervals of ratios: log-normal approximation from both intervals (Altman and Bland, BMJ "
    "2003;326:219). A change is called only where all of it lies beyond 10 %, because two runs of "
    "the same may differ by that."
)


def ratio_interval(
    now: float, before: float, now95: Interval | None, before95: Interval | None
) -> Interval | None:
    """95 % interval of ``now / before``; None where one of the two has none.

    With ``SE = (ln high - ln low) / (2 * 1.96)`` of each figure, the logarithm of the ratio has
    the standard error ``sqrt(SE_now^2 + SE_before^2)``: D. G. Altman, J. M. Bland, "Interaction
    revisited: the difference between two estimates", BMJ 2003;326:219.

    Args:
        now: above 0.
        before: above 0.
        now95: 95 % interval of ``now``; one that touches 0 counts as none.
        before95: the same of ``before``.
    """
    if now95 is None or before95 is None or min(now95[0], before95[0]) <= 0:
        return None
    errors = (log(high / low) / (2 * Z95) for low, high in (now95, before95))
    half = Z95 * hypot(*errors)
    middle = log(now / before)
    return exp(middle - half), exp(middle + half)


def difference_interval(
    now: float, before: float, now95: Interval | None, before95: Interval | None
) -> Interval | None:
    """95 % interval of ``now - before`` of two independent, normal figures (the same source)."""
    if now95 is None or before95 is None:
        return None
    half = hypot(*((high - low) / 2 for low, high in (now95, before95)))
    return now - before - half, now - before + half


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is taken for a change.

    Attributes:
        floor: a smaller share is never one.
        bare: without an interval, a smaller share is none; None: without one nothing is called.
    """

    floor: float = FLOOR
    bare: float | None = None


def tell(ratio: float, interval: Interval | None, rule: Rule) -> Says:
    """What may be said of a ratio.

    Within the floor no difference shows. Beyond it there is a change where the whole interval lies
    beyond the floor, else it cannot be told.
    """
    if 1 / (1 + rule.floor) <= ratio <= 1 + rule.floor:
        return "no_difference"
    if interval is not None:
        low, high = interval
        edge = rule.floor
    elif rule.bare is not None:
        low = high = ratio
        edge = rule.bare
    else:
        return "cannot_be_told"
    if low > 1 + edge:
        return "higher"
    return "lower" if high < 1 / (1 + edge) else "cannot_be_told"
