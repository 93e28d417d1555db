"""The calibration set: even, order-free, and apart from what is evaluated."""

from __future__ import annotations

import zipfile
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
from tiny_tflite import LABELS, pictures, tiny_float, tiny_spec

from edge_fer.contract import InputSpec
from edge_fer.detectors import open_detector
from edge_fer.detectors.fake import FakeDetector
from edge_fer.errors import DataError
from edge_fer.evaluation.data import LabelledFaces, Rows, labelled
from edge_fer.types import Image
from edge_fer_convert.calibration.features import penultimate
from edge_fer_convert.calibration.near_copies import NearCopies, perceptual_hashes
from edge_fer_convert.calibration.parting import CalibrationSet, digests, selection, split_off
from edge_fer_convert.calibration.scenes import crops_from_scenes

SPEC = tiny_spec()
FEATURES = penultimate(tiny_float(), SPEC)
BANDS = ("dark", "medium", "bright")


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


def shuffled(given: LabelledFaces, seed: int) -> LabelledFaces:
    return given.take(np.random.default_rng(seed).permutation(len(given)))


def smooth(count: int, seed: int = 1, side: int = 48) -> list[Image]:
    """Pictures ``uint8[side, side]`` of a few soft blobs, of different brightness."""
    rng = np.random.default_rng(seed)
    small = rng.uniform(40, 215, (count, 6, 6)) * rng.uniform(0.3, 1, (count, 1, 1))
    return [cv2.resize(p.astype(np.uint8), (side, side), interpolation=2) for p in small]


def test_with_features_the_order_of_the_file_means_nothing() -> None:
    given = faces((60, 60, 60))
    sets = [
        CalibrationSet.choose(one, SPEC, 38, without=frozenset(), features=FEATURES)
        for one in (given, shuffled(given, 1), shuffled(given, 2))
    ]
    for other in sets[1:]:
        np.testing.assert_array_equal(sets[0].pixels, other.pixels)
        assert other.sha256 == sets[0].sha256
        assert other.manifest() == sets[0].manifest()
    assert sets[0].layer == "pooled"
    assert "k-centre" in sets[0].rule


def test_every_brightness_third_of_every_class_is_there() -> None:
    given = faces((90, 90, 90))
    chosen = CalibrationSet.choose(given, SPEC, 29, without=frozenset(), features=FEATURES)
    assert chosen.manifest()["strata"] == {label: dict.fromkeys(BANDS, 3) for label in LABELS}
    means = chosen.pixels[:-2].mean(axis=(1, 2, 3))
    for label in LABELS:
        of = [means[[s == (label, band) for s in chosen.strata]] for band in BANDS]
        assert of[0].max() < of[1].min()
        assert of[1].max() < of[2].min()
    assert sum(chosen.manifest()["brightness"]) == 27


def test_features_spread_the_choice() -> None:
    given = faces((200, 200, 200))

    def nearest(chosen: CalibrationSet) -> float:
        """Mean distance to the nearest other picture of the stratum."""
        points = FEATURES(chosen.pixels[:-2])
        found = []
        for stratum in set(chosen.strata):
            of = points[[s == stratum for s in chosen.strata]]
            apart = np.linalg.norm(of[:, None] - of[None], axis=2) + np.diag([np.inf] * len(of))
            found.append(apart.min(axis=1).mean())
        return float(np.mean(found))

    plain = CalibrationSet.choose(given, SPEC, 56, without=frozenset())
    spread = CalibrationSet.choose(given, SPEC, 56, without=frozenset(), features=FEATURES)
    assert plain.per_class == spread.per_class
    assert plain.layer == ""
    assert nearest(spread) > 1.3 * nearest(plain)


class Huge:
    """Features of a model that would take hours."""

    layer, macs = "huge", 10**12

    def __call__(self, pixels: Image) -> np.ndarray:
        raise AssertionError("it was run")


def test_a_model_too_large_is_not_run_for_every_candidate() -> None:
    given = faces((30, 30, 30))
    chosen = CalibrationSet.choose(given, SPEC, 32, without=frozenset(), features=Huge())
    plain = CalibrationSet.choose(given, SPEC, 32, without=frozenset())
    assert chosen.sha256 == plain.sha256
    assert (chosen.layer, chosen.rule) == ("", plain.rule)


def test_halves_share_nothing_but_white_and_black() -> None:
    given = faces((80, 80, 3))
    chosen = CalibrationSet.choose(given, SPEC, 62, without=frozenset(), features=FEATURES)
    a, b = chosen.halves()
    assert not a.digests & b.digests
    assert a.digests | b.digests == chosen.digests
    assert abs(len(a) - len(b)) <= 1
    for half in (a, b):
        assert half.pixels[-2].min() == 255
        assert half.pixels[-1].max() == 0
        assert len(half.strata) == len(half) - 2
        assert sum(half.per_class.values()) == len(half) - 2
    for stratum in set(chosen.strata):
        assert abs(a.strata.count(stratum) - b.strata.count(stratum)) <= 1
    with pytest.raises(DataError, match="cannot be halved"):
        chosen.first(3).halves()


