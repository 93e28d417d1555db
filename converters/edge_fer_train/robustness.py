"""How much a model minds what a detector does to faces: jitter of place, size and roll at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.classifier import softmax
from edge_fer.contract import InputSpec
from edge_fer.preprocess import sample, to_real
from edge_fer.types import Image, Square

__all__ = ["Probabilities", "jitter_loss_points", "jittered", "keras_probabilities"]

Probabilities = Callable[[Image], NDArray[np.float64]]
"""``uint8[N, h, w, c]`` to ``float64[N, C]``, softmax at the temperature of the contract."""

_DRAWS = 3


def jittered(pixels: Image, spec: InputSpec, rng: np.random.Generator) -> Image:
    """Faces as a detector and tracker hand them over: 5 % off, 8 % too large or small, 8° rolled.

    All three at once and in full; direction and signs are drawn for each face.

    Args:
        pixels: ``uint8[N, h, w, c]``.
        spec: the model's input.
        rng: draws.
    """
    side = max(spec.width, spec.height)
    out = np.empty_like(pixels)
    for i, face in enumerate(pixels):
        angle = rng.uniform(0, 2 * np.pi)
        square = Square(
            cx=spec.width / 2 + 0.05 * side * float(np.cos(angle)),
            cy=spec.height / 2 + 0.05 * side * float(np.sin(angle)),
            side=side * 1.08 ** float(rng.choice((-1.0, 1.0))),
            roll_deg=8.0 * float(rng.choice((-1.0, 1.0))),
        )
        out[i] = sample(face, square, spec)
    return out


def jitter_loss_points(
    probabilities: Probabilities,
    pixels: Image,
    truth: NDArray[np.int64],
    spec: InputSpec,
    *,
    seed: int,
) -> float:
    """Top-1 accuracy that :func:`jittered` faces lose, in percentage points, mean of 3 draws."""
    still = float((probabilities(pixels).argmax(axis=1) == truth).mean())
    rng = np.random.default_rng((seed, 2))
    shaken = [
        float((probabilities(jittered(pixels, spec, rng)).argmax(axis=1) == truth).mean())
        for _ in range(_DRAWS)
    ]
    return 100 * (still - float(np.mean(shaken)))


def keras_probabilities(model: Any, spec: InputSpec, temperature: float) -> Probabilities:
    """Asks a Keras model that ends in logits, 256 pictures at a time."""

    def probabilities(pixels: Image) -> NDArray[np.float64]:
        logits = model.predict(to_real(pixels, spec), batch_size=256, verbose=0)
        return softmax(np.asarray(logits) / temperature)

    return probabilities
