"""The report: finite JSON, and a page that asks the network for nothing."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_convert_calibration import faces
from test_convert_candidate import finished
from tiny_tflite import LABELS, pictures

from edge_fer.evaluation.drop import measure_drop
from edge_fer_convert.budget import Budget, judge
from edge_fer_convert.comparison import compare
from edge_fer_convert.ranges import Ranges
from edge_fer_convert.report import as_html, as_json, document
from edge_fer_convert.source import KerasSource


def report(tmp_path: Path, *, budget: Budget | None = None, compared: bool = False) -> Any:
    evaluation = faces((40, 0, 60))
    float_p = np.eye(3)[evaluation.truth]
    int8_p = float_p.copy()
    int8_p[:4] = np.eye(3)[2]
    drop = measure_drop(float_p, int8_p, evaluation.truth, LABELS)
    made = finished(tmp_path)
    against = compare(made, finished(tmp_path, seed=2), pictures(4), np.zeros(4, np.int64))
    return document(
        source=KerasSource(path=Path("<b>a & b</b>.keras"), sha256="ab", draft=None),
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
        },
        ranges=Ranges(of={"picture": (0.0, 1.0)}),
        comparison=against.to_json() if compared else None,
        warnings=["One <script>alert(1)</script> sentence."],
    )


class _Page(HTMLParser):
    """Collects what a browser would load, and complains about tags that do not close."""

    def __init__(self) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [str(v) for k, v in attrs if k in {"src", "href", "data", "action"}]
        if tag in {"script", "iframe", "link", "object"}:
            self.loads.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


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
