"""Folders of pictures, good and bad."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_fer.cameras.images import ImageCamera
from edge_fer.errors import DataError


def save(path: Path, value: int = 90) -> Path:
    assert cv2.imwrite(str(path), np.full((8, 12, 3), value, np.uint8))
    return path


def test_order_and_what_is_left_alone(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "c.PNG"):
        save(tmp_path / name)
    (tmp_path / "sub.png").mkdir()
    save(tmp_path / "sub.png" / "deep.png")
    (tmp_path / "a.txt").write_text("text")
    camera = ImageCamera(tmp_path)
    sources = []
    while (frame := camera.read()) is not None:
        sources.append(Path(frame.source).name)
    assert sources == ["a.jpg", "b.png", "c.PNG"]
    assert camera.skipped == ()


def test_an_unreadable_picture_among_good_ones(tmp_path: Path) -> None:
    good = save(tmp_path / "a.png").read_bytes()
    (tmp_path / "b.png").write_bytes(good[: len(good) // 2])
    (tmp_path / "c.png").write_bytes(b"")
    (tmp_path / "d.png").symlink_to(tmp_path / "gone.png")
    save(tmp_path / "e.png")
    camera = ImageCamera(tmp_path)
    frames = [camera.read(), camera.read()]
    assert [frame and frame.sequence for frame in frames] == [0, 3]
    with pytest.raises(DataError, match=r"2 of the 4 pictures .*b\.png .*c\.png"):
        camera.read()
    assert camera.read() is None
    assert [path.name for path, _ in camera.skipped] == ["b.png", "c.png"]
    assert all("not a readable picture" in reason for _, reason in camera.skipped)


def test_a_picture_that_goes_away_meanwhile(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    gone = save(tmp_path / "b.png")
    camera = ImageCamera(tmp_path)
    gone.unlink()
    assert camera.read() is not None
    with pytest.raises(DataError, match="1 of the 2 pictures"):
        camera.read()
    assert camera.read() is None
    assert [path for path, _ in camera.skipped] == [gone]


def test_no_readable_picture_at_all(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_text("text")
    camera = ImageCamera(tmp_path)
    with pytest.raises(DataError, match="2 of the 2 pictures"):
        camera.read()
    assert camera.read() is None
    assert len(camera.skipped) == 2


def test_a_single_bad_picture(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("text")
    camera = ImageCamera(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png is not a readable picture"):
        camera.read()
    assert camera.read() is None


def test_an_empty_folder(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("text")
    with pytest.raises(DataError, match="holds no pictures") as caught:
        ImageCamera(tmp_path)
    assert "sub-folders are not read" in caught.value.remedy
