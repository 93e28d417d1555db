from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_fer.config import Settings, load_settings
from edge_fer.errors import ConfigError, DeviceError, EdgeFerError, MissingExtra, ModelError
from edge_fer.models import find, pulled
from edge_fer.models.catalogue import CATALOGUE
from edge_fer.types import Box, Expression, Face, Frame, Observation, ObservedFace
from edge_fer_bench.drawing.section import Grid, Section, shown
from edge_fer_bench.statistics.rounds import Ratio
from edge_fer_bench.sweep.rounds import Block, Taken, take_turns
from edge_fer_bench.sweep.sweep import Sweep, measure_sweep
from edge_fer_bench.sweep.swept import MeasuredShare, model_kb, swept
from edge_fer_bench.sweep.tables import width_of
from edge_fer_bench.sweep.variants import (
    MAX_VARIANTS,
    Names,
    Variant,
    announced,
    listed,
    listed_threads,
    planned,
)

BASE = load_settings(None, {"sinks": ["jsonl:-"]})
WARM_UP, SETTLE = 20, 5
SEEN = ObservedFace(
    face=Face(box=Box(x=5, y=5, w=20, h=20), score=1.0),
    expression=Expression(label="neutral", probabilities={"neutral": 1.0}, entropy=0.0),
    raw_expression="neutral",
)
Cost = Callable[[Settings, int], float | None]


class Bench:
    """Makes pipelines that take as long as they are told, by one clock for all of them."""

    def __init__(
        self,
        cost: Cost,
        *,
        faces: Callable[[Settings], int] = lambda settings: 1,
        refuse: Callable[[Settings], EdgeFerError | None] = lambda settings: None,
    ) -> None:
        self.cost, self.faces, self.refuse = cost, faces, refuse
        self.now_ns = 0
        self.opened: list[Settings] = []
        self.steps: list[Settings] = []
        self.open = self.most_open = 0

    def clock(self) -> int:
        return self.now_ns

    def build(self, settings: Settings) -> FakePipeline:
        self.opened.append(settings)
        error = self.refuse(settings)
        if error is not None:
            raise error
        self.open += 1
        self.most_open = max(self.most_open, self.open)
        return FakePipeline(self, settings)

    def sweep(self, **changes: Any) -> Sweep:
        given: dict[str, Any] = {
            "models": ["expression"],
            "detectors": ["face"],
            "threads": [1],
            "sources": ["synthetic"],
            "seconds": 1.0,
            "clock": self.clock,
            "opened": self.build,
        }
        return measure_sweep(BASE, **{**given, **changes})

    def blocks(self, key: Callable[[Settings], Any]) -> list[tuple[Any, int]]:
        """Who stepped, and how many times in a row."""
        return [(name, len(list(steps))) for name, steps in groupby(map(key, self.steps))]


class FakePipeline:
    """A frame a step; its camera is only looked at for the size of the frames."""

    def __init__(self, bench: Bench, settings: Settings) -> None:
        self.bench, self.settings = bench, settings
        self.camera: Any = FakeCamera()
        self.number = 0
        self.closed = False

    def step(self) -> Observation | None:
        took = self.bench.cost(self.settings, self.number)
        self.number += 1
        if took is None:
            return None
        assert not self.closed
        self.camera.read()
        self.bench.steps.append(self.settings)
        self.bench.now_ns += round(took * 1e6)
        faces = self.bench.faces(self.settings)
        timings = {"capture": 0.25 * took, "detect": 0.5 * took, "total": took}
        if faces:
            timings["classify"] = 0.125 * took
        return Observation(
            frame=self.number, t_ns=0, source="fake", faces=(SEEN,) * faces, timings_ms=timings
        )

    def close(self) -> None:
        if not self.closed:
            self.bench.open -= 1
        self.closed = True


class FakeCamera:
    """Gray frames of 64 by 48 pixels; counts how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    def read(self) -> Frame | None:
        luma = np.zeros((48, 64), np.uint8)
        return Frame(luma=luma, colour=None, t_ns=0, sequence=0, source="fake")

    def close(self) -> None:
        self.closed += 1


def model_of(settings: Settings) -> str:
    return settings.model


def steady(**by_model: float) -> Cost:
    """Milliseconds by model's name, underscores for minus signs."""
    return lambda settings, number: by_model[settings.model.replace("-", "_")]


