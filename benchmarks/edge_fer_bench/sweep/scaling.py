"""How the cost of a frame grows with its faces and its pixels: a straight line by least squares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from markupsafe import Markup

from edge_fer_bench.drawing.svg import svg, text, ticks

__all__ = ["OVERS", "Cost", "Fit", "Over", "fits", "fitted", "line_chart"]

Over = Literal["faces", "megapixels"]
OVERS: tuple[Over, ...] = ("faces", "megapixels")
_LEAST_VALUES = 3
_DOTS = ("total", "bar", "other", "bad")
_DASHES = ("none", "6 4", "2 3", "8 3 2 3")
_HEIGHT, _LEFT, _TOP, _BOTTOM, _LINE = 220, 40, 14, 34, 15
_SAME_FACES = 0.25  # fewer apart are as many: now and then one is not found


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What one variant costs on one source.

    Attributes:
        what: model, detector and threads, in words; only the same are compared.
        faces: found per frame.
        width, height: of the frames in pixels.
        ms: median of a frame without getting the picture.
    """

    what: str
    faces: float
    width: int
    height: int
    ms: float

    @property
    def megapixels(self) -> float:
        """Of a frame."""
        return self.width * self.height / 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """``ms = base_ms + slope_ms * x``.

    Attributes:
        over: what x is: faces in a frame, or megapixels.
        what: model, detector and threads.
        held: what was the same all the time.
        at, ms: the measured points, x ascending.
        residual_ms: root of the mean square distance of the points from the line.
    """

    over: Over
    what: str
    held: str
    at: tuple[float, ...]
    ms: tuple[float, ...]
    slope_ms: float
    base_ms: float
    residual_ms: float

    @property
    def cost(self) -> str:
        """The result in words."""
        unit = "further face" if self.over == "faces" else "megapixel"
        off = f"points {self.residual_ms:.2f} ms off the line"
        if abs(self.slope_ms) * (self.at[-1] - self.at[0]) <= 2 * self.residual_ms:
            return f"a {unit} costs nothing that could be told ({off})"
        cost = f"{self.slope_ms:.2f} ms".replace("-", "\u2212")
        return f"each {unit} costs {cost} ({off})"

    @property
    def where(self) -> str:
        """At which values it was measured."""
        numbers = [_short(x) for x in self.at]
        return f"{', '.join(numbers[:-1])} and {numbers[-1]} {self.over}, {self.held}"

    def to_json(self) -> dict[str, Any]:
        """All of it."""
        return {
            "over": self.over,
            "what": self.what,
            "held": self.held,
            "at": list(self.at),
            "ms": list(self.ms),
            "slope_ms": self.slope_ms,
            "base_ms": self.base_ms,
            "residual_ms": self.residual_ms,
        }


def fits(costs: Sequence[Cost]) -> tuple[Fit, ...]:
    """A line wherever one of faces and pixels has three values or more and the other has one."""
    found = []
    for what in dict.fromkeys(cost.what for cost in costs):
        own = [cost for cost in costs if cost.what == what]
        for size in dict.fromkeys((c.width, c.height) for c in own):
            group = [c for c in own if (c.width, c.height) == size]
            if len({round(c.faces) for c in group}) >= _LEAST_VALUES:
                pairs = [(c.faces, c.ms) for c in group]
                found.append(_fit("faces", what, f"{size[0]}x{size[1]}", pairs))
        for faces in dict.fromkeys(round(c.faces) for c in own):
            group = [c for c in own if abs(c.faces - faces) <= _SAME_FACES]
            if len({c.megapixels for c in group}) >= _LEAST_VALUES:
                pairs = [(c.megapixels, c.ms) for c in group]
                held = f"{faces} face" if faces == 1 else f"{faces} faces"
                found.append(_fit("megapixels", what, f"{held} a frame", pairs))
    return tuple(found)


def fitted(at: Sequence[float], ms: Sequence[float]) -> tuple[float, float, float]:
    """Least squares: slope, value at 0, and root of the mean square residual.

    Args:
        at: x, at least two different values.
        ms: y.
    """
    x, y = np.asarray(at, np.float64), np.asarray(ms, np.float64)
    off = x - x.mean()
    slope = float((off * (y - y.mean())).sum() / (off * off).sum())
    base = float(y.mean() - slope * x.mean())
    return slope, base, float(np.sqrt(np.mean((base + slope * x - y) ** 2)))


