"""``edge-fer predict``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_fer.cli.console import (
    Backend,
    Detector,
    Json,
    Model,
    Quiet,
    Talk,
    Threads,
    Verbose,
    emit_json,
)

if TYPE_CHECKING:
    from edge_fer.classifier import Classifier
    from edge_fer.types import Detector as DetectorProtocol
    from edge_fer.types import Expression, Face, Frame

__all__ = ["predict"]


def predict(
    images: Annotated[list[Path], typer.Argument(help="Picture files.")],
    model: Model = "expression",
    detector: Detector = "face",
    backend: Backend = "auto",
    threads: Threads = 1,
    annotate: Annotated[
        Path | None, typer.Option(help="Folder for copies with boxes and labels drawn in.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Find the faces in still pictures and say their expressions.

    A picture that cannot be read does not stop the others; the exit code is then 2.

    Example: edge-fer predict *.jpg --annotate out/
    """
    from edge_fer.assemble import open_classifier, open_detector
    from edge_fer.errors import DataError

    talk = Talk(quiet=quiet, verbose=verbose)
    classifier = open_classifier(model, backend=backend, threads=threads, on_skip=talk.say)
    finder = open_detector(detector, backend=backend, threads=threads)
    talk.detail(f"{classifier.model.path} on {classifier.backend.name}, detector {detector}")
    targets = _targets(images, annotate)
    answers: list[dict[str, Any]] = []
    with talk.progress() as bar:
        for path in bar.track(images, description="pictures"):
            try:
                frame, found = _look(path, finder, classifier)
            except DataError as err:
                answers.append(_answer(path, None, (), error=err.message))
                talk.say(f"{path}: {err}")
                continue
            answers.append(_answer(path, frame, found))
            if not json:
                _print(path, found)
            if path in targets:
                _write(targets[path], frame, found)
    if json:
        emit_json({"schema": "edge-fer/predict/1", "images": answers})
    if any(a["error"] for a in answers):
        raise typer.Exit(DataError.exit_code)


Found = tuple[tuple["Face", "Expression"], ...]


def _look(path: Path, detector: DetectorProtocol, classifier: Classifier) -> tuple[Frame, Found]:
    from edge_fer.pictures import luma_of, read_picture
    from edge_fer.pipeline import look
    from edge_fer.types import Frame

    picture = read_picture(path)
    frame = Frame(
        luma=luma_of(picture),
        colour=picture if picture.ndim == 3 else None,
        t_ns=0,
        sequence=0,
        source=str(path),
    )
    sight = look(frame, detector, classifier)
    return frame, tuple(zip(sight.faces, sight.expressions, strict=True))


def _answer(
    path: Path, frame: Frame | None, found: Found, error: str | None = None
) -> dict[str, Any]:
    return {
        "path": str(path),
        "width": frame.width if frame else None,
        "height": frame.height if frame else None,
        "error": error,
        "faces": [
            {
                "box": [face.box.x, face.box.y, face.box.w, face.box.h],
                "score": face.score,
                "keypoints": [list(p) for p in face.keypoints] if face.keypoints else None,
                "expression": expression.label,
                "reason": expression.reason,
                "probabilities": dict(expression.probabilities),
            }
            for face, expression in found
        ],
    }


def _print(path: Path, found: Found) -> None:
    typer.echo(f"{path}: {len(found)} face{'s' if len(found) != 1 else ''}")
    for face, expression in found:
        box = face.box
        likely = sorted(expression.probabilities.items(), key=lambda item: -item[1])[:3]
        words = ", ".join(f"{label} {100 * p:.0f} %" for label, p in likely)
        where = f"{box.w:.0f}x{box.h:.0f} at ({box.x:.0f}, {box.y:.0f})"
        typer.echo(f"  {expression.label:<10} {where:<24} {words}")


def _targets(images: list[Path], folder: Path | None) -> dict[Path, Path]:
    """Where each annotated copy goes: never onto another copy, nor onto one of the pictures."""
    from edge_fer.errors import DeviceError

    if folder is None:
        return {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise DeviceError(
            f"{folder} cannot be made ({err.strerror}).", "Name a folder that you may write to."
        ) from err
    targets: dict[Path, Path] = {}
    taken = {path.resolve() for path in images}
    for path in images:
        target, number = folder / f"{path.stem}.png", 2
        while target.resolve() in taken:
            target, number = folder / f"{path.stem}-{number}.png", number + 1
        targets[path] = target
        taken.add(target.resolve())
    return targets


def _write(target: Path, frame: Frame, found: Found) -> None:
    from edge_fer.annotate import annotate
    from edge_fer.pictures import write_picture

    write_picture(target, annotate(frame, found))
