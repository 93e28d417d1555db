"""The expression classifier: a model file whose contract is honoured to the letter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_fer.backends.base import Array, Backend, TensorSpec
from edge_fer.contract import TensorQuantisation
from edge_fer.errors import ModelError
from edge_fer.modelfile import ModelFile
from edge_fer.preprocess import quantise, to_real
from edge_fer.types import UNKNOWN, Expression, Image, Reason

__all__ = ["Classifier", "softmax"]


class Classifier:
    """Face pixels to expressions.

    Args:
        model: read with :func:`edge_fer.modelfile.read_model`.
        backend: the same model, loaded.

    Raises:
        ModelError: the graph does not match the contract in shape, type, scale or label count.
    """

    def __init__(self, model: ModelFile, backend: Backend) -> None:
        self.model = model
        self.contract = model.contract
        self.labels = model.contract.labels
        self.backend = backend
        self._check()

    def raw(self, pixels: Image) -> Array:
        """The output tensor as it is: ``uint8[N, h, w, c]`` to ``int8`` or ``float32[N, C]``."""
        spec, tensor = self.contract.input, self.contract.quantisation.input
        prepared = to_real(pixels, spec) if tensor is None else quantise(pixels, spec, tensor)
        rows = [self.backend.run(prepared[i : i + 1])[0] for i in range(len(prepared))]
        if not rows:
            return np.empty((0, len(self.labels)), self.backend.outputs[0].dtype)
        return np.concatenate(rows).reshape(len(rows), len(self.labels))

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

    def golden_error(self) -> tuple[int, float] | None:
        """Run the contract's golden vectors: how many, and the largest difference.

        The difference is in steps of the output (LSB) for an int8 model, absolute for a float one.
        None where the contract has no vectors.
        """
        golden = self.contract.golden
        if golden is None:
            return None
        raw = self.raw(golden.pixels(self.contract.input))
        expected = golden.expected(self.contract.quantisation.scheme, len(self.labels))
        return golden.n, float(np.abs(raw.astype(np.float64) - expected).max())

    def check_golden(self) -> tuple[int, float] | None:
        """:meth:`golden_error`, refused where it is too large.

        Raises:
            ModelError: this device computes something else than the build host did: more than
                1 step of an int8 output (kernels of different processors differ by at most that),
                or 0.001 of a float one.
        """
        found = self.golden_error()
        int8 = self.contract.quantisation.scheme == "int8"
        if found is not None and found[1] > (1 if int8 else 1e-3):
            raise ModelError(
                f"{self.model.path} computes something else here than where it was made: "
                f"its golden vectors are off by {found[1]:g}{' steps' if int8 else ''}.",
                "Try another runtime (--backend), and report this with: edge-fer models show",
            )
        return found

    def close(self) -> None:
        """Let go of the backend."""
        self.backend.close()

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

    def _check(self) -> None:
        if self.contract.task != "expression-frame":
            raise ModelError(
                f"{self.model.path} is a model for {self.contract.task}, "
                "not one that names the expression of one frame.",
                "See: edge-fer models list",
            )
        spec, quantisation = self.contract.input, self.contract.quantisation
        dtype = np.dtype(np.int8 if quantisation.scheme == "int8" else np.float32)
        problems = [
            *_differences("input", self.backend.input, (1, spec.height, spec.width, spec.channels)),
            *_differences("output", self.backend.outputs[0], (1, len(self.labels))),
        ]
        for tensor, stated in (
            (self.backend.input, quantisation.input),
            (self.backend.outputs[0], quantisation.output),
        ):
            if tensor.dtype != dtype:
                problems.append(f"{tensor.name} is {tensor.dtype}, stated {dtype}")
            elif not _same(tensor, stated):
                problems.append(f"{tensor.name} has {tensor.quantisation}, stated {stated}")
        if len(self.backend.outputs) != 1:
            problems.append(f"{len(self.backend.outputs)} outputs, a classifier has one")
        if problems:
            raise ModelError(
                f"{self.model.path} breaks its contract: {'; '.join(problems)}.",
                "Get a fresh copy of the file, or convert the model again.",
            )


def _differences(what: str, tensor: TensorSpec, stated: Sequence[int]) -> list[str]:
    return [] if tensor.shape == tuple(stated) else [f"{what} {tensor.shape}, stated {stated}"]


def _same(tensor: TensorSpec, stated: TensorQuantisation | None) -> bool:
    have = tensor.quantisation
    if have is None or stated is None:
        return have is stated
    return have.zero_point == stated.zero_point and abs(have.scale / stated.scale - 1) < 1e-6


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """``[N, C]`` logits to probabilities, ``float64[N, C]``."""
    logits = logits.astype(np.float64)
    e = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))
