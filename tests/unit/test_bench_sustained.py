"""A long run's curve and what it comes to, from made-up frames and looks."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from numpy.typing import NDArray

from edge_fer.errors import DataError
from edge_fer.machine import Reading
from edge_fer_bench.drawing.section import Section, shown
from edge_fer_bench.machine.state import MachineState, Sample
from edge_fer_bench.machine.sustained import Sustained, sustained
from edge_fer_bench.statistics.bootstrap import intervals

Frames = tuple[NDArray[np.float64], NDArray[np.float32]]
UNKNOWN = Reading(celsius=None, throttled=None)


def frames(seconds: float, ms_at: Callable[[float], float], seed: int = 0) -> Frames:
    """Frames one after the other, of about this time each."""
    rng = np.random.default_rng(seed)
    at, total, now = [], [], 0.0
    while now < seconds:
        ms = ms_at(now) * rng.lognormal(0, 0.05)
        now += ms / 1e3
        at.append(now)
        total.append(ms)
    return np.array(at), np.array(total, np.float32)


def state(seconds: int, sample: Callable[[float], Sample], **changes: object) -> MachineState:
    given: dict[str, object] = {
        "before": Reading(celsius=45.0, throttled=0),
        "after": Reading(celsius=45.0, throttled=0),
        "samples": tuple(sample(float(s)) for s in range(seconds)),
        "seconds": float(seconds),
        "cores": 4,
    }
    return MachineState(**(given | changes))  # type: ignore[arg-type]


def cool(at_s: float) -> Sample:
    return Sample(at_s=at_s, celsius=50.0, throttled=0, mhz=1800.0, rss_mb=100.0, other_cores=0.1)


def pi(at_s: float) -> Sample:
    """Warms by 0.1 °C a second and is slowed down to two thirds from 80 °C on."""
    hot = at_s >= 300
    return Sample(
        at_s=at_s,
        celsius=50.0 + 0.1 * at_s,
        throttled=0x40004 if hot else 0,
        mhz=1800.0,
        firmware_mhz=1200.0 if hot else 1800.0,
        rss_mb=100.0,
    )


def throttling_pi() -> tuple[Sustained, Frames]:
    timed = frames(600, lambda s: 15.0 if s >= 300 else 10.0)
    return sustained(*timed, state(600, pi), 10.0), timed


def test_a_pi_that_throttles_half_way_is_found() -> None:
    found, (at_s, _) = throttling_pi()
    assert found.throttled is not None
    assert found.throttled.began_s == 300.0
    assert found.throttled.celsius == pytest.approx(80.0)
    frame = found.throttled_frame
    assert frame is not None
    assert at_s[frame - 2] < 300.0 <= at_s[frame - 1]
    assert found.ratio == pytest.approx(1.5, abs=0.02)
    assert found.ratio_ci95 is not None
    low, high = found.ratio_ci95
    assert 1.45 < low < (found.ratio or 0) < high < 1.55
    assert found.mhz_ratio == pytest.approx(2 / 3)
    said = " ".join(found.findings)
    assert f"(throttled) from about second 300 on, frame {frame:,}, at 80 °C" in said
    assert "took 1.50 times as long as in the first (95 % interval" in said
    assert "67 % of the frequency" in said
    assert "too short" not in said


def test_its_curve() -> None:
    found, (at_s, total_ms) = throttling_pi()
    assert len(found.buckets) == 60
    assert sum(b.n for b in found.buckets) == len(at_s)
    assert [b.throttled for b in found.buckets] == [False] * 29 + [True] * 31  # the 30th has 300 s
    first = found.buckets[0]
    inside = at_s <= first.to_s
    assert first.p50_ms == pytest.approx(float(np.median(total_ms[inside])))
    assert first.p99_ms == pytest.approx(float(np.percentile(total_ms[inside], 99)))
    assert first.fps == pytest.approx(first.n / (first.to_s - first.from_s))
    assert first.celsius == pytest.approx(51.0, abs=0.2)
    assert found.buckets[-1].celsius == pytest.approx(109.9)
    assert [b.mhz for b in (first, found.buckets[-1])] == [1800.0, 1200.0]
    assert all(a.to_s == b.from_s for a, b in zip(found.buckets, found.buckets[1:], strict=False))


def test_a_machine_that_keeps_up_has_nothing_to_report() -> None:
    found = sustained(*frames(600, lambda s: 40.0), state(600, cool), 10.0)
    assert found.findings == []
    assert found.slower is False
    assert found.ratio_ci95 is not None
    assert found.ratio_ci95[0] < 1 < found.ratio_ci95[1]
    assert "no change beyond 10 %" in found.lead
    assert found.growth_mb == 0.0
    assert found.throttled_frame is None


@pytest.mark.parametrize(
    ("end_ms", "slower", "word"),
    [(50.0, True, "slower"), (41.0, False, "no change beyond 10 %"), (30, False, "faster")],
)
def test_speed_in_words(end_ms: float, slower: bool, word: str) -> None:
    timed = frames(400, lambda s: end_ms if s >= 200 else 40.0)
    found = sustained(*timed, state(400, cool), 5.0)
    assert found.slower is slower
    assert word in found.lead
    assert any("times as long as in the first" in s for s in found.findings) is slower


@pytest.mark.parametrize(
    ("ratio", "low", "high", "says"),
    [
        (1.10, 1.09, 1.11, "no_difference"),
        (1.11, 1.101, 1.12, "higher"),
        (1.15, 1.10, 1.20, "cannot_be_told"),
        (1.19, 1.15, 1.23, "higher"),
        (0.92, 0.90, 0.93, "no_difference"),
        (0.90, 0.89, 0.908, "lower"),
        (0.90, 0.89, 0.91, "cannot_be_told"),
    ],
)
def test_what_is_called_a_change(ratio: float, low: float, high: float, says: str) -> None:
    still = sustained(*frames(400, lambda s: 40.0), state(400, cool), 5.0)
    found = replace(still, ratio=ratio, ratio_ci95=(low, high))
    assert found.says == says
    assert found.slower is {"higher": True, "cannot_be_told": None}.get(says, False)
    assert any("times as long" in s for s in found.findings) is (says == "higher")
    loud = replace(found, noisy=True)
    assert loud.says == ("no_difference" if says == "no_difference" else "cannot_be_told")
    assert not loud.slower
    assert "slower" not in loud.lead
    assert ("cannot be told, as other programs were at work" in loud.lead) is (
        says != "no_difference"
    )


@pytest.mark.parametrize(("mhz_ratio", "told"), [(0.91, False), (0.90, True)])
def test_a_frequency_that_fell(mhz_ratio: float, told: bool) -> None:
    still = sustained(*frames(400, lambda s: 40.0), state(400, cool), 5.0)
    said = replace(still, mhz_ratio=mhz_ratio).findings
    assert any("of the frequency" in s for s in said) is told


@pytest.mark.parametrize(
    ("seconds", "unit", "first"), [(30, "seconds", "0.0 to 3.0"), (601, "minutes", "0.0 to 1.0")]
)
def test_a_short_run_is_told_in_seconds(seconds: int, unit: str, first: str) -> None:
    found = sustained(*frames(seconds, lambda s: 20.0), state(seconds, cool), 1.0)
    (grid,) = found.grids
    assert (grid.columns[0].name, grid.rows[0].cells[0]) == (unit, first)


@pytest.mark.parametrize(("ms", "known"), [(100.0, True), (100.3, False)])
def test_a_99th_percentile_takes_as_many_frames_as_everywhere(ms: float, known: bool) -> None:
    total_ms = np.full(round(400_000 / ms), ms)  # over 400 s: 400 in each tenth, or one too few
    found = sustained(np.cumsum(total_ms) / 1e3, total_ms, state(400, cool), 5.0)
    assert all((b.p99_ms is not None) is (b.n >= 400) for b in found.tenths)
    assert any(b.p99_ms is not None for b in found.tenths[1:]) is known


def test_the_interval_comes_from_both_ends() -> None:
    at_s = np.arange(1.0, 4001.0) / 10
    wide = np.random.default_rng(1).lognormal(3.7, 0.3, 4000)
    even = np.full(4000, 40.0)
    # The even end adds nothing: what is left is as wide as the noisy end's own interval.
    for total_ms, noisy in (
        (np.where(at_s <= 200, wide, even), wide[:400]),
        (np.where(at_s <= 200, even, wide), wide[-400:]),
    ):
        found = sustained(at_s, total_ms, state(400, cool), 5.0)
        low, high = (intervals(noisy, [50]) or {"p50": (0.0, 0.0)})["p50"]
        assert found.ratio_ci95 is not None
        assert found.ratio_ci95[1] / found.ratio_ci95[0] == pytest.approx(high / low)


def test_a_few_slow_frames_are_no_change() -> None:
    at_s, total_ms = frames(600, lambda s: 40.0)
    total_ms[-40:] *= 10
    assert sustained(at_s, total_ms, state(600, cool), 10.0).slower is False


def test_too_short_to_say_anything_of_heat() -> None:
    found = sustained(*frames(90, lambda s: 40.0), state(90, cool), 10.0)
    assert found.too_short
    assert found.lead.startswith("Frames were measured without a pause for 1.5 min of the 10 asked")
    assert "too short to say anything of heat" in found.findings[0]
    assert found.to_json()["too_short_for_heat"] is True
    assert not sustained(*frames(301, lambda s: 40.0), state(301, cool), 5.0).too_short


@pytest.mark.parametrize(
    ("per_s", "grew"), [(0.0, False), (0.005, False), (0.02, True), (-0.05, False)]
)
def test_memory_that_grows(per_s: float, grew: bool) -> None:
    def sample(at_s: float) -> Sample:
        return Sample(at_s=at_s, rss_mb=100.0 + per_s * at_s)

    found = sustained(*frames(600, lambda s: 40.0), state(600, sample), 10.0)
    assert found.growth_mb == pytest.approx(540 * per_s, abs=0.1)
    assert any("Memory grew" in s for s in found.findings) is grew


def test_under_voltage_is_not_called_heat() -> None:
    def sample(at_s: float) -> Sample:
        return Sample(at_s=at_s, throttled=0x10001)

    found = sustained(*frames(400, lambda s: 40.0), state(400, sample), 5.0)
    assert found.throttled is None
    assert not any("slowed down" in s for s in found.findings)


def test_a_pi_that_was_slow_from_the_start() -> None:
    hot = Reading(celsius=81.0, throttled=0x40004)
    given = state(400, lambda s: Sample(at_s=s, throttled=0x40004), before=hot)
    found = sustained(*frames(400, lambda s: 40.0), given, 5.0)
    assert found.throttled_frame == 1
    assert any("from the start of the run (throttled, at 81 °C)" in s for s in found.findings)


def test_throttling_seen_only_afterwards_has_no_second() -> None:
    after = Reading(celsius=70.0, throttled=0x40000)
    found = sustained(*frames(400, lambda s: 40.0), state(0, cool, after=after), 5.0)
    assert found.throttled is not None
    assert (found.throttled.began_s, found.throttled_frame) == (None, None)
    assert any("at some time of the run (throttled, at 70 °C)" in s for s in found.findings)
    assert "dashed" not in found.figures[0].caption


def test_other_programs_at_work_are_told() -> None:
    def sample(at_s: float) -> Sample:
        return Sample(at_s=at_s, other_cores=1.0)

    found = sustained(*frames(400, lambda s: 40.0), state(400, sample), 5.0)
    assert any("Other programs were at work" in s for s in found.findings)


def blind() -> Sustained:
    """A machine that tells nothing."""
    dark = state(400, lambda s: Sample(at_s=s), before=UNKNOWN, after=UNKNOWN)
    return sustained(*frames(400, lambda s: 40.0), dark, 5.0)


def one_frame() -> Sustained:
    return sustained(np.array([0.04]), np.array([40.0], np.float32), state(0, cool), 1.0)


def stalled() -> Sustained:
    """A source that paused for most of the run."""
    at_s = np.concatenate([np.linspace(0.1, 60, 600), np.linspace(540.1, 600, 600)])
    return sustained(at_s, np.full(1200, 40.0, np.float32), state(600, cool), 10.0)


CASES = {"pi": lambda: throttling_pi()[0], "blind": blind, "one": one_frame, "stalled": stalled}


@pytest.mark.parametrize("name", CASES)
def test_every_section_can_be_shown(name: str) -> None:
    found: Section = CASES[name]()
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert len(document["buckets"]) >= 10
    (grid,) = found.grids
    assert len(grid.rows) == 10
    assert all(len(row.cells) == len(grid.columns) for row in grid.rows)
    widest = [
        max(len(shown(row.cells[i], column)) for row in grid.rows)
        for i, column in enumerate(grid.columns)
    ]
    names = [len(column.name) for column in grid.columns]
    # A terminal puts two columns between.
    assert sum(max(pair) + 2 for pair in zip(widest, names, strict=True)) <= 80
    for figure in found.figures:
        ElementTree.fromstring(str(figure.svg))  # noqa: S314 - our own
        assert "nan" not in figure.svg


def test_what_is_unknown_is_a_dash_and_said() -> None:
    found = blind()
    assert (found.mhz_ratio, found.growth_mb, found.noisy) == (None, None, None)
    assert not found.throttling_known
    (grid,) = found.grids
    assert "Throttling is not measured" in grid.note
    assert all(row.cells[4:] == (None,) * 4 for row in grid.rows)
    assert "machine" not in found.figures[0].caption


def test_too_few_frames_are_said() -> None:
    found = one_frame()
    assert found.ratio is None
    assert "too few frames" in found.lead
    few = sustained(np.arange(1.0, 101), np.full(100, 40.0, np.float32), state(100, cool), 5.0)
    assert few.ratio == 1.0
    assert (few.ratio_ci95, few.slower) == (None, None)
    assert "too few frames for an interval" in few.lead
    assert {b.p99_ms for b in few.buckets} == {None}


def test_a_pause_is_a_gap_in_the_picture() -> None:
    found = stalled()
    assert [b.n for b in found.tenths[1:-1]] == [0] * 8
    assert found.tenths[4].p50_ms is None
    assert found.tenths[4].fps == 0.0
    svg = str(found.figures[0].svg)
    lines = re.findall(r'<polyline class="line" points="([^"]*)"', svg)
    assert len(lines) == 2


def test_the_picture_marks_where_throttling_began() -> None:
    svg = str(throttling_pi()[0].figures[0].svg)
    marker = re.search(r'class="marker" d="M([\d.]+) ', svg)
    assert marker is not None
    assert float(marker[1]) == pytest.approx(44 + (928 - 44 - 12) / 2, abs=2)
    assert "throttling began" in svg
    assert svg.count('class="heat"') == 2  # temperature and frequency
    assert 'class="band"' in svg


@pytest.mark.parametrize(
    ("at_s", "total_ms"), [(np.zeros(0), np.zeros(0)), (np.arange(3.0), np.zeros(2))]
)
def test_no_frames_are_refused(at_s: NDArray[np.float64], total_ms: NDArray[np.float64]) -> None:
    with pytest.raises(DataError, match="a time for each frame"):
        sustained(at_s, total_ms, state(0, cool), 5.0)
