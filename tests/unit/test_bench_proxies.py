from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import pytest

from edge_fer.contract import InputSpec
from edge_fer.detectors.fake import FakeDetector
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.types import Box, Face, Frame, Square
from edge_fer_bench.accuracy.proxies import (
    ROLL_ROWS,
    Proxy,
    measure_proxies,
    proxies_of,
    roll_of,
    thirds,
)

LABELS = ("anger", "happiness")
SPEC = InputSpec(height=8, width=8, channels=1, colour="gray", scale=(1.0,), offset=(0.0,))


class Eyes(FakeDetector):
    """Finds a face with eyes turned as its first box says, where ``finds`` allows it."""

    def __init__(self, roll: float, finds: Callable[[int], bool] = lambda asked: True) -> None:
        super().__init__()
        self.roll, self.finds = roll, finds
        self.shown: list[Frame] = []

    def detect(self, frame: Frame) -> tuple[Face, ...]:
        self.shown.append(frame)
        if not self.finds(len(self.shown)):
            return ()
        box = Box(x=0, y=0, w=50, h=50)
        return (Face(box=box, score=0.9, keypoints=((10.0, 10.0), (40.0, 10.0))),)

    def face_square(self, face: Face) -> Square:
        return Square(cx=25, cy=25, side=50, roll_deg=self.roll)


def faces(images: list[Any]) -> LabelledFaces:
    truth = np.arange(len(images)) % 2
    return LabelledFaces(
        path="some/faces.npz",
        sha256="00",
        split="validation",
        images=images,
        labels=LABELS,
        truth=truth,
        target=np.eye(2, dtype=np.float32)[truth],
        copy_of_training=None,
    )


def noise(n: int, side: int = 8) -> list[Any]:
    rng = np.random.default_rng(0)
    return [
        np.clip(rng.normal(60 + i, 3 + i / 10, (side, side)), 0, 255).astype(np.uint8)
        for i in range(n)
    ]


def proxy(values: Sequence[float], digits: int = 0) -> Proxy:
    return Proxy(name="size", unit="pixels", digits=digits, values=np.array(values, float))


def test_thirds_are_named_by_bounds_that_are_true() -> None:
    found = thirds(proxy([10, 20, 30, 40, 50, 60, 70, 80, 90]))
    assert found.groups == ("to 37", "37 to 63", "over 63")
    assert found.member.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert found.unit == "pixels"


def test_a_value_on_a_rounded_bound_lies_where_the_name_says() -> None:
    found = thirds(proxy([1.0, 1.2, 1.4, 1.6, 2.4, 3.0]))
    assert found.groups == ("to 1", "1 to 2", "over 2")
    assert found.member.tolist() == [0, 1, 1, 1, 2, 2]


def test_many_equal_values_make_fewer_groups() -> None:
    found = thirds(proxy([48] * 9 + [96]))
    assert found.groups == ("to 48", "over 48")
    assert found.member.tolist() == [0] * 9 + [1]
    assert thirds(proxy([48] * 9)).groups == ("to 48",)


def test_what_is_not_known_is_in_no_group() -> None:
    found = thirds(proxy([np.nan, 10, 20, 40, np.nan]))
    assert found.member.tolist() == [-1, 0, 1, 2, -1]


def test_brightness_contrast_and_sharpness_are_measured_as_the_model_sees_them() -> None:
    """A coloured picture twice the model's size: luma, scaled down."""
    flat = np.zeros((16, 16, 3), np.uint8)
    flat[..., 0] = 200  # red, as RGB
    stripes = np.zeros((8, 8), np.uint8)
    stripes[:, ::2] = 100
    found, _ = proxies_of(faces([flat, stripes]), SPEC, None)
    brightness, contrast, sharpness, size = found
    assert brightness.values.tolist() == pytest.approx([0.299 * 200, 50], abs=1)
    assert contrast.values.tolist() == pytest.approx([0, 50], abs=0.5)
    assert sharpness.values[1] > sharpness.values[0] == 0
    assert size.values.tolist() == [16, 8]


def test_one_size_is_left_out_and_said() -> None:
    found, notes = proxies_of(faces(noise(6)), SPEC, None)
    assert [p.name for p in found] == ["brightness", "contrast", "sharpness"]
    assert "Face size is left out: every picture has 8 pixels a side." in notes
    assert any("no detector" in note for note in notes)


def test_roll_is_that_of_the_eyes_without_its_sign() -> None:
    found, notes = proxies_of(faces(noise(6)), SPEC, Eyes(-7.5))
    assert found[-1].name == "roll"
    assert found[-1].values.tolist() == [7.5] * 6
    assert found[-1].note == "Roll is that of the eyes, found in 6 of 6 pictures asked."
    assert not any("Roll" in note for note in notes)


