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

from edge_fer.errors import ModelError
from edge_fer_convert.graph import Graph, constant, from_object, to_object
from edge_fer_convert.inputs.accepted import (
    check_float,
    check_operators,
    check_picture,
    check_scores,
    check_values,
    read_graph,
)
from edge_fer_convert.inputs.surgery import (
    answers,
    drop_metadata,
    make_constant,
    make_static,
    operator_names,
    plain_interpreter,
    prune,
    shape_signature,
    widen,
)

__all__ = ["Imported", "import_float"]

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
    signature = shape_signature(main.tensors[main.inputs[0]])
    check_picture(signature, name)
    picture = (1, *signature[1:])
    drop_metadata(model)
    widen(model)
    if any(-1 in shape_signature(t) for t in main.tensors) or "SHAPE" in operator_names(model):
        make_static(model, picture, name)
    check_values(Graph.of(model), name)
    before = tuple(int(size) for size in main.tensors[main.outputs[0]].shape)
    _two_logits(model)
    after = tuple(int(size) for size in main.tensors[main.outputs[0]].shape)
    check_scores(after, name)
    prune(model)
    result = from_object(model)
    _check_unchanged(flatbuffer, result, picture, sigmoid=before != after, name=name)
    return Imported(flatbuffer=result, shape=(picture[1], picture[2], picture[3]), classes=after[1])


def _two_logits(model: Any) -> None:
    """Make ``[0, z]`` of ``sigmoid(z)`` at the end of a ``Dense(1)``, in place."""
    graph = model.subgraphs[0]
    makers = {
        int(o.outputs[0]): (o, n)
        for o, n in zip(graph.operators, operator_names(model), strict=True)
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
            make_constant(model, dense.inputs[place], doubled)
    graph.tensors[score].shape, graph.tensors[score].shapeSignature = [1, 2], None
    graph.operators = [o for o in graph.operators if o is not last]
    for signature in model.signatureDefs or ():
        for end in signature.outputs:
            end.tensorIndex = score
    graph.outputs = [score]


def _check_unchanged(
    before: bytes, after: bytes, picture: tuple[int, ...], *, sigmoid: bool, name: str
) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.random(picture, np.float32) for _ in range(_TRIALS)]
    original, rebuilt = (plain_interpreter(data, picture, name) for data in (before, after))
    for given in pictures:
        expected, found = answers(original, given)[0], answers(rebuilt, given)[0]
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
