"""The report: finite JSON, and a page that asks the network for nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_convert_calibration import faces
from test_convert_candidate import finished
from tiny_tflite import LABELS, pictures

from edge_fer.evaluation.drop import measure_drop
from edge_fer_convert.climbing.budget import Budget, judge
from edge_fer_convert.inputs.source import Source
from edge_fer_convert.measuring.ranges import Ranges
from edge_fer_convert.reporting import charts
from edge_fer_convert.reporting.comparison import compare
from edge_fer_convert.reporting.formats import FormatRow
from edge_fer_convert.reporting.layers import LayerError
from edge_fer_convert.reporting.report import as_html, as_json, document

EVIL = "<script>alert(1)</script>"


def report(
    tmp_path: Path, *, budget: Budget | None = None, compared: bool = False, **parts: Any
) -> Any:
    evaluation = faces((40, 0, 60))
    float_p = np.eye(3)[evaluation.truth]
    int8_p = float_p.copy()
    int8_p[:4] = np.eye(3)[2]
    drop = measure_drop(float_p, int8_p, evaluation.truth, LABELS)
    made = finished(tmp_path)
    against = compare(made, finished(tmp_path, seed=2), pictures(4), np.zeros(4, np.int64))
    return document(
        source=Source(path=Path(f"<b>a & b</b>{EVIL}.keras"), sha256="ab", draft=None),
        finished={"int8": made, "float": made},
        evaluation=evaluation,
        drop=drop,
        budget=judge(drop, budget or Budget()).to_json(budget or Budget()),
        calibration={
            "sha256": "cd",
            "n": 12,
            "wanted": 12,
            "split": "Training",
            "per_class": {"anger": 10},
            "generated": ["white", "black"],
            **parts.pop("calibration", {}),
        },
        ranges=Ranges(of={"picture": (0.0, 1.0)}),
        comparison=against.to_json() if compared else None,
        warnings=[f"One {EVIL} sentence."],
        **parts,
    )


def rung(name: str, status: str, drop: float, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "words": f"what {name} does",
        "status": status,
        "why": f"why {name} {EVIL}",
        "bytes": 93_696,
        "latency_ms": 0.417,
        "split": "validation",
        "n": 2471,
        "float_accuracy": 0.8513,
        "int8_accuracy": 0.8513 - drop / 100,
        "drop_points": drop,
        "ci95_points": [drop - 0.37, drop + 0.29],
        "worst_class": {"label": "neutral", "n": 271, "drop_points": 3 * drop},
        "agreement": 0.9877,
        "mean_abs_dp": 0.00456,
        "flips": 31,
        "seconds": 7.3,
        **changes,
    }


UNKNOWN = dict.fromkeys(set(rung("", "", 0)) - {"name", "words", "status", "why"})
EVERYTHING: dict[str, Any] = {
    "rungs": [
        rung("plain", "missed", 0.83),
        rung(f"ranges{EVIL}", "accepted", 0.11, worst_class=None),
        rung("broken", "failed", 0, **UNKNOWN),
        rung("random", "baseline", 1.97, latency_ms=None),
        rung("finetune", "not_run", 0, **UNKNOWN),
    ],
    "chosen": f"ranges{EVIL}",
    "layers": [
        LayerError(
            index=i,
            operator="CONV_2D",
            tensor=f"net/relu/Relu;net/{name}/convolution",
            shape=(1, 8, 8, 24),
            mse=0.00321,
            sqnr_db=sqnr,
            added=added,
            saturated=0.0123,
            clipped=0.0234,
            weight_bytes=736,
        )
        for i, (name, sqnr, added) in enumerate(
            [("first", 41.7, 0.0007), (EVIL, 28.4, 0.0052), ("last", None, None)]
        )
    ],
    "confusion": {
        "labels": list(LABELS),
        "float": [[36, 3, 2], [0, 0, 0], [4, 1, 55]],
        "int8": [[32, 7, 2], [0, 0, 0], [4, 0, 56]],
    },
    "stability": {"agreement": 0.9931, "n": 2473, "drop_points": [0.17, -0.06]},
    "sweep": [{"n": n, "agreement": 0.98 + n / 1e5, "mean_abs_dp": 1 / n} for n in (64, 128, 512)],
    "lint": {
        "target": "coral",
        "findings": [
            {
                "severity": "error",
                "operator": "LEAKY_RELU",
                "version": 2,
                "tensor": EVIL,
                "why": "It has none.",
                "instead": "ReLU",
            }
        ],
        "partitions": 3,
        "outside": 5,
        "full_integer": True,
        "per_tensor_dense": True,
    },
    "edgetpu": {"compiled": True, "words": "Compiled.", "mapped": 13, "on_cpu": 6},
    "formats": [
        FormatRow(
            format=name,
            bytes=size,
            latency_ms=0.913,
            n=100,
            accuracy=accuracy,
            agreement=0.9843,
            drop_points=drop,
            ci95_points=(drop - 0.4, drop + 0.6),
            mean_abs_dp=0.002,
            note=f"note on {name}",
        ).to_json()
        for name, size, accuracy, drop in (
            ("float32", 273_408, 0.8437, 0.0),
            ("float16", 149_504, 0.8429, 0.08),
        )
    ],
    "input_range": {
        "chosen": [0.0, 1.0],
        "n": 498,
        "accuracy": {"0,1": 0.8411, "-1,1": 0.7122, "0,255": 0.3133},
    },
    "calibration": {
        "strata": {"anger": {"dark": 5, "medium": 3, "bright": 2}},
        "brightness": [0, 4, 6, *([0] * 28), 2],
        "near_duplicates_dropped": 19,
        "features": "net/mean",
        "rule": "even, then farthest first",
    },
}
SECTIONS = {
    "rungs": "What was tried",
    "layers": "Layer by layer",
    "confusion": "<h2>Confusion",
    "stability": "Two halves of the set",
    "sweep": "same label as float</text>",
    "lint": "<h2>Target coral",
    "edgetpu": "Mapped to the Edge TPU",
    "formats": "<h2>Formats",
    "input_range": "<h2>Input range",
    "calibration": "Chosen so:",
}


class _Page(HTMLParser):
    """Collects what a browser would load and show, and complains of tags that do not close."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.open: list[str] = []
        self.ticks = False
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [str(v) for k, v in attrs if k in {"src", "href", "data", "action"}]
        if tag in {"script", "iframe", "link", "object"}:
            self.loads.append(tag)
        if tag not in {"meta", "br"}:
            self.open.append(tag)
        self.ticks = tag == "text" and "tick" in str(dict(attrs)["class"])

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.ticks and not {"style", "title", "h2", "code"} & set(self.open):
            self.words.append(data)


