"""The only hardware seam: an integer or float array in, arrays out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_fer.contract import TensorQuantisation

__all__ = ["Array", "Backend", "TensorSpec"]

Array = NDArray[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """An input or output of the graph. ``quantisation`` is None for float tensors."""

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    quantisation: TensorQuantisation | None


class Backend(Protocol):
    """A loaded model on some processor. One verb: ``run``."""

    @property
    def name(self) -> str:
        """The runtime and its version, for reports: ``litert 2.3.0, XNNPACK, 1 thread``."""
        ...

    @property
    def input(self) -> TensorSpec:
        """The one input, static shape, batch 1."""
        ...

    @property
    def outputs(self) -> Sequence[TensorSpec]:
        """The outputs, in the graph's order."""
        ...

    def run(self, array: Array) -> tuple[Array, ...]:
        """One inference: an array of the input's shape and dtype to the outputs, unchanged in type.

        Raises:
            ModelError: shape or dtype is not the input's.
            DeviceError: the processor failed or was unplugged.
        """
        ...

    def close(self) -> None:
        """Let go of the model. Calling it twice is fine."""
        ...
