"""Every detector, real and fake, keeps the same promises."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from synthetic_detector import bright_square_detector, frame_of

from edge_fer.detectors import open_detector
from edge_fer.detectors.fake import FakeDetector
from edge_fer.errors import ConfigError, DataError, MissingExtra, ModelError
from edge_fer.types import Box, Detector, Face, Frame

ASTRONAUT = Box(x=177, y=66, w=95, h=95)
PLACES = (Face(box=Box(x=10, y=10, w=40, h=40), score=0.3), Face(box=ASTRONAUT, score=0.9))


@dataclass(frozen=True)
class Case:
    """A detector, and what may be asked of it.

    Attributes:
        make: the detector, from the folder of other people's models.
        overlap: of its box with Haar's; every detector has its own idea of a face's border.
        colour: whether colour changes what it sees.
        drawn: it knows no faces and finds a bright square in the dark.
    """

    make: Callable[[Path], Detector]
    overlap: float = 0.8
    colour: bool = False
    drawn: bool = False


def model(name: str) -> Callable[[Path], Detector]:
    return lambda folder: open_detector(str(existing(folder / name)))


def existing(path: Path) -> Path:
    if not path.exists():
        pytest.skip(f"no {path}")
    return path


def yunet(folder: Path, options: str = "") -> Detector:
    return open_detector(f"yunet?file={existing(folder / 'yunet_2023mar.onnx')}{options}")


CASES = {
    "fake": Case(
        lambda folder: FakeDetector(lambda frame: PLACES if frame.luma.any() else ()), drawn=True
    ),
    "synthetic-grid": Case(lambda folder: bright_square_detector(), drawn=True),
    "haar": Case(lambda folder: open_detector("haar")),
    "haar-alt2": Case(lambda folder: open_detector("haar?cascade=alt2")),
    "yunet": Case(yunet, overlap=0.7, colour=True),
    "blazeface-full": Case(model("blazeface_full_range.tflite"), overlap=0.6, colour=True),
    "blazeface-front": Case(model("blazeface_front_2019.tflite"), overlap=0.6, colour=True),
}
NEEDS_SHARED = ("yunet", "blazeface")


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture
def detector(case: Case, request: pytest.FixtureRequest) -> Detector:
    name = request.node.callspec.params["case"]
    shared = request.getfixturevalue("shared") if name.startswith(NEEDS_SHARED) else Path()
    return case.make(shared / "models")


@pytest.fixture(scope="module")
def photograph() -> Frame:
    from skimage.data import astronaut as picture

    return frame_of(np.ascontiguousarray(picture()[:, :, ::-1]))


@pytest.fixture
def astronaut(case: Case, photograph: Frame) -> Frame:
    """The photograph, or a drawing of it for those who know no faces."""
    if not case.drawn:
        return photograph
    drawing = np.zeros((photograph.height, photograph.width, 3), np.uint8)
    drawing[66 : 66 + 95, 177 : 177 + 95] = 255
    return frame_of(drawing)


def test_it_finds_the_astronaut(detector: Detector, case: Case, astronaut: Frame) -> None:
    best = detector.detect(astronaut)[0]
    assert best.box.iou(ASTRONAUT) > case.overlap


def test_keypoints_lie_on_the_face_the_left_eye_first(detector: Detector, astronaut: Frame) -> None:
    face = detector.detect(astronaut)[0]
    if face.keypoints is None:
        return
    for x, y in face.keypoints:
        assert face.box.x - 10 < x < face.box.x + face.box.w + 10
        assert face.box.y < y < face.box.y + face.box.h
    (left, right), others = face.keypoints[:2], face.keypoints[2:]
    assert 0.2 < (right[0] - left[0]) / face.box.w < 0.6
    assert abs(detector.face_square(face).roll_deg) < 10
    assert all(max(left[1], right[1]) < y for _, y in others[:1])


def test_scores_are_shares_best_first_and_boxes_lie_in_the_frame(
    detector: Detector, astronaut: Frame
) -> None:
    faces = detector.detect(astronaut)
    scores = [f.score for f in faces]
    assert scores == sorted(scores, reverse=True)
    assert all(0 <= s <= 1 for s in scores)
    for face in faces:
        assert face.box.x >= 0
        assert face.box.x + face.box.w <= astronaut.width
        assert face.box.y >= 0
        assert face.box.y + face.box.h <= astronaut.height


def test_gray_is_enough_and_nothing_is_found_in_nothing(
    detector: Detector, case: Case, astronaut: Frame
) -> None:
    gray = detector.detect(frame_of(astronaut.luma))
    coloured = detector.detect(astronaut)
    if case.colour:
        assert gray[0].box.iou(coloured[0].box) > 0.8
    else:
        assert gray == coloured
    assert detector.detect(frame_of(np.zeros((120, 160), np.uint8))) == ()


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (1, 10_000), (10_000, 3), (60, 10_000)])
def test_a_frame_of_any_size_is_no_error(detector: Detector, size: tuple[int, int]) -> None:
    assert detector.detect(frame_of(np.zeros(size, np.uint8))) == ()
    speckled = np.random.default_rng(0).integers(0, 200, size, dtype=np.uint8)
    for face in detector.detect(frame_of(speckled)):
        assert isinstance(detector, FakeDetector) or face.box.x + face.box.w <= size[1]


@pytest.mark.parametrize(
    ("luma", "says"),
    [
        (np.zeros((0, 0), np.uint8), "no pixels"),
        (np.zeros((480, 0), np.uint8), "no pixels"),
        (np.full((120, 160), 40_000, np.uint16), "uint16"),
        (np.zeros((120, 160), np.float32), "float32"),
    ],
)
def test_what_is_no_frame_is_refused_with_a_remedy(
    detector: Detector, luma: np.ndarray, says: str
) -> None:
    frame = replace(frame_of(np.zeros((1, 1), np.uint8), "lobby"), luma=luma)
    with pytest.raises(DataError, match=says) as caught:
        detector.detect(frame)
    assert "lobby" in caught.value.message
    assert caught.value.remedy


def test_the_frame_is_not_changed(detector: Detector, astronaut: Frame) -> None:
    before = astronaut.luma.copy()
    detector.detect(astronaut)
    assert np.array_equal(astronaut.luma, before)


def test_the_square_is_fer2013s(detector: Detector, astronaut: Frame) -> None:
    """All detectors mean the same square: Haar's, which others reach within a sixth of a side."""
    square = detector.face_square(detector.detect(astronaut)[0])
    assert 95 <= square.side < 130
    assert abs(square.cx - 224.5) < 0.1 * square.side
    assert abs(square.cy - 113.5) < 0.1 * square.side


