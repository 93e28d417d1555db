"""Looks inside a running model: the value of any activation, in real numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.errors import ModelError
from edge_fer.quiet import hushed_stderr
from edge_fer_convert.graph import Graph, GraphTensor

__all__ = ["Probe", "computed", "open_plain"]


def open_plain(flatbuffer: bytes) -> Any:
    """LiteRT's interpreter with every tensor kept, allocated, one thread.

    Args:
        flatbuffer: the model, float or int8.

    Raises:
        ModelError: the file is damaged, or LiteRT lacks one of its operators.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    try:
        with hushed_stderr():
            interpreter = Interpreter(
                model_content=flatbuffer,
                num_threads=1,
                experimental_preserve_all_tensors=True,
                # XNNPACK may fuse tensors away; the plain kernels compute every one.
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
            interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as err:
        raise ModelError(
            f"LiteRT cannot run this model: {str(err).strip().rstrip('.')}.",
            "Convert it again from the original: edge-fer convert --help",
        ) from err
    return interpreter


def computed(graph: Graph) -> Iterator[GraphTensor]:
    """The activations that have a value: a tensor that nothing computes has no memory."""
    made = {*graph.inputs, *(i for operator in graph.operators for i in operator.outputs)}
    return (t for t in graph.activations() if t.index in made)


class Probe:
    """A float or int8 model that shows its activations.

    Args:
        flatbuffer: the model, without a contract.
        names: of the tensors to show; None for all activations.

    Raises:
        ModelError: LiteRT cannot run the model.
    """

    def __init__(self, flatbuffer: bytes, names: Sequence[str] | None = None) -> None:
        graph = Graph.read(flatbuffer)
        self.tensors = [
            t
            for t in computed(graph)
            if t.dtype in ("FLOAT32", "INT8") and (names is None or t.name in names)
        ]
        self._input = graph.tensors[graph.inputs[0]]
        self._interpreter = open_plain(flatbuffer)

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
