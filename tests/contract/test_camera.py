"""What every camera must do: recordings, live cameras behind their seams, and all of these wrapped.

The V4L2 and picamera2 cameras run on their public fakes, the network camera on a server here.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from motion_jpeg import MotionJpeg

from edge_fer.cameras import open_camera
from edge_fer.cameras.fake import FakeCamera, FaultyCamera
from edge_fer.cameras.fake_picamera2 import FakePicameras, fake_picamera
from edge_fer.cameras.fake_v4l2 import FakeV4l2Device, fake_v4l2_camera
from edge_fer.cameras.live import LiveCamera
from edge_fer.cameras.orientation import UPRIGHT, Orientation
from edge_fer.cameras.stream import StreamCamera
from edge_fer.errors import CameraAway, DeviceError, EdgeFerError
from edge_fer.types import Camera, Frame

GENEROUS_S = 20.0


def picture(number: int, size: tuple[int, int] = (64, 48)) -> np.ndarray:
    """No symmetry, different for every number."""
    width, height = size
    image = np.zeros((height, width, 3), np.uint8)
    image[:, :, 0] = np.arange(width) * 3 % 256
    image[:, :, 1] = np.arange(height)[:, None] * 4 % 256
    image[4:12, 6:20, 2] = 60 + 12 * number
    return image


def query(orientation: Orientation) -> str:
    return f"rotate={orientation.rotate}&mirror={int(orientation.mirror)}"


def video(folder: Path, orientation: Orientation) -> Camera:
    path = folder / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10.0, (64, 48))
    assert writer.isOpened()
    for number in range(4):
        writer.write(picture(3 * number))
    writer.release()
    return open_camera(f"{path}?{query(orientation)}")


def pictures(folder: Path, orientation: Orientation) -> Camera:
    for number in range(3):
        cv2.imwrite(str(folder / f"{number}.png"), picture(number))
    cv2.imwrite(str(folder / "3.png"), picture(3)[:, :, 1])
    (folder / "notes.txt").write_text("no picture")
    return open_camera(f"{folder}?{query(orientation)}")


def one_picture(folder: Path, orientation: Orientation) -> Camera:
    path = folder / "one.png"
    cv2.imwrite(str(path), picture(0))
    return open_camera(f"{path}?{query(orientation)}")


def synthetic(folder: Path, orientation: Orientation) -> Camera:
    return open_camera(f"synthetic?size=240x160&faces=1&frames=4&seed=3&{query(orientation)}")


def fake(folder: Path, orientation: Orientation) -> Camera:
    return FakeCamera(
        [orientation.frame(picture(n), t_ns=n * 1000, sequence=n, source="fake") for n in range(4)]
    )


def faulty(folder: Path, orientation: Orientation) -> Camera:
    frames = (
        orientation.frame(picture(n), t_ns=n * 1000, sequence=n, source="fake") for n in range(4)
    )
    return FaultyCamera([*frames, DeviceError("gone")])


def v4l2(*formats: str) -> Callable[[Path, Orientation], Camera]:
    def make(folder: Path, orientation: Orientation) -> Camera:
        device = FakeV4l2Device([picture(n) for n in range(4)], formats=formats)
        return fake_v4l2_camera(device, orientation=orientation)

    return make


def picamera2(folder: Path, orientation: Orientation) -> Camera:
    cameras = FakePicameras([picture(n, (640, 480)) for n in range(4)])
    return fake_picamera(cameras, size=(640, 480), orientation=orientation)


class Stream(StreamCamera):
    """With the server that it reads."""

    def __init__(self, orientation: Orientation) -> None:
        def jpegs() -> Iterator[bytes]:
            for number in range(12):
                yield cv2.imencode(".jpg", picture(number))[1].tobytes()

        with ExitStack() as cleanup:
            self._server = cleanup.enter_context(MotionJpeg(jpegs))
            super().__init__(f"http://{self._server.host}/", orientation=orientation)
            self._cleanup = cleanup.pop_all()

    def close(self) -> None:
        super().close()
        self._cleanup.close()


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A way to open a camera, how many frames it gives, and whether it then ends or is lost."""

    make: Callable[[Path, Orientation], Camera]
    frames: int = 4
    ends: bool = True


KINDS = {
    "video": Kind(make=video),
    "folder": Kind(make=pictures),
    "picture": Kind(make=one_picture, frames=1),
    "synthetic": Kind(make=synthetic),
    "fake": Kind(make=fake),
    "faulty": Kind(make=faulty, ends=False),
    "v4l2 yuyv": Kind(make=v4l2("YUYV"), ends=False),
    "v4l2 mjpg": Kind(make=v4l2("MJPG"), ends=False),
    "v4l2 other": Kind(make=v4l2("RGB3"), ends=False),
    "picamera2": Kind(make=picamera2, ends=False),
    "stream": Kind(make=lambda _, orientation: Stream(orientation), frames=12, ends=False),
}
Opened = tuple[Camera, Kind]


@pytest.fixture(params=KINDS)
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opened]:
    kind = KINDS[request.param]
    camera = kind.make(tmp_path, UPRIGHT)
    yield camera, kind
    camera.close()


