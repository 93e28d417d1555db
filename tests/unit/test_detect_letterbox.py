"""A picture in a detector's input, and the way back."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_detector import frame_of, gray_spec

from edge_fer.contract import InputSpec
from edge_fer.detectors.letterbox import letterbox, place
from edge_fer.errors import DataError
from edge_fer.types import Box, Image

RGB = {"channels": 3, "colour": "rgb", "scale": (1.0,) * 3, "offset": (0.0,) * 3}


def noise(height: int, width: int, channels: int = 0) -> Image:
    shape = (height, width, channels) if channels else (height, width)
    return np.random.default_rng(0).integers(1, 256, shape, dtype=np.uint8)


@pytest.mark.parametrize("interpolation", ["area", "linear"])
def test_a_wide_picture_stands_in_the_middle_with_black_above_and_below(
    interpolation: str,
) -> None:
    image = noise(480, 640)
    pixels, placement = letterbox(frame_of(image), gray_spec(256, 256, interpolation=interpolation))
    halved = cv2.resize(image, (320, 240), interpolation=cv2.INTER_AREA)
    expected = cv2.resize(halved if interpolation == "area" else image, (256, 192))
    assert np.array_equal(pixels[32:224, :, 0], expected)
    assert not pixels[:32].any()
    assert not pixels[224:].any()
    assert placement.source == (0, 0, 640, 480)
    assert placement.target == (0, 32, 256, 192)


@pytest.mark.parametrize("size", [(480, 640), (1080, 1920), (721, 1283), (97, 131), (64, 64)])
def test_area_is_near_the_true_average_whatever_the_size(size: tuple[int, int]) -> None:
    """A ramp with texture comes out as OpenCV's slow averaging over parts of pixels has it."""
    height, width = size
    y, x = np.mgrid[:height, :width]
    waves = 15 * np.sin(40 * x / width) + 15 * np.cos(30 * y / height)
    image = (50 + 130 * x / width + 40 * y / height + waves).astype(np.uint8)
    pixels, placement = letterbox(frame_of(image), gray_spec(60, 60, interpolation="area"))
    left, top, w, h = placement.target
    _, _, across, down = placement.source
    assert width - across <= width // 60
    assert height - down <= max(height, width) // 60
    average = cv2.resize(image[:down, :across], (w, h), interpolation=cv2.INTER_AREA)
    found = pixels[top : top + h, left : left + w, 0]
    assert np.abs(found.astype(int) - average).max() <= 12
    assert np.abs(found.astype(int) - average).mean() <= 2


def test_area_looks_at_every_pixel() -> None:
    dark = np.zeros((64 * 5, 64 * 5), np.uint8)
    for y, x in np.random.default_rng(1).integers(0, 64 * 5, (200, 2)):
        lit = dark.copy()
        lit[y, x] = 255
        assert letterbox(frame_of(lit), gray_spec(64, 64, interpolation="area"))[0].any()


def test_places_are_found_again_where_whole_blocks_leave_a_rest() -> None:
    """A bright spot near the far corner of a frame whose size no block divides."""
    image = np.zeros((1083, 1922), np.uint8)
    image[980:1000, 1800:1820] = 255
    pixels, placement = letterbox(frame_of(image), gray_spec(192, 256, interpolation="area"))
    weights = pixels[..., 0].astype(float)
    y, x = np.mgrid[: pixels.shape[0], : pixels.shape[1]] + 0.5
    spot = np.array([(x * weights).sum(), (y * weights).sum()]) / weights.sum()
    assert np.abs(placement.to_frame(spot) - (1810, 990)).max() < 1.0


