"""Annotated frames: what is drawn where, and the files that they end in."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_fer.annotate import (
    AnnotatedPictures,
    AnnotatedVideo,
    annotate,
    open_annotation,
)
from edge_fer.errors import ConfigError, DeviceError, EdgeFerError
from edge_fer.types import Box, Expression, Face, Frame, Reason

LABELS = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")
GREEN, GRAY = (80, 175, 76), (140, 140, 140)
SIZES = pytest.mark.parametrize("size", [(320, 240), (640, 480), (1280, 720), (1920, 1080)])


def frame(width: int = 640, height: int = 480, level: int = 200, sequence: int = 0) -> Frame:
    luma = np.full((height, width), level, np.uint8)
    return Frame(
        luma=luma, colour=None, t_ns=sequence * 40_000_000, sequence=sequence, source="test"
    )


def happy(p: float = 0.9) -> Expression:
    rest = (1 - p) / (len(LABELS) - 1)
    probabilities = {label: p if label == "happiness" else rest for label in LABELS}
    return Expression(label="happiness", probabilities=probabilities, entropy=0.5)


def unknown(reason: Reason) -> Expression:
    probabilities = dict.fromkeys(LABELS, 1 / 8)
    return Expression(label="unknown", probabilities=probabilities, entropy=2.08, reason=reason)


def face(x: float, y: float, side: float, track: int | None = None) -> Face:
    return Face(box=Box(x=x, y=y, w=side, h=side), score=0.9, track=track)


def changed(shown: np.ndarray, plain: np.ndarray) -> np.ndarray:
    return (shown.astype(int) != plain.astype(int)).any(axis=2)


def coloured(picture: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((picture == colour).all(axis=2).sum())


@SIZES
def test_box_label_and_bars_stand_beside_the_face(size: tuple[int, int]) -> None:
    width, height = size
    side = height // 3
    one = face(width // 3, height // 3, side)
    source = frame(width, height)
    picture = annotate(source, [(one, happy())])
    assert picture.shape == (height, width, 3)
    assert (source.luma == 200).all()
    marks = changed(picture, np.full_like(picture, 200))
    edge = side // 10
    inside = marks[
        height // 3 + edge : height // 3 + side - edge,
        width // 3 + edge : width // 3 + side - edge,
    ]
    assert not inside.any()
    beside = picture[height // 3 :, width // 3 + side + edge // 2 :]
    assert coloured(beside, GREEN) > 50


@SIZES
@pytest.mark.parametrize("place", [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_a_face_in_a_corner_stays_free_too(size: tuple[int, int], place: tuple[int, int]) -> None:
    width, height = size
    side = height // 3
    x, y = place[0] * (width - side), place[1] * (height - side)
    picture = annotate(frame(width, height), [(face(x, y, side), happy())])
    marks = changed(picture, np.full_like(picture, 200))
    lower = marks[y + side // 2 : y + side - side // 10, x + side // 10 : x + side - side // 10]
    assert not lower.any()
    marks[max(0, y - 5) : y + side + 5, max(0, x - 5) : x + side + 5] = False
    assert marks.sum() > 2000


def test_bars_are_as_long_as_the_probabilities() -> None:
    def green(p: float) -> int:
        picture = annotate(frame(), [(face(200, 200, 100), happy(p))])
        return coloured(picture[205:400, 304:], GREEN)

    empty, half, full = green(0.0), green(0.5), green(1.0)
    assert empty == 0
    assert half / full == pytest.approx(0.5, abs=0.03)


def test_the_face_that_fills_the_frame_has_bars_all_the_same() -> None:
    picture = annotate(frame(320, 240), [(face(5, 5, 230), happy())])
    assert coloured(picture, GREEN) > 200
    assert (picture == (32, 32, 32)).all(axis=2).sum() == 0  # one looks through


def test_a_face_that_was_not_classified_has_no_bars() -> None:
    one = face(200, 200, 100)
    refused = annotate(frame(), [(one, unknown("too_small"))])
    doubted = annotate(frame(), [(one, unknown("low_confidence"))])
    beside = (slice(205, 400), slice(304, 640))
    assert not changed(refused, np.full_like(refused, 200))[beside].any()
    assert changed(doubted, np.full_like(doubted, 200))[beside].any()
    assert coloured(refused, GREEN) == 0
    assert coloured(refused, GRAY) > 500


def test_reason_and_track_change_the_label() -> None:
    one = face(200, 200, 150)

    def label(of: Face, what: Expression) -> bytes:
        return annotate(frame(), [(of, what)])[120:200].tobytes()

    shown = {
        label(one, unknown("dark")),
        label(one, unknown("blurred")),
        label(replace(one, track=1), unknown("dark")),
        label(replace(one, track=2), unknown("dark")),
    }
    assert len(shown) == 4


def test_in_a_crowd_no_panel_hides_a_face() -> None:
    crowd = [face(20 + 90 * i, 60 + 110 * j, 70, i) for i in range(7) for j in range(4)]
    with_bars = annotate(frame(), [(one, happy()) for one in crowd])
    without = annotate(frame(), [(one, replace(happy(), reason="dark")) for one in crowd])
    hidden = changed(with_bars, without)
    for one in crowd:
        x, y = int(one.box.x), int(one.box.y)
        assert hidden[y : y + 70, x : x + 70].mean() <= 0.1


@pytest.mark.parametrize("box", [(-50, -50, 100), (600, 440, 200), (-300, 0, 1200), (10, 10, 1)])
def test_boxes_that_stick_out_are_drawn(box: tuple[int, int, int]) -> None:
    picture = annotate(frame(), [(face(*box), happy())])
    assert changed(picture, np.full_like(picture, 200)).any()


def test_a_tiny_picture_has_a_box_and_no_room_for_more() -> None:
    picture = annotate(frame(48, 32), [(face(10, 10, 15), happy())])
    assert picture.shape == (32, 48, 3)


def test_colour_stays_and_nobody_changes_nothing() -> None:
    colour = np.random.default_rng(0).integers(0, 255, (120, 160, 3)).astype(np.uint8)
    source = replace(frame(160, 120), colour=colour)
    assert (annotate(source, []) == colour).all()
    assert annotate(source, []) is not colour


def test_pictures_are_one_jpeg_a_frame_with_faces(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "out"
    with open_annotation(folder) as target:
        assert isinstance(target, AnnotatedPictures)
        target.add(frame(sequence=3), [(face(200, 200, 100), happy())])
        target.add(frame(sequence=4), [])
        target.add(frame(sequence=1_234_567), iter([(face(200, 200, 100), happy())]))
    assert sorted(path.name for path in folder.iterdir()) == ["000003.jpg", "1234567.jpg"]
    seen = cv2.imread(str(folder / "000003.jpg"))
    assert seen.shape == (480, 640, 3)
    assert np.abs(seen[400:, :100].astype(int) - 200).max() < 10


def test_a_folder_is_a_folder_whatever_its_name(tmp_path: Path) -> None:
    (tmp_path / "day.1").mkdir()
    assert isinstance(open_annotation(tmp_path / "day.1"), AnnotatedPictures)
    assert isinstance(open_annotation(tmp_path / "new"), AnnotatedPictures)
    assert isinstance(open_annotation(tmp_path / "a.mp4"), AnnotatedVideo)


@pytest.mark.parametrize(
    ("name", "kind", "words"),
    [
        ("a.gif", ConfigError, ".mp4"),
        ("file", DeviceError, "file"),
        ("file/below", DeviceError, "below"),
        ("folder.mp4", DeviceError, "folder"),
    ],
)
def test_what_cannot_be_written_is_refused(
    tmp_path: Path, name: str, kind: type[EdgeFerError], words: str
) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(kind) as caught:
        open_annotation(tmp_path / name)
    assert words in str(caught.value)
    assert caught.value.remedy
    assert (tmp_path / "file").read_text() == "mine"


def test_a_folder_that_goes_away_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    with open_annotation(folder) as target:
        folder.rmdir()
        with pytest.raises(DeviceError, match="000000"):
            target.add(frame(), [(face(200, 200, 100), happy())])
    assert not folder.exists()


def filmed(path: Path, *frames: Frame) -> tuple[float, int]:
    """The rate that a player reads, and how many frames it can show."""
    with open_annotation(path) as target:
        for each in frames:
            target.add(each, [(face(60, 60, 60), happy())])
    video = cv2.VideoCapture(str(path))
    shown = sum(1 for _ in iter(lambda: video.read()[0], False))
    rate = video.get(cv2.CAP_PROP_FPS)
    video.release()
    return rate, shown


@pytest.mark.parametrize("suffix", [".mp4", ".avi"])
@pytest.mark.parametrize(
    ("apart_ns", "rate"),
    [
        (40_000_000, 25),
        (33_366_667, 29.97),
        (33_333_333, 30),
        (8_319_951, 120),  # 120.193 of them: "timebase 1000/120193 not supported"
        (1_000, 240),
        (3_000_000_000, 1),
        (0, 25),
    ],
)
def test_whatever_the_times_a_video_is_written(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], suffix: str, apart_ns: int, rate: float
) -> None:
    frames = [replace(frame(320, 240, sequence=i), t_ns=i * apart_ns) for i in range(4)]
    assert filmed(tmp_path / f"out{suffix}", *frames) == (pytest.approx(rate, abs=0.002), 4)
    assert capfd.readouterr() == ("", "")
    assert [path.name for path in tmp_path.iterdir()] == [f"out{suffix}"]


def test_pictures_of_a_folder_make_a_video_of_the_usual_rate(tmp_path: Path) -> None:
    frames = [
        replace(frame(320, 240, sequence=i), t_ns=i * 8_319_951, source=f"{i}.jpg")
        for i in range(3)
    ]
    assert filmed(tmp_path / "out.mp4", *frames) == (25, 3)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 3 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=3M", "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no small disk can be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.parametrize("name", ["out.mp4", "out.avi"])
def test_a_full_disk_is_called_one(
    small_disk: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    random = np.random.default_rng(0)
    noise = (random.integers(0, 256, (480, 640), np.uint8) for _ in range(500))
    frames = (replace(frame(sequence=i), luma=luma) for i, luma in enumerate(noise))
    with pytest.raises(DeviceError, match="No space left on device") as caught:
        filmed(small_disk / name, *frames)
    assert "df -h" in caught.value.remedy
    assert list(small_disk.iterdir()) == []
    assert capfd.readouterr() == ("", "")


def test_a_disk_that_others_fill_at_the_end_is_called_full(small_disk: Path) -> None:
    target = open_annotation(small_disk / "out.mp4")
    for i in range(3):
        target.add(frame(sequence=i), [])
    with suppress(OSError), (small_disk / "others").open("wb", buffering=0) as file:
        while file.write(bytes(2**16)):
            pass
    assert shutil.disk_usage(small_disk).free == 0
    with pytest.raises(DeviceError, match="No space left on device"):
        target.__exit__(None)
    assert [path.name for path in small_disk.iterdir()] == ["others"]


def test_a_folder_that_goes_away_under_a_video_is_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    target = open_annotation(folder / "out.mp4")
    target.add(frame(), [])
    folder.rmdir()
    with pytest.raises(DeviceError, match=r"out\.mp4 could not be written: No such file"):
        target.add(frame(sequence=1), [])
    with pytest.raises(DeviceError, match="could not be written"):
        target.__exit__(None)


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("own.mp4", "own.mp4"),
        ("own.mp4", "link.mp4"),
        ("own.mp4", "hard.mp4"),
        ("own.mp4", "pictures/../own.mp4"),
        ("pictures", "pictures"),
        ("pictures", "elsewhere"),
        ("pictures/000000.jpg", "pictures"),
    ],
)
def test_the_source_is_not_written_over(tmp_path: Path, source: str, target: str) -> None:
    (tmp_path / "own.mp4").write_bytes(b"mine")
    (tmp_path / "link.mp4").symlink_to("own.mp4")
    (tmp_path / "hard.mp4").hardlink_to(tmp_path / "own.mp4")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "000000.jpg").write_bytes(b"mine")
    (tmp_path / "elsewhere").symlink_to("pictures")
    with pytest.raises(ConfigError, match="is the source") as caught:
        open_annotation(tmp_path / target, tmp_path / source)
    assert "-annotated" in caught.value.remedy
    assert (tmp_path / "own.mp4").read_bytes() == b"mine"


@pytest.mark.parametrize("source", ["own.mp4", "absent.mp4", "pictures/1.png"])
def test_a_target_beside_the_source_is_fine(tmp_path: Path, source: str) -> None:
    (tmp_path / "own.mp4").write_bytes(b"mine")
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1.png").write_bytes(b"mine")
    for target in ("new.mp4", "new", "pictures/new.avi", "absent.mp4", "pictures"):
        open_annotation(tmp_path / target, tmp_path / source)
