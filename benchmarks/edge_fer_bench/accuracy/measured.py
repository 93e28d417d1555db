"""What quantisation cost, measured here: float reference and quantised model on identical crops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.classifier import Classifier
from edge_fer.errors import ConfigError
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.evaluation.drop import AccuracyDrop, Verdict, measure_drop
from edge_fer.evaluation.evaluate import probabilities_of
from edge_fer.evaluation.metrics import confusion, top1
from edge_fer.modelfile import ModelFile, read_model
from edge_fer.models import find, shipped
from edge_fer.types import UNKNOWN
from edge_fer_bench.accuracy.diagnosis import diagnose
from edge_fer_bench.limits import MAX_CLASS_DROP, MAX_DROP

__all__ = [
    "CleanRows",
    "MeasuredAccuracy",
    "check_comparable",
    "find_reference",
    "measure_accuracy",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CleanRows:
    """The same without rows that are pixel copies of Training rows; fractions 0 to 1."""

    n: int
    reference_accuracy: float
    quantised_accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredAccuracy:
    """The comparison, and the limits that it is judged by, in percentage points.

    Attributes:
        faces: the rows.
        drop: all figures.
        clean: see :class:`CleanRows`; None where copies cannot be told.
        reference: the float model's name.
        reference_is_parent: whether the quantised model's contract names this very file as the
            one that it was made from; None where it names none.
        max_drop, max_class_drop: the limits.
        before, after: ``float64[N, C]``, what the reference and the quantised model said.
        coverage: share of the rows that each of the two would have named, and not called unknown.
        suspicions: what looks wrong in one of the contracts, in sentences.
    """

    faces: LabelledFaces
    drop: AccuracyDrop
    clean: CleanRows | None
    reference: str
    reference_sha256: str
    reference_is_parent: bool | None
    max_drop: float
    max_class_drop: float
    before: NDArray[np.float64]
    after: NDArray[np.float64]
    coverage: tuple[float, float] = (1.0, 1.0)
    suspicions: tuple[str, ...] = ()

    @property
    def matrices(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Confusion of the reference and of the quantised model, ``int64[C, C]``; rows: truth."""
        truth, labels = self.faces.truth, self.faces.labels
        before, after = (
            confusion(said.argmax(axis=1), truth, len(labels)) for said in (self.before, self.after)
        )
        return before, after

    @property
    def classes_over(self) -> list[str]:
        """Labels that lost more than ``max_class_drop``, by the rule of ``AccuracyDrop``."""
        return self.drop.classes_over(self.max_class_drop)

    @property
    def verdict(self) -> Verdict:
        """``fail`` also when a single class lost too much."""
        return "fail" if self.classes_over else self.drop.verdict(self.max_drop)

    @property
    def rows_to_decide(self) -> int | None:
        """About how many rows would tell this drop from the limit; None where they are equal."""
        return self.drop.rows_to_decide(self.max_drop)

    def to_json(self) -> dict[str, Any]:
        """The field ``accuracy``."""
        faces = self.faces
        clean = self.clean
        return {
            "data": faces.path,
            "data_sha256": faces.sha256,
            "split": faces.split,
            **self.drop.to_json(),
            "verdict": self.verdict,
            "max_drop_points": self.max_drop,
            "max_class_drop_points": self.max_class_drop,
            "classes_over": self.classes_over,
            "left_out": list(faces.left_out),
            "labels": list(faces.labels),
            "confusion": {
                name: matrix.tolist()
                for name, matrix in zip(("reference", "quantised"), self.matrices, strict=True)
            },
            "suspicions": list(self.suspicions),
            "coverage": dict(zip(("reference", "quantised"), self.coverage, strict=True)),
            "clean": None
            if clean is None
            else {
                "n": clean.n,
                "reference_accuracy": clean.reference_accuracy,
                "quantised_accuracy": clean.quantised_accuracy,
            },
            "reference_model": {
                "name": self.reference,
                "sha256": self.reference_sha256,
                "is_parent": self.reference_is_parent,
            },
        }