# What is run


def test_every_combination_once_and_the_first_of_each_first() -> None:
    found = planned(
        models=["expression", "expression-nano", "expression"],
        detectors=["face", "haar"],
        threads=[1, 2, 1],
        sources=["x", "y"],
    )
    assert len(found) == 16
    assert len(set(found)) == 16
    assert found[0] == Variant(model="expression", detector="face", threads=1, source="x")
    assert [v.source for v in found] == ["x"] * 8 + ["y"] * 8


def test_too_many_are_refused_before_anything_is_opened() -> None:
    bench = Bench(steady())
    with pytest.raises(ConfigError, match=r"49 variants .*7 models x 7 detectors") as caught:
        bench.sweep(models=list("abcdefg"), detectors=list("hijklmn"))
    assert str(MAX_VARIANTS) in caught.value.message
    assert "several runs" in caught.value.remedy
    assert bench.opened == []
    sources = [f"synthetic?faces={n}" for n in range(MAX_VARIANTS)]
    assert (
        len(planned(models=["expression"], detectors=["face"], threads=[1], sources=sources)) == 48
    )


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"detectors": ["face", "yunett"]}, ConfigError, "no detector 'yunett'.*yunet"),
        ({"detectors": ["face", "haar?cascad=alt2"]}, ConfigError, "no option 'cascad'"),
        ({"detectors": ["face", "mine.tflite"]}, ModelError, "no model 'mine.tflite'"),
        ({"models": ["expression", "expresion-nano"]}, ModelError, "mean expression-nano"),
        ({"models": ["expression", "mine.tflite"]}, ModelError, "no model 'mine.tflite'"),
    ],
)
def test_a_name_that_nothing_has_is_refused_before_anything_is_opened(
    changes: dict[str, list[str]], error: type[EdgeFerError], words: str
) -> None:
    bench = Bench(steady(expression=10.0))
    with pytest.raises(error) as caught:
        bench.sweep(**changes)
    assert re.search(words, str(caught.value))
    assert bench.opened == []


def test_a_model_that_is_not_pulled_is_left_to_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGE_FER_MODELS", str(tmp_path))
    known = [name for name in CATALOGUE if name not in pulled()]
    found = planned(
        models=["expression", known[0]], detectors=["face", known[-1]], threads=[1], sources=["x"]
    )
    assert len(found) == 4


@pytest.mark.parametrize("empty", ["models", "detectors", "threads", "sources"])
def test_nothing_of_a_kind_is_refused(empty: str) -> None:
    with pytest.raises(ConfigError, match="needs a"):
        Bench(steady()).sweep(**{empty: []})


def test_how_many_and_how_long_is_said_first() -> None:
    told: list[str] = []
    bench = Bench(steady(expression=10.0))
    bench.sweep(threads=[1, 2, 4], sources=["synthetic", "synthetic?faces=4"], on_start=told.append)
    assert told == [
        "Sweep: 6 variants (1 model x 1 detector x 3 thread counts x 2 sources); 1 s each, "
        "about 6 s in turns."
    ]
    variants = planned(
        models=["expression"], detectors=["face"], threads=range(1, 41), sources=["c"]
    )
    assert "10 s each, about 7 min" in announced(variants, 10)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (["1,2,4", "8"], ["1", "2", "4", "8"]),
        (["face"], ["face"]),
        (["face, haar", "face"], ["face", "haar"]),
        ([], []),
    ],
)
def test_flags_are_repeated_and_hold_commas(given: list[str], found: list[str]) -> None:
    assert listed(given) == found


@pytest.mark.parametrize("given", [[""], ["a,,b"], [",a"], ["a", "b,"], [" "]])
def test_an_empty_item_is_refused(given: list[str]) -> None:
    with pytest.raises(ConfigError, match="--detector has an empty item") as caught:
        listed(given, "--detector")
    assert caught.value.remedy


def test_numbers_of_threads() -> None:
    assert listed_threads(["4,1", "2", "4"]) == [4, 1, 2]
    assert listed_threads(["64,01,1"]) == [64, 1]


