"""What happens to faces in the field, by name and in three strengths: one definition for
training's outliers, the choice of ``unknown`` and the robustness table.

Each takes the model's pixels and gives as many back. The idea of fixed corruptions at fixed
strengths is Hendrycks and Dietterich's (arXiv:1903.12261); these are a kiosk's. Where a part of the
face is covered, the contract's crop convention says where eyes and mouth are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_fer.contract import InputSpec
from edge_fer.preprocess import displaced
from edge_fer.types import Image

__all__ = ["ANY_STRENGTH", "CORRUPTIONS", "STRENGTHS", "Corruption", "corrupt", "noise"]

Floats = NDArray[np.float32]
Corruption = Callable[[Image, float, InputSpec, np.random.Generator], Image]
STRENGTHS = (1, 2, 3)

ANY_STRENGTH = frozenset({"turn_90", "turn_180", "mirror"})
"""Corruptions that are the same at every strength, but for what is drawn."""


def corrupt(
    name: str, strength: float, pixels: Image, spec: InputSpec, rng: np.random.Generator
) -> Image:
    """One corruption of a batch.

    Args:
        name: a key of :data:`CORRUPTIONS`.
        strength: 1, 2 or 3; training uses what lies between, too.
        pixels: ``uint8[N, height, width, channels]``.
        spec: the model's input.
        rng: decides details such as signs and gray levels.

    Returns:
        ``uint8[N, height, width, channels]``.
    """
    how = CORRUPTIONS[name]
    return np.stack([how(one, strength, spec, rng) for one in pixels]).reshape(pixels.shape)


def noise(count: int, spec: InputSpec, rng: np.random.Generator) -> Image:
    """Pictures of nothing: ``uint8[count, height, width, channels]``, from flat to white noise."""
    return np.stack([_nothing(spec, rng) for _ in range(count)])


def _nothing(spec: InputSpec, rng: np.random.Generator) -> Image:
    shape = (spec.height, spec.width, spec.channels)
    kind = rng.integers(4)
    if kind == 0:  # flat, with a sensor's noise
        values = rng.uniform(0, 255) + rng.normal(0, rng.uniform(0, 8), shape)
    elif kind == 1:
        values = rng.uniform(0, 256, shape)
    elif kind == 2:  # smooth blobs
        grain = int(rng.integers(2, max(3, spec.height // 4)))
        coarse = rng.uniform(0, 255, (grain, grain, spec.channels)).astype(np.float32)
        blobs = cv2.resize(coarse, (spec.width, spec.height), interpolation=cv2.INTER_CUBIC)
        values = np.reshape(blobs, shape) + rng.normal(0, rng.uniform(0, 10), shape)
    else:  # a gradient
        ramp_y, ramp_x = np.linspace(-1, 1, spec.height), np.linspace(-1, 1, spec.width)
        slope = rng.uniform(-100, 100, 2)
        values = (128 + slope[0] * ramp_y[:, None] + slope[1] * ramp_x)[:, :, None]
        values = values + rng.normal(0, rng.uniform(0, 10), shape)
    return _levels(values)


def _levels(values: NDArray[np.floating]) -> Image:
    return np.asarray(np.clip(values, 0, 255).astype(np.uint8))


def _brightness(pixels: Image, strength: float, spec: InputSpec, rng: np.random.Generator) -> Image:
    return _levels(pixels + rng.choice((-1.0, 1.0)) * 25.0 * strength)


def _contrast(pixels: Image, strength: float, spec: InputSpec, rng: np.random.Generator) -> Image:
    mean = pixels.mean()
    return _levels((pixels - mean) * 0.6**strength + mean)


def _dark_noise(pixels: Image, strength: float, spec: InputSpec, rng: np.random.Generator) -> Image:
    dim = pixels * 0.55**strength
    return _levels(dim + rng.normal(0, 3.0 * strength, pixels.shape))


def _blur(pixels: Image, strength: float, spec: InputSpec, rng: np.random.Generator) -> Image:
    sigma = 0.7 * strength * spec.width / 48
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.uint8)


def _jpeg(pixels: Image, strength: float, spec: InputSpec, rng: np.random.Generator) -> Image:
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(65 - 19 * strength)]
    coded = cv2.imencode(".jpg", pixels, quality)[1]
    return np.asarray(cv2.imdecode(coded, cv2.IMREAD_UNCHANGED), np.uint8)


def _low_resolution(
    pixels: Image, strength: float, spec: InputSpec, rng: np.random.Generator
) -> Image:
    size = (max(2, int(spec.width * 0.7**strength)), max(2, int(spec.height * 0.7**strength)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    whole = (spec.width, spec.height)
    return np.asarray(cv2.resize(small, whole, interpolation=cv2.INTER_LINEAR), np.uint8)


def _covered_mouth(
    pixels: Image, strength: float, spec: InputSpec, rng: np.random.Generator
) -> Image:
    """A mask: from below the eyes (stronger: higher) down over the chin, narrowing, shaded."""
    (x, y), eyes = spec.crop.eye_midpoint, spec.crop.eye_distance
    top = y + eyes * (0.85 - 0.15 * strength) + rng.uniform(-0.03, 0.03)
    half = eyes * rng.uniform(1.0, 1.25)
    corners = [
        (x - half, top + rng.uniform(0, 0.1)),
        (x, top - rng.uniform(0, 0.08)),
        (x + half, top + rng.uniform(0, 0.1)),
        (x + half * 0.8, 0.9),
        (x, 1.05),
        (x - half * 0.8, 0.9),
    ]
    level = rng.uniform(20, 245)
    shade = np.linspace(rng.uniform(-25, 25), rng.uniform(-25, 25), spec.height)[:, None, None]
    cloth = level + shade + rng.normal(0, rng.uniform(0, 6), pixels.shape)
    return _paint(pixels, _polygon(corners, spec), cloth)


def _dark_glasses(
    pixels: Image, strength: float, spec: InputSpec, rng: np.random.Generator
) -> Image:
    (x, y), eyes = spec.crop.eye_midpoint, spec.crop.eye_distance
    size = (spec.width, spec.height)
    cover = np.zeros((spec.height, spec.width), np.float32)
    radius = eyes * (0.22 + 0.07 * strength)
    for side in (-0.5, 0.5):
        centre = (int((x + side * eyes) * size[0]), int((y + 0.02) * size[1]))
        axes = (round(radius * size[0]), round(radius * 0.8 * size[1]))
        cv2.ellipse(cover, centre, axes, 0, 0, 360, 1.0, -1)
    bridge = [(x - eyes / 2, y - 0.02), (x + eyes / 2, y - 0.02), (x + eyes / 2, y + 0.02)]
    cover = np.maximum(cover, _polygon([*bridge, (x - eyes / 2, y + 0.02)], spec))
    glass = rng.uniform(0, 50) + rng.normal(0, 4, pixels.shape)
    return _paint(pixels, cover, glass)


def _roll(pixels: Image, strength: float, spec: InputSpec, rng: np.random.Generator) -> Image:
    return displaced(pixels, spec, roll_deg=float(rng.choice((-1.0, 1.0)) * 9.0 * strength))


def _turn_90(pixels: Image, strength: float, spec: InputSpec, rng: np.random.Generator) -> Image:
    quarters = int(rng.choice((1, 3)))
    if spec.height != spec.width:
        return displaced(pixels, spec, roll_deg=90.0 * quarters)
    return np.ascontiguousarray(np.rot90(pixels, quarters))


def _turn_180(pixels: Image, strength: float, spec: InputSpec, rng: np.random.Generator) -> Image:
    return np.ascontiguousarray(np.rot90(pixels, 2))


def _mirror(pixels: Image, strength: float, spec: InputSpec, rng: np.random.Generator) -> Image:
    return np.ascontiguousarray(pixels[:, ::-1])


def _crop_error(pixels: Image, strength: float, spec: InputSpec, rng: np.random.Generator) -> Image:
    """Shifted by 5 % of the side and 8 % too large or small, per strength."""
    angle = rng.uniform(0, 2 * np.pi)
    return displaced(
        pixels,
        spec,
        shift=(0.05 * strength * np.cos(angle), 0.05 * strength * np.sin(angle)),
        zoom=1.08 ** (strength * rng.choice((-1.0, 1.0))),
    )


def _polygon(corners: list[tuple[float, float]], spec: InputSpec) -> Floats:
    """``float32[height, width]``, 1 inside; corners are fractions of the side."""
    cover = np.zeros((spec.height, spec.width), np.float32)
    points = np.array(corners) * (spec.width, spec.height)
    cv2.fillPoly(cover, [np.rint(points).astype(np.int32)], (1.0,))
    return cover


def _paint(pixels: Image, cover: Floats, colour: NDArray[np.floating]) -> Image:
    soft = cv2.GaussianBlur(cover, (3, 3), 0)[:, :, None]
    return _levels(pixels * (1 - soft) + colour * soft)


CORRUPTIONS: Mapping[str, Corruption] = MappingProxyType(
    {
        "brightness": _brightness,
        "contrast": _contrast,
        "dark_noise": _dark_noise,
        "blur": _blur,
        "jpeg": _jpeg,
        "low_resolution": _low_resolution,
        "covered_mouth": _covered_mouth,
        "dark_glasses": _dark_glasses,
        "roll": _roll,
        "turn_90": _turn_90,
        "turn_180": _turn_180,
        "mirror": _mirror,
        "crop_error": _crop_error,
    }
)
