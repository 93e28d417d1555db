"""Turning a source's pictures upright, once, where the frame is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from edge_fer.pictures import luma_of
from edge_fer.types import Box, Frame, Image

__all__ = ["UPRIGHT", "Orientation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Orientation:
    """First a clockwise turn of ``rotate`` degrees, then left and right swapped if ``mirror``.

    In numpy's words: ``np.rot90(picture, -rotate // 90)``, then ``np.fliplr``.
    """

    rotate: Literal[0, 90, 180, 270] = 0
    mirror: bool = False

    def apply(self, picture: Image) -> Image:
        """Turn ``uint8[H, W]`` or ``uint8[H, W, 3]``; the result is contiguous."""
        turned = np.rot90(picture, -self.rotate // 90) if self.rotate else picture
        if self.mirror:
            turned = turned[:, ::-1]
        return np.ascontiguousarray(turned)

    def apply_box(self, box: Box, width: int, height: int) -> Box:
        """Turn a box of a picture that was ``width`` by ``height`` before the turn."""
        x, y, w, h = box.x, box.y, box.w, box.h
        for _ in range(self.rotate // 90):
            x, y, w, h = height - y - h, x, h, w
            width, height = height, width
        return Box(x=width - x - w if self.mirror else x, y=y, w=w, h=h)

    def frame(self, picture: Image, *, t_ns: int, sequence: int, source: str) -> Frame:
        """The frame of a source's picture, gray ``uint8[H, W]`` or BGR ``uint8[H, W, 3]``."""
        upright = self.apply(picture)
        return Frame(
            luma=luma_of(upright),
            colour=upright if upright.ndim == 3 else None,
            t_ns=t_ns,
            sequence=sequence,
            source=source,
        )


UPRIGHT = Orientation()
