"""Ratios, intervals and words of a comparison, by hand; and which comparisons are refused."""

from __future__ import annotations

import json
from dataclasses import replace
from math import exp, log, sqrt
from typing import Any

import pytest
from bench_samples import COMPUTER, PI, accuracy, report, run
from hypothesis import given
from hypothesis import strategies as st

from edge_fer.errors import ConfigError, DataError
from edge_fer_bench.compare.changes import Change, Shift
from edge_fer_bench.compare.comparison import Comparison, check_same_machine, compare
from edge_fer_bench.compare.documents import Baseline
from edge_fer_bench.compare.reading import parse
from edge_fer_bench.drawing.section import Section, shown
from edge_fer_bench.statistics.ratio import Rule, difference_interval, ratio_interval, tell

STAGES = ("capture", "detect", "preprocess", "classify")
Document = dict[str, Any]


def stage(p50: float, width: float | None = 0.02, n: int = 500) -> Document:
    """A stage whose percentiles have intervals of this half width; None: no intervals."""
    values = {"p50": p50, "p90": 1.5 * p50, "p99": 3 * p50}
    found: Document = {"n": n, "mean": 1.1 * p50, "max": 4 * p50, **values}
    if width is not None:
        found["ci95"] = {k: [v / (1 + width), v * (1 + width)] for k, v in values.items()}
    return found


def document(scale: float = 1.0, width: float | None = 0.02, **changes: Any) -> Document:
    """A plain document whose times are those of a machine ``scale`` times as slow."""
    return {
        "schema": "edge-fer/benchmark/1",
        "device": PI.to_json(),
        "software": {"edge_fer": "0.1.0", "opencv": "4.14.0", "backend": "litert, 1 thread"},
        "model": {"name": "tiny", "sha256": "ab" * 32, "size_bytes": 250_000, "threads": 1,
                  "path": "/here/tiny.tflite", "backend": "litert, 1 thread"},
        "source": {"uri": "synthetic", "kind": "synthetic", "width": 640, "detector": "face",
                   "track": True, "sinks": [], "frames": 500, "faces_per_frame": 2.0},
        "latency_ms": {
            **{name: stage(2.0 * scale, width) for name in STAGES},
            "emit": {"n": 0, "mean": None, "p50": None, "p90": None, "p99": None, "max": None},
            "total": stage(8.0 * scale, width),
        },
        "fps": 100.0 / scale,
        "cold_start_ms": 700.0 * scale,
        "cold_start": {"runs_ms": [690.0 * scale, 700.0 * scale, 710.0 * scale]},
        "rss_peak_mb": 110.0,
        "thermal": {"events": []},
        "started": "2026-11-20T12:00:00+00:00",
        **changes,
    }  # fmt: skip


def measured(right: float, drop: float, **changes: Any) -> Document:
    return {
        "data_sha256": "cd" * 32,
        "split": "PublicTest",
        "n": 3200,
        "quantised": {"accuracy": right},
        "drop_points": drop,
        "ci95_points": [drop - 0.2, drop + 0.2],
        **changes,
    }


def compared(now: Document, before: Document) -> Comparison:
    return compare(now, parse(before))


def change(found: Comparison, figure: str) -> Change:
    return next(c for c in found.changes if c.figure == figure)


def shift(found: Comparison, figure: str) -> Shift:
    return next(s for s in found.shifts if s.figure == figure)


def test_the_interval_of_a_ratio_by_hand() -> None:
    # SE = ln(high / low) / (2 * 1.96) of each: ln 1.21 and ln 1.44 for factors 1.1 and 1.2.
    found = ratio_interval(12.0, 10.0, (12 / 1.1, 12 * 1.1), (10 / 1.2, 10 * 1.2))
    half = sqrt(log(1.1) ** 2 + log(1.2) ** 2)
    assert found == pytest.approx((1.2 * exp(-half), 1.2 * exp(half)))
    assert ratio_interval(12.0, 10.0, None, (9, 11)) is None
    assert ratio_interval(12.0, 10.0, (11, 13), None) is None
    assert ratio_interval(12.0, 10.0, (0, 13), (9, 11)) is None
    # An interval without width adds nothing to the other one.
    assert ratio_interval(2.0, 1.0, (2, 2), (0.8, 1.25)) == pytest.approx((1.6, 2.5))


