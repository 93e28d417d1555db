"""Addresses of sources, and turning pictures and boxes."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_fer.cameras import open_camera
from edge_fer.cameras.images import ImageCamera
from edge_fer.cameras.orientation import Orientation
from edge_fer.cameras.synthetic import SyntheticCamera
from edge_fer.cameras.video import VideoCamera
from edge_fer.errors import ConfigError, DataError
from edge_fer.types import Box


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


@pytest.mark.parametrize(
    "uri",
    [
        "picamera2:0",
        "picamera2",
        "/dev/video0",
        "/dev/null",
        "usb:1",
        "rtsp://10.0.0.1/live",
        "http://h/a.mjpg?user=me",
    ],
)
def test_devices_and_streams_are_not_read_yet(uri: str) -> None:
    with pytest.raises(ConfigError, match="reads files and the synthetic source only"):
        open_camera(uri)


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
