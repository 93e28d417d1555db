"""Bad light, bad optics and things in the way, done to whole pictures ``uint8[H, W]``."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_fer.types import Image

__all__ = ["cover", "shake"]


def cover(picture: Image, box: NDArray[np.float32], rng: np.random.Generator) -> Image:
    """Something over a part of a face: a mask, a hand, a scarf, a cap."""
    x1, y1, x2, y2 = (float(v) for v in box)
    w, h = x2 - x1, y2 - y1
    if rng.random() < 0.6:
        top, bottom = y1 + h * rng.uniform(0.5, 0.7), y2 + h * rng.uniform(-0.05, 0.1)
        left, right = x1 + w * rng.uniform(-0.05, 0.15), x2 - w * rng.uniform(-0.05, 0.15)
    else:
        left = x1 + w * rng.uniform(-0.1, 0.6)
        top = y1 + h * rng.uniform(-0.1, 0.6)
        right, bottom = left + w * rng.uniform(0.2, 0.5), top + h * rng.uniform(0.15, 0.45)
    corners = np.array(
        [[left, top], [right, top], [right - 0.12 * w, bottom], [left + 0.12 * w, bottom]]
    )
    corners += rng.normal(0, 0.04, (4, 2)) * (w, h)
    cv2.fillConvexPoly(picture, np.rint(corners).astype(np.int32), float(rng.integers(20, 250)))
    return picture


def shake(picture: Image, rng: np.random.Generator) -> Image:
    """Light and optics."""
    mean = float(picture.mean())
    gain = float(np.exp(rng.normal(0, 0.2)))
    added = float(rng.normal(0, 16))
    gamma = float(np.exp(rng.normal(0, 0.3)))
    if rng.random() < 0.12:  # a dark room
        gain, added = gain * rng.uniform(0.15, 0.5), -0.4 * mean
    levels = np.clip((np.arange(256) - mean) * gain + mean + added, 0, 255)
    picture = np.asarray(
        cv2.LUT(picture, (255 * (levels / 255) ** gamma).astype(np.uint8)), np.uint8
    )
    chance = rng.random(4)
    if chance[0] < 0.15:  # light from one side
        ramp = np.linspace(rng.uniform(0.4, 1), rng.uniform(0.7, 1.5), picture.shape[1])
        picture = np.clip(picture * ramp[None], 0, 255).astype(np.uint8)
    if chance[1] < 0.2:
        picture = np.asarray(cv2.GaussianBlur(picture, (5, 5), rng.uniform(0.4, 1.8)), np.uint8)
    if chance[2] < 0.2:
        noise = rng.normal(0, rng.uniform(2, 16), picture.shape).astype(np.float32)
        picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
    if chance[3] < 0.15:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(12, 70))]
        coded = cv2.imencode(".jpg", picture, quality)[1]
        picture = np.asarray(cv2.imdecode(coded, cv2.IMREAD_GRAYSCALE), np.uint8)
    return picture
