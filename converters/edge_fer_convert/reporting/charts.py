"""Small inline SVG drawings for the conversion page: no script, no font, no network.

Colours are classes of the page's style sheet. Most drawings are 460 wide, the width of half a page,
so that their text keeps its size on a wide screen and on a telephone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

__all__ = ["Point", "brightness", "curve", "drop_axis", "heat_map", "trade_off"]

_WIDTH = 460
_LINE = 16  # lines of text closer than this overlap
_DODGE = 9  # points closer than this cover each other
_LONGEST = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One candidate of the trade-off.

    Attributes:
        name: what stands beside it.
        x: size or time.
        change: accuracy against the float model on the same rows, in points; below 0 is a loss.
        low, high: interval of the change, or None.
        kind: ``rung`` or ``format``, a class of the style sheet.
        chosen: whether it is the one that was delivered.
    """

    name: str
    x: float
    change: float
    low: float | None
    high: float | None
    kind: str
    chosen: bool


def trade_off(
    points: Sequence[Point], *, unit: str, title: str, limit: float | None = None
) -> Markup:
    """Change of accuracy over size or time, with interval whiskers.

    Points that would cover each other stand side by side; names stand in a column of their own,
    joined to their points, so that none overlaps.

    Args:
        points: at least one.
        unit: of x.
        title: stands above.
        limit: the budget in points, or None.
    """
    left, right, top, bottom = 50, 126, 34, 38
    height = max(250, top + bottom + _LINE * (len(points) + 1))
    ends = [v for p in points for v in (p.change, p.low, p.high) if v is not None]
    y_low, y_high = _padded([0.0, *ends, *([] if limit is None else [-limit])], 0.12, 0.2)
    reach = (max(p.x for p in points) or 1.0) * 1.06
    plot_right, plot_bottom = _WIDTH - right, height - bottom

    def across(value: float) -> float:
        return left + value / reach * (plot_right - left)

    def up(value: float) -> float:
        return plot_bottom - (value - y_low) / (y_high - y_low) * (plot_bottom - top)

    parts = [_text(0, 14, title, "name")]
    for value in _ticks(y_low, y_high, 7):
        parts += [
            f'<path class="grid" d="M{left} {up(value):.1f}H{plot_right}"/>',
            _text(left - 6, up(value) + 4, _signed(value), "tick end"),
        ]
    for value in _ticks(0.0, reach, 4):
        parts.append(_text(across(value), plot_bottom + 16, f"{value:g}", "tick middle"))
    parts.append(_text(plot_right, height - 6, unit, "end"))
    parts.append(f'<path class="axis" d="M{left} {up(0):.1f}H{plot_right}"/>')
    if limit is not None:
        parts += [
            f'<path class="limit" d="M{left} {up(-limit):.1f}H{plot_right}"/>',
            _text(left + 4, up(-limit) + 13, "budget", "bad"),
        ]
    places = _apart([across(p.x) for p in points], left + 4, plot_right - 4, _DODGE)
    rows = _apart([up(p.change) for p in points], top + 4, plot_bottom, _LINE)
    drawn = list(zip(points, places, rows, strict=True))
    # All behind the points, whose own lines would else cross their neighbours.
    for point, x, row in drawn:
        y = up(point.change)
        parts.append(f'<path class="leader" d="M{x + 5:.1f} {y:.1f}L{plot_right + 8} {row:.1f}"/>')
    for point, x, row in drawn:
        y, kind = up(point.change), f"{point.kind} chosen" if point.chosen else point.kind
        if point.low is not None and point.high is not None:
            parts.append(
                f'<path class="whisker {kind}" '
                f'd="M{x:.1f} {up(point.low):.1f}V{up(point.high):.1f}"/>'
            )
        parts += [
            f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{6 if point.chosen else 4}"/>',
            _text(plot_right + 12, row + 4, _cut(point.name, 15), kind, full=point.name),
        ]
    return _svg(height, parts, f"{title}: change of accuracy in points over {unit}")


