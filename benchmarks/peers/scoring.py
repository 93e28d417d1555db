"""One entrant's figures on one labelled split, and how far the reference is ahead of it, paired."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.evaluation.data import LabelledFaces
from edge_fer.evaluation.drop import measure_drop, wilson
from edge_fer.evaluation.metrics import MIN_CLASS_ROWS, confusion, frequent_recall, recall

__all__ = ["columns", "judged_classes", "lacking", "score"]

Probabilities = NDArray[np.float64]


def columns(p: Probabilities, have: Sequence[str], wanted: Sequence[str]) -> Probabilities:
    """Probabilities in another order of classes, matched by name.

    Args:
        p: ``float64[N, len(have)]``.
        have: the classes of the columns, all of them among ``wanted``.
        wanted: the classes of the result.

    Returns:
        ``float64[N, len(wanted)]``, 0 for classes that the model does not know.
    """
    out = np.zeros((len(p), len(wanted)))
    out[:, [list(wanted).index(name) for name in have]] = p
    return out


def lacking(labels: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...]:
    """The classes of ``wanted`` that a model does not know."""
    return tuple(name for name in wanted if name not in labels)


def judged_classes(faces: LabelledFaces) -> tuple[str, ...]:
    """The classes with rows enough to be judged by."""
    rows = np.bincount(faces.truth, minlength=len(faces.labels))
    return tuple(name for name, n in zip(faces.labels, rows, strict=True) if n >= MIN_CLASS_ROWS)


def score(
    p: Probabilities, faces: LabelledFaces, reference: Probabilities | None
) -> dict[str, Any]:
    """The figures that a table shows; fractions 0 to 1, ``*_points`` in percentage points.

    Args:
        p: ``float64[N, C]`` in the order of ``faces.labels``.
        faces: the rows.
        reference: the same of the model that this one is compared with, or None.

    Returns:
        ``n``, ``accuracy`` and ``ci95`` (Wilson), ``clean`` (the same without pixel copies of
        Training rows; None where they cannot be told), ``macro_recall`` (classes with rows),
        ``mean_recall`` (classes with at least 50 rows; None where there are none), ``per_class``,
        and ``difference``: reference minus this on the clean rows, with paired interval.
    """
    said = p.argmax(axis=1)
    matrix = confusion(said, faces.truth, len(faces.labels))
    recalls, rows = recall(matrix), matrix.sum(axis=1)
    clean = faces.clean
    return {
        **_accuracy(said, faces.truth),
        "clean": None if clean is None else _accuracy(said[clean], faces.truth[clean]),
        "macro_recall": float(np.nanmean(recalls)),
        "mean_recall": frequent_recall(matrix),
        "per_class": {
            name: {"n": int(n), "recall": float(r) if n else None}
            for name, n, r in zip(faces.labels, rows, recalls, strict=True)
        },
        "difference": None
        if reference is None or clean is None
        else _difference(reference[clean], p[clean], faces.truth[clean], faces.labels),
    }


def _accuracy(said: NDArray[np.int64], truth: NDArray[np.int64]) -> dict[str, Any]:
    hits, n = int((said == truth).sum()), len(truth)
    return {"n": n, "accuracy": hits / n, "ci95": list(wilson(hits, n))}


def _difference(
    reference: Probabilities, p: Probabilities, truth: NDArray[np.int64], labels: tuple[str, ...]
) -> dict[str, Any]:
    drop = measure_drop(reference, p, truth, labels)
    return {
        "n": drop.n,
        "points": drop.drop_points,
        "ci95_points": list(drop.ci95_points),
        "mcnemar_p": drop.mcnemar_p,
    }
