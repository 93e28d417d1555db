"""Raw heads to candidates, in closed form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic_detector import SCORE, VALUE, contract_of, grid_heads, head, saying, stored

from edge_fer.backends.base import Array, TensorSpec
from edge_fer.contract import ModelContract
from edge_fer.detectors.decode import Decoder
from edge_fer.detectors.nms import MOST, Candidates, merged
from edge_fer.errors import ModelError
from edge_fer.types import Box

SIX = ("right_eye", "left_eye", "nose", "mouth", "right_ear", "left_ear")


def found(contract: ModelContract, heads: Sequence[TensorSpec], arrays: Sequence[Array], **k: Any):  # type: ignore[no-untyped-def]
    return Decoder(contract, heads, **k).candidates(arrays)


@pytest.mark.parametrize("quantised", [True, False])
@pytest.mark.parametrize("turned", [False, True])
def test_a_grid_cell_says_its_face_in_strides(quantised: bool, turned: bool) -> None:
    contract = contract_of(64, 96, quantised=quantised)
    heads = grid_heads(contract)
    said = {
        "score_16": {(2, 4): 0.75},
        "box_16": {(2, 4): [0.25, -0.5, 1.0, 0.5]},
        "keypoints_16": {(2, 4): [-0.5, -0.25, 0.5, -0.25, 0.0, 0.75]},
        "score_8": {(0, 0): 0.25},
    }
    arrays = saying(heads, said)
    if turned:
        heads, arrays = heads[::-1], arrays[::-1]
    got = found(contract, heads, arrays)
    assert got.scores == pytest.approx([0.75])
    x, y, w, h = (4.5 + 0.25) * 16, (2.5 - 0.5) * 16, np.exp(1.0) * 16, np.exp(0.5) * 16
    assert got.boxes[0] == pytest.approx([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
    points = [[64, 36], [80, 36], [72, 52]]
    assert got.keypoints[0].ravel() == pytest.approx(np.ravel(points))


def test_the_last_row_and_column_of_a_size_that_no_stride_divides_are_there() -> None:
    contract = contract_of(50, 70, strides=(16,), keypoints=())
    heads = grid_heads(contract)
    assert heads[0].shape == (1, 4, 5, 1)
    got = found(contract, heads, saying(heads, {"score_16": {(3, 4): 0.9}}))
    assert got.boxes[0] == pytest.approx([64, 48, 80, 64])
    assert got.keypoints.shape == (1, 0, 2)


def blazeface(quantised: bool) -> tuple[ModelContract, list[TensorSpec]]:
    contract = contract_of(
        128,
        128,
        decoder="anchors",
        strides=(8, 16),
        anchors=(2, 6),
        keypoints=SIX,
        kind="logits",
        quantised=quantised,
    )
    heads = [
        head("boxes_16", (1, 8, 8, 96), int8=quantised),
        head("classes_8", (1, 16, 16, 2), int8=quantised),
        head("boxes_8", (1, 16, 16, 32), int8=quantised),
        head("classes_16", (1, 8, 8, 6), int8=quantised),
    ]
    return contract, heads


OFFSETS = [1.0, -2.0, 3.0, 2.5, *np.arange(12) / 4]


@pytest.mark.parametrize("quantised", [True, False])
def test_an_anchor_says_its_face_in_pixels_from_the_cells_centre(quantised: bool) -> None:
    contract, heads = blazeface(quantised)
    boxes = np.zeros((1, 8, 8, 6, 16))
    boxes[0, 3, 5, 4] = OFFSETS
    classes = np.full((1, 8, 8, 6), -3.0)
    classes[0, 3, 5, 4] = 1.0
    low = np.full((1, 16, 16, 2), -3.0)
    arrays = [
        stored(heads[0], boxes),
        stored(heads[1], low),
        stored(heads[2], np.zeros((1, 16, 16, 32))),
        stored(heads[3], classes),
    ]
    got = found(contract, heads, arrays)
    assert got.scores == pytest.approx([1 / (1 + np.exp(-1.0))])
    x, y = 5.5 * 16 + 1, 3.5 * 16 - 2
    assert got.boxes[0] == pytest.approx([x - 1.5, y - 1.25, x + 1.5, y + 1.25])
    points = np.reshape(OFFSETS[4:], (6, 2)) + np.array([5.5 * 16, 3.5 * 16])
    assert got.keypoints[0].ravel() == pytest.approx(points.ravel())


@pytest.mark.parametrize("turned", [False, True])
def test_joined_heads_say_the_same_as_those_of_each_grid(turned: bool) -> None:
    contract, heads = blazeface(quantised=False)
    rng = np.random.default_rng(0)
    apart = [rng.normal(0, 2, spec.shape).astype(np.float32) for spec in heads]
    joined = [
        np.concatenate([apart[i].reshape(1, -1, n) for i in pair], axis=1)
        for pair, n in (((2, 0), 16), ((1, 3), 1))
    ]
    names = [head("regressors", (1, 896, 16), int8=False)]
    names += [head("classificators", (1, 896, 1), int8=False)]
    if turned:
        names, joined = names[::-1], joined[::-1]
    one, other = found(contract, heads, apart), found(contract, names, joined)
    assert len(one) > 50
    for name in ("boxes", "scores", "keypoints"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


def test_centre_size_and_keypoints_may_have_a_head_each_in_this_order() -> None:
    contract, heads = blazeface(quantised=False)
    rng = np.random.default_rng(0)
    whole = [rng.normal(0, 2, spec.shape).astype(np.float32) for spec in heads]
    names, arrays = [], []
    for box, score in ((2, 1), (0, 3)):
        _, rows, columns, anchors = heads[score].shape
        values = whole[box].reshape(rows, columns, anchors, 16)
        for part, n in (("centre", 2), ("size", 2), ("keypoints", 12)):
            piece, values = np.split(values, [n], axis=3)
            names.append(head(part, (1, rows, columns, anchors * n), int8=False))
            arrays.append(piece.reshape(names[-1].shape))
        names.insert(-1, heads[score])
        arrays.insert(-1, whole[score])
    one, other = found(contract, heads, whole), found(contract, names, arrays)
    assert len(one) > 50
    for name in ("boxes", "scores", "keypoints"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


def test_logits_beyond_all_bounds_are_scores_of_0_and_1() -> None:
    contract, heads = blazeface(quantised=False)
    arrays = [np.ones(spec.shape, np.float32) for spec in heads]
    arrays[1][:], arrays[3][:] = -1e30, -5000.0
    arrays[3][0, 0, 0, 0] = 1e30
    assert found(contract, heads, arrays).scores == pytest.approx([1.0])


@pytest.mark.parametrize("kind", ["probabilities", "logits"])
@pytest.mark.parametrize("least", [0.013, 0.3, 0.5, 0.501, 0.7, 0.997, 0.9999])
def test_the_threshold_of_levels_is_that_of_scores(kind: str, least: float) -> None:
    """One cell of each of the 256 levels: kept are those whose real score is enough."""
    contract = contract_of(16, 16, strides=(1,), keypoints=(), kind=kind)
    scores, boxes = grid_heads(contract)
    if kind == "logits":
        scores = replace(scores, quantisation=VALUE)
    levels = np.arange(-128, 128).astype(np.int8).reshape(1, 16, 16, 1)
    got = found(
        contract, [scores, boxes], [levels, stored(boxes, np.zeros(boxes.shape))], min_score=least
    )
    tensor = SCORE if kind == "probabilities" else VALUE
    real = (levels.astype(float).ravel() - tensor.zero_point) * tensor.scale
    if kind == "logits":
        real = 1 / (1 + np.exp(-real))
    assert sorted(got.scores) == pytest.approx(sorted(real[real >= least]))


def test_a_threshold_above_every_level_finds_nothing() -> None:
    contract = contract_of(16, 16, strides=(1,), keypoints=())
    heads = grid_heads(contract)
    arrays = [np.full(spec.shape, 127, np.int8) for spec in heads]
    assert len(found(contract, heads, arrays, min_score=0.9999)) == 0


def test_of_too_many_the_best_stay() -> None:
    contract = contract_of(64, 64, strides=(1,), keypoints=(), quantised=False)
    heads = grid_heads(contract)
    scores = np.linspace(0.51, 0.99, 64 * 64, dtype=np.float32)
    got = found(contract, heads, [scores.reshape(1, 64, 64, 1), np.zeros((1, 64, 64, 4), "f4")])
    assert sorted(got.scores) == pytest.approx(scores[-MOST:].tolist())


def test_what_is_no_number_or_has_no_area_is_no_face() -> None:
    contract, heads = blazeface(quantised=False)
    arrays = [np.ones(spec.shape, np.float32) for spec in heads]
    arrays[1][:], arrays[3][:] = -9.0, -9.0
    boxes, classes = arrays[0].reshape(8, 8, 6, 16), arrays[3].reshape(8, 8, 6)
    for i, bad in enumerate((np.nan, np.inf, 0.0, -2.0)):
        classes[0, i, 0], boxes[0, i, 0, 2] = 2.0, bad
    classes[1, 0, 0], boxes[1, 0, 0, 9] = 2.0, np.nan
    classes[2, 0, 0] = np.nan
    assert len(found(contract, heads, arrays)) == 0
    classes[3, 0, 0] = 2.0
    assert len(found(contract, heads, arrays)) == 1


def test_a_grids_logarithm_may_say_anything() -> None:
    contract = contract_of(16, 16, strides=(16,), keypoints=(), quantised=False)
    heads = grid_heads(contract)
    arrays = [np.ones(heads[0].shape, "f4"), np.full(heads[1].shape, 1e30, "f4")]
    assert np.isfinite(found(contract, heads, arrays).boxes).all()


@pytest.mark.parametrize(
    ("contract", "change", "says"),
    [
        (contract_of(), lambda h: h[:-1], "no head 1x4x6x6"),
        (contract_of(), lambda h: [*h, head("more", (1, 4, 6, 7))], "more 1x4x6x7 is none"),
        (contract_of(), lambda h: [*h, h[0]], "score_8 1x8x12x1 is none"),
        (contract_of(), lambda h: [], "no head 1x8x12x1"),
        (contract_of(keypoints=()), lambda h: grid_heads(contract_of()), "keypoints_8"),
        (contract_of(keypoints=SIX[:2]), lambda h: h, "1x8x12x4 cannot be told apart"),
        (contract_of(16, 16, strides=(16, 32)), lambda h: h, "cannot be told apart"),
        (contract_of(anchors=(1, 2)), lambda h: h, "1 anchor a cell"),
        (contract_of(), lambda h: [replace(h[0], quantisation=None), *h[1:]], "without a scale"),
        (contract_of(decoder="anchors"), lambda h: h, "no head 1x8x12x10"),
        (
            contract_of(decoder="anchors", keypoints=SIX),
            lambda h: [head("boxes", (1, 120, 16)), head("scores", (1, 121, 1))],
            "no head 1x120x1; scores 1x121x1 is none",
        ),
    ],
)
def test_heads_that_the_contract_does_not_speak_of_are_refused(
    contract: ModelContract, change: Any, says: str
) -> None:
    with pytest.raises(ModelError, match="breaks its contract") as caught:
        Decoder(contract, change(grid_heads(contract)), name="theirs.tflite")
    assert says in caught.value.message
    assert "theirs.tflite" in caught.value.message


def candidates(*rows: Sequence[float], points: int = 0) -> Candidates:
    values = np.array(rows, np.float64).reshape(-1, 5 + 2 * points)
    return Candidates(
        boxes=values[:, 1:5],
        scores=values[:, 0],
        keypoints=values[:, 5:].reshape(len(values), points, 2),
    )


def test_what_overlaps_the_best_becomes_its_weighted_mean() -> None:
    got = merged(
        candidates(
            (0.6, 0, 0, 10, 10, 4, 4),
            (0.9, 1, 0, 11, 10, 5, 4),
            (0.7, 100, 100, 120, 120, 110, 110),
            points=1,
        ),
        0.3,
    )
    assert got.scores.tolist() == [0.9, 0.7]
    x = 0.9 / 1.5
    assert got.boxes[0] == pytest.approx([x, 0, 10 + x, 10])
    assert got.keypoints[0, 0] == pytest.approx([4 + x, 4])
    assert got.boxes[1] == pytest.approx([100, 100, 120, 120])


def test_a_face_with_hundreds_of_candidates_hides_no_other() -> None:
    crowd = [(0.9, 0, 0, 50, 50)] * 530
    got = merged(candidates(*crowd, (0.5, 100, 100, 150, 150)), 0.3)
    assert got.scores.tolist() == [0.9, 0.5]


def test_only_the_best_draws_others_in() -> None:
    """The second overlaps the first and the third; the third stays, for it overlaps no best one."""
    rows = [(0.9, 0, 0, 10, 10), (0.8, 4, 0, 14, 10), (0.7, 8, 0, 18, 10)]
    got = merged(candidates(*rows), 0.3)
    assert got.scores.tolist() == [0.9, 0.7]
    assert got.boxes[1] == pytest.approx([8, 0, 18, 10])


def test_just_the_overlap_is_not_more_than_it() -> None:
    rows = [(0.9, 0, 0, 10, 10), (0.8, 0, 5, 10, 15)]
    assert len(merged(candidates(*rows), 1 / 3)) == 2
    assert len(merged(candidates(*rows), 0.333)) == 1


def test_nothing_stays_nothing_and_a_box_without_area_itself() -> None:
    assert len(merged(candidates(points=3), 0.3)) == 0
    assert merged(candidates(points=3), 0.3).keypoints.shape == (0, 3, 2)
    assert len(merged(candidates((0.5, 3, 3, 3, 3), (0.5, 3, 3, 3, 3)), 0.3)) == 2


def test_equal_scores_keep_their_order() -> None:
    rows = [(0.5, i * 20.0, 0, i * 20.0 + 10, 10) for i in range(50)]
    assert merged(candidates(*rows), 0.3).boxes[:, 0].tolist() == [i * 20.0 for i in range(50)]


def slowly(rows: list[tuple[float, ...]], max_overlap: float) -> list[list[float]]:
    """The published procedure, word by word."""
    left = sorted(rows, key=lambda row: -row[0])
    faces = []
    while left:
        best = Box(x=left[0][1], y=left[0][2], w=left[0][3], h=left[0][4])
        same = [r for r in left if best.iou(Box(x=r[1], y=r[2], w=r[3], h=r[4])) > max_overlap]
        corners = [[r[1], r[2], r[1] + r[3], r[2] + r[4]] for r in same]
        mean = np.average(corners, axis=0, weights=[r[0] for r in same])
        faces.append([left[0][0], *mean])
        left = [r for r in left if r not in same]
    return faces


@settings(max_examples=150, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.floats(0.01, 1.0),
            st.floats(0, 60),
            st.floats(0, 60),
            st.floats(1, 60),
            st.floats(1, 60),
        ),
        max_size=25,
        unique=True,
    ),
    max_overlap=st.floats(0.05, 0.9),
)
def test_it_is_the_published_procedure(rows: list[tuple[float, ...]], max_overlap: float) -> None:
    got = merged(candidates(*((s, x, y, x + w, y + h) for s, x, y, w, h in rows)), max_overlap)
    expected = slowly(rows, max_overlap)
    assert len(got) == len(expected)
    for score, box, row in zip(got.scores, got.boxes, expected, strict=True):
        assert [score, *box] == pytest.approx(row)
