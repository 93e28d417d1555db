"""One face over time, and which of the faces in a frame is whose."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edge_fer.detectors.base import clipped
from edge_fer.types import Box, Face, Frame

__all__ = ["Track", "distinct", "pairs_of"]

# Gains of an alpha-beta filter: a place moves half the way from the expected to the measured one,
# and the velocity's gain is the one that goes with that (T. R. Benedict and G. W. Bordner,
# "Synthesis of an Optimal Set of Radar Track-While-Scan Smoothing Equations", IRE Transactions on
# Automatic Control 7(4), 1962). A plain moving average would lag behind whoever walks.
_ALPHA = 0.5
_BETA = _ALPHA**2 / (2 - _ALPHA)
_PATIENCE = 10  # searches in a row without success
# A velocity holds for so many of the strides in which it was measured: as long as a face is
# searched for. Where frames come slower all at once, most of it would be noise times many frames.
_HORIZON = _PATIENCE + 1
_STAYS = 0.75  # share of a lost face's box in the frame: below, it has left
_MIN_IOU = 0.2  # of a face with where it was expected
_SAME_IOU = 0.3  # of two boxes that mean one face


@dataclass(slots=True, kw_only=True)
class Track:
    """One face over time.

    The number of the frame is the clock: unlike the time of arrival it does not jitter, and it
    counts the frames that were dropped.

    Attributes:
        points: ``float64[2 + K, 2]``: x, y of the box's two corners and of K keypoints, smoothed,
            in pixels of the frame in which the face was last found.
        sequence: the number of that frame.
        score: of the face in it.
        velocity: ``float64[2]``: of the box's centre, pixels per frame.
        stride: frames over which it was last measured.
        hits: in how many frames it was found.
        misses: searches without success since.
        id: None until it is admitted.
    """

    points: NDArray[np.float64]
    sequence: int
    score: float
    velocity: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    stride: int = 1
    hits: int = 1
    misses: int = 0
    id: int | None = None

    @classmethod
    def of(cls, face: Face, sequence: int) -> Track:
        """A new one."""
        return cls(points=_points(face), sequence=sequence, score=face.score)

    def see(self, face: Face, sequence: int) -> None:
        """It was found, in this frame."""
        measured, expected = _points(face), self._at(sequence)
        if measured.shape != expected.shape:  # a detector with other keypoints
            expected = measured
        surprise = measured - expected
        if sequence > self.sequence:
            stride = sequence - self.sequence
            held = self._ahead(sequence) / stride
            trend = _BETA / stride
            self.velocity = held * self.velocity + trend * surprise[:2].mean(axis=0)
            self.stride = stride
        self.points = expected + _ALPHA * surprise
        self.sequence, self.score = sequence, face.score
        self.hits, self.misses = self.hits + 1, 0

    def miss(self) -> None:
        """It was looked for and not found. Where nobody looked, nothing is missed."""
        self.misses += 1

    def expected(self, sequence: int) -> Box:
        """Where it should be in a frame, at constant velocity; not clipped to it."""
        (x, y), (right, below) = self._at(sequence)[:2].tolist()
        return Box(x=x, y=y, w=right - x, h=below - y)

    def is_over(self, frame: Frame) -> bool:
        """Whether it need not be looked for again."""
        if self.misses == 0:
            return False
        box = self.expected(frame.sequence)
        left = clipped(box.x, box.y, box.x + box.w, box.y + box.h, frame)
        leaves = left is None or left.area < _STAYS * box.area
        return leaves or self.hits == 1 or self.misses > _PATIENCE

    def face(self, frame: Frame) -> Face | None:
        """The smoothed face, its box clipped to the frame; None where nothing of it is left."""
        (x1, y1), (x2, y2), *points = self.points.tolist()
        box = clipped(x1, y1, x2, y2, frame)
        keypoints = tuple((x, y) for x, y in points) or None
        if box is None:
            return None
        return Face(box=box, score=self.score, keypoints=keypoints, track=self.id)

    def _at(self, sequence: int) -> NDArray[np.float64]:
        return self.points + self.velocity * self._ahead(sequence)

    def _ahead(self, sequence: int) -> int:
        """For how many frames it is believed to have gone on as it was going."""
        return min(sequence - self.sequence, _HORIZON * self.stride)


def pairs_of(expected: Sequence[Box], found: Sequence[Face]) -> dict[int, int]:
    """Which face is where which one was expected, as indices: the best overlap first."""
    overlaps = [
        (box.iou(face.box), i, j) for i, box in enumerate(expected) for j, face in enumerate(found)
    ]
    pairs: dict[int, int] = {}
    for iou, i, j in sorted(overlaps, key=lambda overlap: -overlap[0]):
        if iou >= _MIN_IOU and i not in pairs and j not in pairs.values():
            pairs[i] = j
    return pairs


def distinct(faces: Iterable[Face]) -> tuple[Face, ...]:
    """Without those that are one of the faces before them: near regions show a face twice."""
    kept: list[Face] = []
    for face in faces:
        if all(face.box.iou(other.box) <= _SAME_IOU for other in kept):
            kept.append(face)
    return tuple(kept)


def _points(face: Face) -> NDArray[np.float64]:
    box = face.box
    corners = ((box.x, box.y), (box.x + box.w, box.y + box.h))
    return np.array((*corners, *(face.keypoints or ())), np.float64)
