"""Two models asked about the same faces under every corruption, and what the runtime makes of it.

The sets of pictures are those of ``edge-fer evaluate --robustness``, so that the figures of one
model alone are that command's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.classifier import Classifier
from edge_fer.contract import InputSpec
from edge_fer.evaluation.corruptions import ANY_STRENGTH, CORRUPTIONS
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.evaluation.drop import AccuracyDrop, measure_drop
from edge_fer.evaluation.metrics import MIN_CLASS_ROWS
from edge_fer.evaluation.robustness import (
    CLEAN,
    JITTER,
    NOISE,
    REPORT_SEED,
    SETS,
    Answers,
    Gathering,
    Kept,
    Robustness,
    Shown,
    shown_sets,
)
from edge_fer.gate import QualityGate
from edge_fer.preprocess import fit
from edge_fer.types import Image

__all__ = ["LEAST_RIGHT", "Condition", "Spoilt", "ask_both"]

LEAST_RIGHT = 0.6
"""Where fewer of the given names are right, they mislead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One set of spoilt faces, or the faces as they are; fractions 0 to 1.

    Attributes:
        name, strength: as in :class:`edge_fer.evaluation.robustness.Shown`.
        drop: float beside int8, whether they are named or not.
        reference, quantised: what each names, by the threshold of its own contract.
        refused: share that the quality gate refuses for the light or the sharpness of the crop;
            None where it is off, or the contract has no ranges to judge by.
        answered: what the int8 model names past both, gate and threshold.
        mistaken_for: the label that most of the wrong ones among these are given; None where none
            is wrong.
    """

    name: str
    strength: int
    drop: AccuracyDrop
    reference: Kept
    quantised: Kept
    refused: float | None
    answered: Kept
    mistaken_for: str | None

    @property
    def few(self) -> bool:
        """Whether fewer than 50 rows get a name: too few to say how many of the names are right."""
        return round(self.answered.coverage * self.answered.n) < MIN_CLASS_ROWS

    @property
    def misleads(self) -> bool:
        """Whether enough rows get a name, and fewer than 60 % of the names are right."""
        right = self.answered.accuracy
        return not self.few and right is not None and right < LEAST_RIGHT

    def to_json(self, max_drop: float) -> dict[str, Any]:
        """Fractions, and ``*_points``; the verdict is by ``max_drop``, in points."""
        drop = self.drop
        return {
            "n": drop.n,
            "reference_accuracy": drop.reference.accuracy,
            "quantised_accuracy": drop.quantised.accuracy,
            "drop_points": drop.drop_points,
            "ci95_points": list(drop.ci95_points),
            "mcnemar_p": drop.mcnemar_p,
            "agreement": drop.agreement,
            "verdict": drop.verdict(max_drop),
            "refused_by_gate": self.refused,
            "answered": {"share": self.answered.coverage, "accuracy": self.answered.accuracy},
            "mistaken_for": self.mistaken_for,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoilt:
    """All conditions.

    Attributes:
        clean: the faces as they are.
        corrupted: by name, one for each of ``STRENGTHS``.
        reference, quantised: each model alone, as ``edge-fer evaluate --robustness`` has it.
        noise_refused: share of the pictures of noise that the gate refuses; None as in
            :class:`Condition`.
        noise_answered: share of them that the int8 model names past the gate.
        same_pixels: whether both models take the same pixels; else each was shown the corruptions
            through its own preprocessing.
    """

    clean: Condition
    corrupted: dict[str, tuple[Condition, ...]]
    reference: Robustness
    quantised: Robustness
    noise_refused: float | None
    noise_answered: float
    same_pixels: bool

    @property
    def distinct(self) -> dict[str, tuple[Condition, ...]]:
        """Of ``corrupted``: one alone where the strength makes no difference."""
        return {
            name: each[:1] if name in ANY_STRENGTH else each
            for name, each in self.corrupted.items()
        }

    def each(self) -> Iterator[Condition]:
        """The faces as they are, then every distinct one."""
        yield self.clean
        for conditions in self.distinct.values():
            yield from conditions

    def loses(self, condition: Condition, limit: float) -> bool:
        """Whether int8 clearly loses more than the limit, in points, among all that is shown."""
        return condition.drop.clearly_beyond(limit, len(list(self.each())))


def ask_both(
    quantised: Classifier,
    reference: Classifier,
    faces: LabelledFaces,
    *,
    gate: bool,
    on_progress: Callable[[float, float], None] = lambda done, total: None,
) -> Spoilt:
    """Show both models all sets of pictures.

    Args:
        quantised: the model whose runtime and gate are asked.
        reference: its float twin.
        faces: at least one row, in the labels of both.
        gate: whether the runtime asks its quality gate.
        on_progress: told how many sets are done, each model counting, and how many there are.
    """
    ours, theirs = quantised.contract.input, reference.contract.input
    same = _pixels_of(ours) == _pixels_of(theirs)
    asked = _Asked(quantised, reference, faces, gate=gate)
    others = None if same else _sets(faces, theirs)
    for done, shown in enumerate(_sets(faces, ours)):
        on_progress(2 * done, 2 * SETS)
        other = shown if others is None else next(others)
        before = _probabilities(reference, other.pixels, faces.labels)
        on_progress(2 * done + 1, 2 * SETS)
        asked.add(shown, before, _probabilities(quantised, shown.pixels, faces.labels))
    on_progress(2 * SETS, 2 * SETS)
    return asked.together(same)


def _probabilities(
    classifier: Classifier, pixels: Image, labels: tuple[str, ...]
) -> NDArray[np.float64]:
    """``float64[N, C]``, in the order of the rows' labels: a contract may have another."""
    return classifier.probabilities(pixels)[:, [classifier.labels.index(name) for name in labels]]


