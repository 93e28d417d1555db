"""Nothing in the CSV files is computed by a spreadsheet that opens them."""

from __future__ import annotations

import csv
import io

import pytest
from bench_samples import accuracy, report

from edge_fer_bench.drawing.section import Column, Grid, Row
from edge_fer_bench.report.spreadsheet import figures_csv, frames_csv

FORMULAS = ["=HYPERLINK(0)", "+1+1", "-2+3", "@SUM(A1)", "\t=1", '=1,"x"', "="]
HARMLESS = ["left", " =1", "a=b", "'=1", "3 - 2", "", "\u2013", "\u2212 3"]


class Grouped:
    """A section with names of somebody else's."""

    key, title, lead = "groups", "Groups", "By column."
    findings = ()
    figures = ()

    def __init__(self, name: str) -> None:
        self.grids = (
            Grid(
                key=name,
                title="Groups",
                columns=(
                    Column(name="group", kind="text"),
                    Column(name=f"{name}of", kind="text"),
                    Column(name="lost", kind="points"),
                    Column(name="n"),
                ),
                rows=(Row(cells=(name, name, -1.5, -3)),),
            ),
        )

    def to_json(self) -> dict[str, object]:
        return {}


def rows_of(name: str) -> list[list[str]]:
    text = figures_csv(report(sections=(Grouped(name),)))
    return list(csv.reader(io.StringIO(text, newline="")))[-3:]


@pytest.mark.parametrize("name", FORMULAS)
def test_what_begins_like_a_formula_is_text(name: str) -> None:
    first, lost, n = rows_of(name)
    assert first == [f"'{name}", f"'{name}", f"'{name}of", f"'{name}"]
    # Numbers stay numbers, also below 0.
    assert lost == [f"'{name}", f"'{name}", "lost", "-1.5"]
    assert n[-1] == "-3"


@pytest.mark.parametrize(
    ("name", "left"), [("\r=1", "'\n=1"), ("a\r=1", "a\n=1"), ("a\r\n=1", "a\n=1")]
)
def test_a_carriage_return_begins_no_row(name: str, left: str) -> None:
    first, lost, n = rows_of(name)
    assert first == [left, left, f"{left}of", left]
    assert (lost[-1], n[-1]) == ("-1.5", "-3")


@pytest.mark.parametrize("name", HARMLESS)
def test_other_texts_stay_as_they_are(name: str) -> None:
    assert rows_of(name)[0] == [name, name, f"{name}of", name]


def test_a_report_of_ours_has_nothing_to_mend() -> None:
    found = report(accuracy=accuracy(40, n=2000, label=1))
    assert "'" not in figures_csv(found) + frames_csv(found.run)
