"""Ribbon-cable cameras on a fake picamera2: planes, small stream, times, exposure, faults."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest

from edge_fer.cameras.exposure import FaceMeter, ShutterCap
from edge_fer.cameras.fake_picamera2 import FakePicamera2, FakePicameras, fake_picamera, planes_of
from edge_fer.cameras.orientation import Orientation
from edge_fer.cameras.picamera import PicameraCamera
from edge_fer.errors import ConfigError, DeviceError, EdgeFerError, MissingExtra
from edge_fer.pictures import bgr_of_planes
from edge_fer.types import Box, Frame, Image


def picture(number: int = 0, size: tuple[int, int] = (640, 480)) -> Image:
    """Smooth, without symmetry, different for every number."""
    noise = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
    return np.asarray(cv2.resize(noise, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def off(a: Image | None, b: Image | None) -> float:
    """Mean difference of two pictures, in levels."""
    assert a is not None
    assert b is not None
    assert a.shape == b.shape
    return float(np.abs(a.astype(float) - b).mean())


def real(camera: PicameraCamera) -> FakePicamera2:
    found = camera._camera
    assert isinstance(found, FakePicamera2)
    return found


# Frames


@pytest.mark.parametrize("pixels", ["YUV420", "NV12"])
@pytest.mark.parametrize("size", [(640, 480), (600, 400), (1280, 720), (642, 362)])
def test_the_y_plane_is_the_luma_without_padding(size: tuple[int, int], pixels: str) -> None:
    camera = fake_picamera(FakePicameras([picture(size=size)], pixels=pixels), size=size)
    assert f" {pixels} " in camera.describe()
    frame = camera.read()
    expected = cv2.cvtColor(picture(size=size), cv2.COLOR_BGR2YCrCb)[:, :, 0]
    assert np.array_equal(frame.luma, expected)
    assert frame.luma.flags.c_contiguous
    assert off(frame.colour, picture(size=size)) < 3
    camera.close()


def test_no_copy_but_the_one_out_of_the_cameras_buffer() -> None:
    camera = fake_picamera(FakePicameras([picture()]))
    frame = camera.read()
    assert frame.luma.base is not None
    assert frame.luma.base.size == 640 * 480 * 3 // 2
    camera.close()


def test_full_range_is_asked_for() -> None:
    # picamera2's own choice for video is 16..235, which the fake gives if nothing is said.
    camera = PicameraCamera(0, picamera2=FakePicameras([np.zeros((480, 640, 3), np.uint8)]))
    assert camera.read().luma.max() == 16
    camera.close()
    camera = fake_picamera(FakePicameras([np.zeros((480, 640, 3), np.uint8)]))
    assert camera.read().luma.max() == 0
    camera.close()


def test_planes_to_colour_and_back() -> None:
    for shade in ((0, 0, 0), (255, 255, 255), (40, 90, 220), (200, 30, 60)):
        flat = np.full((48, 64, 3), shade, np.uint8)
        for stride in (64, 128):
            for paired in (False, True):
                planes = planes_of(flat, (64, 48), stride, paired=paired)
                back = bgr_of_planes(planes, 64, 48, paired=paired)
                assert back.shape == flat.shape
                assert np.abs(back.astype(int) - flat).max() <= 2


@pytest.mark.parametrize(
    ("size", "rotate", "expected"),
    [
        ((640, 480), 0, (192, 256)),
        ((640, 480), 90, (192, 144)),
        ((1280, 720), 180, (144, 256)),
        ((1280, 720), 270, (192, 108)),
        ((342, 256), 0, (192, 256)),
        ((500, 640), 0, (192, 150)),
        ((320, 240), 0, None),
    ],
)
def test_the_small_stream_fits_the_detector_after_the_turn(
    size: tuple[int, int], rotate: int, expected: tuple[int, int] | None
) -> None:
    orientation = Orientation(rotate=rotate)  # type: ignore[arg-type]
    camera = fake_picamera(FakePicameras([picture(size=size)]), size=size, orientation=orientation)
    frame = camera.read()
    assert (None if frame.lores is None else frame.lores.shape) == expected
    if frame.lores is not None:
        small = cv2.resize(frame.luma, frame.lores.shape[::-1], interpolation=cv2.INTER_AREA)
        assert off(frame.lores, np.asarray(small, np.uint8)) < 2
        assert frame.lores.flags.c_contiguous
    camera.close()


def test_a_small_stream_that_is_not_small_is_left_alone() -> None:
    camera = fake_picamera(FakePicameras([picture()], scales=False))
    assert camera.read().lores is None
    assert "detection at" not in camera.describe()
    camera.close()


def test_turned_once() -> None:
    orientation = Orientation(rotate=90, mirror=True)
    plain = fake_picamera(FakePicameras([picture()]))
    turned = fake_picamera(FakePicameras([picture()]), orientation=orientation)
    a, b = plain.read(), turned.read()
    assert np.array_equal(orientation.apply(a.luma), b.luma)
    assert a.colour is not None
    assert off(orientation.apply(a.colour), b.colour) == 0
    assert b.luma.flags.c_contiguous
    plain.close()
    turned.close()


def test_frames_outlive_the_next_and_the_camera() -> None:
    camera = fake_picamera(FakePicameras([picture(n) for n in range(8)]))
    frames = [camera.read() for _ in range(8)]
    camera.close()
    assert [frame.sequence for frame in frames] == list(range(8))
    for number, frame in enumerate(frames):
        assert off(frame.colour, picture(number)) < 3


def test_hardware_that_gives_another_size() -> None:
    camera = fake_picamera(FakePicameras([picture()], sizes=[(640, 480)]), size=(650, 480))
    assert camera.size == (640, 480)
    assert camera.read().luma.shape == (480, 640)
    assert "640x480" in camera.describe()
    camera.close()


# Time


def times(stamps: Sequence[int], now: int, boottime: int) -> list[int]:
    left = iter(stamps)
    cameras = FakePicameras([picture()] * len(stamps), clock_ns=lambda: next(left))
    camera = fake_picamera(cameras, clock_ns=lambda: now, boottime_ns=lambda: boottime)
    found = [camera.read().t_ns for _ in stamps]
    camera.close()
    return found


def test_time_is_the_sensors_on_the_monotonic_clock() -> None:
    second = 1_000_000_000
    assert times([90 * second], now=100 * second, boottime=100 * second) == [90 * second]
    # Suspended for 50 s: stamps of the boot clock are ahead of ours, those of ours are not.
    assert times([149 * second], now=100 * second, boottime=150 * second) == [99 * second]
    assert times([99 * second], now=100 * second, boottime=150 * second) == [99 * second]
    # Never in the future, never backwards.
    assert times([101 * second], now=100 * second, boottime=100 * second) == [100 * second]
    late = [90 * second, 80 * second, 95 * second]
    assert times(late, now=100 * second, boottime=100 * second) == [late[0], late[0], late[2]]


def test_no_time_stamp() -> None:
    camera = fake_picamera(FakePicameras([picture()]), clock_ns=lambda: 77)
    assert camera._monotonic(None) == 77
    camera.close()


# Settings


def test_rate_flicker_and_focus_are_set() -> None:
    cameras = FakePicameras([picture()])
    camera = fake_picamera(cameras, fps=20.0, flicker=60)
    values = real(camera).values
    assert values["FrameDurationLimits"] == (50_000, 50_000)
    assert (values["AeFlickerMode"], values["AeFlickerPeriod"]) == (1, 8333)
    assert values["AfMode"] == 2
    assert "ExposureTime" not in values
    assert "ExposureValue" not in values
    assert camera.notes == ()
    camera.close()


def test_a_libcamera_without_flicker_control_carries_on_and_says_so() -> None:
    cameras = FakePicameras([picture()], missing={"AeFlickerMode", "AfMode"})
    camera = fake_picamera(cameras, flicker=50)
    assert camera.notes == ("This libcamera cannot avoid the flicker of 50 Hz lamps (update it).",)
    assert camera.describe().endswith(camera.notes[0])
    camera.read()
    camera.close()


def test_a_camera_that_sets_its_rate_itself_says_so() -> None:
    camera = fake_picamera(FakePicameras([picture()], missing={"FrameDurationLimits"}))
    assert camera.notes == ("This camera chooses its frame rate itself.",)
    camera.close()


def test_a_camera_that_gives_no_planes() -> None:
    cameras = FakePicameras([picture()], pixels="YUYV")
    with pytest.raises(ConfigError, match="gives YUYV only") as caught:
        fake_picamera(cameras)
    assert "usb:NAME" in caught.value.remedy
    assert not cameras.open


@pytest.mark.parametrize(
    ("options", "missing", "message"),
    [
        ({"size": (641, 480)}, "", "641x480"),
        ({"size": (640, 30)}, "", "640x30"),
        ({"fps": 0.0}, "", "0 frames a second"),
        ({"flicker": 55}, "", "55 Hz"),
        ({"shutter_cap_ms": 0.01}, "", "0.01 ms"),
        ({"shutter_cap_ms": 5.0, "flicker": 50}, "", "cannot span the flicker"),
        ({"shutter_cap_ms": 5.0}, "ExposureTime", "no control of its shutter"),
        ({"meter": "face"}, "ExposureValue", "cannot correct its exposure"),
    ],
)
def test_settings_that_make_no_sense(options: dict[str, Any], missing: str, message: str) -> None:
    cameras = FakePicameras([picture()], missing={missing})
    with pytest.raises(ConfigError, match=message) as caught:
        fake_picamera(cameras, **options)
    assert caught.value.remedy
    assert not cameras.open


@pytest.mark.parametrize(
    ("options", "missing", "typed"),
    [
        ({"shutter_cap_ms": 0.01}, "", "shutter_cap=2"),
        ({"shutter_cap_ms": 5.0, "flicker": 50}, "", "shutter_cap=10"),
        ({"shutter_cap_ms": 5.0, "flicker": 60}, "", "shutter_cap=8.4"),
        ({"shutter_cap_ms": 5.0}, "ExposureTime", "shutter_cap out"),
    ],
)
def test_a_remedy_names_the_option_as_it_is_typed(
    options: dict[str, Any], missing: str, typed: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        fake_picamera(FakePicameras([picture()], missing={missing}), **options)
    assert typed in caught.value.remedy
    assert "shutter_cap_ms" not in str(caught.value)


# Faults


def test_not_installed() -> None:
    with pytest.raises(MissingExtra, match="picamera2 cannot be imported") as caught:
        PicameraCamera(0)
    assert "apt install -y python3-picamera2" in caught.value.remedy
    assert "--system-site-packages" in caught.value.remedy
    assert caught.value.exit_code == 3


def test_no_such_camera() -> None:
    cameras = FakePicameras([picture()], models=("imx708", "ov5647"))
    with pytest.raises(DeviceError, match="no camera picamera2:2") as caught:
        fake_picamera(cameras, 2)
    assert caught.value.remedy == "There: picamera2:0 imx708; picamera2:1 ov5647."
    cameras.unplug()
    with pytest.raises(DeviceError, match="no camera picamera2:0") as caught:
        fake_picamera(cameras)
    assert "ribbon cable" in caught.value.remedy


def test_two_instances_on_one_camera() -> None:
    cameras = FakePicameras([picture()] * 3, models=("imx708", "ov5647"))
    first, other = fake_picamera(cameras), fake_picamera(cameras, 1)
    with pytest.raises(DeviceError, match="another program uses it") as caught:
        fake_picamera(cameras)
    assert "fuser" in caught.value.remedy
    assert first.read().source == "picamera2:0"
    first.close()
    first.close()
    with pytest.raises(EdgeFerError, match="closed"):
        first.read()
    again = fake_picamera(cameras)
    again.close()
    other.close()


def test_cable_pulled_and_back() -> None:
    cameras = FakePicameras([picture(n) for n in range(5)], unplug_after=2)
    camera = fake_picamera(cameras)
    frames: list[Frame] = [camera.read(), camera.read()]
    for _ in range(2):
        with pytest.raises(DeviceError, match="gives no pictures") as caught:
            camera.read()
        assert "cable" in caught.value.remedy
    camera.close()
    cameras.plug()
    again = fake_picamera(cameras)
    assert off(again.read().colour, picture(2)) < 3
    again.close()
    assert all(a.t_ns <= b.t_ns for a, b in pairwise(frames))


def test_buffers_are_given_back_even_when_a_picture_is_not_what_was_agreed() -> None:
    cameras = FakePicameras([picture()] * 20)
    camera = fake_picamera(cameras)
    camera.size = (640, 360)
    for _ in range(10):
        with pytest.raises(DeviceError, match="640x360 was agreed"):
            camera.read()
    assert real(camera).held == 0
    camera.close()


# Exposure


def test_the_shutter_is_held_at_its_cap_and_freed_in_the_light() -> None:
    cameras = FakePicameras([picture(size=(160, 120))], forever=True, light_us=80_000)
    camera = fake_picamera(cameras, size=(160, 120), shutter_cap_ms=10.0)
    metadata = real(camera)._metadata

    def run(frames: int) -> list[int]:
        found = []
        for _ in range(frames):
            found.append(metadata()["ExposureTime"])
            camera.read()
        return found

    dark = run(40)
    assert dark[0] == 33_333
    assert dark[1:] == [10_000] * 39
    assert metadata()["AnalogueGain"] == pytest.approx(8.0)
    cameras.light_us = 2_000
    light = run(40)
    assert set(light[-10:]) == {2_000}
    # Dark again: held again.
    cameras.light_us = 80_000
    assert set(run(40)[-10:]) == {10_000}
    camera.close()


def test_a_shutter_at_the_edge_does_not_flap() -> None:
    cap = ShutterCap(10_000)
    assert cap.update(20_000, 1.0) == 10_000
    changes = [cap.update(10_000, 1.5) for _ in range(300)]
    assert changes == [None] * 300
    # Just enough light: freed, and held again after some frames, but not with every frame.
    changes = [cap.update(10_300 if not cap.holds else 10_000, 1.03) for _ in range(260)]
    assert 10 <= sum(change is not None for change in changes) <= 20


def face_of(luma: int) -> Image:
    """A bright room with a darker face in its middle."""
    scene = np.full((120, 160, 3), 200, np.uint8)
    scene[30:90, 50:110] = luma
    return scene


FACE = Box(x=50, y=30, w=60, h=60)
SMALL = (160, 120)


def mean_of_face(frame: Frame) -> float:
    return float(frame.luma[45:75, 65:95].mean())


@pytest.mark.parametrize("luma", [70, 90, 128, 170, 200])
def test_exposed_for_the_face(luma: int) -> None:
    cameras = FakePicameras([face_of(luma)], forever=True)
    camera = fake_picamera(cameras, size=SMALL, meter="face")
    assert camera.read().luma[60, 80] == luma
    trace = []
    for _ in range(300):
        camera.meter_on(FACE)
        trace.append(mean_of_face(camera.read()))
    assert 115 <= trace[-1] <= 144
    # It settles, and does not swing.
    assert max(trace[-60:]) - min(trace[-60:]) <= 2
    assert max(abs(a - b) for a, b in pairwise(trace)) < 12
    camera.close()


def test_exposure_is_bounded_and_goes_back_without_a_face() -> None:
    cameras = FakePicameras([face_of(10)], forever=True)
    camera = fake_picamera(cameras, size=SMALL, meter="face")
    values = real(camera).values
    for _ in range(200):
        camera.meter_on(FACE)
        camera.read()
    assert values["ExposureValue"] == 2.0
    camera.meter_on(None)
    for _ in range(29):
        camera.read()
    assert values["ExposureValue"] == 2.0
    for _ in range(100):
        camera.read()
    assert values["ExposureValue"] == 0.0
    camera.close()


@pytest.mark.parametrize(
    "box",
    [
        Box(x=-500, y=0, w=90, h=90),
        Box(x=0, y=-150, w=90, h=90),
        Box(x=900, y=700, w=50, h=50),
        Box(x=5, y=5, w=0.2, h=0.2),
    ],
)
def test_a_face_outside_the_picture_is_none(box: Box) -> None:
    cameras = FakePicameras([face_of(10)], forever=True)
    camera = fake_picamera(cameras, size=SMALL, meter="face")
    for _ in range(40):
        camera.meter_on(box)
        camera.read()
    assert real(camera).values["ExposureValue"] == 0.0
    camera.close()


def test_metering_on_the_frame_leaves_exposure_alone() -> None:
    cameras = FakePicameras([face_of(10)], forever=True)
    camera = fake_picamera(cameras, size=SMALL)
    for _ in range(40):
        camera.meter_on(FACE)
        camera.read()
    assert "ExposureValue" not in real(camera).values
    camera.close()


def test_a_face_that_is_nearly_right_is_left_alone_and_another_not_overdone() -> None:
    nearly, darker = FaceMeter(), FaceMeter()
    assert {nearly.update(129 * 2 ** (0.25 / 2.2)) for _ in range(100)} == {None}
    changes = [darker.update(129 / 2 ** (0.4 / 2.2)) for _ in range(10)]
    assert changes[:-1] == [None] * 9
    assert changes[-1] == pytest.approx(0.2)


def test_black_and_white_faces_tell_a_direction() -> None:
    for luma, sign in ((0.0, 1), (255.0, -1)):
        meter = FaceMeter()
        changes = [change for _ in range(100) if (change := meter.update(luma)) is not None]
        assert changes
        assert changes[-1] * sign == pytest.approx(2.0)
