"""``edge-fer convert``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_fer.cli.console import Ferplus, Json, Quiet, Split, Talk, Verbose, emit_json
from edge_fer.errors import ConfigError

if TYPE_CHECKING:
    from rich.progress import Progress

    from edge_fer_convert.request import Listener

__all__ = ["convert"]


def convert(
    data: Annotated[
        Path,
        typer.Option(
            help="FER2013 csv, npz or class folders: calibrates and evaluates. For a detector: a "
            "zip or folder of scenes that calibrate."
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The int8 file: OUT.tflite.")],
    model: Annotated[
        Path | None,
        typer.Argument(
            help="A .keras or .h5 file, a SavedModel folder, or a float .tflite. Left out where "
            "--detector is converted."
        ),
    ] = None,
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
    target: Annotated[
        str, typer.Option(help="pi, coral, legacy (tflite-runtime 2.14), or a TOML file.")
    ] = "pi",
    recipe: Annotated[
        str | None,
        typer.Option(
            help="One recipe instead of the ladder: plain, ranges, equalised, finetuned, or a "
            "TOML file."
        ),
    ] = None,
    calibration: Annotated[
        int | None,
        typer.Option(
            min=16,
            help="Pictures that set the ranges, from the Training split. Default: 512, of a "
            "detector 192.",
        ),
    ] = None,
    sweep: Annotated[
        bool,
        typer.Option("--sweep", help="Show in the report what fewer calibration pictures give."),
    ] = False,
    scenes: Annotated[
        Path | None,
        typer.Option(help="A zip or folder of scenes: faces found in them calibrate, too."),
    ] = None,
    detector: Annotated[
        str | None,
        typer.Option(
            metavar="FILE|NAME",
            help="Without MODEL: the detector to convert, a float .tflite or a .keras file. With "
            "MODEL: what finds the faces of --scenes (face).",
        ),
    ] = None,
    evaluate: Annotated[
        Path | None,
        typer.Option(help="Detector: scenes with a boxes.csv that AP50 is measured on."),
    ] = None,
    contract: Annotated[
        Path | None,
        typer.Option(
            help="Detector: JSON that says how its heads are read. Default: FILE.contract.json; "
            "the official files are known."
        ),
    ] = None,
    input_size: Annotated[
        str | None,
        typer.Option(metavar="WxH", help="Detector in .keras: build it for this input."),
    ] = None,
    max_drop: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Points of accuracy that int8 may cost; inf: any number. Default: 0.5, of a "
            "detector's AP50 1.",
        ),
    ] = None,
    max_class_drop: Annotated[
        float | None,
        typer.Option(
            min=0,
            help="Points of recall that a class with 50 rows or more may lose, from 3 rows. "
            "Default: 3.",
        ),
    ] = None,
    min_agreement: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of labels that should stay; the ladder climbs for it. Default: 0.98.",
        ),
    ] = None,
    formats: Annotated[
        str | None,
        typer.Option(help="Compare formats in the report: float,fp16,dynamic,int8."),
    ] = None,
    require_full_mapping: Annotated[
        bool,
        typer.Option(
            "--require-full-mapping", help="coral: every operator on the Edge TPU, or exit 5."
        ),
    ] = False,
    against: Annotated[
        Path | None,
        typer.Option(help="Compare with this earlier .tflite. Default: the one being replaced."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace earlier results.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Convert a classifier or a detector to a full-int8 .tflite within an accuracy budget, and show
    what it cost.

    Recipes are tried from the cheapest on, judged on validation rows, until one keeps --max-drop
    and --max-class-drop and reaches the goal --min-agreement; the report is about the test rows.
    Writes OUT.tflite, OUT.float.tflite (the same model in float), OUT.report.json and
    OUT.report.html. If the budget is missed, the best candidate is kept as OUT.rejected.tflite,
    OUT.tflite is left alone, and the exit code is 6. The same files and versions always give the
    same two models.

    Example: edge-fer convert mine.keras --data fer2013.csv --ferplus fer2013new.csv -o mine.tflite

    edge-fer convert theirs.h5 --data faces/ --labels angry,happy,sad --input-range 0,255
    --max-drop 1 -o theirs.tflite

    edge-fer convert mine.float.tflite --data faces/ --target legacy --recipe equalised
    -o mine-legacy.tflite

    Detector: edge-fer convert --detector blazeface_full_range.tflite --data scenes.zip
    --evaluate boxes.zip -o blazeface-full.tflite
    """
    from edge_fer.adopt import read_range
    from edge_fer_convert.climbing.budget import Budget
    from edge_fer_convert.conversion import convert as run_conversion
    from edge_fer_convert.detection.command import converted, tell
    from edge_fer_convert.reporting.formats import parse_formats
    from edge_fer_convert.request import Request

    talk = Talk(quiet=quiet, verbose=verbose)
    if model is None:
        _refuse(
            "a classifier, and no MODEL is named",
            ferplus=ferplus,
            labels=labels,
            split=split,
            input_range=input_range,
            target=None if target == "pi" else target,
            sweep=sweep,
            scenes=scenes,
            formats=formats,
            require_full_mapping=require_full_mapping,
            against=against,
            max_class_drop=max_class_drop,
            min_agreement=min_agreement,
        )
        with _listener(talk) as listener:
            report = converted(
                detector,
                output=output,
                data=data,
                evaluate=evaluate,
                contract=contract,
                input_size=input_size,
                recipe=recipe,
                calibration=calibration,
                max_drop=max_drop,
                force=force,
                listener=listener,
            )
        tell(talk, report)
        if json:
            emit_json(report)
        return
    _refuse(
        f"a detector, and {model} is to be converted as a classifier",
        evaluate=evaluate,
        contract=contract,
        input_size=input_size,
    )
    request = Request(
        model=model,
        output=output,
        data=data,
        ferplus=ferplus,
        labels=labels,
        split=split,
        input_range=None if input_range is None else read_range(input_range),
        target=target,
        recipe=recipe,
        calibration=calibration or 512,
        sweep=sweep,
        scenes=scenes,
        detector=detector or "face",
        formats=() if formats is None else parse_formats(formats),
        require_full_mapping=require_full_mapping,
        budget=Budget(
            max_drop=_limit(0.5 if max_drop is None else max_drop),
            max_class_drop=_limit(3.0 if max_class_drop is None else max_class_drop),
            min_agreement=0.98 if min_agreement is None else min_agreement,
        ),
        against=against,
        force=force,
    )
    with _listener(talk) as listener:
        report = run_conversion(request, listener)
    _tell(talk, report)
    if json:
        emit_json(report)


