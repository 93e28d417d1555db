"""The choice of ``unknown``: the rule of the docstring, on models made up for it."""

import json
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_fer.contract import InputSpec
from edge_fer.errors import DataError
from edge_fer.evaluation.corruptions import CORRUPTIONS
from edge_fer.evaluation.robustness import HARD, jittered, measure
from edge_fer_train.distillation import keras_probabilities
from edge_fer_train.rejection import (
    AIM,
    MUST,
    Rejection,
    choose_unknown,
    quality_ranges,
)

CLASSES, ROWS, NON_FACES = 8, 200, 50
SPEC = InputSpec(height=8, width=8, channels=1, colour="gray", scale=(1.0,), offset=(0.0,))
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (ROWS, 8, 8, 1), dtype=np.uint8)
TRUTH = RNG.integers(0, CLASSES, ROWS)
Answer = tuple[np.ndarray | float, np.ndarray | bool]


def rows(top: np.ndarray | float, said: np.ndarray) -> np.ndarray:
    """``float64[N, C]`` with that highest probability on that class, the rest shared evenly."""
    top = np.broadcast_to(np.asarray(top, np.float64), said.shape)
    p = np.repeat(((1 - top) / (CLASSES - 1))[:, None], CLASSES, axis=1)
    p[np.arange(len(said)), said] = top
    return p


def model(
    clean: Answer, corrupted: Answer, noise: float, non_faces: float = 0.2
) -> Callable[[np.ndarray], np.ndarray]:
    """Highest probability and whether it is right; of faces as they are, and of all others."""

    def probabilities(pixels: np.ndarray) -> np.ndarray:
        if len(pixels) == NON_FACES:
            return rows(non_faces, np.zeros(NON_FACES, int))
        if len(pixels) != ROWS:
            return rows(noise, np.zeros(len(pixels), int))
        top, right = clean if np.array_equal(pixels, PIXELS) else corrupted
        return rows(top, np.where(right, TRUTH, (TRUTH + 1) % CLASSES))

    return probabilities


def choose(probabilities: Callable[[np.ndarray], np.ndarray], **more: object) -> Rejection:
    return choose_unknown(probabilities, PIXELS, TRUTH, SPEC, seed=1, **more)  # type: ignore[arg-type]


def spread(share_below: float, at: float) -> np.ndarray:
    """Highest probabilities of clean rows, this share of them below ``at``, no two the same."""
    low = round(share_below * ROWS)
    below = np.linspace(0.2, at - 0.01, low)
    return np.concatenate([below, np.linspace(at + 0.1, 0.999, ROWS - low)])


def test_the_smallest_threshold_that_reaches_the_aim() -> None:
    """Corrupted faces are wrong at 0.3, which is kept at 0.300 and gone at 0.305."""
    found = choose(model((spread(0.02, 0.35), True), (0.3, False), noise=0.25))
    assert (found.min_probability, found.met) == (0.305, "aim")
    assert found.robustness.clean.coverage == pytest.approx(0.98, abs=0.01)
    assert found.robustness.clean.accuracy == 1.0
    assert found.robustness.pooled["turn_90"].coverage == 0
    assert found.robustness.pooled["turn_90"].accuracy is None
    assert found.robustness.accepted_noise == 0


def test_a_model_that_is_never_wrong_and_knows_noise_by_itself_gives_up_nothing() -> None:
    found = choose(model((spread(0.02, 0.35), True), (0.9, True), noise=0.2))
    # Noise lies at 0.2 and must go; nothing else has to.
    assert (found.min_probability, found.met) == (0.205, "aim")


def test_where_the_aim_is_out_of_reach_the_must_decides() -> None:
    """To be rid of 0.5, 8 % of the clean rows must go: more than the aim allows."""
    found = choose(model((spread(0.08, 0.55), True), (0.5, False), noise=0.2))
    assert (found.min_probability, found.met) == (0.505, "must")
    assert MUST.coverage <= found.robustness.clean.coverage < AIM.coverage


def test_where_nothing_helps_the_coverage_of_the_aim_is_kept() -> None:
    found = choose(model((np.linspace(0.2, 0.99, ROWS), True), (0.5, False), noise=0.99))
    assert found.met == "coverage"
    assert found.robustness.clean.coverage == 0.95
    assert found.robustness.accepted_noise == 1.0
    above = (np.linspace(0.2, 0.99, ROWS) >= found.min_probability + 0.005).mean()
    assert above < 0.95


@pytest.mark.parametrize("name", HARD)
def test_each_hard_corruption_counts(name: str) -> None:
    """A corruption is wrong at 0.4 alone; every other is right."""
    shown: list[str] = [n for n in CORRUPTIONS for _ in range(3)]
    calls = iter(["clean", *shown, "noise"])

    def probabilities(pixels: np.ndarray) -> np.ndarray:
        what = next(calls, "jitter")
        if what == "noise":
            return rows(0.2, np.zeros(len(pixels), int))
        wrong = what == name
        return rows(0.4 if wrong else 0.9, (TRUTH + wrong) % CLASSES)

    found = choose(probabilities)
    assert (found.min_probability, found.met) == (0.405, "aim")
    assert {n for n, kept in found.robustness.pooled.items() if kept.coverage == 0} == {name}


