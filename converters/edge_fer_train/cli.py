"""``edge-fer train``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_fer.cli.console import Ferplus, Json, Quiet, Talk, Verbose, emit_json

if TYPE_CHECKING:
    from edge_fer_train.training import Epoch

__all__ = ["train"]


def train(
    data: Annotated[Path, typer.Option(help="FER2013 csv, npz or class folders.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .keras file to write.")],
    ferplus: Ferplus = None,
    labels: Annotated[str, typer.Option(help="Label scheme: ferplus8 or fer2013-7.")] = "ferplus8",
    arch: Annotated[str, typer.Option(help="Architecture: resnet10 or resnet6.")] = "resnet10",
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data.")] = 60,
    batch: Annotated[int, typer.Option(min=1, help="Pictures per step.")] = 128,
    learning_rate: Annotated[float, typer.Option(min=0, help="Peak of the schedule.")] = 2e-3,
    balance: Annotated[
        float, typer.Option(min=0, max=1, help="0: classes as they are; 1: equally often.")
    ] = 0.25,
    precision: Annotated[
        str, typer.Option(help="float32, or bfloat16 where the CPU has it (faster).")
    ] = "float32",
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 1,
    resume: Annotated[
        Path | None,
        typer.Option(help="Folder of the run: goes on from its checkpoint. Default: runs/NAME."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier output.")] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train an expression classifier; stops and resumes at any epoch.

    The FER2013 rows of split Training teach, the split validation chooses the epoch and the
    temperature, PublicTest is not touched. Writes OUT.keras with its contract inside, and
    OUT.run.json with the curve.

    Example: edge-fer train --data fer2013.csv --ferplus fer2013new.csv -o mine.keras
    """
    from edge_fer.errors import ConfigError, MissingExtra
    from edge_fer.evaluation.data import labelled, read
    from edge_fer.evaluation.labels import SCHEMES
    from edge_fer.quiet import hushed_stderr
    from edge_fer_train.record import check_output, expression_spec, save
    from edge_fer_train.training import Recipe
    from edge_fer_train.training import train as run_training
    from edge_fer_train.zoo import architecture

    talk = Talk(quiet=quiet, verbose=verbose)
    if labels not in SCHEMES:
        raise ConfigError(f"There is no label scheme {labels!r}.", f"Known: {', '.join(SCHEMES)}.")
    if precision not in ("float32", "bfloat16"):
        raise ConfigError(f"There is no precision {precision!r}.", "Known: float32, bfloat16.")
    architecture(arch)
    check_output(output, force=force)
    with hushed_stderr():  # TensorFlow greets at length, whatever its log level
        try:
            import tensorflow as tf
        except ImportError as err:
            raise MissingExtra(
                "Training needs TensorFlow.", "Install it with: pip install 'edge-fer[convert]'"
            ) from err
        tf.config.list_physical_devices()

    rows = read(data, ferplus)
    training = labelled(rows, SCHEMES[labels], split="Training")
    validation = labelled(rows, SCHEMES[labels], split="validation")
    talk.say(f"{len(training)} rows to learn from, {len(validation)} to choose by")
    recipe = Recipe(
        arch=arch,
        epochs=epochs,
        batch=batch,
        learning_rate=learning_rate,
        balance=balance,
        precision=precision,
        seed=seed,
    )
    with talk.progress() as bar:
        task = bar.add_task("epoch 1", total=None)

        def on_step(done: int, total: int, loss: float) -> None:
            bar.update(task, completed=done, total=total)
            if done % 20 == 0:
                bar.update(task, description=f"loss {loss:.3f}")

        def on_epoch(epoch: Epoch) -> None:
            talk.say(
                f"epoch {epoch.epoch}/{epochs}  loss {epoch.loss:.4f}  "
                f"validation {100 * epoch.validation_accuracy:.2f} %  "
                f"macro {100 * epoch.validation_macro_recall:.2f} %  "
                f"nll {epoch.validation_nll:.4f}  {epoch.seconds:.0f} s"
            )

        trained = run_training(
            recipe,
            expression_spec(),
            training,
            validation,
            resume or Path("runs") / output.stem,
            on_step,
            on_epoch,
        )
    summary = save(output, recipe, labels, training, validation, trained)
    talk.say(
        f"{output}: {trained.parameters} parameters, {trained.macs / 1e6:.1f} MMAC, "
        f"validation {100 * trained.best.validation_accuracy:.2f} % at epoch {trained.best.epoch}"
    )
    if json:
        emit_json(summary)