def test_linear_at_half_the_size_is_a_mean_of_four() -> None:
    image = noise(240, 320)
    pixels, _ = letterbox(frame_of(image), gray_spec(120, 160, interpolation="linear"))
    fours = image.reshape(120, 2, 160, 2).astype(int).sum(axis=(1, 3))
    assert np.array_equal(pixels[..., 0], (fours + 2) // 4)


def test_a_picture_of_the_right_size_is_not_touched() -> None:
    image = noise(60, 80)
    assert np.array_equal(letterbox(frame_of(image), gray_spec(60, 80))[0][..., 0], image)


def test_area_is_linear_where_the_picture_grows() -> None:
    image = noise(30, 40)
    pixels, _ = letterbox(frame_of(image), gray_spec(60, 80, interpolation="area"))
    assert np.array_equal(pixels[..., 0], cv2.resize(image, (80, 60)))


def test_a_region_is_the_slice_and_the_whole_frame_is_no_region() -> None:
    frame, spec = frame_of(noise(100, 120)), gray_spec(32, 48)
    pixels, _ = letterbox(frame, spec, Box(x=10, y=20, w=48, h=32))
    assert np.array_equal(pixels[..., 0], frame.luma[20:52, 10:58])
    whole, placement = letterbox(frame, spec, Box(x=0, y=0, w=120, h=100))
    assert np.array_equal(whole, letterbox(frame, spec)[0])
    assert placement == place(frame, spec)


def test_what_sticks_out_of_the_frame_is_black() -> None:
    frame = frame_of(noise(100, 120))
    pixels, placement = letterbox(frame, gray_spec(40, 40), Box(x=-10, y=80, w=40, h=40))
    assert np.array_equal(pixels[:20, 10:, 0], frame.luma[80:, :30])
    assert not pixels[:, :10].any()
    assert not pixels[20:].any()
    assert placement.source == (0, 80, 30, 20)
    assert placement.target == (10, 0, 30, 20)


@pytest.mark.parametrize("x", [-500.0, 120.0, 1e9])
def test_a_region_outside_the_frame_is_black(x: float) -> None:
    pixels, placement = letterbox(
        frame_of(noise(100, 120)), gray_spec(40, 40), Box(x=x, y=0, w=50, h=50)
    )
    assert not pixels.any()
    assert placement.source[2] == 0


@pytest.mark.parametrize(
    "region",
    [
        Box(x=0, y=0, w=0, h=10),
        Box(x=0, y=0, w=10, h=-1),
        Box(x=float("nan"), y=0, w=10, h=10),
        Box(x=0, y=0, w=float("inf"), h=10),
    ],
)
def test_a_region_without_an_area_is_refused(region: Box) -> None:
    with pytest.raises(DataError, match="nothing to look at"):
        letterbox(frame_of(noise(100, 120)), gray_spec(40, 40), region)


def test_colours_come_in_the_models_order_and_gray_three_times() -> None:
    spec = gray_spec(30, 40, **RGB)
    image = noise(60, 80, 3)
    pixels, _ = letterbox(frame_of(image), spec)
    expected = cv2.resize(image, (40, 30), interpolation=cv2.INTER_AREA)[..., ::-1]
    assert np.array_equal(pixels, expected)
    gray, _ = letterbox(frame_of(noise(60, 80)), spec)
    assert gray.shape == (30, 40, 3)
    assert np.array_equal(gray[..., 0], gray[..., 2])


def test_a_gray_model_sees_the_luma_of_a_colour_frame() -> None:
    frame = frame_of(noise(60, 80, 3))
    assert np.array_equal(letterbox(frame, gray_spec(60, 80))[0][..., 0], frame.luma)


@pytest.mark.parametrize("size", [(1, 1), (1, 10_000), (10_000, 1), (3, 7)])
@pytest.mark.parametrize("spec", [gray_spec(96, 128), gray_spec(64, 64, **RGB)])
def test_strips_and_single_pixels_keep_a_pixel(size: tuple[int, int], spec: InputSpec) -> None:
    pixels, placement = letterbox(frame_of(np.full(size, 200, np.uint8)), spec)
    x, y, w, h = placement.target
    assert (pixels[y : y + h, x : x + w] == 200).all()
    assert pixels.sum() == 200 * w * h * spec.channels


def test_a_bright_patch_is_found_where_the_mapping_says() -> None:
    image = np.zeros((480, 640), np.uint8)
    image[100:180, 300:400] = 255
    region = Box(x=250.4, y=-30.7, w=300, h=280)
    pixels, placement = letterbox(frame_of(image), gray_spec(96, 96), region)
    rows, columns = np.nonzero(pixels[..., 0] > 127)
    corners = np.array(
        [[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]], np.float64
    )
    back = placement.to_frame(corners)
    assert np.abs(back - [[300, 100], [400, 180]]).max() < 300 / 96  # one pixel of the input


@settings(max_examples=200, deadline=None)
@given(
    size=st.tuples(st.integers(1, 700), st.integers(1, 700)),
    spec=st.tuples(st.integers(8, 320), st.integers(8, 320)),
    region=st.none()
    | st.builds(
        Box,
        x=st.floats(-900, 900),
        y=st.floats(-900, 900),
        w=st.floats(0.01, 2000),
        h=st.floats(0.01, 2000),
    ),
)
def test_there_and_back_again(
    size: tuple[int, int], spec: tuple[int, int], region: Box | None
) -> None:
    frame = frame_of(np.zeros(size, np.uint8))
    placement = place(frame, gray_spec(*spec), region)
    points = np.array([[0.0, 0.0], [13.5, 700.0], [-3.0, 1.25]])
    assert placement.to_frame(placement.to_input(points)) == pytest.approx(points, abs=1e-6)
    sx, sy, sw, sh = placement.source
    tx, ty, tw, th = placement.target
    assert 0 <= sx <= sx + sw <= frame.width
    assert 0 <= sy <= sy + sh <= frame.height
    assert 0 <= tx <= tx + tw <= spec[1]
    assert 0 <= ty <= ty + th <= spec[0]
    corners = np.array([[tx, ty], [tx + tw, ty + th]])
    if sw and sh:
        assert placement.to_frame(corners).ravel() == pytest.approx([sx, sy, sx + sw, sy + sh])


def test_the_whole_frame_is_seen_in_the_cameras_own_small_picture() -> None:
    """It is the same view; here another one, so that it shows which was used."""
    large, small = noise(480, 640), noise(240, 320) // 2
    frame = replace(frame_of(large), lores=small)
    spec = gray_spec(192, 256, interpolation="area")
    pixels, placement = letterbox(frame, spec)
    assert np.array_equal(pixels[..., 0], cv2.resize(small, (256, 192)))
    assert placement == place(frame_of(large), spec)
    region = Box(x=100, y=100, w=128, h=96)
    near, _ = letterbox(frame, spec, region)
    assert np.array_equal(near, letterbox(frame_of(large), spec, region)[0])


@pytest.mark.parametrize("lores", [(120, 160), (240, 240)], ids=["too small", "another view"])
def test_a_small_picture_that_does_not_serve_is_left_alone(lores: tuple[int, int]) -> None:
    large, spec = frame_of(noise(480, 640)), gray_spec(192, 256, interpolation="area")
    seen, _ = letterbox(replace(large, lores=noise(*lores)), spec)
    assert np.array_equal(seen, letterbox(large, spec)[0])