def _limit(points: float) -> float | None:
    return points if isfinite(points) else None


def _refuse(what: str, **options: object) -> None:
    """Options that were given and mean nothing here."""
    given = [
        f"--{name.replace('_', '-')}"
        for name, value in options.items()
        if value is not None and value is not False
    ]
    if given:
        raise ConfigError(
            f"{given[0]} is about {what}.",
            f"Leave out {' and '.join(given)}; a detector is converted with --detector FILE alone, "
            "a classifier by naming it first.",
        )


@contextmanager
def _listener(talk: Talk) -> Iterator[Listener]:
    from edge_fer_convert.request import Listener

    with talk.progress() as bar:
        tasks: dict[str, Any] = {}
        yield Listener(
            progress=lambda what, done, total: _show(bar, tasks, talk, what, done, total),
            warn=lambda sentence: talk.say(f"Note: {sentence}"),
            log=talk.detail,
        )


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
    for rung in report["rungs"]:
        mark = "->" if rung["name"] == report["chosen"] else "  "
        figures = ""
        if rung["n"] is not None:
            figures = (
                f"{rung['drop_points']:+.2f} points, "
                f"{100 * rung['agreement']:.2f} % same labels on {rung['split']}; "
            )
        talk.say(f"{mark} {rung['name']}: {figures}{rung['status']}: {rung['why']}")
    talk.say(report["budget"]["words"])
    if report["plain"] is not None:
        talk.say(
            f"Plain int8 would have cost {report['plain']['drop_points']:.2f} points on these rows "
            f"and kept {100 * report['plain']['agreement']:.2f} % of the labels."
        )
    talk.detail(f"full integer: {', '.join(f'{n} {op}' for op, n in graph['operators'].items())}")
    if report["comparison"] is not None:
        talk.say(report["comparison"]["words"])
    for file in outputs.values():
        talk.say(f"{file['path']}: {file['bytes'] / 1024:.0f} KiB")
