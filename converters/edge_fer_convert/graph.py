"""What a flatbuffer holds, as plain values: operators, tensors, weights.

Read with ``ai_edge_litert``'s own object interface; TensorFlow is not needed.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.errors import ModelError

__all__ = [
    "FLOAT_TYPES",
    "Graph",
    "GraphTensor",
    "Operator",
    "builtin_name",
    "constant",
    "from_object",
    "set_constant",
    "to_object",
]

_DTYPES = {"FLOAT32": "<f4", "FLOAT16": "<f2", "INT32": "<i4", "INT64": "<i8", "INT8": "i1"}
FLOAT_TYPES = frozenset({"FLOAT16", "BFLOAT16", "FLOAT32", "FLOAT64"})


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphTensor:
    """One tensor of the graph.

    Attributes:
        index: its number in the graph.
        name: what the converter called it.
        shape: static shape.
        dtype: the schema's word: ``INT8``, ``FLOAT32``, ...
        scales, zero_points: of its quantisation, one or one per channel; empty where there is none.
        data: the bytes of a constant (weights, biases, axes), or None for an activation.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    data: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One operator: the schema's name and version, its tensors by number, its options as JSON."""

    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: str

    def option(self, name: str) -> Any:
        """One option by the schema's name, or None where the operator has none of that name."""
        return json.loads(self.options).get(name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Graph:
    """The first subgraph of a model, in the order in which it runs.

    Attributes:
        operators: in execution order.
        tensors: by number.
        inputs, outputs: tensor numbers.
        metadata: the named buffers beside the graph.
        subgraphs: how many the file has; more than one means control flow.
    """

    operators: tuple[Operator, ...]
    tensors: tuple[GraphTensor, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    metadata: Mapping[str, bytes] = field(repr=False)
    subgraphs: int = 1

    @classmethod
    def read(cls, flatbuffer: bytes) -> Graph:
        """Read a flatbuffer.

        Raises:
            ModelError: not a flatbuffer that can be read.
        """
        return cls.of(to_object(flatbuffer))

    @classmethod
    def of(cls, model: Any) -> Graph:
        """The same of a ``ModelT`` object."""
        main = model.subgraphs[0]

        def data(number: int) -> bytes | None:
            held = model.buffers[number].data
            return None if held is None or len(held) == 0 else bytes(bytearray(held))

        return cls(
            operators=tuple(_operator(o, model.operatorCodes) for o in main.operators),
            tensors=tuple(_tensor(i, t, data(t.buffer)) for i, t in enumerate(main.tensors)),
            inputs=_numbers(main.inputs),
            outputs=_numbers(main.outputs),
            metadata={m.name.decode(): data(m.buffer) or b"" for m in model.metadata or ()},
            subgraphs=len(model.subgraphs),
        )

    def activations(self) -> Iterator[GraphTensor]:
        """The tensors that are computed, and the input."""
        return (t for t in self.tensors if t.data is None and t.name)

    def counts(self) -> dict[str, int]:
        """How often each operator occurs, by name and version: ``CONV_2D v3`` -> 11."""
        found: dict[str, int] = {}
        for operator in self.operators:
            key = f"{operator.name} v{operator.version}"
            found[key] = found.get(key, 0) + 1
        return dict(sorted(found.items()))


def to_object(flatbuffer: bytes) -> Any:
    """A flatbuffer as ai_edge_litert's ``ModelT``.

    Raises:
        ModelError: not a flatbuffer that can be read.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    try:
        return flatbuffer_utils.read_model_from_bytearray(bytearray(flatbuffer))
    except (struct.error, IndexError, ValueError, TypeError) as err:
        raise ModelError(
            f"The model is not a readable .tflite ({err}).", "Convert it again."
        ) from err


def constant(model: Any, tensor: int) -> NDArray[Any]:
    """A constant of a ``ModelT``'s first subgraph, in its own type and shape."""
    held = model.subgraphs[0].tensors[tensor]
    data = bytes(bytearray(model.buffers[held.buffer].data))
    return np.frombuffer(data, _DTYPES[_names("TensorType")[held.type]]).reshape(held.shape)


def set_constant(model: Any, tensor: int, values: NDArray[Any]) -> None:
    """Replace a constant of a ``ModelT`` whose buffer is its own; type and shape stay."""
    held = model.subgraphs[0].tensors[tensor]
    dtype = _DTYPES[_names("TensorType")[held.type]]
    model.buffers[held.buffer].data = np.frombuffer(values.astype(dtype).tobytes(), np.uint8)


def from_object(model: Any) -> bytes:
    """The bytes of a ``ModelT``; the same object always gives the same bytes."""
    from ai_edge_litert.tools import flatbuffer_utils

    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def builtin_name(code: Any) -> str:
    """The schema's name of an operator code: ``CONV_2D``."""
    # Codes above 127 live in the wider field, older files fill only the narrow one.
    return _names("BuiltinOperator")[max(code.builtinCode, code.deprecatedBuiltinCode)]


@cache
def _names(enum: str) -> dict[int, str]:
    from ai_edge_litert import schema_py_generated as schema

    return {v: k for k, v in vars(getattr(schema, enum)).items() if isinstance(v, int)}


def _operator(operator: Any, codes: Any) -> Operator:
    code = codes[operator.opcodeIndex]
    options = {} if operator.builtinOptions is None else vars(operator.builtinOptions)
    return Operator(
        name=builtin_name(code),
        version=int(code.version),
        inputs=_numbers(operator.inputs),
        outputs=_numbers(operator.outputs),
        options=json.dumps(
            {k: np.asarray(v).tolist() for k, v in options.items()}, sort_keys=True, default=str
        ),
    )


def _tensor(index: int, tensor: Any, data: bytes | None) -> GraphTensor:
    quantisation = tensor.quantization
    scales = None if quantisation is None else quantisation.scale
    return GraphTensor(
        index=index,
        name=(tensor.name or b"").decode(),
        shape=_numbers(tensor.shape),
        dtype=_names("TensorType")[tensor.type],
        scales=() if scales is None else tuple(float(s) for s in scales),
        zero_points=() if scales is None else _numbers(quantisation.zeroPoint),
        data=data,
    )


def _numbers(values: Any) -> tuple[int, ...]:
    return () if values is None else tuple(int(v) for v in values)