def test_smaller_sets_lie_in_larger_ones_and_are_even_too() -> None:
    given = faces((80, 80, 4))
    chosen = CalibrationSet.choose(given, SPEC, 62, without=frozenset(), features=FEATURES)
    sizes = [chosen.first(n) for n in (5, 14, 30, 62, 99)]
    assert [len(s) for s in sizes] == [5, 14, 30, 62, 62]
    for small, large in pairwise(sizes):
        assert small.digests <= large.digests
    assert sizes[0].per_class == dict.fromkeys(LABELS, 1)
    assert sizes[1].per_class == dict.fromkeys(LABELS, 4)
    assert sizes[2].per_class == {"anger": 12, "happiness": 12, "neutral": 4}
    assert sizes[3].sha256 == chosen.sha256


def test_a_copy_under_two_labels_counts_once_under_the_first() -> None:
    given = faces((10, 10, 10))
    doubled = LabelledFaces(
        path=given.path,
        sha256=given.sha256,
        split=given.split,
        images=[*given.images, *given.images[:10]],
        labels=given.labels,
        truth=np.concatenate([given.truth, np.full(10, 2)]),
        target=np.eye(3, dtype=np.float32)[np.concatenate([given.truth, np.full(10, 2)])],
        copy_of_training=None,
    )
    for one in (doubled, shuffled(doubled, 3)):
        chosen = CalibrationSet.choose(one, SPEC, 99, without=frozenset())
        assert chosen.per_class == dict.fromkeys(LABELS, 10)
        assert len(chosen.digests) == 30


def test_the_manifest_names_every_picture_and_how_it_was_made() -> None:
    chosen = CalibrationSet.choose(faces((9, 9, 9)), SPEC, 20, without=frozenset())
    said = chosen.manifest()
    assert said["pictures"] == sorted(said["pictures"])
    assert set(said["pictures"]) == {d.hex() for d in chosen.digests}
    assert len(said["pictures"]) == 18
    assert said["preprocess"].endswith("8x8 gray, interpolation area")
    assert "nothing random" in said["rule"]
    assert said["near_copies"] == {"distance": 2, "dropped": 0, "kept": 0}


def test_perceptual_hashes_see_through_small_changes() -> None:
    originals = smooth(80)
    known = NearCopies(perceptual_hashes(originals))

    def found(pictures: list[Image]) -> float:
        return float(np.mean([value in known for value in perceptual_hashes(pictures)]))

    brighter = [np.clip(p.astype(int) + 6, 0, 255).astype(np.uint8) for p in originals]
    assert found(brighter) == 1
    assert found([cv2.resize(p, (60, 60)) for p in originals]) > 0.8
    assert found([np.ascontiguousarray(p[::-1]) for p in originals]) < 0.02
    assert found(smooth(200, 2)) < 0.02
    assert perceptual_hashes([]) == []


@pytest.mark.parametrize("bits", [0, 1, 2, 3, 5])
def test_near_is_at_most_two_bits(bits: int) -> None:
    rng = np.random.default_rng(bits)
    for _ in range(200):
        value = int.from_bytes(rng.bytes(8), "big")
        other = value
        for place in rng.choice(64, bits, replace=False).tolist():
            other ^= 1 << place
        assert (other in NearCopies([value])) == (bits <= 2)


def test_near_copies_of_evaluation_pictures_do_not_calibrate() -> None:
    spec = SPEC.model_copy(update={"height": 48, "width": 48})
    images = smooth(60)
    test = [np.clip(p.astype(int) + 3, 0, 255).astype(np.uint8) for p in images[:12]]
    data = Rows(
        path="made.npz",
        sha256="0",
        images=[*images, *test],
        classes=LABELS,
        emotion=np.arange(72) % 3,
        usage=np.array(["Training"] * 60 + ["test"] * 12),
        votes=None,
    )
    chosen, kept = split_off(data, labelled(data, LABELS, split=None), spec, 99)
    dropped = chosen.manifest()["near_copies"]["dropped"]
    assert len(kept) == 12
    assert 8 <= dropped <= 12
    assert len(chosen.digests & digests(images[:12], spec)) <= 12 - dropped


def test_pictures_that_the_hash_cannot_tell_apart_are_kept() -> None:
    flat = [np.full((8, 8), value, np.uint8) for value in range(60)]
    data = Rows(
        path="made.npz",
        sha256="0",
        images=flat,
        classes=LABELS,
        emotion=np.arange(60) % 3,
        usage=np.array(["train"] * 40 + ["test"] * 20),
        votes=None,
    )
    chosen, _ = split_off(data, labelled(data, LABELS, split=None), SPEC, 99)
    near = chosen.manifest()["near_copies"]
    assert near["dropped"] == 0
    assert near["kept"] == len(chosen) - 2 > 20


