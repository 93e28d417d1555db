"""A network as a detector: its contract, its faces, its golden vectors, and rubbish in."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from flat_graph import FlatGraph
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_detector import (
    bright_square_detector,
    contract_of,
    detector_of,
    file_of,
    frame_of,
    grid_heads,
    head,
    saying,
)

from edge_fer.backends import open_backend
from edge_fer.backends.base import Array
from edge_fer.backends.fake import FakeBackend
from edge_fer.cameras.lazy import LazyFrame
from edge_fer.classifier import Classifier
from edge_fer.contract import Golden, ModelContract, SquareRule, TensorQuantisation
from edge_fer.detectors import open_detector
from edge_fer.detectors.base import checked
from edge_fer.detectors.network import NetworkDetector
from edge_fer.detectors.nms import MOST
from edge_fer.errors import ConfigError, DataError, ModelError
from edge_fer.modelfile import ModelFile, embed, read_model
from edge_fer.models import find
from edge_fer.types import Box, Face, Frame

BLACK = frame_of(np.zeros((64, 96), np.uint8))


def constant(said: dict[str, dict[tuple[int, int], Any]], **contract: Any) -> NetworkDetector:
    """Says the same of every picture."""
    made = contract_of(**contract)
    heads = grid_heads(made)
    return detector_of(made, lambda array: saying(heads, said))


FACE = {
    "score_16": {(1, 2): 0.75},
    "box_16": {(1, 2): [0.0, 0.0, 0.0, 0.0]},  # 32..48, 16..32
    "keypoints_16": {(1, 2): [0.25, -0.25, -0.25, -0.125, 0.0, 0.25]},
}


def test_a_face_is_said_in_pixels_of_the_frame_the_left_eye_first() -> None:
    (face,) = constant(FACE).detect(frame_of(np.zeros((128, 192), np.uint8)))
    assert face.box == Box(x=64, y=32, w=32, h=32)
    assert face.score == 0.75
    assert face.keypoints == ((72, 44), (88, 40), (80, 56))


def test_a_face_in_a_region_is_said_in_pixels_of_the_frame() -> None:
    (face,) = constant(FACE).detect_in(BLACK, Box(x=20, y=30, w=48, h=32))
    assert face.box == Box(x=36, y=38, w=8, h=8)
    assert face.keypoints is not None
    assert face.keypoints[0] == (38, 41)


def test_a_region_outside_of_the_frame_holds_nobody() -> None:
    assert constant(FACE).detect_in(BLACK, Box(x=96, y=0, w=48, h=32)) == ()


def test_boxes_end_with_the_frame_and_those_in_the_black_bars_are_none() -> None:
    # 64x96 input, 64x32 frame: columns 32 to 64 of the input are the picture.
    frame = frame_of(np.zeros((64, 32), np.uint8))
    (face,) = constant(FACE | {"box_16": {(1, 2): [-0.75, 0, 0, 0]}}).detect(frame)
    assert face.box == Box(x=0, y=16, w=4, h=16)
    assert constant(FACE | {"box_16": {(1, 2): [-2, 0, 0, 0]}}).detect(frame) == ()


def test_without_keypoints_there_are_none() -> None:
    (face,) = constant(FACE, keypoints=()).detect(BLACK)
    assert face.keypoints is None


def test_thresholds_are_the_contracts_unless_given() -> None:
    contract = contract_of(min_score=0.4, max_overlap=0.6)
    heads = grid_heads(contract)
    said = {"score_8": {(2, 2): 0.45, (2, 3): 0.9}, "box_8": {(2, 2): [0.5, 0, 1, 1]}}
    said["box_8"][2, 3] = [0, 0, 1, 1]  # IoU .7 with its neighbour

    def faces(**thresholds: float) -> int:
        detector = detector_of(contract, lambda array: saying(heads, said), **thresholds)
        return len(detector.detect(BLACK))

    assert faces() == 1
    assert faces(max_overlap=0.8) == 2
    assert faces(max_overlap=0.8, min_score=0.5) == 1
    assert faces(min_score=0.95) == 0


@pytest.mark.parametrize("name", ["min_score", "max_overlap"])
@pytest.mark.parametrize("value", [0.0, 1.0, -0.1, float("nan"), float("inf")])
def test_thresholds_lie_between_0_and_1(name: str, value: float) -> None:
    with pytest.raises(ConfigError, match=f"{name} must lie between 0 and 1"):
        detector_of(contract_of(), lambda array: (), **{name: value})


def test_the_square_follows_the_contracts_rule_and_the_eyes() -> None:
    box = Box(x=100, y=50, w=40, h=60)
    rule = SquareRule(unit="height", side=1.1, centre_y=0.4)
    tall = constant(FACE, square=rule).face_square(Face(box=box, score=1))
    assert (tall.cx, tall.cy, tall.side, tall.roll_deg) == (120, 74, 66, 0)
    wide = constant(FACE).face_square(Face(box=box, score=1))
    assert (wide.cx, wide.cy, wide.side) == (120, 50 + 0.46 * 40, 48)


@pytest.mark.parametrize("degrees", [-60.0, -12.0, 0.0, 30.0])
@pytest.mark.parametrize("swapped", [False, True])
def test_the_roll_is_that_of_the_eyes_clockwise(degrees: float, swapped: bool) -> None:
    turn = math.radians(degrees)
    dx, dy = 10 * math.cos(turn), 10 * math.sin(turn)  # y down: the right eye sinks clockwise
    eyes = [(120 - dx, 70 - dy), (120 + dx, 70 + dy)]
    face = Face(
        box=Box(x=100, y=50, w=40, h=40), score=1, keypoints=tuple(eyes[:: -1 if swapped else 1])
    )
    assert constant(FACE).face_square(face).roll_deg == pytest.approx(degrees)


def test_eyes_on_top_of_each_other_say_nothing_of_the_roll() -> None:
    eyes = ((120.0, 70.0), (120.1, 74.0))
    face = Face(box=Box(x=100, y=50, w=40, h=40), score=1, keypoints=eyes)
    assert constant(FACE).face_square(face).roll_deg == 0


NAMES = ("right_eye", "left_eye", "nose_tip", "mouth")
# Of an upright face in the square 100..200, 100..200, by FER2013's medians.
POINTS = ((131.9, 138.6), (167.3, 138.6), (150.0, 155.0), (149.6, 174.7))


@pytest.mark.parametrize("unit", ["width", "height"])
@pytest.mark.parametrize(
    "names", [NAMES, (*NAMES[:2], "mouth"), (*NAMES[:3], "chin"), (*NAMES[2:], "chin")]
)
def test_a_face_that_the_frame_cuts_has_the_square_of_its_eyes_and_mouth(
    unit: Literal["width", "height"], names: tuple[str, ...]
) -> None:
    detector = constant({}, keypoints=names, square=SquareRule(unit=unit, side=1.0, centre_y=0.5))
    points = tuple(POINTS[NAMES.index(n)] if n in NAMES else POINTS[3] for n in names)
    known = "mouth" in names and "left_eye" in names
    whole = Box(x=101, y=101, w=98, h=98)
    square = detector.face_square(Face(box=whole, score=1, keypoints=points))
    assert (square.cx, square.cy, square.side) == (150, 150, 98)
    cut = Box(x=101, y=101, w=60, h=60)
    square = detector.face_square(Face(box=cut, score=1, keypoints=points))
    want = (150, 150, 100) if known else (131, 131, 60)
    assert (square.cx, square.cy, square.side) == pytest.approx(want, abs=0.1)


def test_the_square_of_a_cut_face_turns_with_it() -> None:
    turn = math.radians(30)
    turned = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    points = (np.array(POINTS) - 150) @ turned + 150
    face = Face(
        box=Box(x=90, y=90, w=60, h=60), score=1, keypoints=tuple(map(tuple, points.tolist()))
    )
    square = constant({}, keypoints=NAMES).face_square(face)
    assert (square.cx, square.cy, square.side) == pytest.approx((150, 150, 100), abs=0.1)
    assert square.roll_deg == pytest.approx(30)


def test_keypoints_far_beyond_the_box_are_a_guess() -> None:
    points = (*POINTS[:3], (150.0, 9000.0))
    face = Face(box=Box(x=100, y=100, w=50, h=50), score=1, keypoints=points)
    assert constant({}, keypoints=NAMES).face_square(face).side == pytest.approx(60)


# What is wrong with a file


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"input": contract_of(64, 128).input}, "input (1, 64, 96, 1), stated (1, 64, 128, 1)"),
        ({"quantisation": contract_of(quantised=False).quantisation}, "int8, stated float32"),
        (
            {
                "quantisation": contract_of().quantisation.model_copy(
                    update={"input": TensorQuantisation(scale=0.5, zero_point=-128)}
                )
            },
            "scale=0.5",
        ),
        ({"detection": contract_of(keypoints=()).detection}, "keypoints_8"),
    ],
)
def test_a_graph_that_breaks_its_contract_is_refused(changes: dict[str, Any], says: str) -> None:
    good = detector_of(contract_of(), lambda array: ())
    with pytest.raises(ModelError, match="breaks its contract") as caught:
        NetworkDetector(file_of(contract_of().with_(**changes)), good.backend)
    assert says in caught.value.message


def test_heads_of_another_type_than_the_input_are_refused() -> None:
    contract = contract_of()
    heads = [*grid_heads(contract)[:-1], head("keypoints_16", (1, 4, 6, 6), int8=False)]
    with pytest.raises(ModelError, match="keypoints_16 is float32, stated int8"):
        detector_of(contract, lambda array: (), heads)


def test_a_classifier_is_no_detector_and_the_other_way_round() -> None:
    model = read_model(find("expression"))
    backend = open_backend("auto", model.flatbuffer)
    with pytest.raises(ModelError, match="is a classifier, not a detector"):
        NetworkDetector(model, backend)
    detector = detector_of(contract_of(), lambda array: ())
    with pytest.raises(ModelError, match="face-detection"):
        Classifier(detector.model, detector.backend)


# Golden vectors


def heads_of(pixels: Array, contract: ModelContract) -> list[Array]:
    """Something that depends on every pixel."""
    total = int(pixels.astype(int).sum())
    return [
        np.full(spec.shape, (total + i) % 200 - 100, spec.dtype)
        for i, spec in enumerate(grid_heads(contract))
    ]


def with_golden(contract: ModelContract, off: float) -> NetworkDetector:
    shape = (3, contract.input.height, contract.input.width, 1)
    pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    plain = detector_of(contract, lambda array: heads_of(array, contract))
    expected = plain.raw(pixels)
    assert expected.shape == (3, 96 * 11 + 24 * 11)
    expected[1, 1000] += np.asarray(off, expected.dtype)
    golden = contract.with_(golden=Golden.of(pixels, expected))
    return detector_of(golden, lambda array: heads_of(array, contract))


def test_golden_vectors_of_all_heads_hold_within_one_step() -> None:
    assert with_golden(contract_of(), 0).check_golden() == (3, 0.0)
    assert with_golden(contract_of(), 1).check_golden() == (3, 1.0)
    with pytest.raises(ModelError, match="off by 2 steps"):
        with_golden(contract_of(), 2).check_golden()
    assert detector_of(contract_of(), lambda array: ()).check_golden() is None


def test_golden_vectors_of_a_float_model_hold_within_a_thousandth_of_the_value() -> None:
    contract = contract_of(quantised=False)
    found = with_golden(contract, 0.001).check_golden()
    assert found is not None
    assert 0 < found[1] < 1e-3
    with pytest.raises(ModelError, match="golden"):
        with_golden(contract, 0.5).check_golden()


def test_a_golden_vector_that_is_no_number_does_not_hold() -> None:
    with pytest.raises(ModelError, match="golden"):
        with_golden(contract_of(quantised=False), float("nan")).check_golden()


# A file


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A convolution a head, from an 8x8 picture; finds a face wherever it is bright."""
    flat = FlatGraph()
    picture = flat.tensor("picture", (1, 8, 8, 1))

    def conv(name: str, weights: Sequence[float], bias: Sequence[float]) -> int:
        kernel = np.reshape(np.asarray(weights, np.float32), (-1, 1, 1, 1))
        return flat.conv(name, picture, kernel, np.asarray(bias, np.float32))

    score = flat.unary("LOGISTIC", "score", conv("logit", [0.1], [-15]))
    box = conv("box", [0] * 4, [0, 0, 1, 1])
    points = conv("points", [0] * 6, [-0.5, 0, 0.5, 0, 0, 0.5])
    flatbuffer = flat.done([picture], [score, box, points])
    contract = contract_of(8, 8, strides=(1,), quantised=False)
    bare = ModelFile(Path("tiny.tflite"), flatbuffer, contract, "")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8, 1), dtype=np.uint8)
    raw = NetworkDetector(bare, open_backend("auto", flatbuffer)).raw(pixels)
    path = tmp_path_factory.mktemp("models") / "tiny.tflite"
    path.write_bytes(embed(flatbuffer, contract.with_(golden=Golden.of(pixels, raw))))
    return path


