"""``edge-fer evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from edge_fer.cli.console import (
    Backend,
    Ferplus,
    Json,
    Quiet,
    Split,
    Talk,
    Threads,
    Verbose,
    emit_json,
)

__all__ = ["evaluate"]


def evaluate(
    model: Annotated[str, typer.Argument(help="A shipped model's name, or a .tflite file.")],
    data: Annotated[Path, typer.Option(help="FER2013 csv, npz or class folders.")],
    ferplus: Ferplus = None,
    split: Split = None,
    backend: Backend = "auto",
    threads: Threads = 1,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Score a model on labelled face crops: top-1, macro recall, per class, ECE, confusion.

    Example: edge-fer evaluate expression --data fer2013.csv --ferplus fer2013new.csv
    """
    from edge_fer.assemble import open_classifier
    from edge_fer.evaluation.data import load
    from edge_fer.evaluation.evaluate import evaluate as score

    talk = Talk(quiet=quiet, verbose=verbose)
    classifier = open_classifier(model, backend=backend, threads=threads, on_skip=talk.say)
    faces = load(data, classifier.labels, split=split, ferplus=ferplus)
    talk.detail(f"{classifier.model.path} on {classifier.backend.name}")
    for path, why in faces.skipped:
        talk.say(f"left out: {path}: {why}")
    if faces.left_out:
        talk.say(f"left out, because only one side has them: {', '.join(faces.left_out)}")
    if split is None:
        talk.say(f"split {faces.split}, {len(faces)} rows")
    with talk.progress() as bar:
        task = bar.add_task("rows", total=len(faces))
        evaluation = score(
            classifier, faces, lambda done, total: bar.update(task, completed=done, total=total)
        )
    document = evaluation.to_json(str(classifier.model.path), classifier.model.sha256)
    if json:
        emit_json(document)
    else:
        _print(document)


def _print(document: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    low, high = document["ci95"]
    data = document["data"]
    console.print(
        f"accuracy {100 * document['accuracy']:.2f} % "
        f"(95 % interval {100 * low:.2f} to {100 * high:.2f}), "
        f"macro recall {100 * document['macro_recall']:.2f} %, "
        f"macro F1 {100 * document['macro_f1']:.2f} %, ECE {document['ece']:.3f}"
    )
    console.print(f"{data['path']}, split {data['split']}, n {data['n']}")
    if document["clean"]:
        clean = document["clean"]
        console.print(
            f"without pixel copies of Training rows: {100 * clean['accuracy']:.2f} % "
            f"(n {clean['n']})"
        )
    accepted = document["accepted"]
    if accepted["coverage"] < 1:
        right = "-" if accepted["accuracy"] is None else f"{100 * accepted['accuracy']:.2f} %"
        console.print(
            f"named (not called unknown): {100 * accepted['coverage']:.2f} % of the rows; "
            f"accuracy of those: {right}"
        )
    table = Table("class", box=None)
    for name in ("n", "recall", "precision", "F1"):
        table.add_column(name, justify="right")
    for label, row in document["per_class"].items():
        shares = (row["recall"], row["precision"], row["f1"])
        table.add_row(
            label, str(row["n"]), *("-" if s is None else f"{100 * s:.1f} %" for s in shares)
        )
    console.print(table)
