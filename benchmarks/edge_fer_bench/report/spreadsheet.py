"""The report as CSV: one file of figures, and one of frames.

A spreadsheet computes what begins like a formula, and names of groups come from a file of somebody
else's. So such texts get an apostrophe before them (OWASP, "CSV Injection").
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from edge_fer.pipeline import STAGES
from edge_fer_bench.drawing.section import Grid
from edge_fer_bench.report.report import BenchmarkReport
from edge_fer_bench.timing.protocol import Run

__all__ = ["figures_csv", "frames_csv"]

_HEADER = ("table", "row", "figure", "value")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def figures_csv(report: BenchmarkReport) -> str:
    """Every figure on a line of its own: table, row, figure, value; values are not rounded."""
    return _written(_HEADER, _figures(report))


def frames_csv(run: Run) -> str:
    """A line per measured frame: when it ended (s), faces, and each stage's milliseconds.

    A stage that did not run in a frame is left empty.
    """
    samples = run.samples
    columns = [samples.stage(stage) for stage in STAGES]
    rows = (
        (f"{at:.6f}", faces, *("" if np.isnan(ms[i]) else f"{ms[i]:.4f}" for ms in columns))
        for i, (at, faces) in enumerate(zip(samples.at_s, samples.faces, strict=True))
    )
    return _written(("at_s", "faces", *(f"{stage}_ms" for stage in STAGES)), rows)


def _figures(report: BenchmarkReport) -> Iterator[tuple[str, str, str, Any]]:
    run = report.run
    for figure, value in (
        ("fps", run.fps),
        ("frames", run.frames),
        ("dropped", run.dropped),
        ("cold_start_ms", report.cold_start.median_ms),
        ("rss_peak_mb", report.rss_peak_mb),
        ("model_bytes", report.model.size_bytes),
    ):
        yield "run", "", figure, value
    for stage, times in report.latency.stages.items():
        for figure, value in times.to_json().items():
            if figure != "ci95":
                yield "latency_ms", stage, figure, value
        for figure, (low, high) in (times.ci95 or {}).items():
            yield "latency_ms", stage, f"{figure}_low", low
            yield "latency_ms", stage, f"{figure}_high", high
    yield from _accuracy(report)
    for section in report.sections:
        for grid in section.grids:
            yield from _cells(grid)


def _accuracy(report: BenchmarkReport) -> Iterator[tuple[str, str, str, Any]]:
    if report.accuracy is None:
        return
    drop = report.accuracy.drop
    low, high = drop.ci95_points
    for figure, value in (
        ("n", drop.n),
        ("drop_points", drop.drop_points),
        ("drop_points_low", low),
        ("drop_points_high", high),
        ("mcnemar_p", drop.mcnemar_p),
        ("agreement", drop.agreement),
        ("mean_abs_dp", drop.mean_abs_dp),
    ):
        yield "accuracy", "", figure, value
    document = drop.to_json()
    for which in ("reference", "quantised"):
        for figure, value in document[which].items():
            yield "accuracy", which, figure, value
    for label, row in document["per_class"].items():
        for figure, value in row.items():
            yield "accuracy_per_class", label, figure, value


def _cells(grid: Grid) -> Iterator[tuple[str, str, str, Any]]:
    others = grid.columns[1:]
    for row in grid.rows:
        about, *cells = row.cells
        for column, cell in zip(others, cells, strict=True):
            yield grid.key, "" if about is None else str(about), column.name, cell


def _written(header: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(map(_harmless, row) for row in rows)
    return out.getvalue()


def _harmless(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    shown = f"'{cell}" if cell.startswith(_FORMULA) else cell
    # The csv module quotes no bare carriage return, which would begin a row of its own.
    return shown.replace("\r\n", "\n").replace("\r", "\n")
