"""OpenCV's Haar cascades (Viola and Jones 2001; Lienhart and Maydt 2002), on the luma plane.

A baseline and a fallback: it finds frontal, upright faces well and costs tens of milliseconds a
frame. The cascade files come with opencv-python 4.x; version 5 dropped the class and the files.
"""

from __future__ import annotations

from math import isfinite
from pathlib import Path

import cv2

from edge_fer.detectors.base import checked
from edge_fer.errors import ConfigError, DataError, MissingExtra
from edge_fer.types import Box, Face, Frame, Square

__all__ = ["CASCADES", "HaarDetector"]

CASCADES = {
    "default": "haarcascade_frontalface_default.xml",
    "alt2": "haarcascade_frontalface_alt2.xml",
}
# Measured on faces with known eyes: the Haar box is FER2013's crop, 4 % too tight.
_SQUARE_PER_WIDTH = 1.04


class HaarDetector:
    """Frontal faces, upright to about 15 degrees of roll.

    Args:
        cascade: ``default`` (more faces) or ``alt2`` (fewer false alarms on scenes).
        scale_factor: step of the image pyramid; smaller finds more and takes longer.
        min_neighbours: overlapping hits that make a face; larger is stricter.
        min_size: smallest face in pixels of the frame.

    Raises:
        ConfigError: an argument out of range, or no such cascade.
        MissingExtra: this OpenCV has no Haar cascades (5.x).
    """

    def __init__(
        self,
        *,
        cascade: str = "default",
        scale_factor: float = 1.1,
        min_neighbours: int = 5,
        min_size: int = 30,
    ) -> None:
        if cascade not in CASCADES:
            raise ConfigError(f"There is no cascade {cascade!r}.", f"Known: {', '.join(CASCADES)}.")
        if not (isfinite(scale_factor) and 1.0 < scale_factor <= 2.0):
            raise ConfigError(
                f"scale_factor must be above 1 and at most 2, not {scale_factor}.", "Try 1.1."
            )
        if not (1 <= min_neighbours <= 1000 and 1 <= min_size <= 10_000):
            raise ConfigError(
                "min_neighbours must be 1 to 1000 and min_size 1 to 10000.", "Try 5 and 30."
            )
        self._cascade = _load(CASCADES[cascade])
        self._scale_factor = scale_factor
        self._min_neighbours = min_neighbours
        self._min_size = min_size

    def detect(self, frame: Frame) -> tuple[Face, ...]:
        """The faces in the frame, best first.

        ``score`` is n / (n + min_neighbours) for n overlapping hits: 0.5 at the threshold,
        towards 1 for many. Haar has no probability and no keypoints.

        Raises:
            DataError: the frame is empty or not 8 bits deep, or too large for this machine's
                memory.
        """
        checked(frame, colour=False)
        try:
            boxes, hits = self._cascade.detectMultiScale2(
                frame.luma,
                scaleFactor=self._scale_factor,
                minNeighbors=self._min_neighbours,
                minSize=(self._min_size, self._min_size),
            )
        except (cv2.error, MemoryError) as err:
            raise DataError(
                f"{frame.source} is too large to look for faces in "
                f"({frame.width}x{frame.height}): {err}.",
                "Give a smaller picture.",
            ) from err
        faces = (
            Face(
                box=Box(x=float(x), y=float(y), w=float(w), h=float(h)),
                score=n / (n + self._min_neighbours),
            )
            for (x, y, w, h), n in zip(boxes, hits, strict=True)
        )
        return tuple(sorted(faces, key=lambda face: -face.score))

    def face_square(self, face: Face) -> Square:
        """1.04 times the box's width, around its centre."""
        box = face.box
        return Square(cx=box.x + box.w / 2, cy=box.y + box.h / 2, side=_SQUARE_PER_WIDTH * box.w)

    def close(self) -> None:
        """Nothing to let go of."""


def _load(file_name: str) -> cv2.CascadeClassifier:
    folder = Path(getattr(getattr(cv2, "data", None), "haarcascades", ""))
    if not hasattr(cv2, "CascadeClassifier") or not (folder / file_name).is_file():
        raise MissingExtra(
            f"OpenCV {cv2.__version__} has no Haar cascades; they left with version 5.",
            "Install the last OpenCV 4: pip install 'opencv-python-headless>=4.11,<5,!=4.12.*'",
        )
    cascade = cv2.CascadeClassifier(str(folder / file_name))
    if cascade.empty():
        raise MissingExtra(
            f"{folder / file_name} is damaged.",
            "Reinstall it: pip install --force-reinstall 'opencv-python-headless>=4.13,<5'",
        )
    return cascade
