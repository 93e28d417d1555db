"""The picture of a long run: time of a frame above, temperature and frequency below."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from markupsafe import Markup

from edge_fer_bench.drawing.svg import svg, text, ticks
from edge_fer_bench.machine.buckets import Bucket

__all__ = ["over_time"]

_LEFT, _RIGHT, _TOP, _HIGH, _LOW, _GAP, _FOOT = 44, 12, 18, 170, 58, 26, 24

Path = list[tuple[float, float]]
ValueOf = Callable[[Bucket], float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axes:
    """Where a panel lies, and which value is where in it."""

    x: Callable[[float], float]
    top: float
    high: float
    least: float
    most: float

    def y(self, value: float) -> float:
        return self.top + self.high * (self.most - value) / (self.most - self.least)


def over_time(buckets: Sequence[Bucket], throttled_s: float | None, width: int = 928) -> Markup:
    """Panels over one time axis, in minutes.

    Args:
        buckets: ascending; at least one with frames.
        throttled_s: where throttling began, in seconds; None for no mark.
        width: in CSS pixels.
    """
    end = buckets[-1].to_s or 1e-9

    def x(at_s: float) -> float:
        return _LEFT + (width - _LEFT - _RIGHT) * at_s / end

    reach = 1.08 * max(b.p99_ms or b.p50_ms or 0.0 for b in buckets) or 1.0
    times = _Axes(x=x, top=_TOP, high=_HIGH, least=0.0, most=reach)
    parts = [text(0, _TOP - 6, "ms", "small")]
    for value in ticks(reach):
        y = times.y(value)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{width - _RIGHT}"/>')
        parts.append(text(_LEFT - 6, y + 4, f"{value:g}", "small end"))
    upper = _paths(buckets, lambda b: b.p99_ms, times)
    lower = _paths([b for b in buckets if b.p99_ms is not None], lambda b: b.p50_ms, times)
    if len(upper) == len(lower) == 1:
        around = " ".join(f"{a:.1f},{b:.1f}" for a, b in upper[0] + lower[0][::-1])
        parts.append(f'<polygon class="band" points="{around}"/>')
    parts += [_line("line", path) for path in _paths(buckets, lambda b: b.p50_ms, times)]
    below = float(_TOP + _HIGH)
    panels: tuple[tuple[str, float, ValueOf], ...] = (
        ("°C", 5.0, lambda b: b.celsius),
        ("MHz", 100.0, lambda b: b.mhz),
    )
    for unit, margin, value_of in panels:
        known = [found for b in buckets if (found := value_of(b)) is not None]
        if known:
            axes = _Axes(
                x=x,
                top=below + _GAP,
                high=_LOW,
                least=max(0.0, min(known) - margin),
                most=max(known) + margin,
            )
            parts += _panel(buckets, value_of, axes, unit, width)
            below += _GAP + _LOW
    if throttled_s is not None:
        at = x(throttled_s)
        side = "small end" if at > width / 2 else "small"
        parts += [
            f'<path class="marker" d="M{at:.1f} {_TOP}V{below:.1f}"/>',
            text(at + (-5 if "end" in side else 5), _TOP - 6, "throttling began", side),
        ]
    parts += [
        text(_LEFT, below + _FOOT - 6, "0 min", "small"),
        text(width - _RIGHT, below + _FOOT - 6, f"{end / 60:.1f} min", "small end"),
    ]
    return svg(width, below + _FOOT, parts, "Time of a frame, temperature and frequency over time")


def _panel(
    buckets: Sequence[Bucket],
    value_of: ValueOf,
    axes: _Axes,
    unit: str,
    width: int,
) -> list[str]:
    """A line with its lowest and highest value at the side."""
    known = [found for b in buckets if (found := value_of(b)) is not None]
    floor = axes.top + axes.high
    parts = [
        text(0, axes.top - 6, unit, "small"),
        f'<path class="axis" d="M{_LEFT} {floor + 0.5:.1f}H{width - _RIGHT}"/>',
    ]
    for value in sorted({round(min(known)), round(max(known))}):
        y = axes.y(value)
        parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{width - _RIGHT}"/>')
        parts.append(text(_LEFT - 6, y + 4, f"{value}", "small end"))
    return parts + [_line("heat", path) for path in _paths(buckets, value_of, axes)]


def _paths(buckets: Sequence[Bucket], value_of: ValueOf, axes: _Axes) -> list[Path]:
    """Points in the middle of each stretch; a stretch without a value breaks the line."""
    paths = []
    for known, run in groupby(buckets, key=lambda b: value_of(b) is not None):
        if known:
            paths.append(
                [(axes.x((b.from_s + b.to_s) / 2), axes.y(value_of(b) or 0.0)) for b in run]
            )
    return paths


def _line(kind: str, path: Path) -> str:
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in path)
    return f'<polyline class="{kind}" points="{points}"/>'
