"""The picture of one grouping: a mark for each group, on the part of the scale that is needed."""

from __future__ import annotations

from math import ceil, floor

from markupsafe import Markup

from edge_fer_bench.accuracy.group_figures import Compared
from edge_fer_bench.drawing.svg import rect, svg, text

__all__ = ["group_chart"]

_ROW, _MARK = 30, 9
_LONGEST = 26


def group_chart(grouping: Compared, width: int = 928) -> Markup:
    """Int8 accuracy as a square on its 95 % interval, and a dashed mark for the float model.

    Args:
        grouping: with at least one group.
        width: CSS pixels.
    """
    left, right, top, bottom = 300, 92, 6, 24
    reached = [e for g in grouping.groups for e in (*g.quantised_ci95, g.reference)]
    # Whole tens of per cent, at least one of them.
    low, high = floor(10 * min(reached)), ceil(10 * max(reached))
    low = min(low, high - 1)
    scale = 10 * (width - left - right) / (high - low)
    height = top + len(grouping.groups) * _ROW + bottom

    def across(share: float) -> float:
        return left + (share - low / 10) * scale

    parts = []
    for tens in range(low, high + 1):
        x = across(tens / 10)
        parts.append(f'<path class="grid" d="M{x:.1f} {top}V{height - bottom}"/>')
        parts.append(text(x, height - 8, f"{10 * tens} %", "small middle"))
    for i, group in enumerate(grouping.groups):
        y = top + i * _ROW
        begin, end = (across(share) for share in group.quantised_ci95)
        few = ", too few" if group.few else ""
        name = group.name if len(group.name) <= _LONGEST else f"{group.name[: _LONGEST - 1]}\u2026"
        parts += [
            text(0, y + 15, name, "strong"),
            text(left - 16, y + 15, f"n {group.n:,}{few}", "small end"),
            f'<path class="whisker" d="M{begin:.1f} {y + 11}H{end:.1f}'
            f'M{begin:.1f} {y + 7}v8M{end:.1f} {y + 7}v8"/>',
            rect(
                "few" if group.few else "bar",
                across(group.quantised) - _MARK / 2,
                y + 11 - _MARK / 2,
                _MARK,
                _MARK,
            ),
            f'<path class="marker" d="M{across(group.reference):.1f} {y + 1}v20"/>',
            text(width, y + 15, f"{100 * group.quantised:.1f} %", "strong end"),
        ]
    return svg(width, height, parts, f"Int8 accuracy by {grouping.name}")