def test_a_file_is_a_detector_by_its_path(tiny: Path) -> None:
    image = np.zeros((64, 64), np.uint8)
    image[16:24, 40:48] = 255  # one pixel of the input
    with_options = open_detector(f"{tiny}?min_score=0.9&max_overlap=0.4", threads=2)
    for detector in (open_detector(str(tiny), backend="litert"), with_options):
        (face,) = detector.detect(frame_of(image))
        assert face.box.x + face.box.w / 2 == pytest.approx(44)
        assert face.box.y + face.box.h / 2 == pytest.approx(20)
        assert face.box.w == pytest.approx(8 * math.e)
        detector.close()


def test_a_detector_can_be_verified(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from edge_fer.cli.models import verify

    verify([str(tiny)], json=False)
    assert "good (litert" in capsys.readouterr().out
    verify([str(tiny)], json=True)
    assert '"golden": {' in capsys.readouterr().out


# Rubbish


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (frame_of(np.zeros((0, 0), np.uint8)), "no pixels"),
        (frame_of(np.zeros((0, 640), np.uint8)), "no pixels"),
        (replace(BLACK, luma=np.zeros((9, 9), np.uint16)), r"uint16.*>> 8"),
        (replace(BLACK, luma=np.zeros((9, 9, 3), np.uint8)), r"\[H, W\]"),
    ],
)
def test_what_is_no_frame_is_refused(frame: Frame, says: str) -> None:
    detector = bright_square_detector()
    with pytest.raises(DataError, match=says):
        detector.detect(frame)
    with pytest.raises(DataError, match=says):
        detector.detect_in(frame, Box(x=0, y=0, w=5, h=5))


