"""A float model in one form, whoever wrote it, so that passes and the quantiser can rely on it.

* Each constant has a tensor and a buffer of its own. Converters store equal constants once: ten
  convolutions without a bias share one run of zeros, and each needs another scale in int8.
* Every tensor has a name, and no two have the same: what is known of a tensor is kept under it.
* Operators are named in the wide field of the schema. Files from before 2020 fill only the narrow
  one, and readers of the wide one take every operator for ADD, which is number 0.
"""

from __future__ import annotations

import copy
from typing import Any

from edge_fer_convert.graph import from_object, to_object

__all__ = ["canonical"]


def canonical(flatbuffer: bytes) -> bytes:
    """The same model in canonical form.

    Args:
        flatbuffer: a float model, without a contract.

    Raises:
        ModelError: not a flatbuffer that can be read.
    """
    model = to_object(flatbuffer)
    for code in model.operatorCodes:
        code.builtinCode = max(code.builtinCode, code.deprecatedBuiltinCode)
    _own_tensors(model)
    _own_buffers(model)
    _own_names(model)
    return from_object(model)


def _own_tensors(model: Any) -> None:
    graph = model.subgraphs[0]
    taken: set[int] = set()
    for operator in graph.operators:
        for place, number in enumerate(operator.inputs):
            if number < 0 or not _is_constant(model, graph.tensors[number]):
                continue
            if number in taken:
                twin = copy.copy(graph.tensors[number])
                twin.name = twin.name + f"/{len(graph.tensors)}".encode()
                graph.tensors.append(twin)
                operator.inputs[place] = len(graph.tensors) - 1
            taken.add(number)


def _own_buffers(model: Any) -> None:
    taken: set[int] = set()
    for tensor in model.subgraphs[0].tensors:
        if not _is_constant(model, tensor):
            continue
        if tensor.buffer in taken:
            model.buffers.append(copy.copy(model.buffers[tensor.buffer]))
            tensor.buffer = len(model.buffers) - 1
        taken.add(tensor.buffer)


def _own_names(model: Any) -> None:
    taken: set[bytes] = set()
    for number, tensor in enumerate(model.subgraphs[0].tensors):
        name = tensor.name or b""
        if not name or name in taken:
            tensor.name = name = name + f"/{number}".encode()
        taken.add(name)


def _is_constant(model: Any, tensor: Any) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0
