"""Every detector, real and fake, keeps the same promises."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edge_fer.detectors import open_detector
from edge_fer.detectors.fake import FakeDetector
from edge_fer.errors import ConfigError, MissingExtra
from edge_fer.pictures import luma_of
from edge_fer.types import Box, Detector, Face, Frame, Image

PLACES = (
    Face(box=Box(x=10, y=10, w=40, h=40), score=0.3),
    Face(box=Box(x=177, y=66, w=95, h=95), score=0.9),
)


@pytest.fixture(
    params=[
        pytest.param(
            lambda: FakeDetector(lambda frame: PLACES if frame.luma.any() else ()), id="fake"
        ),
        pytest.param(lambda: open_detector("haar"), id="haar"),
        pytest.param(lambda: open_detector("haar?cascade=alt2"), id="haar-alt2"),
    ]
)
def detector(request: pytest.FixtureRequest) -> Detector:
    make: Callable[[], Detector] = request.param
    return make()


def frame_of(picture: Image) -> Frame:
    colour = picture if picture.ndim == 3 else None
    return Frame(luma=luma_of(picture), colour=colour, t_ns=0, sequence=0, source="test")


@pytest.fixture(scope="module")
def astronaut() -> Frame:
    from skimage.data import astronaut as picture

    return frame_of(np.ascontiguousarray(picture()[:, :, ::-1]))


def test_it_finds_the_astronaut(detector: Detector, astronaut: Frame) -> None:
    best = detector.detect(astronaut)[0]
    assert best.box.iou(Box(x=177, y=66, w=95, h=95)) > 0.8


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


def test_gray_is_enough_and_nothing_is_found_in_nothing(
    detector: Detector, astronaut: Frame
) -> None:
    gray = frame_of(astronaut.luma)
    assert detector.detect(gray) == detector.detect(astronaut)
    assert detector.detect(frame_of(np.zeros((120, 160), np.uint8))) == ()


def test_a_frame_smaller_than_a_face_is_no_error(detector: Detector) -> None:
    assert detector.detect(frame_of(np.zeros((5, 7), np.uint8))) == ()


def test_the_frame_is_not_changed(detector: Detector, astronaut: Frame) -> None:
    before = astronaut.luma.copy()
    detector.detect(astronaut)
    assert np.array_equal(astronaut.luma, before)


def test_the_square_sits_on_the_face(detector: Detector, astronaut: Frame) -> None:
    face = detector.detect(astronaut)[0]
    square = detector.face_square(face)
    assert 0.8 < square.side / face.box.w < 1.5
    assert abs(square.cx - (face.box.x + face.box.w / 2)) < 0.1 * face.box.w


def test_close_twice_is_fine(detector: Detector) -> None:
    detector.close()
    detector.close()


def test_a_larger_smallest_face_finds_fewer(astronaut: Frame) -> None:
    assert len(open_detector("haar").detect(astronaut)) == 1
    assert open_detector("haar?min_size=120").detect(astronaut) == ()


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("harr", "Did you mean haar"),
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
    ],
)
def test_a_wrong_name_or_option_is_explained(uri: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        open_detector(uri)


def test_an_opencv_without_haar_says_what_to_install(tmp_path: object) -> None:
    """OpenCV 5 has neither the class nor the files; a stub module stands for it."""
    import subprocess
    import sys

    code = (
        "import sys, types\n"
        "cv2 = types.ModuleType('cv2'); cv2.__version__ = '5.0.0'; sys.modules['cv2'] = cv2\n"
        "from edge_fer.detectors.haar import HaarDetector\n"
        "from edge_fer.errors import MissingExtra\n"
        "try: HaarDetector()\n"
        "except MissingExtra as err: print(err)\n"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "5.0.0" in out.stdout
    assert "opencv-python-headless>=4.11,<5" in out.stdout
    assert MissingExtra.exit_code == 3
