"""A float ``.tflite``, whoever made it, as everything after takes it; TensorFlow is not needed.

Batch 1, static shapes, plain float32 constants, one picture in, one score per class out. What is
no such model is refused, each cause in its own words. A single sigmoid ``p`` (a binary head)
becomes two logits ``[0, z]``: their softmax is ``[1 - p, p]`` exactly.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.errors import ModelError
from edge_fer.modelfile import METADATA_NAME
from edge_fer_convert.graph import Graph, builtin_name, constant, from_object, to_object
from edge_fer_convert.inputs.accepted import (
    check_float,
    check_operators,
    check_picture,
    check_scores,
    check_values,
    read_graph,
)

__all__ = ["Imported", "import_float"]

# Of TFLite's task library: it describes the old file, and the zip that it points into is gone.
_DROPPED = frozenset({METADATA_NAME.encode(), b"TFLITE_METADATA"})
_NOT_CONSTANT = frozenset({"MULTINOMIAL", "RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM"})
_TOLERANCE = 1e-4
_TRIALS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """A float classifier in the form that the converter takes.

    Attributes:
        flatbuffer: ``float32[1, height, width, channels]`` to ``float32[1, classes]``, no contract.
        shape: of its input: height, width, channels.
        classes: how many scores it gives.
    """

    flatbuffer: bytes = field(repr=False)
    shape: tuple[int, int, int]
    classes: int


def import_float(flatbuffer: bytes, name: str) -> Imported:
    """Check a float model and bring it into form; the same bytes always give the same bytes.

    Passes, in this order: metadata of another file dropped, float16 constants widened, batch 1 and
    the shapes that follow from it, a sigmoid head made two logits. The result is run against what
    came in.

    Args:
        flatbuffer: a ``.tflite``; what stands behind the flatbuffer is dropped.
        name: of the file, for the errors.

    Raises:
        ModelError: unreadable, quantised, control flow, custom operators, text or sequences as
            input, free sizes, several inputs or outputs, NaN or infinite weights, no classifier.
    """
    graph = read_graph(flatbuffer, name)
    check_float(graph, name)
    model = to_object(flatbuffer)
    check_operators(model, name)
    main = model.subgraphs[0]
    signature = _signature(main.tensors[main.inputs[0]])
    check_picture(signature, name)
    picture = (1, *signature[1:])
    model.metadata = [m for m in model.metadata or () if m.name not in _DROPPED]
    model.metadataBuffer = None
    _widen(model)
    if any(-1 in _signature(t) for t in main.tensors) or "SHAPE" in _names(model):
        _make_static(model, picture, name)
    check_values(Graph.of(model), name)
    before = tuple(int(size) for size in main.tensors[main.outputs[0]].shape)
    _two_logits(model)
    after = tuple(int(size) for size in main.tensors[main.outputs[0]].shape)
    check_scores(after, name)
    _prune(model)
    result = from_object(model)
    _check_unchanged(flatbuffer, result, picture, sigmoid=before != after, name=name)
    return Imported(flatbuffer=result, shape=(picture[1], picture[2], picture[3]), classes=after[1])


def _signature(tensor: Any) -> tuple[int, ...]:
    """Shape with -1 where it is free."""
    free = tensor.shapeSignature
    shape = tensor.shape if free is None or len(free) == 0 else free
    return () if shape is None else tuple(int(size) for size in shape)


def _names(model: Any) -> list[str]:
    """Of every operator, in execution order."""
    codes = [builtin_name(code) for code in model.operatorCodes]
    return [codes[o.opcodeIndex] for o in model.subgraphs[0].operators]


def _constants(model: Any) -> set[int]:
    """The numbers of the tensors that hold data."""
    held = [b.data is not None and len(b.data) > 0 for b in model.buffers]
    return {i for i, t in enumerate(model.subgraphs[0].tensors) if held[t.buffer]}


def _make_constant(model: Any, tensor: int, values: NDArray[Any]) -> None:
    from ai_edge_litert import schema_py_generated as schema

    buffer = schema.BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(values).tobytes(), np.uint8)
    model.buffers.append(buffer)
    held = model.subgraphs[0].tensors[tensor]
    held.buffer, held.shape = len(model.buffers) - 1, list(values.shape)


def _widen(model: Any) -> None:
    """Constant FLOAT16 behind DEQUANTIZE become FLOAT32 constants; each half is a float exactly."""
    graph, constants, kept = model.subgraphs[0], _constants(model), []
    for name, operator in zip(_names(model), graph.operators, strict=True):
        if name == "DEQUANTIZE" and int(operator.inputs[0]) in constants:
            _make_constant(
                model, operator.outputs[0], constant(model, operator.inputs[0]).astype("<f4")
            )
        else:
            kept.append(operator)
    graph.operators = kept


def _make_static(model: Any, picture: tuple[int, ...], name: str) -> None:
    """Batch 1 everywhere; what was computed from shapes alone becomes a constant."""
    interpreter = _interpreter(from_object(model), picture, name)
    graph, known, kept = model.subgraphs[0], _constants(model), []
    for operation, operator in zip(_names(model), graph.operators, strict=True):
        inputs = [int(i) for i in operator.inputs if i >= 0]
        fixed = bool(inputs) and known.issuperset(inputs) and operation not in _NOT_CONSTANT
        if not fixed and operation not in ("SHAPE", "RANK"):
            kept.append(operator)
            continue
        for number in map(int, operator.outputs):
            _make_constant(model, number, interpreter.get_tensor(number))
            known.add(number)
    graph.operators = kept
    shapes = {d["index"]: d["shape"] for d in interpreter.get_tensor_details()}
    for number, tensor in enumerate(graph.tensors):
        tensor.shapeSignature = None
        if number in shapes and number not in known:
            tensor.shape = [int(size) for size in shapes[number]]


def _two_logits(model: Any) -> None:
    """Make ``[0, z]`` of ``sigmoid(z)`` at the end of a ``Dense(1)``, in place."""
    graph = model.subgraphs[0]
    makers = {
        int(o.outputs[0]): (o, n) for o, n in zip(graph.operators, _names(model), strict=True)
    }
    last, name = makers.get(int(graph.outputs[0]), (None, ""))
    if name != "LOGISTIC":
        return
    score = int(last.inputs[0])
    dense, name = makers.get(score, (None, ""))
    shape = tuple(int(size) for size in graph.tensors[score].shape)
    if name != "FULLY_CONNECTED" or shape != (1, 1) or dense.builtinOptions.fusedActivationFunction:
        return
    for place, tensor in enumerate(dense.inputs[1:], 1):
        if tensor >= 0:
            # A tensor of its own: another operator may read the old one.
            graph.tensors.append(copy.copy(graph.tensors[tensor]))
            dense.inputs[place] = len(graph.tensors) - 1
            values = constant(model, tensor)
            doubled = np.concatenate([np.zeros_like(values), values])
            _make_constant(model, dense.inputs[place], doubled)
    graph.tensors[score].shape, graph.tensors[score].shapeSignature = [1, 2], None
    graph.operators = [o for o in graph.operators if o is not last]
    for signature in model.signatureDefs or ():
        for end in signature.outputs:
            end.tensorIndex = score
    graph.outputs = [score]


def _prune(model: Any) -> None:
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


def _check_unchanged(
    before: bytes, after: bytes, picture: tuple[int, ...], *, sigmoid: bool, name: str
) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.random(picture, np.float32) for _ in range(_TRIALS)]
    original, rebuilt = (_interpreter(data, picture, name) for data in (before, after))
    for given in pictures:
        expected, found = _answer(original, given), _answer(rebuilt, given)
        if sigmoid:
            expected = np.concatenate([1 - expected, expected], axis=-1)
            powers = np.exp(found - found.max())
            found = powers / powers.sum()
        largest = max(1.0, float(np.abs(expected).max()))
        if not np.allclose(found, expected, rtol=0, atol=_TOLERANCE * largest):
            raise ModelError(
                f"{name} computes something else after it was brought into form "
                f"(by {np.abs(found - expected).max():g}).",
                "This is a fault of edge-fer: please report it with the model.",
            )


def _interpreter(flatbuffer: bytes, picture: tuple[int, ...], name: str) -> Any:
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
        _answer(interpreter, np.zeros(picture, np.float32))
    except (RuntimeError, ValueError) as err:
        raise ModelError(
            f"{name} does not run on one picture: {str(err).splitlines()[0]}",
            "Export it again with standard layers and a batch of 1.",
        ) from err
    return interpreter


def _answer(interpreter: Any, given: NDArray[np.float32]) -> NDArray[np.float32]:
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], given)
    interpreter.invoke()
    return np.asarray(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))
