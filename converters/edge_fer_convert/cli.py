"""``edge-fer convert``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_fer.cli.console import Ferplus, Json, Quiet, Split, Talk, Verbose, emit_json

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["convert"]


def convert(
    model: Annotated[Path, typer.Argument(help="The .keras file, as edge-fer train writes it.")],
    data: Annotated[
        Path,
        typer.Option(help="FER2013 csv, npz or class folders: calibrates and evaluates."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The int8 file: OUT.tflite.")],
    ferplus: Ferplus = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="ferplus8, fer2013-7, or the names in the model's order with commas; "
            "needed where the model does not say."
        ),
    ] = None,
    split: Split = None,
    input_range: Annotated[
        str | None,
        typer.Option(
            metavar="LO,HI",
            help="What black and white are to the model, where it does not say. Default: 0,1.",
        ),
    ] = None,
    calibration: Annotated[
        int, typer.Option(min=16, help="Pictures that set the ranges, from the Training split.")
    ] = 512,
    max_drop: Annotated[
        float | None,
        typer.Option(min=0, help="Points of accuracy that int8 may cost; beyond it, exit 6."),
    ] = None,
    max_class_drop: Annotated[
        float | None,
        typer.Option(min=0, help="Points of recall that any class may lose; beyond it, exit 6."),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(help="Compare with this earlier .tflite. Default: the one being replaced."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace earlier results.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Convert a Keras classifier to a full-int8 .tflite, and measure what that cost.

    Writes OUT.tflite, OUT.float.tflite (the same model in float), OUT.report.json and
    OUT.report.html. Without --max-drop and --max-class-drop the drop is reported and not judged.
    With them, a candidate that misses the budget is kept as OUT.rejected.tflite and OUT.tflite is
    left alone. The same files and versions always give the same bytes.

    Example: edge-fer convert mine.keras --data fer2013.csv --ferplus fer2013new.csv --max-drop 0.5
    -o mine.tflite
    """
    from edge_fer.adopt import read_range
    from edge_fer_convert.budget import Budget
    from edge_fer_convert.conversion import Listener, Request
    from edge_fer_convert.conversion import convert as run_conversion

    talk = Talk(quiet=quiet, verbose=verbose)
    request = Request(
        model=model,
        output=output,
        data=data,
        ferplus=ferplus,
        labels=labels,
        split=split,
        input_range=None if input_range is None else read_range(input_range),
        calibration=calibration,
        budget=Budget(max_drop=max_drop, max_class_drop=max_class_drop),
        against=against,
        force=force,
    )
    with talk.progress() as bar:
        tasks: dict[str, Any] = {}
        listener = Listener(
            progress=lambda what, done, total: _show(bar, tasks, talk, what, done, total),
            warn=lambda sentence: talk.say(f"Note: {sentence}"),
            log=talk.detail,
        )
        report = run_conversion(request, listener)
    _tell(talk, report)
    if json:
        emit_json(report)


def _show(
    bar: Progress, tasks: dict[str, Any], talk: Talk, what: str, done: int, total: int
) -> None:
    if what not in tasks:
        for earlier in tasks.values():
            bar.update(earlier, visible=False)
        tasks[what] = bar.add_task(what, total=total or None)
        talk.detail(what)
    bar.update(tasks[what], completed=done)


def _tell(talk: Talk, report: dict[str, Any]) -> None:
    accuracy, outputs, graph = report["accuracy"], report["outputs"], report["graph"]
    talk.say(
        f"float {100 * accuracy['reference']['accuracy']:.2f} %, "
        f"int8 {100 * accuracy['quantised']['accuracy']:.2f} % on {accuracy['split']} "
        f"({accuracy['n']} rows), {100 * accuracy['agreement']:.2f} % same labels"
    )
    talk.say(report["budget"]["words"])
    talk.detail(f"full integer: {', '.join(f'{n} {op}' for op, n in graph['operators'].items())}")
    if report["comparison"] is not None:
        talk.say(report["comparison"]["words"])
    for file in outputs.values():
        talk.say(f"{file['path']}: {file['bytes'] / 1024:.0f} KiB")
