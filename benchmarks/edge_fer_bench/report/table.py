"""The report on a terminal, 80 columns or more."""

from __future__ import annotations

from pathlib import PurePath

from rich import box
from rich.console import Console, Group, JustifyMethod, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from edge_fer.evaluation.metrics import MIN_CLASS_ROWS
from edge_fer_bench.accuracy.measured import MeasuredAccuracy
from edge_fer_bench.drawing.section import Grid, counted, points, shown
from edge_fer_bench.report.report import BenchmarkReport
from edge_fer_bench.report.verdict import judge, p_value, recorded_words

__all__ = ["render"]

_NARROW, _WIDE = 80, 96
_BAR = 10
_STYLES = {"pass": "green", "fail": "red", "open": "yellow", "info": "cyan"}
_TONES = {"plain": "", "strong": "bold", "dim": "dim", "bad": "red"}
_MARKS = {"pass": "\u2714", "fail": "\u2718", "open": "?", "info": "\u25cf"}


def render(report: BenchmarkReport, console: Console, *, details: bool = False) -> None:
    """Print the report, verdict first; with ``details`` all of its tables."""
    width = min(max(console.width, _NARROW), _WIDE)
    parts = [_verdict(report), _latency(report)]
    if report.accuracy is not None:
        parts.append(_accuracy(report.accuracy))
    for section in report.sections:
        parts += [_grid(grid) for grid in section.grids if details or not grid.detail]
    console.print(Group(*parts, *_facts(report)), width=width)


def _verdict(report: BenchmarkReport) -> RenderableType:
    headline = judge(report)
    style = _STYLES[headline.state]
    first = Text(f"{_MARKS[headline.state]} {headline.word}  ", style=f"bold {style}")
    first.append(headline.text, style="bold default")
    sentences = Table.grid(padding=(0, 1))
    for sentence in headline.sentences:
        sentences.add_row("\u2022", sentence)
    model = report.model
    return Panel(
        Group(first, sentences),
        title=f"edge-fer benchmark: {model.name}, {model.scheme}, {model.size_bytes / 1e3:.0f} kB",
        title_align="left",
        border_style=style,
        padding=(0, 1),
    )


def _latency(report: BenchmarkReport) -> RenderableType:
    source = report.source
    size = f"{source.width}x{source.height}"
    table = _table("Time per frame", f"{source.uri}, {size}, detector {source.detector}")
    table.add_column("ms", no_wrap=True)
    table.add_column("share", no_wrap=True)
    for name in ("frames", "mean", "p50", "p90", "p99", "max"):
        table.add_column(name, justify="right", no_wrap=True)
    whole = (report.latency.total.mean or 1.0) * report.latency.total.n
    idle = []
    for stage, times in report.latency.stages.items():
        if times.mean is None:
            idle.append(stage)
            continue
        last = stage == "total"
        if last:
            table.add_section()
        values = (times.mean, times.p50, times.p90, times.claimed_p99, times.max)
        table.add_row(
            stage,
            "" if last else _bar(times.mean * times.n / whole),
            f"{times.n:,}",
            *("\u2013" if v is None else f"{v:.2f}" if v < 100 else f"{v:.1f}" for v in values),
            style="bold" if last else "",
        )
    if idle:
        table.caption = f"Did not run here: {', '.join(idle)}."
    return Padding(table, (1, 1, 0, 1))


def _bar(share: float) -> Text:
    bar = Text("\u2501" * round(share * _BAR), style="cyan")
    bar.append(" " * (_BAR - len(bar)))
    return bar.append(f"{100 * share:4.0f} %", style="default")


