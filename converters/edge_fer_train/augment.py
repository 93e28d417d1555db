"""What happens to faces in front of a kiosk, done to training faces: crop error, turned heads,
bad light, blur, low resolution, JPEG and things in the way.

Geometry goes through :func:`edge_fer.preprocess.displaced`, so that a jittered training face is
resampled by the very code that crops faces on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edge_fer.contract import InputSpec
from edge_fer.preprocess import coloured, displaced
from edge_fer.types import Image

__all__ = ["Augmentation"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Augmentation:
    """How hard to shake; fractions of the side, degrees, probabilities.

    Attributes:
        zoom: side times ``exp(uniform(-zoom, zoom))``.
        shift: centre moved by up to this fraction of the side.
        roll_deg: turned by up to this.
        contrast: gain about the mean, ``exp(uniform(-contrast, contrast))``.
        brightness: gray levels added, up to this.
        gamma: exponent ``exp(uniform(-gamma, gamma))``.
        blur, low_resolution, jpeg, noise, occlusion: probability of each.
    """

    zoom: float = 0.17
    shift: float = 0.09
    roll_deg: float = 18.0
    contrast: float = 0.45
    brightness: float = 40.0
    gamma: float = 0.4
    blur: float = 0.15
    low_resolution: float = 0.1
    jpeg: float = 0.1
    noise: float = 0.1
    occlusion: float = 0.25

    def batch(self, images: Sequence[Image], spec: InputSpec, rng: np.random.Generator) -> Image:
        """``uint8[N, height, width, channels]``, one shaken copy of each picture."""
        return np.stack([self.one(image, spec, rng) for image in images])

    def one(self, image: Image, spec: InputSpec, rng: np.random.Generator) -> Image:
        """One shaken copy: ``uint8[height, width, channels]``."""
        if rng.random() < 0.5:
            image = np.ascontiguousarray(image[:, ::-1])
        pixels = displaced(
            coloured(image, spec),
            spec,
            shift=(rng.uniform(-self.shift, self.shift), rng.uniform(-self.shift, self.shift)),
            zoom=float(np.exp(rng.uniform(-self.zoom, self.zoom))),
            roll_deg=rng.uniform(-self.roll_deg, self.roll_deg),
        )
        pixels = self._light(pixels, rng)
        pixels = self._optics(pixels, rng)
        if rng.random() < self.occlusion:
            pixels = _occlude(pixels, rng)
        return pixels.reshape(spec.height, spec.width, spec.channels)

    def _light(self, pixels: Image, rng: np.random.Generator) -> Image:
        gain = np.exp(rng.uniform(-self.contrast, self.contrast))
        added = rng.uniform(-self.brightness, self.brightness)
        gamma = np.exp(rng.uniform(-self.gamma, self.gamma))
        mean = float(pixels.mean())
        levels = (np.arange(256) - mean) * gain + mean + added
        table = 255 * (np.clip(levels, 0, 255) / 255) ** gamma
        return np.asarray(cv2.LUT(pixels, table.astype(np.uint8)), np.uint8)

    def _optics(self, pixels: Image, rng: np.random.Generator) -> Image:
        if rng.random() < self.low_resolution:
            height, width = pixels.shape[:2]
            small = int(rng.integers(height // 3, height))
            pixels = np.asarray(
                cv2.resize(
                    cv2.resize(pixels, (small, small), interpolation=cv2.INTER_AREA),
                    (width, height),
                    interpolation=cv2.INTER_LINEAR,
                ),
                np.uint8,
            )
        if rng.random() < self.blur:
            pixels = np.asarray(cv2.GaussianBlur(pixels, (5, 5), rng.uniform(0.3, 1.3)), np.uint8)
        if rng.random() < self.noise:
            noisy = pixels + rng.normal(0, rng.uniform(2, 14), pixels.shape)
            pixels = np.clip(noisy, 0, 255).astype(np.uint8)
        if rng.random() < self.jpeg:
            quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 70))]
            coded = cv2.imencode(".jpg", pixels, quality)[1]
            pixels = np.asarray(cv2.imdecode(coded, cv2.IMREAD_UNCHANGED), np.uint8)
        return pixels


def _occlude(pixels: Image, rng: np.random.Generator) -> Image:
    """A flat or noisy rectangle of 4 to 20 % of the area (random erasing, arXiv:1708.04896)."""
    height, width = pixels.shape[:2]
    area = rng.uniform(0.04, 0.2) * height * width
    ratio = float(np.exp(rng.uniform(-1, 1)))
    h = int(min(height, max(1, round((area * ratio) ** 0.5))))
    w = int(min(width, max(1, round((area / ratio) ** 0.5))))
    y, x = int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1))
    covered = pixels.copy()
    region = covered[y : y + h, x : x + w]
    if rng.random() < 0.5:
        region[...] = rng.integers(0, 256)
    else:
        region[...] = rng.integers(0, 256, region.shape)
    return covered
