"""``edge-fer train``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edge_fer.cli.console import Ferplus, Json, Quiet, Talk, Verbose, emit_json

if TYPE_CHECKING:
    from edge_fer_train.checkpoint import Epoch

__all__ = ["train"]

_LEARNING, _TEACHING, _UNSURE = "Learning", "Learning from larger models", "Knowing when not to"


def _load_tensorflow() -> None:
    from edge_fer.errors import MissingExtra
    from edge_fer.quiet import hushed_stderr

    with hushed_stderr():  # TensorFlow greets at length, whatever its log level
        try:
            import tensorflow as tf
        except ImportError as err:
            raise MissingExtra(
                "Training needs TensorFlow.", "Install it with: pip install 'edge-fer[convert]'"
            ) from err
        tf.config.list_physical_devices()


def _list_architectures(wanted: bool) -> None:
    if not wanted:
        return
    from edge_fer_train.record import expression_spec
    from edge_fer_train.zoo import ZOO, build, count_macs

    _load_tensorflow()
    for name, entry in ZOO.items():
        model = build(name, expression_spec(), 8)
        typer.echo(
            f"{name:<18}{model.count_params():>9} parameters"
            f"{count_macs(model) / 1e6:>8.1f} MMAC  {entry.purpose}"
        )
    raise typer.Exit


def train(
    data: Annotated[Path, typer.Option(help="FER2013 csv, npz or class folders.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .keras file to write.")],
    ferplus: Ferplus = None,
    labels: Annotated[str, typer.Option(help="Label scheme: ferplus8 or fer2013-7.")] = "ferplus8",
    every_vote: Annotated[
        bool,
        typer.Option(
            "--every-vote/--majority",
            help="Learn also from rows on which FER+'s crowd was divided, or only from clear ones.",
        ),
    ] = True,
    arch: Annotated[str, typer.Option(help="Architecture; --architectures lists them.")] = (
        "resnet10"
    ),
    epochs: Annotated[
        int, typer.Option(min=1, help="Passes over the data.", rich_help_panel=_LEARNING)
    ] = 60,
    batch: Annotated[
        int, typer.Option(min=1, help="Pictures per step.", rich_help_panel=_LEARNING)
    ] = 128,
    learning_rate: Annotated[
        float, typer.Option(min=0, help="Peak of the schedule.", rich_help_panel=_LEARNING)
    ] = 1e-2,
    balance: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="0: classes as they are; 1: equally often.",
            rich_help_panel=_LEARNING,
        ),
    ] = 0.25,
    mixup: Annotated[
        float,
        typer.Option(
            min=0, max=1, help="Share of batches with blended faces.", rich_help_panel=_LEARNING
        ),
    ] = 0.0,
    cutmix: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Share of batches with pieces of other faces.",
            rich_help_panel=_LEARNING,
        ),
    ] = 0.0,
    initial: Annotated[
        Path | None,
        typer.Option(help="A .keras file whose weights to begin with.", rich_help_panel=_LEARNING),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            help="float32, or bfloat16 where the CPU has it (faster).", rich_help_panel=_LEARNING
        ),
    ] = "float32",
    seed: Annotated[int, typer.Option(help="Of everything random.", rich_help_panel=_LEARNING)] = 1,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(
            help="A .keras file of an earlier run; may be repeated.", rich_help_panel=_TEACHING
        ),
    ] = None,
    teacher_weight: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Of the teachers' opinion against the labels.",
            rich_help_panel=_TEACHING,
        ),
    ] = 0.5,
    folds: Annotated[
        int,
        typer.Option(
            min=0,
            help="Train this many teachers first, each judging the rows that it did not see; "
            "prints the recall of every class with its interval.",
            rich_help_panel=_TEACHING,
        ),
    ] = 0,
    fold_arch: Annotated[
        str | None, typer.Option(help="Of those; default: --arch.", rich_help_panel=_TEACHING)
    ] = None,
    fold_epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Of those; default: --epochs.", rich_help_panel=_TEACHING),
    ] = None,
    outliers: Annotated[
        list[Path] | None,
        typer.Option(
            help="Zip or folder of pictures without faces, or with a boxes.csv of masked ones; "
            "may be repeated.",
            rich_help_panel=_UNSURE,
        ),
    ] = None,
    outlier_share: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            help="Of each batch: noise, wrong crops, covered and turned faces, and --outliers.",
            rich_help_panel=_UNSURE,
        ),
    ] = 0.12,
    resume: Annotated[
        Path | None,
        typer.Option(help="Folder of the run: goes on from its checkpoint. Default: runs/NAME."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier output.")] = False,
    architectures: Annotated[  # noqa: ARG001 - its callback has done it
        bool,
        typer.Option(
            "--architectures",
            callback=_list_architectures,
            is_eager=True,
            help="List them with parameters and multiply-accumulates, and stop.",
        ),
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Train an expression classifier; stops and resumes at any epoch.

    The FER2013 rows of split Training teach, the split validation chooses the epoch, the
    temperature and what counts as unknown; PublicTest is not touched. Writes OUT.keras with its
    contract inside, OUT.run.json with the curve and OUT.run.html to look at.

    Example: edge-fer train --data fer2013.csv --ferplus fer2013new.csv -o mine.keras
    """
    from edge_fer.errors import ConfigError
    from edge_fer.evaluation.labels import SCHEMES
    from edge_fer_train.batches import Mixing
    from edge_fer_train.record import check_output, expression_spec, save
    from edge_fer_train.training import Recipe
    from edge_fer_train.zoo import architecture

    talk = Talk(quiet=quiet, verbose=verbose)
    if labels not in SCHEMES:
        raise ConfigError(f"There is no label scheme {labels!r}.", f"Known: {', '.join(SCHEMES)}.")
    if precision not in ("float32", "bfloat16"):
        raise ConfigError(f"There is no precision {precision!r}.", "Known: float32, bfloat16.")
    if folds == 1:
        raise ConfigError("One fold leaves nothing to learn from.", "Give --folds 2 or more.")
    if mixup + cutmix > 1:
        raise ConfigError(
            "--mixup and --cutmix are shares of the same batches, and more than all of them.",
            "Give shares that add up to 1 or less.",
        )
    recipe = Recipe(
        arch=architecture(arch).name,
        epochs=epochs,
        batch=batch,
        learning_rate=learning_rate,
        balance=balance,
        outliers=outlier_share,
        precision=precision,
        seed=seed,
        mixing=Mixing(mixup=mixup, cutmix=cutmix),
    )
    check_output(output, force=force)
    _load_tensorflow()

    from edge_fer_train.course import Course, follow

    course = Course(
        data=data,
        ferplus=ferplus,
        scheme=labels,
        every_vote=every_vote,
        recipe=recipe,
        spec=expression_spec(),
        run_dir=resume or Path("runs") / output.stem,
        teachers=tuple(teacher or ()),
        teacher_weight=teacher_weight,
        folds=folds,
        fold_recipe=replace(
            recipe,
            arch=architecture(fold_arch or arch).name,
            epochs=fold_epochs or epochs,
        ),
        outliers=tuple(outliers or ()),
        initial=initial,
    )
    with talk.progress() as bar:
        task = bar.add_task("reading", total=None)

        def on_step(done: int, total: int, loss: float) -> None:
            bar.update(task, completed=done, total=total)
            if done % 20 == 0:
                bar.update(task, description=f"loss {loss:.3f}")

        def on_epoch(what: str, epoch: Epoch) -> None:
            talk.say(
                f"{what}epoch {epoch.epoch}  loss {epoch.loss:.4f}  "
                f"validation {100 * epoch.validation_accuracy:.2f} %  "
                f"macro {100 * epoch.validation_macro_recall:.2f} %  "
                f"nll {epoch.validation_nll:.4f}  {epoch.seconds:.0f} s"
            )

        finished = follow(course, on_note=talk.say, on_step=on_step, on_epoch=on_epoch)
    trained = finished.trained
    record = save(
        output,
        recipe,
        labels,
        finished.training,
        finished.validation,
        trained,
        rejection=finished.rejection,
        quality=finished.quality,
        confusion=finished.confusion,
        more=finished.sources(),
    )
    talk.say(
        f"{output}: {trained.parameters} parameters, {trained.macs / 1e6:.1f} MMAC, "
        f"validation {100 * trained.best.validation_accuracy:.2f} % at epoch {trained.best.epoch}"
    )
    if finished.cross_fit is not None:
        for label, found in finished.cross_fit.to_json()["per_class"].items():
            if found["n"]:
                low, high = found["ci95"]
                talk.say(
                    f"out of fold ({fold_arch or arch}, mirror-averaged), {label}: "
                    f"recall {100 * found['recall']:.1f} % "
                    f"[{100 * low:.1f}, {100 * high:.1f}], n {found['n']}"
                )
    if json:
        emit_json(record)
