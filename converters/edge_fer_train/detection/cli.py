"""``edge-fer train-detector``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_fer.cli.console import Quiet, Talk, Verbose

if TYPE_CHECKING:
    from edge_fer_train.detection.training import DetectorEpoch

__all__ = ["train_detector"]


def train_detector(
    scenes: Annotated[Path, typer.Option(help="Zip or folder of pictures with boxes.csv.")],
    empty: Annotated[Path, typer.Option(help="Zip or folder of pictures without faces.")],
    crops: Annotated[
        list[Path],
        typer.Option(help="FER2013, or an npz with images of aligned faces; may be repeated."),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="OUT.keras.")],
    leave_out: Annotated[
        list[str] | None,
        typer.Option(help="A picture of --empty that shows faces after all; may be repeated."),
    ] = None,
    teacher: Annotated[
        str, typer.Option(help="A detector with keypoints that completes the labels.")
    ] = "blazeface-full",
    epochs: Annotated[int, typer.Option(min=1, help="Of --steps batches each.")] = 60,
    steps: Annotated[int, typer.Option(min=1, help="Batches of an epoch.")] = 250,
    batch: Annotated[int, typer.Option(min=1, max=512, help="Pictures of a batch.")] = 32,
    learning_rate: Annotated[float, typer.Option(min=0, help="Peak of the schedule.")] = 4e-3,
    initial: Annotated[
        Path | None, typer.Option(help="An earlier OUT.keras whose weights to begin with.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 1,
    resume: Annotated[
        Path | None, typer.Option(help="Folder of the checkpoint. Default: runs/OUT.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace earlier results.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train a face detector; the same command goes on where it was interrupted.

    Example: edge-fer train-detector --scenes faceboxes.zip --empty scenes.zip
    --crops fer2013.npz -o face.keras
    """
    from edge_fer.detectors import open_detector
    from edge_fer.errors import ConfigError
    from edge_fer_train.detection.labels import Teacher
    from edge_fer_train.detection.material import read_material, sha256_of
    from edge_fer_train.detection.record import save_detector
    from edge_fer_train.detection.training import DetectorRecipe
    from edge_fer_train.detection.training import train_detector as learn
    from edge_fer_train.record import check_output

    talk = Talk(quiet=quiet, verbose=verbose)
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    check_output(output, force=force)
    knows = open_detector(teacher)
    if not isinstance(knows, Teacher):
        raise ConfigError(
            f"The detector {teacher} cannot teach: it does not look into regions.",
            "Use blazeface-full; get it with: edge-fer models pull blazeface-full",
        )
    recipe = DetectorRecipe(
        epochs=epochs, steps=steps, batch=batch, learning_rate=learning_rate, seed=seed
    )
    with talk.progress() as bar:
        task = bar.add_task("reading", total=None)

        def on_progress(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        material = read_material(
            scenes, empty, crops, knows, on_progress, leave_out=leave_out or ()
        )
        begun = None if initial is None else _loaded(initial)
        if initial is not None:
            material.sources["initial"] = {initial.name: sha256_of(initial)}
        learning, judging = material.composers(recipe.height, recipe.width)

        def on_step(done: int, total: int, loss: float) -> None:
            on_progress(f"loss {loss:.3f}", done, total)

        def on_epoch(epoch: DetectorEpoch) -> None:
            talk.say(
                f"epoch {epoch.epoch}  loss {epoch.loss:.3f}  validation: "
                f"score {epoch.validation_score:.3f}, box {epoch.validation_box:.3f}, "
                f"keypoints {epoch.validation_keypoints:.3f}  {epoch.seconds:.0f} s"
            )

        trained = learn(
            recipe,
            learning,
            judging,
            resume or Path("runs") / output.stem,
            learnt_from=material.sources,
            initial=begun,
            on_step=on_step,
            on_epoch=on_epoch,
        )
    record = save_detector(output, recipe, material, trained)
    talk.say(f"{output}: {record['parameters']} parameters, {record['macs'] / 1e6:.1f} MMAC")


def _loaded(path: Path) -> Any:
    from edge_fer.errors import ModelError

    try:
        from keras.models import load_model

        return load_model(path, compile=False)
    except Exception as err:  # Keras raises whatever the file makes it raise
        raise ModelError(
            f"{path} cannot be loaded: {err}.", "Give a file of edge-fer train-detector."
        ) from err
