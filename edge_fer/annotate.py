"""Boxes and labels drawn on a copy of a frame, for people to look at."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Self

import cv2
import numpy as np

from edge_fer.errors import ConfigError, DeviceError
from edge_fer.types import UNKNOWN, Expression, Face, Frame, Image

__all__ = ["AnnotatedVideo", "annotate"]

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_KNOWN, _UNKNOWN, _INK = (80, 175, 76), (140, 140, 140), (255, 255, 255)


def annotate(frame: Frame, faces: Iterable[tuple[Face, Expression]]) -> Image:
    """A picture of the frame with a box, a label and its probability per face.

    Args:
        frame: the picture; it is not changed.
        faces: pairs, as ``look`` gives them.

    Returns:
        ``uint8[H, W, 3]`` in BGR order.
    """
    if frame.colour is not None:
        picture = frame.colour.copy()
    else:
        picture = np.repeat(frame.luma[:, :, None], 3, axis=2)
    for face, expression in faces:
        _draw(picture, face, expression)
    return picture


def _draw(picture: Image, face: Face, expression: Expression) -> None:
    height, width = picture.shape[:2]
    box = face.box
    colour = _UNKNOWN if expression.label == UNKNOWN else _KNOWN
    x, y, right, below = (round(v) for v in (box.x, box.y, box.x + box.w, box.y + box.h))
    line = max(2, round(box.w / 60))
    cv2.rectangle(picture, (x, y), (right, below), colour, line, cv2.LINE_AA)
    text = expression.label
    if expression.label != UNKNOWN:
        text += f" {100 * expression.probabilities[expression.label]:.0f}%"
    size = float(np.clip(box.w / 170, 0.4, 1.4))
    stroke = max(1, round(size * 1.6))
    (w, h), base = cv2.getTextSize(text, _FONT, size, stroke)
    pad = 3
    left = int(np.clip(x - line // 2, 0, max(0, width - w - 2 * pad)))
    # Above the box where there is room, else just inside its top.
    top = y - h - base - 2 * pad
    top = top if top >= 0 else min(max(y, 0), max(0, height - h - base - 2 * pad))
    bottom = top + h + base + 2 * pad
    cv2.rectangle(picture, (left, top), (left + w + 2 * pad, bottom), colour, -1)
    at = (left + pad, bottom - base - pad)
    cv2.putText(picture, text, at, _FONT, size, _INK, stroke, cv2.LINE_AA)


class AnnotatedVideo:
    """Writes annotated frames to a video file that gets its name only when it is whole.

    Its frame rate is that of the first two frames' times, or 25 where these are no video's.

    Args:
        path: ``.mp4`` (MPEG-4) or ``.avi`` (Motion JPEG).

    Raises:
        ConfigError: another suffix.
        DeviceError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix not in _CODECS:
            raise ConfigError(
                f"{path} is no video that can be written.", f"Use {' or '.join(_CODECS)}."
            )
        if path.is_dir() or not os.access(path.parent, os.W_OK):
            raise DeviceError(f"{path} cannot be written.", "Name a file in a folder of yours.")
        self._path = path
        self._partial = path.with_name(f".{path.stem}.partial{path.suffix}")
        self._first: tuple[Image, int] | None = None
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def __enter__(self) -> Self:
        return self

    def add(self, frame: Frame, faces: Iterable[tuple[Face, Expression]]) -> None:
        """Draw one frame and append it; a frame of another size is scaled to the first one's."""
        picture = annotate(frame, faces)
        if self._writer is None:
            if self._first is None:
                # Kept until the second frame tells the rate.
                self._first, self._size = (picture, frame.t_ns), (frame.width, frame.height)
                return
            self._open(_rate(frame.t_ns - self._first[1]))
        self._write(picture)

    def __exit__(self, kind: object, *rest: object) -> None:
        if self._writer is None and self._first is not None and kind is None:
            self._open(_USUAL_RATE)
        if self._writer is not None:
            self._writer.release()
        try:
            if self._writer is not None and kind is None:
                self._partial.replace(self._path)
        except OSError as err:
            raise DeviceError(
                f"{self._path} could not be written: {err.strerror}.", "Check the disk (df -h)."
            ) from err
        finally:
            self._partial.unlink(missing_ok=True)

    def _open(self, fps: float) -> None:
        code = cv2.VideoWriter.fourcc(*_CODECS[self._path.suffix])
        self._writer = cv2.VideoWriter(str(self._partial), code, fps, self._size)
        if not self._writer.isOpened():
            raise DeviceError(f"{self._path} cannot be written.", "Try an .avi file.")
        if self._first is not None:
            self._write(self._first[0])

    def _write(self, picture: Image) -> None:
        if self._writer is not None:
            if picture.shape[1::-1] != self._size:
                picture = np.asarray(cv2.resize(picture, self._size), np.uint8)
            self._writer.write(picture)


def _rate(apart_ns: int) -> float:
    fps = 1e9 / apart_ns if apart_ns > 0 else 0.0
    return fps if 1.0 <= fps <= 240.0 else _USUAL_RATE


_USUAL_RATE = 25.0
_CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