@pytest.mark.parametrize("given", ["0", "65", "two", "1.5", "-1", "\u00b2", "9" * 5000, "1,x"])
def test_a_number_of_threads_that_is_none(given: str) -> None:
    with pytest.raises(ConfigError, match="whole number from 1 to 64"):
        listed_threads([given])
    with pytest.raises(ConfigError, match="empty item"):
        listed_threads(["1,"])


def test_a_variants_settings_are_the_shared_ones_without_sinks() -> None:
    bench = Bench(steady(expression=10.0))
    bench.sweep(detectors=["haar"], threads=[4], sources=["synthetic?faces=4"])
    (made,) = bench.opened
    assert (made.detector, made.threads, made.source) == ("haar", 4, "synthetic?faces=4")
    assert made.sinks == ()
    assert BASE.sinks == ("jsonl:-",)
    assert made.track is BASE.track


# In turns


THREE = ["expression", "expression-nano", "expression-fer2013"]


def test_another_one_begins_each_round_and_all_get_as_many_frames() -> None:
    bench = Bench(steady(expression=10.0, expression_nano=5.0, expression_fer2013=15.0))
    found = bench.sweep(models=THREE, seconds=2.0)
    a, b, c = THREE
    # 6 seconds are 200 frames of all three together: 13 times 10 and the 5 before them.
    assert (found.rounds, found.frames) == (13, 10)
    order = bench.blocks(model_of)
    assert order[:3] == [(name, WARM_UP) for name in THREE]
    turns = [name for name, _ in order[3:]]
    # Where a round begins with the one that ended the last, its two turns follow each other.
    assert turns[:9] == [a, b, c, b, c, a, c, a, b]
    assert {count for _, count in order[3:]} == {SETTLE + found.frames}
    assert [v.frames for v in found.variants] == [130] * 3


def test_with_more_time_the_turns_get_longer() -> None:
    found = Bench(steady(expression=10.0)).sweep(seconds=10.0)
    assert (found.rounds, found.frames) == (22, 40)  # 22 times 45 are 9.9 of 10 seconds


def test_a_mood_of_the_machine_hits_all_alike() -> None:
    def cost(settings: Settings, number: int) -> float:
        turn = max(0, number - WARM_UP) // (SETTLE + 10)
        mood = (1.0, 3.0, 7.0)[turn % 3]
        return mood * (10.0 if settings.model == "expression" else 4.0)

    found = Bench(cost).sweep(models=THREE[:2])
    first, other = found.variants
    assert max(first.rounds_ms) == 7 * min(first.rounds_ms)
    assert (other.ratio.low, other.ratio.median, other.ratio.high) == pytest.approx((0.4,) * 3)
    assert first.ratio.median == 1.0


def test_the_ratio_is_the_median_of_the_rounds_and_not_that_of_all_frames() -> None:
    # Six rounds of 10 ms beside 10, 10, 20, 20, 30, 40 ms; within a round a third is slow.
    own = (10.0, 10.0, 20.0, 20.0, 30.0, 40.0)

    def cost(settings: Settings, number: int) -> float:
        if settings.model == "expression" or number < WARM_UP:
            return 10.0
        turn, within = divmod(number - WARM_UP, SETTLE + 10)
        return 500.0 if SETTLE <= within < SETTLE + 3 else own[turn]

    found = Bench(cost).sweep(models=THREE[:2], seconds=0.0)
    other = found.variants[1]
    assert other.rounds_ms == own
    assert (other.ratio.low, other.ratio.median, other.ratio.high) == (1.25, 2.0, 2.75)
    assert other.ratio.ci95 == (1.0, 4.0)
    # Of 60 frames, 18 took 500 ms.
    assert other.mean_ms == pytest.approx((18 * 500 + 7 * sum(own)) / 60)
    assert other.p99_ms is None  # of so few
    assert other.fps == pytest.approx(1000 / other.mean_ms)


