"""A whole training: read the data, ask or train teachers, train, choose what counts as unknown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.contract import InputSpec, QualityRanges
from edge_fer.evaluation.data import LabelledFaces, labelled, read, select
from edge_fer.evaluation.labels import SCHEMES
from edge_fer.evaluation.metrics import confusion
from edge_fer.evaluation.scenes import non_face_crops
from edge_fer.preprocess import fit
from edge_fer_train.checkpoint import Epoch
from edge_fer_train.distillation import EarlierRun, blend, keras_probabilities
from edge_fer_train.folds import CrossFit, cross_fit
from edge_fer_train.outliers import Outliers, read_outliers
from edge_fer_train.rejection import Rejection, choose_unknown, quality_ranges
from edge_fer_train.training import Recipe, TrainedModel, train

__all__ = ["Course", "Finished", "follow"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What is learnt from what.

    Attributes:
        data, ferplus: the rows, see :func:`edge_fer.evaluation.data.read`.
        scheme: label scheme.
        every_vote: learn also from rows on which the crowd was divided.
        recipe: of the model.
        spec: what it takes.
        run_dir: for checkpoints.
        teachers: earlier runs whose opinion goes into the targets.
        teacher_weight: how much of it, 0 to 1.
        folds: how many teachers to train first, each on the rows that the others judge; 0 for none.
        fold_recipe: of those.
        outliers: zips or folders that outliers are made from.
        initial: a Keras model whose weights to begin with.
    """

    data: Path
    ferplus: Path | None
    scheme: str
    every_vote: bool
    recipe: Recipe
    spec: InputSpec
    run_dir: Path
    teachers: tuple[Path, ...]
    teacher_weight: float
    folds: int
    fold_recipe: Recipe
    outliers: tuple[Path, ...]
    initial: Path | None

    def learnt_from(self, teachers: Sequence[EarlierRun]) -> dict[str, Any]:
        """What the targets are made of besides the labels, for fingerprint and record."""
        taught = bool(teachers or self.folds)
        return {
            "teachers": [teacher.stated() for teacher in teachers],
            "teacher_weight": self.teacher_weight if taught else 0,
            "folds": self.folds,
            "fold_recipe": asdict(self.fold_recipe) if self.folds else None,
            "every_vote": self.every_vote,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """The outcome, what it was learnt from, and what ``validation`` says of it.

    ``confusion`` is ``int64[C, C]``, rows are the truth.
    """

    course: Course
    training: LabelledFaces
    validation: LabelledFaces
    outliers: Outliers
    teachers: tuple[EarlierRun, ...]
    initial: EarlierRun | None
    cross_fit: CrossFit | None
    trained: TrainedModel
    confusion: NDArray[np.int64]
    rejection: Rejection
    quality: QualityRanges

    def sources(self) -> dict[str, Any]:
        """Teachers, outliers and out-of-fold figures, for the run record."""
        return {
            **self.course.learnt_from(self.teachers),
            "initial": None if self.initial is None else self.initial.stated(),
            "outliers": [{"file": n, "sha256": h} for n, h in self.outliers.sources],
            "cross_fit": None if self.cross_fit is None else self.cross_fit.to_json(),
        }


def follow(
    course: Course,
    *,
    on_note: Callable[[str], None] = lambda text: None,
    on_step: Callable[[int, int, float], None] = lambda done, total, loss: None,
    on_epoch: Callable[[str, Epoch], None] = lambda what, epoch: None,
) -> Finished:
    """Do it all, going on wherever an earlier call with the same course was stopped.

    Args:
        course: what to do.
        on_note: called with a sentence at each stage.
        on_step: called with steps done, steps in the epoch, loss.
        on_epoch: called with what is being trained and its epoch.

    Raises:
        ConfigError: ``run_dir`` holds another run, or ``initial`` has another architecture.
        DataError: data or outliers cannot be read.
        ModelError: a teacher cannot be read, or the loss is no longer a number.
    """
    rows = read(course.data, course.ferplus)
    training = labelled(
        rows, SCHEMES[course.scheme], split="Training", every_vote=course.every_vote
    )
    validation = labelled(rows, SCHEMES[course.scheme], split="validation")
    unused = np.setdiff1d(select(rows, training.split)[1], np.asarray(training.rows))
    outliers = read_outliers(rows, unused, course.outliers)
    initial = None if course.initial is None else EarlierRun.read(course.initial)
    on_note(f"{len(training)} rows to learn from, {len(validation)} to choose by")

    teachers = tuple(EarlierRun.read(path) for path in course.teachers)
    for teacher in teachers:
        teacher.teaches(training.labels)
    opinions = [teacher.opinion(training) for teacher in teachers]
    crossed = None
    if course.folds:
        on_note(f"{course.folds} models judge the rows that they have not seen")
        crossed = cross_fit(
            course.fold_recipe,
            course.spec,
            training,
            validation,
            course.run_dir,
            course.folds,
            outliers=outliers,
            on_step=on_step,
            on_epoch=lambda fold, epoch: on_epoch(f"fold {fold + 1}/{course.folds} ", epoch),
        )
        opinions.append(crossed.probabilities)
    trained = train(
        course.recipe,
        course.spec,
        training,
        validation,
        course.run_dir,
        target=blend(training.target, opinions, course.teacher_weight) if opinions else None,
        learnt_from=course.learnt_from(teachers),
        outliers=outliers,
        initial=None if initial is None else initial.model,
        on_step=on_step,
        on_epoch=lambda epoch: on_epoch("", epoch),
    )
    on_note("choosing what counts as unknown")
    pixels = np.stack([fit(image, course.spec) for image in validation.images])
    probabilities = keras_probabilities(trained.model, course.spec, trained.temperature)
    said = probabilities(pixels).argmax(axis=1)
    return Finished(
        course=course,
        training=training,
        validation=validation,
        outliers=outliers,
        teachers=teachers,
        initial=initial,
        cross_fit=crossed,
        trained=trained,
        confusion=confusion(said, validation.truth, len(validation.labels)),
        rejection=choose_unknown(
            probabilities,
            pixels,
            validation.truth,
            course.spec,
            seed=course.recipe.seed,
            non_faces=non_face_crops(outliers.choosing_scenes, course.spec),
        ),
        quality=quality_ranges(pixels),
    )
