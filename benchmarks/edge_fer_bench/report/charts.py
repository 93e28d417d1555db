"""Small inline SVG pictures for the report page: no script, no font, no network.

Each function returns a whole ``<svg>``; sizes are in CSS pixels of a page 960 wide. Colours are
classes of the page's style sheet.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from edge_fer.evaluation.drop import ClassDrop
from edge_fer.evaluation.metrics import MIN_CLASS_ROWS
from edge_fer_bench.drawing.svg import rect, signed, svg, text, ticks
from edge_fer_bench.timing.latency import StageTimes

__all__ = ["class_drops", "histogram", "stage_bars", "time_line"]

Floats = NDArray[np.floating]
_ROW = 30


def stage_bars(stages: dict[str, StageTimes], width: int = 928) -> Markup:
    """A bar per stage that ran: median as the bar, 90th and 99th percentile as ticks."""
    rows = [(name, t) for name, t in stages.items() if t.p99 is not None]
    left, right, top = 92, 104, 6
    reach = max((t.p99 or 0.0) for _, t in rows) or 1.0
    scale = (width - left - right) / reach
    parts = []
    for i, (name, times) in enumerate(rows):
        y = top + i * _ROW
        last = times.claimed_p99 or times.p90
        p50, p90, p99 = (scale * (v or 0.0) for v in (times.p50, times.p90, last))
        parts += [
            text(left - 12, y + 15, name, "end strong" if name == "total" else "end"),
            rect("track", left, y + 3, width - left - right),
            rect("bar total" if name == "total" else "bar", left, y + 3, p50),
            f'<path class="whisker" d="M{left + p50:.1f} {y + 11}H{left + p99:.1f}'
            f'M{left + p90:.1f} {y + 7}v8M{left + p99:.1f} {y + 4}v14"/>',
            text(width - right + 12, y + 15, f"{times.p50:.2f} ms", "strong"),
        ]
    label = "Median time per stage with 90th and 99th percentile"
    return svg(width, top + len(rows) * _ROW, parts, label)


def histogram(totals_ms: Floats, total: StageTimes, width: int = 456) -> Markup:
    """How often a frame took how long; the slowest half percent is counted in the last bar."""
    height, left, bottom, top = 196, 8, 28, 30
    low = float(np.min(totals_ms))
    high = max(float(np.percentile(totals_ms, 99.5)), (total.p99 or 0.0) * 1.02, low + 0.1)
    counts, edges = np.histogram(np.clip(totals_ms, low, high), bins=36, range=(low, high))
    across = (width - 2 * left) / (high - low)
    up = (height - bottom - top) / max(1, int(counts.max()))
    parts = [f'<path class="axis" d="M{left} {height - bottom + 0.5}H{width - left}"/>']
    for count, a, b in zip(counts, edges[:-1], edges[1:], strict=True):
        if count:
            tall = max(1.0, count * up)
            parts.append(
                f'<rect class="bar" x="{left + (a - low) * across + 0.5:.1f}" '
                f'y="{height - bottom - tall:.1f}" width="{(b - a) * across - 1:.1f}" '
                f'height="{tall:.1f}"/>'
            )
    for name, value, row in (
        ("p50", total.p50, 0),
        ("p90", total.p90, 1),
        ("p99", total.claimed_p99, 0),
    ):
        if value is None:
            continue
        x = left + (value - low) * across
        side = "end" if x > width - 90 else ""
        parts += [
            f'<path class="marker" d="M{x:.1f} {top - 4 - 13 * row}V{height - bottom}"/>',
            text(
                x + (-4 if side else 4), top - 6 - 13 * row, f"{name} {value:.1f}", f"small {side}"
            ),
        ]
    parts += [
        text(left, height - 10, f"{low:.1f} ms", "small"),
        text(width - left, height - 10, f"{high:.1f} ms", "small end"),
    ]
    return svg(width, height, parts, "Distribution of the time per frame")


def time_line(at_s: Floats, totals_ms: Floats, total: StageTimes, width: int = 456) -> Markup:
    """Time per frame over the run: where there are more frames than columns, the slowest shows."""
    height, left, bottom, top = 196, 34, 28, 14
    reach = float(totals_ms.max()) * 1.05
    columns = min(len(totals_ms), 220)
    across = (width - left - 8) / max(1e-9, float(at_s[-1]))
    up = (height - bottom - top) / reach
    points = []
    for block in np.array_split(np.arange(len(totals_ms)), columns):
        slowest = block[totals_ms[block].argmax()]
        x, y = left + at_s[slowest] * across, height - bottom - totals_ms[slowest] * up
        points.append(f"{x:.1f},{y:.1f}")
    middle = height - bottom - (total.p50 or 0.0) * up
    parts = []
    for value in ticks(reach):
        y = height - bottom - value * up
        parts.append(f'<path class="grid" d="M{left} {y:.1f}H{width - 8}"/>')
        parts.append(text(left - 6, y + 4, f"{value:g}", "small end"))
    parts += [
        f'<polyline class="line" points="{" ".join(points)}"/>',
        f'<path class="marker" d="M{left} {middle:.1f}H{width - 8}"/>',
        text(left, height - 10, "0 s", "small"),
        text(width - 8, height - 10, f"{at_s[-1]:.1f} s", "small end"),
    ]
    return svg(width, height, parts, "Time per frame over the run")


def class_drops(
    per_class: dict[str, ClassDrop], over: Sequence[str], limit: float, width: int = 928
) -> Markup:
    """Recall lost (left) or won (right) per class, in points; pale where it has few rows."""
    rows = [(label, c) for label, c in per_class.items() if c.drop_points is not None]
    left, right, top, bottom = 234, 276, 6, 24
    reach = max([limit * 1.15, *(abs(c.drop_points or 0.0) * 1.08 for _, c in rows)])
    scale = (width - left - right) / (2 * reach)
    zero = left + reach * scale
    height = top + len(rows) * _ROW + bottom
    edge = zero - limit * scale
    parts = [
        f'<path class="axis" d="M{zero:.1f} {top}V{height - bottom}"/>',
        f'<path class="limit" d="M{edge:.1f} {top}V{height - bottom}"/>',
        text(edge, height - 8, f"limit \u2212{limit:g}", "small middle"),
        text(zero, height - 8, "0", "small middle"),
    ]
    for i, (label, c) in enumerate(rows):
        y, drop = top + i * _ROW, c.drop_points or 0.0
        kind = "bad" if label in over else "few" if c.n < MIN_CLASS_ROWS else "bar"
        wide = abs(drop) * scale
        x = zero - wide if drop > 0 else zero
        few = ", too few" if c.n < MIN_CLASS_ROWS else ""
        before, after = 100 * (c.reference_recall or 0.0), 100 * (c.quantised_recall or 0.0)
        parts += [
            text(0, y + 15, label, "strong"),
            text(left - 16, y + 15, f"n {c.n:,}{few}", "small end"),
            rect(kind, x, y + 3, wide),
            text(width - right + 20, y + 15, f"{signed(-drop)} points", "strong"),
            text(width, y + 15, f"{before:.1f} % \u2192 {after:.1f} %", "end"),
        ]
    return svg(width, height, parts, "Recall lost or won per class")
