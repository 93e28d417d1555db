"""A frame whose colour is made when somebody first looks at it."""

from __future__ import annotations

from collections.abc import Callable

from edge_fer.types import Frame, Image

__all__ = ["LazyFrame"]


class LazyFrame(Frame):
    """A :class:`~edge_fer.types.Frame` of a camera that gives luma, and colour apart.

    Our models look at luma; making colour of every picture would cost more than finding the faces.
    Looking at ``colour`` makes it, once; looking from two threads at a time may make it twice.

    Args:
        luma: ``uint8[H, W]``.
        colour: makes ``uint8[H, W, 3]`` in BGR order; or that picture itself, or None.
        t_ns: as in Frame.
        sequence: as in Frame.
        source: as in Frame.
        lores: as in Frame.
    """

    __slots__ = ("_colour",)

    _colour: Callable[[], Image] | Image | None

    def __init__(
        self,
        *,
        luma: Image,
        colour: Callable[[], Image] | Image | None,
        t_ns: int,
        sequence: int,
        source: str,
        lores: Image | None = None,
    ) -> None:
        # A frozen dataclass is filled like this.
        fill = object.__setattr__
        fill(self, "luma", luma)
        fill(self, "_colour", colour)
        fill(self, "t_ns", t_ns)
        fill(self, "sequence", sequence)
        fill(self, "source", source)
        fill(self, "lores", lores)

    @property
    def colour(self) -> Image | None:
        """``uint8[H, W, 3]`` in OpenCV's BGR order."""
        made = self._colour
        if callable(made):
            made = made()
            object.__setattr__(self, "_colour", made)
        return made