def test_the_time_shown_is_that_of_the_first_times_the_ratio_shown() -> None:
    # The machine's mood falls on the other one's turns in a way that its own median misleads.
    own = (10.0, 10.0, 20.0, 20.0, 30.0, 40.0)

    def cost(settings: Settings, number: int) -> float:
        if settings.model == "expression" or number < WARM_UP:
            return 10.0
        turn, within = divmod(number - WARM_UP, SETTLE + 10)
        return 500.0 if SETTLE <= within < SETTLE + 4 else own[turn]

    found = Bench(cost).sweep(models=THREE[:2], seconds=0.0)
    first, other = found.variants
    assert other.p50_ms != 20.0
    assert (first.ms, other.ms) == (10.0, 20.0)
    (grid, *_) = found.grids
    names = [column.name for column in grid.columns]
    at = names.index("ms")
    assert names[at : at + 3] == ["ms", "x first", "x 25\u201375 %"]
    assert grid.rows[1].cells[at : at + 3] == (20.0, 2.0, "1.25\u20132.75")
    assert "of the others that times x first" in grid.note


@pytest.mark.parametrize(("frames", "known"), [(399, False), (400, True)])
def test_a_99th_percentile_takes_as_many_frames_as_everywhere(frames: int, known: bool) -> None:
    variant = Variant(model="expression", detector="face", threads=1, source="synthetic")
    times = [float(i) for i in range(1, frames + 1)]
    block = Block(total_ms=times, capture_ms=[0.0] * frames, seconds=1.0)
    taken = Taken(variant=variant, blocks=(block,), size=(64, 48), live=False)
    found = swept(taken, taken, variant.settings(BASE), {})
    assert (found.p99_ms is not None) is known
    assert found.to_json()["p99_ms"] == found.p99_ms


@pytest.mark.parametrize(
    ("rounds", "ends"), [(1, None), (5, None), (6, (1, 6)), (9, (2, 8)), (20, (6, 15))]
)
def test_the_interval_of_a_median_by_the_tables(rounds: int, ends: tuple[int, int] | None) -> None:
    own = [float(rounds - i) for i in range(rounds)]
    assert Ratio.of(own, [1.0] * rounds).ci95 == ends


def test_a_machine_that_gets_slow_ends_after_a_few_rounds() -> None:
    bench = Bench(lambda settings, number: 10.0 if number < WARM_UP else 300.0)
    assert bench.sweep(seconds=4.0).rounds == 6


def test_a_sweep_that_takes_longer_than_asked_says_so() -> None:
    told: list[str] = []
    bench = Bench(steady(expression=300.0))
    assert bench.sweep(threads=[1, 2], seconds=10.0, on_skip=told.append).rounds == 6
    assert told == ["6 rounds, the fewest that tell something, take about 54 s."]
    told.clear()
    Bench(steady(expression=30.0)).sweep(on_skip=told.append, seconds=3.0)
    assert told == []


def test_the_stages_of_a_frame() -> None:
    (only,) = Bench(steady(expression=16.0)).sweep().variants
    assert (only.p50_ms, only.detect_ms, only.classify_ms, only.work_ms) == (16, 8, 2, 12)
    assert (only.width, only.height) == (64, 48)
    bare = Bench(steady(expression=16.0), faces=lambda settings: 0)
    (only,) = bare.sweep().variants
    assert only.classify_ms is None
    assert only.faces == 0


def test_twelve_are_kept_open_and_more_one_at_a_time() -> None:
    few = Bench(steady(expression=10.0))
    found = few.sweep(threads=range(1, 13))
    assert not found.reopened
    assert (len(few.opened), few.most_open, few.open) == (12, 12, 0)
    many = Bench(steady(expression=10.0))
    found = many.sweep(threads=range(1, 14))
    assert found.reopened
    assert found.rounds == 6
    assert many.most_open == 1
    assert len(many.opened) == 13 * (1 + 6)
    # Of a turn ten frames are there to warm up again.
    assert {count for _, count in many.blocks(lambda s: s.threads)[13:]} == {10 + found.frames}
    assert "anew" in found.lead


@pytest.mark.parametrize("source", ["/dev/video0", "rtsp://host/1", "synthetic?fps=30"])
def test_a_source_that_goes_on_is_opened_by_one_at_a_time(source: str) -> None:
    bench = Bench(steady(expression=10.0))
    found = bench.sweep(threads=[1, 2], sources=[source])
    assert bench.most_open == 1
    assert all(v.live for v in found.variants)
    assert "hold waiting" in found.grids[0].note


def test_progress_counts_turns_and_ends_at_the_whole() -> None:
    told: list[tuple[float, float]] = []
    bench = Bench(steady(expression=10.0, expression_nano=10.0))
    bench.sweep(models=THREE[:2], seconds=0.0, on_progress=lambda *at: told.append(at))
    assert told[0] == (0, 42)
    assert [done for done, _ in told[2:]] == list(range(2, 15))
    assert told[-1] == (14, 14)