def test_the_interval_of_a_difference_by_hand() -> None:
    assert difference_interval(3.0, 1.0, (0.0, 6.0), (-3.0, 5.0)) == pytest.approx((-3.0, 7.0))
    assert difference_interval(3.0, 1.0, None, (-3.0, 5.0)) is None


def test_an_interval_holds_what_was_drawn_from_it() -> None:
    """95 of 100 pairs of log-normal figures without a difference have 1 in the interval."""
    import numpy as np

    rng = np.random.default_rng(7)
    draws = np.exp(rng.normal(0, [0.03, 0.08], (4000, 2)))
    inside = 0
    for now, before in draws:
        ends = [(x * exp(-1.96 * s), x * exp(1.96 * s)) for x, s in ((now, 0.03), (before, 0.08))]
        found = ratio_interval(now, before, *ends)
        assert found is not None
        inside += found[0] <= 1 <= found[1]
    assert inside / 4000 == pytest.approx(0.95, abs=0.012)


@pytest.mark.parametrize(
    ("ratio", "interval", "bare", "says"),
    [
        (1.0, (0.5, 2.0), None, "no_difference"),
        (1.099, (1.08, 1.12), None, "no_difference"),  # within 10 %, however sure
        (0.911, None, None, "no_difference"),
        (1.15, (1.11, 1.19), None, "higher"),
        (1.15, (1.05, 1.26), None, "cannot_be_told"),  # excludes 1, but not 10 %
        (0.80, (0.75, 0.85), None, "lower"),
        (0.80, (0.69, 0.92), None, "cannot_be_told"),
        (3.00, None, None, "cannot_be_told"),
        (1.20, None, 0.21, "cannot_be_told"),
        (1.22, None, 0.21, "higher"),
        (0.82, None, 0.21, "lower"),
        (0.83, None, 0.21, "cannot_be_told"),
    ],
)
def test_what_may_be_said(
    ratio: float, interval: tuple[float, float] | None, bare: float | None, says: str
) -> None:
    assert tell(ratio, interval, Rule(bare=bare)) == says


@given(
    ratio=st.floats(0.01, 100),
    width=st.floats(1, 5),
    bare=st.sampled_from([None, 0.21]),
    known=st.booleans(),
)
def test_now_and_before_may_change_places(
    ratio: float, width: float, bare: float | None, known: bool
) -> None:
    there = tell(ratio, (ratio / width, ratio * width) if known else None, Rule(bare=bare))
    back = tell(1 / ratio, (1 / ratio / width, width / ratio) if known else None, Rule(bare=bare))
    edges = [1.1, 1.21]
    if any(
        abs(abs(log(ratio)) - d * log(width) - log(e)) < 1e-9 for e in edges for d in (-1, 0, 1)
    ):
        return  # on an edge, where rounding decides
    assert {"higher": "lower", "lower": "higher"}.get(there, there) == back


@pytest.mark.parametrize("width", [0.02, 0.9, None])
@pytest.mark.parametrize("content", [document(), report(run=run()).to_json()])
def test_two_equal_documents_show_no_difference(content: Document, width: float | None) -> None:
    content = json.loads(json.dumps(content))
    for times in content["latency_ms"].values():
        if width is None:
            times.pop("ci95", None)
        elif times.get("p50"):
            times["ci95"] = {"p50": [times["p50"] / (1 + width), times["p50"] * (1 + width)]}
    content["accuracy"] = measured(0.87, 0.12)
    found = compared(content, content)
    assert len(found.changes) >= 11
    assert {c.ratio for c in found.changes} == {1.0}
    assert {c.words for c in found.changes} == {"no difference shows"}
    assert {s.words for s in found.shifts} == {"no difference shows"}
    assert found.not_the_same == ()
    assert found.findings == [found.to_json()["verdict"]]
    assert "takes 1.00 times as long" in found.findings[0]
    assert found.findings[0].endswith("no difference shows.")


