"""What ``edge-fer run`` shows while it runs: a table that changes in place, or lines."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, Self

import typer

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from edge_fer.types import Expression, Observation, ObservedFace

__all__ = ["Lines", "LiveTable", "Nothing", "Screen"]

_EVERY_S = 0.2
_BAR = 24
_RECENT = 120
_HEADINGS = ("face", "expression", "", "", "size", "others")
_NOBODY = ("-", "nobody", "", "", "", "")
_WIDE, _NARROW_COLUMNS = 80, 3


class Screen(Protocol):
    """Shows what is seen. Used as a context."""

    def show(self, observation: Observation) -> None:
        """One more observation."""
        ...

    def say(self, text: str) -> None:
        """A line that stays."""
        ...


class Nothing(AbstractContextManager["Nothing"]):
    """Shows no observation; what is said goes where the caller wants.

    Args:
        say: takes a line.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say

    def show(self, observation: Observation) -> None:
        """It is not shown."""

    def __exit__(self, *error: object) -> None:
        """Nothing is held."""


class Lines(Nothing):
    """A line for every frame, on standard output."""

    def show(self, observation: Observation) -> None:
        """Its number, and the expressions."""
        seen = ", ".join(_words(face) for face in observation.faces)
        typer.echo(f"{observation.frame:>6}  {seen or '-'}")


class LiveTable(AbstractContextManager["LiveTable"]):
    """A table that is drawn anew a few times a second.

    Args:
        console: a terminal.
        source: what is looked at.
        clock: seconds, monotonic.
    """

    def __init__(
        self, console: Console, source: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        from rich.live import Live

        self._console, self._source, self._clock = console, source, clock
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._drawn = -_EVERY_S
        self._recent: deque[tuple[float, float]] = deque(maxlen=_RECENT)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def show(self, observation: Observation) -> None:
        """Draw it, unless the last drawing is too fresh."""
        now = self._clock()
        timings = observation.timings_ms
        # Waiting for the camera is no work of ours.
        spent = timings.get("total", 0.0) - timings.get("capture", 0.0)
        self._recent.append((now, spent))
        if now - self._drawn >= _EVERY_S:
            self._drawn = now
            self._live.update(self.render(observation), refresh=True)

    def say(self, text: str) -> None:
        """Above the table."""
        self._console.print(text)

    def render(self, observation: Observation) -> RenderableType:
        """The table of one observation."""
        from rich.table import Table

        first, last = self._recent[0][0], self._recent[-1][0]
        fps = (len(self._recent) - 1) / (last - first) if last > first else 0.0
        ms = sorted(total for _, total in self._recent)
        title = f"{self._source}   {fps:.1f} frames/s   {ms[len(ms) // 2]:.1f} ms a frame"
        table = Table(title=title, title_justify="left", caption="Ctrl-C ends", box=None)
        # The first columns are worth most; a narrow terminal has no room for the others.
        columns = len(_HEADINGS) if self._console.width >= _WIDE else _NARROW_COLUMNS
        for heading in _HEADINGS[:columns]:
            table.add_column(heading, no_wrap=True)
        for row in [_row(face) for face in observation.faces] or [_NOBODY]:
            table.add_row(*row[:columns])
        return table

    def __exit__(self, *error: object) -> None:
        self._live.stop()


def _row(seen: ObservedFace) -> tuple[str, ...]:
    expression, box = seen.expression, seen.face.box
    ranked = sorted(expression.probabilities.items(), key=lambda item: -item[1])
    track = "-" if seen.face.track is None else str(seen.face.track)
    size = f"{box.w:.0f}x{box.h:.0f}"
    if expression.reason is not None:
        return track, expression.label, expression.reason, "", size, ""
    p = _probability(expression)
    others = ", ".join(
        f"{label} {100 * q:.0f}" for label, q in ranked[:3] if label != expression.label
    )
    return track, expression.label, f"{100 * p:.0f} %", "█" * round(_BAR * p), size, others


def _words(seen: ObservedFace) -> str:
    expression = seen.expression
    if expression.reason is not None:
        return f"{expression.label} ({expression.reason})"
    return f"{expression.label} {100 * _probability(expression):.0f} %"


def _probability(expression: Expression) -> float:
    """Of the label shown; smoothing may hold on to one while another is a little likelier."""
    return expression.probabilities.get(expression.label, 0.0)
