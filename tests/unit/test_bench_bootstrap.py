from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

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


FIGURES = ("mean", "p50", "p90", "p99")
Series = Callable[[np.random.Generator, int], NDArray[np.float64]]


def spells(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """A machine in moods of 25 frames."""
    return np.repeat(rng.normal(10, 2, -(-n // 25)), 25)[:n] + rng.normal(0, 0.1, n)


def drifting(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """Each frame nine tenths like the one before, with a long tail."""
    state, found = rng.normal(), np.empty(n)
    for i, step in enumerate(rng.normal(0, (1 - 0.9**2) ** 0.5, n)):
        state = 0.9 * state + step
        found[i] = 10 * np.exp(0.2 * state)
    return found


def each_alone(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    return rng.gamma(4.0, 1.0, n)


def covered(series: Series, n: int, times: int = 80) -> dict[str, float]:
    """How often the interval of so many frames holds the figure of the endless series."""
    rng = np.random.default_rng(11)
    endless = series(rng, 200_000)
    truth = [endless.mean(), *np.percentile(endless, (50, 90, 99))]
    hits = np.zeros(len(FIGURES))
    for seed in range(times):
        found = intervals(series(rng, n), (50, 90, 99), seed=seed)
        assert found is not None
        for i, (name, true) in enumerate(zip(FIGURES, truth, strict=True)):
            hits[i] += found[name][0] <= true <= found[name][1]
    return dict(zip(FIGURES, hits / times, strict=True))


@pytest.mark.parametrize("series", [spells, drifting, each_alone])
def test_intervals_hold_the_truth_also_where_frames_are_alike(series: Series) -> None:
    found = covered(series, 1000)
    assert min(found["mean"], found["p50"], found["p90"]) >= 0.82
    assert found["p99"] >= 0.75


def test_a_series_without_memory_gets_no_wider_interval() -> None:
    rng = np.random.default_rng(2)
    widths = []
    for seed in range(30):
        found = intervals(each_alone(rng, 1000), (50,), seed=seed)
        assert found is not None
        widths.append(found["mean"][1] - found["mean"][0])
    # Twice 1.96 standard errors: 2 / sqrt(1000) each.
    assert np.mean(widths) == pytest.approx(2 * 1.96 * 2 / 1000**0.5, rel=0.12)


def test_a_pattern_that_every_tenth_frame_repeats_is_no_memory() -> None:
    rng = np.random.default_rng(4)
    searched = np.where(np.arange(1000) % 10 == 0, 20.0, 5.0) * rng.lognormal(0, 0.05, 1000)
    found = intervals(searched, (50, 99))
    assert found is not None
    assert found["p50"][1] - found["p50"][0] < 0.1
    assert found["p99"][1] < searched.max() + 0.5


def test_so_few_spells_that_none_is_beyond_the_p99_do_not_bound_it() -> None:
    values = spells(np.random.default_rng(3), 1000)
    found = intervals(values, (50, 99))
    assert found is not None
    assert found["p99"][1] > values.max()
    assert found["p50"][1] < np.percentile(values, 80)
    shuffled = intervals(np.random.default_rng(0).permutation(values), (99,))
    assert shuffled is not None
    assert shuffled["p99"][1] <= values.max()


def test_hours_of_frames_are_cut_into_sections_that_know_the_spells() -> None:
    assert min(covered(spells, 12_000, times=40).values()) >= 0.8
    rng = np.random.default_rng(7)
    values = spells(rng, 12_000)
    alike, alone = (intervals(v, (50,)) for v in (values, rng.permutation(values)))
    assert alike is not None
    assert alone is not None
    assert alike["p50"][1] - alike["p50"][0] > 3 * (alone["p50"][1] - alone["p50"][0])


def test_a_long_series_still_has_its_interval() -> None:
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
