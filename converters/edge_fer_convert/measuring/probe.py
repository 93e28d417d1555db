"""Looks inside a running model: the value of any activation, in real numbers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge_fer.quiet import hushed_stderr
from edge_fer_convert.graph import Graph

__all__ = ["Probe"]


class Probe:
    """A float or int8 model that shows its activations.

    Args:
        flatbuffer: the model, without a contract.
        names: of the tensors to show; None for all activations.
    """

    def __init__(self, flatbuffer: bytes, names: Sequence[str] | None = None) -> None:
        from ai_edge_litert.interpreter import Interpreter, OpResolverType

        graph = Graph.read(flatbuffer)
        self.tensors = [
            t
            for t in graph.activations()
            if t.dtype in ("FLOAT32", "INT8") and (names is None or t.name in names)
        ]
        self._input = graph.tensors[graph.inputs[0]]
        with hushed_stderr():
            self._interpreter = Interpreter(
                model_content=flatbuffer,
                num_threads=1,
                experimental_preserve_all_tensors=True,
                # XNNPACK may fuse tensors away; the plain kernels compute every one.
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
            self._interpreter.allocate_tensors()

    def __call__(self, picture: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """One inference.

        Args:
            picture: ``float32[1, h, w, c]`` as the float model takes it.

        Returns:
            By tensor name, ``float32`` of the tensor's shape; int8 values dequantised.
        """
        held = self._input
        if held.dtype == "INT8":
            steps = np.rint(picture / np.float32(held.scales[0])) + held.zero_points[0]
            picture = np.clip(steps, -128, 127).astype(np.int8)
        self._interpreter.set_tensor(held.index, picture)
        self._interpreter.invoke()
        found = {}
        for tensor in self.tensors:
            value = self._interpreter.get_tensor(tensor.index)
            if tensor.dtype == "INT8":
                value = (value.astype(np.float32) - tensor.zero_points[0]) * tensor.scales[0]
            found[tensor.name] = np.asarray(value, np.float32)
        return found
