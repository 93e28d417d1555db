"""YuNet (Wu et al., "YuNet: A Tiny Millisecond-level Face Detector", Machine Intelligence Research
20, 2023) by OpenCV's own ``FaceDetectorYN``, which versions 4 and 5 both have.

The model file is pulled and never shipped: its weights were trained on WIDER FACE, whose terms are
for research.
"""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_fer.contract import SquareRule
from edge_fer.detectors.base import checked, faces_of, require_fraction, square_of
from edge_fer.detectors.letterbox import Placement, shrunk
from edge_fer.detectors.nms import MOST
from edge_fer.errors import ConfigError, DataError, MissingExtra, ModelError
from edge_fer.models import published
from edge_fer.quiet import hushed_stderr
from edge_fer.types import Face, Frame, Square

__all__ = ["YuNetDetector"]

# Measured on faces with known eyes: as high as FER2013's crop, .019 of that too low.
_SQUARE = SquareRule(unit="height", side=1.0, centre_y=0.5 - 0.019)
_MOUTH = (3, 4)  # its corners, after the eyes and the nose
# OpenCV pads to multiples of 32, and where that leaves one coarsest cell along a side its net reads
# memory that nothing set: faces in a black picture (measured with 4.11 and 4.14).
_LEAST = 64
_PULL = "Pull it with: edge-fer models pull yunet"


class YuNetDetector:
    """Faces of all sizes that the limit leaves above 10 pixels, in colour; gray is taken too.

    Args:
        file: the ONNX file; default: the pulled one, which must be the published one.
        min_score: what a face must score, 0 to 1.
        max_overlap: intersection over union above which two boxes are one face.
        size: ``WIDTHxHEIGHT``: a larger frame is scaled by one factor to fit into it.

    Raises:
        ConfigError: an argument out of range.
        MissingExtra: this OpenCV has no ``FaceDetectorYN``.
        ModelError: the file is absent, damaged, or no YuNet.
    """

    keypoints = ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")
    """What its faces' keypoints are, as in ``DetectionSpec.keypoints``."""

    def __init__(
        self,
        *,
        file: str | None = None,
        min_score: float = 0.6,
        max_overlap: float = 0.3,
        size: str = "320x240",
    ) -> None:
        require_fraction(min_score=min_score, max_overlap=max_overlap)
        self._limit = _size(size)
        if not hasattr(cv2, "FaceDetectorYN"):
            raise MissingExtra(
                f"OpenCV {cv2.__version__} has no FaceDetectorYN.",
                "Install one that has: pip install 'opencv-python-headless>=4.11,<5,!=4.12.*'",
            )
        path = published("yunet") if file is None else Path(file)
        if not path.is_file():
            raise ModelError(f"There is no YuNet file at {path}.", _PULL)
        self._input = self._limit
        try:
            with hushed_stderr():
                self._net = cv2.FaceDetectorYN.create(
                    str(path), "", self._input, min_score, max_overlap, MOST
                )
                # Another net is loaded all the same, and fails when it is asked.
                self._net.detect(np.zeros((*self._input[::-1], 3), np.uint8))
        except cv2.error as err:
            raise ModelError(
                f"{path} is no YuNet that OpenCV can run: {_reason(err)}.", _PULL
            ) from err

    def detect(self, frame: Frame) -> tuple[Face, ...]:
        """The faces in the frame, best score first; keypoints: eyes, nose, corners of the mouth.

        Raises:
            DataError: the frame is empty or not 8 bits deep, or OpenCV cannot take it.
        """
        checked(frame, colour=True)
        scale = min(1.0, self._limit[0] / frame.width, self._limit[1] / frame.height)
        size = (max(1, round(frame.width * scale)), max(1, round(frame.height * scale)))
        padded = (max(_LEAST, size[0]), max(_LEAST, size[1]))
        placement = Placement(source=(0, 0, frame.width, frame.height), target=(0, 0, *size))
        try:
            picture = shrunk(frame.luma if frame.colour is None else frame.colour, size)
            if picture.ndim == 2:
                picture = np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), np.uint8)
            if padded != size:
                picture = np.pad(
                    picture, ((0, padded[1] - size[1]), (0, padded[0] - size[0]), (0, 0))
                )
            if padded != self._input:
                self._net.setInputSize(padded)
                self._input = padded
            rows = self._net.detect(picture)[1]
        except cv2.error as err:
            raise DataError(
                f"YuNet cannot take {frame.source} ({frame.width}x{frame.height}): {_reason(err)}.",
                "Give another picture.",
            ) from err
        return () if rows is None else _faces(np.asarray(rows, np.float64), placement, frame)

    def face_square(self, face: Face) -> Square:
        """As high as the box, .019 of that above its centre, rolled as the eyes are.

        A face that the frame's edge cuts gets the square of its eyes and mouth.
        """
        return square_of(face, _SQUARE, _MOUTH)

    def close(self) -> None:
        """Nothing to let go of."""


def _faces(rows: NDArray[np.float64], placement: Placement, frame: Frame) -> tuple[Face, ...]:
    """OpenCV's ``float[N, 15]``: x, y, w, h, five points, score, in pixels of what it was given."""
    rows = rows[np.isfinite(rows).all(axis=1)]
    rows = rows[np.argsort(-rows[:, -1], kind="stable")]
    corners = np.stack([rows[:, :2], rows[:, :2] + rows[:, 2:4]], axis=1)
    corners = placement.to_frame(corners).reshape(-1, 4)
    points = placement.to_frame(rows[:, 4:-1].reshape(len(rows), 5, 2))
    return faces_of(frame, corners, np.clip(rows[:, -1], 0.0, 1.0), points)


def _reason(err: cv2.error) -> str:
    """OpenCV's own words on one line."""
    return " ".join(str(err.err).split()).rstrip(".")


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (16 <= width <= 4096 and 16 <= height <= 4096):
        raise ConfigError(
            f"size must be WIDTHxHEIGHT, 16 to 4096 each, not {text!r}.", "Try 320x240."
        )
    return width, height
