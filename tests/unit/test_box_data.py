"""Reading labelled scenes: every form of the data, squashed copies, and what is wrong with it."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_fer.errors import DataError
from edge_fer.evaluation.boxes import read_scenes
from edge_fer.evaluation.scenes import split_scenes
from edge_fer.types import Box

HEAD = "image,x1,y1,x2,y2"


def picture(width: int = 60, height: int = 40, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".png", pixels)[1].tobytes())


def folder(path: Path, table: str | None, **pictures: bytes) -> Path:
    (path / "images").mkdir(parents=True)
    for name, data in pictures.items():
        (path / "images" / f"{name}.png").write_bytes(data)
    if table is not None:
        (path / "boxes.csv").write_text(table)
    return path


def test_a_folder_and_its_zip_are_the_same(tmp_path: Path) -> None:
    table = f"{HEAD}\nb.png,1,2,11,22\na.png,3,4,8,9\nb.png,5.5,6,9.5,10\n"
    path = folder(tmp_path / "d", table, a=picture(), b=picture(seed=1))
    with zipfile.ZipFile(tmp_path / "d.zip", "w") as archive:
        for file in sorted(path.rglob("*.*")):
            archive.write(file, file.relative_to(path).as_posix())
    for source in (path, tmp_path / "d.zip"):
        found = read_scenes(source)
        assert found.labelled
        assert [s.name for s in found.scenes] == ["images/a.png", "images/b.png"]
        assert [f.box for f in found.scenes[1].faces] == [
            Box(x=1, y=2, w=10, h=20),
            Box(x=5.5, y=6, w=4, h=4),
        ]
        view = found.scenes[1].view()
        assert view.frame.luma.shape == (40, 60)
        assert view.frame.colour is not None
        assert not found.skipped
        assert len(found.sha256) == 64


def test_pictures_are_decoded_only_when_looked_at(tmp_path: Path) -> None:
    path = folder(tmp_path / "d", f"{HEAD}\na.png,1,2,3,4\nb.png,1,2,3,4\n", a=picture(), b=b"no")
    good, bad = read_scenes(path).scenes
    assert good.view().faces[0].box == Box(x=1, y=2, w=2, h=2)
    with pytest.raises(DataError, match=r"images/b\.png is not a readable picture"):
        bad.view()


def test_attributes_ignore_and_keypoints(tmp_path: Path) -> None:
    table = (
        f"{HEAD},ignore,class,left_eye_x,left_eye_y,right_eye_x,right_eye_y\n"
        "a.png,1,2,30,30,1,with_mask,5,6,15,7\n"
        "a.png,1,2,30,30,0,,5,6,,\n"
    )
    first, second = read_scenes(folder(tmp_path / "d", table, a=picture())).scenes[0].faces
    assert first.ignore
    assert first.attributes == {"class": "with_mask"}
    assert first.keypoints == ((5, 6), (15, 7))
    assert not second.ignore
    assert second.keypoints is None


def test_a_squashed_copy_is_stretched_back_into_a_camera_s_frame(tmp_path: Path) -> None:
    head = "image,w,h,original_w,original_h,x1,y1,x2,y2"
    # A square white face of the original 1280x480 picture, in its squashed 100x100 copy.
    pixels = np.zeros((100, 100), np.uint8)
    pixels[50:75, 25:50] = 255
    data = bytes(cv2.imencode(".png", pixels)[1].tobytes())
    path = folder(tmp_path / "d", f"{head}\na.png,100,100,1280,480,25,50,50,75\n", a=data)
    view = read_scenes(path).scenes[0].view()
    assert view.frame.luma.shape == (480, 640)
    box = view.faces[0].box
    # 640x240 in the middle of 640x480.
    assert (box.x, box.y, box.w, box.h) == (160, 120 + 120, 160, 60)
    inside = view.frame.luma[245:295, 165:315]
    assert inside.min() == 255
    assert view.frame.luma[:120].max() == 0
    assert view.frame.luma[245:295, 325:].max() == 0


def test_a_frame_that_is_asked_for(tmp_path: Path) -> None:
    table = f"{HEAD},mouth_x,mouth_y\na.png,10,10,20,30,15,25\n"
    view = read_scenes(folder(tmp_path / "d", table, a=picture())).scenes[0].view((240, 320))
    assert view.frame.luma.shape == (320, 240)
    assert view.faces[0].box == Box(x=40, y=80 + 40, w=40, h=80)
    assert view.faces[0].keypoints == ((60, 180),)


def test_pictures_of_another_size_than_stated(tmp_path: Path) -> None:
    path = folder(tmp_path / "d", f"image,w,h,{HEAD[6:]}\na.png,40,60,1,2,3,4\n", a=picture())
    with pytest.raises(DataError, match="is 60x40, its labels are for 40x60"):
        read_scenes(path).scenes[0].view()


@pytest.mark.parametrize("empty", ["a.png,,,,", "a.png,0,0,0,0"])
def test_a_row_that_says_there_is_no_face(tmp_path: Path, empty: str) -> None:
    found = read_scenes(folder(tmp_path / "d", f"{HEAD}\n{empty}\n", a=picture()))
    assert found.scenes[0].faces == ()
    assert not found.skipped


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("a.png,1,2,x,4", "x2 is 'x', no number"),
        ("a.png,1,2,nan,4", "x2 is 'nan', no number"),
        ("a.png,1,2", "x2 is '', no number"),
        ("a.png,5,2,5,4", "is empty"),
        ("a.png,9,2,5,4", "is empty"),
        ("a.png,-9,-9,-1,4", "outside the picture"),
    ],
)
@pytest.mark.parametrize("last", [False, True])
def test_a_picture_with_a_bad_row_is_left_out_whole(
    tmp_path: Path, row: str, why: str, last: bool
) -> None:
    """Else the face of that row would count as a false positive."""
    rows = ["a.png,1,2,3,4", row] if last else [row, "a.png,1,2,3,4"]
    table = "\n".join([HEAD, *rows, "b.png,1,2,3,4", ""])
    found = read_scenes(folder(tmp_path / "d", table, a=picture(), b=picture()))
    assert [s.name for s in found.scenes] == ["images/b.png"]
    ((name, said),) = found.skipped
    assert name == "images/a.png"
    assert said.startswith(f"boxes.csv, line {3 if last else 2}: ")
    assert why in said


def test_a_picture_of_which_every_row_is_bad_is_not_called_unnamed(tmp_path: Path) -> None:
    table = f"{HEAD}\na.png,5,2,5,4\nb.png,1,2,3,4\n"
    found = read_scenes(folder(tmp_path / "d", table, a=picture(), b=picture()))
    why = "boxes.csv, line 2: the box from (5, 2) to (5, 4) is empty"
    assert found.skipped == (("images/a.png", why),)


@pytest.mark.parametrize("name", ["c.png", "../a.png"])
def test_a_row_of_no_picture_is_named_and_the_others_are_read(tmp_path: Path, name: str) -> None:
    table = f"{HEAD}\n{name},1,2,3,4\na.png,1,2,3,4\n"
    found = read_scenes(folder(tmp_path / "d", table, a=picture()))
    assert len(found.scenes[0].faces) == 1
    assert found.skipped == (("boxes.csv, line 2", f"there is no picture {name!r}"),)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [("face1.pgn", "Did you mean face1.png?"), ("zzz", "without its folder, such as face1.png.")],
)
def test_a_picture_to_leave_out_that_is_not_there(tmp_path: Path, name: str, remedy: str) -> None:
    path = folder(tmp_path / "d", None, face1=picture(), other=picture())
    with pytest.raises(DataError, match=f"no picture '{name}' to leave out") as caught:
        read_scenes(path, leave_out=["other.png", name])
    assert caught.value.remedy.endswith(remedy)


def test_a_picture_without_a_row_is_left_out_by_name(tmp_path: Path) -> None:
    path = folder(tmp_path / "d", f"{HEAD}\na.png,1,2,3,4\n", a=picture(), b=picture())
    found = read_scenes(path)
    assert [s.name for s in found.scenes] == ["images/a.png"]
    assert found.skipped == (("images/b.png", "boxes.csv does not name it"),)


def test_scenes_without_faces_and_their_test_part(tmp_path: Path) -> None:
    pictures = {f"p{i}": picture(seed=i) for i in range(30)}
    path = folder(tmp_path / "d", None, **pictures)
    everything = read_scenes(path)
    assert not everything.labelled
    assert not any(s.faces for s in everything.scenes)
    test, training = (
        [Path(s.name).stem for s in read_scenes(path, split=split).scenes]
        for split in ("test", "training")
    )
    aside = [n for n, data in pictures.items() if hashlib.sha256(data).digest()[0] < 0x55]
    assert sorted(test) == sorted(aside)
    assert sorted(test + training) == sorted(pictures)
    # The same rule as for the crops of `evaluate --non-faces`.
    parts = split_scenes({f"{n}.png": data for n, data in pictures.items()})
    assert len(parts.teaching) == len(training)
    left = read_scenes(path, leave_out=["p0.png", "p7.png"]).scenes
    assert len(left) == 28


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda p: p / "nothing", "cannot be read"),
        (lambda p: folder(p / "d", f"{HEAD}\na.png,1,2,3,4\n"), "no pictures"),
        (lambda p: folder(p / "d", "image,x1\na.png,1\n", a=picture()), "no column y1, x2, y2"),
        (lambda p: folder(p / "d", "", a=picture()), "it has none"),
        (lambda p: folder(p / "d", f"{HEAD}\n", a=picture()), "no scene that can be used"),
        (lambda p: folder(p / "d", f"{HEAD}\na.png,1,2,3\n", a=picture()), "line 2: y2 is"),
    ],
)
def test_data_that_cannot_be_used(tmp_path: Path, make: object, why: str) -> None:
    assert callable(make)
    with pytest.raises(DataError, match=why):
        read_scenes(make(tmp_path))


def test_a_csv_that_is_no_text(tmp_path: Path) -> None:
    path = folder(tmp_path / "d", "", a=picture())
    (path / "boxes.csv").write_bytes(b"image,x1,y1,x2,y2\n\xff\xfe")
    with pytest.raises(DataError, match="not a readable csv"):
        read_scenes(path)


def test_an_unknown_split(tmp_path: Path) -> None:
    path = folder(tmp_path / "d", None, a=picture())
    with pytest.raises(DataError, match="no split 'PublicTest'"):
        read_scenes(path, split="PublicTest")


def test_a_zip_that_was_cut_off_or_spoilt(tmp_path: Path) -> None:
    whole = tmp_path / "d.zip"
    with zipfile.ZipFile(whole, "w") as archive:
        archive.writestr("images/a.png", picture(200, 200))
        archive.writestr("boxes.csv", f"{HEAD}\na.png,1,2,3,4\n")
    data = whole.read_bytes()
    cut = tmp_path / "cut.zip"
    cut.write_bytes(data[: len(data) // 2])
    with pytest.raises(DataError, match="not a zip file"):
        read_scenes(cut)
    spoilt = tmp_path / "spoilt.zip"
    spoilt.write_bytes(data[:5000] + bytes(2000) + data[7000:])
    with pytest.raises(DataError, match=r"images/a\.png in .* cannot be read"):
        read_scenes(spoilt).scenes[0].view()


def test_the_shared_sets(shared: Path) -> None:
    """As their README counts them, but for one of the yardstick: a box in it has no area."""
    data = shared / "data"
    counted = {
        name: (len(found.scenes), sum(len(s.faces) for s in found.scenes), len(found.skipped))
        for name in ("faceboxes_train", "faceboxes_dev", "group_photos", "nonface_scenes")
        for found in [read_scenes(data / f"{name}.zip")]
    }
    assert counted == {
        "faceboxes_train": (2137, 5358, 0),
        "faceboxes_dev": (199, 4296, 1),
        "group_photos": (9, 43, 0),
        "nonface_scenes": (138, 0, 0),
    }
    assert len(read_scenes(data / "nonface_scenes.zip", split="test").scenes) == 44
