"""The page of a training run: whole, self-contained, and with the record's own figures."""

import re
from typing import Any

import pytest
from test_convert_report import _Page

from edge_fer_train.charts import coverage_curve, lines
from edge_fer_train.page import GENERATOR, as_html


def kept(coverage: float, accuracy: float | None) -> dict[str, Any]:
    return {"n": 60, "coverage": coverage, "accuracy": accuracy}


def record(**changes: Any) -> dict[str, Any]:
    curve = [
        {
            "epoch": e,
            "loss": 2 / e,
            "validation_accuracy": 0.5 + 0.1 * e,
            "validation_macro_recall": 0.4 + 0.1 * e,
            "validation_nll": None if e == 2 else 1 / e,
        }
        for e in (1, 2, 3)
    ]
    strengths = {"1": kept(0.9, 0.85), "2": kept(0.7, 0.8), "3": kept(0, None)}
    return {
        "schema": "edge-fer/train/1",
        "recipe": {"arch": "<b>net</b>", "seed": 1, "augmentation": {"zoom": 0.17}},
        "trained_on": {
            "data": "a & b.npz",
            "data_sha256": "ab",
            "split": "Training",
            "n": 100,
            "chosen_by": "validation, n 20",
        },
        "labels": ["anger", "<i>joy</i>", "fear"],
        "parameters": 123456,
        "macs": 35400000,
        "temperature": 0.781,
        "best": curve[2],
        "curve": curve,
        "confusion": [[17, 3, 0], [1, 39, 0], [0, 0, 0]],
        "rejection": {
            "min_probability": 0.437,
            "met": "must",
            "aim": {"coverage": 0.95, "accuracy": 0.9, "accepted": 0.01},
            "must": {"coverage": 0.9, "accuracy": 0.8, "accepted": 0.05},
            "clean": kept(0.962, 0.913),
            "corrupted": {
                "turn_90": {**strengths, "all": kept(0.53, 0.83)},
                "blur": {**strengths, "all": kept(0.54, 0.84)},
            },
            "accepted_noise": 0.027,
            "accepted_non_faces": None,
            "curve": [
                {"threshold": 0.0, "coverage": 1.0, "accuracy": 0.88},
                {"threshold": 0.5, "coverage": 0.9, "accuracy": 0.93},
                {"threshold": 0.99, "coverage": 0.0, "accuracy": None},
            ],
            "jitter_loss_points": 0.72,
        },
        "quality": {"n": 20}
        | {
            name: {"p1": 1.5, "p50": 2.5, "p99": 199.9}
            for name in ("brightness", "contrast", "sharpness", "noise")
        },
        "cross_fit": {
            "folds": 5,
            "accuracy": 0.861,
            "per_class": {
                "anger": {"n": 119, "recall": 0.412, "ci95": [0.33, 0.502]},
                "fear": {"n": 0, "recall": None, "ci95": None},
            },
        },
    } | changes


def checked(html: str) -> str:
    """The page, after a look at its tags and at what it would load."""
    page = _Page()
    page.feed(html)
    assert page.open == []
    assert page.loads == []
    assert not re.search(r"https?:|@import|url\(|//\w", html)
    assert "<script" not in html
    assert GENERATOR in html
    return html


def test_the_page_is_whole_and_loads_nothing() -> None:
    html = checked(as_html(record()))
    assert html.count("<svg") == 3
    assert "&lt;b&gt;net&lt;/b&gt;" in html
    assert "&lt;i&gt;joy&lt;/i&gt;" in html
    assert "a &amp; b.npz" in html


@pytest.mark.parametrize(
    "figure",
    ["0.437", "96.2 %", "91.3 %", "2.7 %", "not measured", "0.72 points", "123,456", "35.4 MMAC",
     "41.2 %", "33.0 % to 50.2 %", "199.9", "0.17", "misses the aim"],
)  # fmt: skip
def test_the_figures_are_those_of_the_record(figure: str) -> None:
    assert figure in as_html(record())


def test_confusion_has_its_counts_and_a_class_without_rows_a_dash() -> None:
    html = as_html(record())
    body = html[html.index('class="confusion"') :]
    body = body[: body.index("</table>")]
    counts = [int(n) for n in re.findall(r'rgba\([^)]*\)">(\d+)<', body)]
    assert counts == [17, 3, 0, 1, 39, 0, 0, 0, 0]
    assert len(re.findall(r'class="n hit"', body)) == 3
    assert re.search(r'<td class="n">20</td><td class="n">85\.0 %</td>', body)
    assert re.search(r'<td class="n">40</td><td class="n">97\.5 %</td>', body)
    assert re.search(r'<td class="n">0</td><td class="n">-</td>', body)


def test_hard_corruptions_are_marked() -> None:
    html = as_html(record())
    assert '<tr class="hard"><td>turn 90</td>' in html
    assert "<tr><td>blur</td>" in html


def test_an_older_record_has_a_page_too() -> None:
    new = ("labels", "confusion", "rejection", "quality", "cross_fit")
    older = {k: v for k, v in record().items() if k not in new}
    for html in (checked(as_html(older)), checked(as_html(record(**dict.fromkeys(new))))):
        assert "Curve</h2>" in html
        for heading in ("Confusion", "When it does not know", "Out of fold"):
            assert f"{heading}</h2>" not in html
    checked(as_html({}))


def test_one_epoch_and_equal_values_can_be_drawn() -> None:
    one = lines([1], {"loss": [0.5]}, label="x", marked=1)
    assert "nan" not in one
    assert "inf" not in one
    assert one.count("<polyline") == 1
    assert lines([1, 2], {"loss": [None, None]}, label="x") == ""


def test_the_chosen_point_lies_where_its_coverage_is() -> None:
    drawn = coverage_curve([(1.0, 0.8), (0.5, 0.9)], (0.75, 0.85), "from 0.4")
    (chosen,) = re.findall(r'class="chosen" cx="([\d.]+)" cy="([\d.]+)"', drawn)
    points = [
        tuple(map(float, p.split(","))) for p in re.findall(r'points="([^"]+)"', drawn)[0].split()
    ]
    (x0, y0), _, (x1, y1) = points
    assert float(chosen[0]) == pytest.approx((x0 + x1) / 2, abs=0.1)
    assert float(chosen[1]) == pytest.approx((y0 + y1) / 2, abs=0.1)
    assert y0 < y1  # less coverage, more accuracy: higher up
    assert "from 0.4" in drawn
