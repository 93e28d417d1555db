"""What outliers are made from, and what the model is told of them."""

import hashlib
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_fer.errors import DataError
from edge_fer.evaluation.data import read
from edge_fer.evaluation.readers import Rows
from edge_fer_train.outliers import Outliers, read_outliers
from edge_fer_train.record import expression_spec

SPEC = expression_spec()
HAPPY = np.eye(8, dtype=np.float32)[1]


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    """Row 0 is happy, row 1 unknown, row 2 no face, row 3 unknown by a single vote more."""
    votes = np.zeros((4, 10), np.int8)
    votes[0, 1], votes[1, 8], votes[2, 9] = 10, 9, 10
    votes[3, [0, 8]] = 4, 5
    images = np.stack([np.full((48, 48), 40 * i, np.uint8) for i in range(4)])
    np.savez(tmp_path / "r.npz", images=images, emotion=np.zeros(4, np.uint8), ferplus=votes)
    return read(tmp_path / "r.npz")


def scenes(folder: Path, n: int) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(n):
        cv2.imwrite(str(folder / f"{i}.png"), rng.integers(0, 256, (80, 120, 3), dtype=np.uint8))
    return folder


def test_rows_voted_unreadable_are_outliers_if_they_may_be_taught(rows: Rows) -> None:
    found = read_outliers(rows, np.array([0, 1, 3]), [])
    assert [int(c[0, 0]) for c in found.crops] == [40, 120]
    assert not found.scenes


def test_scenes_are_parted_by_the_hash_of_their_file(rows: Rows, tmp_path: Path) -> None:
    folder = scenes(tmp_path / "scenes", 30)
    found = read_outliers(rows, np.array([0]), [folder])
    first = [hashlib.sha256(p.read_bytes()).digest()[0] for p in folder.iterdir()]
    choosing = sum(b < 0x55 and b % 2 == 0 for b in first)
    reporting = sum(b < 0x55 and b % 2 == 1 for b in first)
    assert choosing
    assert reporting
    # What reports is in neither.
    assert len(found.choosing_scenes) == choosing
    assert len(found.scenes) == 30 - choosing - reporting


def test_a_zip_and_the_folder_it_was_made_from_give_the_same(rows: Rows, tmp_path: Path) -> None:
    folder = scenes(tmp_path / "scenes", 5)
    with zipfile.ZipFile(tmp_path / "scenes.zip", "w") as archive:
        for file in folder.iterdir():
            archive.write(file, file.name)
    one = read_outliers(rows, np.array([0]), [folder])
    other = read_outliers(rows, np.array([0]), [tmp_path / "scenes.zip"])
    assert one.sources[0][1] == other.sources[0][1]
    for mine, theirs in zip(one.scenes, other.scenes, strict=True):
        assert (mine == theirs).all()


def test_masked_faces_are_cut_by_their_boxes(rows: Rows, tmp_path: Path) -> None:
    folder = tmp_path / "masked"
    folder.mkdir()
    picture = np.zeros((200, 200), np.uint8)
    picture[50:110, 60:120] = 200
    cv2.imwrite(str(folder / "a.png"), picture)
    (folder / "boxes.csv").write_text(
        "image,x1,y1,x2,y2,class\n"
        "a.png,60,50,120,110,with_mask\n"
        "a.png,60,50,120,110,without_mask\n"
        "a.png,60,50,70,60,with_mask\n"  # too small to be worth learning from
        "gone.png,60,50,120,110,with_mask\n"
    )
    found = read_outliers(rows, np.array([0]), [folder])
    assert len(found.crops) == 1
    cut = found.crops[0]
    assert cut.shape == (63, 63)
    assert cut[5:-5, 5:-5].min() == 200
    assert not found.scenes  # a folder with faces gives no pictures without


@pytest.mark.parametrize("what", ["missing", "empty", "no zip", "bad table"])
def test_what_cannot_be_read_is_said(rows: Rows, tmp_path: Path, what: str) -> None:
    path = tmp_path / "x.zip"
    if what == "empty":
        path.mkdir()
    elif what == "no zip":
        path.write_bytes(b"PK nonsense")
    elif what == "bad table":
        path.mkdir()
        (path / "boxes.csv").write_text("image,x\na.png,1\n")
    with pytest.raises(DataError) as caught:
        read_outliers(rows, np.array([0]), [path])
    assert caught.value.remedy


def test_the_target_is_as_even_as_the_face_is_hidden() -> None:
    rng = np.random.default_rng(0)
    scene = rng.integers(0, 256, (90, 90), dtype=np.uint8)
    made = Outliers(scenes=[scene], crops=[scene])
    face = rng.integers(0, 256, (48, 48, 1), dtype=np.uint8)
    sure = []
    for _ in range(300):
        pixels, target = made.one(face, HAPPY, SPEC, rng)
        assert pixels.shape == (48, 48, 1)
        assert pixels.dtype == np.uint8
        assert target.sum() == pytest.approx(1, abs=1e-5)
        assert target.argmax() in (0, 1)
        sure.append(float(target[1]))
    assert min(sure) == pytest.approx(1 / 8)
    assert 0.5 < max(sure) < 1.0
    assert np.mean(np.isclose(sure, 1 / 8)) > 0.5


def test_without_any_file_there_are_still_outliers() -> None:
    rng, face = np.random.default_rng(0), np.full((48, 48, 1), 90, np.uint8)
    kinds = {Outliers().one(face, HAPPY, SPEC, rng)[0].tobytes() for _ in range(40)}
    assert len(kinds) > 10
