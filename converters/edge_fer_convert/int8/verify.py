"""The proof that a model is full integer: no float anywhere, nothing converted on the way.

And what the real runtime makes of it: how many parts it hands to XNNPACK, and what it keeps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from edge_fer.contract import TensorQuantisation
from edge_fer.errors import ModelError
from edge_fer.quiet import hushed_stderr
from edge_fer_convert.graph import FLOAT_TYPES, Graph, GraphTensor, Operator

__all__ = [
    "Partitions",
    "check_full_integer",
    "dense_scales",
    "graph_summary",
    "output_kind",
    "partitions",
    "tensor_quantisation",
]

_CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE", "CAST"})
_RESHAPES = frozenset({"EXPAND_DIMS", "RESHAPE", "SQUEEZE"})
_FOREIGN = frozenset({"CUSTOM", "DELEGATE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Partitions:
    """What LiteRT does with a model on this machine.

    Attributes:
        count: parts that it hands to XNNPACK; each further one costs two passes over a tensor.
        outside: names of the operators that it runs itself, in order.
    """

    count: int
    outside: tuple[str, ...]


def check_full_integer(graph: Graph, *, per_tensor_dense: bool = False) -> None:
    """See that int8 goes in, int8 comes out, and only integers are between.

    Args:
        graph: of the finished model.
        per_tensor_dense: see too that no dense layer has a scale per channel, which older
            runtimes were not made for.

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
    if per_tensor_dense:
        problems += [
            f"{scales} scales in the weights of {graph.tensors[operator.outputs[0]].name}"
            for operator, scales in dense_scales(graph)
            if scales > 1
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


def dense_scales(graph: Graph) -> Iterator[tuple[Operator, int]]:
    """Each dense layer with the number of scales that its weights have."""
    for operator in graph.operators:
        if operator.name == "FULLY_CONNECTED":
            yield operator, len(graph.tensors[operator.inputs[1]].scales)


def partitions(flatbuffer: bytes) -> Partitions | None:
    """Load a model in LiteRT, and see which operators XNNPACK took.

    Args:
        flatbuffer: any model, with or without a contract inside.

    Returns:
        None where this release of LiteRT does not say.

    Raises:
        ModelError: LiteRT cannot load it.
    """
    from ai_edge_litert.interpreter import Interpreter

    try:
        with hushed_stderr():
            interpreter = Interpreter(model_content=flatbuffer, num_threads=1)
            interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as err:
        raise ModelError(
            f"LiteRT cannot load the model: {str(err).strip().splitlines()[0]}",
            "Update ai-edge-litert, or replace the layer that it names.",
        ) from err
    # Not part of its promises: absent in some later release, and then nothing can be said.
    details = getattr(interpreter, "_get_ops_details", None)
    if details is None:
        return None
    listed = details()
    parts = [part for part in listed if part["op_name"] == "DELEGATE"]
    own = [operator for operator in listed if operator["op_name"] != "DELEGATE"]
    # LiteRT lists the operators that a part replaced beside it: they are those on the way back
    # from what the part gives to what it takes.
    makers = {int(i): n for n, operator in enumerate(own) for i in operator["outputs"]}
    inside: set[int] = set()
    for part in parts:
        given = {int(i) for i in part["inputs"]}
        open_ends = [int(i) for i in part["outputs"]]
        while open_ends:
            tensor = open_ends.pop()
            number = makers.get(tensor)
            if tensor not in given and number is not None and number not in inside:
                inside.add(number)
                open_ends += [int(i) for i in own[number]["inputs"]]
    outside = tuple(str(o["op_name"]) for n, o in enumerate(own) if n not in inside)
    return Partitions(count=len(parts), outside=outside)


def tensor_quantisation(tensor: GraphTensor) -> TensorQuantisation:
    """Scale and zero point of an int8 input or output, as they stand in the graph.

    Raises:
        ModelError: it has none, or one per channel.
    """
    if len(tensor.scales) != 1:
        raise ModelError(f"{tensor.name} has {len(tensor.scales)} scales where one is needed.")
    return TensorQuantisation(scale=tensor.scales[0], zero_point=tensor.zero_points[0])


def output_kind(graph: Graph) -> Literal["logits", "probabilities", "sigmoid"]:
    """What the graph ends in, by the operator that makes its output, whatever reshapes it after."""
    makers = {tensor: operator for operator in graph.operators for tensor in operator.outputs}
    maker = makers.get(graph.outputs[0])
    while maker is not None and maker.name in _RESHAPES:
        maker = makers.get(maker.inputs[0])
    ends = {"SOFTMAX": "probabilities", "LOGISTIC": "sigmoid"}
    return "logits" if maker is None else ends.get(maker.name, "logits")  # type: ignore[return-value]


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
