"""Pictures that are copies but for scaling, compression or brightness: a perceptual hash.

The signs of the lowest cosine frequencies against their median (pHash; Zauner, "Implementation and
Benchmarking of Perceptual Image Hash Functions", 2010), 64 bits. Whole numbers throughout, so that
every machine finds the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import cv2
import numpy as np

from edge_fer.types import Image

__all__ = ["DISTANCE", "NearCopies", "luma", "perceptual_hashes"]

DISTANCE = 2  # bits of 64 in which near copies may differ

_SIDE, _LOW = 32, 8
_COSINES = np.array(
    [
        [round(1024 * math.cos(math.pi * k * (2 * x + 1) / (2 * _SIDE))) for x in range(_SIDE)]
        for k in range(_LOW)
    ],
    np.float64,
)
# Two bits can spoil two of three parts; the third one is equal, and finds the copy.
_PARTS = ((0, 22), (22, 21), (43, 21))


class NearCopies:
    """Pictures to stay away from, by :func:`perceptual_hashes`."""

    def __init__(self, hashes: Iterable[int]) -> None:
        self._by_part: list[dict[int, set[int]]] = [{} for _ in _PARTS]
        for value in hashes:
            for known, part in zip(self._by_part, _parts(value), strict=True):
                known.setdefault(part, set()).add(value)

    def __contains__(self, value: int) -> bool:
        """Is a picture of this hash near to one of them?"""
        return any(
            (value ^ other).bit_count() <= DISTANCE
            for known, part in zip(self._by_part, _parts(value), strict=True)
            for other in known.get(part, ())
        )


def perceptual_hashes(pictures: Sequence[Image]) -> list[int]:
    """Of each picture ``uint8[H, W]`` luma, any size; 64 bits."""
    if not pictures:
        return []
    small = np.stack(
        [cv2.resize(p, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for p in pictures]
    )
    waves = (_COSINES @ small.astype(np.float64) @ _COSINES.T).reshape(len(small), -1)
    middle = np.median(waves[:, 1:], axis=1, keepdims=True)  # 63 of them: it is one of them
    packed = np.packbits(waves > middle, axis=1)
    return [int.from_bytes(row.tobytes(), "big") for row in packed]


def luma(pixels: Image) -> Image:
    """``uint8[H, W]`` of a model's pixels, ``uint8[H, W, 1]`` or RGB ``uint8[H, W, 3]``."""
    if pixels.shape[2] == 1:
        return pixels[:, :, 0]
    return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), np.uint8)


def _parts(value: int) -> list[int]:
    return [value >> start & (1 << bits) - 1 for start, bits in _PARTS]
