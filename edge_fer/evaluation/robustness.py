"""What a classifier says of spoilt faces and of no faces, and how much of it the runtime lets by.

The answers are kept apart from the threshold for ``unknown``, so that training can choose one and
``edge-fer evaluate --robustness`` can show what the chosen one does. Reject below a threshold
is Chow's rule (IEEE Transactions on Information Theory 16(1), 1970); coverage and the accuracy of
what is kept are El-Yaniv and Wiener's (JMLR 11, 2010).
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.contract import InputSpec
from edge_fer.errors import DataError
from edge_fer.evaluation.corruptions import CORRUPTIONS, STRENGTHS, corrupt, noise
from edge_fer.preprocess import displaced
from edge_fer.types import Image

__all__ = [
    "CLEAN",
    "HARD",
    "JITTER",
    "NOISE",
    "REPORT_SEED",
    "SETS",
    "Answers",
    "Conditions",
    "Gathering",
    "Kept",
    "Probabilities",
    "Robustness",
    "Shown",
    "jittered",
    "measure",
    "shown_sets",
]

Probabilities = Callable[[Image], NDArray[np.float64]]
"""``uint8[N, h, w, c]`` to ``float64[N, C]``, softmax at the temperature of the contract."""

HARD = ("covered_mouth", "dark_glasses", "dark_noise", "turn_90")
"""The corruptions that a plain classifier answers with confidence, and wrongly."""

REPORT_SEED = 1001
"""Of what is reported: not the corruptions and noise that training chose the threshold on."""

CLEAN, NOISE, JITTER = "clean", "noise", "jitter"
"""Names of sets beside those of the corruptions: the rows as they are, no faces, shaken crops."""

_NOISE = 2000
_DRAWS = 3

SETS = 1 + len(CORRUPTIONS) * len(STRENGTHS) + 1 + _DRAWS
"""How many :func:`shown_sets` gives."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """Of ``n`` rows the share that is answered, and the accuracy of those; None where none is."""

    n: int
    coverage: float
    accuracy: float | None


@dataclass(frozen=True, slots=True)
class Answers:
    """The highest probability of each row, and whether its class is the true one."""

    top: NDArray[np.float64]
    right: NDArray[np.bool_]

    def at(self, threshold: float) -> Kept:
        """What is kept by a threshold; the runtime rejects below it, not at it."""
        kept = self.top >= threshold
        accuracy = float(self.right[kept].mean()) if kept.any() else None
        return Kept(n=len(kept), coverage=float(kept.mean()), accuracy=accuracy)

    def highest(self, coverage: float) -> float:
        """The highest threshold, in thousandths, that keeps this share."""
        may_go = math.floor((1 - coverage) * len(self.top) + 1e-9)
        return math.floor(1000 * float(np.sort(self.top)[may_go])) / 1000

    @classmethod
    def together(cls, each: Sequence[Answers]) -> Answers:
        """All rows of several."""
        return cls(np.concatenate([a.top for a in each]), np.concatenate([a.right for a in each]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Robustness:
    """What one threshold does.

    Attributes:
        min_probability: the threshold.
        clean: rows as they are.
        corrupted: by name, one for each of ``STRENGTHS``.
        pooled: by name, the strengths together.
        accepted_noise: share of generated pictures of nothing that get a name.
        accepted_non_faces: the same of real pictures without a face; None where none were given.
        jitter_loss_points: top-1 accuracy that :func:`jittered` faces lose, mean of 3 draws.
    """

    min_probability: float
    clean: Kept
    corrupted: Mapping[str, tuple[Kept, ...]]
    pooled: Mapping[str, Kept]
    accepted_noise: float
    accepted_non_faces: float | None
    jitter_loss_points: float

    def to_json(self) -> dict[str, Any]:
        """Fractions; ``corrupted`` by name, then strength, then ``all``."""
        return {
            "min_probability": self.min_probability,
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
            "jitter_loss_points": self.jitter_loss_points,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """All answers, before any threshold.

    Attributes:
        clean: to the rows as they are.
        corrupted: by name, one for each of ``STRENGTHS``.
        nothing: highest probability for each picture of noise.
        non_faces: the same for crops without a face, or None.
        jitter_loss_points: top-1 accuracy that :func:`jittered` faces lose, mean of 3 draws.
    """

    clean: Answers
    corrupted: Mapping[str, tuple[Answers, ...]]
    nothing: NDArray[np.float64]
    non_faces: NDArray[np.float64] | None
    jitter_loss_points: float

    @property
    def pooled(self) -> dict[str, Answers]:
        """By name, the strengths together."""
        return {name: Answers.together(each) for name, each in self.corrupted.items()}

    def at(self, threshold: float) -> Robustness:
        """What a threshold does to them."""
        empty = self.non_faces
        return Robustness(
            min_probability=threshold,
            clean=self.clean.at(threshold),
            corrupted={n: tuple(a.at(threshold) for a in e) for n, e in self.corrupted.items()},
            pooled={name: a.at(threshold) for name, a in self.pooled.items()},
            accepted_noise=float((self.nothing >= threshold).mean()),
            accepted_non_faces=None if empty is None else float((empty >= threshold).mean()),
            jitter_loss_points=self.jitter_loss_points,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """One set of pictures that models are asked about.

    Attributes:
        name: a key of ``CORRUPTIONS``, or ``CLEAN``, ``NOISE`` or ``JITTER``.
        strength: of the corruption; of ``JITTER`` the number of the draw; 0 of the others.
        pixels: ``uint8[N, h, w, c]``; row by row the faces, but of ``NOISE``.
    """

    name: str
    strength: int
    pixels: Image


def shown_sets(pixels: Image, spec: InputSpec, seed: int) -> Iterator[Shown]:
    """The faces as they are, under every corruption, no faces, and the faces shaken, one by one.

    Args:
        pixels: ``uint8[N, h, w, c]`` faces as the model sees them.
        spec: the model's input.
        seed: the same one shows the same pictures.
    """
    yield Shown(name=CLEAN, strength=0, pixels=pixels)
    for name in CORRUPTIONS:
        for strength in STRENGTHS:
            # Seeded by name, so that a corruption more does not change the others.
            rng = np.random.default_rng((seed, zlib.crc32(name.encode()), strength))
            spoilt = corrupt(name, strength, pixels, spec, rng)
            yield Shown(name=name, strength=strength, pixels=spoilt)
    nothing = noise(_NOISE, spec, np.random.default_rng((seed, 1)))
    yield Shown(name=NOISE, strength=0, pixels=nothing)
    for draw, shaken in enumerate(_shaken(pixels, spec, seed), 1):
        yield Shown(name=JITTER, strength=draw, pixels=shaken)


class Gathering:
    """One model's answers to all of :func:`shown_sets`, as they come.

    Args:
        truth: ``int64[N]``, of the faces.
    """

    def __init__(self, truth: NDArray[np.int64]) -> None:
        self._truth = truth
        self._clean = Answers(np.empty(0), np.empty(0, bool))
        self._corrupted: dict[str, list[Answers]] = {name: [] for name in CORRUPTIONS}
        self._nothing = np.empty(0)
        self._shaken: list[float] = []

    def add(self, shown: Shown, p: NDArray[np.float64]) -> None:
        """What the model says of a set, ``float64[N, C]``."""
        if shown.name == NOISE:
            self._nothing = p.max(axis=1)
            return
        answers = Answers(p.max(axis=1), p.argmax(axis=1) == self._truth)
        if shown.name == CLEAN:
            self._clean = answers
        elif shown.name == JITTER:
            self._shaken.append(float(answers.right.mean()))
        else:
            self._corrupted[shown.name].append(answers)

    def conditions(self, non_faces: NDArray[np.float64] | None = None) -> Conditions:
        """All of them, with the highest probability of each crop without a face."""
        return Conditions(
            clean=self._clean,
            corrupted={name: tuple(each) for name, each in self._corrupted.items()},
            nothing=self._nothing,
            non_faces=non_faces,
            jitter_loss_points=_loss_points(float(self._clean.right.mean()), self._shaken),
        )


def measure(
    probabilities: Probabilities,
    pixels: Image,
    truth: NDArray[np.int64],
    spec: InputSpec,
    *,
    seed: int,
    non_faces: Image | None = None,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> Conditions:
    """Ask the model about faces as they are, under every corruption, and about no faces.

    Args:
        probabilities: the model.
        pixels: ``uint8[N, h, w, c]`` faces as the model sees them.
        truth: ``int64[N]``.
        spec: the model's input.
        seed: of corruptions and noise.
        non_faces: ``uint8[M, h, w, c]`` crops without a face that the model was not trained on.
        on_step: told how many sets of pictures are done, and of how many.

    Raises:
        DataError: no rows, or not one truth for each.
    """
    if len(pixels) == 0 or len(pixels) != len(truth):
        raise DataError(
            f"There are {len(pixels)} pictures and {len(truth)} labels to measure with.",
            "Give data with a validation split.",
        )
    empty = None
    if non_faces is not None and len(non_faces):
        empty = probabilities(non_faces).max(axis=1)
    gathered = Gathering(truth)
    for done, shown in enumerate(shown_sets(pixels, spec, seed), 1):
        gathered.add(shown, probabilities(shown.pixels))
        on_step(done, SETS)
    return gathered.conditions(empty)


def jittered(pixels: Image, spec: InputSpec, rng: np.random.Generator) -> Image:
    """Faces as a detector and tracker hand them over: 5 % off, 8 % too large or small, 8° rolled.

    All three at once and in full; direction and signs are drawn for each face.

    Args:
        pixels: ``uint8[N, h, w, c]``.
        spec: the model's input.
        rng: draws.
    """
    out = np.empty_like(pixels)
    for i, face in enumerate(pixels):
        angle = rng.uniform(0, 2 * np.pi)
        out[i] = displaced(
            face,
            spec,
            shift=(0.05 * float(np.cos(angle)), 0.05 * float(np.sin(angle))),
            zoom=1.08 ** float(rng.choice((-1.0, 1.0))),
            roll_deg=8.0 * float(rng.choice((-1.0, 1.0))),
        )
    return out


def _shaken(pixels: Image, spec: InputSpec, seed: int) -> Iterator[Image]:
    rng = np.random.default_rng((seed, 2))
    for _ in range(_DRAWS):
        yield jittered(pixels, spec, rng)


def _loss_points(still: float, shaken: Sequence[float]) -> float:
    return 100 * (still - float(np.mean(shaken)))
