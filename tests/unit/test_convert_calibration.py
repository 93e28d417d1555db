"""The calibration set: even, order-free, and apart from what is evaluated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tiny_tflite import LABELS, pictures, tiny_spec

from edge_fer.errors import DataError
from edge_fer.evaluation.data import LabelledFaces, Rows, labelled
from edge_fer_convert.calibration import CalibrationSet, digests, split_off

SPEC = tiny_spec()


def faces(counts: tuple[int, ...], seed: int = 1) -> LabelledFaces:
    truth = np.repeat(np.arange(len(counts)), counts)
    return LabelledFaces(
        path="made.npz",
        sha256="0",
        split="Training",
        images=list(pictures(len(truth), seed)[..., 0]),
        labels=LABELS,
        truth=truth,
        target=np.eye(len(counts), dtype=np.float32)[truth],
        copy_of_training=None,
    )


def rows(usage: list[str] | None, count: int = 60) -> Rows:
    return Rows(
        path="made.npz",
        sha256="0",
        images=list(pictures(count)[..., 0]),
        classes=LABELS,
        emotion=np.arange(count) % len(LABELS),
        usage=None if usage is None else np.array(usage),
        votes=None,
    )


def test_classes_are_even_and_a_rare_class_gives_all_it_has() -> None:
    chosen = CalibrationSet.choose(faces((100, 3, 100)), SPEC, 42, without=frozenset())
    assert chosen.per_class == {"anger": 19, "happiness": 3, "neutral": 18}
    assert len(chosen) == chosen.record.n == 42


def test_white_and_black_are_always_there() -> None:
    chosen = CalibrationSet.choose(faces((5, 5, 5)), SPEC, 17, without=frozenset())
    assert chosen.pixels[-2].min() == 255
    assert chosen.pixels[-1].max() == 0
    assert len(chosen) == 17


def test_file_order_changes_nothing() -> None:
    given = faces((40, 40, 40))
    order = np.random.default_rng(5).permutation(120)
    shuffled = LabelledFaces(
        path=given.path,
        sha256=given.sha256,
        split=given.split,
        images=[given.images[i] for i in order],
        labels=given.labels,
        truth=given.truth[order],
        target=given.target[order],
        copy_of_training=None,
    )
    a = CalibrationSet.choose(given, SPEC, 30, without=frozenset())
    b = CalibrationSet.choose(shuffled, SPEC, 30, without=frozenset())
    np.testing.assert_array_equal(a.pixels, b.pixels)
    assert a.sha256 == b.sha256
    reversed_set = CalibrationSet(
        pixels=a.pixels[::-1], per_class=a.per_class, split=a.split, wanted=30
    )
    assert reversed_set.sha256 == a.sha256


def test_the_hash_is_over_pixels() -> None:
    a = CalibrationSet.choose(faces((9, 9, 9)), SPEC, 20, without=frozenset())
    changed = a.pixels.copy()
    changed[0, 0, 0, 0] ^= 1
    b = CalibrationSet(pixels=changed, per_class=a.per_class, split=a.split, wanted=20)
    assert a.sha256 != b.sha256


def test_evaluation_pictures_are_left_out() -> None:
    given = faces((10, 10, 10))
    held_out = digests(given.images[:5], SPEC)
    chosen = CalibrationSet.choose(given, SPEC, 100, without=held_out)
    assert chosen.per_class["anger"] == 5
    chosen.check_apart(held_out)


def test_a_pixel_copy_of_an_evaluation_picture_fails() -> None:
    given = faces((10, 10, 10))
    chosen = CalibrationSet.choose(given, SPEC, 12, without=frozenset())
    copied = digests([chosen.pixels[0, ..., 0]], SPEC)
    with pytest.raises(DataError, match="1 of 12 calibration pictures are evaluation"):
        chosen.check_apart(copied)


def test_nothing_left_is_a_data_error() -> None:
    given = faces((4, 4, 4))
    with pytest.raises(DataError, match="no pictures in split Training"):
        CalibrationSet.choose(given, SPEC, 12, without=digests(given.images, SPEC))


def test_the_training_split_calibrates_and_the_test_split_stays_whole() -> None:
    data = rows(["Training"] * 40 + ["PublicTest"] * 20)
    evaluation = labelled(data, LABELS, split=None)
    chosen, kept = split_off(data, evaluation, SPEC, 20)
    assert (chosen.split, kept.split, len(kept)) == ("Training", "PublicTest", 20)
    test_pictures = digests(data.images[40:], SPEC)
    assert not test_pictures & chosen.digests


@pytest.mark.parametrize("usage", [None, ["test"] * 60])
def test_without_a_training_split_a_quarter_is_held_back(usage: list[str] | None) -> None:
    data = rows(usage)
    evaluation = labelled(data, LABELS, split=None)
    chosen, kept = split_off(data, evaluation, SPEC, 512)
    assert (len(chosen), chosen.wanted, len(kept)) == (15, 512, 47)
    assert kept.split.endswith("but the calibration pictures")
    assert len(kept.truth) == len(kept.target) == len(kept.images)
    taken = chosen.digests
    assert not taken & digests(kept.images, SPEC)


def test_duplicates_of_calibration_pictures_are_not_evaluated() -> None:
    data = rows(None, 30)
    doubled = Rows(
        path=str(Path("made.npz")),
        sha256="0",
        images=[*data.images, *data.images],
        classes=LABELS,
        emotion=np.concatenate([data.emotion, data.emotion]),
        usage=None,
        votes=None,
    )
    chosen, kept = split_off(doubled, labelled(doubled, LABELS, split=None), SPEC, 12)
    assert len(kept) == 60 - 2 * (len(chosen) - 2)