def test_non_faces_count_where_they_are_given() -> None:
    fake = model((spread(0.02, 0.5), True), (0.9, True), noise=0.2, non_faces=0.4)
    without, given_ = choose(fake), choose(fake, non_faces=np.zeros((NON_FACES, 8, 8, 1), np.uint8))
    assert (without.min_probability, without.robustness.accepted_non_faces) == (0.205, None)
    assert (given_.min_probability, given_.robustness.accepted_non_faces) == (0.405, 0.0)


@settings(max_examples=12, deadline=None)
@given(st.data())
def test_whatever_the_model_the_rule_holds(data: st.DataObject) -> None:
    """Against the docstring spelled out: every thousandth tried, no early end."""
    seed = data.draw(st.integers(0, 10_000))
    rng = np.random.default_rng(seed)
    clean = rng.beta(data.draw(st.floats(1, 8)), 1, ROWS) * 0.85 + 0.14
    hard = rng.beta(1, data.draw(st.floats(0.5, 12)), ROWS) * 0.85 + 0.14
    right = rng.random(ROWS) < hard**0.3
    nothing = data.draw(st.floats(0.14, 0.9))
    found = choose(model((clean, True), (hard, right), noise=nothing))

    def reaches(t: float, accuracy: float) -> bool:
        kept = hard >= t
        return nothing < t and (not kept.any() or bool(right[kept].mean() >= accuracy))

    def covers(t: float, share: float) -> bool:
        return bool((clean >= t).sum() >= share * ROWS - 1e-9)

    grid = np.arange(0, 1001) / 1000
    aims = [t for t in grid if covers(t, AIM.coverage) and reaches(t, AIM.accuracy)]
    last = max(t for t in grid if covers(t, AIM.coverage))
    musts = [
        t for t in grid if t >= last and covers(t, MUST.coverage) and reaches(t, MUST.accuracy)
    ]
    t = found.min_probability
    assert covers(t, MUST.coverage)
    if found.met == "aim":
        assert t in aims
        # No smaller one on the grid of 0.005 does.
        assert not [a for a in aims if a < t - 1e-9 and round(a * 1000) % 5 == 0]
    elif found.met == "must":
        assert t in musts
        assert not covers(t + 0.001, AIM.coverage)
        assert not [a for a in aims if round(a * 1000) % 5 == 0]
    else:
        assert t == pytest.approx(last)
        assert not reaches(t, MUST.accuracy)


def test_what_it_reports_is_what_the_runtime_would_do() -> None:
    top = np.linspace(0.2, 0.99, ROWS)
    right = np.arange(ROWS) % 4 != 0
    found = choose(model((top, right), (0.6, right), noise=0.99))
    kept = top >= found.min_probability
    assert found.robustness.clean.coverage == kept.mean()
    assert found.robustness.clean.accuracy == right[kept].mean()
    assert [k.n for k in found.robustness.corrupted["blur"]] == [ROWS] * 3
    assert found.robustness.pooled["blur"].n == 3 * ROWS
    thresholds = [t for t, _ in found.curve]
    assert thresholds == sorted(set(thresholds))
    assert 20 <= len(thresholds) <= 25
    for t, k in found.curve:
        assert k.coverage == (top >= t).mean()
        assert k.accuracy == (right[top >= t].mean() if (top >= t).any() else None)
    assert found.curve[0][1].accuracy == pytest.approx(0.75)
    assert found.robustness.jitter_loss_points == 0


def test_the_json_is_finite_and_whole() -> None:
    found = choose(model((spread(0.02, 0.35), True), (0.3, False), noise=0.25))
    back = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert back["min_probability"] == 0.305
    assert set(back["corrupted"]) == set(CORRUPTIONS)
    assert set(back["corrupted"]["dark_noise"]) == {"1", "2", "3", "all"}
    assert back["corrupted"]["dark_noise"]["2"] == {"n": ROWS, "coverage": 0.0, "accuracy": None}
    assert back["accepted_non_faces"] is None
    assert back["curve"][0] == {"threshold": 0.0, "coverage": 1.0, "accuracy": 1.0}


def test_one_seed_shows_the_same_pictures_and_another_others() -> None:
    def seen(seed: int) -> list[bytes]:
        shown: list[bytes] = []

        def probabilities(pixels: np.ndarray) -> np.ndarray:
            shown.append(pixels.tobytes())
            return rows(0.5, np.zeros(len(pixels), int))

        choose_unknown(probabilities, PIXELS[:9], TRUTH[:9], SPEC, seed=seed)
        return shown

    one, again, other = seen(1), seen(1), seen(2)
    assert one == again
    assert one[0] == other[0]
    assert one[-1] != other[-1]
    different = sum(a != b for a, b in zip(one, other, strict=True))
    assert different > len(one) / 2  # blur, mirror and the like draw nothing


