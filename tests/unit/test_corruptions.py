"""What the field does to faces: shapes, strengths, and that nothing else changes."""

import numpy as np
import pytest

from edge_fer.contract import InputSpec
from edge_fer.evaluation.corruptions import ANY_STRENGTH, CORRUPTIONS, STRENGTHS, corrupt, noise
from edge_fer.types import Image

GRAY = InputSpec(height=48, width=48, channels=1, colour="gray", scale=(1 / 255,), offset=(0.0,))
RGB = InputSpec(
    height=64, width=56, channels=3, colour="rgb", scale=(1 / 255,) * 3, offset=(0.0,) * 3
)
SQUARE_RGB = RGB.model_copy(update={"width": 64})


def faces(spec: InputSpec, n: int = 3) -> Image:
    rng = np.random.default_rng(3)
    y, x = np.mgrid[: spec.height, : spec.width]
    smooth = 90 + 60 * np.sin(x / 7)[..., None] * np.cos(y / 9)[..., None]
    pixels = smooth + rng.normal(0, 6, (n, spec.height, spec.width, spec.channels))
    return np.asarray(np.clip(pixels, 0, 255).astype(np.uint8))


@pytest.mark.parametrize("spec", [GRAY, SQUARE_RGB, RGB], ids=["gray", "rgb", "not square"])
@pytest.mark.parametrize("name", sorted(CORRUPTIONS))
def test_every_corruption_keeps_the_shape_and_changes_the_face(name: str, spec: InputSpec) -> None:
    pixels = faces(spec)
    for strength in STRENGTHS:
        out = corrupt(name, strength, pixels, spec, np.random.default_rng(0))
        assert out.shape == pixels.shape
        assert out.dtype == np.uint8
        assert (out != pixels).any()
        again = corrupt(name, strength, pixels, spec, np.random.default_rng(0))
        assert (out == again).all()


@pytest.mark.parametrize(
    "name",
    ["brightness", "contrast", "dark_noise", "blur", "jpeg", "low_resolution", "covered_mouth",
     "dark_glasses", "roll"],
)  # fmt: skip
def test_stronger_is_further_from_the_face(name: str) -> None:
    pixels = faces(GRAY, 8).astype(float)
    distance = [
        np.abs(corrupt(name, s, pixels.astype(np.uint8), GRAY, np.random.default_rng(1)) - pixels)
        for s in STRENGTHS
    ]
    means = [float(d.mean()) for d in distance]
    assert means == sorted(means)
    assert means[0] < means[-1]


@pytest.mark.parametrize("name", sorted(CORRUPTIONS))
def test_those_of_any_strength_are_the_same_at_every_one(name: str) -> None:
    weak, strong = (corrupt(name, s, faces(GRAY), GRAY, np.random.default_rng(4)) for s in (1, 3))
    assert (name in ANY_STRENGTH) is bool((weak == strong).all())


def test_turning_and_mirroring_twice_gives_the_face_back() -> None:
    pixels, rng = faces(GRAY), np.random.default_rng(0)
    for name in ("turn_180", "mirror"):
        once = corrupt(name, 1, pixels, GRAY, rng)
        assert (corrupt(name, 1, once, GRAY, rng) == pixels).all()


def test_what_covers_the_mouth_leaves_the_eyes_and_glasses_leave_the_mouth() -> None:
    pixels = faces(GRAY)
    (_, eyes), rng = GRAY.crop.eye_midpoint, np.random.default_rng(0)
    eye_row, mouth_row = int(eyes * 48), int(0.78 * 48)
    for _ in range(10):
        masked = corrupt("covered_mouth", 1, pixels, GRAY, rng)
        assert (masked[:, : eye_row + 2] == pixels[:, : eye_row + 2]).all()
        assert (masked[:, mouth_row, 20:28] != pixels[:, mouth_row, 20:28]).any()
        shaded = corrupt("dark_glasses", 3, pixels, GRAY, rng)
        assert (shaded[:, mouth_row:] == pixels[:, mouth_row:]).all()
        assert shaded[:, eye_row, 15].max() < 80


def test_noise_is_many_kinds_of_nothing() -> None:
    made = noise(40, SQUARE_RGB, np.random.default_rng(0))
    assert made.shape == (40, 64, 64, 3)
    assert made.dtype == np.uint8
    spread = made.reshape(40, -1).std(axis=1)
    assert spread.min() < 10
    assert spread.max() > 60
