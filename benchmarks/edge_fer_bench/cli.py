"""``edge-fer benchmark``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_fer.cli.console import Ferplus, Json, Quiet, Split, Talk, Verbose, emit_json

if TYPE_CHECKING:
    from edge_fer_bench.report import BenchmarkReport

__all__ = ["benchmark"]


def benchmark(
    model: Annotated[
        str | None, typer.Argument(help="A shipped model's name, or a .tflite file.")
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
    source: Annotated[
        str | None,
        typer.Option(help="synthetic, a video, a folder of pictures, or a camera as for run."),
    ] = None,
    detector: Annotated[
        str | None, typer.Option(help="face, haar, yunet or a model: haar?cascade=alt2.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0, help="How long to measure frames.")] = 10.0,
    threads: Annotated[
        int | None, typer.Option(min=1, help="CPU threads of one inference.")
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
    max_drop: Annotated[
        float | None,
        typer.Option(help="Limit of the accuracy drop, points (verdict without it: 0.5)."),
    ] = None,
    max_class_drop: Annotated[
        float | None, typer.Option(help="Limit of a class's recall drop, points (without it: 3).")
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
    """
    from edge_fer.config import load_settings
    from edge_fer.errors import BudgetMissed, ConfigError, Interrupted
    from edge_fer_bench.benchmark import Request, run_benchmark
    from edge_fer_bench.budgets import Budgets
    from edge_fer_bench.page import prepare_folder, write_report
    from edge_fer_bench.protocol import Protocol

    talk = Talk(quiet=quiet, verbose=verbose)
    if data is None and any(given is not None for given in (reference, ferplus, split)):
        raise ConfigError(
            "--reference, --ferplus and --split say how to use labelled pictures, but there is "
            "no --data.",
            "Add --data with labelled pictures.",
        )
    for value in (seconds, max_drop, max_class_drop, max_p99, min_fps, max_rss):
        if value is not None and not isfinite(value):
            raise ConfigError(f"{value} is no number to measure by.", "Give a finite number.")
    if annotate and report is None:
        raise ConfigError("--annotate has no folder to write to.", "Add --report DIR.")
    if report is not None:
        prepare_folder(report)
    flags = {
        "source": source,
        "model": model,
        "detector": detector,
        "backend": backend,
        "threads": threads,
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
        protocol=Protocol(seconds=seconds),
        budgets=Budgets(
            max_drop=max_drop,
            max_class_drop=max_class_drop,
            max_p99=max_p99,
            min_fps=min_fps,
            max_rss=max_rss,
        ),
    )
    with _phases(talk) as on_progress:
        found = run_benchmark(request, on_progress=on_progress, on_skip=talk.say)
    if report is not None:
        synthetic = found.source.kind == "synthetic"
        written = write_report(report, found, picture=synthetic or annotate)
        talk.say(f"written: {', '.join(str(path) for path in written)}")
        if not (synthetic or annotate):
            talk.say("no picture of the source is stored; --annotate stores one")
    if not (json or quiet):
        _print(found)
    document = found.to_json() if json else None
    if found.interrupted:
        words = f"Stopped; the report covers {found.run.frames} frames."
        raise Interrupted(words, document=document)
    if found.missed:
        reasons = "; ".join(check.words for check in found.missed)
        raise BudgetMissed(f"Missed: {reasons}.", document=document)
    if document is not None:
        emit_json(document)


def _print(found: BenchmarkReport) -> None:
    from rich.console import Console

    from edge_fer_bench.table import render

    # A terminal that cannot show a bar or a tick shows a question mark instead of failing.
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="replace")
    render(found, Console(highlight=False))


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
