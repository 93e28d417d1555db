"""What every detector asks of a frame, and how it says a face: in one place."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_fer.contract import SquareRule
from edge_fer.errors import ConfigError, DataError
from edge_fer.preprocess import FER2013_CROP
from edge_fer.types import Box, Face, Frame, Square

__all__ = ["checked", "clipped", "faces_of", "require_fraction", "square_of"]

# Eyes nearer to each other than this, in sides of the square, are a profile's, or a guess: the line
# between them says nothing of the roll. Frontal ones are .35 apart.
_LEAST_EYE_DISTANCE = 0.1
# From the eyes' midpoint to the mouth, in sides of FER2013's crop (median of 1,425 faces).
_EYES_TO_MOUTH = 0.361
# A box that says so little of the side that eyes and mouth say was cut by the frame's edge; one
# that says still less has keypoints that are a guess.
_CUT = (0.4, 0.85)


def checked(frame: Frame, *, colour: bool) -> Frame:
    """The frame, once it is known to be one that a detector can look at.

    Args:
        frame: the picture.
        colour: whether the detector looks at its colour; cameras make it when somebody does.

    Raises:
        DataError: it has no pixels, is not 8 bits deep, or its planes do not fit each other.
    """
    luma, bgr = frame.luma, frame.colour if colour else None
    for plane in (luma,) if bgr is None else (luma, bgr):
        if plane.dtype != np.uint8:
            raise DataError(
                f"{frame.source} has pixels of type {plane.dtype}; faces are looked for in 8 bits.",
                "Scale 16-bit pixels first: (pixels >> 8).astype('uint8').",
            )
    fits = bgr is None or (bgr.ndim == 3 and bgr.shape == (*luma.shape, 3))
    if luma.ndim != 2 or not fits:
        have = f"luma {luma.shape}" + ("" if bgr is None else f" and colour {bgr.shape}")
        raise DataError(
            f"{frame.source} is no frame: it has {have}.",
            "Give luma as [H, W], and colour, where there is any, as [H, W, 3].",
        )
    if luma.size == 0:
        raise DataError(
            f"{frame.source} has no pixels ({frame.width}x{frame.height}).",
            "Check the camera's size settings, or the picture file.",
        )
    return frame


def clipped(x1: float, y1: float, x2: float, y2: float, frame: Frame) -> Box | None:
    """The part of a box that lies in the frame; None where nothing of it does."""
    x, y = max(x1, 0.0), max(y1, 0.0)
    w, h = min(x2, frame.width) - x, min(y2, frame.height) - y
    return Box(x=x, y=y, w=w, h=h) if w > 0 and h > 0 else None


def faces_of(
    frame: Frame,
    corners: NDArray[np.float64],
    scores: NDArray[np.float64],
    points: NDArray[np.float64],
) -> tuple[Face, ...]:
    """Faces from what a network says, in pixels of the frame; their order stays.

    Args:
        frame: the picture; a box of which nothing lies in it is left out.
        corners: ``float64[N, 4]``: x1, y1, x2, y2; clipped to the frame.
        scores: ``float64[N]``, 0 to 1.
        points: ``float64[N, K, 2]``: x, y, the two eyes first, in either order; K may be 0.
    """
    faces = []
    for (x1, y1, x2, y2), score, pairs in zip(
        corners.tolist(), scores.tolist(), points.tolist(), strict=True
    ):
        box = clipped(x1, y1, x2, y2, frame)
        if box is not None:
            named = [*sorted(pairs[:2]), *pairs[2:]]
            keypoints = tuple((x, y) for x, y in named) or None
            faces.append(Face(box=box, score=score, keypoints=keypoints))
    return tuple(faces)


def square_of(face: Face, rule: SquareRule, mouth: Sequence[int] = ()) -> Square:
    """The square around a face by a detector's rule, rolled as its eyes where they are known.

    A box ends with the frame, so that of a face which the edge cuts is too small for the rule. Eyes
    and mouth tell: where the rule's side is clearly below theirs, they give the square.

    Args:
        face: as the detector found it.
        rule: the square from an uncut box.
        mouth: which keypoints have the mouth in their middle; none where the detector gives none.
    """
    box = face.box
    unit = box.w if rule.unit == "width" else box.h
    side, roll = rule.side * unit, 0.0
    cx, cy = box.x + box.w / 2, box.y + rule.centre_y * unit
    if face.keypoints is None or len(face.keypoints) < 2:
        return Square(cx=cx, cy=cy, side=side)
    (x1, y1), (x2, y2) = sorted(face.keypoints[:2])
    apart, x, y = math.hypot(x2 - x1, y2 - y1), (x1 + x2) / 2, (y1 + y2) / 2
    theirs = 0.0
    if mouth and max(mouth) < len(face.keypoints):
        below = np.mean([face.keypoints[i] for i in mouth], axis=0) - (x, y)
        # The larger of both: a turned head keeps its height.
        theirs = max(apart / FER2013_CROP.eye_distance, math.hypot(*below) / _EYES_TO_MOUTH)
    cut = _CUT[0] * theirs < side < _CUT[1] * theirs
    if cut:
        side = theirs
    if apart >= _LEAST_EYE_DISTANCE * side:
        roll = math.degrees(math.atan2(y2 - y1, x2 - x1))
    if cut:
        turn, (u, v) = math.radians(roll), FER2013_CROP.eye_midpoint
        dx, dy = (0.5 - u) * side, (0.5 - v) * side
        cx = x + math.cos(turn) * dx - math.sin(turn) * dy
        cy = y + math.sin(turn) * dx + math.cos(turn) * dy
    return Square(cx=cx, cy=cy, side=side, roll_deg=roll)


def require_fraction(**values: float | None) -> None:
    """Refuse a threshold that is given and does not lie between 0 and 1.

    Raises:
        ConfigError: naming it.
    """
    for name, value in values.items():
        if value is not None and not 0 < value < 1:
            raise ConfigError(f"{name} must lie between 0 and 1, not {value}.", "Try 0.5.")
