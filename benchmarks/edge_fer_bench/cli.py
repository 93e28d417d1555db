"""``edge-fer benchmark``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_fer.cli.console import Ferplus, Json, Quiet, Split, Talk, Verbose, emit_json

if TYPE_CHECKING:
    from edge_fer.config import Settings
    from edge_fer_bench.report.report import BenchmarkReport
    from edge_fer_bench.request import Sweeping

__all__ = ["benchmark"]


def benchmark(
    model: Annotated[
        list[str] | None,
        typer.Argument(help="Shipped models' names, or .tflite files; several are swept."),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(help="FER2013 csv, npz or class folders: measures the accuracy drop."),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="The float model. Default: NAME.float, or OUT.float.tflite beside it."),
    ] = None,
    ferplus: Ferplus = None,
    split: Split = None,
    groups: Annotated[
        Path | None,
        typer.Option(
            help="CSV with a column image (row number from 0, or path in the data folder) and "
            "columns of groups: recall and int8 drop per group. Without it: proxies."
        ),
    ] = None,
    robustness: Annotated[
        bool,
        typer.Option(
            "--robustness",
            help="The same rows spoilt in 13 ways at three strengths, float and int8.",
        ),
    ] = False,
    rows: Annotated[
        int | None,
        typer.Option(
            min=1, help="With --robustness: so many rows at most (1000), drawn by a seed."
        ),
    ] = None,
    end_to_end: Annotated[
        bool,
        typer.Option("--end-to-end", help="Paste labelled faces into scenes and find them first."),
    ] = False,
    scenes: Annotated[
        Path | None,
        typer.Option(
            help="With --end-to-end: zip or folder of pictures without faces. Default: generated."
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(help="synthetic, a video, a folder, or a camera as for run; repeat to sweep."),
    ] = None,
    detector: Annotated[
        list[str] | None,
        typer.Option(help="face, haar, yunet or a model; several, by commas, are swept."),
    ] = None,
    seconds: Annotated[
        float,
        typer.Option(
            min=0,
            help="How long to measure, at least; of each variant. Short recordings go round.",
        ),
    ] = 10.0,
    sustained: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Minutes to go on for instead: the curve over time, heat, throttling, memory.",
        ),
    ] = None,
    threads: Annotated[
        list[str] | None,
        typer.Option(help="CPU threads of one inference; several, by commas, are swept."),
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help="auto, edgetpu, litert or tflite-runtime.")
    ] = None,
    track: Annotated[
        bool | None,
        typer.Option("--track/--no-track", help="Follow faces from frame to frame, or not."),
    ] = None,
    sink: Annotated[
        list[str] | None,
        typer.Option(help="Also write the observations, as run does: jsonl:FILE, sqlite:FILE."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="Measure with the settings of this TOML file, but for its sinks."),
    ] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            help="Folder for report.html, report.json, two CSV files and annotated.png (synthetic)."
        ),
    ] = None,
    annotate: Annotated[
        bool,
        typer.Option("--annotate", help="Store annotated.png also of a source with real people."),
    ] = False,
    publish: Annotated[
        Path | None,
        typer.Option(help="File for the result without names and paths, stamped with its hash."),
    ] = None,
    compare: Annotated[
        Path | None,
        typer.Option(help="A report.json or published file of this machine to compare with."),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(min=0, help="Limit of the accuracy drop, points (verdict without it: 0.5)."),
    ] = None,
    max_class_drop: Annotated[
        float | None,
        typer.Option(min=0, help="Limit of a class's recall drop, points (without it: 3)."),
    ] = None,
    max_p99: Annotated[
        float | None, typer.Option(min=0, help="Limit of a frame's 99th percentile, ms.")
    ] = None,
    min_fps: Annotated[float | None, typer.Option(min=0, help="Least frames per second.")] = None,
    max_rss: Annotated[float | None, typer.Option(min=0, help="Limit of peak memory, MB.")] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Time every stage on this machine; with --data also measure what int8 cost in accuracy.

    Without arguments: the shipped model on a synthetic scene, the drop that the model's contract
    recorded at conversion, and its golden vectors computed here. What is timed is the pipeline of
    edge-fer run, with tracking, quality gate and smoothing. Limits that are missed exit 6, after
    the report is written.

    Example: edge-fer benchmark --data fer2013.npz --report out --max-drop 0.5 --max-p99 50

    Example: edge-fer benchmark expression expression-nano --threads 1,2 --detector face,haar

    Example: edge-fer benchmark --sustained 10 --publish pi5--expression.json

    How a frame's cost grows with its faces: edge-fer benchmark --source "synthetic?faces=1"
    --source "synthetic?faces=2" --source "synthetic?faces=4"
    """
    from edge_fer.config import load_settings
    from edge_fer.errors import ConfigError
    from edge_fer_bench.accuracy.robustness import ROWS
    from edge_fer_bench.benchmark import run_benchmark
    from edge_fer_bench.budgets import Budgets
    from edge_fer_bench.compare.baseline import check_may_publish
    from edge_fer_bench.interruption import Interruption
    from edge_fer_bench.machine.card import read_machine
    from edge_fer_bench.report.page import prepare_folder, write_report
    from edge_fer_bench.request import Request
    from edge_fer_bench.timing.protocol import Protocol

    talk = Talk(quiet=quiet, verbose=verbose)
    _require_finite(seconds, sustained, max_drop, max_class_drop, max_p99, min_fps, max_rss)
    if annotate and report is None:
        raise ConfigError("--annotate has no folder to write to.", "Add --report DIR.")
    if sustained == 0:
        raise ConfigError("--sustained 0 minutes would measure nothing.", "Try --sustained 10.")
    if rows is not None and not robustness:
        raise ConfigError("--rows is about --robustness only.", "Add it, or leave --rows out.")
    lists = _lists(model, detector, threads, source)
    flags = {
        **{name: values[0] for name, values in lists.items() if values},
        "backend": backend,
        "track": track,
        # A measurement must not end up in the database of what visitors showed.
        "sinks": tuple(sink or ()),
    }
    settings = load_settings(config, flags, usual_files=False)
    request = Request(
        settings=settings,
        reference=reference,
        data=data,
        ferplus=ferplus,
        split=split,
        groups=groups,
        robustness=robustness,
        rows=ROWS if rows is None else rows,
        end_to_end=end_to_end,
        scenes=scenes,
        sustained=sustained,
        sweep=_sweeping(lists, settings),
        baseline=compare,
        protocol=Protocol(seconds=seconds),
        budgets=Budgets(
            max_drop=max_drop,
            max_class_drop=max_class_drop,
            max_p99=max_p99,
            min_fps=min_fps,
            max_rss=max_rss,
        ),
    )
    request.check()
    if report is not None:
        prepare_folder(report)
    if publish is not None:
        prepare_folder(publish.parent, "--publish")
        check_may_publish(read_machine().to_json())
    # From the first frame to the last file, what was measured is not to be lost.
    with Interruption() as interruption:
        with _phases(talk) as on_progress:
            found = run_benchmark(request, interruption, on_progress=on_progress, on_skip=talk.say)
        if report is not None:
            synthetic = found.source.kind == "synthetic"
            written = write_report(report, found, picture=synthetic or annotate)
            talk.say(f"written: {', '.join(str(path) for path in written)}")
            if not (synthetic or annotate):
                talk.say("no picture of the source is stored; --annotate stores one")
        if publish is not None and not found.partial:
            _publish(publish, found, talk)
        document = found.to_json() if json else None
    if not (json or quiet):
        _print(found, details=verbose)
    _judge(found, document)
    if document is not None:
        emit_json(document)