@pytest.mark.parametrize(("pictures", "labels"), [(0, 0), (5, 4)])
def test_rows_that_do_not_fit_are_refused(pictures: int, labels: int) -> None:
    with pytest.raises(DataError, match=f"{pictures} pictures and {labels} labels"):
        choose_unknown(
            lambda pixels: rows(0.5, np.zeros(len(pixels), int)),
            PIXELS[:pictures],
            TRUTH[:labels],
            SPEC,
            seed=1,
        )


def test_progress_comes_to_its_end() -> None:
    told: list[tuple[int, int]] = []
    choose(model((0.9, True), (0.9, True), noise=0.2), on_step=lambda *at: told.append(at))
    assert told[-1][0] == told[-1][1]
    assert [done for done, _ in told] == sorted({done for done, _ in told})


class TestJitter:
    spec = SPEC.model_copy(update={"height": 48, "width": 48})

    def test_it_moves_by_a_twentieth_of_the_side(self) -> None:
        y, x = np.mgrid[:48, :48]
        dot = 250 * np.exp(-((x - 23.5) ** 2 + (y - 23.5) ** 2) / 18)
        faces = np.repeat(dot.astype(np.uint8)[None, :, :, None], 40, axis=0)
        found = jittered(faces, self.spec, np.random.default_rng(0))[..., 0].astype(float)
        assert found.shape == (40, 48, 48)
        total = found.sum(axis=(1, 2))
        off_x = (found * (x - 23.5)).sum(axis=(1, 2)) / total
        off_y = (found * (y - 23.5)).sum(axis=(1, 2)) / total
        far = np.hypot(off_x, off_y)
        sizes = {round(v, 1) for v in far}
        assert sizes <= {2.2, 2.6}  # 2.4 pixels, seen 8 % too large or too small
        assert len(sizes) == 2
        assert np.ptp(np.arctan2(off_y, off_x)) > 4  # every direction

    def test_it_rolls_by_eight_degrees_both_ways(self) -> None:
        y, x = np.mgrid[:48, :48]
        bar = np.where(np.abs(y - 23.5) < 3, 255.0, 0.0) * np.exp(-((x - 23.5) ** 2) / 200)
        faces = np.repeat(bar.astype(np.uint8)[None, :, :, None], 20, axis=0)
        angles = []
        for face in jittered(faces, self.spec, np.random.default_rng(0))[..., 0].astype(float):
            cx, cy = (face * x).sum() / face.sum(), (face * y).sum() / face.sum()
            xy = (face * (x - cx) * (y - cy)).sum()
            xx, yy = (face * (x - cx) ** 2).sum(), (face * (y - cy) ** 2).sum()
            angles.append(np.degrees(0.5 * np.arctan2(2 * xy, xx - yy)))
        assert np.abs(angles) == pytest.approx(8.0, abs=0.5)
        assert {a > 0 for a in angles} == {True, False}

    def test_the_loss_is_in_points(self) -> None:
        still_right = model((0.9, True), (0.9, np.arange(ROWS) % 4 != 0), noise=0.2)
        found = measure(still_right, PIXELS, TRUTH, SPEC, seed=1)
        assert found.jitter_loss_points == pytest.approx(25.0)


def test_a_keras_model_is_asked_through_the_shared_preprocess_and_temperature() -> None:
    class Model:
        def predict(self, x: np.ndarray, batch_size: int, verbose: int) -> np.ndarray:
            assert x.dtype == np.float32
            return np.stack([x[:, 0, 0, 0], np.zeros(len(x), np.float32)], axis=1)

    spec = SPEC.model_copy(update={"scale": (1 / 255,)})
    white = np.full((1, 8, 8, 1), 255, np.uint8)
    (found,) = keras_probabilities(Model(), spec, 0.5)(white)
    assert found[0] == pytest.approx(1 / (1 + np.exp(-2)))


def test_quality_ranges_are_the_percentiles_and_short() -> None:
    rng = np.random.default_rng(0)
    levels = np.arange(101) + 100
    faces = np.repeat(levels.astype(np.uint8), 64).reshape(101, 8, 8, 1)
    found = quality_ranges(faces)
    assert found.n == 101
    assert found.brightness.model_dump() == {"p1": 101.0, "p50": 150.0, "p99": 199.0}
    assert found.contrast.p99 == found.sharpness.p99 == found.noise.p99 == 0
    noisy = quality_ranges(rng.integers(0, 256, (50, 16, 16, 1), dtype=np.uint8))
    assert noisy.noise.p1 > 50
    assert noisy.sharpness.p50 > 3
    assert len(noisy.model_dump_json()) < 300


def test_no_pictures_no_ranges() -> None:
    with pytest.raises(DataError, match="no pictures"):
        quality_ranges(PIXELS[:0])
