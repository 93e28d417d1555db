"""A float detector, whoever made it, in the form that everything after takes: raw heads out.

A BlazeFace ends in RESHAPE and CONCATENATION, which lay grids of different strides, and so of
different reach, side by side in one tensor. In int8 that is one scale for all of them, and the
finer ones lose their precision. So the graph is cut where the grids come out of their
convolutions, each with a scale of its own; nothing is computed by what is cut off. A ReLU that
stands alone goes into the convolution or sum before it, which XNNPACK's int8 kernels need. Both are
exact, and proven on the pictures that come along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.contract import DetectionSpec
from edge_fer.errors import ModelError
from edge_fer_convert.graph import Graph, from_object, to_object
from edge_fer_convert.inputs.accepted import (
    check_float,
    check_operators,
    check_picture,
    check_values,
    read_graph,
)
from edge_fer_convert.inputs.canonical import canonical
from edge_fer_convert.inputs.split import split_heads
from edge_fer_convert.inputs.surgery import (
    answers,
    drop_metadata,
    make_static,
    operator_names,
    plain_interpreter,
    prune,
    shape_signature,
    widen,
)
from edge_fer_convert.inputs.upsampling import mend_upsampling

__all__ = ["Heads", "Rebuilt", "check_rebuilt", "import_heads"]

_LAYS_SIDE_BY_SIDE = frozenset({"CONCATENATION", "RESHAPE"})
_TAKES_RELU = frozenset({"ADD", "CONV_2D", "DEPTHWISE_CONV_2D"})
_NONE, _RELU = 0, 1  # ActivationFunctionType of the schema
_TOLERANCE = 1e-4
_GRID = 4  # dimensions: batch, rows, columns, values
_DETECTOR = (
    "A detector takes one picture and gives grids, [1, rows, columns, values], or BlazeFace's "
    "rows of them. A classifier is converted without --detector."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Heads:
    """A float detector in canonical form.

    Attributes:
        flatbuffer: ``float32[1, height, width, channels]`` to one grid per output, no contract.
        shape: of its input: height, width, channels.
        parts: of each output of the file that came in, in its order, the grids that stood in it one
            after the other, and of each grid the outputs that stood in it side by side.
    """

    flatbuffer: bytes = field(repr=False)
    shape: tuple[int, int, int]
    parts: tuple[tuple[tuple[int, ...], ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuilt:
    """How far the rebuilt model is from the file, on so many pictures, beside its largest value."""

    largest_difference: float
    largest_value: float
    pictures: int


def import_heads(flatbuffer: bytes, name: str, detection: DetectionSpec | None) -> Heads:
    """Check a float detector and bring it into form; the same bytes always give the same bytes.

    Args:
        flatbuffer: a ``.tflite``; what stands behind the flatbuffer is dropped.
        name: of the file, for the errors.
        detection: how its heads are read; where it says ``anchors``, centre, size and keypoints
            get a head each.

    Raises:
        ModelError: unreadable, quantised, control flow, custom operators, free sizes, NaN or
            infinite weights, or no detector.
    """
    graph = read_graph(flatbuffer, name)
    check_float(graph, name, detector=True)
    model = to_object(flatbuffer)
    check_operators(model, name)
    main = model.subgraphs[0]
    signature = shape_signature(main.tensors[main.inputs[0]])
    check_picture(signature, name)
    picture = (1, *signature[1:])
    drop_metadata(model)
    before = [int(number) for number in main.outputs]
    _in_order(model)
    widen(model)
    if any(-1 in shape_signature(t) for t in main.tensors) or "SHAPE" in operator_names(model):
        make_static(model, picture, name)
    check_values(Graph.of(model), name)
    whole = _cut(model, name)
    mend_upsampling(model)
    _fuse_relu(model)
    became = split_heads(model, detection)
    ends = [int(number) for number in main.outputs]
    prune(model)
    return Heads(
        flatbuffer=canonical(from_object(model)),
        shape=(picture[1], picture[2], picture[3]),
        parts=tuple(
            tuple(tuple(map(ends.index, became[grid])) for grid in whole[number])
            for number in before
        ),
    )


def check_rebuilt(
    original: bytes, heads: Heads, inputs: Sequence[NDArray[np.float32]], name: str
) -> Rebuilt:
    """Hold what was made against the file, over all outputs and pictures.

    Args:
        original: the ``.tflite`` that came in.
        heads: what became of it.
        inputs: ``float32[1, height, width, channels]`` each.
        name: of the file, for the errors.

    Raises:
        ModelError: one of them does not run, or they differ.
    """
    picture = (1, *heads.shape)
    before, after = (plain_interpreter(m, picture, name) for m in (original, heads.flatbuffer))
    difference = largest = 0.0
    for given in inputs:
        expected, found = answers(before, given), answers(after, given)
        for whole, grids in zip(expected, heads.parts, strict=True):
            rows = [_side_by_side([found[i] for i in grid], whole.shape[-1]) for grid in grids]
            apart = np.abs(np.concatenate(rows) - whole.reshape(-1, whole.shape[-1]))
            difference = max(difference, float(apart.max()))
            largest = max(largest, float(np.abs(whole).max()))
    if not difference <= _TOLERANCE * max(1.0, largest):
        raise ModelError(
            f"{name} computes something else after it was brought into form (by {difference:g}).",
            "This is a fault of edge-fer: please report it with the model.",
        )
    return Rebuilt(largest_difference=difference, largest_value=largest, pictures=len(inputs))


def _side_by_side(outputs: Sequence[NDArray[np.float32]], values: int) -> NDArray[np.float32]:
    """``float32[anchors, values]`` of the outputs of one grid."""
    anchors = sum(output.size for output in outputs) // values
    return np.concatenate([output.reshape(anchors, -1) for output in outputs], axis=1)


def _in_order(model: Any) -> None:
    """Outputs in the order in which Keras has them, which only the signature keeps, in place."""
    graph, signatures = model.subgraphs[0], model.signatureDefs or ()
    model.signatureDefs = []  # it names outputs that are cut off
    for signature in signatures:
        named = {int(end.tensorIndex): _natural(end.name) for end in signature.outputs}
        if sorted(named) == sorted(int(i) for i in graph.outputs):
            graph.outputs = sorted(named, key=lambda number: named[number])


def _natural(name: bytes) -> tuple[bytes, int]:
    """``output_10`` comes after ``output_9``."""
    stem = name.rstrip(b"0123456789")
    return stem, int(name[len(stem) :] or 0)


def _cut(model: Any, name: str) -> dict[int, list[int]]:
    """End in the grids, in place; by tensor number of an old output those that it was made of."""
    graph = model.subgraphs[0]
    makers = {
        int(o.outputs[0]): (o, n)
        for o, n in zip(graph.operators, operator_names(model), strict=True)
    }

    def grids(tensor: int) -> list[int]:
        operator, kind = makers.get(tensor, (None, ""))
        shape = tuple(graph.tensors[tensor].shape)
        if len(shape) == _GRID or kind not in _LAYS_SIDE_BY_SIDE:
            return [tensor]
        # A RESHAPE's second input is the shape that it makes.
        inputs = operator.inputs if kind == "CONCATENATION" else operator.inputs[:1]
        return [grid for number in inputs for grid in grids(int(number))]

    whole = {int(number): grids(int(number)) for number in graph.outputs}
    heads = [grid for part in whole.values() for grid in part]
    shapes = [tuple(int(size) for size in graph.tensors[head].shape) for head in heads]
    if any(len(shape) != _GRID for shape in shapes) or len(heads) < 2:  # scores and boxes
        told = ", ".join(str(list(shape)) for shape in shapes)
        raise ModelError(f"{name} gives {told}, which are not the grids of a detector.", _DETECTOR)
    graph.outputs = heads
    needed = set(heads)
    kept = []
    for operator in reversed(graph.operators):
        if needed & {int(i) for i in operator.outputs}:
            needed |= {int(i) for i in operator.inputs}
            kept.append(operator)
    graph.operators = kept[::-1]
    return whole


def _fuse_relu(model: Any) -> None:
    """Move each ReLU that is the only reader of a convolution or sum into it, in place."""
    graph, kept = model.subgraphs[0], []
    readers: dict[int, int] = {}
    for operator in graph.operators:
        for number in map(int, operator.inputs):
            readers[number] = readers.get(number, 0) + 1
    makers: dict[int, tuple[Any, str]] = {}
    for operator, kind in zip(graph.operators, operator_names(model), strict=True):
        before, made_by = makers.get(int(operator.inputs[0]), (None, ""))
        if (
            kind == "RELU"
            and made_by in _TAKES_RELU
            and before.builtinOptions.fusedActivationFunction == _NONE
            and readers[int(operator.inputs[0])] == 1
            and int(operator.inputs[0]) not in graph.outputs
        ):
            before.builtinOptions.fusedActivationFunction = _RELU
            before.outputs = operator.outputs
            makers[int(operator.outputs[0])] = before, made_by
            continue
        makers[int(operator.outputs[0])] = operator, kind
        kept.append(operator)
    graph.operators = kept