def test_figures_ratios_and_intervals_of_a_slower_run() -> None:
    now = document(1.5)
    now["latency_ms"]["classify"] = stage(2.0)
    found = compared(now, document())
    assert [c.figure for c in found.changes] == [
        "frame p50", "frame p90", "frame p99", "frame mean", "fps", "cold start", "peak memory",
        "capture p50", "detect p50", "preprocess p50", "classify p50", "model size",
    ]  # fmt: skip
    median = change(found, "frame p50")
    assert (median.now, median.before, median.ratio) == (12.0, 8.0, 1.5)
    half = sqrt(2) * log(1.02)
    assert median.interval == pytest.approx((1.5 * exp(-half), 1.5 * exp(half)))
    says = {c.figure: c.words for c in found.changes}
    assert {says[f"frame {p}"] for p in ("p50", "p90", "p99")} == {"slower"}
    assert says["frame mean"] == says["fps"] == "cannot be told"  # no interval
    assert change(found, "fps").ratio == pytest.approx(1 / 1.5)
    assert (
        says["classify p50"] == says["peak memory"] == says["model size"] == "no difference shows"
    )
    assert "1.50 times as long (95 % interval 1.46 to 1.54): slower." in found.findings[0]
    assert "Slower: frame p90, frame p99, cold start, capture p50, detect p50" in found.findings[0]
    assert len(found.findings) == 1  # one stage stayed, so it is not the machine


def test_a_faster_run_is_called_so() -> None:
    found = compared(document(0.5), document())
    assert change(found, "frame p50").words == "faster"
    assert change(found, "frame p50").ratio == 0.5


def test_a_rate_and_a_mean_with_an_interval_are_judged() -> None:
    documents = [document(scale) for scale in (0.5, 1.0)]
    for each in documents:
        mean = each["latency_ms"]["total"]["mean"]
        each["latency_ms"]["total"]["ci95"]["mean"] = [mean / 1.03, mean * 1.03]
    found = compared(*documents)
    assert change(found, "frame mean").words == "faster"
    rate = change(found, "fps")
    assert (rate.ratio, rate.words, rate.is_worse) == (2.0, "faster", False)
    half = sqrt(2) * log(1.03)
    assert rate.interval == pytest.approx((2 * exp(-half), 2 * exp(half)))
    back = change(compared(*documents[::-1]), "fps")
    assert (back.words, back.is_worse) == ("slower", True)


def test_cold_starts_are_judged_by_any_two_of_them() -> None:
    now, before = document(), document()
    now["cold_start"]["runs_ms"], now["cold_start_ms"] = [900, 950, 1400], 950
    found = change(compared(now, before), "cold start")
    assert found.is_range
    assert found.interval == pytest.approx((900 / 710, 1400 / 690))
    assert found.words == "slower"
    assert found.to_json()["ci95"] is None
    assert found.to_json()["range"] == pytest.approx([900 / 710, 1400 / 690])
    now["cold_start"]["runs_ms"] = [700, 950, 1400]  # one start as fast as then
    assert change(compared(now, before), "cold start").words == "cannot be told"
    now["cold_start"]["runs_ms"] = [950]
    assert change(compared(now, before), "cold start").interval is None


@pytest.mark.parametrize(
    ("memory", "words"), [(120.0, "no difference shows"), (122.0, "more"), (99.0, "less")]
)
def test_memory_has_its_own_words(memory: float, words: str) -> None:
    found = compared(document(rss_peak_mb=memory), document())
    assert change(found, "peak memory").words == words


def test_any_other_size_is_another_size() -> None:
    now = document()
    now["model"]["size_bytes"] = 250_001
    assert change(compared(now, document()), "model size").words == "larger"
    assert change(compared(document(), now), "model size").words == "smaller"


def test_against_a_baseline_without_intervals() -> None:
    old = document(1.0, None)
    for scale, words in ((1.2, "cannot be told"), (1.25, "slower"), (0.7, "faster")):
        found = compared(document(scale), old)
        assert change(found, "frame p50").interval is None
        assert change(found, "frame p50").words == words
        assert change(found, "frame p99").words == "cannot be told"
        assert "the baseline has none" in found.grids[-1].note
    assert "interval 1" not in found.findings[0]


