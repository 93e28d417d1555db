"""Golden vectors: generated pictures that belong to nobody; the outputs go into the contract.

A device that computes the same, within one step of int8, runs the same model in the same way.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_fer.contract import InputSpec
from edge_fer.types import Image

__all__ = ["golden_pixels"]

# Squares across each picture: smooth blobs of several sizes, at the end noise of single pixels.
_GRIDS = (2, 3, 4, 6, 9, 13, 24, 0)
_SEED = 20_260_131
_MOST_BYTES = 1 << 18  # keeps the contract of a large-input model small


def golden_pixels(spec: InputSpec) -> Image:
    """``uint8[n, height, width, channels]``, the same on every machine; 8, or fewer large ones.

    Integers throughout, from the raw 64-bit words of PCG64 (whose stream numpy guarantees), so
    that no library's rounding can change a pixel.
    """
    size = spec.height * spec.width * spec.channels
    count = max(2, min(len(_GRIDS), _MOST_BYTES // size))
    source = np.random.PCG64(_SEED)
    # The finest and the coarsest first, where not all fit.
    grids = _GRIDS if count == len(_GRIDS) else (_GRIDS[-1], *_GRIDS[: count - 1])
    return np.stack([_picture(spec, grid, source) for grid in grids])


def _picture(spec: InputSpec, grid: int, source: np.random.PCG64) -> Image:
    if grid == 0:
        return _words(source, (spec.height, spec.width, spec.channels)).astype(np.uint8)
    corners = _words(source, (grid + 1, grid + 1, spec.channels))
    down = _blend(corners, spec.height)
    across = _blend(down.transpose(1, 0, 2), spec.width).transpose(1, 0, 2)
    return across.astype(np.uint8)


def _words(source: np.random.PCG64, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Numbers 0 to 255 from the high bits of raw words."""
    raw = source.random_raw(int(np.prod(shape)))
    return (np.asarray(raw, np.uint64) >> np.uint64(56)).astype(np.int64).reshape(shape)


def _blend(values: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Linear interpolation along the first axis to ``length`` samples, in whole numbers."""
    position = np.arange(length, dtype=np.int64) * (len(values) - 1)
    cell, part = position // length, (position % length)[:, None, None]
    return (values[cell] * (length - part) + values[cell + 1] * part) // length
