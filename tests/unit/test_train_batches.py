"""Batches: mixing keeps the books, outliers come at their share, classes at theirs."""

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edge_fer.evaluation.data import LabelledFaces
from edge_fer.evaluation.labels import FERPLUS8
from edge_fer_train.augment import Augmentation
from edge_fer_train.batches import Batches, Mixing, draw, prefetch
from edge_fer_train.outliers import Outliers
from edge_fer_train.record import expression_spec

SPEC = expression_spec()


def faces(n: int = 64) -> LabelledFaces:
    """Row i is all of gray level i; its class is i modulo 8."""
    truth = np.arange(n) % 8
    return LabelledFaces(
        path="generated",
        sha256="0",
        split="Training",
        images=[np.full((48, 48), i, np.uint8) for i in range(n)],
        labels=FERPLUS8,
        truth=truth,
        target=np.eye(8, dtype=np.float32)[truth],
        copy_of_training=None,
    )


STILL = Augmentation(
    zoom=0, shift=0, roll_deg=0, contrast=0, brightness=0, gamma=0, blur=0, low_resolution=0,
    jpeg=0, noise=0, occlusion=0,
)  # fmt: skip
PLAIN = Batches(
    faces=faces(),
    spec=SPEC,
    size=16,
    balance=0.0,
    augmentation=STILL,
    mixing=Mixing(),
    outliers=None,
    outlier_share=0.0,
)


def test_an_epoch_shows_every_row_once_with_its_target() -> None:
    seen = []
    for pixels, targets in PLAIN.epoch(np.random.default_rng(0), 4):
        assert pixels.shape == (16, 48, 48, 1)
        levels = pixels[:, 0, 0, 0]
        assert (targets.argmax(1) == levels % 8).all()
        seen += levels.tolist()
    assert sorted(seen) == list(range(64))


@given(st.sampled_from(["mixup", "cutmix"]), st.integers(0, 2**31))
def test_targets_are_mixed_in_the_proportion_of_the_pixels(how: str, seed: int) -> None:
    pixels = np.stack([np.full((48, 48, 1), level, np.uint8) for level in (0, 200)])
    targets = np.eye(2, dtype=np.float32)
    mixed, told = Mixing(**{how: 1.0})(pixels, targets, np.random.default_rng(seed))
    assert told.sum(axis=1) == pytest.approx([1, 1], abs=1e-6)
    assert mixed[0].mean() / 200 == pytest.approx(told[0, 1], abs=0.01)


def test_outliers_come_at_their_share() -> None:
    spoilt = replace(PLAIN, outliers=Outliers(), outlier_share=0.25, size=64)
    told = [t for _ in range(20) for _, t in spoilt.epoch(np.random.default_rng(_), 1)]
    uneven = np.concatenate(told).max(axis=1) < 0.999
    assert 0.2 < uneven.mean() < 0.3
    assert (spoilt.faces.target.max(axis=1) == 1).all()  # the rows themselves stay as they are


@pytest.mark.parametrize(("balance", "rare"), [(0.0, 0.1), (1.0, 0.5)])
def test_balance_draws_rare_classes_more_often(balance: float, rare: float) -> None:
    truth = np.array([0] * 90 + [1] * 10)
    drawn = np.concatenate([draw(truth, balance, np.random.default_rng(i)) for i in range(20)])
    assert (truth[drawn] == 1).mean() == pytest.approx(rare, abs=0.02)


def test_closing_ends_the_thread_that_makes_batches() -> None:
    def endless() -> Iterator[int]:
        yield from count()

    before = threading.active_count()
    with closing(prefetch(endless())) as batches:
        assert next(batches) == 0
        assert threading.active_count() == before + 1
    assert threading.active_count() == before


def test_a_failure_on_the_thread_is_raised_where_it_is_waited_for() -> None:
    def broken() -> object:
        yield 1
        raise OSError("disk gone")

    batches = prefetch(broken())
    assert next(batches) == 1
    with pytest.raises(OSError, match="disk gone"):
        next(batches)