@pytest.mark.parametrize("budget", [None, Budget(max_drop=1.0), Budget(max_class_drop=1.0)])
@pytest.mark.parametrize("compared", [False, True])
def test_the_page_is_whole_and_loads_nothing(
    tmp_path: Path, budget: Budget | None, compared: bool
) -> None:
    html = as_html(report(tmp_path, budget=budget, compared=compared))
    page = _Page()
    page.feed(html)
    assert page.open == []
    assert page.loads == []
    assert not re.search(r"https?:|@import|url\(", html)
    assert "&lt;b&gt;a &amp; b" in html
    assert "<script" not in html
    assert ("Against the earlier file" in html) == compared
    assert ("budget</text>" in html) == (budget is not None and budget.max_drop is not None)


def test_the_figures_on_the_page_are_those_of_the_document(tmp_path: Path) -> None:
    made = report(tmp_path, budget=Budget(max_drop=1.0))
    html = as_html(made)
    assert made["accuracy"]["drop_points"] == pytest.approx(4.0)
    assert made["budget"]["words"] in html
    for figure in ("100.00 %", "96.00 %", "+4.00", "+10.00"):
        assert figure in html


@pytest.mark.parametrize("absent", [None, *SECTIONS])
def test_a_section_is_there_where_its_part_is(tmp_path: Path, absent: str | None) -> None:
    given = {key: part for key, part in EVERYTHING.items() if key != absent}
    made = report(tmp_path, budget=Budget(max_drop=0.5), **given)
    html = as_html(made)
    page = _Page()
    page.feed(html)
    assert (page.open, page.loads) == ([], [])
    assert "<script" not in html
    assert {key for key, title in SECTIONS.items() if title not in html} == (
        {absent} if absent else set()
    )
    json.loads(as_json(made))