def _pixels_of(spec: InputSpec) -> InputSpec:
    """What decides which pixels a model is given: all but how it turns them into numbers."""
    return spec.model_copy(update={"scale": (), "offset": ()})


def _sets(faces: LabelledFaces, spec: InputSpec) -> Iterator[Shown]:
    return shown_sets(np.stack([fit(image, spec) for image in faces.images]), spec, REPORT_SEED)


class _Asked:
    """What was said so far."""

    def __init__(
        self, quantised: Classifier, reference: Classifier, faces: LabelledFaces, *, gate: bool
    ) -> None:
        self._faces = faces
        self._thresholds = [
            model.contract.output.min_probability for model in (reference, quantised)
        ]
        ranges = quantised.contract.quality
        self._gate = QualityGate(ranges) if gate and ranges is not None else None
        self._each = [Gathering(faces.truth) for _ in range(2)]
        self._conditions: list[Condition] = []
        self._noise: tuple[float | None, float] = (None, 0.0)

    def add(self, shown: Shown, before: NDArray[np.float64], after: NDArray[np.float64]) -> None:
        """Probabilities ``float64[N, C]`` of the reference and of the quantised model."""
        for gathering, p in zip(self._each, (before, after), strict=True):
            gathering.add(shown, p)
        if shown.name == NOISE:
            refused, past = self._past(shown.pixels, after)
            self._noise = refused, float(past.mean())
        elif shown.name != JITTER:
            self._conditions.append(self._condition(shown, before, after))

    def together(self, same_pixels: bool) -> Spoilt:
        """All of it."""
        clean = next(c for c in self._conditions if c.name == CLEAN)
        reference, quantised = (
            gathering.conditions().at(threshold)
            for gathering, threshold in zip(self._each, self._thresholds, strict=True)
        )
        return Spoilt(
            clean=clean,
            corrupted={
                name: tuple(c for c in self._conditions if c.name == name) for name in CORRUPTIONS
            },
            reference=reference,
            quantised=quantised,
            noise_refused=self._noise[0],
            noise_answered=self._noise[1],
            same_pixels=same_pixels,
        )

    def _condition(
        self, shown: Shown, before: NDArray[np.float64], after: NDArray[np.float64]
    ) -> Condition:
        truth, labels = self._faces.truth, self._faces.labels
        kept = [
            Answers(p.max(axis=1), p.argmax(axis=1) == truth).at(threshold)
            for p, threshold in zip((before, after), self._thresholds, strict=True)
        ]
        refused, past = self._past(shown.pixels, after)
        said = after.argmax(axis=1)
        wrong = np.bincount(said[past & (said != truth)], minlength=len(labels))
        return Condition(
            name=shown.name,
            strength=shown.strength,
            drop=measure_drop(before, after, truth, labels),
            reference=kept[0],
            quantised=kept[1],
            refused=refused,
            answered=Kept(
                n=len(truth),
                coverage=float(past.mean()),
                accuracy=float((said == truth)[past].mean()) if past.any() else None,
            ),
            mistaken_for=labels[int(wrong.argmax())] if wrong.any() else None,
        )

    def _past(
        self, pixels: Image, after: NDArray[np.float64]
    ) -> tuple[float | None, NDArray[np.bool_]]:
        """Share that the gate refuses, and ``bool[N]`` what gets past it and the threshold."""
        sure = after.max(axis=1) >= self._thresholds[1]
        if self._gate is None:
            return None, sure
        clear = np.array([self._gate.spoilt(one) is None for one in pixels], bool)
        return float((~clear).mean()), sure & clear