@pytest.mark.parametrize("share", [0.15, 0.3])
def test_a_face_that_the_edge_cuts_keeps_its_square(
    detector: Detector, case: Case, photograph: Frame, share: float
) -> None:
    """Those that know eyes and mouth know how large it would be."""
    whole = () if case.drawn else detector.detect(photograph)
    if not whole or len(whole[0].keypoints or ()) < 3:
        pytest.skip("knows no eyes and mouth")
    assert photograph.colour is not None
    rows = round(whole[0].box.y + whole[0].box.h * (1 - share))
    found = detector.detect(frame_of(np.ascontiguousarray(photograph.colour[:rows])))
    if not found:
        pytest.skip("so little of a face is none")
    ours, want = detector.face_square(found[0]), detector.face_square(whole[0])
    assert 0.83 < ours.side / want.side < 1.2
    assert abs(ours.cy - want.cy) < 0.12 * want.side


def test_close_twice_is_fine(detector: Detector) -> None:
    detector.close()
    detector.close()


def test_a_larger_smallest_face_finds_fewer(photograph: Frame) -> None:
    assert len(open_detector("haar").detect(photograph)) == 1
    assert open_detector("haar?min_size=120").detect(photograph) == ()


def test_a_larger_picture_shows_yunet_more(shared: Path, photograph: Frame) -> None:
    small = np.zeros((1200, 1600, 3), np.uint8)
    assert photograph.colour is not None
    small[600:728, 700:828] = photograph.colour[::4, ::4]
    folder = shared / "models"
    assert yunet(folder, "&size=160x120").detect(frame_of(small)) == ()
    (face,) = yunet(folder, "&size=1600x1200").detect(frame_of(small))
    assert face.box.iou(Box(x=700 + 44, y=600 + 16, w=24, h=24)) > 0.5
    assert yunet(folder, "&size=1600x1200&min_score=0.99").detect(frame_of(small)) == ()


