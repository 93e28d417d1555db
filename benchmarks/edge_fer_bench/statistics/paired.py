"""Two ways of naming the same rows, compared row by row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.evaluation.drop import clearly_beyond, mcnemar, paired_drop, wilson

__all__ = ["Paired"]

Hits = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Paired:
    """Rows of which two ways are right or wrong; None where there are none.

    Attributes:
        n: rows.
        before, after: share that each way gets right.
        lost_points, ci95_points: before less after, points, and its score interval (Tango 1998).
        mcnemar_p: exact, of the rows that only one of the two gets right.
    """

    n: int
    before: float | None
    after: float | None
    lost_points: float | None
    ci95_points: tuple[float, float] | None
    mcnemar_p: float | None

    @classmethod
    def of(cls, before: Hits, after: Hits) -> Paired:
        """``bool[N]`` of each way."""
        if not len(before):
            return cls(
                n=0, before=None, after=None, lost_points=None, ci95_points=None, mcnemar_p=None
            )
        lost, interval = paired_drop(before, after)
        return cls(
            n=len(before),
            before=float(before.mean()),
            after=float(after.mean()),
            lost_points=lost,
            ci95_points=interval,
            mcnemar_p=mcnemar(int((before & ~after).sum()), int((~before & after).sum())),
        )

    @property
    def cells(self) -> tuple[float | None, ...]:
        """Before, after, lost and the interval's ends."""
        low, high = self.ci95_points or (None, None)
        return (self.before, self.after, self.lost_points, low, high)

    def beyond(self, limit: float, comparisons: int) -> bool:
        """:func:`edge_fer.evaluation.drop.clearly_beyond` of what is lost."""
        if self.ci95_points is None or self.mcnemar_p is None:
            return False
        return clearly_beyond(self.ci95_points, self.mcnemar_p, limit, comparisons)

    def to_json(self, names: tuple[str, str]) -> dict[str, Any]:
        """Fractions under these names with their intervals (Wilson), and points."""
        shares = dict(zip(names, (self.before, self.after), strict=True))
        return {
            "n": self.n,
            **{f"{name}_accuracy": share for name, share in shares.items()},
            **{f"{name}_ci95": self._interval(share) for name, share in shares.items()},
            "lost_points": self.lost_points,
            "ci95_points": None if self.ci95_points is None else list(self.ci95_points),
            "mcnemar_p": self.mcnemar_p,
        }

    def _interval(self, share: float | None) -> list[float] | None:
        return None if share is None else list(wilson(round(share * self.n), self.n))
