"""Small inline SVG drawings for the page of a training run: no script, no font, no network.

Colours are classes of the page's style sheet; a drawing is as wide as its place.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from markupsafe import Markup, escape

__all__ = ["coverage_curve", "lines"]

_WIDTH, _HEIGHT = 460, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 24, 24, 34


class _Axes:
    """Places of values in the drawing, and the grid behind them."""

    def __init__(self, x: tuple[float, float], y: tuple[float, float]) -> None:
        self.x, self.y = (_apart(*x), _apart(*y))

    def across(self, value: float) -> float:
        return _LEFT + (value - self.x[0]) / (self.x[1] - self.x[0]) * (_WIDTH - _LEFT - _RIGHT)

    def up(self, value: float) -> float:
        share = (value - self.y[0]) / (self.y[1] - self.y[0])
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def grid(self, x_name: str, *, percent_x: bool, percent_y: bool) -> list[str]:
        parts = []
        for value in _ticks(*self.y):
            y = self.up(value)
            parts += [
                f'<path class="grid" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>',
                _text(_LEFT - 6, y + 4, _number(value, percent=percent_y), "end"),
            ]
        for value in _ticks(*self.x):
            parts.append(
                _text(
                    self.across(value),
                    _HEIGHT - _BOTTOM + 15,
                    _number(value, percent=percent_x),
                    "middle",
                )
            )
        return [*parts, _text(_WIDTH - _RIGHT, _HEIGHT - 4, x_name, "end")]


def lines(
    epochs: Sequence[float],
    series: Mapping[str, Sequence[float | None]],
    *,
    label: str,
    marked: float | None = None,
    percent: bool = False,
) -> Markup:
    """Values over the epochs, one line for each series.

    Args:
        epochs: where the values lie.
        series: as many values as epochs each; None is left out.
        label: what is drawn, for people who do not see it.
        marked: an epoch that gets an upright line.
        percent: the values are fractions, to be shown in percent.
    """
    known = [v for values in series.values() for v in values if v is not None]
    if not known:
        return Markup("")
    axes = _Axes((min(epochs), max(epochs)), (min(known), max(known)))
    parts = axes.grid("epoch", percent_x=False, percent_y=percent)
    if marked is not None:
        x = axes.across(marked)
        parts.append(f'<path class="marker" d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}"/>')
    for i, (name, values) in enumerate(series.items()):
        points = [
            (axes.across(e), axes.up(v))
            for e, v in zip(epochs, values, strict=True)
            if v is not None
        ]
        parts += [*_line(points, f"s{i}"), _text(_LEFT + 150 * i, 12, name, f"name s{i}")]
    return _svg(parts, label)


def coverage_curve(
    points: Sequence[tuple[float, float | None]],
    chosen: tuple[float, float | None],
    chosen_name: str,
) -> Markup:
    """Accuracy of what is answered over the share that is answered.

    Args:
        points: coverage and accuracy, fractions; an accuracy is None where nothing is answered.
        chosen: the point of the chosen threshold.
        chosen_name: what stands beside it.
    """
    known = [(c, a) for c, a in points if a is not None]
    if not known:
        return Markup("")
    shown = [*known, *([(chosen[0], chosen[1])] if chosen[1] is not None else [])]
    low = min(a for _, a in shown)
    axes = _Axes((0.0, 1.0), (math.floor(20 * low) / 20, 1.0))
    parts = axes.grid("share of rows that get a name", percent_x=True, percent_y=True)
    places = [(axes.across(c), axes.up(a)) for c, a in sorted(set(shown))]
    parts += _line(places, "s0")
    if chosen[1] is not None:
        x, y = axes.across(chosen[0]), axes.up(chosen[1])
        side = "end" if chosen[0] > 0.5 else ""
        parts += [
            f'<path class="marker" d="M{x:.1f} {_TOP}V{_HEIGHT - _BOTTOM}"/>',
            f'<circle class="chosen" cx="{x:.1f}" cy="{y:.1f}" r="4.5"/>',
            _text(x + (-8 if side else 8), _HEIGHT - _BOTTOM - 8, chosen_name, f"name {side}"),
        ]
    parts.append(_text(_LEFT, 12, "accuracy of those", "name s0"))
    return _svg(parts, "Accuracy over coverage, the chosen threshold marked")


def _line(points: Sequence[tuple[float, float]], kind: str) -> list[str]:
    if not points:
        return []
    places = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    x, y = points[-1]
    return [
        f'<polyline class="line {kind}" points="{places}"/>',
        f'<circle class="end-of-line {kind}" cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>',
    ]


def _apart(low: float, high: float) -> tuple[float, float]:
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _ticks(low: float, high: float) -> list[float]:
    """Round values between, about five."""
    rough = (high - low) / 5
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(f * unit for f in (1, 2, 5, 10) if f * unit >= rough)
    first = math.ceil(low / step - 1e-9)
    return [i * step for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _number(value: float, *, percent: bool) -> str:
    return f"{100 * value:.4g} %" if percent else f"{value:.4g}"


def _text(x: float, y: float, words: str, kind: str = "") -> str:
    return f'<text class="{kind.strip()}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def _svg(parts: Sequence[str], label: str) -> Markup:
    head = f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(label)}">'
    return Markup(head + "".join(parts) + "</svg>")  # noqa: S704 - words are escaped above
