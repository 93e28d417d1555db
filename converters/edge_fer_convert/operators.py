"""What each operator asks of its tensors in int8.

From TFLite's 8-bit quantisation specification (tensorflow/lite: quantization_spec) and the
operators' versions (tensorflow/compiler/mlir/lite/tools/versioning: op_version.cc,
runtime_version.cc). An operator that is not here is not quantised; it is named instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edge_fer_convert.graph import Graph, Operator

__all__ = ["RULES", "Rule", "int8_version"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How an operator is quantised.

    Attributes:
        version: of its int8 kernel, and the first TFLite runtime that has it.
        layer: a weighted layer: input, weights, bias.
        scales: ``own``: the output has a scale of its own; ``shared``: it has its inputs';
            ``clamp``: it has its input's, and what it would cut away may saturate there.
        fixed: scale and zero point that the specification fixes for the output.
    """

    version: tuple[int, str] = (2, "1.14.0")
    layer: bool = False
    scales: Literal["own", "shared", "clamp"] = "own"
    fixed: tuple[float, int] | None = None


_SHARED = Rule(scales="shared")
_SHAPE_ONLY = Rule(scales="shared", version=(1, "1.5.0"))

RULES: dict[str, Rule] = {
    "ADD": Rule(),
    "AVERAGE_POOL_2D": _SHARED,
    "CONCATENATION": _SHARED,
    "CONV_2D": Rule(layer=True, version=(3, "1.14.0")),
    "DEPTHWISE_CONV_2D": Rule(layer=True, version=(3, "1.14.0")),
    "ELU": Rule(version=(1, "1.14.0")),
    "EXPAND_DIMS": _SHAPE_ONLY,
    "FULLY_CONNECTED": Rule(layer=True, version=(4, "1.14.0")),
    "HARD_SWISH": Rule(version=(1, "1.14.0")),
    "LEAKY_RELU": Rule(version=(2, "2.3.0")),
    "LOGISTIC": Rule(fixed=(1 / 256, -128)),
    "MAXIMUM": _SHARED,
    "MAX_POOL_2D": _SHARED,
    "MEAN": Rule(),
    "MINIMUM": _SHARED,
    "MUL": Rule(),
    "PAD": _SHARED,
    "PADV2": _SHARED,
    "PRELU": Rule(version=(1, "1.8.0")),
    "REDUCE_MAX": _SHARED,
    "RELU": Rule(version=(2, "2.1.0"), scales="clamp"),
    "RELU6": Rule(scales="clamp"),
    "RESHAPE": _SHAPE_ONLY,
    "RESIZE_BILINEAR": _SHARED,
    "RESIZE_NEAREST_NEIGHBOR": _SHARED,
    "SLICE": _SHARED,
    "SOFTMAX": Rule(fixed=(1 / 256, -128)),
    "SPLIT": _SHARED,
    "SQUEEZE": _SHAPE_ONLY,
    "STRIDED_SLICE": _SHARED,
    "SUB": Rule(),
    "SUM": Rule(version=(2, "1.15.0")),
    "TANH": Rule(fixed=(1 / 128, 0)),
    "TRANSPOSE": _SHARED,
}

_KEEPS_DIMENSIONS = (5, "2.0.0")  # FULLY_CONNECTED with keep_num_dims
_WITHOUT_BIAS = (6, "2.1.0")  # FULLY_CONNECTED with two inputs
_LARGE_PRODUCT = (3, "1.15.0")  # MUL whose rescaling factor is 1 or more


def int8_version(graph: Graph, operator: Operator) -> tuple[int, str]:
    """Version of an operator of an int8 graph, and the first runtime that has it."""
    if operator.name == "FULLY_CONNECTED":
        if len([i for i in operator.inputs if i >= 0]) == 2:
            return _WITHOUT_BIAS
        if operator.option("keepNumDims"):
            return _KEEPS_DIMENSIONS
    if operator.name == "MUL":
        first, second, product = (
            graph.tensors[i].scales[0] for i in (*operator.inputs, operator.outputs[0])
        )
        if first * second / product >= 1:
            return _LARGE_PRODUCT
    return RULES[operator.name].version
