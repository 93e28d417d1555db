"""What LiteRT and its predecessor tflite-runtime share: the same ``Interpreter`` interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edge_fer.backends.base import Array, TensorSpec
from edge_fer.contract import TensorQuantisation
from edge_fer.errors import DeviceError, ModelError
from edge_fer.quiet import hushed_stderr

__all__ = ["InterpreterBackend"]

_DELEGATE_NODES = ("DELEGATE", "TfLiteXNNPackDelegate")


class InterpreterBackend:
    """A model in an ``Interpreter`` object of either runtime.

    Args:
        make: builds the interpreter, not yet allocated.
        name: for reports.
        threads: CPU threads, named in reports; 0 where they say little.

    Raises:
        ModelError: the file is damaged, the runtime lacks one of its operators, or it has more
            than one input.
    """

    def __init__(self, make: Callable[[], Any], name: str, *, threads: int = 0) -> None:
        try:
            with hushed_stderr():
                interpreter = make()
                interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as err:
            raise ModelError(
                f"{name} cannot run this model: {_one_line(err)}.",
                "Convert it again: edge-fer convert --help",
            ) from err
        inputs = interpreter.get_input_details()
        if len(inputs) != 1:
            raise ModelError(f"The model has {len(inputs)} inputs; one picture is expected.")
        self._interpreter = interpreter
        parts = (name, "XNNPACK" if threads and _delegated(interpreter) else "")
        self._name = ", ".join(filter(None, (*parts, _count_threads(threads) if threads else "")))
        self._input_index = inputs[0]["index"]
        details = interpreter.get_output_details()
        self._output_indices = [d["index"] for d in details]
        self._input = _spec(inputs[0])
        self._outputs = tuple(_spec(d) for d in details)

    @property
    def name(self) -> str:
        return self._name

    @property
    def input(self) -> TensorSpec:
        return self._input

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self._outputs

    def run(self, array: Array) -> tuple[Array, ...]:
        if self._interpreter is None:
            raise ModelError("The backend is closed.")
        if array.shape != self._input.shape or array.dtype != self._input.dtype:
            raise ModelError(
                f"The model takes {self._input.dtype}{list(self._input.shape)}, "
                f"not {array.dtype}{list(array.shape)}."
            )
        self._interpreter.set_tensor(self._input_index, array)
        try:
            self._interpreter.invoke()
        except RuntimeError as err:
            raise DeviceError(
                f"{self._name} failed: {_one_line(err)}.", "See: edge-fer models verify"
            ) from err
        return tuple(self._interpreter.get_tensor(i) for i in self._output_indices)

    def close(self) -> None:
        self._interpreter = None


def _count_threads(count: int) -> str:
    """``1 thread``, ``4 threads``."""
    return f"{count} thread" + ("s" if count != 1 else "")


def _one_line(err: Exception) -> str:
    return " ".join(str(err).split()).rstrip(".")


def _delegated(interpreter: Any) -> bool:
    """Whether a part of the graph runs in a delegate: with none of ours, that is XNNPACK.

    Both runtimes apply it by default and only say so on stderr. The list of what is executed is
    not public: where it is not there, nothing is claimed.
    """
    details = getattr(interpreter, "_get_ops_details", None)
    if details is None:
        return False
    return any(op["op_name"] in _DELEGATE_NODES for op in details())


def _spec(detail: dict[str, Any]) -> TensorSpec:
    dtype = np.dtype(detail["dtype"])
    scale, zero_point = detail["quantization"]
    return TensorSpec(
        name=str(detail["name"]),
        shape=tuple(int(n) for n in detail["shape"]),
        dtype=dtype,
        quantisation=(
            TensorQuantisation(scale=float(scale), zero_point=int(zero_point))
            if dtype.kind in "iu" and scale
            else None
        ),
    )