def test_a_document_of_before_these_parts_has_a_page(tmp_path: Path) -> None:
    made = report(tmp_path)
    older = {key: part for key, part in made.items() if key not in {*SECTIONS, "chosen", "hurting"}}
    older["calibration"] = made["calibration"]
    html = as_html(older)
    assert html == as_html(made)
    assert not [key for key, title in SECTIONS.items() if title in html]
    assert "global minimum and maximum" in html


def numbers(value: Any) -> Iterator[float]:
    """Every number in a document, also those within its texts."""
    if isinstance(value, dict):
        for key, part in value.items():
            yield from numbers(key)
            yield from numbers(part)
    elif isinstance(value, list):
        for part in value:
            yield from numbers(part)
    elif isinstance(value, str):
        yield from (float(n) for n in re.findall(NUMBER, value))
    elif value is not None and not isinstance(value, bool):
        yield float(value)


NUMBER = r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:e-?\d+)?(?![\w])"


def test_every_number_on_the_page_comes_from_the_document(tmp_path: Path) -> None:
    made = report(tmp_path, budget=Budget(max_drop=0.5), compared=True, **EVERYTHING)
    page = _Page()
    page.feed(as_html(made))
    known = set(numbers(json.loads(as_json(made))))
    difference = (
        np.array(made["confusion"]["int8"]) - np.array(made["confusion"]["float"])
    ).tolist()
    known |= set(numbers(difference))
    # As it is, in percent, in KiB, the other way round (lost or won); and "95 %", "6 dB".
    forms = {f for n in known for f in (n, 100 * n, n / 1024, -n)} | {95.0, 6.0, 0.0}
    shown = [n for words in page.words for n in re.findall(NUMBER, words.replace("\u2212", "-"))]
    assert len(shown) > 200
    for text in shown:
        digits = len(text.partition(".")[2].partition("e")[0])
        slack = 0.5 * 10**-digits * (10 ** float(text.partition("e")[2] or 0)) * 1.0001
        assert any(abs(float(text) - form) <= slack for form in forms), text


def test_the_delivered_rung_is_marked_and_named_first(tmp_path: Path) -> None:
    made = report(tmp_path, budget=Budget(max_drop=10.0), **EVERYTHING)
    html = as_html(made)
    assert html.count('<tr class="taken">') == 2  # the rung, and the input range in use
    assert html.index("Delivered is rung") < html.index("What was tried")
    assert html.count("budget</text>") == 3
    assert re.search(r'circle class="rung chosen"[^>]*r="6"', html)
    missed = report(tmp_path, budget=Budget(max_drop=0.1), **EVERYTHING)  # 4 of 100: from 0.1
    assert missed["budget"]["verdict"] == "fail"
    assert "Kept aside is rung" in as_html(missed)


def test_the_layer_that_adds_most_noise_is_red(tmp_path: Path) -> None:
    html = as_html(report(tmp_path, layers=EVERYTHING["layers"]))
    rows = re.findall(r'<td class="n">(\d)</td><td title="net/relu.*?</tr>', html, re.DOTALL)
    assert rows == ["0", "1", "2"]
    red = re.findall(r'<i class="hurts" style="width:([\d.]+)%', html)
    assert [float(width) for width in red] == [100.0, pytest.approx(100 * 28.4 / 41.7, abs=0.01)]
    assert "exact" in html


