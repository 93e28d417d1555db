"""The quality gate: every reason, its order, and the limits on both sides."""

import math
import sys
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_fer.cameras import open_camera
from edge_fer.contract import QualityRange, QualityRanges
from edge_fer.detectors.yunet import YuNetDetector
from edge_fer.errors import ConfigError
from edge_fer.gate import Limits, QualityGate, Tilt, tilt_of
from edge_fer.quality import measure
from edge_fer.types import Box, Face, Frame, Square

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import gate as bench

RANGES = QualityRanges(
    n=2332,
    brightness=QualityRange(p1=54.0, p50=129.9, p99=202.2),
    contrast=QualityRange(p1=26.5, p50=53.7, p99=86.3),
    sharpness=QualityRange(p1=0.447, p50=0.834, p99=1.433),
    noise=QualityRange(p1=1.58, p50=4.21, p99=9.85),
)
FRAME = Frame(luma=np.zeros((480, 640), np.uint8), colour=None, t_ns=0, sequence=0, source="test")
SQUARE = Square(cx=320, cy=240, side=100)
YUNET = YuNetDetector.keypoints
FRONT = ((280.0, 220.0), (320.0, 220.0), (300.0, 240.0), (285.0, 260.0), (315.0, 260.0))


def picture(mean: float = 128, contrast: float = 40, noise: float = 1.0) -> np.ndarray:
    """A smooth random picture of this light, ``uint8[48, 48, 1]``."""
    rng = np.random.default_rng(0)
    smooth = cv2.resize(rng.normal(0, 1, (12, 12)), (48, 48), interpolation=cv2.INTER_CUBIC)
    smooth = (smooth - smooth.mean()) / smooth.std() * contrast + mean
    levels = np.clip(np.rint(smooth + rng.normal(0, noise, (48, 48))), 0, 255)
    return levels.astype(np.uint8)[:, :, None]


def face(points: tuple[tuple[float, float], ...] | None = None) -> Face:
    return Face(box=Box(x=270, y=190, w=100, h=100), score=0.9, keypoints=points)


def reason(pixels: np.ndarray, square: Square = SQUARE, of: Face | None = None) -> str | None:
    gate = QualityGate(RANGES, keypoints=YUNET)
    return gate.check(FRAME, of or face(), square, pixels)


def test_a_usual_face_passes() -> None:
    assert reason(picture()) is None
    assert reason(picture(), of=face(FRONT)) is None


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (picture(mean=5, contrast=4), "dark"),  # too little light
        (picture(mean=250, contrast=4), "dark"),  # too much
        (picture(contrast=2), "dark"),  # none of it on the face
        (picture(mean=60, contrast=12, noise=12), "dark"),  # so little that noise takes over
        (cv2.GaussianBlur(picture(noise=0), (0, 0), 6)[:, :, None], "blurred"),
        (np.full((48, 48, 1), 128, np.uint8), "dark"),
    ],
)
def test_spoilt_pixels(pixels: np.ndarray, expected: str) -> None:
    assert reason(pixels) == expected
    assert QualityGate(None).check(FRAME, face(), SQUARE, pixels) is None


def test_the_limits_lie_where_the_contract_and_the_margins_put_them() -> None:
    ours = Limits(brightness=0.0, contrast=1.0, sharpness=0.0)
    gate = QualityGate(RANGES, limits=ours)
    for mean, contrast, expected in (
        (56, 30, None),
        (50, 30, "dark"),
        (200, 30, None),
        (206, 30, "dark"),
        (128, 28, None),
        (128, 25, "dark"),
    ):
        pixels = picture(mean=mean, contrast=contrast)
        found = measure(pixels)
        assert gate.check(FRAME, face(), SQUARE, pixels) == expected, found


def test_size_is_judged_by_the_square_and_first() -> None:
    black = np.zeros((48, 48, 1), np.uint8)
    assert reason(black, replace(SQUARE, side=35.9)) == "too_small"
    assert reason(black, replace(SQUARE, side=36.0)) == "dark"
    assert QualityGate(RANGES, min_side=0).check(FRAME, face(), SQUARE, picture()) is None


@pytest.mark.parametrize("side", [-1.0, math.nan, math.inf])
def test_a_size_that_is_none_is_refused(side: float) -> None:
    with pytest.raises(ConfigError, match="pixels"):
        QualityGate(RANGES, min_side=side)


@pytest.mark.parametrize("roll", [-46.0, 46.0, 180.0])
def test_a_face_that_lies_on_its_side_is_off_axis(roll: float) -> None:
    assert reason(picture(), replace(SQUARE, roll_deg=roll)) == "off_axis"
    assert reason(picture(), replace(SQUARE, roll_deg=math.copysign(44, roll))) is None


