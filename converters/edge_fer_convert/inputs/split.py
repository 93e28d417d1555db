"""One head for each kind of number that a BlazeFace says of a face, in place.

The published nets give centre, size and keypoints in one tensor: a few pixels beside a few hundred.
In int8 they would share a scale, and the offset of a centre, a few pixels, would come in steps of
one. Measured on blazeface-full with the same ranges: the median overlap with the float boxes is
.929 with one head for all and .957 with three. The last convolution has its weights by output
channel, so taking it apart changes nothing that is computed.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from edge_fer.contract import DetectionSpec
from edge_fer_convert.graph import constant
from edge_fer_convert.inputs.surgery import make_constant, operator_names

__all__ = ["split_heads"]

_CENTRE, _SIZE = 2, 2  # numbers


def split_heads(model: Any, detection: DetectionSpec | None) -> dict[int, tuple[int, ...]]:
    """Take the heads of boxes and keypoints apart, where they come out of one convolution.

    Args:
        model: a ``ModelT`` that ends in its grids.
        detection: how they are read.

    Returns:
        By tensor number of an old output, the outputs that it became.
    """
    graph = model.subgraphs[0]
    if detection is None or detection.decoder != "anchors":
        return {int(number): (int(number),) for number in graph.outputs}
    points = 2 * len(detection.keypoints)
    kinds = [n for n in (_CENTRE, _SIZE, points) if n]
    named = zip(graph.operators, operator_names(model), strict=True)
    makers = {int(o.outputs[0]): o for o, name in named if name == "CONV_2D"}
    became: dict[int, tuple[int, ...]] = {}
    for number in [int(i) for i in graph.outputs]:
        became[number] = (number,)
        channels = int(graph.tensors[number].shape[3])
        anchors = channels // sum(kinds)
        if channels % sum(kinds) or number not in makers:
            continue
        of = np.arange(channels).reshape(anchors, sum(kinds))
        taken = np.split(of, np.cumsum(kinds)[:-1], axis=1)
        whole = makers[number]
        parts = [_part(model, whole, rows.ravel(), kind) for kind, rows in enumerate(taken)]
        place = next(i for i, o in enumerate(graph.operators) if o is whole)
        graph.operators[place : place + 1] = parts
        became[number] = tuple(int(part.outputs[0]) for part in parts)
    graph.outputs = [part for number in graph.outputs for part in became[int(number)]]
    return became


def _part(model: Any, whole: Any, rows: np.ndarray[Any, Any], kind: int) -> Any:
    """The convolution with some of its output channels."""
    graph, part = model.subgraphs[0], copy.copy(whole)
    word = (b"/centre", b"/size", b"/keypoints")[kind]
    part.inputs = [int(i) for i in whole.inputs]
    for slot, number in enumerate(part.inputs[1:], 1):
        if number >= 0:
            part.inputs[slot] = _twin(graph, number, word)
            make_constant(model, part.inputs[slot], constant(model, number)[rows])
    part.outputs = [_twin(graph, int(whole.outputs[0]), word)]
    made = graph.tensors[part.outputs[0]]
    made.shape = [*(int(size) for size in made.shape[:3]), len(rows)]
    return part


def _twin(graph: Any, number: int, word: bytes) -> int:
    tensor = copy.copy(graph.tensors[number])
    tensor.name, tensor.shapeSignature = (tensor.name or b"") + word, None
    graph.tensors.append(tensor)
    return len(graph.tensors) - 1
