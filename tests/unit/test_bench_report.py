import csv
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from io import StringIO
from pathlib import Path

import cv2
import pytest
from bench_samples import COMPUTER, METRIC, accuracy, frames, report, run
from rich.console import Console

from edge_fer.errors import DataError, DeviceError
from edge_fer_bench.budgets import Budgets
from edge_fer_bench.drawing.section import Column, Figure, Grid, Row
from edge_fer_bench.drawing.svg import svg
from edge_fer_bench.report.page import page, prepare_folder, write_report
from edge_fer_bench.report.report import BenchmarkReport, GoldenCheck
from edge_fer_bench.report.table import render
from edge_fer_bench.report.verdict import NOT_MEASURED, judge
from edge_fer_bench.timing.cold_start import ColdStart
from edge_fer_bench.timing.latency import Bound, summarise

FILES = ["report.html", "report.csv", "frames.csv", "report.json"]
STAGE = {"n", "mean", "p50", "p90", "p99", "max", "ci95"}
REPORTS = {
    "plain": report(),
    "measured": report(accuracy=accuracy(3, 2)),
    "failed": report(accuracy=accuracy(40, n=2000, label=1)),
    "undecided": report(accuracy=accuracy(6)),
    "foreign": report(machine=COMPUTER),
    "bare": report(
        recorded=(),
        golden=GoldenCheck(n=0, max_error=None, int8=True),
        cold_start=ColdStart(why_not="no camera"),
        run=run([5.0]),
    ),
    "interrupted": report(run=run([10.0] * 5, stopped_by="interrupted"), interrupted=True),
}


def checked(**limits: float) -> BenchmarkReport:
    timed, measured = run(), accuracy(40, n=2000, label=1)
    checks = Budgets(**limits).check(summarise(timed), timed.fps, 111.0, measured)
    return report(run=timed, accuracy=measured, budgets=checks)


def printed(given: BenchmarkReport, *, details: bool = False) -> str:
    out = StringIO()
    render(given, Console(file=out, width=80), details=details)
    return out.getvalue()


@pytest.mark.parametrize("name", REPORTS)
def test_json_is_finite_and_complete(name: str) -> None:
    document = json.loads(json.dumps(REPORTS[name].to_json(), allow_nan=False))
    assert document["schema"] == "edge-fer/benchmark/1"
    stages = {"capture", "detect", "track", "preprocess", "classify", "smooth", "emit", "total"}
    assert set(document["latency_ms"]) == stages
    assert all(set(times) == STAGE for times in document["latency_ms"].values())
    assert document["latency_ms"]["track"]["n"] == 0
    assert document["latency_ms"]["track"]["p99"] is None
    assert set(document["golden"]) >= {"n", "max_lsb"}


def test_json_of_a_measured_drop() -> None:
    found = REPORTS["measured"].to_json()["accuracy"]
    figures = {"accuracy", "macro_recall", "macro_f1", "ece"}
    assert set(found["reference"]) == set(found["quantised"]) == figures
    assert found["drop_points"] == pytest.approx(0.1)
    assert found["ci95_points"][0] < 0.1 < found["ci95_points"][1]
    assert found["per_class"]["neutral"] == {
        "n": 500,
        "reference_recall": pytest.approx(0.996),
        "quantised_recall": pytest.approx(0.994),
        "drop_points": pytest.approx(0.2),
    }


def test_a_float_model_has_no_lsb() -> None:
    golden = GoldenCheck(n=4, max_error=2e-5, int8=False)
    assert golden.to_json() == {"n": 4, "max_lsb": None, "max_abs": 2e-5}
    assert "LSB" not in golden.words
    assert GoldenCheck(n=4, max_error=1.0, int8=True).to_json() == {"n": 4, "max_lsb": 1}


@pytest.mark.parametrize(
    ("name", "state", "word"),
    [
        ("plain", "info", "Measured"),
        ("measured", "open", "Not distinguishable"),
        ("failed", "fail", "Fail"),
        ("undecided", "open", "Not distinguishable"),
        ("interrupted", "open", "Interrupted"),
    ],
)
def test_verdicts(name: str, state: str, word: str) -> None:
    headline = judge(REPORTS[name])
    assert (headline.state, headline.word) == (state, word)