# What goes wrong


NO_HAAR = MissingExtra("OpenCV 5 has no Haar cascades.", "pip install it")


def test_one_that_cannot_be_opened_does_not_stop_the_others() -> None:
    told: list[str] = []
    bench = Bench(
        steady(expression=10.0), refuse=lambda s: NO_HAAR if s.detector == "haar" else None
    )
    found = bench.sweep(detectors=["haar", "face", "face?min_score=0.6"], on_skip=told.append)
    assert [v.variant.detector for v in found.variants] == ["face", "face?min_score=0.6"]
    assert found.variants[0].ratio.median == 1.0  # it is the first now
    assert told == [
        "expression, haar, 1 thread, synthetic: left out of the sweep: "
        "OpenCV 5 has no Haar cascades. pip install it"
    ]
    (skipped,) = found.to_json()["skipped"]
    assert skipped["detector"] == "haar"
    assert "no Haar cascades" in skipped["reason"]
    note = found.grids[0].note
    assert note.endswith(
        "Left out: expression, haar, 1 thread, synthetic: OpenCV 5 has no Haar cascades. pip "
        "install it."
    )
    assert bench.open == 0


def test_where_none_can_be_opened_the_first_reason_counts() -> None:
    errors = [NO_HAAR, DeviceError("later"), DeviceError("last")]
    bench = Bench(steady(), refuse=lambda s: errors[s.threads - 1])
    with pytest.raises(MissingExtra) as caught:
        bench.sweep(threads=[1, 2, 3])
    assert caught.value is NO_HAAR


def test_one_that_fails_on_the_way_is_left_out_and_closed() -> None:
    def cost(settings: Settings, number: int) -> float:
        if settings.threads == 2 and number == 60:
            raise DeviceError("The camera is gone.")
        return 10.0

    bench = Bench(cost)
    told: list[str] = []
    found = bench.sweep(threads=[1, 2, 4], on_skip=told.append)
    assert [v.variant.threads for v in found.variants] == [1, 4]
    assert len(told) == 1
    assert len({len(v.rounds_ms) for v in found.variants}) == 1
    assert not found.interrupted
    assert bench.open == 0


def test_all_failing_on_the_way_is_an_error() -> None:
    def cost(settings: Settings, number: int) -> float:
        if number == 60:
            raise DeviceError("The camera is gone.")
        return 10.0

    bench = Bench(cost)
    with pytest.raises(DeviceError, match="gone"):
        bench.sweep(threads=[1, 2])
    assert bench.open == 0


def interrupted_at(step: int) -> Bench:
    def cost(settings: Settings, number: int) -> float:
        if settings.threads == 2 and number == step:
            raise KeyboardInterrupt
        return 10.0

    return Bench(cost)


def test_ctrl_c_keeps_the_whole_rounds() -> None:
    # In the third round, when the other one has had its turn.
    bench = interrupted_at(WARM_UP + 2 * (SETTLE + 10) + 8)
    found = bench.sweep(threads=[1, 2])
    assert found.interrupted
    assert found.to_json()["interrupted"] is True
    assert found.rounds == 2
    assert [v.frames for v in found.variants] == [20, 20]
    assert "Ctrl-C" in found.lead
    assert bench.open == 0


@pytest.mark.parametrize("step", [3, WARM_UP + 3])
def test_ctrl_c_before_the_first_round_leaves_nothing_to_report(step: int) -> None:
    bench = interrupted_at(step)
    with pytest.raises(KeyboardInterrupt):
        bench.sweep(threads=[1, 2])
    assert bench.open == 0


