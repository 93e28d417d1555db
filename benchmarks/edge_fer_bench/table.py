"""The report on a terminal, 80 columns or more."""

from __future__ import annotations

from pathlib import PurePath

from rich import box
from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from edge_fer_bench.accuracy import MeasuredAccuracy
from edge_fer_bench.report import BenchmarkReport
from edge_fer_bench.verdict import NOT_MEASURED, judge, points, recorded_words

__all__ = ["render"]

_WIDTH = 96
_BAR = 16
_STYLES = {"pass": "green", "fail": "red", "open": "yellow", "info": "cyan"}
_MARKS = {"pass": "\u2714", "fail": "\u2718", "open": "?", "info": "\u25cf"}


def render(report: BenchmarkReport, console: Console) -> None:
    """Print the whole report, verdict first."""
    width = min(console.width, _WIDTH)
    parts: list[RenderableType] = [_verdict(report), _latency(report), *_figures(report)]
    console.print(Group(*parts), width=width)


def _verdict(report: BenchmarkReport) -> RenderableType:
    headline = judge(report)
    style = _STYLES[headline.state]
    text = Text()
    text.append(f"{_MARKS[headline.state]} {headline.word}", style=f"bold {style}")
    text.append(f"  {headline.text}", style="bold")
    for sentence in headline.sentences:
        text.append(f"\n{sentence}")
    model = report.model
    title = f"edge-fer benchmark: {model.name} ({model.scheme}, {model.size_bytes / 1e3:.0f} kB)"
    return Panel(text, title=title, title_align="left", border_style=style, padding=(0, 1))


def _latency(report: BenchmarkReport) -> RenderableType:
    source = report.source
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"Milliseconds per frame: {source.uri} {source.width}x{source.height}, "
        f"{source.detector}, {report.model.threads} thread"
        + ("s" if report.model.threads != 1 else ""),
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        expand=True,
    )
    table.add_column("stage", no_wrap=True)
    table.add_column("share of the mean", no_wrap=True, width=_BAR + 6)
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
        share = times.mean * times.n / whole
        table.add_row(
            stage,
            Text("") if last else _bar(share),
            f"{times.n:,}",
            *(f"{v:.2f}" for v in (times.mean, times.p50, times.p90, times.p99, times.max) if v is not None),
            style="bold" if last else "",
        )
    if idle:
        table.caption = f"Did not run here: {', '.join(idle)}."
        table.caption_justify = "left"
    return Padding(table, (1, 1, 0, 1))


def _bar(share: float) -> Text:
    filled = round(share * _BAR)
    text = Text("\u2501" * filled, style="cyan")
    text.append("\u2501" * (_BAR - filled), style="bright_black")
    return text.append(f" {100 * share:3.0f} %")


def _figures(report: BenchmarkReport) -> list[RenderableType]:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    frames, faces = len(report.run.frames), report.latency.faces
    cold = report.cold_start
    start = (
        f"{cold.median_ms:,.0f} ms, process start to first result (median of {len(cold.runs_ms)})"
        if cold.median_ms
        else f"not measured: {cold.why_not}"
    )
    grid.add_row(
        "frame rate",
        f"{report.run.fps:.1f} frames per second ({frames:,} frames in {report.run.seconds:.1f} s, "
        f"{faces / frames:.1f} faces per frame)",
    )
    grid.add_row("bounded by", report.bounded_by)
    grid.add_row("cold start", start)
    grid.add_row("memory", f"{report.rss_peak_mb:.0f} MB at its peak")
    grid.add_row("thermal", report.thermal.words)
    machine = report.machine
    cores = f"{machine.cores} core" + ("s" if machine.cores != 1 else "")
    grid.add_row("machine", f"{machine.name}: {machine.cpu or 'processor unknown'}, {cores}")
    if not machine.is_pi:
        grid.add_row("", Text(machine.words, style="yellow"))
    grid.add_row("runtime", f"{report.model.backend}; Python {report.software['python']}")
    if report.accuracy is None:
        grid.add_row("accuracy", Text(NOT_MEASURED.removeprefix("accuracy: "), style="yellow"))
    for metric in report.recorded:
        grid.add_row("recorded", f"in the contract at conversion: {recorded_words(metric)}")
    if not report.recorded:
        grid.add_row("recorded", "the contract has no drop recorded at conversion")
    for note in (*report.latency.notes, *report.not_measured):
        grid.add_row("note", note)
    parts: list[RenderableType] = []
    if report.accuracy is not None:
        parts.append(_accuracy(report.accuracy))
    return [*parts, Padding(grid, (1, 1, 0, 1))]


def _accuracy(accuracy: MeasuredAccuracy) -> RenderableType:
    drop = accuracy.drop
    table = Table(
        box=box.SIMPLE_HEAD,
        title=f"Accuracy measured here: {PurePath(accuracy.faces.path).name}, "
        f"{accuracy.faces.split}, n {drop.n:,}",
        title_justify="left",
        title_style="bold",
        pad_edge=False,
        expand=True,
    )
    table.add_column("", no_wrap=True)
    for name in ("n", "float %", "int8 %", "drop, points"):
        table.add_column(name, justify="right", no_wrap=True)
    a, b = drop.reference, drop.quantised
    low, high = drop.ci95_points
    table.add_row(
        "accuracy",
        f"{drop.n:,}",
        f"{100 * a.accuracy:.2f}",
        f"{100 * b.accuracy:.2f}",
        f"{points(drop.drop_points)}",
        style="bold",
    )
    table.add_row("95 % interval of the drop", "", "", "", f"{points(low)} to {points(high)}")
    for name, before, after in (
        ("macro recall", a.macro_recall, b.macro_recall),
        ("macro F1", a.macro_f1, b.macro_f1),
        ("ECE", a.ece, b.ece),
    ):
        change = points(100 * (before - after))
        table.add_row(name, "", f"{100 * before:.2f}", f"{100 * after:.2f}", change)
    table.add_section()
    over = accuracy.classes_over
    for label, c in drop.per_class.items():
        if c.drop_points is None or c.reference_recall is None or c.quantised_recall is None:
            table.add_row(f"recall of {label}", "0", "\u2013", "\u2013", "\u2013")
            continue
        mark = " \u2718" if label in over else ""
        table.add_row(
            f"recall of {label}",
            f"{c.n:,}",
            f"{100 * c.reference_recall:.1f}",
            f"{100 * c.quantised_recall:.1f}",
            f"{points(c.drop_points, 1)}{mark}",
            style="red" if label in over else "",
        )
    lost, won = drop.discordant
    table.caption = (
        f"Same label on {100 * drop.agreement:.2f} % of the pictures; right only in float "
        f"{lost}, right only in int8 {won} (McNemar p = {drop.mcnemar_p:.2f}); mean change of a "
        f"probability {drop.mean_abs_dp:.4f}."
    )
    table.caption_justify = "left"
    return Padding(table, (1, 1, 0, 1))