def test_an_old_document_has_the_rows_that_it_can() -> None:
    old = {
        "schema": "edge-fer/benchmark/1",
        "device": {"kind": "raspberry_pi", "name": PI.name, "architecture": "aarch64", "cores": 4},
        "latency_ms": {"total": {"n": 5, "p50": 8.0}, "detect": {"n": 0}},
    }
    found = compared(document(), old)
    assert [c.figure for c in found.changes] == ["frame p50"]
    assert found.to_json()["baseline"] == {
        "started": None, "edge_fer": None, "model": None, "model_sha256": None,
    }  # fmt: skip
    assert "stages that ran" in found.findings[1]
    assert "an unknown day" in found.lead


def test_times_of_zero_have_no_ratio() -> None:
    now = document()
    now["latency_ms"]["capture"]["p50"] = 0.0
    assert "capture p50" not in [c.figure for c in compared(now, document()).changes]


def test_all_stages_alike_point_at_the_machine() -> None:
    found = compared(document(1.5), document())
    assert any("load, clock, heat" in words for words in found.findings)


@pytest.mark.parametrize("side", [0, 1])
def test_beside_other_programs_no_time_is_called(side: int) -> None:
    pair = [document(3.0, rss_peak_mb=500.0), document()]
    pair[side]["machine_state"] = {"noisy": True}
    pair[1 - side]["machine_state"] = {"noisy": [False, None][side]}
    found = compared(*pair)
    words = {c.figure: c.words for c in found.changes}
    assert words.pop("peak memory") == "more"
    assert words.pop("model size") == "no difference shows"
    # These have no interval, so a quiet machine would not tell them either.
    assert words.pop("frame mean") == words.pop("fps") == "cannot be told"
    # The whole interval lies beyond 10 %: that it cannot be told would contradict the note.
    assert set(words.values()) == {"not called: other load"}
    assert found.findings[0].endswith("not called: other load. More: peak memory.")
    table = next(grid for grid in found.grids if grid.key == "comparison")
    assert table.rows[0].cells[-1] == "not called: other load"
    assert table.rows[0].tone == "strong"
    widths = [
        max(len(shown(row.cells[i], column)) for row in table.rows)
        for i, column in enumerate(table.columns)
    ]
    assert sum(widths) + 2 * len(widths) <= 80
    assert str(found.figures[0].svg).count("not called: other load") == len(words)
    verdicts = {f["figure"]: f["verdict"] for f in found.to_json()["figures"]}
    assert verdicts["frame p50"] == verdicts["cold start"] == "other_load"
    assert verdicts["fps"] == "cannot_be_told"
    which = ["this run", "the baseline's run"][side]
    assert any(f"of the machine in {which}, so no change" in w for w in found.findings)
    assert found.to_json()["noisy"] == [which]
    # What is alike is alike beside others too.
    pair[0] = {**document(), "machine_state": {"noisy": True}}
    assert change(compared(*pair), "frame p50").words == "no difference shows"


ELSEWHERE = {
    "kind": replace(PI, kind="board"),
    "name": replace(PI, name="Raspberry Pi 4 Model B Rev 1.5"),
    "cpu": replace(PI, cpu="Cortex-A72"),
    "architecture": replace(PI, architecture="armv7l"),
    "cores": replace(PI, cores=2),
}


@pytest.mark.parametrize("field", ELSEWHERE)
def test_other_hardware_is_refused(field: str) -> None:
    before = parse(document())
    here = ELSEWHERE[field].to_json()
    with pytest.raises(ConfigError, match="different machines are not compared") as caught:
        check_same_machine(here, before)
    then = PI.to_json()[field]
    assert caught.value.message.endswith(f"Not the same: {field} {then} \u2192 {here[field]}.")
    assert PI.name in caught.value.message
    assert ELSEWHERE[field].name in caught.value.message
    assert caught.value.exit_code == 2
    assert "edge-fer benchmark --json" in caught.value.remedy
    with pytest.raises(ConfigError):
        compare(document(device=here), before)


def test_every_field_that_differs_is_named() -> None:
    other = replace(COMPUTER, architecture="x86_64", cores=2)
    with pytest.raises(ConfigError) as caught:
        check_same_machine(other.to_json(), parse(document()))
    named = caught.value.message.partition("Not the same: ")[2]
    assert [part.split()[0] for part in named.split("; ")] == list(ELSEWHERE)