def find_reference(model: str, stated: str | None) -> str:
    """The float twin of a model: what was stated, ``NAME.float``, or OUT.float.tflite beside it.

    Raises:
        ConfigError: the model is a float one itself, or its twin is not to be found.
        ModelError: the model cannot be read.
    """
    _check_quantised(read_model(find(model)))
    if stated is not None:
        return stated
    if f"{model}.float" in shipped():
        return f"{model}.float"
    path = find(model)
    twin = path.with_name(path.name.removesuffix(".tflite") + ".float.tflite")
    if not twin.exists():
        raise ConfigError(
            f"To measure a drop, {model} needs the float model that it was made from; "
            f"there is no {twin}.",
            "Name it with --reference FLOAT.tflite.",
        )
    return str(twin)


def measure_accuracy(
    quantised: Classifier,
    reference: Classifier,
    faces: LabelledFaces,
    *,
    max_drop: float = MAX_DROP,
    max_class_drop: float = MAX_CLASS_DROP,
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> MeasuredAccuracy:
    """Run both models over the rows, each through the preprocessing of its own contract.

    Args:
        quantised: the model that is benchmarked.
        reference: its float twin.
        faces: rows in the labels of both.
        max_drop: limit of the drop over all rows, points.
        max_class_drop: limit for one class, points.
        on_progress: told how many of how many inferences are done.

    Raises:
        ConfigError: the two models cannot be compared.
    """
    check_comparable(quantised.model, reference.model)
    rows = len(faces)
    before = probabilities_of(reference, faces, lambda done, _: on_progress(done, 2 * rows))
    before = before[:, [reference.labels.index(label) for label in faces.labels]]
    after = probabilities_of(quantised, faces, lambda done, _: on_progress(rows + done, 2 * rows))
    parent = quantised.contract.quantisation.parent_sha256
    clean = None
    kept = faces.clean
    if kept is not None:
        clean = CleanRows(
            n=int(kept.sum()),
            reference_accuracy=top1(before[kept], faces.truth[kept]),
            quantised_accuracy=top1(after[kept], faces.truth[kept]),
        )
    return MeasuredAccuracy(
        faces=faces,
        drop=measure_drop(before, after, faces.truth, faces.labels),
        clean=clean,
        reference=reference.model.name,
        reference_sha256=reference.model.sha256,
        reference_is_parent=None if parent is None else parent == reference.model.flatbuffer_sha256,
        max_drop=max_drop,
        max_class_drop=max_class_drop,
        before=before,
        after=after,
        coverage=(_named(reference, before), _named(quantised, after)),
        suspicions=diagnose(quantised, reference, faces, before, after),
    )


def _named(classifier: Classifier, said: NDArray[np.float64]) -> float:
    """Share of the rows whose best probability the contract lets pass, as ``evaluate`` counts."""
    return float(np.mean([classifier.expression(row).label != UNKNOWN for row in said]))


def check_comparable(quantised: ModelFile, reference: ModelFile) -> None:
    """Refuse two models between which there is no drop to measure.

    Raises:
        ConfigError: no int8 model, no float reference, or different labels or input sizes.
    """
    _check_quantised(quantised)
    if reference.contract.quantisation.scheme != "float32":
        raise ConfigError(f"The reference {reference.path} is no float model.", _REMEDY)
    ours, theirs = quantised.contract.labels, reference.contract.labels
    # In another order they can be compared, and one of the two may well be wrong.
    if set(ours) != set(theirs):
        raise ConfigError(
            f"The reference {reference.path} has the labels {', '.join(theirs)}; "
            f"{quantised.path} has {', '.join(ours)}.",
            _REMEDY,
        )
    sizes = [(m.contract.input.height, m.contract.input.width) for m in (quantised, reference)]
    if sizes[0] != sizes[1]:
        raise ConfigError(
            f"The reference {reference.path} takes faces of {sizes[1][1]}x{sizes[1][0]} pixels and "
            f"{quantised.path} of {sizes[0][1]}x{sizes[0][0]}: it is not what that was made from.",
            _REMEDY,
        )


def _check_quantised(model: ModelFile) -> None:
    if model.contract.quantisation.scheme == "float32":
        raise ConfigError(
            f"{model.path} is a float model, so there is no drop to measure.",
            "Benchmark the int8 file, or score this one with: edge-fer evaluate",
        )


_REMEDY = "Name the float file that the int8 one was made from with --reference."
