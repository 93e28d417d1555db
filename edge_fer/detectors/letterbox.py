"""How a picture becomes a detector's input, and how a place in the input is found again in the
picture: the only definition, used by training, calibration, runtime and evaluation.

The picture, or a region of it, is scaled by one factor to fit, stands in the middle, and has black
around it. Quantising is :func:`edge_fer.preprocess.quantise`, as for every other model.

Places are measured as everywhere in edge-fer: (0, 0) is the top-left corner of the top-left pixel.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_fer.contract import InputSpec
from edge_fer.errors import DataError
from edge_fer.preprocess import plane
from edge_fer.types import Box, Frame, Image

__all__ = ["Placement", "letterbox", "place", "shrunk"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Which pixels of the frame went where in the input.

    Attributes:
        source: (x, y, width, height) of the frame's pixels that can be seen; no area where the
            region lies outside the frame.
        target: (x, y, width, height) that they take up in the input.
    """

    source: tuple[int, int, int, int]
    target: tuple[int, int, int, int]

    @property
    def scale(self) -> tuple[float, float]:
        """Pixels of the input per pixel of the frame, across and down.

        They differ by less than a pixel over the picture's width: sizes are whole pixels. Both
        are 1 where nothing can be seen.
        """
        across, down = self.source[2:]
        return (self.target[2] / across if across else 1.0, self.target[3] / down if down else 1.0)

    def to_frame(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """``[..., 2]`` points (x, y) of the input, in pixels of the frame."""
        return (points - np.array(self.target[:2], np.float64)) / self.scale + self.source[:2]

    def to_input(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """``[..., 2]`` points (x, y) of the frame, in pixels of the input."""
        return (points - np.array(self.source[:2], np.float64)) * self.scale + self.target[:2]


def letterbox(frame: Frame, spec: InputSpec, region: Box | None = None) -> tuple[Image, Placement]:
    """A frame, or a region of it, as a detector's input.

    Args:
        frame: the picture.
        spec: the model's input.
        region: in pixels of the frame, rounded to whole ones; what sticks out of the frame is
            black. None for the whole frame.

    Returns:
        ``uint8[height, width, channels]``, and where things went.

    Raises:
        DataError: the region has no area, or is not made of numbers.
    """
    placement = place(frame, spec, region)
    pixels = np.zeros((spec.height, spec.width, spec.channels), np.uint8)
    x, y, w, h = placement.target
    if w and h:
        # Scaled in the frame's own colours and turned into the model's afterwards: fewer pixels.
        left, top, across, down = placement.source
        seen = (slice(top, top + down), slice(left, left + across))
        luma, colour = frame.luma, frame.colour if spec.colour == "rgb" else None
        if colour is None:
            own = _of_camera(frame, (w, h)) if region is None else None
            luma = shrunk(luma[seen] if own is None else own, (w, h), spec.interpolation)
        else:
            colour = shrunk(colour[seen], (w, h), spec.interpolation)
        small = replace(frame, luma=luma, colour=colour)
        pixels[y : y + h, x : x + w] = plane(small, spec).reshape(h, w, spec.channels)
    return pixels, placement


def place(frame: Frame, spec: InputSpec, region: Box | None = None) -> Placement:
    """Where :func:`letterbox` puts a frame or a region of it.

    Raises:
        DataError: the region has no area, or is not made of numbers.
    """
    x1, y1, x2, y2 = (0, 0, frame.width, frame.height) if region is None else _whole(region, frame)
    scale = min(spec.width / (x2 - x1), spec.height / (y2 - y1))
    # A strip of a few pixels would round to nothing.
    wide, high = max(1, round((x2 - x1) * scale)), max(1, round((y2 - y1) * scale))
    left, top = (spec.width - wide) // 2, (spec.height - high) // 2
    halves = spec.interpolation == "area" and spec.colour == "gray"
    step = _block(1 / scale) if halves else 1
    sx1, sx2, tx1, tx2 = _visible(x1, x2, frame.width, left, wide, step)
    sy1, sy2, ty1, ty2 = _visible(y1, y2, frame.height, top, high, step)
    return Placement(
        source=(sx1, sy1, sx2 - sx1, sy2 - sy1), target=(tx1, ty1, tx2 - tx1, ty2 - ty1)
    )


def shrunk(image: Image, size: tuple[int, int], interpolation: str = "area") -> Image:
    """A picture at another (width, height); the same object where it has that size.

    ``area`` averages. Colour is averaged exactly. Luma is halved, each pixel the mean of four, as
    often as it stays large enough and its size allows it, and linear for what is left, so that
    every pixel counts: exact averaging over parts of pixels takes ten times as long, half of a
    frame's time. Our own net finds as much so; BlazeFace in int8 loses a point by it (measured on
    AP50). ``linear`` is linear at once.
    """
    while interpolation == "area" and image.ndim == 2:
        height, width = image.shape[:2]
        if width % 2 or height % 2 or width < 2 * size[0] or height < 2 * size[1]:
            break
        halves = (width // 2, height // 2)
        image = np.asarray(cv2.resize(image, halves, interpolation=cv2.INTER_AREA), np.uint8)
    height, width = image.shape[:2]
    if (width, height) == size:
        return image
    # Luma of which more than half is to go, and which cannot be halved, is averaged exactly, too.
    least = 1 if image.ndim == 3 else 2
    averaged = interpolation == "area" and min(width / size[0], height / size[1]) >= least
    how = cv2.INTER_AREA if averaged else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, size, interpolation=how), np.uint8)


def _block(shrinks: float) -> int:
    """The largest power of two that a picture which shrinks so many times is averaged over."""
    return 1 << int(math.log2(shrinks)) if shrinks >= 2 else 1


def _of_camera(frame: Frame, size: tuple[int, int]) -> Image | None:
    """The camera's own small picture, where it shows the whole frame in at least that size."""
    if frame.lores is None or not frame.luma.size:
        return None
    height, width = frame.lores.shape
    whole = abs(width * frame.height / (height * frame.width) - 1) < 0.02
    return frame.lores if whole and width >= size[0] and height >= size[1] else None


def _whole(region: Box, frame: Frame) -> tuple[int, int, int, int]:
    """Corners (left, top, right, bottom) in whole pixels, at least one pixel each way."""
    edges = (region.x, region.y, region.x + region.w, region.y + region.h)
    if not (all(map(math.isfinite, edges)) and region.w > 0 and region.h > 0):
        raise DataError(
            f"There is nothing to look at in {region} of {frame.source}.",
            "Give a region with a width and a height above 0.",
        )
    x1, y1 = round(edges[0]), round(edges[1])
    return x1, y1, max(x1 + 1, round(edges[2])), max(y1 + 1, round(edges[3]))


def _visible(
    begin: int, end: int, limit: int, offset: int, length: int, step: int
) -> tuple[int, int, int, int]:
    """Along one axis: the pixels of begin..end that lie in 0..limit, and where they come to lie.

    begin..end as a whole takes up ``length`` pixels from ``offset``; what can be seen of it keeps
    at least one, and ends with a whole block of ``step`` where there is one.
    """
    first, last = min(max(begin, 0), limit), max(min(end, limit), 0)
    if first >= last:
        return 0, 0, offset, offset
    last = max(last - (last - first) % step, min(last, first + step))
    scale = length / (end - begin)
    low = min(round((first - begin) * scale), length - 1)
    high = max(low + 1, round((last - begin) * scale))
    return first, last, offset + low, offset + high
