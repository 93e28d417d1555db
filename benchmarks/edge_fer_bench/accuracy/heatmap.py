"""Heat maps of the report page: several quantities over the same rows and columns, side by side.

Every value is written in its cell, so that neither colour nor print has to carry it. Shades are one
hue, paler or fuller; a value that may be negative has a second one (blue and red, which those who
cannot tell red from green can). None is so full that the figures on it are hard to read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from edge_fer_bench.drawing.svg import svg, text

__all__ = ["Panel", "heat_map"]

_ROW, _HEAD, _LABELS, _GAP = 26, 46, 124, 22
_FULLEST = 0.55


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One quantity.

    Attributes:
        title: above it, a few words.
        aside: below the title, what to compare with; empty for none.
        values: row by row, one for each column or one alone that all columns share; None where
            there is none.
        words: a value as it stands in its cell.
        shade: of a value, -1 (full red) over 0 (white) to 1 (full blue); more is cut off.
        marked: whether a value is framed; by row and column.
        faint: whether it rests on too little, and is shown gray.
        shaded: whether its shade says anything; else the cell stays white.
    """

    title: str
    aside: str = ""
    values: Sequence[Sequence[float | None]]
    words: Callable[[float], str]
    shade: Callable[[float], float]
    marked: Callable[[int, int], bool] = lambda row, column: False
    faint: Callable[[int, int], bool] = lambda row, column: False
    shaded: Callable[[int, int], bool] = lambda row, column: True


def heat_map(
    rows: Sequence[str],
    columns: Sequence[str],
    panels: Sequence[Panel],
    label: str,
    width: int = 928,
) -> Markup:
    """The panels from left to right, rows named once.

    Args:
        rows: their names.
        columns: their names.
        panels: at least one.
        label: for those who cannot see it.
        width: CSS pixels.
    """
    wide = (width - _LABELS - _GAP * (len(panels) - 1)) / len(panels)
    parts = [text(_LABELS - 12, _HEAD + i * _ROW + 17, name, "end") for i, name in enumerate(rows)]
    for number, panel in enumerate(panels):
        parts += _panel(panel, columns, _LABELS + number * (wide + _GAP), wide)
    return svg(width, _HEAD + len(rows) * _ROW + 4, parts, label)


def _panel(panel: Panel, columns: Sequence[str], left: float, wide: float) -> list[str]:
    across = wide / len(columns)
    parts = [text(left, 12, panel.title, "strong"), text(left, 28, panel.aside, "small")]
    parts += [
        text(left + (column + 0.5) * across, _HEAD - 4, name, "small middle")
        for column, name in enumerate(columns)
    ]
    frames = []
    for row, values in enumerate(panel.values):
        y, cell = _HEAD + row * _ROW, wide / len(values)
        for column, value in enumerate(values):
            x = left + column * cell
            words = "\u2013" if value is None else panel.words(value)
            pale = value is None or panel.faint(row, column)
            marked = not pale and panel.marked(row, column)
            kind = "small middle" if pale else "middle strong" if marked else "middle"
            shade = None if pale or value is None else panel.shade(value)
            if shade is not None and not panel.shaded(row, column):
                shade = 0.0
            parts += [_cell(x, y, cell, shade), text(x + cell / 2, y + 17, words, kind)]
            if marked:  # over all cells, or the next one would cover its edge
                frames.append(_frame(x, y, cell))
    return parts + frames


def _cell(x: float, y: float, wide: float, shade: float | None) -> str:
    much = 0.0 if shade is None else max(-1.0, min(1.0, shade))
    kind = "track" if shade is None else "bad" if much < 0 else "bar"
    return (
        f'<rect class="{kind}" x="{x + 1:.1f}" y="{y + 1:g}" width="{wide - 2:.1f}" '
        f'height="{_ROW - 2}" fill-opacity="{1 if shade is None else _FULLEST * abs(much):.3f}"/>'
    )


def _frame(x: float, y: float, wide: float) -> str:
    return (
        f'<path class="limit" d="M{x + 1:.1f} {y + 1:g}h{wide - 2:.1f}v{_ROW - 2}'
        f'h{2 - wide:.1f}z"/>'
    )