def drop_axis(drop: float, low: float, high: float, limit: float | None) -> Markup:
    """The drop in points and its interval on a line; zero is named below it, the budget above."""
    height, middle, edge = 84, 42, 8
    left, right = _padded([0.0, low, high, *([] if limit is None else [limit])], 0.12, 0.2)

    def across(value: float) -> float:
        return edge + (value - left) / (right - left) * (_WIDTH - 2 * edge)

    parts = [
        f'<path class="grid" d="M{edge} {middle}H{_WIDTH - edge}"/>',
        f'<path class="axis" d="M{across(0):.1f} 24V60"/>',
        _text(across(0), 76, "no drop", f"tick {_side(across(0))}"),
    ]
    if limit is not None:
        parts += [
            f'<path class="limit" d="M{across(limit):.1f} 20V60"/>',
            _text(across(limit), 14, "budget", f"bad {_side(across(limit))}"),
        ]
    parts += [
        f'<path class="whisker rung chosen" d="M{across(low):.1f} {middle}H{across(high):.1f}"/>',
        f'<circle class="rung chosen" cx="{across(drop):.1f}" cy="{middle}" r="6"/>',
    ]
    return _svg(height, parts, f"Drop {drop:+.2f} points, interval {low:+.2f} to {high:+.2f}")


def heat_map(
    labels: Sequence[str], counts: Sequence[Sequence[int]], *, title: str, difference: bool = False
) -> Markup:
    """A confusion matrix: rows are the truth, columns what was said.

    Args:
        labels: the C classes.
        counts: C rows of C; with ``difference`` they may be negative.
        title: stands above.
        difference: colour by gain and loss instead of by share of the row.
    """
    # A third of a page: narrower, with room for the last turned label.
    wide, left, right, top = 360, 82, 44, 92
    cell = (wide - left - right) / len(labels)
    height = top + cell * len(labels) + 4
    most = max((abs(c) for row in counts for c in row), default=0) or 1
    parts = [_text(0, 14, title, "name")]
    for j, label in enumerate(labels):
        x, y = left + (j + 0.6) * cell, top - 8
        turned = f' transform="rotate(-50 {x:.1f} {y:.1f})"'
        parts.append(_text(x, y, _cut(label), "tick", full=label, extra=turned))
    for i, (label, row) in enumerate(zip(labels, counts, strict=True)):
        above, total = top + i * cell, sum(row)
        parts.append(_text(left - 8, above + cell / 2 + 4, _cut(label), "tick end", full=label))
        for j, count in enumerate(row):
            share = abs(count) / most if difference else count / total if total else 0.0
            # A miss that went away is a gain, as is a new hit.
            good = (count > 0) == (i == j)
            kind = ("gain" if good else "loss") if difference else ("hit" if i == j else "miss")
            x = left + j * cell
            parts.append(
                f'<rect class="heat {kind}" x="{x + 1:.1f}" y="{above + 1:.1f}" '
                f'width="{cell - 2:.1f}" height="{cell - 2:.1f}" fill-opacity="{share:.3f}"/>'
            )
            if count and cell >= 26:
                words = _signed(count) if difference else str(count)
                strong = "on" if share > 0.55 else ""
                parts.append(
                    _text(x + cell / 2, above + cell / 2 + 4, words, f"cell middle {strong}")
                )
    return _svg(height, parts, f"{title}: rows are the truth, columns what was said", wide)


def brightness(counts: Sequence[int]) -> Markup:
    """How many pictures have which mean brightness, from black to white."""
    height, edge, top, bottom = 150, 8, 26, 26
    wide = (_WIDTH - 2 * edge) / len(counts)
    most = max(counts) or 1
    parts = [
        _text(0, 14, "mean brightness of the calibration pictures", "name"),
        f'<path class="axis" d="M{edge} {height - bottom + 0.5}H{_WIDTH - edge}"/>',
        _text(edge, height - 8, "black", "tick"),
        _text(_WIDTH - edge, height - 8, "white", "tick end"),
    ]
    for i, count in enumerate(counts):
        if count:
            tall = max(1.5, count / most * (height - top - bottom))
            parts.append(
                f'<rect class="bar" x="{edge + i * wide + 0.5:.1f}" '
                f'y="{height - bottom - tall:.1f}" width="{wide - 1:.1f}" height="{tall:.1f}"/>'
            )
    return _svg(height, parts, "Mean brightness of the calibration pictures")


