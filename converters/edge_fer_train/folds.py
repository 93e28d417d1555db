"""Cross-fitting: every training row judged by a model that has not seen it.

The training rows are parted into K folds by the hash of their pixels, so that copies stay together;
K models each learn from the other K - 1 folds and judge the one left out. That gives teachers whose
opinion of a row is no memory of its label, and honest recalls of classes too rare for
``validation`` (Stone, 1974).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.contract import InputSpec
from edge_fer.errors import DataError
from edge_fer.evaluation.data import LabelledFaces, pixel_sha256
from edge_fer.evaluation.drop import wilson
from edge_fer_train.checkpoint import Epoch
from edge_fer_train.distillation import opinion
from edge_fer_train.outliers import Outliers
from edge_fer_train.training import Recipe, train

__all__ = ["CrossFit", "cross_fit", "fold_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossFit:
    """Out-of-fold opinions of all training rows.

    Attributes:
        folds: how many models there were.
        probabilities: ``float32[N, C]``, mirror-averaged, each row by the model without it.
        faces: the rows.
    """

    folds: int
    probabilities: NDArray[np.float32]
    faces: LabelledFaces

    def to_json(self) -> dict[str, Any]:
        """Accuracy and recall per class with 95 % Wilson intervals, for the run record.

        Only rows that the majority rule scores count, and each is judged together with its mirror
        image, as a teacher judges it.
        """
        clear = self.faces.clear
        clear = np.ones(len(self.faces), bool) if clear is None else clear
        truth = self.faces.truth[clear]
        right = self.probabilities[clear].argmax(axis=1) == truth
        per_class: dict[str, Any] = {}
        for i, label in enumerate(self.faces.labels):
            mine = right[truth == i]
            hits = int(mine.sum())
            per_class[label] = {
                "n": len(mine),
                "recall": hits / len(mine) if len(mine) else None,
                "ci95": list(wilson(hits, len(mine))) if len(mine) else None,
            }
        return {"folds": self.folds, "accuracy": float(right.mean()), "per_class": per_class}


def fold_of(faces: LabelledFaces, folds: int) -> NDArray[np.int64]:
    """``int64[N]``: the fold of each row, by hex digits 9 to 16 of its pixels' sha256.

    The first 8 digits already decide what is ``validation``.
    """
    return np.array([int(d[8:16], 16) % folds for d in pixel_sha256(faces.images)], np.int64)


def cross_fit(
    recipe: Recipe,
    spec: InputSpec,
    training: LabelledFaces,
    validation: LabelledFaces,
    run_dir: Path,
    folds: int,
    *,
    outliers: Outliers | None = None,
    on_step: Callable[[int, int, float], None] = lambda done, total, loss: None,
    on_epoch: Callable[[int, Epoch], None] = lambda fold, epoch: None,
) -> CrossFit:
    """Train ``folds`` models and let each judge the rows that it did not see; resumable.

    Args:
        recipe: of each model.
        spec: what they take.
        training: all rows.
        validation: chooses epoch and temperature of each.
        run_dir: each model's checkpoint lies in a folder ``fold-K`` below.
        folds: at least 2.
        outliers: as for :func:`edge_fer_train.training.train`.
        on_step: called with steps done, steps in the epoch, loss.
        on_epoch: called with the fold's number and the epoch.

    Raises:
        ConfigError: a checkpoint belongs to another run.
        DataError: a fold would be empty.
        ModelError: the loss is no longer a number.
    """
    part = fold_of(training, folds)
    if len(set(part.tolist())) < folds:
        raise DataError(
            f"{len(training)} rows are too few for {folds} folds: one would be empty.",
            "Give fewer --folds, or more data.",
        )
    probabilities = np.zeros(training.target.shape, np.float32)
    for fold in range(folds):
        outside = np.flatnonzero(part == fold)
        trained = train(
            recipe,
            spec,
            training.take(np.flatnonzero(part != fold)),
            validation,
            run_dir / f"fold-{fold}",
            outliers=outliers,
            on_step=on_step,
            on_epoch=lambda epoch, fold=fold: on_epoch(fold, epoch),  # type: ignore[misc]
        )
        probabilities[outside] = opinion(
            trained.model, trained.temperature, training.take(outside), spec
        )
    return CrossFit(folds=folds, probabilities=probabilities, faces=training)
