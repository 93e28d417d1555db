"""The roofline chart: multiply-accumulates per byte against speed, both logarithmic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10, sqrt

from markupsafe import Markup, escape

from edge_fer_bench.drawing.dot_labels import Dot, placed
from edge_fer_bench.drawing.svg import svg, text
from edge_fer_bench.roofline.peak import brief

__all__ = ["Reached", "roof_chart"]

_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 24, 22, 42
_DOT = 5  # radius, pixels


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """One network: MAC per byte and 10^9 MAC per second, both above 0."""

    name: str
    intensity: float
    gmac_s: float


def roof_chart(
    reached: Sequence[Reached],
    *,
    peak: float,
    memory: float,
    lower: float | None = None,
    width: int = 928,
    height: int = 360,
) -> Markup:
    """The roof, and the networks under it.

    Args:
        reached: the networks.
        peak: 10^9 multiply-accumulates per second.
        memory: 10^9 bytes per second.
        lower: the peak of depthwise layers, drawn dashed; None: no such line.
        width: pixels.
        height: pixels.
    """
    ridge = peak / memory
    across = _Axis(
        (ridge / 4, *(net.intensity for net in reached), ridge * 4), _LEFT, width - _RIGHT
    )
    speeds = [net.gmac_s for net in reached] + ([] if lower is None else [lower])
    up = _Axis((*speeds, peak, 1.2 * peak), height - _BOTTOM, _TOP)
    parts = []
    for value in across.decades:
        x = across.at(value)
        parts += [
            f'<path class="grid" d="M{x:.1f} {_TOP}V{height - _BOTTOM}"/>',
            text(x, height - _BOTTOM + 18, f"{value:g}", "small middle"),
        ]
    for value in up.decades:
        y = up.at(value)
        parts += [
            f'<path class="grid" d="M{_LEFT} {y:.1f}H{width - _RIGHT}"/>',
            text(_LEFT - 8, y + 4, f"{value:g}", "small end"),
        ]
    slope = f"memory {brief(memory)} GB/s"
    # The slope enters at the left edge, or from below where that is later.
    start = max(across.low, up.low / memory)
    flat, middle = up.at(peak), sqrt(start * ridge)
    aside, below = across.at(middle) + 8, up.at(middle * memory) + 16
    parts += [
        f'<path class="axis" d="M{_LEFT} {_TOP}V{height - _BOTTOM}H{width - _RIGHT}"/>',
        f'<path class="line" d="M{across.at(start):.1f} {up.at(start * memory):.1f}'
        f'L{across.at(ridge):.1f} {flat:.1f}H{width - _RIGHT}"/>',
        text(width - _RIGHT, flat - 6, f"int8 peak {brief(peak)} GMAC/s", "strong end"),
        text(aside, below, slope, "small"),
        text(width - _RIGHT, height - 6, "multiply-accumulates per byte", "small end"),
        text(0, 12, "GMAC/s", "small"),
    ]
    if lower is not None:
        y = up.at(lower)
        parts += [
            f'<path class="marker" d="M{_LEFT} {y:.1f}H{width - _RIGHT}"/>',
            text(width - _RIGHT, y - 6, f"depthwise {brief(lower)} GMAC/s", "small end"),
        ]
    places = [Dot(x=across.at(net.intensity), y=up.at(net.gmac_s), r=_DOT + 2) for net in reached]
    # The slope's words must stay free as well.
    free = [Dot(x=aside + 8 * i, y=below - 4, r=8) for i in range(len(slope))]
    words = [f"{net.name} {brief(net.gmac_s)}" for net in reached]
    labels = placed(
        list(zip(places, words, strict=True)),
        [*places, *free],
        Dot(x=_LEFT, y=_TOP, r=0),
        Dot(x=width, y=height - _BOTTOM, r=0),
    )
    for place, told, label in zip(places, words, labels, strict=True):
        parts.append(
            f'<circle class="bar" cx="{place.x:.1f}" cy="{place.y:.1f}" r="{_DOT}">'
            f"<title>{escape(told)}</title></circle>"
        )
        if label is not None:
            parts.append(text(label.x + label.width / 2, label.y + 12, told, "middle"))
            if label.leader is not None:
                (x, y), (to_x, to_y) = label.leader
                parts.append(f'<path class="grid" d="M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}"/>')
    return svg(width, height, parts, "Roofline: speed against work per byte")


class _Axis:
    """A logarithmic scale over whole decades that hold all values, in pixels."""

    def __init__(self, values: Sequence[float], first: float, last: float) -> None:
        least, most = floor(log10(min(values))), ceil(log10(max(values)))
        self.low = 10.0**least
        self.decades = [10.0**n for n in range(least, most + 1)]
        self._first, self._per_decade = first, (last - first) / max(1, most - least)

    def at(self, value: float) -> float:
        """Where a value lies."""
        return self._first + log10(value / self.low) * self._per_decade
