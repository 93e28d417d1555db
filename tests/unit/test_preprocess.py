import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_fer.contract import CropConvention, InputSpec, TensorQuantisation
from edge_fer.preprocess import compose, crop, fit, quantise, sample, to_real
from edge_fer.types import Frame, Image, Square


def spec(size: int = 48, colour: str = "gray", **changes: object) -> InputSpec:
    channels = 1 if colour == "gray" else 3
    values = {
        "height": size,
        "width": size,
        "channels": channels,
        "colour": colour,
        "scale": (1 / 255,) * channels,
        "offset": (0.0,) * channels,
    }
    return InputSpec.model_validate(values | changes)


def noise(height: int, width: int, seed: int = 0) -> Image:
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def blob(size: int, at: tuple[float, float], sigma: float) -> Image:
    y, x = np.mgrid[:size, :size]
    return (255 * np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * sigma**2))).astype(np.uint8)


def centroid(image: Image) -> tuple[float, float]:
    weight = image.astype(float)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    return float((x * weight).sum() / weight.sum()), float((y * weight).sum() / weight.sum())


def test_a_row_of_the_right_size_comes_back_unchanged() -> None:
    image = noise(48, 48)
    assert np.array_equal(fit(image, spec())[..., 0], image)


def test_an_aligned_square_inside_a_picture_is_the_slice() -> None:
    image = noise(100, 120)
    pixels = sample(image, Square(cx=10 + 24, cy=20 + 24, side=48), spec())
    assert np.array_equal(pixels[..., 0], image[20:68, 10:58])


@pytest.mark.parametrize("times", [2, 3, 5])
def test_a_whole_multiple_is_averaged_like_area(times: int) -> None:
    image = noise(48 * times, 48 * times)
    side = 48 * times
    pixels = sample(image, Square(cx=side / 2, cy=side / 2, side=side), spec())
    expected = cv2.resize(image, (48, 48), interpolation=cv2.INTER_AREA)
    assert np.array_equal(pixels[..., 0], expected)


def test_linear_does_not_average() -> None:
    image = np.tile(np.array([0, 255], np.uint8), (96, 48))  # finest stripes
    averaged = fit(image, spec())
    picked = sample(image, Square(cx=48.5, cy=48.5, side=96), spec(interpolation="linear"))
    assert np.abs(averaged.astype(int) - 128).max() <= 1
    assert set(np.unique(picked)) <= {0, 255}


def test_the_border_is_replicated() -> None:
    image = np.full((48, 48), 77, np.uint8)
    pixels = sample(image, Square(cx=0, cy=0, side=96), spec())
    assert (pixels == 77).all()


def test_roll_is_undone() -> None:
    """A blob right of the centre, turned clockwise by 30 degrees, comes back to the right."""
    turn = np.radians(30)
    there = (100 + 40 * np.cos(turn), 100 + 40 * np.sin(turn))
    square = Square(cx=100.5, cy=100.5, side=144, roll_deg=30)
    x, y = centroid(sample(blob(201, there, 6), square, spec())[..., 0])
    assert x == pytest.approx(23.5 + 40 / 3, abs=0.2)
    assert y == pytest.approx(23.5, abs=0.2)


def test_small_roll_is_left_in_and_large_roll_is_kept() -> None:
    assert compose(Square(cx=0, cy=0, side=1, roll_deg=9), spec()).roll_deg == 0
    assert compose(Square(cx=0, cy=0, side=1, roll_deg=-11), spec()).roll_deg == -11


def test_compose_is_the_identity_for_the_fer2013_convention() -> None:
    square = Square(cx=31, cy=17, side=80)
    assert compose(square, spec()) == square


@given(
    side=st.floats(10, 500),
    distance=st.floats(0.2, 0.6),
    mid=st.tuples(st.floats(0.3, 0.7), st.floats(0.2, 0.6)),
    roll=st.sampled_from([0.0, 25.0, -40.0]),
)
@settings(max_examples=50, deadline=None)
def test_compose_keeps_the_eyes_where_they_are(
    side: float, distance: float, mid: tuple[float, float], roll: float
) -> None:
    """In both conventions the eye midpoint and distance are the same pixels of the frame."""
    square = Square(cx=200, cy=150, side=side, roll_deg=roll)
    theirs = spec(crop=CropConvention(eye_distance=distance, eye_midpoint=mid))
    found = compose(square, theirs)

    def eyes(s: Square, midpoint: tuple[float, float]) -> tuple[float, float]:
        turn = np.radians(s.roll_deg)
        dx, dy = (midpoint[0] - 0.5) * s.side, (midpoint[1] - 0.5) * s.side
        return (
            s.cx + np.cos(turn) * dx - np.sin(turn) * dy,
            s.cy + np.sin(turn) * dx + np.cos(turn) * dy,
        )

    assert eyes(found, mid) == pytest.approx(eyes(square, (0.496, 0.386)), abs=1e-6)
    assert found.side * distance == pytest.approx(side * 0.354)


def test_crop_takes_luma_for_gray_and_rgb_for_colour() -> None:
    colour = np.zeros((60, 60, 3), np.uint8)
    colour[..., 0] = 200  # blue, OpenCV's first
    frame = Frame(
        luma=np.full((60, 60), 9, np.uint8), colour=colour, t_ns=0, sequence=0, source="test"
    )
    square = Square(cx=30, cy=30, side=48)
    assert (crop(frame, square, spec()) == 9).all()
    assert (crop(frame, square, spec(colour="rgb")) == [0, 0, 200]).all()
    plain = Frame(luma=frame.luma, colour=None, t_ns=0, sequence=0, source="test")
    assert (crop(plain, square, spec(colour="rgb")) == 9).all()


def test_a_colour_row_becomes_gray_by_bt601() -> None:
    row = np.zeros((48, 48, 3), np.uint8)
    row[..., 0] = 255  # red, a data set's first
    assert (fit(row, spec()) == 76).all()


def test_pinned_input_is_uint8_minus_128() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    found = quantise(levels, spec(16), TensorQuantisation(scale=1 / 255, zero_point=-128))
    assert np.array_equal(found.astype(int), levels.astype(int) - 128)
    assert found.dtype == np.int8


def test_quantise_rounds_and_saturates_per_channel() -> None:
    two = spec(1, "rgb", scale=(2.0, 1.0, 1.0), offset=(0.0, 0.0, -200.0))
    pixel = np.array([[[[100, 100, 10]]]], np.uint8)
    found = quantise(pixel, two, TensorQuantisation(scale=1.0, zero_point=0))
    assert found.tolist() == [[[[127, 100, -128]]]]


@given(st.integers(0, 255), st.floats(0.001, 0.1), st.integers(-128, 127))
@settings(max_examples=50, deadline=None)
def test_dequantised_input_is_within_half_a_step_of_the_float_input(
    value: int, scale: float, zero_point: int
) -> None:
    pixel = np.full((1, 1, 1, 1), value, np.uint8)
    tensor = TensorQuantisation(scale=scale, zero_point=zero_point)
    real = float(to_real(pixel, spec(1))[0, 0, 0, 0])
    found = int(quantise(pixel, spec(1), tensor)[0, 0, 0, 0])
    if -128 < found < 127:
        assert abs((found - zero_point) * scale - real) <= scale / 2 + 1e-6
