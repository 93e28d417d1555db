"""What a flatbuffer computes, operator by operator, for people to read.

Read with the plain flatbuffers package, as the contract is, so that it works beside any runtime.
Slots, names and their order are those of TFLite's schema.fbs; a field's slot is 4 + 2 * its number.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import prod
from typing import Any

from edge_fer.errors import ModelError

__all__ = ["OPERATORS", "TYPES", "GraphLine", "GraphTable", "read_graph"]

# schema.fbs: BuiltinOperator, by number.
_OPERATORS = """
    ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE
    EMBEDDING_LOOKUP FLOOR FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D
    LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1
    RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH CONCAT_EMBEDDINGS SKIP_GRAM
    CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER BATCH_TO_SPACE_ND
    SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE
    BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM
    CAST PRELU MAXIMUM ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE
    SIN TRANSPOSE_CONV SPARSE_TO_DENSE TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW
    ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK
    REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD RANGE RESIZE_NEAREST_NEIGHBOR
    LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N GATHER_ND COS
    WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE
    NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM
    BATCH_MATMUL PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG
    REAL COMPLEX_ABS HASHTABLE HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL
    CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL
    BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD
    UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2 UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR
    RIGHT_SHIFT
"""

# schema.fbs: TensorType, by number.
_TYPES = """
    FLOAT32 FLOAT16 INT32 UINT8 INT64 STRING BOOL INT16 COMPLEX64 INT8 FLOAT64 COMPLEX128 UINT64
    RESOURCE VARIANT UINT32 UINT16 INT4 BFLOAT16
"""
OPERATORS = tuple(_OPERATORS.split())
TYPES = tuple(_TYPES.split())
_FLOATS = frozenset({"FLOAT32", "FLOAT16", "BFLOAT16", "FLOAT64"})
# Their work cannot be seen from the shapes around them.
_OPAQUE = frozenset({"CALL", "CALL_ONCE", "CUSTOM", "DELEGATE", "IF", "WHILE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphLine:
    """One operator.

    Attributes:
        number: its place in the order in which the graph runs.
        operator: the schema's name; for one that TFLite does not have, its own.
        version: of the operator.
        shape: of its first output; -1 where a size is left open.
        dtype: of its first output.
        scale, zero_point: of its first output, or None where it has none.
        weight_bytes: constants that it reads: weights, biases, axes; each counted once.
        macs: multiply-accumulates of one run, or None where that cannot be told. Only layers with
            weights count; what is done element by element is 0.
    """

    number: int
    operator: str
    version: int
    shape: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int | None
    weight_bytes: int
    macs: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GraphTable:
    """A whole graph.

    Attributes:
        lines: its operators, in order.
        parameters: weights and biases; axes, shapes and the like are none.
        subgraphs: more than one means control flow, whose further graphs are not in here.
    """

    lines: tuple[GraphLine, ...]
    parameters: int
    subgraphs: int

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates of one run, or None where those of some operator are unknown."""
        counted = [line.macs for line in self.lines if line.macs is not None]
        whole = len(counted) == len(self.lines) and self.subgraphs == 1
        return sum(counted) if whole else None

    @property
    def weight_bytes(self) -> int:
        """Of all constants."""
        return sum(line.weight_bytes for line in self.lines)

    def to_json(self) -> dict[str, Any]:
        """``operators``, and ``totals`` over them."""
        return {
            "operators": [asdict(line) | {"shape": list(line.shape)} for line in self.lines],
            "totals": {
                "operators": len(self.lines),
                "parameters": self.parameters,
                "macs": self.macs,
                "weight_bytes": self.weight_bytes,
                "subgraphs": self.subgraphs,
            },
        }


def read_graph(flatbuffer: bytes) -> GraphTable:
    """Read the first graph of a model.

    Args:
        flatbuffer: the model, with or without a contract inside.

    Raises:
        ModelError: not a flatbuffer that can be read.
    """
    try:
        return _read(flatbuffer)
    except (struct.error, IndexError, ValueError, TypeError) as err:
        raise ModelError(
            f"The graph of the model cannot be read ({err}).", "Get a fresh copy of the file."
        ) from err


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of the schema, its fields by slot; absent ones give the schema's default."""

    data: Any

    @classmethod
    def root(cls, flatbuffer: bytes) -> _Table:
        from flatbuffers import encode, packer, table

        return cls(table.Table(flatbuffer, encode.Get(packer.uoffset, flatbuffer, 0)))

    def number(self, slot: int, kind: str, default: int = 0) -> int:
        from flatbuffers import number_types

        offset = self.data.Offset(slot)
        flags = getattr(number_types, f"{kind}Flags")
        return int(self.data.Get(flags, offset + self.data.Pos)) if offset else default

    def text(self, slot: int) -> str:
        offset = self.data.Offset(slot)
        return self.data.String(offset + self.data.Pos).decode(errors="replace") if offset else ""

    def count(self, slot: int) -> int:
        offset = self.data.Offset(slot)
        return int(self.data.VectorLen(offset)) if offset else 0

    def numbers(self, slot: int, code: str, limit: int | None = None) -> tuple[Any, ...]:
        """A vector of numbers: ``i`` int32, ``q`` int64, ``f`` float32."""
        count = self.count(slot) if limit is None else min(limit, self.count(slot))
        if not count:
            return ()
        return struct.unpack_from(
            f"<{count}{code}", self.data.Bytes, self.data.Vector(self.data.Offset(slot))
        )

    def table(self, slot: int) -> _Table | None:
        from flatbuffers import table

        offset = self.data.Offset(slot)
        if not offset:
            return None
        return _Table(table.Table(self.data.Bytes, self.data.Indirect(offset + self.data.Pos)))

    def tables(self, slot: int) -> list[_Table]:
        from flatbuffers import table

        if not self.count(slot):
            return []
        start = self.data.Vector(self.data.Offset(slot))
        at = [self.data.Indirect(start + 4 * i) for i in range(self.count(slot))]
        return [_Table(table.Table(self.data.Bytes, place)) for place in at]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tensor:
    """One tensor; ``size`` is the bytes of a constant, 0 for what is computed."""

    shape: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...]
    zero_points: tuple[int, ...]
    size: int


