"""Measures of a crop: each answers to what it is named after, and to nothing else."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_fer.errors import DataError
from edge_fer.quality import measure


def texture(seed: int = 0, low: float = 60, high: float = 180) -> np.ndarray:
    """A smooth random picture, ``uint8[48, 48, 1]``, levels from low to high."""
    rng = np.random.default_rng(seed)
    smooth = cv2.resize(rng.uniform(0, 1, (12, 12)), (48, 48), interpolation=cv2.INTER_CUBIC)
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return np.rint(low + (high - low) * smooth).astype(np.uint8)[:, :, None]


def test_brightness_and_contrast_are_mean_and_deviation_of_the_luma() -> None:
    face = texture()
    found = measure(face)
    assert found.brightness == pytest.approx(face.mean())
    assert found.contrast == pytest.approx(face.std())


def test_a_flat_picture_has_nothing() -> None:
    found = measure(np.full((48, 48, 1), 77, np.uint8))
    assert (found.brightness, found.contrast, found.sharpness, found.noise) == (77, 0, 0, 0)


def test_a_plane_has_contrast_and_nothing_else_up_to_its_border() -> None:
    y, x = np.mgrid[:48, :48]
    found = measure((2 * y + 3 * x).astype(np.uint8)[:, :, None])
    assert found.contrast > 40
    assert (found.sharpness, found.noise) == (0, 0)
    y, x = np.mgrid[:16, :16]
    twisted = measure((y * x).astype(np.uint8)[:, :, None])
    assert (twisted.sharpness, twisted.noise) == (0, 0)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1000), st.floats(0.2, 1.0), st.floats(0, 50))
def test_contrast_and_brightness_are_no_sharpness(seed: int, gain: float, offset: float) -> None:
    face = texture(seed, 0, 200)
    dim = np.rint(face * gain + offset).astype(np.uint8)
    assert measure(dim).sharpness == pytest.approx(measure(face).sharpness, rel=0.04)
    assert measure(dim).contrast == pytest.approx(gain * measure(face).contrast, rel=0.02)


def test_the_more_blur_the_less_sharp() -> None:
    rng = np.random.default_rng(1)
    face = np.clip(texture().astype(float) + rng.normal(0, 20, (48, 48, 1)), 0, 255)
    face = face.astype(np.uint8)
    blurred = [cv2.GaussianBlur(face, (0, 0), s)[:, :, None] for s in (0.5, 1.0, 2.0, 4.0)]
    found = [measure(f).sharpness for f in (face, *blurred)]
    assert found == sorted(found, reverse=True)
    assert found[0] > 3 * found[3]


def test_white_noise_is_as_sharp_as_can_be() -> None:
    picture = np.random.default_rng(0).normal(128, 20, (200, 200, 1))
    assert measure(np.rint(picture).astype(np.uint8)).sharpness == pytest.approx(20**0.5, rel=0.03)


@pytest.mark.parametrize("sigma", [3.0, 8.0, 20.0])
def test_the_noise_is_found_again(sigma: float) -> None:
    ramp = np.linspace(80, 170, 128)[:, None] + np.linspace(-20, 20, 128)  # a plane has none
    noisy = ramp + np.random.default_rng(2).normal(0, sigma, ramp.shape)
    found = measure(np.clip(np.rint(noisy), 0, 255).astype(np.uint8)[:, :, None])
    assert found.noise == pytest.approx(sigma, rel=0.05)


def test_colour_is_measured_by_its_luma() -> None:
    face = texture()
    assert measure(np.repeat(face, 3, axis=2)) == measure(face)
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    assert measure(red).brightness == pytest.approx(0.299 * 255, abs=0.5)


@pytest.mark.parametrize(
    "crop",
    [
        np.zeros((48, 48), np.uint8),
        np.zeros((48, 48, 2), np.uint8),
        np.zeros((48, 48, 1), np.float32),
        np.zeros((2, 48, 1), np.uint8),
        np.zeros((0, 0, 1), np.uint8),
    ],
)
def test_what_is_no_crop_is_refused(crop: np.ndarray) -> None:
    with pytest.raises(DataError, match="crop"):
        measure(crop)
