"""Pasted faces: where they are said to be, and how the whole way of a face is scored."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from edge_fer.backends import open_backend
from edge_fer.classifier import Classifier
from edge_fer.detectors.fake import FakeDetector
from edge_fer.errors import DataError
from edge_fer.evaluation.boxes import LabelledScene
from edge_fer.evaluation.composites import SIDES, drawn_faces, end_to_end, pasted
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.modelfile import read_model
from edge_fer.models import find
from edge_fer.preprocess import fit
from edge_fer.types import Box, Face, Frame

MODEL = read_model(find("expression"))
ROOT = Path(__file__).parents[2]


def flat_scene(level: int, width: int = 300, height: int = 200) -> LabelledScene:
    pixels = np.full((height, width, 3), (level, level // 2, level), np.uint8)
    data = bytes(cv2.imencode(".png", pixels)[1].tobytes())
    return LabelledScene(
        name=f"{level}.png", faces=(), stated=None, original=None, contents=lambda: data
    )


SCENES = [flat_scene(0), flat_scene(20, 100, 400)]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(MODEL, open_backend("auto", MODEL.flatbuffer))


@pytest.fixture(scope="module")
def faces(classifier: Classifier) -> LabelledFaces:
    """Mean faces, brightened, with the names that the model gives them: always right as given."""
    with np.load(ROOT / "edge_fer" / "cameras" / "mean_faces.npz") as stored:
        means = stored["faces"][np.arange(12) % len(stored["faces"])]
    images = [np.clip(m * (1 + i / 40) + 40, 0, 255).astype(np.uint8) for i, m in enumerate(means)]
    spec = classifier.contract.input
    p = classifier.probabilities(np.stack([fit(image, spec) for image in images]))
    return LabelledFaces(
        path="x.npz",
        sha256="00",
        split="PublicTest",
        images=images,
        labels=classifier.labels,
        truth=p.argmax(axis=1),
        target=np.eye(8, dtype=np.float32)[p.argmax(axis=1)],
        copy_of_training=None,
    )


def bright(frame: Frame) -> Box:
    """The pasted square: only it is brighter than the scene."""
    rows, columns = np.nonzero(frame.luma > 45)
    x, y = int(columns.min()), int(rows.min())
    return Box(x=x, y=y, w=int(columns.max()) + 1 - x, h=int(rows.max()) + 1 - y)


def test_a_face_is_where_it_is_said_to_be(faces: LabelledFaces) -> None:
    for made in pasted(faces, SCENES, 1):
        assert made.frame.luma.shape == (480, 640)
        assert made.frame.colour is not None
        assert SIDES[0] <= made.square.w == made.square.h <= SIDES[1]
        assert bright(made.frame).iou(made.square) > 0.8


def test_the_middle_of_a_face_is_untouched_and_its_edge_is_soft(faces: LabelledFaces) -> None:
    made = next(pasted(faces, SCENES, 1))
    x, y, side = (int(v) for v in (made.square.x, made.square.y, made.square.w))
    face = cv2.resize(faces.images[0], (side, side), interpolation=cv2.INTER_CUBIC)
    patch = made.frame.luma[y : y + side, x : x + side]
    inner = slice(side // 5, -side // 5)
    assert np.abs(patch[inner, inner].astype(int) - face[inner, inner]).max() <= 1
    assert patch[0].mean() < 0.3 * face[0].mean()
    middle = patch[side // 2, : side // 12].astype(int)
    assert (np.diff(middle) > -30).all()
    assert middle[-1] > middle[0]


def test_the_same_again_and_other_places_with_another_seed(faces: LabelledFaces) -> None:
    first, again, other = ([m.square for m in pasted(faces, SCENES, seed)] for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert [m.square for m in pasted(faces, SCENES, 1, gray=True)] == first
    assert all(m.frame.colour is None for m in pasted(faces, SCENES, 1, gray=True))


def test_an_oracle_finds_all_and_costs_little(classifier: Classifier, faces: LabelledFaces) -> None:
    """It knows the square: only the soft edge and the resampling are between the two crops."""
    squares = [m.square for m in pasted(faces, SCENES, 5)]

    def exact(frame: Frame) -> tuple[Face, ...]:
        return (Face(box=squares[frame.sequence], score=1),)

    found = end_to_end({"x": FakeDetector(exact)}, classifier, faces, SCENES, seed=5)["x"]
    document = found.to_json()
    assert document["n"] == 12
    assert document["recall"] == document["recall_of_box"] == 1
    assert document["extra"] == 0
    assert document["accuracy_given"] == 1
    assert document["accuracy_found"] == document["accuracy_misses_wrong"] >= 0.5


def test_misses_count_as_wrong_and_stand_apart(
    classifier: Classifier, faces: LabelledFaces
) -> None:
    squares = [m.square for m in pasted(faces, SCENES, 5)]
    away = Box(x=0, y=0, w=8, h=8)

    def every_other(frame: Frame) -> tuple[Face, ...]:
        where = squares[frame.sequence] if frame.sequence % 2 else away
        return (Face(box=where, score=1),)

    detectors = {"half": FakeDetector(every_other), "none": FakeDetector()}
    found = end_to_end(detectors, classifier, faces, SCENES, seed=5)
    half, none = found["half"].to_json(), found["none"].to_json()
    assert (half["recall"], half["extra"]) == (0.5, 6)
    assert half["accuracy_misses_wrong"] == pytest.approx(half["accuracy_found"] / 2)
    assert half["accuracy_given_of_found"] == 1
    assert half["cost_points"] == pytest.approx(100 * (1 - half["accuracy_found"]))
    assert (none["recall"], none["accuracy_misses_wrong"]) == (0, 0)
    assert (none["accuracy_found"], none["cost_points"]) == (None, None)


def test_a_square_that_is_off_is_a_miss(classifier: Classifier, faces: LabelledFaces) -> None:
    squares = [m.square for m in pasted(faces, SCENES, 5)]

    def large(frame: Frame) -> tuple[Face, ...]:
        s = squares[frame.sequence]
        return (Face(box=Box(x=s.x - s.w / 2, y=s.y - s.h / 2, w=2 * s.w, h=2 * s.h), score=1),)

    found = end_to_end({"x": FakeDetector(large)}, classifier, faces, SCENES, seed=5)["x"]
    assert found.to_json()["recall"] == 0  # an overlap of a quarter


def test_faces_are_drawn_without_repeats(faces: LabelledFaces) -> None:
    some = drawn_faces(faces, 5, 7)
    assert len({image.tobytes() for image in some.images}) == 5
    assert [i.tobytes() for i in drawn_faces(faces, 5, 7).images] == [
        i.tobytes() for i in some.images
    ]
    assert len(drawn_faces(faces, 500, 7)) == 12


def test_nothing_to_paste_or_to_paste_into(faces: LabelledFaces) -> None:
    with pytest.raises(DataError, match="no scene"):
        next(pasted(faces, [], 1))
    with pytest.raises(DataError, match="no faces"):
        drawn_faces(faces.take(np.empty(0, np.int64)), 5, 1)
