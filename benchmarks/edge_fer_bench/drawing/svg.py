"""What the report's pictures are drawn with: inline SVG that needs no script, font or network.

Sizes are CSS pixels of a page 960 wide. Colours are classes of the page's style sheet
(``templates/report.html.j2``): ``bar``, ``total``, ``track``, ``bad``, ``few``, ``axis``, ``grid``,
``marker``, ``limit``, ``line``, ``dot``; texts are ``strong``, ``small``, ``end``, ``middle``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape

__all__ = ["rect", "signed", "svg", "text", "ticks"]


def ticks(reach: float) -> list[float]:
    """Round values from 0 to below ``reach``, at most five or so."""
    step = 10.0 ** np.floor(np.log10(max(reach, 1e-3)))
    for factor in (0.25, 0.5, 1, 2):
        if reach / (step * factor) <= 5:
            step *= factor
            break
    return [float(v) for v in np.arange(0, reach, step)]


def signed(value: float) -> str:
    """With its sign, and a real minus; zero has none."""
    words = f"{value:+.1f}".replace("-", "\u2212")
    return "0.0" if words in ("+0.0", "\u22120.0") else words


def rect(kind: str, x: float, y: float, wide: float, high: float = 16) -> str:
    """A bar, at least 1.5 pixels wide."""
    return (
        f'<rect class="{kind}" x="{x:.1f}" y="{y}" width="{max(1.5, wide):.1f}" '
        f'height="{high:g}" rx="2"/>'
    )


def text(x: float, y: float, words: str, kind: str = "") -> str:
    """Words at a place, escaped."""
    return f'<text class="{kind.strip()}" x="{x:.1f}" y="{y:.1f}">{escape(words)}</text>'


def svg(width: int, height: float, parts: Sequence[str], label: str) -> Markup:
    """The whole picture, with a name for those who cannot see it."""
    head = f'<svg viewBox="0 0 {width} {height:g}" role="img" aria-label="{escape(label)}">'
    return Markup(head + "".join(parts) + "</svg>")  # noqa: S704 - words are escaped above