@pytest.mark.parametrize(
    ("colour", "says"),
    [
        (np.zeros((64, 96, 3), np.uint16), r"uint16.*>> 8"),
        (np.zeros((64, 95, 3), np.uint8), r"\[H, W, 3\]"),
    ],
)
def test_colour_is_judged_by_those_who_look_at_it(colour: np.ndarray, says: str) -> None:
    frame = replace(BLACK, colour=colour)
    with pytest.raises(DataError, match=says):
        checked(frame, colour=True)
    assert checked(frame, colour=False) is frame


def test_a_detector_of_luma_does_not_have_colour_made() -> None:
    def made() -> np.ndarray:
        raise AssertionError("nobody needs it")

    frame = LazyFrame(luma=BLACK.luma, colour=made, t_ns=0, sequence=0, source="lazy")
    detector = bright_square_detector()
    assert detector.detect(frame) == ()
    assert detector.detect_in(frame, Box(x=0, y=0, w=50, h=50)) == ()


regions = st.none() | st.builds(
    Box,
    x=st.floats(-400, 400),
    y=st.floats(-400, 400),
    w=st.floats(0.1, 900),
    h=st.floats(0.1, 900),
)


@settings(max_examples=300, deadline=None)
@given(
    size=st.tuples(st.integers(1, 400), st.integers(1, 400)),
    seed=st.integers(0, 2**32 - 1),
    spread=st.sampled_from([1, 20, 128]),
    region=regions,
    keypoints=st.sampled_from([(), ("right_eye", "left_eye", "nose")]),
)
def test_random_heads_give_faces_in_the_frame(
    size: tuple[int, int],
    seed: int,
    spread: int,
    region: Box | None,
    keypoints: tuple[str, ...],
) -> None:
    contract = contract_of(keypoints=keypoints)
    heads = grid_heads(contract)
    rng = np.random.default_rng(seed)
    detector = detector_of(
        contract,
        lambda array: [rng.integers(-spread, spread, spec.shape).astype(np.int8) for spec in heads],
        min_score=0.3,
    )
    frame = frame_of(rng.integers(0, 256, size, dtype=np.uint8))
    faces = detector.detect(frame) if region is None else detector.detect_in(frame, region)
    assert len(faces) <= MOST
    assert [f.score for f in faces] == sorted((f.score for f in faces), reverse=True)
    for face in faces:
        box, square = face.box, detector.face_square(face)
        assert 0.3 <= face.score <= 1
        assert box.w > 0
        assert box.h > 0
        assert 0 <= box.x <= box.x + box.w <= frame.width + 1e-9
        assert 0 <= box.y <= box.y + box.h <= frame.height + 1e-9
        assert np.isfinite([square.cx, square.cy, square.side, square.roll_deg]).all()
        assert np.isfinite(face.keypoints or ()).all()
        assert len(face.keypoints or ()) == len(keypoints)


def test_the_same_picture_gives_the_same_faces() -> None:
    contract = contract_of()
    heads = grid_heads(contract)
    rng = np.random.default_rng(3)
    arrays = [rng.integers(-128, 128, spec.shape).astype(np.int8) for spec in heads]
    detector = detector_of(contract, lambda array: arrays)
    assert len(detector.detect(BLACK)) > 5
    assert detector.detect(BLACK) == detector.detect(BLACK)


def test_a_closed_detector_says_so() -> None:
    detector = bright_square_detector()
    assert isinstance(detector.backend, FakeBackend)
    detector.close()
    assert detector.backend.closed
    with pytest.raises(ModelError, match="closed"):
        detector.detect(BLACK)
