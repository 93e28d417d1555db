"""Cameras without a device: one hands out the frames it was given, one fails as it was told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from threading import Event

from edge_fer.errors import EdgeFerError
from edge_fer.types import Frame

__all__ = ["FakeCamera", "FaultyCamera"]


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


class FaultyCamera:
    """For tests of whatever stands behind a camera: gives frames, fails and hangs as it is told.

    Args:
        script: what happens, in this order: a frame is handed out, an exception raised, and an
            event waited for (a camera that hangs until somebody sets it, as a driver does). Then
            the source has ended. An endless iterator is fine; it is read as it goes.
    """

    def __init__(self, script: Iterable[Frame | Exception | Event]) -> None:
        self._script = iter(script)
        self.closed = False

    def read(self) -> Frame | None:
        """The next frame of the script, after the waits before it; None after its end.

        Raises:
            Exception: the script says so here.
        """
        if self.closed:
            raise EdgeFerError("The faulty camera was closed.")
        for step in self._script:
            if isinstance(step, Frame):
                return step
            if isinstance(step, Exception):
                raise step
            step.wait()
        return None

    def close(self) -> None:
        """``read`` fails from now on."""
        self.closed = True
