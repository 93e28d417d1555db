"""The expression classifier: a model file whose contract is honoured to the letter."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge_fer.backends.base import Backend
from edge_fer.errors import ModelError
from edge_fer.loaded import LoadedModel, differences
from edge_fer.modelfile import ModelFile
from edge_fer.types import UNKNOWN, Expression, Image, Reason

__all__ = ["Classifier", "softmax"]


class Classifier(LoadedModel):
    """Face pixels to expressions.

    Args:
        model: read with :func:`edge_fer.modelfile.read_model`.
        backend: the same model, loaded.

    Raises:
        ModelError: the graph does not match the contract in shape, type, scale or label count.
    """

    def __init__(self, model: ModelFile, backend: Backend) -> None:
        if model.contract.task != "expression-frame":
            raise ModelError(
                f"{model.path} is a model for {model.contract.task}, "
                "not one that names the expression of one frame.",
                "See: edge-fer models list",
            )
        self.labels = model.contract.labels
        super().__init__(model, backend)

    def probabilities(self, pixels: Image) -> NDArray[np.float64]:
        """``uint8[N, h, w, c]`` to ``float64[N, C]``, each row summing to 1.

        Logits are divided by the contract's temperature. Probabilities of the graph's own softmax
        or sigmoids are taken back to logits first, so that the temperature means the same.
        """
        tensor = self.contract.quantisation.output
        raw = self.raw(pixels)
        values = raw.astype(np.float64)
        if tensor is not None:
            values = (values - tensor.zero_point) * tensor.scale
        if self.contract.output.kind == "probabilities":
            values = np.log(np.maximum(values, 1e-9))
        elif self.contract.output.kind == "sigmoid":
            p = np.clip(values, 1e-9, 1 - 1e-9)
            values = np.log(p / (1 - p))
        return softmax(values / self.contract.output.temperature)

    def classify(self, pixels: Image) -> tuple[Expression, ...]:
        """``uint8[N, h, w, c]`` to one expression per face."""
        return tuple(self.expression(p) for p in self.probabilities(pixels))

    def expression(self, p: NDArray[np.float64]) -> Expression:
        """What ``float64[C]`` probabilities say, by the contract's rule for unknown."""
        label = self.labels[int(p.argmax())]
        reason: Reason | None = None
        if p.max() < self.contract.output.min_probability:
            label, reason = UNKNOWN, "low_confidence"
        return Expression(
            label=label,
            probabilities=dict(zip(self.labels, p.tolist(), strict=True)),
            entropy=float(-(p * np.log(np.maximum(p, 1e-12))).sum()),
            reason=reason,
        )

    def unclear(self, reason: Reason) -> Expression:
        """``unknown``, of a face that was not looked at: every label is as likely."""
        count = len(self.labels)
        return Expression(
            label=UNKNOWN,
            probabilities=dict.fromkeys(self.labels, 1 / count),
            entropy=float(np.log(count)),
            reason=reason,
        )

    def _output_problems(self) -> list[str]:
        outputs, stated = self.backend.outputs, self.contract.quantisation.output
        problems = differences("output", outputs[0], (1, len(self.labels)), stated)
        if len(outputs) != 1:
            problems.append(f"{len(outputs)} outputs, a classifier has one")
        return problems


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """``[N, C]`` logits to probabilities, ``float64[N, C]``."""
    logits = logits.astype(np.float64)
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))
