"""How a crop goes into a picture: where OpenCV puts it, how much of it shows, in what light."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_fer.types import Image

__all__ = ["light_of", "of_centres", "stencil"]


def of_centres(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """A map of places as OpenCV takes it: its places are those of pixel centres, half a pixel off.

    Without this a mirrored picture lies up to two pixels beside its labels.
    """
    half = np.array([0.5, 0.5])
    return np.column_stack([matrix[:, :2], matrix[:, 2] + matrix[:, :2] @ half - half])


def stencil(
    size: int, square: tuple[float, float, float], inner: bool, rng: np.random.Generator
) -> NDArray[np.float32]:
    """How much of the crop shows, ``float32[size, size]``: an ellipse or a square, feathered."""
    y, x = np.mgrid[:size, :size].astype(np.float32) / size + 0.5 / size
    mx, my, side = square
    if inner or rng.random() < 0.45:
        wide, high = (0.40, 0.50) if inner else (0.45, 0.56)
        far = np.hypot((x - mx) / (wide * side), (y - my - 0.03 * side) / (high * side))
        soft = rng.uniform(0.08, 0.3)
        return np.asarray(((1 + soft / 2 - far) / soft).clip(0, 1), np.float32)
    edge = np.minimum(np.minimum(x, 1 - x), np.minimum(y, 1 - y))
    soft = rng.uniform(0.02, 0.2)
    return np.asarray((edge / soft).clip(0, 1), np.float32)


def light_of(region: Image, new: Image, rng: np.random.Generator) -> tuple[float, float]:
    """Gain and offset that bring a face part of the way to the light of where it goes."""
    share = rng.uniform(0, 0.9)
    have, want = float(new.std()) + 1, float(region.std()) + 1
    gain = 1 + share * (min(max(want / have, 0.5), 1.6) - 1)
    mean = float(new.mean())
    return gain, (1 - gain) * mean + share * 0.8 * (float(region.mean()) - mean)
