"""Reading pictures from files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from edge_fer.errors import ConfigError, DataError
from edge_fer.files import write_bytes
from edge_fer.types import Image

__all__ = [
    "PICTURE_SUFFIXES",
    "bgr_of_planes",
    "decode_luma",
    "decode_picture",
    "luma_of",
    "read_picture",
    "write_picture",
]

PICTURE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp", ".pgm", ".ppm"})


def read_picture(path: Path) -> Image:
    """A picture, upright by its EXIF orientation.

    Returns:
        ``uint8[H, W]`` for a gray file, else ``uint8[H, W, 3]`` in BGR order.

    Raises:
        DataError: missing, not a picture, or cut off.
    """
    try:
        data = np.fromfile(path, np.uint8)
    except OSError as err:
        raise DataError(f"{path} cannot be read ({err.strerror}).", "Check the path.") from err
    try:
        picture = cv2.imdecode(data, cv2.IMREAD_ANYCOLOR) if len(data) else None
    except cv2.error as err:
        raise DataError(f"{path} is not a readable picture ({err.err}).", _REMEDY) from err
    if picture is None:
        raise DataError(f"{path} is not a readable picture.", _REMEDY)
    return np.asarray(picture, np.uint8)


def decode_luma(data: bytes) -> Image | None:
    """``uint8[H, W]`` luma of a picture file's contents; None where they are no picture."""
    return _decode(data, cv2.IMREAD_GRAYSCALE)


def decode_picture(data: bytes) -> Image | None:
    """Pixels of a picture file's contents; None where they are no picture.

    ``uint8[H, W]`` for a gray file, else ``uint8[H, W, 3]`` in BGR order.
    """
    return _decode(data, cv2.IMREAD_ANYCOLOR)


def _decode(data: bytes, flags: int) -> Image | None:
    try:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:  # empty, or a header that lies
        return None
    return None if picture is None else np.asarray(picture, np.uint8)


def luma_of(picture: Image) -> Image:
    """``uint8[H, W]`` luma (BT.601) of a gray or BGR picture; a gray one comes back as it is."""
    if picture.ndim == 2:
        return picture
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)


def bgr_of_planes(planes: Image, width: int, height: int, *, paired: bool = False) -> Image:
    """``uint8[H, W, 3]`` in BGR order from YUV 4:2:0 in full range (JPEG's BT.601).

    OpenCV's own conversions take black for 16 and white for 235.

    Args:
        planes: ``uint8[H * 3 / 2, S]``, as picamera2 gives ``YUV420``: luma, then U and V at half
            the size with rows of S / 2; whatever stands right of the width is padding.
        width: pixels across, even.
        height: pixels down, even.
        paired: U and V alternate in rows of S, as in ``NV12``.
    """
    stride = planes.shape[1]
    if paired:
        halves = planes[height:].reshape(height // 2, stride // 2, 2).transpose(2, 0, 1)
    else:
        halves = planes[height:].reshape(2, height // 2, stride // 2)
    u, v = (
        cv2.resize(np.ascontiguousarray(half[:, : width // 2]), (width, height)) for half in halves
    )
    merged = cv2.merge([planes[:height, :width], v, u])
    return np.asarray(cv2.cvtColor(merged, cv2.COLOR_YCrCb2BGR), np.uint8)


def write_picture(path: Path, picture: Image) -> None:
    """Write a gray or BGR picture atomically; the suffix chooses the format.

    Raises:
        ConfigError: OpenCV cannot write that format.
        DeviceError: the folder is missing, not writable or full.
    """
    try:
        coded = cv2.imencode(path.suffix, picture)[1]
    except cv2.error as err:
        raise ConfigError(f"{path.suffix!r} is no picture format.", "Use .png or .jpg.") from err
    write_bytes(path, coded.tobytes())


_REMEDY = "Use a whole PNG, JPEG, WebP, BMP or PGM file."