def line_chart(found: Sequence[Fit], width: int = 928) -> Markup:
    """Measured points and the lines through them; both axes start at 0.

    Args:
        found: at least one, all over the same thing.
        width: in pixels.
    """
    axes = _Axes(found, width)
    parts = axes.drawn(found[0].over)
    ends = []
    for i, fit in enumerate(found):
        dots, dashes = _DOTS[i % len(_DOTS)], _DASHES[i % len(_DASHES)]
        # There is no time below 0: the line starts where it comes up from there.
        start = 0.0 if fit.base_ms >= 0 else -fit.base_ms / fit.slope_ms
        last = max(0.0, fit.base_ms + fit.slope_ms * axes.far)
        parts.append(
            f'<path class="line" stroke-dasharray="{dashes}" d="M{axes.x(start):.1f} '
            f'{axes.y(max(0.0, fit.base_ms)):.1f}L{axes.x(axes.far):.1f} {axes.y(last):.1f}"/>'
        )
        parts += [
            f'<circle class="{dots}" cx="{axes.x(x):.1f}" cy="{axes.y(y):.1f}" r="4"/>'
            for x, y in zip(fit.at, fit.ms, strict=True)
        ]
        ends.append((axes.y(last) + 4, dots, fit.what))
    below = 0.0
    for y, dots, what in sorted(ends):
        below = max(y, below + _LINE)
        x = axes.x(axes.far) + 14
        parts.append(f'<circle class="{dots}" cx="{x:.1f}" cy="{below - 4:.1f}" r="4"/>')
        parts.append(text(x + 10, below, what, "small"))
    label = f"Time of a frame over its {found[0].over}"
    return svg(width, max(_HEIGHT, below + 8), parts, label)


class _Axes:
    """Where a number of faces or megapixels and a time lie in the picture."""

    def __init__(self, found: Sequence[Fit], width: int) -> None:
        # Room for the names at the right; a letter is 7 pixels or less.
        self._right = width - 28 - 7 * max(len(fit.what) for fit in found)
        self.far = 1.06 * max(fit.at[-1] for fit in found)
        tops = [max(*fit.ms, fit.base_ms + fit.slope_ms * self.far) for fit in found]
        self._reach = 1.08 * max(*tops, 1e-3)

    def x(self, value: float) -> float:
        """Pixels from the left."""
        return _LEFT + value / self.far * (self._right - _LEFT)

    def y(self, ms: float) -> float:
        """Pixels from the top."""
        return _HEIGHT - _BOTTOM - ms / self._reach * (_HEIGHT - _TOP - _BOTTOM)

    def drawn(self, over: Over) -> list[str]:
        """Both axes with their round values."""
        bottom = _HEIGHT - _BOTTOM
        parts = []
        for value in ticks(self._reach):
            y = self.y(value)
            parts.append(f'<path class="grid" d="M{_LEFT} {y:.1f}H{self._right}"/>')
            parts.append(text(_LEFT - 6, y + 4, f"{value:g}", "small end"))
        for value in ticks(self.far):
            parts.append(text(self.x(value), bottom + 15, f"{value:g}", "small middle"))
        parts.append(f'<path class="axis" d="M{_LEFT} {bottom}H{self._right}"/>')
        parts.append(text(self._right, _HEIGHT - 4, f"{over} in a frame", "small end"))
        return [*parts, text(_LEFT + 4, _TOP, "ms", "small")]


def _fit(over: Over, what: str, held: str, pairs: Sequence[tuple[float, float]]) -> Fit:
    at, ms = zip(*sorted(pairs), strict=True)
    slope, base, residual = fitted(at, ms)
    return Fit(
        over=over,
        what=what,
        held=held,
        at=at,
        ms=ms,
        slope_ms=slope,
        base_ms=base,
        residual_ms=residual,
    )


def _short(value: float) -> str:
    digits = max(0, 1 - math.floor(math.log10(value))) if value > 0 else 0
    return f"{value:.{digits}f}".rstrip("0").rstrip(".") if digits else f"{value:.0f}"
