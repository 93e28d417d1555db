"""A camera without a device: hands out the frames that it was given."""

from __future__ import annotations

from collections.abc import Sequence

from edge_fer.errors import EdgeFerError
from edge_fer.types import Frame

__all__ = ["FakeCamera"]


class FakeCamera:
    """For tests, and for feeding a pipeline from a program's own frames.

    Args:
        frames: handed out as they are, in this order; then the source has ended.
    """

    def __init__(self, frames: Sequence[Frame]) -> None:
        self._frames = tuple(frames)
        self._next = 0
        self.closed = False

    def read(self) -> Frame | None:
        """The next frame, or None after the last."""
        if self.closed:
            raise EdgeFerError("The fake camera was closed.")
        if self._next == len(self._frames):
            return None
        self._next += 1
        return self._frames[self._next - 1]

    def close(self) -> None:
        """``read`` fails from now on."""
        self.closed = True
