"""Addresses of sources, and turning pictures and boxes."""

from __future__ import annotations

import inspect
from importlib.util import find_spec
from pathlib import Path
from pkgutil import resolve_name
from tempfile import TemporaryDirectory

import cv2
import numpy as np
import pytest

from edge_fer.cameras import CAMERAS, check_camera, open_camera
from edge_fer.cameras.images import ImageCamera
from edge_fer.cameras.live import LiveCamera
from edge_fer.cameras.orientation import Orientation
from edge_fer.cameras.synthetic import SyntheticCamera
from edge_fer.cameras.video import VideoCamera
from edge_fer.errors import ConfigError, DataError, DeviceError, MissingExtra
from edge_fer.types import Box
from edge_fer.uri import redacted


def save(path: Path) -> Path:
    assert cv2.imwrite(str(path), np.full((8, 12, 3), 90, np.uint8))
    return path


def clip(path: Path) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10.0, (64, 48))
    writer.write(np.full((48, 64, 3), 90, np.uint8))
    writer.release()
    return path


def test_a_path_is_opened_by_what_it_is(tmp_path: Path) -> None:
    picture, video = save(tmp_path / "a.PNG"), clip(tmp_path / "b.avi")
    for uri, kind in [
        ("synthetic", SyntheticCamera),
        ("synthetic:", SyntheticCamera),
        ("synthetic?", SyntheticCamera),
        (str(tmp_path), ImageCamera),
        (f"{tmp_path}/?mirror=1", ImageCamera),
        (str(picture), ImageCamera),
        (f"images:{picture}?rotate=90", ImageCamera),
        (str(video), VideoCamera),
        (f"video:{video}?pace=0", VideoCamera),
    ]:
        camera = open_camera(uri)
        assert isinstance(camera, kind), uri
        camera.close()


def test_names_with_colons_and_question_marks(tmp_path: Path) -> None:
    for name in ("odd?name=1.png", "12:30.png", "picamera2:0.png"):
        frame = open_camera(str(save(tmp_path / name))).read()
        assert frame is not None
        assert frame.source == str(tmp_path / name)
    video = clip(tmp_path / "rtsp:a?b.avi")
    assert open_camera(str(video)).read() is not None


def test_a_video_named_like_a_protocol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    clip(tmp_path / "http:clip.avi")
    assert open_camera("http:clip.avi").read() is not None