def test_kernel_clock_and_governor_are_no_other_machine() -> None:
    here = replace(PI, system="Linux 7.0", governor="performance", max_mhz=2600.0, memory_mb=4000.0)
    found = compared(document(device=here.to_json()), document())
    assert {d.what: (d.before, d.now) for d in found.not_the_same} == {
        "governor": ("ondemand", "performance"),
        "max mhz": ("2400.0", "2600.0"),
        "system": (PI.system, "Linux 7.0"),
    }


def test_what_a_machine_does_not_say_is_no_difference() -> None:
    check_same_machine(replace(PI, cpu=None).to_json(), parse(document()))
    without = document()
    del without["device"]["cpu"]
    check_same_machine(PI.to_json(), parse(without))


def test_what_was_not_the_same_stands_above_the_table() -> None:
    now, before = document(), document()
    now["software"] |= {"opencv": "4.15.0", "backend": "litert, 4 threads"}
    now["model"] |= {"sha256": "cd" * 32, "threads": 4, "path": "/there/x.tflite"}
    now["source"] |= {"detector": "yunet", "track": False, "width": 320, "sinks": ["jsonl:/a/b"],
                      "faces_per_frame": 1.0, "frames": 900}  # fmt: skip
    now["thermal"] = {"events": ["throttled"]}
    now["latency_ms"]["track"] = stage(1.0)
    found = compared(now, before)
    assert {d.what: (d.before, d.now) for d in found.not_the_same} == {
        "OpenCV": ("4.14.0", "4.15.0"),
        "backend": ("litert, 1 thread", "litert, 4 threads"),
        "model sha256": ("ab" * 6, "cd" * 6),
        "model threads": ("1", "4"),
        "source detector": ("face", "yunet"),
        "source track": ("on", "off"),
        "source width": ("640", "320"),
        "source sinks": ("none", "jsonl:b"),
        "stages that ran": (", ".join(STAGES), f"{', '.join(STAGES)}, track"),
        "faces a frame": ("2.00", "1.00"),
        "throttling": ("none", "throttled"),
    }
    assert [grid.key for grid in found.grids] == ["comparison_differences", "comparison"]
    assert any(w.startswith("Not the same: OpenCV, backend") for w in found.findings)
    assert (
        "The machine was not in the same state: throttling none \u2192 throttled." in found.findings
    )


def test_what_only_one_of_the_two_tells_is_listed() -> None:
    before = document()
    del before["source"]["track"]
    before["software"]["numpy"] = "2.0"
    found = {d.what: (d.before, d.now) for d in compared(document(), before).not_the_same}
    assert found == {
        "told only now": ("\u2013", "source track on"),
        "told only by the baseline": ("NumPy 2.0", "\u2013"),
    }


def test_accuracies_by_hand() -> None:
    found = compared(document(accuracy=measured(0.80, 1.0)), document(accuracy=measured(0.87, 0.1)))
    right = shift(found, "accuracy")
    half = 196 * sqrt(0.8 * 0.2 / 3200 + 0.87 * 0.13 / 3200)
    assert right.points == pytest.approx(-7)
    assert right.interval == pytest.approx((-7 - half, -7 + half), rel=1e-4)
    drop = shift(found, "drop")
    assert drop.points == pytest.approx(0.9)
    assert drop.interval == pytest.approx((0.9 - 0.2 * sqrt(2), 0.9 + 0.2 * sqrt(2)))
    assert right.words == drop.words == "worse"
    assert "Worse than in the baseline: accuracy, drop." in found.findings
    assert right.to_json()["before"] == 0.87
    assert drop.to_json()["before_points"] == 0.1
    back = compared(document(accuracy=measured(0.87, 0.1)), document(accuracy=measured(0.80, 1.0)))
    assert [s.words for s in back.shifts] == ["better", "better"]
    assert "better" not in {c.words for c in back.changes}


@pytest.mark.parametrize(
    ("now", "words"),
    [(0.873, "no difference shows"), (0.858, "cannot be told"), (0.84, "worse"), (0.9, "better")],
)
def test_what_may_be_said_of_an_accuracy(now: float, words: str) -> None:
    found = compared(document(accuracy=measured(now, 0.1)), document(accuracy=measured(0.87, 0.1)))
    assert shift(found, "accuracy").words == words