def drain(camera: Camera, kind: Kind) -> list[Frame]:
    """All its frames, and its own way to be over."""
    frames = []
    for _ in range(kind.frames):
        frame = camera.read()
        assert frame is not None
        frames.append(frame)
    over(camera, kind)
    return frames


def over(camera: Camera, kind: Kind) -> None:
    if kind.ends:
        assert camera.read() is None
        return
    with pytest.raises(DeviceError) as caught:
        camera.read()
    # Whether it is away or gone for good is for the live camera around it to say.
    assert not isinstance(caught.value, CameraAway)


def check(frames: list[Frame]) -> None:
    for frame in frames:
        assert frame.luma.dtype == np.uint8
        assert frame.luma.shape == (frame.height, frame.width)
        assert frame.luma.flags.c_contiguous
        assert frame.source
        assert isinstance(frame.t_ns, int)
        if frame.colour is not None:
            assert frame.colour.dtype == np.uint8
            assert frame.colour.shape == (*frame.luma.shape, 3)
            assert frame.colour.flags.c_contiguous
        if frame.lores is not None:
            assert frame.lores.dtype == np.uint8
            assert frame.lores.ndim == 2
            assert frame.lores.flags.c_contiguous
            wide, high = frame.lores.shape[1] / frame.width, frame.lores.shape[0] / frame.height
            assert 0 < wide < 1
            assert wide == pytest.approx(high, rel=0.02)
    assert all(a.sequence < b.sequence for a, b in pairwise(frames))
    assert all(a.t_ns <= b.t_ns for a, b in pairwise(frames))


def test_frames_are_whole_and_in_order(opened: Opened) -> None:
    frames = drain(*opened)
    check(frames)
    assert len({frame.luma.tobytes() for frame in frames}) == len(frames)


def test_over_stays_over(opened: Opened) -> None:
    camera, kind = opened
    drain(camera, kind)
    if kind.ends:
        assert camera.read() is None
    elif not isinstance(camera, FaultyCamera):
        over(camera, kind)


def test_close_twice_and_read_after(opened: Opened) -> None:
    camera, _ = opened
    first = camera.read()
    assert first is not None
    before = first.luma.copy()
    camera.close()
    camera.close()
    with pytest.raises(EdgeFerError, match="closed"):
        camera.read()
    assert np.array_equal(first.luma, before)


def test_a_frame_outlives_the_next(opened: Opened) -> None:
    camera, kind = opened
    first = camera.read()
    assert first is not None
    before = first.luma.copy()
    for _ in range(kind.frames - 1):
        camera.read()
    camera.close()
    assert np.array_equal(first.luma, before)
    if first.colour is not None:
        assert first.colour.shape == (*before.shape, 3)


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
@pytest.mark.parametrize("name", [name for name in KINDS if name not in ("fake", "faulty")])
def test_turned_as_numpy_turns(name: str, rotate: int, mirror: bool, tmp_path: Path) -> None:
    kind = KINDS[name]
    how = Orientation(rotate=rotate, mirror=mirror)  # type: ignore[arg-type]
    both = kind.make(tmp_path, UPRIGHT), kind.make(tmp_path, how)
    plain, turned = (drain(camera, kind) for camera in both)

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
    for camera in both:
        camera.close()


def test_colour_and_gray(tmp_path: Path) -> None:
    frames = drain(pictures(tmp_path, UPRIGHT), KINDS["folder"])
    assert [frame.colour is None for frame in frames] == [False, False, False, True]
    assert np.array_equal(frames[3].luma, picture(3)[:, :, 1])


@pytest.fixture(params=KINDS)
def live(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[LiveCamera, Kind]]:
    """Every camera again, in its own thread, which opens it anew whenever it is lost."""
    kind = KINDS[request.param]
    camera = LiveCamera(lambda: kind.make(tmp_path, UPRIGHT), source="it", patience_s=0.05)
    yield camera, kind
    camera.close()


def newest(camera: LiveCamera) -> Iterator[Frame]:
    end = time.monotonic() + GENEROUS_S
    while time.monotonic() < end:
        with suppress(CameraAway):
            frame = camera.read()
            if frame is None:
                return
            yield frame


def test_live_frames_are_whole_and_in_order(live: tuple[LiveCamera, Kind]) -> None:
    camera, kind = live
    if kind.ends:
        frames = list(newest(camera))
        assert camera.read() is None
        assert camera.status()["captured"] == kind.frames
    else:
        frames = list(islice(newest(camera), 3))
        while camera.status()["reopened"] == 0:
            frames += islice(newest(camera), 1)
    assert frames
    check(frames)
    json.dumps(camera.status())


def test_live_close_twice_and_read_after(live: tuple[LiveCamera, Kind]) -> None:
    camera, _ = live
    first = next(newest(camera))
    before = first.luma.copy()
    camera.close()
    camera.close()
    with pytest.raises(EdgeFerError, match="closed"):
        camera.read()
    assert np.array_equal(first.luma, before)


def test_a_live_source_on_a_clock_ends() -> None:
    camera = open_camera("synthetic?size=240x160&faces=1&frames=4&fps=100")
    assert isinstance(camera, LiveCamera)
    frames = list(newest(camera))
    check(frames)
    assert camera.read() is None
    camera.close()