def test_a_pass_and_what_it_rests_on() -> None:
    headline = judge(report(accuracy=accuracy(2, 2, n=10_000)))
    assert headline.state == "pass"
    assert any("10,000 labelled pictures (faces.npz" in s for s in headline.sentences)


def test_a_wrong_contract_is_the_headline_and_what_follows_from_it_is_withheld() -> None:
    class Robustness(Counted):
        key = "robustness"
        findings = ("Under blur int8 loses 30 points.",)

    class Roofline(Counted):
        key = "roofline"
        findings = ("The peak is high.",)

    suspected = replace(
        accuracy(40, n=2000, label=1),
        suspicions=("The labels look swapped. Write them anew: edge-fer models adopt",),
    )
    headline = judge(report(accuracy=suspected, sections=(Robustness(), Roofline())))
    assert (headline.state, headline.word) == ("fail", "Contract looks wrong")
    assert headline.text == "The labels look swapped."
    assert headline.sentences[0].endswith("edge-fer models adopt")
    assert "The peak is high." in headline.sentences
    assert not any("blur" in sentence for sentence in headline.sentences)
    fine = judge(report(accuracy=accuracy(2), sections=(Robustness(),)))
    assert any("blur" in sentence for sentence in fine.sentences)


def test_what_went_wrong_later_leaves_a_partial_report_that_says_so() -> None:
    given = report(problem=DataError("No such split.", "Try PublicTest."))
    assert given.partial
    assert given.to_json()["interrupted"] is True
    assert given.to_json()["problem"] == "No such split. Try PublicTest."
    headline = judge(given)
    assert headline.word == "Incomplete"
    assert "No such split" in headline.sentences[0]


def test_no_99th_percentile_is_claimed_from_a_few_frames() -> None:
    few = run([10.0] * 29 + [60.5])
    text = " ".join(printed(report(run=few, latency=summarise(few))).replace("\u2502", " ").split())
    assert "the slowest of 30 took 60.5 ms" in text
    assert "99 % at most" not in text
    shown = page(report(run=few, latency=summarise(few)))
    assert "slowest of 30 frames" in shown
    assert "99th percentile</span>" not in shown
    assert "99th percentile</span>" in page(REPORTS["plain"])


def test_an_undecided_drop_says_how_many_pictures_would_decide() -> None:
    assert "about 19,11" in judge(REPORTS["undecided"]).text


def test_limits_that_were_missed_come_first_with_the_reason() -> None:
    missed = checked(max_p99=12.0, min_fps=1.0, max_rss=100.0, max_class_drop=3.0, max_drop=50.0)
    assert [check.budget for check in missed.missed] == ["max_class_drop", "max_p99", "max_rss"]
    headline = judge(missed)
    assert headline.state == "fail"
    assert "happiness 4.0" in headline.text
    assert "16.0 ms, the limit is 12 ms" in headline.text
    assert any("least allowed is 1" in s for s in headline.sentences)
    assert [b["met"] for b in missed.to_json()["budgets"]] == [True, False, False, True, False]


def test_limits_that_were_kept() -> None:
    kept = checked(max_p99=16.0, min_fps=70.0, max_rss=111.0, max_drop=3.0, max_class_drop=5.0)
    assert not kept.missed
    assert len(kept.budgets) == 5
    assert checked().budgets == ()


def test_what_was_never_measured_is_no_limit_kept() -> None:
    few = run([10.0] * 20)
    (slow,) = Budgets(max_p99=9.0).check(summarise(few), few.fps, 1.0, None)
    assert not slow.met
    assert "the slowest of 20 frames, too few for a 99th percentile, took 10.0 ms" in slow.words
    assert Budgets(max_p99=11.0).check(summarise(few), few.fps, 1.0, None)[0].met
    nobody = run(samples=frames([10.0] * 500, 0))
    checks = Budgets(max_p99=20.0, min_fps=1.0).check(summarise(nobody), 100.0, 1.0, None)
    assert [check.met for check in checks] == [False, False]
    assert all("no face was found" in check.words for check in checks)
    (check,) = Budgets(max_class_drop=3.0).check(summarise(few), few.fps, 1.0, accuracy(0, n=60))
    assert not check.met
    assert "no class was judged" in check.words


