"""Which variants are worth having: accuracy against latency and size, as a front and a picture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

from edge_fer_bench.drawing.dot_labels import Dot, Label, placed
from edge_fer_bench.drawing.svg import svg, text

__all__ = ["Point", "pareto_front", "pareto_picture"]

_CLASSES = ("bar", "total", "other", "bad")
_HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 360, 52, 16, 12, 44
_LEAST_FACTOR = 1.6  # of the latency axis from end to end
_LEAST_POINTS = 2.0  # of the accuracy axis
# Of a decade, coarse to fine: the first that marks enough of the axis is taken.
_STEPS = ((1, 2, 5), (1, 1.5, 2, 3, 5, 7), tuple(i / 2 for i in range(2, 20)))
_FINEST = tuple(i / 10 for i in range(10, 100))
_LEAST_MARKS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One variant.

    Attributes:
        accuracy: a fraction 0 to 1.
        latency_ms: median of a frame.
        size_kb: of its model files.
        label: what to call it.
        group: accuracies of different groups are not comparable.
    """

    accuracy: float
    latency_ms: float
    size_kb: float
    label: str = ""
    group: str = ""


def pareto_front(points: Sequence[Point]) -> set[int]:
    """The places of those that no other one of their group beats.

    One beats another if it is as accurate, as fast and as small or better, and better in at least
    one of the three. Equal ones do not beat each other.
    """
    return {i for i, point in enumerate(points) if not any(_beats(p, point) for p in points)}


def pareto_picture(points: Sequence[Point], width: int = 928) -> Markup:
    """Accuracy over the latency on a logarithmic axis; the area of a dot is the size of the files.

    Dots that others beat are pale. The line joins, within each group, those that nothing beats in
    accuracy and latency. A label that finds no free place is left out; its dot tells it to who
    points at it.

    Args:
        points: at least one.
        width: in pixels.
    """
    axes = _Axes(points, width)
    front = pareto_front(points)
    groups = list(dict.fromkeys(p.group for p in points))
    kinds = {group: _CLASSES[i % len(_CLASSES)] for i, group in enumerate(groups)}
    largest = max(p.size_kb for p in points) or 1.0
    dots = [
        Dot(x=axes.x(p.latency_ms), y=axes.y(p.accuracy), r=4 + 9 * math.sqrt(p.size_kb / largest))
        for p in points
    ]
    parts, taken = axes.drawn(), [*dots]
    for group in groups:
        corners = _steps([p for p in points if p.group == group], axes)
        if len(corners) > 1:
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in corners)
            parts.append(f'<path class="line" d="M{path}"/>')
            taken += _along(corners)
    for i, (point, dot) in enumerate(zip(points, dots, strict=True)):
        opacity = "0.9" if i in front else "0.28"
        told = (
            f"{point.label}: {100 * point.accuracy:.2f} %, {point.latency_ms:.2f} ms, "
            f"{point.size_kb:,.0f} kB"
        )
        parts.append(
            f'<circle class="{kinds[point.group]}" cx="{dot.x:.1f}" cy="{dot.y:.1f}" '
            f'r="{dot.r:.1f}" fill-opacity="{opacity}"><title>{escape(told)}</title></circle>'
        )
    # Those on the front find a place for their label first.
    order = sorted(range(len(points)), key=lambda i: (i not in front, points[i].latency_ms))
    labels = placed(
        [(dots[i], points[i].label) for i in order],
        taken,
        Dot(x=_LEFT, y=_TOP, r=0),
        Dot(x=width - _RIGHT, y=_HEIGHT - _BOTTOM, r=0),
    )
    parts += [_written(label, i in front) for i, label in zip(order, labels, strict=True) if label]
    if len(groups) > 1:
        for row, group in enumerate(groups):
            y = _HEIGHT + 10 + 20 * row
            parts.append(f'<circle class="{kinds[group]}" cx="{_LEFT + 6}" cy="{y}" r="6"/>')
            parts.append(text(_LEFT + 20, y + 4, group))
    height = _HEIGHT + (20 * len(groups) + 8 if len(groups) > 1 else 0)
    return svg(width, height, parts, "Accuracy against latency; the size of a dot: its model files")


