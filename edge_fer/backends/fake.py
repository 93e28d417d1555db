"""A backend without a model: for tests, and for trying a pipeline with no runtime installed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edge_fer.backends.base import Array, TensorSpec
from edge_fer.errors import ModelError

__all__ = ["FakeBackend"]


class FakeBackend:
    """Answers with a function of the input; checks shapes as the real ones do.

    Args:
        input_spec: what ``run`` takes.
        output_specs: what it gives.
        answer: input array to output arrays.
    """

    name = "fake"

    def __init__(
        self,
        input_spec: TensorSpec,
        output_specs: Sequence[TensorSpec],
        answer: Callable[[Array], tuple[Array, ...]],
    ) -> None:
        self.input = input_spec
        self.outputs = tuple(output_specs)
        self._answer = answer
        self.closed = False

    def run(self, array: Array) -> tuple[Array, ...]:
        if self.closed:
            raise ModelError("The backend is closed.")
        if array.shape != self.input.shape or array.dtype != self.input.dtype:
            raise ModelError(
                f"The model takes {self.input.dtype}{list(self.input.shape)}, "
                f"not {array.dtype}{list(array.shape)}."
            )
        return self._answer(array)

    def close(self) -> None:
        self.closed = True