class TestDrawings:
    def points(self, count: int) -> list[charts.Point]:
        return [
            charts.Point(
                name=f"rung number {i}",
                x=91.0,
                change=-0.01 * i,
                low=-0.5,
                high=0.2,
                kind="rung",
                chosen=i == 0,
            )
            for i in range(count)
        ]

    @pytest.mark.parametrize("count", [1, 2, 6, 20])
    def test_names_and_points_of_equal_files_stand_apart(self, count: int) -> None:
        drawn = charts.trade_off(self.points(count), unit="KiB", title="t", limit=0.5)
        names = re.findall(r'<text class="rung[^"]*" x="[\d.]+" y="([\d.]+)"', drawn)
        dots = re.findall(r'<circle class="rung[^"]*" cx="([\d.]+)" cy="([\d.]+)"', drawn)
        assert len(names) == len(dots) == count
        rows = sorted(float(y) for y in names)
        assert all(b - a >= 13 for a, b in pairwise(rows))
        across = sorted(float(x) for x, _ in dots)
        assert all(b - a >= 8.9 for a, b in pairwise(across))
        height = float(re.findall(r'viewBox="0 0 460 (\d+)"', drawn)[0])
        assert rows[0] > 0
        assert rows[-1] < height
        # The cluster lies about its true place, or ends at the edge of the plot.
        assert across[-1] <= 334

    def test_a_long_name_is_cut_and_kept_whole_for_the_pointer(self) -> None:
        drawn = charts.heat_map(["<a long & evil label>", "b"], [[1, 0], [2, 3]], title="t")
        assert "&lt;a long &amp;" in drawn
        assert "\u2026</text>" in drawn
        assert "<title>&lt;a long &amp; evil label&gt;</title>" in drawn

    def test_the_heat_is_the_share_of_the_row(self) -> None:
        drawn = charts.heat_map(["a", "b"], [[3, 1], [0, 0]], title="t")
        heat = re.findall(r'rect class="heat (\w+)".*?fill-opacity="([\d.]+)"', drawn)
        assert heat == [("hit", "0.750"), ("miss", "0.250"), ("miss", "0.000"), ("hit", "0.000")]

    def test_a_difference_is_green_for_the_better(self) -> None:
        drawn = charts.heat_map(["a", "b"], [[2, -2], [1, -1]], title="t", difference=True)
        heat = re.findall(r'rect class="heat (\w+)".*?fill-opacity="([\d.]+)"', drawn)
        assert heat == [("gain", "1.000"), ("gain", "1.000"), ("loss", "0.500"), ("loss", "0.500")]
        assert "\u22122" in drawn

    @pytest.mark.parametrize("values", [[(8, 0.5)], [(8, 0.5), (16, 0.5), (512, 0.5)]])
    def test_a_flat_or_single_curve_can_be_drawn(self, values: list[tuple[int, float]]) -> None:
        drawn = charts.curve(values, title="t", percent=True)
        assert drawn.count("<circle") == len(values)
        assert "nan" not in drawn

    def test_an_empty_histogram_has_no_bars(self) -> None:
        assert "<rect" not in charts.brightness([0] * 32)
        assert charts.brightness([0, 3, 0, 6]).count("<rect") == 2


def test_a_class_without_rows_is_a_dash(tmp_path: Path) -> None:
    html = as_html(report(tmp_path))
    assert re.search(r'<td>happiness</td><td class="n">0</td><td class="n">-</td>', html)


def test_the_json_is_finite_and_says_its_schema(tmp_path: Path) -> None:
    back = json.loads(as_json(report(tmp_path, compared=True)))
    assert back["schema"] == "edge-fer/convert/1"
    assert back["accuracy"]["verdict"] is None
    assert back["graph"]["full_integer"] is True
    assert {s["name"] for s in back["comparison"]["sections"] if not s["same"]} == {
        "quantisation",
        "weights",
        "contract",
    }
