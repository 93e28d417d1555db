"""The figures of a detector, against figures worked out by hand and by plainer code."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_fer.detectors.fake import FakeDetector
from edge_fer.errors import DataError
from edge_fer.evaluation.boxes import LabelledBox, LabelledScene, SceneSet, View
from edge_fer.evaluation.conditions import CONDITIONS, HEIGHTS, recall_under_conditions
from edge_fer.evaluation.detection import (
    FALSE,
    HIT,
    NEITHER,
    Ranking,
    Scored,
    greedy,
    one_to_one,
    overlaps,
)
from edge_fer.evaluation.detector import Entrant, evaluate_detectors, eye_error, low_twin
from edge_fer.types import Box, Face, Frame

ALL = np.array([True, True])


def ranking(*scenes: tuple[list[float], list[int], int]) -> Ranking:
    return Ranking.of(
        [np.array(scores) for scores, _, _ in scenes],
        [np.array(outcomes, np.int8) for _, outcomes, _ in scenes],
        [faces for _, _, faces in scenes],
    )


# Overlap and matching


def test_overlaps_are_those_of_the_boxes() -> None:
    random = np.random.default_rng(0)
    boxes = [Box(x=a, y=b, w=c, h=d) for a, b, c, d in random.uniform(1, 30, (12, 4))]
    found = overlaps(boxes[:5], boxes[5:])
    assert found.shape == (5, 7)
    assert found == pytest.approx(np.array([[a.iou(b) for b in boxes[5:]] for a in boxes[:5]]))
    assert overlaps([], boxes).shape == (0, 12)
    assert overlaps(boxes, []).shape == (12, 0)
    assert overlaps([Box(x=1, y=1, w=0, h=0)], [Box(x=1, y=1, w=0, h=0)])[0, 0] == 0


def test_greedy_gives_a_face_to_its_first_detection_only() -> None:
    overlap = np.array([[0.6, 0.0], [0.9, 0.1], [0.2, 0.5], [0.0, 0.0]])
    assert greedy(overlap, ALL, 0.5).tolist() == [HIT, FALSE, HIT, FALSE]
    assert greedy(overlap, ALL, 0.55).tolist() == [HIT, FALSE, FALSE, FALSE]


def test_a_second_choice_is_taken_where_the_first_is_gone() -> None:
    overlap = np.array([[0.9, 0.0], [0.6, 0.5]])
    assert greedy(overlap, ALL, 0.5).tolist() == [HIT, HIT]


def test_what_overlaps_a_face_that_does_not_count_is_neither() -> None:
    counted = np.array([True, False])
    overlap = np.array([[0.0, 0.9], [0.0, 0.1], [0.6, 0.7], [0.2, 0.1], [0.0, 0.0]])
    expected = [NEITHER, NEITHER, HIT, FALSE, FALSE]
    assert greedy(overlap, counted, 0.5).tolist() == expected
    assert one_to_one(overlap, counted, 0.5).tolist() == [-2, -2, 0, -1, -1]


def test_one_to_one_pairs_by_overlap_not_by_score() -> None:
    # The best-scored detection overlaps both faces; the second only the first face, and better.
    overlap = np.array([[0.5, 0.4], [0.8, 0.0]])
    assert one_to_one(overlap, ALL, 0.3).tolist() == [1, 0]
    assert one_to_one(overlap, ALL, 0.45).tolist() == [-1, 0]
    assert one_to_one(np.empty((0, 2)), ALL, 0.3).tolist() == []
    assert one_to_one(np.empty((2, 0)), ALL[:0], 0.3).tolist() == [-1, -1]


# Average precision


def test_average_precision_by_hand() -> None:
    # Hit, false, hit of three faces: 1/3 at precision 1, 1/3 at 2/3, the last third is never found.
    assert ranking(([0.9, 0.8, 0.7], [HIT, FALSE, HIT], 3)).average_precision() == pytest.approx(
        1 / 3 + 1 / 3 * 2 / 3
    )
    # Precision is made to fall: false, hit, hit stands at 2/3 from the start.
    assert ranking(([0.9, 0.8, 0.7], [FALSE, HIT, HIT], 2)).average_precision() == pytest.approx(
        2 / 3
    )


def test_average_precision_at_its_ends() -> None:
    assert ranking(([0.9], [HIT], 1), ([0.5], [HIT], 1)).average_precision() == 1
    assert ranking(([], [], 3)).average_precision() == 0
    assert ranking(([0.4], [FALSE], 3)).average_precision() == 0
    assert np.isnan(ranking(([0.4], [FALSE], 0)).average_precision())


def test_detections_that_do_not_count_change_nothing() -> None:
    plain = ranking(([0.9, 0.7], [HIT, FALSE], 2), ([0.8], [HIT], 1))
    more = ranking(([0.9, 0.85, 0.7], [HIT, NEITHER, FALSE], 2), ([0.8], [HIT], 1))
    assert more.average_precision() == plain.average_precision()


def test_the_order_of_equal_scores_does_not_matter() -> None:
    """Haar counts neighbours: half of its faces share a score."""
    one = ranking(([0.5, 0.5, 0.5], [HIT, FALSE, HIT], 2)).average_precision()
    other = ranking(([0.5, 0.5, 0.5], [FALSE, HIT, HIT], 2)).average_precision()
    assert one == other == pytest.approx(2 / 3)


Scenes = list[tuple[list[tuple[int, bool]], int]]


@given(
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.integers(1, 5), st.booleans()), max_size=5), st.integers(0, 3)
        ),
        min_size=1,
        max_size=5,
    ),
    st.data(),
)
def test_it_is_the_definition_and_a_scene_counted_twice_is_two_scenes(
    drawn: Scenes, data: st.DataObject
) -> None:
    times = data.draw(st.lists(st.integers(0, 3), min_size=len(drawn), max_size=len(drawn)))

    def of(scenes: Scenes) -> Ranking:
        return ranking(
            *(
                ([s / 5 for s, _ in found], [HIT if hit else FALSE for _, hit in found], faces)
                for found, faces in ((f, max(n, sum(hit for _, hit in f))) for f, n in scenes)
            )
        )

    weighted = of(drawn).average_precision(np.array(times))
    repeated = [scene for scene, n in zip(drawn, times, strict=True) for _ in range(n)]
    plain = of(repeated).average_precision() if repeated else float("nan")
    assert weighted == pytest.approx(plain, nan_ok=True)
    assert weighted == pytest.approx(defined(of(repeated)) if repeated else plain, nan_ok=True)


def defined(rank: Ranking) -> float:
    """The mean, over all faces, of the best precision at that recall or more."""
    total = int(rank.faces.sum())
    if total == 0:
        return float("nan")
    points = []
    for least in sorted(set(rank.score.tolist())):
        kept = rank.score >= least
        points.append((int(rank.hit[kept].sum()), rank.hit[kept].mean()))
    best = [
        max((p for hits, p in points if hits >= number), default=0.0)
        for number in range(1, total + 1)
    ]
    return float(np.mean(best))


# Intervals


def test_a_share_and_its_interval() -> None:
    hits, total = [3, 0, 2, 4, 1] * 10, [4, 1, 2, 4, 3] * 10
    share = Scored.share(hits, total)
    assert share == Scored.share(hits, total)
    assert share.value == pytest.approx(10 / 14)
    assert share.ci95 is not None
    low, high = share.ci95
    assert 0.5 < low < 10 / 14 < high < 0.9
    assert Scored.share([0], [0]) == Scored(value=None, ci95=None)
    assert Scored.share([2, 0], [2, 0]).ci95 == (1, 1)  # samples without a face are no samples
    assert Scored.precision_of(ranking(([0.3], [FALSE], 0))).value is None


def test_more_scenes_make_a_narrower_interval() -> None:
    def width(scenes: int) -> float:
        ends = Scored.share([1, 0] * scenes, [1, 1] * scenes).ci95
        assert ends is not None
        return ends[1] - ends[0]

    assert 0 < width(200) < width(20) / 2


# Keypoints and thresholds


def test_eyes_are_off_by_their_distance() -> None:
    def face(*points: tuple[float, float]) -> Face:
        return Face(box=Box(x=0, y=0, w=9, h=9), score=1, keypoints=points or None)

    label = LabelledBox(box=Box(x=0, y=0, w=9, h=9), keypoints=((10, 20), (30, 20)), attributes={})
    assert eye_error(face((10, 20), (30, 20), (0, 0)), label) == 0
    assert eye_error(face((10, 24), (33, 20)), label) == pytest.approx((4 + 3) / 2 / 20)
    assert eye_error(face(), label) is None
    assert eye_error(face((1, 1), (2, 2)), replace(label, keypoints=None)) is None
    assert eye_error(face((1, 1), (2, 2)), replace(label, keypoints=((5, 5), (5, 5)))) is None


def test_the_twin_with_a_low_threshold() -> None:
    assert low_twin("haar?cascade=alt2") is None
    assert low_twin("yunet") == "yunet?min_score=0.05"
    assert low_twin("mine.tflite?min_score=0.7") == "mine.tflite?min_score=0.05"


# A detector on scenes


def scene(name: str, *boxes: Box, size: tuple[int, int] = (640, 480)) -> LabelledScene:
    pixels = np.random.default_rng(1).integers(60, 200, (size[1], size[0], 3), dtype=np.uint8)
    data = bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return LabelledScene(
        name=name,
        faces=tuple(LabelledBox(box=box, attributes={}) for box in boxes),
        stated=None,
        original=None,
        contents=lambda: data,
    )


def data_of(*scenes: LabelledScene) -> SceneSet:
    return SceneSet(path="d.zip", sha256="00", labelled=True, scenes=scenes)


BIG, SMALL, TINY = (Box(x=10 * s, y=9, w=s, h=s) for s in (40, 30, 5))


def says(answers: dict[str, list[tuple[Box, float]]]) -> Callable[[Frame], tuple[Face, ...]]:
    return lambda frame: tuple(
        Face(box=box, score=score) for box, score in answers.get(frame.source, [])
    )


def test_a_detector_on_scenes() -> None:
    away = Box(x=500, y=400, w=50, h=50)
    scenes = data_of(scene("a", BIG, SMALL, TINY), scene("b", BIG), scene("c"), scene("d"))
    sure = {"a": [(BIG, 0.9), (TINY, 0.8)], "c": [(away, 0.6), (BIG, 0.7)]}
    doubted = {"a": [*sure["a"], (away, 0.1)], "b": [(BIG, 0.2)], "c": sure["c"]}
    entrant = Entrant(detector=FakeDetector(says(sure)), low=FakeDetector(says(doubted)))
    steps: list[tuple[int, int]] = []
    found = evaluate_detectors({"x": entrant}, scenes, on_step=lambda *s: steps.append(s))["x"]
    document = found.to_json({"name": "x"})
    assert document["schema"] == "edge-fer/evaluate-detector/1"
    # A twelfth of 480 lines: BIG counts just so, SMALL and TINY do not.
    assert (document["faces"], document["ignored"]) == (2, 2)
    assert (document["found"], document["extra"]) == (1, 2)
    assert (document["recall"], document["precision"]) == (0.5, pytest.approx(1 / 3))
    # By score: hit, false, false, hit, false; from the twin.
    assert document["ap50"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 4)
    sizes = document["by_size"]
    assert sizes["40-60"] == {"n": 2, "recall": 0.5, "recall_low_threshold": 1}
    assert sizes["100+"] == {"n": 0, "recall": None, "recall_low_threshold": None}
    free = document["face_free"]
    assert (free["n"], free["false_positives"], free["scenes_with"]) == (2, 2, 1)
    assert free["share"] == 0.5
    assert document["latency_ms"]["n"] == 4
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_smaller_faces_count_when_they_are_asked_for() -> None:
    scenes = data_of(scene("a", BIG, SMALL, TINY))
    entrant = Entrant(detector=FakeDetector(says({"a": [(SMALL, 0.5)]})))
    found = evaluate_detectors({"x": entrant}, scenes, min_height=0)["x"].to_json({})
    assert (found["faces"], found["found"], found["by_size"]["0-40"]["n"]) == (3, 1, 2)


def test_sizes_are_those_of_480_lines() -> None:
    box = Box(x=0, y=0, w=60, h=100)
    scenes = data_of(scene("a", box, size=(1280, 960)))
    document = evaluate_detectors({"x": Entrant(detector=FakeDetector())}, scenes)["x"].to_json({})
    assert document["by_size"]["40-60"]["n"] == 1


def test_all_detectors_see_every_scene() -> None:
    seen: dict[str, list[str]] = {"x": [], "y": []}

    def watch(name: str) -> Entrant:
        def answer(frame: Frame) -> tuple[Face, ...]:
            seen[name].append(frame.source)
            return ()

        return Entrant(detector=FakeDetector(answer))

    evaluate_detectors({n: watch(n) for n in seen}, data_of(scene("a"), scene("b"), scene("c")))
    assert seen["x"] == seen["y"] == ["a", "a", "b", "c"]  # the first also to warm up


def test_damaged_pictures_are_named_and_left_out() -> None:
    bad = replace(scene("bad", BIG), contents=lambda: b"no picture")
    entrant = {"x": Entrant(detector=FakeDetector())}
    found = evaluate_detectors(entrant, data_of(scene("a", BIG), bad))["x"]
    assert found.to_json({})["data"]["n"] == 1
    assert [name for name, _ in found.skipped] == ["bad"]
    with pytest.raises(DataError, match=r"No picture of d\.zip could be read"):
        evaluate_detectors(entrant, data_of(bad))


# Conditions


def shown(name: str, *boxes: Box, seed: int = 0) -> tuple[View, View]:
    view = scene("a", *boxes).view()
    made = CONDITIONS[name](view, np.random.default_rng(seed), 1 / 12)
    assert made is not None
    return view, made


FACE = Box(x=200, y=150, w=90, h=120)


@pytest.mark.parametrize("name", CONDITIONS)
def test_a_condition_is_the_same_every_time_and_leaves_its_scene_alone(name: str) -> None:
    view, made = shown(name, FACE, TINY)
    again, same = shown(name, FACE, TINY)
    assert (view.frame.luma == again.frame.luma).all()
    assert (made.frame.luma == same.frame.luma).all()
    assert made.frame.colour is not None
    assert made.frame.colour.shape == (480, 640, 3)
    assert CONDITIONS[name](scene("b", TINY).view(), np.random.default_rng(0), 1 / 12) is None


def test_a_mask_covers_mouth_and_not_eyes_nor_anything_else() -> None:
    view, made = shown("masked", FACE, TINY)
    changed = view.frame.luma != made.frame.luma
    assert changed[225:255, 225:265].mean() > 0.9
    assert not changed[:185].any()
    assert not changed[:, :180].any()
    assert not changed[:, 310:].any()


def test_dark_is_dark_everywhere() -> None:
    view, made = shown("dark_noise", FACE)
    assert made.frame.luma.mean() < 0.4 * view.frame.luma.mean()


def test_a_half_profile_moves_the_middle_line_and_keeps_the_edges() -> None:
    view = scene("a", FACE).view()
    luma = np.full((480, 640), 50, np.uint8)
    luma[:, 244:247] = 250  # through the middle of the face
    view = replace(view, frame=replace(view.frame, luma=luma, colour=None))
    made = CONDITIONS["half_profile"](view, np.random.default_rng(0), 1 / 12)
    assert made is not None
    line = int(made.frame.luma[210].argmax())
    # 0.38 of half the face with its ears, which is 54 pixels.
    assert abs(line - 245) == pytest.approx(0.38 * 54, abs=3)
    outside = np.ones((480, 640), bool)
    outside[150:270, 191:299] = False
    assert (made.frame.luma[outside] == luma[outside]).all()


@pytest.mark.parametrize("height", HEIGHTS)
def test_a_face_of_a_height(height: int) -> None:
    _, made = shown(f"height_{height}", FACE, Box(x=10, y=10, w=50, h=60), TINY)
    (face,) = [f for f in made.faces if not f.ignore]
    assert face.box.h == pytest.approx(height)
    assert 0 <= face.box.x <= 640 - face.box.w
    assert 0 <= face.box.y <= 480 - face.box.h


def test_a_face_is_where_its_box_says_after_scaling() -> None:
    view = scene("a", FACE).view()
    luma = np.full((480, 640), 50, np.uint8)
    luma[150:270, 200:290] = 250
    view = replace(view, frame=replace(view.frame, luma=luma, colour=None))
    made = CONDITIONS["height_60"](view, np.random.default_rng(0), 1 / 12)
    assert made is not None
    rows, columns = np.nonzero(made.frame.luma > 150)
    box = made.faces[0].box
    assert columns.min() == pytest.approx(box.x, abs=1.5)
    assert columns.max() + 1 == pytest.approx(box.x + box.w, abs=1.5)
    assert rows.min() == pytest.approx(box.y, abs=1.5)
    assert rows.max() + 1 == pytest.approx(box.y + box.h, abs=1.5)


def test_faces_are_not_enlarged_beyond_twice_their_size() -> None:
    view = scene("a", Box(x=20, y=20, w=60, h=90)).view()
    assert CONDITIONS["height_200"](view, np.random.default_rng(0), 1 / 12) is None
    assert CONDITIONS["height_100"](view, np.random.default_rng(0), 1 / 12) is not None


def test_a_face_that_sticks_out_of_the_picture_is_changed_inside_it() -> None:
    for name in ("masked", "half_profile"):
        for box in (Box(x=-30, y=-20, w=90, h=120), Box(x=590, y=400, w=90, h=120)):
            view, made = shown(name, box)
            assert (view.frame.luma != made.frame.luma).any()


def test_recall_under_conditions() -> None:
    scenes = data_of(scene("a", BIG), scene("b", FACE), scene("c"))

    def bright(frame: Frame) -> tuple[Face, ...]:
        if frame.luma.mean() < 80:
            return ()
        return tuple(Face(box=b, score=1) for b in (BIG, FACE))

    detectors = {"all": FakeDetector(bright), "none": FakeDetector()}
    found = recall_under_conditions(detectors, scenes, seed=3)
    assert found["all"]["as_it_is"]["recall"] == 1
    assert found["all"]["as_it_is"]["n"] == 2
    assert found["all"]["dark_noise"]["recall"] == 0
    assert found["all"]["height_200"]["n"] == 1
    assert found["none"]["as_it_is"]["recall"] == 0


@pytest.mark.parametrize(
    ("detector", "ap50", "ap30"),
    [("haar", 0.359, 0.373), ("haar?cascade=alt2&min_neighbours=4&min_size=40", 0.407, 0.419)],
)
@pytest.mark.slow
def test_haar_on_set_a_as_it_was_measured_before(
    shared: Path, detector: str, ap50: float, ap30: float
) -> None:
    """The notes' figures, by other code: 333 faces there, 332 here."""
    from edge_fer.detectors import open_detector
    from edge_fer.evaluation.boxes import read_scenes

    scenes = read_scenes(shared / "data" / "faceboxes_dev.zip")
    entrants = {"x": Entrant(detector=open_detector(detector))}
    document = evaluate_detectors(entrants, scenes)["x"].to_json({})
    assert document["faces"] == 332
    assert document["ap50"] == pytest.approx(ap50, abs=0.01)
    assert document["ap30"] == pytest.approx(ap30, abs=0.02)
