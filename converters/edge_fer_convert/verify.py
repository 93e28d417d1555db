"""The proof that a model is full integer: no float anywhere, nothing converted on the way."""

from __future__ import annotations

from typing import Any, Literal

from edge_fer.contract import TensorQuantisation
from edge_fer.errors import ModelError
from edge_fer_convert.graph import FLOAT_TYPES, Graph, GraphTensor

__all__ = ["check_full_integer", "graph_summary", "output_kind", "tensor_quantisation"]

_CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE", "CAST"})
_FOREIGN = frozenset({"CUSTOM", "DELEGATE"})


def check_full_integer(graph: Graph) -> None:
    """See that int8 goes in, int8 comes out, and only integers are between.

    Raises:
        ModelError: not so; the message names what is in the way.
    """
    problems = [
        f"{operator.name} making {graph.tensors[operator.outputs[0]].name}"
        for operator in graph.operators
        if operator.name in _CONVERSIONS | _FOREIGN
    ]
    problems += [f"{t.dtype} in {t.name}" for t in graph.tensors if t.dtype in FLOAT_TYPES]
    problems += [
        f"{t.dtype} at the edge: {t.name}"
        for t in (graph.tensors[i] for i in (*graph.inputs, *graph.outputs))
        if t.dtype != "INT8"
    ]
    if graph.subgraphs != 1:
        problems.append(f"{graph.subgraphs} subgraphs (control flow)")
    if problems:
        more = f", and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise ModelError(
            f"The model did not become full integer: {'; '.join(problems[:3])}{more}.",
            "Replace the layer behind that name by one that TFLite has in int8: convolution, "
            "dense, pooling, add, ReLU, softmax.",
        )


def tensor_quantisation(tensor: GraphTensor) -> TensorQuantisation:
    """Scale and zero point of an int8 input or output, as they stand in the graph.

    Raises:
        ModelError: it has none, or one per channel.
    """
    if len(tensor.scales) != 1:
        raise ModelError(f"{tensor.name} has {len(tensor.scales)} scales where one is needed.")
    return TensorQuantisation(scale=tensor.scales[0], zero_point=tensor.zero_points[0])


def output_kind(graph: Graph) -> Literal["logits", "probabilities", "sigmoid"]:
    """What the graph ends in, by the operator that makes its output."""
    makers = {o.name for o in graph.operators if graph.outputs[0] in o.outputs}
    if "SOFTMAX" in makers:
        return "probabilities"
    return "sigmoid" if "LOGISTIC" in makers else "logits"


def graph_summary(graph: Graph) -> dict[str, Any]:
    """For the report: operators with their versions, and the two ends."""
    ends = {"input": graph.tensors[graph.inputs[0]], "output": graph.tensors[graph.outputs[0]]}
    return {
        "operators": graph.counts(),
        "min_runtime_version": graph.metadata.get("min_runtime_version", b"")
        .rstrip(b"\0")
        .decode(),
        "weights": sum(_count(t) for t in graph.tensors if t.data is not None and t.scales),
        "full_integer": not any(t.dtype in FLOAT_TYPES for t in graph.tensors),
        **{
            end: {
                "shape": list(tensor.shape),
                "dtype": tensor.dtype,
                "scale": tensor.scales[0] if tensor.scales else None,
                "zero_point": tensor.zero_points[0] if tensor.scales else None,
            }
            for end, tensor in ends.items()
        },
    }


def _count(tensor: GraphTensor) -> int:
    count = 1
    for size in tensor.shape:
        count *= size
    return count