def test_a_detailed_table_is_for_the_page_and_for_the_talkative() -> None:
    class Detailed(Counted):
        grids = (replace(Counted.grids[0], detail=True),)

    given = report(sections=(Detailed(),))
    assert "pears" not in printed(given)
    assert "pears" in printed(given, details=True)
    assert "pears" in page(given)


def test_a_drop_inside_the_interval_is_no_miss() -> None:
    timed, measured = run(), accuracy(6)
    (check,) = Budgets(max_drop=0.5).check(summarise(timed), timed.fps, 1.0, measured)
    assert check.met
    assert "cannot be told from" in check.words


@pytest.mark.parametrize("name", REPORTS)
def test_the_table_fits_80_columns_and_cuts_nothing(name: str) -> None:
    text = printed(REPORTS[name])
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "\u2026" not in text
    assert judge(REPORTS[name]).word in text.splitlines()[1]


def test_the_table_shows_every_stage_that_ran() -> None:
    text = printed(REPORTS["plain"])
    for stage in ("capture", "detect", "preprocess", "classify", "total"):
        assert re.search(rf"^ +{stage} .* \d+\.\d\d ", text, re.M)
    assert "Did not run here: track, smooth, emit." in text


def test_without_data_the_table_says_so_and_shows_what_is_recorded() -> None:
    text = " ".join(printed(REPORTS["plain"]).replace("\u2502", " ").split())
    assert NOT_MEASURED in text
    for part in ("faces.npz", "split PublicTest", "n 3,199", "95 % interval", "at conversion"):
        assert part in text
    assert "within 1 LSB (largest difference: 1 LSB)" in text


def test_only_a_pis_times_are_called_a_pis() -> None:
    assert "Measured on a Raspberry Pi 5" in printed(REPORTS["plain"])
    foreign = " ".join(printed(REPORTS["foreign"]).split())
    assert "not on a Raspberry Pi: these times say nothing about one" in foreign