def test_the_selection_split_never_calibrates() -> None:
    data = rows(["Training"] * 40 + ["test"] * 20)
    evaluation = labelled(data, LABELS, split=None)
    aside = selection(data, evaluation)
    assert aside is not None
    assert aside.split == "validation"
    chosen, _ = split_off(data, evaluation, SPEC, 99)
    assert not chosen.digests & digests(aside.images, SPEC)
    own = rows(["train"] * 30 + ["val"] * 10 + ["test"] * 20)
    aside = selection(own, labelled(own, LABELS, split=None))
    assert aside is not None
    assert len(aside) == 10
    chosen, _ = split_off(own, labelled(own, LABELS, split=None), SPEC, 99)
    assert len(chosen) == 32
    assert not chosen.digests & digests(aside.images, SPEC)


@pytest.mark.parametrize("usage", [None, ["test"] * 60, ["train"] * 40 + ["val"] * 20])
def test_without_a_split_of_its_own_there_is_no_selection(usage: list[str] | None) -> None:
    data = rows(usage)
    assert selection(data, labelled(data, LABELS, split=None)) is None


def test_one_class_alone_is_a_data_error() -> None:
    data = rows(None, 12)
    lonely = labelled(data, LABELS, split=None)
    lonely = lonely.take(np.flatnonzero(lonely.truth == 1))
    with pytest.raises(DataError, match=r"one class only \(happiness\)"):
        split_off(data, lonely, SPEC, 9)


def test_an_empty_class_is_no_trouble() -> None:
    chosen = CalibrationSet.choose(
        faces((20, 0, 20)), SPEC, 12, without=frozenset(), features=FEATURES
    )
    assert chosen.per_class == {"anger": 5, "happiness": 0, "neutral": 5}


def test_pictures_of_any_size_and_colour() -> None:
    rng = np.random.default_rng(0)
    sizes = [(8, 8), (1, 1), (300, 20), (7, 9, 3), (64, 64, 3)] * 6
    data = Rows(
        path="made",
        sha256="0",
        images=[rng.integers(0, 256, size, dtype=np.uint8) for size in sizes],
        classes=LABELS,
        emotion=np.arange(30) % 3,
        usage=None,
        votes=None,
    )
    chosen, kept = split_off(data, labelled(data, LABELS, split=None), SPEC, 9, features=FEATURES)
    assert chosen.pixels.shape == (7, 8, 8, 1)
    assert len(kept) == 25


@pytest.fixture
def scenes(tmp_path: Path) -> Path:
    """A zip with the astronaut and what is no picture of a face."""
    from skimage.data import astronaut

    path = tmp_path / "scenes.zip"
    coded = cv2.imencode(".png", np.ascontiguousarray(astronaut()[:, :, ::-1]))[1].tobytes()
    empty = cv2.imencode(".png", np.zeros((90, 120), np.uint8))[1].tobytes()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in {"b.png": coded, "a.png": empty, "c.jpg": b"", "d.txt": b"x"}.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize(("colour", "channels"), [("gray", 1), ("rgb", 3)])
def test_faces_of_scenes_are_cut_by_the_detector(scenes: Path, colour: str, channels: int) -> None:
    spec = InputSpec.model_validate(
        {
            "height": 48,
            "width": 48,
            "channels": channels,
            "colour": colour,
            "scale": (1 / 255,) * channels,
            "offset": (0.0,) * channels,
        }
    )
    seen: list[int] = []
    crops = crops_from_scenes(scenes, open_detector("haar"), spec, on_done=seen.append)
    assert crops.shape[1:] == (48, 48, channels)
    assert 1 <= len(crops) <= 3
    assert crops.std() > 20
    assert seen == [1, 2, 3, 4]


def test_scenes_join_as_one_more_class() -> None:
    crops = pictures(8, 7)
    chosen = CalibrationSet.choose(
        faces((20, 20, 20)), SPEC, 18, without=frozenset(), features=FEATURES, scenes=crops
    )
    assert chosen.per_class == {**dict.fromkeys(LABELS, 4), "scenes": 4}
    assert len(chosen.digests & digests(list(crops[..., 0]), SPEC)) == 4
    colour = SPEC.model_copy(
        update={"channels": 3, "colour": "rgb", "scale": (1 / 255,) * 3, "offset": (0.0,) * 3}
    )
    three = np.repeat(crops, 3, axis=3)
    chosen = CalibrationSet.choose(faces((9, 9, 9)), colour, 18, without=frozenset(), scenes=three)
    assert chosen.per_class["scenes"] == 4
    assert chosen.pixels.shape == (18, 8, 8, 3)


def test_scenes_without_a_face_are_a_data_error(scenes: Path) -> None:
    with pytest.raises(DataError, match="no face in the 2 readable pictures"):
        crops_from_scenes(scenes, FakeDetector(), SPEC)