def test_group_photos(shared: Path) -> None:
    """Measured on 9 photos with 43 boxes: BlazeFace full range finds 42 of them, and no others."""
    detector = CASES["blazeface-full"].make(shared / "models")
    archive = existing(shared / "data" / "group_photos.zip")
    hits = extra = 0
    with zipfile.ZipFile(archive) as photos:
        table = next(n for n in photos.namelist() if n.endswith("boxes.csv"))
        rows = list(csv.DictReader(io.TextIOWrapper(photos.open(table))))
        assert len(rows) == 43
        for name in {row["image"] for row in rows}:
            member = next(n for n in photos.namelist() if n.endswith(name))
            picture = cv2.imdecode(np.frombuffer(photos.read(member), np.uint8), cv2.IMREAD_COLOR)
            boxes = [
                Box(
                    x=float(row["x1"]),
                    y=float(row["y1"]),
                    w=float(row["x2"]) - float(row["x1"]),
                    h=float(row["y2"]) - float(row["y1"]),
                )
                for row in rows
                if row["image"] == name
            ]
            for face in detector.detect(frame_of(np.asarray(picture, np.uint8))):
                near = max(boxes, key=face.box.iou, default=None)
                if near is not None and face.box.iou(near) >= 0.3:
                    boxes.remove(near)
                    hits += 1
                else:
                    extra += 1
    assert hits >= 41
    assert extra <= 1


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("harr", "Did you mean haar"),
        ("yuunet", "Did you mean yunet"),
        ("blazeface-fulll", "Did you mean blazeface-full"),
        ("", "Known: blazeface-front, blazeface-full"),
        ("haar?cascad=alt2", "Did you mean cascade"),
        ("haar?cascade=left", "alt2"),
        ("haar?scale_factor=1", "above 1"),
        ("haar?min_size=big", "min_size"),
        ("haar?min_size", "key=value"),
        ("haar?min_size=9&min_size=8", "once"),
        ("haar?min_neighbours=0", "1 to 1000"),
        ("haar?scale_factor=nan", "at most 2"),
        ("haar?scale_factor=inf", "at most 2"),
        ("haar?min_size=99999999999", "1 to 10000"),
        ("yunet?min_score=1.5", "between 0 and 1"),
        ("yunet?max_overlap=nan", "between 0 and 1"),
        ("yunet?size=320", "WIDTHxHEIGHT"),
        ("yunet?size=0x240", "WIDTHxHEIGHT"),
        ("yunet?size=320x99999", "16 to 4096"),
        ("yunet?sise=320x240", "Did you mean size"),
        ("mine.tflite?min_scor=0.5", "Did you mean min_score"),
        ("mine.tflite?min_score=half", "min_score cannot be 'half'"),
    ],
)
def test_a_wrong_name_or_option_is_explained(uri: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        open_detector(uri)


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("expression", "is a classifier, not a detector"),
        ("gone.tflite", "There is no model"),
        ("yunet?file=gone.onnx", "There is no YuNet file at gone.onnx"),
        ("yunet?file={text}", "is no YuNet"),
        ("yunet?file={classifier}", "is no YuNet"),
        ("{text}", "is not a .tflite file"),
        ("{cut}", "cut off|damaged"),
    ],
)
def test_a_file_of_the_wrong_kind_is_explained(uri: str, says: str, tmp_path: Path) -> None:
    from edge_fer.models import find

    whole = find("expression").read_bytes()
    (tmp_path / "text").write_text("no model\n" * 100)
    (tmp_path / "classifier").write_bytes(whole)
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    names = {path.name: path for path in tmp_path.iterdir()}
    with pytest.raises(ModelError, match=says) as caught:
        open_detector(uri.format(**names))
    assert caught.value.remedy


@pytest.mark.parametrize("name", ["yunet", "blazeface-full", "blazeface-front"])
def test_a_model_that_was_not_pulled_says_how_to(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from edge_fer.models.folders import SYSTEM

    if SYSTEM.is_dir():
        pytest.skip(f"models were pulled into {SYSTEM}")
    monkeypatch.setenv("EDGE_FER_MODELS", str(tmp_path))
    with pytest.raises(ModelError) as caught:
        open_detector(name)
    assert f"edge-fer models pull {name}" in caught.value.remedy


STUB = """
import sys, types
cv2 = types.ModuleType('cv2'); cv2.__version__ = '{version}'; sys.modules['cv2'] = cv2
from edge_fer.detectors import open_detector
from edge_fer.errors import MissingExtra
try: open_detector('{name}')
except MissingExtra as err: print(err)
"""


@pytest.mark.parametrize(("name", "version"), [("haar", "5.0.0"), ("yunet", "4.5.1")])
def test_an_opencv_that_lacks_the_class_says_what_to_install(name: str, version: str) -> None:
    """OpenCV 5 has no cascades, and those before 4.5.4 no YuNet; a stub module stands for them."""
    code = STUB.format(name=name, version=version)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert version in out.stdout
    assert "opencv-python-headless>=4.11,<5" in out.stdout
    assert MissingExtra.exit_code == 3