def test_a_recording_goes_round() -> None:
    # Every eighth step is the end of the file.
    bench = Bench(lambda settings, number: None if number % 8 == 7 else 10.0)
    again: list[str] = []

    def camera(uri: str) -> FakeCamera:
        again.append(uri)
        return FakeCamera()

    found = take_turns(
        planned(models=["expression"], detectors=["face"], threads=[1], sources=["clip.mp4"]),
        BASE,
        seconds=0.0,
        opened=bench.build,  # type: ignore[arg-type]
        clock=bench.clock,
        cameras=camera,
    )
    frames = WARM_UP + 6 * (SETTLE + 10)
    assert len(bench.steps) == frames
    assert again == ["clip.mp4"] * ((frames - 1) // 7)
    assert len(found.taken[0].blocks) == 6


@pytest.mark.parametrize("ends", [0, 7])
def test_a_source_that_ends_is_left_out(ends: int) -> None:
    def cost(settings: Settings, number: int) -> float | None:
        short = settings.source.startswith("synthetic?frames")
        return None if short and number >= ends else 10.0

    found = Bench(cost).sweep(sources=["synthetic?frames=7", "synthetic"])
    assert [v.variant.source for v in found.variants] == ["synthetic"]
    assert "ended after too few frames" in str(found.skipped[0].error)


# What is said


def test_accuracy_is_measured_or_recorded_and_says_which() -> None:
    bench = Bench(steady(expression=10.0, expression_nano=10.0, expression_fer2013=10.0))
    mine = {"expression-nano": MeasuredShare(share=0.5, n=12)}
    found = bench.sweep(models=THREE, accuracies=mine)
    entries = [v["accuracy"] for v in found.to_json()["variants"]]
    assert [e["how"] for e in entries] == ["recorded", "measured", "recorded"]
    assert entries[1] == {"accuracy": 0.5, "n": 12, "split": None, "how": "measured"}
    assert (entries[0]["split"], entries[0]["n"]) == ("PublicTest", 3199)
    assert found.variants[2].label_scheme == "fer2013-7"
    note = found.grids[0].note
    assert "ferplus8, recorded (PublicTest, n 3,199); ferplus8, measured now (n 12)" in note
    assert "do not compare" in note


def test_a_float_model_has_its_own_recorded_accuracy() -> None:
    bench = Bench(lambda settings, number: 10.0)
    int8, plain = bench.sweep(models=["expression", "expression.float"]).variants
    assert int8.share != plain.share


def test_the_size_is_that_of_all_model_files() -> None:
    kb = {name: find(name).stat().st_size / 1e3 for name in ("expression", "face", "face-region")}
    settings = BASE.model_copy(update={"model": "expression", "detector": "face?min_score=0.6"})
    assert model_kb(settings) == pytest.approx(sum(kb.values()))
    alone = settings.model_copy(update={"track": False})
    assert model_kb(alone) == pytest.approx(kb["expression"] + kb["face"])
    cascade = model_kb(settings.model_copy(update={"detector": "haar?cascade=alt2"}))
    assert kb["expression"] + 300 < cascade < kb["expression"] + 1000


def found_with(nano_ms: float, **changes: Any) -> Sweep:
    """The nano model at this many ms beside the larger one at 10 ms."""
    bench = Bench(
        steady(expression=10.0, expression_nano=nano_ms, expression_fer2013=nano_ms),
        faces=changes.pop("faces", lambda settings: 2),
    )
    return bench.sweep(**{"models": THREE[:2], **changes})


SAME = {
    "expression": MeasuredShare(share=0.8, n=9),
    "expression-nano": MeasuredShare(share=0.8, n=9),
}


def test_a_faster_one_that_is_as_accurate_is_a_finding() -> None:
    (finding,) = found_with(5.0, accuracies=SAME).findings
    assert finding == (
        "With expression-nano a frame takes 50 % [50 to 50] of the time that it takes with "
        "expression, at no less accuracy."
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"nano_ms": 5.0},  # less accurate, as recorded
        {"nano_ms": 9.5, "accuracies": SAME},  # not 10 % faster
        {"nano_ms": 5.0, "accuracies": {"expression-nano": MeasuredShare(share=0.99, n=9)}},
        {"nano_ms": 5.0, "models": ["expression", "expression-fer2013"]},  # other labels
        {
            "nano_ms": 5.0,
            "accuracies": SAME,
            "faces": lambda settings: 1 if "nano" in settings.model else 2,
        },
    ],
)
def test_what_is_no_finding(changes: dict[str, Any]) -> None:
    assert found_with(**changes).findings == []


def test_a_smaller_source_is_no_better_variant() -> None:
    bench = Bench(lambda settings, number: 10.0 if settings.source == "synthetic" else 1.0)
    assert bench.sweep(sources=["synthetic", "synthetic?size=320x240"]).findings == []