def curve(points: Sequence[tuple[int, float]], *, title: str, percent: bool) -> Markup:
    """A value over the number of calibration pictures, which grows by factors.

    Args:
        points: (pictures, value), by rising pictures.
        title: stands above.
        percent: the values are fractions, to be shown in percent.
    """
    height, left, right, top, bottom = 200, 66, 20, 34, 40
    low, high = _padded([v for _, v in points], 0.12, 1e-4)
    first, last = math.log2(points[0][0]), math.log2(points[-1][0])

    def across(n: int) -> float:
        share = (math.log2(n) - first) / (last - first) if last > first else 0.5
        return left + share * (_WIDTH - left - right)

    def up(value: float) -> float:
        return height - bottom - (value - low) / (high - low) * (height - bottom - top)

    parts = [_text(0, 14, title, "name")]
    for value in _ticks(low, high, 4):
        words = f"{100 * value:.4g} %" if percent else f"{value:.3g}"
        parts += [
            f'<path class="grid" d="M{left} {up(value):.1f}H{_WIDTH - right}"/>',
            _text(left - 6, up(value) + 4, words, "tick end"),
        ]
    taken = -math.inf
    for n, _ in points:
        if across(n) - taken >= 34:
            taken = across(n)
            parts.append(_text(taken, height - bottom + 16, str(n), "middle"))
    places = " ".join(f"{across(n):.1f},{up(v):.1f}" for n, v in points)
    parts += [
        f'<polyline class="line" points="{places}"/>',
        *(f'<circle class="rung" cx="{across(n):.1f}" cy="{up(v):.1f}" r="3"/>' for n, v in points),
        _text(_WIDTH - right, height - 6, "calibration pictures", "end"),
    ]
    return _svg(height, parts, f"{title} over the number of calibration pictures")


def _apart(places: Sequence[float], low: float, high: float, gap: float) -> list[float]:
    """The places moved at least a gap apart, as little as that needs, within bounds.

    Least squares under an order: pool adjacent violators (Ayer et al., 1955).
    """
    order = sorted(range(len(places)), key=lambda i: (places[i], i))
    gap = min(gap, (high - low) / max(1, len(places) - 1))
    pools: list[tuple[float, int]] = []
    for k, i in enumerate(order):
        mean, count = places[i] - k * gap, 1
        while pools and pools[-1][0] >= mean:
            before, size = pools.pop()
            mean, count = (before * size + mean * count) / (size + count), size + count
        pools.append((mean, count))
    level = [mean for mean, count in pools for _ in range(count)]
    last = high - (len(places) - 1) * gap
    out = [0.0] * len(places)
    for k, i in enumerate(order):
        out[i] = min(max(level[k], low), last) + k * gap
    return out


def _padded(values: Sequence[float], share: float, least: float) -> tuple[float, float]:
    low, high = min(values), max(values)
    pad = share * max(high - low, least)
    return low - pad, high + pad


def _ticks(low: float, high: float, count: int) -> list[float]:
    """Round values between, about ``count``."""
    rough = (high - low) / count
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(f * unit for f in (1, 2, 5, 10) if f * unit >= rough * (1 - 1e-9))
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _signed(value: float) -> str:
    return "0" if value == 0 else f"{value:+.4g}".replace("-", "\u2212")


def _side(x: float) -> str:
    return "end" if x > _WIDTH - 40 else "" if x < 40 else "middle"


def _cut(words: str, longest: int = _LONGEST) -> str:
    return words if len(words) <= longest else words[: longest - 1] + "\u2026"


def _text(
    x: float, y: float, words: str, kind: str = "", *, full: str = "", extra: str = ""
) -> str:
    whole = f"<title>{escape(full)}</title>" if full and full != words else ""
    return (
        f'<text class="{kind.strip()}" x="{x:.1f}" y="{y:.1f}"{extra}>{whole}{escape(words)}</text>'
    )


def _svg(height: float, parts: Sequence[str], label: str, width: float = _WIDTH) -> Markup:
    head = (
        f'<svg class="chart" viewBox="0 0 {width:g} {height:.0f}" role="img" '
        f'aria-label="{escape(label)}">'
    )
    return Markup(head + "".join(parts) + "</svg>")  # noqa: S704 - words are escaped above