class _Axes:
    """Where a latency and an accuracy lie in the picture."""

    def __init__(self, points: Sequence[Point], width: int) -> None:
        self._width = width
        times = [p.latency_ms for p in points]
        low, high = math.log(min(times)), math.log(max(times))
        pad = max(0.12 * (high - low), (math.log(_LEAST_FACTOR) - (high - low)) / 2)
        self._low, self._high = low - pad, high + pad
        shares = [100 * p.accuracy for p in points]
        room = max(
            0.2 * (max(shares) - min(shares)), (_LEAST_POINTS - max(shares) + min(shares)) / 2
        )
        self._floor, self._roof = min(shares) - room, max(shares) + room

    def x(self, ms: float) -> float:
        """Pixels from the left."""
        share = (math.log(ms) - self._low) / (self._high - self._low)
        return _LEFT + share * (self._width - _LEFT - _RIGHT)

    def y(self, accuracy: float) -> float:
        """Pixels from the top."""
        share = (100 * accuracy - self._floor) / (self._roof - self._floor)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    def drawn(self) -> list[str]:
        """Both axes with their round values."""
        bottom, right = _HEIGHT - _BOTTOM, self._width - _RIGHT
        parts = []
        for value in self._percents():
            y = self.y(value / 100)
            parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>')
            parts.append(text(_LEFT - 8, y + 4, f"{value:g} %", "small end"))
        for ms in self._times():
            x = self.x(ms)
            parts.append(f'<path class="grid" d="M{x:.1f} {_TOP}V{bottom}"/>')
            parts.append(text(x, bottom + 16, f"{ms:g}", "small middle"))
        parts.append(f'<path class="axis" d="M{_LEFT} {bottom}H{right}"/>')
        words = "median time of a frame, ms (logarithmic)"
        return [*parts, text(right, bottom + 34, words, "small end")]

    def _times(self) -> list[float]:
        low, high = math.exp(self._low), math.exp(self._high)
        decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
        marks: list[float] = []
        for steps in (*_STEPS, _FINEST):
            marks = [s * 10.0**d for d in decades for s in steps if low <= s * 10.0**d <= high]
            if len(marks) >= _LEAST_MARKS:
                break
        return marks

    def _percents(self) -> list[float]:
        reach = self._roof - self._floor
        step = next(s for s in (0.5, 1, 2, 5, 10, 20, 50) if reach / s <= 6 or s == 50)
        first = math.ceil(self._floor / step)
        return [
            i * step for i in range(first, math.floor(self._roof / step) + 1) if i * step <= 100
        ]


def _beats(a: Point, b: Point) -> bool:
    if a.group != b.group:
        return False
    gains = (
        a.accuracy - b.accuracy,
        b.latency_ms - a.latency_ms,
        b.size_kb - a.size_kb,
    )
    return min(gains) >= 0 and max(gains) > 0


def _steps(points: Sequence[Point], axes: _Axes) -> list[tuple[float, float]]:
    """The front in the two dimensions of the picture: the corners of its steps, left to right."""
    flat = [
        Point(accuracy=p.accuracy, latency_ms=p.latency_ms, size_kb=0.0, group=p.group)
        for p in points
    ]
    best = sorted((flat[i] for i in pareto_front(flat)), key=lambda p: p.latency_ms)
    corners: list[tuple[float, float]] = []
    for p in best:
        x, y = axes.x(p.latency_ms), axes.y(p.accuracy)
        if corners:
            corners.append((x, corners[-1][1]))
        corners.append((x, y))
    return corners


def _along(corners: Sequence[tuple[float, float]]) -> list[Dot]:
    """Small dots on the line, close enough that no label gets between them."""
    found = []
    for (x1, y1), (x2, y2) in pairwise(corners):
        pieces = max(1, math.ceil(math.hypot(x2 - x1, y2 - y1) / 8))
        for i in range(pieces + 1):
            share = i / pieces
            found.append(Dot(x=x1 + share * (x2 - x1), y=y1 + share * (y2 - y1), r=3))
    return found


def _written(label: Label, strong: bool) -> str:
    words = text(label.x, label.y + label.height - 4, label.words, "" if strong else "small")
    if label.leader is None:
        return words
    (x1, y1), (x2, y2) = label.leader
    return f'<path class="axis" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/>{words}'