def test_a_drop_without_an_interval() -> None:
    now = measured(0.87, 2.0)
    del now["ci95_points"]
    found = compared(document(accuracy=now), document(accuracy=measured(0.87, 0.1)))
    assert (shift(found, "drop").interval, shift(found, "drop").words) == (None, "cannot be told")


@pytest.mark.parametrize(
    ("now", "before", "why"),
    [
        (None, None, "neither run measured it"),
        (None, measured(0.8, 0), "this run did not measure it"),
        (measured(0.8, 0), None, "the baseline did not measure it"),
        (measured(0.8, 0), measured(0.8, 0, data_sha256="0"), "other data"),
        (measured(0.8, 0, data_sha256=None), measured(0.8, 0, data_sha256=None), "other data"),
        (measured(0.8, 0), measured(0.8, 0, split="validation"), "another split"),
        (measured(0.8, 0), measured(0.8, 0, n=3100), "3,100 \u2192 3,200 pictures"),
        (
            measured(0.8, 0, n=9),
            measured(0.8, 0, data_sha256="0", split="x"),
            "other data, another split, 3,200 \u2192 9 pictures",
        ),
    ],
)
def test_accuracies_of_other_pictures_are_not_compared(
    now: Document | None, before: Document | None, why: str
) -> None:
    found = compared(document(accuracy=now), document(accuracy=before))
    assert found.shifts == ()
    assert found.no_shifts == why
    assert found.grids[-1].note.endswith(f"Accuracy is not compared: {why}.")
    assert found.to_json()["accuracy_not_compared"] == why


def test_one_model_with_two_accuracies_is_said_aloud() -> None:
    now, before = (document(accuracy=measured(right, 0.1)) for right in (0.871, 0.872))
    said = "The same model file gives another accuracy"
    assert any(words.startswith(said) for words in compared(now, before).findings)
    now["model"]["sha256"] = "00" * 32
    assert not any(words.startswith(said) for words in compared(now, before).findings)
    now["model"]["sha256"] = before["model"]["sha256"] = None
    assert not any(words.startswith(said) for words in compared(now, before).findings)


def test_it_is_a_section_that_terminal_page_and_json_can_show() -> None:
    section: Section = compared(
        document(1.5, accuracy=measured(0.8, 1.0)), document(accuracy=measured(0.87, 0.1))
    )
    assert section.key == "comparison"
    for grid in section.grids:
        for row in grid.rows:
            cells = [shown(c, col) for c, col in zip(row.cells, grid.columns, strict=True)]
            assert all(cells)
    # A terminal has 80 columns: two between each two columns, two at the ends.
    table = next(grid for grid in section.grids if grid.key == "comparison")
    widths = [
        max(len(shown(row.cells[i], column)) for row in table.rows)
        for i, column in enumerate(table.columns)
    ]
    assert sum(widths) + 2 * len(widths) <= 80
    assert {row.tone for row in table.rows} >= {"bad", "plain"}
    picture = str(section.figures[0].svg)
    assert picture.count('class="whisker"') == sum(
        c["ci95"] is not None or c["range"] is not None for c in section.to_json()["figures"]
    )
    assert "NaN" not in json.dumps(section.to_json(), allow_nan=False)


def test_far_ratios_stay_inside_the_picture() -> None:
    import re

    for scale in (0.001, 1000.0):
        picture = str(compared(document(scale), document()).figures[0].svg)
        places = [float(x) for x in re.findall(r' x="([-\d.]+)"', picture)]
        assert min(places) >= 0
        assert max(places) <= 928


def test_what_is_no_report_cannot_be_compared() -> None:
    before: Baseline = parse(document())
    with pytest.raises(DataError, match="The report lacks"):
        compare({"schema": "edge-fer/benchmark/1"}, before)


def test_a_real_accuracy_is_compared() -> None:
    found = compared(
        json.loads(json.dumps(report(accuracy=accuracy(40, n=2000, label=1)).to_json())),
        json.loads(json.dumps(report(accuracy=accuracy(3, n=2000)).to_json())),
    )
    assert [s.words for s in found.shifts] == ["worse", "worse"]
    assert shift(found, "drop").points == pytest.approx(100 * 37 / 2000)