def _read(flatbuffer: bytes) -> GraphTable:
    model = _Table.root(flatbuffer)
    sizes = [max(b.count(4), b.number(8, "Uint64")) for b in model.tables(12)]
    codes = [_code(entry) for entry in model.tables(6)]
    graphs = model.tables(8)
    if not graphs:
        raise ValueError("it holds none")
    tensors = [_tensor(entry, sizes) for entry in graphs[0].tables(4)]
    lines, seen = [], set[int]()
    for number, entry in enumerate(graphs[0].tables(10)):
        name, version = codes[entry.number(4, "Uint32")]
        inputs = [i for i in entry.numbers(6, "i") if i >= 0]
        outputs = entry.numbers(8, "i")
        made = tensors[outputs[0]] if outputs else None
        lines.append(
            GraphLine(
                number=number,
                operator=name,
                version=version,
                shape=made.shape if made else (),
                dtype=made.dtype if made else "",
                scale=made.scales[0] if made and made.scales else None,
                zero_point=made.zero_points[0] if made and made.zero_points else None,
                weight_bytes=sum(tensors[i].size for i in set(inputs) - seen),
                macs=_macs(name, [tensors[i] for i in inputs], made),
            )
        )
        seen |= set(inputs)
    weights = [tensors[i] for i in seen if tensors[i].size]
    return GraphTable(
        lines=tuple(lines),
        parameters=sum(prod(t.shape) for t in weights if t.dtype in _FLOATS or t.scales),
        subgraphs=len(graphs),
    )


def _code(entry: _Table) -> tuple[str, int]:
    # Codes above 127 live in the wider field, older files fill only the narrow one.
    code = max(entry.number(4, "Int8"), entry.number(10, "Int32"))
    name = OPERATORS[code] if code < len(OPERATORS) else f"OPERATOR_{code}"
    return (entry.text(6) or name) if name == "CUSTOM" else name, entry.number(8, "Int32", 1)


def _tensor(entry: _Table, sizes: list[int]) -> _Tensor:
    kind = entry.number(6, "Int8")
    quantisation = entry.table(12)
    shape, signature = entry.numbers(4, "i"), entry.numbers(18, "i")
    return _Tensor(
        shape=signature or shape,
        dtype=TYPES[kind] if kind < len(TYPES) else f"TYPE_{kind}",
        scales=() if quantisation is None else quantisation.numbers(8, "f"),
        zero_points=() if quantisation is None else quantisation.numbers(10, "q"),
        size=sizes[entry.number(8, "Uint32")],
    )


def _macs(name: str, inputs: list[_Tensor], made: _Tensor | None) -> int | None:
    """Multiply-accumulates, by the shapes of TFLite's kernels; None where they cannot be told."""
    if name in _OPAQUE or name not in OPERATORS or made is None:
        return None
    output, given = made.shape, [tensor.shape for tensor in inputs]
    if any(size < 0 for shape in (output, *given) for size in shape):
        return None
    return _WORK[name](output, given) if name in _WORK else 0


_Shape = tuple[int, ...]
_WORK: dict[str, Callable[[_Shape, list[_Shape]], int]] = {
    # Input, weights [out, h, w, in].
    "CONV_2D": lambda output, given: prod(output) * prod(given[1][1:]),
    # Input, weights [1, h, w, out].
    "DEPTHWISE_CONV_2D": lambda output, given: prod(output) * prod(given[1][1:3]),
    # Input, weights [out, in].
    "FULLY_CONNECTED": lambda output, given: prod(output) * given[1][-1],
    # Shape, weights [out, h, w, in], input.
    "TRANSPOSE_CONV": lambda _, given: prod(given[2]) * prod(given[1][:3]),
    "BATCH_MATMUL": lambda output, given: prod(output) * given[0][-1],
}