@pytest.mark.parametrize(("every", "kept"), [(2, True), (3, False)])
def test_roll_is_left_out_where_eyes_are_found_in_fewer_than_half(every: int, kept: bool) -> None:
    detector = Eyes(3.0, lambda asked: asked % every == 0)
    found, notes = proxies_of(faces(noise(12)), SPEC, detector)
    assert (found[-1].name == "roll") is kept
    left_out = f"Roll is left out: the detector finds eyes in {12 // every} of 12 pictures."
    assert (left_out in notes) is not kept
    if kept:
        assert np.isfinite(found[-1].values).tolist() == [False, True] * 6


def test_a_face_without_keypoints_has_no_roll() -> None:
    plain = FakeDetector(lambda frame: (Face(box=Box(x=0, y=0, w=9, h=9), score=1.0),))
    assert roll_of(noise(1)[0], plain) is None
    assert roll_of(noise(1)[0], FakeDetector()) is None


def test_the_detector_sees_the_picture_enlarged_with_its_border_carried_on() -> None:
    picture = np.full((48, 48), 90, np.uint8)
    picture[0, :] = 10
    detector = Eyes(1.0)
    assert roll_of(picture, detector) == 1.0
    shown = detector.shown[0]
    assert (shown.width, shown.height) == (384, 384)
    assert shown.colour is None
    assert shown.luma[0, 200] == pytest.approx(10, abs=15)
    assert shown.luma[-1, 0] == 90
    large = np.zeros((300, 200, 3), np.uint8)
    large[..., 2] = 255  # blue, as RGB
    roll_of(large, detector)
    assert (detector.shown[1].width, detector.shown[1].height) == (500, 600)
    assert detector.shown[1].colour is not None
    assert detector.shown[1].colour[0, 0].tolist() == [255, 0, 0]  # as BGR


def test_only_some_rows_are_asked_for_eyes_spread_over_all() -> None:
    rows = faces(noise(2 * ROLL_ROWS))
    detector = Eyes(2.0)
    told: list[tuple[float, float]] = []
    found, _ = proxies_of(rows, SPEC, detector, on_progress=lambda *at: told.append(at))
    assert len(detector.shown) == ROLL_ROWS
    known = np.flatnonzero(np.isfinite(found[-1].values))
    assert len(known) == ROLL_ROWS
    assert (known[0], known[-1]) == (0, 2 * ROLL_ROWS - 1)
    assert told[-1] == (3 * ROLL_ROWS, 3 * ROLL_ROWS)
    assert [at for at, _ in told] == list(range(1, 3 * ROLL_ROWS + 1))


def test_the_section_calls_them_proxies_everywhere() -> None:
    rows = faces(noise(180))
    before = np.eye(2)[rows.truth] * 0.8 + 0.1
    after = before.copy()
    brightest = thirds(proxies_of(rows, SPEC, None)[0][0]).member == 2
    after[brightest] = after[brightest, ::-1]  # wrong in int8
    part = measure_proxies(rows, before, after, SPEC, None, max_drop=0.5)
    assert (part.key, part.proxies) == ("proxies", True)
    assert "Proxies" in part.title
    assert "no demographic groups" in part.lead
    assert "--groups FILE.csv" in part.lead
    assert "Face size is left out" in part.lead
    assert [g.name for g in part.groupings] == ["brightness", "contrast", "sharpness"]
    brightness = part.groupings[0]
    assert [g.n for g in brightness.groups] == pytest.approx([60, 60, 60], abs=2)
    assert brightness.gap is not None
    assert brightness.gap.worst == brightness.groups[2].name
    assert brightness.gap.points == pytest.approx(100)
    drop, gap = part.findings
    assert drop.startswith("By brightness, int8 costs 100.00 points")
    assert gap.startswith("Int8 is right less often with brightness over ")
    assert "(gray levels; proxies from the pixels, no groups of people)" in gap
    assert "by proxies" in part.grids[0].title
    assert part.to_json()["proxies"] is True
    assert part.to_json()["by"]["brightness"]["unit"] == "gray levels"


def test_a_property_that_all_share_is_left_out_and_said() -> None:
    same = [cv2.flip(noise(1)[0], 1)] * 60
    rows = faces(same)
    p = np.eye(2)[rows.truth]
    part = measure_proxies(rows, p, p, SPEC, Eyes(0.0), max_drop=0.5)
    assert part.groupings == ()
    assert "brightness is left out: nearly all pictures have the same." in part.notes
    assert "roll is left out: nearly all pictures have the same." in part.notes
    assert [*part.findings, *part.grids, *part.figures] == []