def test_a_turned_head_is_off_axis_whatever_its_roll() -> None:
    turned = np.array(FRONT)
    turned[2, 0] += 30  # the nose beside an eye
    for degrees in (0, 20, -30):
        turn = math.radians(degrees)
        matrix = [[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]
        rolled = tuple(map(tuple, (np.array(turned) @ np.array(matrix).T).tolist()))
        assert tilt_of(face(rolled), YUNET).nose == pytest.approx(0.75)
        assert reason(picture(), of=face(rolled)) == "off_axis"


def test_eyes_that_are_near_to_each_other_are_a_profiles() -> None:
    narrow = ((295.0, 220.0), (310.0, 220.0), (300.0, 240.0), (295.0, 260.0), (308.0, 260.0))
    assert reason(picture(), of=face(narrow)) == "off_axis"
    same = ((300.0, 220.0), (300.0, 220.0), *FRONT[2:])
    assert reason(picture(), of=face(same)) == "off_axis"


def test_without_keypoints_or_their_names_nothing_is_said_of_the_pose() -> None:
    assert tilt_of(face(), YUNET) == Tilt()
    assert tilt_of(face(FRONT), ()) == Tilt()
    assert tilt_of(face(FRONT[:2]), YUNET) == Tilt()
    assert tilt_of(face(FRONT[:2]), ("nose", "mouth")) == Tilt()
    eyes = tilt_of(face(FRONT[:2]), YUNET[:2])
    assert eyes == Tilt()
    blaze = ("right_eye", "left_eye", "nose_tip", "mouth", "right_ear", "left_ear")
    six = (*FRONT[:3], (300.0, 260.0), (260.0, 225.0), (340.0, 225.0))
    assert tilt_of(face(six), blaze) == Tilt(nose=pytest.approx(0), eyes_to_mouth=1.0)


def test_yunets_keypoints_are_what_it_says(shared: Path) -> None:
    """A man who looks into the camera: the nose in the middle, eyes over a mouth."""
    file = shared / "models" / "yunet_2023mar.onnx"
    clip = shared / "data" / "clips" / "single_face.mp4"
    if not (file.exists() and clip.exists()):
        pytest.skip(f"no {file} or {clip}")
    detector, camera = YuNetDetector(file=str(file)), open_camera(f"video:{clip}")
    frame = camera.read()
    camera.close()
    assert frame is not None
    (found,) = detector.detect(frame)
    tilt = tilt_of(found, detector.keypoints)
    assert tilt.nose == pytest.approx(0, abs=0.25)
    assert tilt.eyes_to_mouth == pytest.approx(1, abs=0.25)
    assert (
        QualityGate(None, keypoints=detector.keypoints).check(
            frame, found, detector.face_square(found), picture()
        )
        is None
    )
    swapped = tilt_of(found, (*YUNET[:2], "right_mouth", "left_mouth", "nose"))
    assert swapped.nose != pytest.approx(tilt.nose, abs=0.1)


@pytest.mark.parametrize(
    ("square", "expected"),
    [
        (Square(cx=1, cy=240, side=100), None),
        (Square(cx=-1, cy=240, side=100), "occluded"),
        (Square(cx=639, cy=240, side=100), None),
        (Square(cx=641, cy=240, side=100), "occluded"),
        (Square(cx=320, cy=-1, side=100), "occluded"),
        (Square(cx=320, cy=454, side=100), None),
        (Square(cx=320, cy=456, side=100), "occluded"),
    ],
)
def test_a_face_that_the_frame_cuts(square: Square, expected: str | None) -> None:
    assert reason(picture(), square) == expected


def test_the_benchmarks_cut_takes_the_share_it_says() -> None:
    crop = np.tile(np.arange(48, dtype=np.uint8) * 5, (48, 1))
    left = bench.cut(crop, "left", 0.25)
    assert left.frame.width == 72
    assert left.square.cx - left.square.side / 2 == pytest.approx(-24)
    assert left.face.box == Box(x=0, y=0, w=72, h=96)
    below = bench.cut(crop, "bottom", 0.25)
    assert (below.frame.height, below.square.cy) == (72, 48)
    whole = bench.whole(crop)
    assert (whole.face.box.w, whole.face.box.h) == (96, 96)


def test_no_clean_face_of_the_data_is_refused(fer2013: Path) -> None:
    from edge_fer.assemble import open_classifier
    from edge_fer.evaluation.data import load

    classifier = open_classifier("expression", threads=1)
    rows = load(fer2013, classifier.labels, split="validation")
    some = rows.take(np.arange(0, len(rows), 10))
    gate = QualityGate(classifier.contract.quality)
    shown = [bench.whole(image) for image in some.images]
    found = bench.judged("clean", shown, some.truth, classifier, gate)
    classifier.close()
    assert found.n > 200
    assert found.refused <= 0.02
    assert found.accuracy_on is not None
    assert found.accuracy_on > 0.85
