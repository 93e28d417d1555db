"""Crop, de-roll, resize, quantise: the only definition, used by training, calibration,
runtime and benchmark, so that all four see the same pixels.

The way of a face is ``Frame`` and ``Square`` -> :func:`crop` -> ``uint8[h, w, c]`` ->
:func:`quantise` (or :func:`to_real` for a float model) -> the backend.

The crop convention is FER2013's, measured on its faces: the eyes lie 0.354 of the side apart,
their midpoint at (0.496, 0.386). A detector gives its square in that convention
(``Detector.face_square``); :func:`compose` carries it over to the model's own, which stands in
its contract.
"""

from __future__ import annotations

import math
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_fer.contract import CropConvention, InputSpec, TensorQuantisation
from edge_fer.types import Frame, Image, Square

__all__ = [
    "FER2013_CROP",
    "coloured",
    "compose",
    "crop",
    "displaced",
    "fit",
    "plane",
    "quantise",
    "sample",
    "to_real",
]

FER2013_CROP = CropConvention()


def plane(frame: Frame, spec: InputSpec) -> Image:
    """The picture of a frame that the model wants: luma ``uint8[H, W]``, or RGB ``uint8[H, W, 3]``.

    A frame without colour gives its luma three times.
    """
    if spec.colour == "gray":
        return frame.luma
    if frame.colour is None:
        return _three(frame.luma)
    return np.asarray(cv2.cvtColor(frame.colour, cv2.COLOR_BGR2RGB), np.uint8)


def compose(square: Square, spec: InputSpec) -> Square:
    """A detector's square (FER2013's convention) in the model's convention.

    Both squares put the eyes in the same place of the picture. Roll below the contract's
    ``roll_limit_deg`` is left in: undoing small angles costs more than it gains.
    """
    ours, theirs = FER2013_CROP, spec.crop
    side = square.side * ours.eye_distance / theirs.eye_distance
    dx = (ours.eye_midpoint[0] - 0.5) * square.side - (theirs.eye_midpoint[0] - 0.5) * side
    dy = (ours.eye_midpoint[1] - 0.5) * square.side - (theirs.eye_midpoint[1] - 0.5) * side
    roll = square.roll_deg if abs(square.roll_deg) > theirs.roll_limit_deg else 0.0
    turn = math.radians(roll)
    cos, sin = math.cos(turn), math.sin(turn)
    return Square(
        cx=square.cx + cos * dx - sin * dy,
        cy=square.cy + sin * dx + cos * dy,
        side=side,
        roll_deg=roll,
    )


def sample(image: Image, square: Square, spec: InputSpec) -> Image:
    """The pixels under a square, scaled to the model's input.

    Sub-pixel exact, border replicated outside the picture. Where the square is larger than the
    input, ``interpolation = "area"`` first samples at the nearest whole multiple of the input size
    and then averages, so that little aliases: no sample is more than 1.5 pixels from the next.

    Args:
        image: ``uint8[H, W]`` or ``uint8[H, W, 3]``, in the model's colour order.
        square: the region, in the model's crop convention.
        spec: the model's input.

    Returns:
        ``uint8[height, width, channels]``.
    """
    height, width = spec.height, spec.width
    over = max(1, round(square.side / max(height, width))) if spec.interpolation == "area" else 1
    turn = math.radians(square.roll_deg)
    cos, sin = math.cos(turn), math.sin(turn)
    # Pixel centres: output (u, v) looks at the square's point ((u + .5)/w - .5, (v + .5)/h - .5).
    sx, sy = square.side / (width * over), square.side / (height * over)
    u0, v0 = (0.5 - width * over / 2) * sx, (0.5 - height * over / 2) * sy
    to_source = np.array(
        [
            [cos * sx, -sin * sy, square.cx - 0.5 + cos * u0 - sin * v0],
            [sin * sx, cos * sy, square.cy - 0.5 + sin * u0 + cos * v0],
        ]
    )
    pixels = cv2.warpAffine(
        image,
        to_source,
        (width * over, height * over),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REPLICATE,
    )
    if over > 1:
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(pixels, np.uint8).reshape(height, width, spec.channels)