def test_percent_signs_are_decoded_in_the_query_only(tmp_path: Path) -> None:
    path = save(tmp_path / "100%25.png")
    assert open_camera(f"{path}?mirror=%31").read() is not None


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("", "The source is empty"),
        ("?mirror=1", "The source is empty"),
        ("sinthetic", "Did you mean synthetic"),
        ("videos:a.mp4", "Did you mean video"),
        ("ftp://host/a.mp4", "no kind of source 'ftp'"),
        ("video:", "names no file"),
        ("images:?mirror=1", "names no file"),
        ("synthetic:2", "Parameters follow"),
        ("synthetic?facs=2", "Did you mean faces"),
        ("synthetic?pace=1", "has no option 'pace'"),
        ("synthetic?faces=two", "whole number from 0 to 64"),
        ("synthetic?faces=-1", "whole number from 0 to 64"),
        ("synthetic?faces=65", "whole number from 0 to 64"),
        ("synthetic?frames=0", "whole number from 1"),
        ("synthetic?size=640", "WIDTHxHEIGHT"),
        ("synthetic?size=640x0", "WIDTHxHEIGHT"),
        ("synthetic?size=99999x480", "WIDTHxHEIGHT"),
        ("synthetic?size=320x240&faces=9", "have no room"),
        ("synthetic?rotate=45", "it is 0, 90, 180 or 270"),
        ("synthetic?mirror=yes", "it is 0 or 1"),
        ("synthetic?mirror=1&mirror=0", "names an option twice"),
        ("synthetic?mirror", "?key=value"),
    ],
)
def test_addresses_that_make_no_sense(uri: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_camera(uri)
    assert says in str(caught.value)
    if "have no room" not in says:  # only its class knows that
        with pytest.raises(ConfigError) as checked:
            check_camera(uri)
        assert str(checked.value) == str(caught.value)


def test_a_device_need_not_be_here_to_be_read() -> None:
    for uri in ("picamera2:1?size=640x480", "/dev/video97?fps=30", "usb:none", "rtsp://h/live"):
        check_camera(uri)
    with pytest.raises(DataError):
        check_camera("/not/there.mp4")


def test_every_option_is_an_argument_of_its_camera() -> None:
    assert {"picamera2", "usb", "rtsp", "rtsps", "http", "https"} < set(CAMERAS)
    for place, options in CAMERAS.values():
        taken = inspect.signature(resolve_name(place)).parameters
        wanted = {"shutter_cap_ms" if key == "shutter_cap" else key for key in options}
        assert wanted | {"orientation"} <= set(taken), place


def test_sources_on_a_clock_are_live() -> None:
    camera = open_camera("synthetic?size=160x120&faces=0&fps=60&frames=2&rotate=90")
    assert isinstance(camera, LiveCamera)
    assert camera.source == "synthetic"
    while (frame := camera.read()) is not None:
        assert (frame.width, frame.height) == (120, 160)
    camera.close()


@pytest.mark.parametrize("uri", ["/dev/video97", "/dev/null", "usb:no such camera", "/dev/v4l/x"])
def test_a_device_that_is_no_camera(uri: str) -> None:
    with pytest.raises(DeviceError) as caught:
        open_camera(f"{uri}?size=640x480&fps=15&format=mjpg&rotate=90")
    assert caught.value.exit_code == 4
    assert caught.value.remedy
    assert uri.removeprefix("usb:") in caught.value.message


def test_a_file_in_a_folder_of_dev_is_a_file() -> None:
    shm = Path("/dev/shm")  # noqa: S108
    if not shm.is_dir():
        pytest.skip("no /dev/shm")
    with TemporaryDirectory(dir=shm) as folder:
        assert open_camera(str(save(Path(folder) / "a.png"))).read() is not None


def test_picamera2_where_it_is_not_installed() -> None:
    if find_spec("picamera2"):
        pytest.skip("picamera2 is installed here")
    for uri in ("picamera2", "picamera2:", "picamera2:1?flicker=50&shutter_cap=10&meter=face"):
        with pytest.raises(MissingExtra, match="picamera2") as caught:
            open_camera(uri)
        assert "apt" in caught.value.remedy


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("picamera2:one", "no number after 'picamera2:'"),
        ("picamera2:-1", "no number after 'picamera2:'"),
        ("picamera2:0?flicker=55", "it is 50 or 60"),
        ("picamera2:0?meter=sky", "it is frame or face"),
        ("picamera2:0?shutter_cap=0", "a number from"),
        ("picamera2:0?shutter_cap=1e2", "a number from"),
        ("picamera2:0?fps=0", "whole number from 1 to 240"),
        ("usb:", "names no device"),
        ("usb:cam?format=h264", "it is mjpg or yuyv"),
        ("/dev/video0?flicker=50", "has no option 'flicker'"),
        ("synthetic?fps=0", "whole number from 1 to 240"),
        ("rtsp:host/live", "has no host"),
        ("rtsp://", "no address of a stream"),
        ("rtsp://u:s3cret@h:port/?mirror=1", "no address of a stream"),
        ("rtsp://u:s3cret@h/a?mirror=2&token=s3cret", "it is 0 or 1"),
        ("HTTP://u:s3cret@h/a?rotate=1&key=s3cret", "it is 0, 90, 180 or 270"),
        ("http://u:s3cret@h/a?mirror=1&x=s3cret&mirror=1", "names 'mirror' twice"),
        ("rtps://u:s3cret@h/", "Did you mean rtsp"),
    ],
)
def test_cameras_and_streams_that_make_no_sense(uri: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_camera(uri)
    assert says in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "shown"),
    [
        ("rtsp://h/live", "rtsp://h/live"),
        ("rtsp://h:8554/live?x=1#y", "rtsp://h:8554/live"),
        ("rtsp://[fe80::1%25eth0]:554/live", "rtsp://[fe80::1%25eth0]:554/live"),
        ("rtsp://me:pw@h/live", "rtsp://***@h/live"),
        ("rtsp://me:p@w@h/live", "rtsp://***@h/live"),
        ("rtsp://me:p/w@h/live", "rtsp://***@h/live"),
        ("rtsp://me:123?w@h/live", "rtsp://***"),
        ("rtsp://me:p#w@h/live", "rtsp://***"),
        (
            "rtsp://h/user=admin&password=pw&channel=1",
            "rtsp://h/user=admin&password=***&channel=1",
        ),
        ("rtsp://h/user=admin_password=pw_channel=1", "rtsp://h/user=admin_password=***"),
        ("http://h/token=pw/a.mjpg", "http://h/token=***/a.mjpg"),
        ("/dev/video0", "/dev/video0"),
        ("odd?name=1@2.png", "odd?name=1@2.png"),
    ],
)
def test_what_people_see_of_an_address(uri: str, shown: str) -> None:
    assert redacted(uri) == shown


@pytest.mark.parametrize(
    "uri", ["no/such.mp4", "no/such.png", "gone", "video:gone", "images:gone", "x" * 5000]
)
def test_a_missing_file(uri: str) -> None:
    with pytest.raises(DataError, match="There is no") as caught:
        open_camera(uri)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("rotate", [0, 90, 180, 270])
def test_a_box_turns_with_its_picture(rotate: int, mirror: bool) -> None:
    picture = np.zeros((30, 50), np.uint8)
    picture[4:10, 20:33] = 255
    how = Orientation(rotate=rotate, mirror=mirror)  # type: ignore[arg-type]
    box = how.apply_box(Box(x=20, y=4, w=13, h=6), 50, 30)
    turned = how.apply(picture)
    rows, columns = np.nonzero(turned)
    assert (box.x, box.y) == (columns.min(), rows.min())
    assert (box.x + box.w, box.y + box.h) == (columns.max() + 1, rows.max() + 1)


def test_a_quarter_turn_is_clockwise() -> None:
    picture = np.array([[1, 2], [3, 4]], np.uint8)
    assert Orientation(rotate=90).apply(picture).tolist() == [[3, 1], [4, 2]]
    assert Orientation(rotate=90, mirror=True).apply(picture).tolist() == [[1, 3], [2, 4]]
