"""Keras's ``UpSampling2D`` (nearest) becomes the one operator that it means.

Keras 3 exports it as five operators, RESHAPE and TILE in five dimensions, which neither XNNPACK
nor the Edge TPU takes. RESIZE_NEAREST_NEIGHBOR without ``align_corners`` and
``half_pixel_centers`` copies the same values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer_convert.graph import constant
from edge_fer_convert.inputs.surgery import constants, make_constant, operator_names

__all__ = ["mend_upsampling"]

_COPIES = frozenset({"RESHAPE", "TILE"})


def mend_upsampling(model: Any) -> None:
    """Replace every chain of RESHAPE and TILE that enlarges a map by a whole factor, in place.

    What a chain does is found by running it on numbered elements, so that no form of it is assumed.
    """
    graph, names, held = model.subgraphs[0], operator_names(model), constants(model)
    makers = {int(o.outputs[0]): i for i, o in enumerate(graph.operators)}
    readers: dict[int, int] = {}
    for operator in graph.operators:
        for number in map(int, operator.inputs):
            readers[number] = readers.get(number, 0) + 1
    gone: set[int] = set()
    for end in reversed(range(len(names))):
        if end in gone or names[end] not in _COPIES:
            continue
        chain = [end]
        while True:
            before = int(graph.operators[chain[0]].inputs[0])
            place = makers.get(before)
            if place is None or names[place] not in _COPIES or readers[before] != 1:
                break
            chain.insert(0, place)
        small, large = before, int(graph.operators[end].outputs[0])
        if not held.issuperset(int(i) for n in chain for i in graph.operators[n].inputs[1:]):
            continue
        if _enlarges(model, chain, [names[n] for n in chain], small, large):
            _resize(model, graph.operators[end], small, large)
            gone |= set(chain[:-1])
    graph.operators = [o for i, o in enumerate(graph.operators) if i not in gone]


def _enlarges(model: Any, chain: list[int], names: list[str], small: int, large: int) -> bool:
    graph = model.subgraphs[0]
    before, after = (tuple(map(int, graph.tensors[t].shape)) for t in (small, large))
    if "TILE" not in names or len(before) != 4 or len(after) != 4:
        return False
    down, across = after[1] // before[1], after[2] // before[2]
    numbered = np.arange(int(np.prod(before))).reshape(before)
    wanted = numbered.repeat(down, axis=1).repeat(across, axis=2)
    made: NDArray[np.int64] = numbered
    for place, name in zip(chain, names, strict=True):
        operator = graph.operators[place]
        if name == "TILE":
            made = np.tile(made, constant(model, int(operator.inputs[1])))
        else:
            made = made.reshape(tuple(map(int, graph.tensors[int(operator.outputs[0])].shape)))
    return made.shape == wanted.shape and bool((made == wanted).all())


def _resize(model: Any, operator: Any, small: int, large: int) -> None:
    """Make the last operator of a chain the resize of what went into its first one."""
    from ai_edge_litert import schema_py_generated as schema

    graph = model.subgraphs[0]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.RESIZE_NEAREST_NEIGHBOR
    code.version = 1
    model.operatorCodes.append(code)
    size = schema.TensorT()
    size.name, size.type = b"size/%d" % len(graph.tensors), schema.TensorType.INT32
    graph.tensors.append(size)
    height_width = np.array(graph.tensors[large].shape[1:3], np.int32)
    make_constant(model, len(graph.tensors) - 1, height_width)
    operator.opcodeIndex = len(model.operatorCodes) - 1
    operator.inputs = [small, len(graph.tensors) - 1]
    operator.builtinOptionsType = schema.BuiltinOptions.ResizeNearestNeighborOptions
    operator.builtinOptions = schema.ResizeNearestNeighborOptionsT()