def crop(frame: Frame, square: Square, spec: InputSpec) -> Image:
    """The model's view of a face: ``uint8[height, width, channels]``.

    Args:
        frame: the picture.
        square: what ``Detector.face_square`` gave for the face.
        spec: the model's input, from its contract.
    """
    return sample(plane(frame, spec), compose(square, spec), spec)


def fit(image: Image, spec: InputSpec) -> Image:
    """A picture that already is a face crop (a data-set row), as the model's input pixels.

    Args:
        image: ``uint8[H, W]`` luma or ``uint8[H, W, 3]`` RGB; its longer side spans the square.
        spec: the model's input.

    Returns:
        ``uint8[height, width, channels]``; a row of the right size and colour comes back unchanged.
    """
    return displaced(coloured(image, spec), spec)


def displaced(
    image: Image,
    spec: InputSpec,
    *,
    shift: tuple[float, float] = (0.0, 0.0),
    zoom: float = 1.0,
    roll_deg: float = 0.0,
) -> Image:
    """What the model sees where the crop of a face is off; as it is without options.

    Args:
        image: a face crop in the model's colours; its longer side spans the square.
        spec: the model's input.
        shift: of the square's centre, in fractions of its side.
        zoom: of the square's side.
        roll_deg: of the square.

    Returns:
        ``uint8[height, width, channels]``.
    """
    height, width = image.shape[:2]
    side = max(height, width)
    square = Square(
        cx=width / 2 + side * shift[0],
        cy=height / 2 + side * shift[1],
        side=side * zoom,
        roll_deg=roll_deg,
    )
    return sample(image, square, spec)


def coloured(image: Image, spec: InputSpec) -> Image:
    """``uint8[H, W]`` luma or ``uint8[H, W, 3]`` RGB, whichever the model takes, from either."""
    if spec.colour == "gray" and image.ndim == 3:
        return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
    return _three(image) if spec.colour == "rgb" and image.ndim == 2 else image


def to_real(pixels: Image, spec: InputSpec) -> NDArray[np.float32]:
    """What the float model takes: ``uint8 * scale + offset`` per channel, as ``float32``."""
    scale, offset = np.array(spec.scale, np.float32), np.array(spec.offset, np.float32)
    return np.asarray(pixels.astype(np.float32) * scale + offset, np.float32)


def quantise(pixels: Image, spec: InputSpec, tensor: TensorQuantisation) -> NDArray[np.int8]:
    """What the int8 model takes: ``round(real / scale) + zero_point``, saturated, same shape.

    One 256-entry table per channel; with the input pinned to 0..255 it is just ``uint8 - 128``.
    """
    if pixels.size == 0:
        return np.empty(pixels.shape, np.int8)
    # One long row: OpenCV takes pictures and no stacks of them, and is ten times numpy's speed.
    row = np.ascontiguousarray(pixels).reshape(1, -1, spec.channels)
    return np.asarray(cv2.LUT(row, _table(spec, tensor)[None]), np.int8).reshape(pixels.shape)


# One per model in use: making the table takes longer than using it.
@lru_cache(maxsize=16)
def _table(spec: InputSpec, tensor: TensorQuantisation) -> NDArray[np.int8]:
    """``int8[256, channels]``: what each gray level becomes."""
    levels = np.repeat(np.arange(256, dtype=np.uint8)[:, None], spec.channels, axis=1)
    real = to_real(levels, spec).astype(np.float64)
    table = np.clip(np.rint(real / tensor.scale) + tensor.zero_point, -128, 127).astype(np.int8)
    table.flags.writeable = False
    return np.asarray(table)


def _three(luma: Image) -> Image:
    return np.repeat(luma[:, :, None], 3, axis=2)