def test_a_faster_detector_comes_with_a_warning() -> None:
    bench = Bench(lambda settings, number: 40.0 if settings.detector == "haar" else 4.0)
    (finding,) = bench.sweep(detectors=["haar", "face"]).findings
    assert finding.startswith("With face a frame takes 10 % [10 to 10] of the time")
    assert "edge-fer evaluate --detector" in finding


def test_too_few_rounds_and_noise_are_no_finding() -> None:
    def cost(settings: Settings, number: int) -> float:
        turn = max(0, number - WARM_UP) // (SETTLE + 10)
        return 5.0 if settings.threads == 1 else (1.0, 2.0, 9.0)[turn % 3]

    found = Bench(cost).sweep(threads=[1, 2])
    assert found.variants[1].ratio.median == pytest.approx(0.4)
    assert found.findings == []
    early = interrupted_at(WARM_UP + 2 * (SETTLE + 10) + 8)
    early.cost = lambda settings, number, cost=early.cost: (  # type: ignore[misc]
        cost(settings, number) * settings.threads
    )
    assert early.sweep(threads=[1, 2]).findings == []


def test_threads_that_cost_time_are_a_finding() -> None:
    ms = {1: 10.0, 2: 8.0, 4: 12.0, 8: 13.0}
    bench = Bench(lambda settings, number: ms[settings.threads])
    findings = bench.sweep(threads=[1, 2, 4, 8]).findings
    assert findings == [
        "With 2 threads a frame takes 80 % [80 to 80] of the time that it takes with 1 thread, "
        "at no less accuracy.",
        "More threads are slower than one here (4 threads: 120 % [120 to 120]; "
        "8 threads: 130 % [130 to 130] of its time).",
    ]


@pytest.mark.parametrize(
    ("ms", "slower", "faster"),
    [(10.9, 0, 0), (11.0, 0, 0), (11.1, 1, 0), (9.2, 0, 0), (9.0, 0, 1)],
)
def test_what_is_called_slower_or_faster(ms: float, slower: int, faster: int) -> None:
    bench = Bench(lambda settings, number: {1: 10.0, 2: ms}[settings.threads])
    findings = bench.sweep(threads=[1, 2]).findings
    assert sum("slower" in words for words in findings) == slower
    assert sum("at no less accuracy" in words for words in findings) == faster


@pytest.mark.parametrize(("odd", "slower"), [(1.0, 1), (0.9, 0)])
def test_slower_takes_the_whole_interval(odd: float, slower: int) -> None:
    # Six rounds: the interval reaches from the smallest ratio to the largest.
    def cost(settings: Settings, number: int) -> float:
        turn = max(0, number - WARM_UP) // (SETTLE + 10)
        return 10.0 if settings.threads == 1 else 12.0 * (odd if turn == 5 else 1.0)

    found = Bench(cost).sweep(threads=[1, 2], seconds=0.0)
    assert found.rounds == 6
    assert found.variants[1].ratio.median == pytest.approx(1.2)
    assert len(found.findings) == slower


def test_threads_are_compared_also_where_one_is_not_the_first() -> None:
    bench = Bench(lambda settings, number: 10.0 * settings.threads)
    slower = bench.sweep(threads=[2, 1]).findings[-1]
    assert "2 threads: 200 % [200 to 200] of its time" in slower


# How it is shown


def widths(grid: Grid) -> int:
    columns = [
        (column, [row.cells[i] for row in grid.rows]) for i, column in enumerate(grid.columns)
    ]
    return width_of(columns)


def wide() -> Sweep:
    bench = Bench(steady(expression=1234.5, expression_nano=5.0, expression_fer2013=7.0))
    sources = ["synthetic", "synthetic?size=1280x720&faces=8"]
    return bench.sweep(
        models=THREE, detectors=["face", "haar?cascade=alt2"], threads=[1, 4], sources=sources
    )


def test_all_tables_fit_into_80_columns_and_nothing_is_lost() -> None:
    grids = wide().grids
    assert len(grids) > 1
    named = ("model", "detector", "thr", "source")
    values = [c.name for g in grids for c in g.columns if c.name not in named]
    assert len(values) == len(set(values)) == 11  # all have as many faces
    for grid in grids:
        assert tuple(c.name for c in grid.columns[:4]) == ("model", "detector", "thr", "source")
        assert widths(grid) <= 80
        assert all(len(row.cells) == len(grid.columns) for row in grid.rows)
        assert len(grid.rows) == 24
    assert len({grid.key for grid in grids}) == len(grids)