def _judge(found: BenchmarkReport, document: dict[str, Any] | None) -> None:
    """Raise what the exit code is to say, with the report as its document."""
    from edge_fer.errors import BudgetMissed, Interrupted

    if found.problem is not None:
        found.problem.document = document
        raise found.problem
    if found.interrupted:
        words = f"Stopped; the report covers {found.run.frames} frames."
        raise Interrupted(words, document=document)
    if found.missed:
        reasons = "; ".join(check.words for check in found.missed)
        raise BudgetMissed(f"Missed: {reasons}.", document=document)


def _require_finite(*values: float | None) -> None:
    from edge_fer.errors import ConfigError

    for value in values:
        if value is not None and not isfinite(value):
            raise ConfigError(f"{value} is no number to measure by.", "Give a finite number.")


def _lists(
    models: list[str] | None,
    detectors: list[str] | None,
    threads: list[str] | None,
    sources: list[str] | None,
) -> dict[str, list[Any]]:
    """What was given for each setting that may be given several times; empty: nothing."""
    from edge_fer_bench.sweep.variants import listed, listed_threads

    return {
        "model": list(dict.fromkeys(models or ())),
        "detector": listed(detectors, "--detector") if detectors else [],
        "threads": listed_threads(threads) if threads else [],
        "source": list(dict.fromkeys(sources or ())),  # a file's name may hold a comma
    }


def _sweeping(lists: dict[str, list[Any]], settings: Settings) -> Sweeping | None:
    from edge_fer_bench.request import Sweeping

    if all(len(values) < 2 for values in lists.values()):
        return None
    return Sweeping(
        models=lists["model"] or [settings.model],
        detectors=lists["detector"] or [settings.detector],
        threads=lists["threads"] or [settings.threads],
        sources=lists["source"] or [settings.source],
    )


def _publish(path: Path, found: BenchmarkReport, talk: Talk) -> None:
    from json import dumps

    from edge_fer.files import write_text
    from edge_fer_bench.compare.baseline import publish

    document = publish(found.to_json())
    write_text(path, dumps(document, indent=1, allow_nan=False) + "\n")
    talk.say(f"published: {path}, stamp {document['stamp'][:12]}; look it over before you send it")


def _print(found: BenchmarkReport, *, details: bool) -> None:
    from rich.console import Console

    from edge_fer_bench.report.table import render

    # A terminal that cannot show a bar or a tick shows a question mark instead of failing.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    render(found, Console(highlight=False), details=details)


@contextmanager
def _phases(talk: Talk) -> Iterator[Callable[[str, float, float], None]]:
    """A bar per phase, drawn between frames and never beside one; without a terminal, nothing."""
    with talk.progress(auto_refresh=False) as bar:
        shown: list[str] = []
        task = bar.add_task("starting", total=None)

        def on_progress(phase: str, done: float, total: float) -> None:
            if phase not in shown:
                shown.append(phase)
                talk.detail(phase)
                bar.reset(task, description=phase)
            bar.update(task, completed=round(done), total=round(total))
            bar.refresh()

        yield on_progress
