"""One classifier on one labelled split: the figures of ``edge-fer evaluate``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.classifier import Classifier
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.evaluation.drop import wilson
from edge_fer.evaluation.metrics import (
    confusion,
    expected_calibration_error,
    frequent_recall,
    macro_f1,
    precision,
    recall,
    top1,
)
from edge_fer.preprocess import fit
from edge_fer.types import UNKNOWN

__all__ = ["Evaluation", "evaluate", "probabilities_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What the model said of every row, and what was true.

    Attributes:
        faces: the rows.
        probabilities: ``float64[N, C]``.
        accepted: ``bool[N]``, not what the runtime would have called unknown; top-1 is scored
            without it.
    """

    faces: LabelledFaces
    probabilities: NDArray[np.float64]
    accepted: NDArray[np.bool_]

    @property
    def matrix(self) -> NDArray[np.int64]:
        """Confusion, ``int64[C, C]``, rows are the truth."""
        said = self.probabilities.argmax(axis=1)
        return confusion(said, self.faces.truth, len(self.faces.labels))

    def to_json(self, model_path: str, model_sha256: str) -> dict[str, Any]:
        """The document ``edge-fer/evaluate/1``."""
        faces, p, matrix = self.faces, self.probabilities, self.matrix
        hits = int(np.trace(matrix))
        return {
            "schema": "edge-fer/evaluate/1",
            "model": {"path": model_path, "sha256": model_sha256},
            "data": {
                "path": faces.path,
                "sha256": faces.sha256,
                "split": faces.split,
                "n": len(faces),
                "left_out": list(faces.left_out),
                "skipped": [list(entry) for entry in faces.skipped],
            },
            "labels": list(faces.labels),
            "accuracy": hits / len(faces),
            "ci95": list(wilson(hits, len(faces))),
            "macro_recall": float(np.nanmean(recall(matrix))),
            "macro_recall_n50": frequent_recall(matrix),
            "macro_f1": macro_f1(matrix),
            "ece": expected_calibration_error(p, faces.truth),
            "clean": self._clean(),
            "unknown_rate": float((~self.accepted).mean()),
            "accepted": self._accepted(),
            "per_class": self._per_class(matrix),
            "confusion": matrix.tolist(),
        }

    def _clean(self) -> dict[str, Any] | None:
        kept = self.faces.clean
        if kept is None:
            return None
        return {
            "n": int(kept.sum()),
            "accuracy": top1(self.probabilities[kept], self.faces.truth[kept]),
        }

    def _accepted(self) -> dict[str, float | None]:
        kept = self.accepted
        right = top1(self.probabilities[kept], self.faces.truth[kept]) if kept.any() else None
        return {"coverage": float(kept.mean()), "accuracy": right}

    def _per_class(self, matrix: NDArray[np.int64]) -> dict[str, dict[str, float | int | None]]:
        recalls, precisions, rows = recall(matrix), precision(matrix), matrix.sum(axis=1)
        out: dict[str, dict[str, float | int | None]] = {}
        for i, label in enumerate(self.faces.labels):
            said = int(matrix[:, i].sum())
            f1 = 2 * int(matrix[i, i]) / (int(rows[i]) + said) if rows[i] else None
            out[label] = {
                "n": int(rows[i]),
                "recall": _finite(recalls[i]),
                "precision": _finite(precisions[i]),
                "f1": f1,
            }
        return out


def probabilities_of(
    classifier: Classifier,
    faces: LabelledFaces,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> NDArray[np.float64]:
    """``float64[N, C]`` of every row, through the shared preprocess and the deployed runtime.

    Args:
        classifier: the model.
        faces: the rows.
        on_step: called with rows done and rows in all.
    """
    spec = classifier.contract.input
    parts = []
    for start in range(0, len(faces), 64):
        pixels = np.stack([fit(image, spec) for image in faces.images[start : start + 64]])
        parts.append(classifier.probabilities(pixels))
        on_step(min(start + 64, len(faces)), len(faces))
    return np.concatenate(parts)


def evaluate(
    classifier: Classifier,
    faces: LabelledFaces,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Run the model over a split; ``faces.labels`` must be the model's."""
    p = probabilities_of(classifier, faces, on_step)
    accepted = np.array([classifier.expression(row).label != UNKNOWN for row in p], bool)
    return Evaluation(faces=faces, probabilities=p, accepted=accepted)


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
