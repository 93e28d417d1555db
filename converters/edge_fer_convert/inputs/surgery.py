"""Edits of a float flatbuffer, in place, on ai_edge_litert's ``ModelT``: what every import needs.

Metadata of another file dropped, float16 constants widened, static shapes, leavings swept up.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.errors import ModelError
from edge_fer.modelfile import METADATA_NAME
from edge_fer_convert.graph import builtin_name, constant, from_object

__all__ = [
    "answers",
    "constants",
    "drop_metadata",
    "make_constant",
    "make_static",
    "operator_names",
    "plain_interpreter",
    "prune",
    "shape_signature",
    "widen",
]

# Of TFLite's task library: it describes the old file, and the zip that it points into is gone.
_DROPPED = frozenset({METADATA_NAME.encode(), b"TFLITE_METADATA"})
_NOT_CONSTANT = frozenset({"MULTINOMIAL", "RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM"})


def drop_metadata(model: Any) -> None:
    """Forget what described another file."""
    model.metadata = [m for m in model.metadata or () if m.name not in _DROPPED]
    model.metadataBuffer = None


def shape_signature(tensor: Any) -> tuple[int, ...]:
    """Shape with -1 where it is free."""
    free = tensor.shapeSignature
    shape = tensor.shape if free is None or len(free) == 0 else free
    return () if shape is None else tuple(int(size) for size in shape)


def operator_names(model: Any) -> list[str]:
    """Of every operator, in execution order."""
    codes = [builtin_name(code) for code in model.operatorCodes]
    return [codes[o.opcodeIndex] for o in model.subgraphs[0].operators]


def constants(model: Any) -> set[int]:
    """The numbers of the tensors that hold data."""
    held = [b.data is not None and len(b.data) > 0 for b in model.buffers]
    return {i for i, t in enumerate(model.subgraphs[0].tensors) if held[t.buffer]}


def make_constant(model: Any, tensor: int, values: NDArray[Any]) -> None:
    """Give a tensor these values, and their shape."""
    from ai_edge_litert import schema_py_generated as schema

    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
    model.buffers.append(buffer)
    held = model.subgraphs[0].tensors[tensor]
    held.buffer, held.shape = len(model.buffers) - 1, list(values.shape)


def widen(model: Any) -> None:
    """Constant FLOAT16 behind DEQUANTIZE become FLOAT32 constants; each half is a float exactly."""
    graph, held, kept = model.subgraphs[0], constants(model), []
    for name, operator in zip(operator_names(model), graph.operators, strict=True):
        if name == "DEQUANTIZE" and int(operator.inputs[0]) in held:
            make_constant(
                model, operator.outputs[0], constant(model, operator.inputs[0]).astype("<f4")
            )
        else:
            kept.append(operator)
    graph.operators = kept


def make_static(model: Any, picture: tuple[int, ...], name: str) -> None:
    """Batch 1 everywhere; what was computed from shapes alone becomes a constant."""
    interpreter = plain_interpreter(from_object(model), picture, name)
    graph, known, kept = model.subgraphs[0], constants(model), []
    for operation, operator in zip(operator_names(model), graph.operators, strict=True):
        inputs = [int(i) for i in operator.inputs if i >= 0]
        fixed = bool(inputs) and known.issuperset(inputs) and operation not in _NOT_CONSTANT
        if not fixed and operation not in ("SHAPE", "RANK"):
            kept.append(operator)
            continue
        for number in map(int, operator.outputs):
            make_constant(model, number, interpreter.get_tensor(number))
            known.add(number)
    graph.operators = kept
    shapes = {d["index"]: d["shape"] for d in interpreter.get_tensor_details()}
    for number, tensor in enumerate(graph.tensors):
        tensor.shapeSignature = None
        if number in shapes and number not in known:
            tensor.shape = [int(size) for size in shapes[number]]


def prune(model: Any) -> None:
    """Drop operator codes, tensors and buffers that nothing refers to any more, in place."""
    graph = model.subgraphs[0]
    signed = [e for s in model.signatureDefs or () for e in (*s.inputs, *s.outputs)]
    code = _renumbered({int(o.opcodeIndex) for o in graph.operators})
    model.operatorCodes = [model.operatorCodes[i] for i in code]
    used = {int(i) for o in graph.operators for i in (*o.inputs, *o.outputs) if i >= 0}
    used |= {int(i) for i in (*graph.inputs, *graph.outputs)} | {int(e.tensorIndex) for e in signed}
    number = _renumbered(used)
    graph.tensors = [graph.tensors[i] for i in number]
    number[-1] = -1  # an input that is left out
    graph.inputs = [number[int(i)] for i in graph.inputs]
    graph.outputs = [number[int(i)] for i in graph.outputs]
    for operator in graph.operators:
        operator.opcodeIndex = code[int(operator.opcodeIndex)]
        operator.inputs = [number[int(i)] for i in operator.inputs]
        operator.outputs = [number[int(i)] for i in operator.outputs]
    for end in signed:
        end.tensorIndex = number[int(end.tensorIndex)]
    holders = (*graph.tensors, *model.metadata)
    place = _renumbered({0, *(int(h.buffer) for h in holders)})  # 0 is the schema's empty buffer
    model.buffers = [model.buffers[i] for i in place]
    for holder in holders:
        holder.buffer = place[int(holder.buffer)]


def _renumbered(kept: set[int]) -> dict[int, int]:
    """Old number to new one, in order."""
    return {old: new for new, old in enumerate(sorted(kept))}


def plain_interpreter(flatbuffer: bytes, picture: tuple[int, ...], name: str) -> Any:
    """The model in LiteRT's plain kernels, after it was run once on a black picture."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    try:
        interpreter = Interpreter(
            model_content=flatbuffer,
            num_threads=1,
            experimental_preserve_all_tensors=True,
            experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        )
        interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], picture)
        interpreter.allocate_tensors()
        answers(interpreter, np.zeros(picture, np.float32))
    except (RuntimeError, ValueError) as err:
        raise ModelError(
            f"{name} does not run on one picture: {str(err).splitlines()[0]}",
            "Export it again with standard layers and a batch of 1.",
        ) from err
    return interpreter


def answers(interpreter: Any, given: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """One inference: what every output holds, in the graph's order."""
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], given)
    interpreter.invoke()
    ends = interpreter.get_output_details()
    return [np.array(interpreter.get_tensor(end["index"])) for end in ends]
