"""What takes part in the comparison: something that names the expression of a face crop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_fer.classifier import Classifier
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.evaluation.evaluate import probabilities_of
from edge_fer.preprocess import fit, quantise, to_real
from edge_fer.types import Image

__all__ = ["PARTS", "Card", "ClassifierEntrant", "Entrant", "Part", "Step"]

Part = Literal["answer", "network"]
PARTS: tuple[Part, ...] = ("answer", "network")
Step = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What to know of an entrant.

    Attributes:
        name: unique in the comparison.
        ours: whether this project made it.
        numbers: what weights and activations are, for people to read.
        labels: the columns of its probabilities, in FER+'s names.
        size_bytes, sha256: of the model file, without the runtime that it needs.
        runtime: what runs it, with versions.
        terms: licence of code and weights.
    """

    name: str
    ours: bool
    numbers: str
    labels: tuple[str, ...]
    size_bytes: int
    sha256: str
    runtime: str
    terms: str


class Entrant(Protocol):
    """An opened model, by its own preprocessing, on one thread."""

    @property
    def card(self) -> Card:
        """What it is."""
        ...

    def probabilities(
        self, faces: LabelledFaces, on_step: Step = lambda done, total: None
    ) -> NDArray[np.float64]:
        """``float64[N, C]`` for every row, columns as ``card.labels``."""
        ...

    def prepare(self, images: Sequence[Image]) -> None:
        """Take the pictures that :meth:`time` goes round."""
        ...

    def time(self, part: Part, calls: int) -> list[int]:
        """Nanoseconds of each of so many calls, one picture a call.

        ``answer`` is the whole way from the face crop to probabilities, as the project's own code
        goes it; ``network`` only the network, its input made beforehand.
        """
        ...

    def close(self) -> None:
        """Let go of the model. Calling it twice is fine."""
        ...


class ClassifierEntrant:
    """A ``.tflite`` in this project's runtime."""

    def __init__(self, card: Card, classifier: Classifier) -> None:
        self.card = card
        self._classifier = classifier
        self._images: Sequence[Image] = ()
        self._inputs: list[NDArray[np.int8] | NDArray[np.float32]] = []

    def probabilities(
        self, faces: LabelledFaces, on_step: Step = lambda done, total: None
    ) -> NDArray[np.float64]:
        return probabilities_of(self._classifier, faces, on_step)

    def prepare(self, images: Sequence[Image]) -> None:
        spec = self._classifier.contract.input
        tensor = self._classifier.contract.quantisation.input
        pixels = [fit(image, spec)[None] for image in images]
        self._images = images
        self._inputs = [
            to_real(p, spec) if tensor is None else quantise(p, spec, tensor) for p in pixels
        ]

    def time(self, part: Part, calls: int) -> list[int]:
        spec, backend = self._classifier.contract.input, self._classifier.backend
        spent = []
        for call in range(calls):
            image = self._images[call % len(self._images)]
            array = self._inputs[call % len(self._inputs)]
            began = perf_counter_ns()
            if part == "answer":
                self._classifier.probabilities(fit(image, spec)[None])
            else:
                backend.run(array)
            spent.append(perf_counter_ns() - began)
        return spent

    def close(self) -> None:
        self._classifier.close()
