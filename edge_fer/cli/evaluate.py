"""``edge-fer evaluate``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

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

if TYPE_CHECKING:
    from rich.console import Console

    from edge_fer.classifier import Classifier
    from edge_fer.evaluation.data import LabelledFaces
    from edge_fer.types import Image

__all__ = ["evaluate"]


def evaluate(
    model: Annotated[
        str | None,
        typer.Argument(help="A shipped model's name, or a .tflite file. Or give --detector."),
    ] = None,
    *,
    data: Annotated[
        Path,
        typer.Option(
            help="FER2013 csv, npz or class folders; for a detector a zip or folder of pictures "
            "with a boxes.csv, or of pictures without faces."
        ),
    ],
    detector: Annotated[
        str | None,
        typer.Option(help="Score a face detector: face, haar?cascade=alt2, yunet, or its file."),
    ] = None,
    ferplus: Ferplus = None,
    split: Split = None,
    robustness: Annotated[
        bool,
        typer.Option(
            "--robustness",
            help="Also score covered, dark, turned, blurred faces and pictures of nothing.",
        ),
    ] = False,
    non_faces: Annotated[
        Path | None,
        typer.Option(
            help="Zip or folder of pictures without faces: scores crops of those kept aside "
            "(a sixth, by their hash), too. Implies --robustness."
        ),
    ] = None,
    min_height: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="With --detector: least size of a face that counts: its longer side as a "
            "fraction of the picture's height. Default: a twelfth, 40 pixels of 480.",
        ),
    ] = None,
    frame: Annotated[
        str | None,
        typer.Option(
            metavar="WxH", help="With --detector: fit every picture into a frame of this size."
        ),
    ] = None,
    leave_out: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="With --detector: a picture that is not wanted."),
    ] = None,
    backend: Backend = "auto",
    threads: Threads = 1,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Score a model on labelled face crops: top-1, macro recall, per class, ECE, confusion.

    Or, with --detector, a face detector on scenes: average precision, recall by size, false
    positives, latency; --split test takes the scenes that are kept from training (a third, by their
    hash), --robustness also shows it masked, dark, turned and scaled faces.

    Example: edge-fer evaluate expression --data fer2013.csv --ferplus fer2013new.csv --robustness
    """
    talk = Talk(quiet=quiet, verbose=verbose)
    of_model = {"--ferplus": ferplus, "--non-faces": non_faces}
    of_detector = {"--min-height": min_height, "--frame": frame, "--leave-out": leave_out}
    _check(model, detector, of_model, of_detector)
    if detector is not None:
        from edge_fer.cli.evaluate_detector import DetectorRequest, evaluated, print_detector

        request = DetectorRequest(
            detector=detector,
            data=data,
            split=split,
            min_height=min_height,
            frame=frame,
            leave_out=tuple(leave_out or ()),
            robustness=robustness,
            backend=backend,
            threads=threads,
        )
        _show(evaluated(request, talk), print_detector, json=json)
    elif model is not None:
        from edge_fer.assemble import open_classifier

        classifier = open_classifier(model, backend=backend, threads=threads, on_skip=talk.say)
        document = _on_crops(classifier, data, ferplus, split, robustness, non_faces, talk)
        _show(document, _print, json=json)


def _check(
    model: str | None,
    detector: str | None,
    of_model: dict[str, Any],
    of_detector: dict[str, Any],
) -> None:
    """One thing to score, and no flag of the other kind."""
    from edge_fer.errors import ConfigError

    if (model is None) == (detector is None):
        raise ConfigError(
            "Nothing to score: neither a MODEL nor a --detector is named."
            if model is None
            else "A MODEL and a --detector cannot be scored in one go.",
            "Try: edge-fer evaluate expression --data fer2013.csv, "
            "or: edge-fer evaluate --detector haar --data boxes.zip",
        )
    wrong, other = (of_model, "a MODEL") if model is None else (of_detector, "--detector")
    for flag, value in wrong.items():
        if value is not None:
            raise ConfigError(f"{flag} goes with {other} only.", "Leave it out.")


def _show(document: dict[str, Any], table: Callable[[dict[str, Any]], None], *, json: bool) -> None:
    if json:
        emit_json(document)
    else:
        table(document)


def _on_crops(
    classifier: Classifier,
    data: Path,
    ferplus: Path | None,
    split: str | None,
    robustness: bool,
    non_faces: Path | None,
    talk: Talk,
) -> dict[str, Any]:
    """The document ``edge-fer/evaluate/1``."""
    from edge_fer.evaluation.data import load
    from edge_fer.evaluation.evaluate import evaluate as score

    faces = load(data, classifier.labels, split=split, ferplus=ferplus)
    crops = None if non_faces is None else _crops(non_faces, classifier)
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
        if robustness or non_faces:
            bar.update(task, description="spoilt faces")
            document["robustness"] = _robustness(
                classifier,
                faces,
                crops,
                lambda done, total: bar.update(task, completed=done, total=total),
            )
    return document


def _crops(path: Path, classifier: Classifier) -> Image:
    from edge_fer.errors import DataError
    from edge_fer.evaluation.scenes import archive_files, non_face_crops, split_scenes

    files = dict(archive_files(path))
    if any(name.endswith("boxes.csv") for name in files):
        raise DataError(f"{path} has faces: it has a boxes.csv.", "Give pictures without faces.")
    crops = non_face_crops(split_scenes(files).reporting, classifier.contract.input)
    if crops is None:
        raise DataError(
            f"{path} has no picture that is kept aside for this.",
            "Give a zip file or folder of a dozen pictures without faces, or more.",
        )
    return crops


def _robustness(
    classifier: Classifier,
    faces: LabelledFaces,
    non_faces: Image | None,
    on_step: Callable[[int, int], None],
) -> dict[str, Any]:
    import numpy as np

    from edge_fer.evaluation.robustness import REPORT_SEED, measure
    from edge_fer.preprocess import fit

    spec = classifier.contract.input
    found = measure(
        classifier.probabilities,
        np.stack([fit(image, spec) for image in faces.images]),
        faces.truth,
        spec,
        seed=REPORT_SEED,
        non_faces=non_faces,
        on_step=on_step,
    )
    return found.at(classifier.contract.output.min_probability).to_json()


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
        + _frequent(document["macro_recall_n50"])
        + f"macro F1 {100 * document['macro_f1']:.2f} %, ECE {document['ece']:.3f}"
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
    if "robustness" in document:
        _print_robustness(console, document["robustness"])


def _frequent(value: float | None) -> str:
    return "" if value is None else f"of classes with 50 rows or more {100 * value:.2f} %, "


def _print_robustness(console: Console, found: dict[str, Any]) -> None:
    from rich.table import Table

    def share(value: float | None) -> str:
        return "-" if value is None else f"{100 * value:.1f} %"

    table = Table("spoilt by", box=None)
    for name in ("named, strength 1", "2", "3", "right of those, strength 1", "2", "3"):
        table.add_column(name, justify="right")
    for name, strengths in found["corrupted"].items():
        each = [strengths[s] for s in ("1", "2", "3")]
        table.add_row(
            name.replace("_", " "),
            *(share(kept["coverage"]) for kept in each),
            *(share(kept["accuracy"]) for kept in each),
        )
    console.print(table)
    console.print(
        f"named although there is no face: noise {share(found['accepted_noise'])}, "
        f"scenes {share(found['accepted_non_faces'])}; "
        f"jitter of the crop costs {found['jitter_loss_points']:.2f} points"
    )
