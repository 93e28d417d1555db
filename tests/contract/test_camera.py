"""What every camera must do, the fake included."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_fer.cameras import open_camera
from edge_fer.cameras.fake import FakeCamera
from edge_fer.errors import EdgeFerError
from edge_fer.types import Camera, Frame

Make = Callable[[Path], str]


def picture(number: int) -> np.ndarray:
    """48 x 64, no symmetry, different for every number."""
    image = np.zeros((48, 64, 3), np.uint8)
    image[:, :, 0] = np.arange(64) * 3
    image[:, :, 1] = np.arange(48)[:, None] * 4
    image[4:12, 6:20, 2] = 60 + 40 * number
    return image


def video(folder: Path) -> str:
    path = folder / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (64, 48))
    assert writer.isOpened()
    for number in range(4):
        writer.write(picture(number))
    writer.release()
    return str(path)


def pictures(folder: Path) -> str:
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), picture(number))
    cv2.imwrite(str(folder / "3.png"), picture(3)[:, :, 1])
    (folder / "notes.txt").write_text("no picture")
    return str(folder)


def one_picture(folder: Path) -> str:
    path = folder / "one.png"
    cv2.imwrite(str(path), picture(0))
    return str(path)


def synthetic(folder: Path) -> str:
    return "synthetic?size=240x160&faces=1&frames=4&seed=3"


REAL: dict[str, tuple[Make, int]] = {
    "video": (video, 4),
    "folder": (pictures, 4),
    "picture": (one_picture, 1),
    "synthetic": (synthetic, 4),
}


def fake() -> FakeCamera:
    return FakeCamera(
        [
            Frame(
                luma=picture(n)[:, :, 2].copy(),
                colour=picture(n),
                t_ns=n * 1000,
                sequence=n,
                source="fake",
            )
            for n in range(4)
        ]
    )


@pytest.fixture(params=[*REAL, "fake"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Camera, int]:
    if request.param == "fake":
        return fake(), 4
    make, frames = REAL[request.param]
    return open_camera(make(tmp_path)), frames


def drain(camera: Camera) -> list[Frame]:
    frames = []
    while (frame := camera.read()) is not None:
        frames.append(frame)
        assert len(frames) < 100
    return frames


def test_frames_are_whole_and_in_order(opened: tuple[Camera, int]) -> None:
    camera, expected = opened
    frames = drain(camera)
    assert len(frames) == expected
    for frame in frames:
        assert frame.luma.dtype == np.uint8
        assert frame.luma.shape == (frame.height, frame.width)
        assert frame.luma.flags.c_contiguous
        assert frame.source
        if frame.colour is not None:
            assert frame.colour.dtype == np.uint8
            assert frame.colour.shape == (*frame.luma.shape, 3)
            assert frame.colour.flags.c_contiguous
    assert all(a.sequence < b.sequence for a, b in pairwise(frames))
    assert all(a.t_ns <= b.t_ns for a, b in pairwise(frames))
    assert len({frame.luma.tobytes() for frame in frames}) == expected


def test_the_end_stays_the_end(opened: tuple[Camera, int]) -> None:
    camera, _ = opened
    drain(camera)
    assert camera.read() is None
    assert camera.read() is None


def test_close_twice_and_read_after(opened: tuple[Camera, int]) -> None:
    camera, _ = opened
    first = camera.read()
    assert first is not None
    before = first.luma.copy()
    camera.close()
    camera.close()
    with pytest.raises(EdgeFerError, match="closed"):
        camera.read()
    assert np.array_equal(first.luma, before)


def test_a_frame_outlives_the_next(opened: tuple[Camera, int]) -> None:
    camera, _ = opened
    first = camera.read()
    assert first is not None
    before = first.luma.copy()
    drain(camera)
    assert np.array_equal(first.luma, before)


@pytest.mark.parametrize("mirror", [0, 1])
@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("kind", REAL)
def test_turned_as_numpy_turns(kind: str, rotate: int, mirror: int, tmp_path: Path) -> None:
    make, _ = REAL[kind]
    uri = make(tmp_path)
    turned_uri = f"{uri}{'&' if '?' in uri else '?'}rotate={rotate}&mirror={mirror}"
    plain, turned = drain(open_camera(uri)), drain(open_camera(turned_uri))
    assert len(plain) == len(turned) > 0

    def turn(image: np.ndarray) -> np.ndarray:
        image = np.rot90(image, -rotate // 90)
        return np.fliplr(image) if mirror else image

    for a, b in zip(plain, turned, strict=True):
        assert np.array_equal(turn(a.luma), b.luma)
        assert b.luma.flags.c_contiguous
        assert (a.colour is None) == (b.colour is None)
        if a.colour is not None and b.colour is not None:
            assert np.array_equal(turn(a.colour), b.colour)
            assert b.colour.flags.c_contiguous
        assert a.sequence == b.sequence


def test_colour_and_gray(tmp_path: Path) -> None:
    frames = drain(open_camera(pictures(tmp_path)))
    assert [frame.colour is None for frame in frames] == [False, False, False, True]
    assert np.array_equal(frames[3].luma, picture(3)[:, :, 1])
