"""When a model should say ``unknown``: the threshold, chosen on validation rows, and what it costs.

The rule that the runtime knows is Chow's ("On optimum recognition error and reject tradeoff", IEEE
Transactions on Information Theory 16(1), 1970): no answer where the highest probability is below
a threshold. What it gains is read off a risk-coverage curve (El-Yaniv and Wiener, JMLR 11, 2010).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edge_fer import quality
from edge_fer.contract import InputSpec, QualityRange, QualityRanges
from edge_fer.errors import DataError
from edge_fer.evaluation.corruptions import CORRUPTIONS, STRENGTHS, corrupt, noise
from edge_fer.types import Image
from edge_fer_train.robustness import Probabilities, jitter_loss_points

__all__ = [
    "AIM",
    "HARD",
    "MUST",
    "Kept",
    "Rejection",
    "Target",
    "choose_unknown",
    "quality_ranges",
]

HARD = ("covered_mouth", "dark_glasses", "dark_noise", "turn_90")
"""The corruptions that a plain classifier answers with confidence, and wrongly."""

_CURVE = (*(round(0.05 * i, 2) for i in range(20)), 0.98, 0.99)
_STEP = 0.005
_NOISE = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a threshold should reach; fractions.

    ``coverage`` of clean rows at least, ``accuracy`` of what is kept under each of :data:`HARD` at
    least (its strengths together; nothing kept is nothing wrong), ``accepted`` noise and non-faces
    at most.
    """

    coverage: float
    accuracy: float
    accepted: float


AIM = Target(coverage=0.95, accuracy=0.90, accepted=0.01)
MUST = Target(coverage=0.90, accuracy=0.80, accepted=0.05)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Of ``n`` rows the share that is answered, and the accuracy of those; None where none is."""

    n: int
    coverage: float
    accuracy: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """The chosen threshold and what it does on validation rows.

    Attributes:
        min_probability: for the contract; below it the runtime says ``unknown``.
        met: what it reaches: ``aim``, ``must``, or only the ``coverage`` of the aim.
        clean: validation rows as they are.
        corrupted: by name, one for each of ``STRENGTHS``.
        pooled: by name, the strengths together.
        accepted_noise: share of generated pictures of nothing that get a name.
        accepted_non_faces: the same of real pictures without a face; None where none were given.
        curve: threshold and what is kept of the clean rows, thresholds ascending.
        jitter_loss_points: see :func:`edge_fer_train.robustness.jitter_loss_points`.
        aim, must: the targets.
    """

    min_probability: float
    met: Literal["aim", "must", "coverage"]
    clean: Kept
    corrupted: Mapping[str, tuple[Kept, ...]]
    pooled: Mapping[str, Kept]
    accepted_noise: float
    accepted_non_faces: float | None
    curve: tuple[tuple[float, Kept], ...]
    jitter_loss_points: float
    aim: Target = AIM
    must: Target = MUST

    def to_json(self) -> dict[str, Any]:
        """For the run record."""
        return {
            "min_probability": self.min_probability,
            "met": self.met,
            "aim": asdict(self.aim),
            "must": asdict(self.must),
            "clean": asdict(self.clean),
            "corrupted": {
                name: {
                    **{str(s): asdict(k) for s, k in zip(STRENGTHS, kept, strict=True)},
                    "all": asdict(self.pooled[name]),
                }
                for name, kept in self.corrupted.items()
            },
            "accepted_noise": self.accepted_noise,
            "accepted_non_faces": self.accepted_non_faces,
            "curve": [
                {"threshold": t, "coverage": k.coverage, "accuracy": k.accuracy}
                for t, k in self.curve
            ],
            "jitter_loss_points": self.jitter_loss_points,
        }


@dataclass(frozen=True, slots=True)
class _Answers:
    """The highest probability of each row, and whether its class is the true one."""

    top: NDArray[np.float64]
    right: NDArray[np.bool_]

    def at(self, threshold: float) -> Kept:
        kept = self.top >= threshold  # the runtime rejects below, not at
        accuracy = float(self.right[kept].mean()) if kept.any() else None
        return Kept(n=len(kept), coverage=float(kept.mean()), accuracy=accuracy)

    def highest(self, coverage: float) -> float:
        """The highest threshold, in thousandths, that keeps this share."""
        may_go = math.floor((1 - coverage) * len(self.top) + 1e-9)
        return math.floor(1000 * float(np.sort(self.top)[may_go])) / 1000


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
    if len(pixels) == 0 or len(pixels) != len(truth):
        raise DataError(
            f"The threshold for unknown cannot be chosen: there are {len(pixels)} validation "
            f"pictures and {len(truth)} labels.",
            "Give data with a validation split.",
        )
    total = 3 + len(CORRUPTIONS) * len(STRENGTHS)

    def answers(shown: Image) -> _Answers:
        p = probabilities(shown)
        return _Answers(p.max(axis=1), p.argmax(axis=1) == truth)

    clean = answers(pixels)
    on_step(1, total)
    by_name: dict[str, list[_Answers]] = {name: [] for name in CORRUPTIONS}
    for done, (name, shown) in enumerate(_corrupted(pixels, spec, seed), 2):
        by_name[name].append(answers(shown))
        on_step(done, total)
    pooled = {name: _together(each) for name, each in by_name.items()}
    nothing = probabilities(noise(_NOISE, spec, np.random.default_rng((seed, 1)))).max(axis=1)
    empty = [nothing]
    if non_faces is not None and len(non_faces):
        empty.append(probabilities(non_faces).max(axis=1))
    on_step(total - 1, total)
    threshold, met = _choose(clean, [pooled[name] for name in HARD], empty, aim, must)
    loss = jitter_loss_points(probabilities, pixels, truth, spec, seed=seed)
    on_step(total, total)
    return Rejection(
        min_probability=threshold,
        met=met,
        clean=clean.at(threshold),
        corrupted={n: tuple(a.at(threshold) for a in each) for n, each in by_name.items()},
        pooled={name: a.at(threshold) for name, a in pooled.items()},
        accepted_noise=float((nothing >= threshold).mean()),
        accepted_non_faces=float((empty[1] >= threshold).mean()) if len(empty) > 1 else None,
        curve=tuple((t, clean.at(t)) for t in _CURVE),
        jitter_loss_points=loss,
        aim=aim,
        must=must,
    )


def _choose(
    clean: _Answers,
    hard: Sequence[_Answers],
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


def _corrupted(pixels: Image, spec: InputSpec, seed: int) -> Iterator[tuple[str, Image]]:
    for name in CORRUPTIONS:
        for strength in STRENGTHS:
            # Seeded by name, so that a corruption more does not change the others.
            rng = np.random.default_rng((seed, zlib.crc32(name.encode()), strength))
            yield name, corrupt(name, strength, pixels, spec, rng)


def _together(each: Sequence[_Answers]) -> _Answers:
    return _Answers(np.concatenate([a.top for a in each]), np.concatenate([a.right for a in each]))


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
