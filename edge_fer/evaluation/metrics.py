"""Figures of a classifier, each with one definition. Accuracies are fractions 0 to 1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "MIN_CLASS_ROWS",
    "confusion",
    "expected_calibration_error",
    "frequent_recall",
    "macro_f1",
    "macro_recall",
    "precision",
    "recall",
    "top1",
]

Floats = NDArray[np.float64]
MIN_CLASS_ROWS = 50
"""A class with fewer is not judged by its own recall."""


def top1(scores: NDArray[np.floating], truth: NDArray[np.integer]) -> float:
    """Share of rows whose highest score is the true class; ``[N, C]`` and ``[N]``."""
    return float((scores.argmax(axis=1) == truth).mean())


def confusion(
    predicted: NDArray[np.integer], truth: NDArray[np.integer], classes: int
) -> NDArray[np.int64]:
    """``int64[C, C]``: rows are the truth, columns what was said."""
    counts = np.bincount(truth * classes + predicted, minlength=classes * classes)
    return counts.reshape(classes, classes).astype(np.int64)


def recall(matrix: NDArray[np.int64]) -> Floats:
    """Per class, of a confusion matrix; NaN where the class has no rows."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.diag(matrix) / matrix.sum(axis=1))


def precision(matrix: NDArray[np.int64]) -> Floats:
    """Per class, of a confusion matrix; NaN where the class was never said."""
    with np.errstate(invalid="ignore"):
        return np.asarray(np.diag(matrix) / matrix.sum(axis=0))


def macro_recall(predicted: NDArray[np.integer], truth: NDArray[np.integer], classes: int) -> float:
    """Mean recall of the classes that have rows ("balanced accuracy")."""
    return float(np.nanmean(recall(confusion(predicted, truth, classes))))


def frequent_recall(matrix: NDArray[np.int64]) -> float | None:
    """Mean recall of the classes with ``MIN_CLASS_ROWS`` or more; None where there is none.

    A class of a dozen rows moves the macro recall by a point for each picture.
    """
    frequent = matrix.sum(axis=1) >= MIN_CLASS_ROWS
    return float(recall(matrix)[frequent].mean()) if frequent.any() else None


def macro_f1(matrix: NDArray[np.int64]) -> float:
    """Mean F1 of the classes that have rows; a class never said rightly counts 0."""
    hits = np.diag(matrix).astype(np.float64)
    rows, columns = matrix.sum(axis=1), matrix.sum(axis=0)
    present = rows > 0
    return float((2 * hits[present] / (rows + columns)[present]).mean())


def expected_calibration_error(
    probabilities: NDArray[np.floating], truth: NDArray[np.integer], bins: int = 15
) -> float:
    """ECE with equal-width bins of the top probability (Guo et al., arXiv:1706.04599)."""
    top = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == truth
    which = np.minimum((top * bins).astype(int), bins - 1)
    gap = 0.0
    for b in range(bins):
        inside = which == b
        if inside.any():
            gap += inside.mean() * abs(float(right[inside].mean()) - float(top[inside].mean()))
    return float(gap)
