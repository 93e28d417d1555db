import numpy as np
import pytest

from edge_fer_bench.statistics.bootstrap import LEAST, intervals
from edge_fer_bench.timing.latency import StageTimes
from edge_fer_bench.timing.protocol import Protocol, Samples


def test_values_that_are_all_the_same_leave_no_doubt() -> None:
    assert intervals(np.full(500, 7.0), (50, 99)) == dict.fromkeys(
        ("mean", "p50", "p99"), (7.0, 7.0)
    )


def test_too_few_values_have_no_interval() -> None:
    assert intervals(np.arange(LEAST - 1.0), (50,)) is None
    assert StageTimes.of(np.arange(LEAST - 1.0)).ci95 is None
    found = StageTimes.of(np.arange(float(LEAST))).ci95
    assert found is not None
    assert set(found) == {"mean", "p50", "p90", "p99"}


def test_the_interval_covers_the_true_median_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    hits = means = 0
    for seed in range(60):
        found = intervals(rng.gamma(4.0, 1.0, 300), (50,), seed=seed)
        assert found is not None
        hits += found["p50"][0] <= 3.6721 <= found["p50"][1]
        means += found["mean"][0] <= 4.0 <= found["mean"][1]
    assert 50 <= hits <= 60
    assert 50 <= means <= 60


def test_slow_spells_widen_the_interval_that_single_draws_would_make_too_narrow() -> None:
    rng = np.random.default_rng(0)
    spells = np.repeat(rng.normal(10, 2, 40), 25) + rng.normal(0, 0.1, 1000)
    shuffled = rng.permutation(spells)

    def width(values: np.ndarray) -> float:
        found = intervals(values, (50,))
        assert found is not None
        low, high = found["p50"]
        return high - low

    assert width(spells) > 1.8 * width(shuffled)


def test_a_long_series_is_drawn_less_often_and_still_has_its_interval() -> None:
    values = np.random.default_rng(1).normal(10, 1, 60_000)
    found = intervals(values, (50, 99))
    assert found is not None
    low, high = found["p50"]
    assert 9.9 < low < float(np.median(values)) < high < 10.1
    assert found["p99"][1] < 13


def test_measuring_goes_on_for_a_p99_but_not_for_ever() -> None:
    rules = Protocol(seconds=10.0)
    assert rules.wants_more(5000, 9.9)
    assert not rules.wants_more(5000, 10.0)
    assert rules.wants_more(399, 39.9)
    assert not rules.wants_more(400, 10.1)
    assert not rules.wants_more(399, 40.0)
    assert rules.wants_more(29, 400.0)
    assert not Protocol(seconds=0.0).wants_more(30, 0.1)


def test_a_stage_that_did_not_run_leaves_a_gap() -> None:
    samples = Samples([(0.1, {"total": 2.0, "detect": 1.5}, 0), (0.2, {"total": 3.0}, 2)])
    assert len(samples) == 2
    assert samples.total_ms.tolist() == [2.0, 3.0]
    assert samples.stage("detect")[0] == 1.5
    assert np.isnan(samples.stage("detect")[1])
    assert samples.faces.tolist() == [0, 2]
    assert samples.at_s.tolist() == pytest.approx([0.1, 0.2])
