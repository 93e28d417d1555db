"""When a model should say ``unknown``: the threshold, chosen on validation rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_fer import quality
from edge_fer.contract import InputSpec, QualityRange, QualityRanges
from edge_fer.errors import DataError
from edge_fer.evaluation.robustness import HARD, Answers, Kept, Probabilities, Robustness, measure
from edge_fer.types import Image

__all__ = ["AIM", "MUST", "Rejection", "Target", "choose_unknown", "quality_ranges"]

_CURVE = (*(round(0.05 * i, 2) for i in range(20)), 0.98, 0.99)
_STEP = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a threshold should reach; fractions.

    ``coverage`` of clean rows at least, ``accuracy`` of what is kept under each corruption of
    :data:`edge_fer.evaluation.robustness.HARD` at least (its strengths together; nothing kept is
    nothing wrong), ``accepted`` noise and non-faces at most.
    """

    coverage: float
    accuracy: float
    accepted: float


AIM = Target(coverage=0.95, accuracy=0.90, accepted=0.01)
MUST = Target(coverage=0.90, accuracy=0.80, accepted=0.05)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """The chosen threshold and what it does on validation rows.

    Attributes:
        met: what it reaches: ``aim``, ``must``, or only the ``coverage`` of the aim.
        robustness: the threshold, and what it does.
        curve: threshold and what is kept of the clean rows, thresholds ascending.
        aim, must: the targets.
    """

    met: Literal["aim", "must", "coverage"]
    robustness: Robustness
    curve: tuple[tuple[float, Kept], ...]
    aim: Target = AIM
    must: Target = MUST

    @property
    def min_probability(self) -> float:
        """For the contract; below it the runtime says ``unknown``."""
        return self.robustness.min_probability

    def to_json(self) -> dict[str, Any]:
        """For the run record."""
        return {
            "met": self.met,
            "aim": asdict(self.aim),
            "must": asdict(self.must),
            **self.robustness.to_json(),
            "curve": [
                {"threshold": t, "coverage": k.coverage, "accuracy": k.accuracy}
                for t, k in self.curve
            ],
        }


def choose_unknown(
    probabilities: Probabilities,
    pixels: Image,
    truth: NDArray[np.int64],
    spec: InputSpec,
    *,
    seed: int,
    non_faces: Image | None = None,
    aim: Target = AIM,
    must: Target = MUST,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> Rejection:
    """Choose ``min_probability`` on validation rows and measure what it does.

    The rule, on thresholds 0.005 apart: the smallest that reaches the aim, because a higher one
    only gives up more faces. Where none does, the smallest that reaches the must, from the highest
    that has the aim's coverage upwards. Where none does, that one: no face more is given up for
    what would not be enough anyway.

    Args:
        probabilities: the model at its final temperature.
        pixels: ``uint8[N, h, w, c]`` validation rows as the model sees them.
        truth: ``int64[N]``.
        spec: the model's input.
        seed: of corruptions and noise.
        non_faces: ``uint8[M, h, w, c]`` crops without a face that the model was not trained on.
        aim: what to reach.
        must: what to reach at least.
        on_step: told how many sets of pictures are done, and of how many.

    Raises:
        DataError: no rows, or not one truth for each.
    """
    found = measure(
        probabilities, pixels, truth, spec, seed=seed, non_faces=non_faces, on_step=on_step
    )
    pooled = found.pooled
    empty = [top for top in (found.nothing, found.non_faces) if top is not None]
    threshold, met = _choose(found.clean, [pooled[name] for name in HARD], empty, aim, must)
    return Rejection(
        met=met,
        robustness=found.at(threshold),
        curve=tuple((t, found.clean.at(t)) for t in _CURVE),
        aim=aim,
        must=must,
    )


def _choose(
    clean: Answers,
    hard: Sequence[Answers],
    empty: Sequence[NDArray[np.float64]],
    aim: Target,
    must: Target,
) -> tuple[float, Literal["aim", "must", "coverage"]]:
    def reached(threshold: float, target: Target) -> bool:
        accuracies = (answers.at(threshold).accuracy for answers in hard)
        return all(a is None or a >= target.accuracy for a in accuracies) and all(
            float((top >= threshold).mean()) <= target.accepted for top in empty
        )

    def smallest(target: Target, low: float) -> float | None:
        high = clean.highest(target.coverage)
        grid = [round(_STEP * i, 3) for i in range(round(1 / _STEP) + 1)]
        tried = [low, *(t for t in grid if low < t < high), *([high] if high > low else [])]
        return next((t for t in tried if reached(t, target)), None)

    if (found := smallest(aim, 0.0)) is not None:
        return found, "aim"
    usual = clean.highest(aim.coverage)
    if (found := smallest(must, usual)) is not None:
        return found, "must"
    return usual, "coverage"


def quality_ranges(pixels: Image) -> QualityRanges:
    """Percentiles of :func:`edge_fer.quality.measure` over ``uint8[N, h, w, c]``, for the contract.

    Rounded to what a gate can tell apart, because they travel in a file of kilobytes.

    Raises:
        DataError: no pictures, or too small ones.
    """
    if len(pixels) == 0:
        raise DataError(
            "There are no pictures to measure the quality of.", "Give data with a validation split."
        )
    found = [quality.measure(face) for face in pixels]

    def percentiles(name: str, digits: int) -> QualityRange:
        low, middle, high = np.percentile([getattr(q, name) for q in found], [1, 50, 99])
        return QualityRange(
            p1=round(float(low), digits),
            p50=round(float(middle), digits),
            p99=round(float(high), digits),
        )

    return QualityRanges(
        n=len(found),
        brightness=percentiles("brightness", 1),
        contrast=percentiles("contrast", 1),
        sharpness=percentiles("sharpness", 3),
        noise=percentiles("noise", 2),
    )
