"""A model on a backend: what classifier and detectors share."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from edge_fer.backends.base import Array, Backend, TensorSpec
from edge_fer.contract import TensorQuantisation
from edge_fer.errors import ModelError
from edge_fer.modelfile import ModelFile
from edge_fer.preprocess import quantise, to_real
from edge_fer.types import Image

__all__ = ["LoadedModel", "differences"]


class LoadedModel:
    """A model file whose input the graph honours; its kinds say what the outputs mean.

    Args:
        model: read with :func:`edge_fer.modelfile.read_model`.
        backend: the same model, loaded.

    Raises:
        ModelError: the graph does not match the contract in shape, type or scale.
    """

    def __init__(self, model: ModelFile, backend: Backend) -> None:
        self.model = model
        self.contract = model.contract
        self.backend = backend
        spec, stated = self.contract.input, self.contract.quantisation
        shape = (1, spec.height, spec.width, spec.channels)
        dtype = np.dtype(np.int8 if stated.scheme == "int8" else np.float32)
        problems = [
            *differences("input", backend.input, shape, stated.input),
            *(
                f"{tensor.name} is {tensor.dtype}, stated {dtype}"
                for tensor in (backend.input, *backend.outputs)
                if tensor.dtype != dtype
            ),
            *self._output_problems(),
        ]
        if problems:
            raise ModelError(
                f"{model.path} breaks its contract: {'; '.join(problems)}.",
                "Get a fresh copy of the file, or convert the model again.",
            )

    def run(self, pixels: Image) -> tuple[Array, ...]:
        """One picture, ``uint8[h, w, c]``, to the output tensors as they are."""
        return self.backend.run(self._prepared(pixels[None]))

    def raw(self, pixels: Image) -> Array:
        """``uint8[N, h, w, c]`` to ``int8`` or ``float32[N, values]``: the outputs, flattened."""
        values = sum(int(np.prod(tensor.shape)) for tensor in self.backend.outputs)
        rows = np.empty((len(pixels), values), self.backend.outputs[0].dtype)
        prepared = self._prepared(pixels)
        for i, row in enumerate(rows):
            heads = self.backend.run(prepared[i : i + 1])
            np.concatenate([head.reshape(-1) for head in heads], out=row)
        return rows

    def golden_error(self) -> tuple[int, float] | None:
        """Run the contract's golden vectors: how many, and the largest difference.

        The difference is in steps of the output (LSB) for an int8 model. For a float one it is
        absolute, or relative to the value where that is above 1. None where the contract has no
        vectors.
        """
        golden = self.contract.golden
        if golden is None:
            return None
        scheme = self.contract.quantisation.scheme
        raw = self.raw(golden.pixels(self.contract.input)).astype(np.float64)
        expected = golden.expected(scheme, raw.shape[1]).astype(np.float64)
        error = np.abs(raw - expected)
        if scheme == "float32":
            error /= np.maximum(np.abs(expected), 1.0)
        return golden.n, float(error.max())

    def check_golden(self) -> tuple[int, float] | None:
        """:meth:`golden_error`, refused where it is too large.

        Raises:
            ModelError: this device computes something else than the build host did: more steps of
                an int8 output than the contract allows (1 for a classifier: kernels of different
                processors differ by at most that), or 0.001 of a float one.
        """
        found, golden = self.golden_error(), self.contract.golden
        int8 = self.contract.quantisation.scheme == "int8"
        allowed = golden.max_steps if int8 and golden is not None else 1e-3
        if found is not None and not found[1] <= allowed:
            raise ModelError(
                f"{self.model.path} computes something else here than where it was made: "
                f"its golden vectors are off by {found[1]:g}{' steps' if int8 else ''}.",
                "Try another runtime (--backend), and report this with: edge-fer models show",
            )
        return found

    def close(self) -> None:
        """Let go of the backend."""
        self.backend.close()

    def _output_problems(self) -> Iterable[str]:
        """What is wrong with the graph's outputs, one text each."""
        return ()

    def _prepared(self, pixels: Image) -> Array:
        spec, tensor = self.contract.input, self.contract.quantisation.input
        return to_real(pixels, spec) if tensor is None else quantise(pixels, spec, tensor)


def differences(
    what: str, tensor: TensorSpec, shape: tuple[int, ...], stated: TensorQuantisation | None
) -> list[str]:
    """Where a tensor of the graph is not as the contract states it."""
    have = tensor.quantisation
    found = [] if tensor.shape == shape else [f"{what} {tensor.shape}, stated {shape}"]
    same = have is stated
    if have is not None and stated is not None:
        same = have.zero_point == stated.zero_point and abs(have.scale / stated.scale - 1) < 1e-6
    return found if same else [*found, f"{tensor.name} has {have}, stated {stated}"]
