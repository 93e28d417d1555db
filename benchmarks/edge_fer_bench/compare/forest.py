"""A picture of ratios with their intervals (a forest plot)."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

from markupsafe import Markup

from edge_fer_bench.compare.changes import Change
from edge_fer_bench.drawing.svg import rect, svg, text
from edge_fer_bench.statistics.ratio import FLOOR

__all__ = ["forest"]

_ROW = 26
_FINE = (0.5, 2 / 3, 0.8, 1.0, 1.25, 1.5, 2.0)
_COARSE = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0, 2.0, 4.0, 8.0, 16.0)
_WIDE = 2.5  # from such a reach on the fine marks would touch


def forest(rows: Sequence[Change], width: int = 928) -> Markup:
    """A row per figure on a logarithmic axis: a mark at the ratio, a line for its interval.

    The band is where no difference shows. What lies beyond the axis (a sixteenth, or 16 times)
    stands at its end; the figures at the side are exact.
    """
    left, right, top, bottom = 150, 300, 8, 26
    ends = [end for row in rows for end in (row.ratio, *(row.interval or ()))]
    reach = max(1.3, *(max(end, 1 / end) for end in ends)) if ends else 1.3
    reach = min(reach * 1.05, 17.0)
    across = (width - left - right) / (2 * log(reach))
    height = top + len(rows) * _ROW + bottom

    def place(ratio: float) -> float:
        inside = min(max(ratio, 1 / reach), reach)
        return left + across * (log(inside) + log(reach))

    low, high = place(1 / (1 + FLOOR)), place(1 + FLOOR)
    parts = [rect("track", low, top, high - low, height - top - bottom)]
    for mark in _FINE if reach < _WIDE else _COARSE:
        if 1 / reach < mark < reach:
            kind = "axis" if mark == 1 else "grid"
            parts.append(f'<path class="{kind}" d="M{place(mark):.1f} {top}V{height - bottom}"/>')
            parts.append(text(place(mark), height - 8, f"{mark:.3g}", "small middle"))
    for i, row in enumerate(rows):
        y = top + i * _ROW + _ROW / 2
        at = place(row.ratio)
        if row.interval is not None:
            a, b = (place(end) for end in row.interval)
            parts.append(f'<path class="whisker" d="M{a:.1f} {y}H{b:.1f}"/>')
        kind = "few" if row.interval is None else "bad" if row.is_worse else "bar"
        parts += [
            text(left - 16, y + 5, row.figure, "end strong" if i == 0 else "end"),
            rect(kind, at - 4, y - 4, 8, 8),
            text(width - right + 20, y + 5, f"{row.ratio:.2f}", "strong"),
            text(width, y + 5, row.words, "end"),
        ]
    return svg(width, height, parts, "Ratio of each figure to the baseline")
