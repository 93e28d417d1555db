"""Words beside dots, so that none lies on another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Dot", "Label", "placed"]

_LETTER, _LINE = 7.0, 16.0  # pixels; a little more than most fonts need
_DISTANCES = (4.0, 18.0, 34.0, 52.0, 72.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """A circle, in pixels."""

    x: float
    y: float
    r: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """Words in a box with the top-left corner (x, y), and a line from the dot where it is far."""

    words: str
    x: float
    y: float
    width: float
    height: float
    leader: tuple[tuple[float, float], tuple[float, float]] | None = None

    def covers(self, other: Label) -> bool:
        """Whether two boxes have a point in common."""
        return (
            self.x < other.x + other.width
            and other.x < self.x + self.width
            and self.y < other.y + other.height
            and other.y < self.y + self.height
        )

    def touches(self, dot: Dot) -> bool:
        """Whether a dot reaches into the box."""
        dx = max(self.x - dot.x, 0.0, dot.x - self.x - self.width)
        dy = max(self.y - dot.y, 0.0, dot.y - self.y - self.height)
        return dx * dx + dy * dy < dot.r * dot.r


def placed(
    wanted: Sequence[tuple[Dot, str]], dots: Sequence[Dot], corner: Dot, opposite: Dot
) -> list[Label | None]:
    """A place for each label, the first ones having the choice; None where none is left.

    Each is tried on all sides of its dot, near ones first, and takes the first place where it lies
    in the frame and on no dot and no label that has its place.

    Args:
        wanted: a dot and its words.
        dots: all that must stay free.
        corner: of the frame, top left.
        opposite: bottom right.
    """
    taken: list[Label] = []
    found: list[Label | None] = []
    for dot, words in wanted:
        place = next(
            (
                label
                for label in _places(dot, words)
                if corner.x <= label.x
                and label.x + label.width <= opposite.x
                and corner.y <= label.y
                and label.y + label.height <= opposite.y
                and not any(label.covers(other) for other in taken)
                and not any(label.touches(other) for other in dots)
            ),
            None,
        )
        found.append(place)
        if place is not None:
            taken.append(place)
    return found


def _places(dot: Dot, words: str) -> list[Label]:
    wide = _LETTER * len(words)
    labels = []
    for far in _DISTANCES:
        off = dot.r + far
        slant = 0.7 * off
        for x, y in (
            (dot.x + off, dot.y - _LINE / 2),
            (dot.x - off - wide, dot.y - _LINE / 2),
            (dot.x - wide / 2, dot.y - off - _LINE),
            (dot.x - wide / 2, dot.y + off),
            (dot.x + slant, dot.y - slant - _LINE),
            (dot.x + slant, dot.y + slant),
            (dot.x - slant - wide, dot.y - slant - _LINE),
            (dot.x - slant - wide, dot.y + slant),
        ):
            near = (min(max(dot.x, x), x + wide), min(max(dot.y, y), y + _LINE))
            leader = None if far == _DISTANCES[0] else ((dot.x, dot.y), near)
            labels.append(Label(words=words, x=x, y=y, width=wide, height=_LINE, leader=leader))
    return labels