class Page(HTMLParser):
    """Collects addresses, and the text in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        wanted = ("src", "href", "xlink:href", "srcset", "action", "data")
        self.addresses += [value or "" for name, value in attrs if name in wanted]

    def handle_data(self, data: str) -> None:
        self.words.append(data.strip())


@pytest.mark.parametrize("name", REPORTS)
def test_the_page_needs_nothing_else(name: str, tmp_path: Path) -> None:
    write_report(tmp_path, REPORTS[name], picture=True)
    text = (tmp_path / "report.html").read_text()
    found = Page(text)
    assert found.addresses
    assert all(a.startswith("data:image/jpeg;base64,") for a in found.addresses)
    assert not {"script", "link", "iframe", "object"} & set(found.tags)
    assert "@import" not in text
    assert "url(" not in text
    body = [w for w in found.words[found.words.index("edge-fer benchmark: tiny") :] if w]
    assert body[2] == judge(REPORTS[name]).word  # after the title and the date


def test_the_page_shows_a_failing_class_and_the_recorded_drop() -> None:
    words = " ".join(Page(page(REPORTS["failed"])).words)
    assert "Int8 loses too much in: happiness" in words
    assert "\u22124.0 points" in words
    assert "n 10, too few" in words
    assert "95 % interval \u22120.10 to 0.50" in words
    assert NOT_MEASURED not in words
    assert NOT_MEASURED in " ".join(Page(page(REPORTS["plain"])).words)


def test_names_cannot_break_the_page() -> None:
    evil = METRIC.model_copy(update={"data": "<script>alert(1)</script>.npz"})
    text = page(report(recorded=(evil,), bound=Bound(by="compute", words="<b>&")))
    assert "script" not in Page(text).tags
    assert "&lt;script&gt;" in text


def test_written_files(tmp_path: Path) -> None:
    written = write_report(tmp_path, REPORTS["plain"], picture=True)
    assert [p.name for p in written] == ["annotated.png", *FILES]
    assert cv2.imread(str(tmp_path / "annotated.png")).shape == (48, 64, 3)
    assert json.loads((tmp_path / "report.json").read_text()) == REPORTS["plain"].to_json()
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in written)


def test_no_picture_is_stored_unless_asked_for(tmp_path: Path) -> None:
    written = write_report(tmp_path, REPORTS["plain"], picture=False)
    assert [p.name for p in written] == FILES
    assert "data:image" not in (tmp_path / "report.html").read_text()


def test_the_csv_files_say_what_the_json_says(tmp_path: Path) -> None:
    given = report(accuracy=accuracy(40, n=2000, label=1), sections=(Counted(),))
    write_report(tmp_path, given, picture=False)
    with (tmp_path / "report.csv").open(newline="") as file:
        found = {(r["table"], r["row"], r["figure"]): r["value"] for r in csv.DictReader(file)}
    document = given.to_json()
    assert float(found["latency_ms", "total", "p99"]) == document["latency_ms"]["total"]["p99"]
    assert float(found["latency_ms", "total", "p99_low"]) <= 16.0
    assert found["latency_ms", "emit", "p50"] == ""
    assert float(found["accuracy", "", "drop_points"]) == document["accuracy"]["drop_points"]
    assert float(found["accuracy_per_class", "happiness", "drop_points"]) == pytest.approx(
        4.04, 0.1
    )
    assert float(found["counted", "apples", "share"]) == 0.25
    with (tmp_path / "frames.csv").open(newline="") as file:
        frames = list(csv.DictReader(file))
    assert len(frames) == given.run.frames
    assert frames[3]["total_ms"] == "13.0000"
    assert frames[3]["emit_ms"] == ""


class Counted:
    """A section as any other."""

    key, title, lead = "counted", "Fruit that was counted", "On a table."
    findings = ("A quarter of the apples is <green>.",)
    figures = (Figure(caption="An apple", svg=svg(10, 10, [], "apple")),)
    grids = (
        Grid(
            key="counted",
            title="Fruit",
            columns=(
                Column(name="kind", kind="text"),
                Column(name="n", kind="count"),
                Column(name="share", kind="share", digits=1),
                Column(name="drop", kind="points"),
            ),
            rows=(
                Row(cells=("apples", 1200, 0.25, -0.5), tone="strong"),
                Row(cells=("pears", 3, None, "too few"), tone="dim"),
            ),
            note="No plums.",
        ),
    )

    def to_json(self) -> dict[str, int]:
        return {"apples": 1200}


def test_a_section_is_shown_everywhere_without_being_known() -> None:
    given = report(sections=(Counted(),))
    assert given.to_json()["counted"] == {"apples": 1200}
    text = printed(given)
    assert re.search(r"apples +1,200 +25.0 % +\u22120.50", text)
    assert re.search(r"pears +3 +\u2013 +too few", text)
    assert "A quarter of the apples is <green>." in text
    shown = page(given)
    words = " ".join(Page(shown).words)
    for part in ("Fruit that was counted", "On a table.", "An apple", "25.0 %", "No plums."):
        assert part in words
    assert "&lt;green&gt;" in shown
    assert 'aria-label="apple"' in shown


def test_the_page_shows_both_confusion_matrices_and_what_changed() -> None:
    text = page(REPORTS["failed"])
    # 40 of 990 happy faces went from right to wrong: two cells of int8 have changed.
    assert text.count('class="cell changed"') == 2
    assert text.count('class="cell"') == 2 * 9 - 2
    assert page(REPORTS["measured"]).count('class="cell changed"') == 0


def test_a_folder_that_cannot_be_made_is_refused_before_measuring(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(DeviceError, match="cannot be written"):
        prepare_folder(tmp_path / "file" / "out")
    prepare_folder(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []
