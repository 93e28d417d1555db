"""A detector that finds what it was told to: for tests and for trying a pipeline."""

from __future__ import annotations

from collections.abc import Callable

from edge_fer.detectors.base import checked
from edge_fer.types import Face, Frame, Square

__all__ = ["FakeDetector"]


class FakeDetector:
    """Answers with a function of the frame; its squares are the boxes' own.

    Args:
        answer: frame to faces; nothing found where it is left out.
    """

    def __init__(self, answer: Callable[[Frame], tuple[Face, ...]] = lambda frame: ()) -> None:
        self._answer = answer
        self.closed = False

    def detect(self, frame: Frame) -> tuple[Face, ...]:
        """What the function says, best score first.

        Raises:
            DataError: the frame is empty, or not 8 bits deep.
        """
        return tuple(
            sorted(self._answer(checked(frame, colour=True)), key=lambda face: -face.score)
        )

    def face_square(self, face: Face) -> Square:
        """A square around the box."""
        box = face.box
        return Square(cx=box.x + box.w / 2, cy=box.y + box.h / 2, side=max(box.w, box.h))

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True