def test_a_grid_is_as_wide_as_a_terminal_prints_it() -> None:
    from rich.console import Console
    from rich.table import Table

    (grid, *_) = wide().grids
    console = Console(width=200)
    table = Table(pad_edge=False, padding=(0, 1, 0, 0))
    for column in grid.columns:
        table.add_column(column.name)
    for row in grid.rows:
        table.add_row(*(shown(c, k) for c, k in zip(row.cells, grid.columns, strict=True)))
    assert table.__rich_measure__(console, console.options).maximum <= widths(grid)


def test_only_columns_that_vary_are_shown() -> None:
    bench = Bench(lambda settings, number: 10.0)
    (grid, *_) = bench.sweep(threads=[1, 2]).grids
    names = [column.name for column in grid.columns]
    assert names[:4] == ["thr", "ms", "x first", "x 25\u201375 %"]
    assert not {"model", "detector", "source", "kB", "accuracy", "labels"} & set(names)
    assert "All: model expression, detector face, source synthetic" in grid.note
    assert "accuracy 87.1 %" in grid.note
    assert "work: " in grid.note
    (grid, *_) = bench.sweep().grids
    assert grid.columns[0].name == "model"


def test_accuracies_stand_beside_their_labels_and_the_front_is_bold() -> None:
    bench = Bench(steady(expression=10.0, expression_nano=20.0, expression_fer2013=5.0))
    found = bench.sweep(models=THREE)
    (grid, *_) = found.grids
    names = [column.name for column in grid.columns]
    assert names.index("labels") == names.index("accuracy") + 1
    # The nano model is smaller, and the one for other labels has no one to compare with.
    assert [row.tone for row in grid.rows] == ["strong"] * 3
    found = bench.sweep(models=THREE[:2], threads=[1, 2])
    assert found.front == {0, 1, 2, 3}


def test_opencvs_threads_are_mentioned_where_they_matter() -> None:
    bench = Bench(lambda settings, number: 10.0)
    assert "OpenCV's threads" in bench.sweep(detectors=["haar"], threads=[1, 2]).grids[0].note
    assert "OpenCV's threads" not in bench.sweep(threads=[1, 2]).grids[0].note


def test_short_names_stay_different() -> None:
    variants = [
        Variant(model=model, detector="some/where/net.tflite?min_score=0.6", threads=n, source=uri)
        for model in ("here/mine.tflite", "there/mine.tflite")
        for n in (1, 2)
        for uri in ("rtsp://user:secret@host/1", "clips/long/way/a.mp4", "synthetic?size=320x240")
    ]
    names = Names(variants)
    assert names.cell(variants[0], "model") == "here/mine.tflite"
    assert names.cell(variants[0], "detector") == "net?min_score=0.6"
    assert {names.cell(v, "source") for v in variants} == {
        "rtsp://***@host/1",
        "a.mp4",
        "320x240",
    }
    assert names.label(variants[0]) == "here/mine.tflite, 1 thread, rtsp://***@host/1"
    assert names.label(variants[0], but="source") == "here/mine.tflite, 1 thread"
    assert "secret" not in variants[0].name


def test_its_json_is_finite_and_whole() -> None:
    bench = Bench(
        lambda settings, number: 10.0 + settings.threads,
        faces=lambda settings: int(settings.source[-1]),
    )
    found = bench.sweep(threads=[1, 2], sources=[f"synthetic?faces={n}" for n in (0, 1, 2, 4)])
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert len(document["variants"]) == 8
    entry = document["variants"][0]
    assert entry["source"] == "synthetic?faces=0"
    assert entry["classify_ms"] is None
    assert entry["on_front"] is True
    assert set(entry["ratio"]) == {"median", "low", "high", "ci95"}
    assert [fit["at"] for fit in document["scaling"]] == [[0, 1, 2, 4]] * 2
    section: Section = found
    assert section.key == "sweep"
    assert [grid.key for grid in section.grids][-1] == "sweep_scaling"
    assert len(section.figures) == 2
