"""The parts of a report beyond time and memory: each is measured by a module of its own, and shown
by terminal, page, CSV and JSON without these knowing what it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from markupsafe import Markup

__all__ = [
    "Cell",
    "Column",
    "Figure",
    "Grid",
    "Kind",
    "Row",
    "Section",
    "Tone",
    "counted",
    "percent",
    "points",
    "shown",
]

Cell = str | float | None
Kind = Literal["text", "count", "number", "share", "points"]
Tone = Literal["plain", "strong", "dim", "bad"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column of a :class:`Grid`.

    Attributes:
        name: its heading, short: a terminal has 80 columns for all of them.
        kind: how its cells are shown: ``text`` as it is; ``count`` 1,234; ``number`` with
            ``digits``; ``share`` a fraction 0 to 1 as per cent; ``points`` with a true minus sign.
        digits: after the decimal point.
    """

    name: str
    kind: Kind = "number"
    digits: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One cell per column; None is shown as a dash, and a text in any column as it is."""

    cells: tuple[Cell, ...]
    tone: Tone = "plain"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table, of raw values.

    Attributes:
        title: what it shows.
        columns, rows: the first column is what a row is about.
        note: below it, in a sentence or two; empty for none.
        key: its name in the CSV file.
        detail: a terminal shows it only with ``--verbose``, the page when it is unfolded.
    """

    key: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    note: str = ""
    detail: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A picture for the page.

    Attributes:
        caption: what it shows, and how to read it.
        svg: a whole ``<svg>`` made with :mod:`edge_fer_bench.drawing.svg`.
    """

    caption: str
    svg: Markup


class Section(Protocol):
    """What a report asks of one of its parts."""

    @property
    def key(self) -> str:
        """The field of ``edge-fer/benchmark/1`` that :meth:`to_json` goes to."""

    @property
    def title(self) -> str:
        """The heading, a few words."""

    @property
    def lead(self) -> str:
        """What was measured and how, in a sentence or two."""

    @property
    def findings(self) -> Sequence[str]:
        """Whole sentences that whoever reads the verdict has to know; often none."""

    @property
    def grids(self) -> Sequence[Grid]:
        """The tables."""

    @property
    def figures(self) -> Sequence[Figure]:
        """The pictures."""

    def to_json(self) -> Any:
        """Finite numbers, texts, lists and objects; fractions 0 to 1, and ``*_points``."""


def shown(value: Cell, column: Column) -> str:
    """A cell as people read it."""
    if value is None:
        return "\u2013"
    if isinstance(value, str):
        return value
    if column.kind == "count":
        return f"{value:,.0f}"
    if column.kind == "share":
        return f"{100 * value:.{column.digits}f} %"
    if column.kind == "points":
        return points(value, column.digits)
    return f"{value:,.{column.digits}f}"


def points(value: float, digits: int = 2) -> str:
    """A number with a real minus sign, and no minus before zero."""
    text = f"{value:.{digits}f}"
    return text.replace("-", "\u2212") if float(text) else f"{0:.{digits}f}"


def percent(share: float) -> str:
    """A fraction as whole per cent: ``12 %``."""
    return f"{100 * share:.0f} %"


def counted(n: int, noun: str) -> str:
    """``1 frame``, ``2 frames``."""
    return f"{n} {noun}" + ("" if n == 1 else "s")