def _accuracy(accuracy: MeasuredAccuracy) -> RenderableType:
    drop = accuracy.drop
    table = _table(
        "Accuracy measured here",
        f"{PurePath(accuracy.faces.path).name}, {accuracy.faces.split}, n {drop.n:,}",
    )
    table.add_column("", no_wrap=True)
    for name in ("n", "float", "int8", "drop, points", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)
    a, b = drop.reference, drop.quantised
    low, high = drop.ci95_points
    table.add_row(
        "accuracy",
        f"{drop.n:,}",
        f"{100 * a.accuracy:.2f} %",
        f"{100 * b.accuracy:.2f} %",
        points(drop.drop_points),
        f"{points(low)} to {points(high)}",
        style="bold",
    )
    for name, before, after in (
        ("macro recall", a.macro_recall, b.macro_recall),
        ("macro F1", a.macro_f1, b.macro_f1),
    ):
        change = points(100 * (before - after))
        table.add_row(name, "", f"{100 * before:.2f} %", f"{100 * after:.2f} %", change)
    table.add_row("calibration error", "", f"{100 * a.ece:.2f} %", f"{100 * b.ece:.2f} %")
    table.add_section()
    over = accuracy.classes_over
    for label, c in drop.per_class.items():
        if c.drop_points is None or c.reference_recall is None or c.quantised_recall is None:
            table.add_row(f"recall {label}", "0", *("\u2013",) * 3)
            continue
        few = c.n < MIN_CLASS_ROWS
        table.add_row(
            f"recall {label}",
            f"{c.n:,}",
            f"{100 * c.reference_recall:.1f} %",
            f"{100 * c.quantised_recall:.1f} %",
            points(c.drop_points, 1),
            "\u2718 over the limit" if label in over else "few rows" if few else "",
            style="red" if label in over else "dim" if few else "",
        )
    lost, won = drop.discordant
    table.caption = (
        f"Same label on {100 * drop.agreement:.2f} % of the pictures; right only in float {lost}, "
        f"only in int8 {won} (McNemar {p_value(drop.mcnemar_p)})."
    )
    return Padding(table, (1, 1, 0, 1))


def _grid(grid: Grid) -> RenderableType:
    table = _table(grid.title, "")
    for column in grid.columns:
        side: JustifyMethod = "left" if column.kind == "text" else "right"
        table.add_column(column.name, justify=side, no_wrap=column is grid.columns[0])
    for row in grid.rows:
        cells = (shown(cell, column) for cell, column in zip(row.cells, grid.columns, strict=True))
        table.add_row(*cells, style=_TONES[row.tone])
    table.caption = grid.note or None
    return Padding(table, (1, 1, 0, 1))


def _facts(report: BenchmarkReport) -> list[RenderableType]:
    run, cold, machine = report.run, report.cold_start, report.machine
    frames = run.frames
    start = (
        f"{cold.median_ms:,.0f} ms from process start to first result "
        f"(median of {len(cold.runs_ms)} fresh processes)"
        if cold.median_ms is not None
        else f"not measured: {cold.why_not}"
    )
    faces = f"{report.latency.faces / frames:.1f} faces a frame"
    speed = [
        (
            "frame rate",
            f"{run.fps:.1f} frames per second ({frames:,} in {run.seconds:.1f} s, {faces})",
        ),
        ("bounded by", report.bound.words),
        ("cold start", start),
        ("memory", f"{report.rss_peak_mb:.0f} MB at its peak"),
        *report.state.words.items(),
    ]
    recorded = [
        ("recorded", f"in the contract at conversion: {recorded_words(metric)}")
        for metric in report.recorded
        if report.accuracy is not None
    ]
    where = [
        ("machine", f"{machine.cpu or machine.name}, {counted(machine.cores, 'core')}"),
        ("", machine.words if machine.is_pi else Text(machine.words, style="yellow")),
        ("software", _software(report)),
    ]
    notes = [("note", words) for words in report.latency.notes]
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True, min_width=10)
    grid.add_column()
    for block in (speed, recorded, where, notes):
        if block and grid.row_count:
            grid.add_row()
        for name, words in block:
            grid.add_row(name, words)
    return [Padding(grid, (1, 1, 1, 1))]


def _software(report: BenchmarkReport) -> str:
    used = report.software
    opencv = f"OpenCV {used['opencv']} ({counted(used['opencv_threads'], 'thread')})"
    return f"{report.model.backend}; {opencv}; Python {used['python']}"


def _table(title: str, details: str) -> Table:
    heading = Text.assemble((title, "bold"), (f"  {details}", "dim"))
    return Table(
        box=box.SIMPLE_HEAD,
        title=heading,
        title_justify="left",
        title_style="",
        caption_justify="left",
        caption_style="dim",
        header_style="dim",
        pad_edge=False,
        padding=(0, 1, 0, 0),
        expand=True,
    )
