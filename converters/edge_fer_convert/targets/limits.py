"""Limits that an accelerator sets on an operator which it maps, and how to see that one is broken.

A target's file names them; what they mean stands here. They are those of the operators' tables of
XNNPACK (LiteRT, tflite/delegates/xnnpack/README.md) and of the Edge TPU
(https://coral.ai/docs/edgetpu/models-intro/#supported-operations) that a graph can be asked about.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from edge_fer_convert.graph import Graph, Operator

__all__ = ["LIMITS", "Broken", "Limit", "constants"]

# schema.fbs: ActivationFunctionType, in its order.
_ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")

Broken = tuple[str, str] | None
"""What the accelerator wants and what to use instead, in words; None where the limit is kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """One kind of limit.

    Attributes:
        kind: the type of its value in a target's file.
        broken: called with graph, operator and that value.
    """

    kind: type
    broken: Callable[[Graph, Operator, Any], Broken]


def constants(graph: Graph) -> frozenset[int]:
    """Numbers of the tensors that hold the same at every run.

    In a float16 model the weights are made so: DEQUANTIZE of a constant.
    """
    held = {tensor.index for tensor in graph.tensors if tensor.data is not None}
    turned = [o for o in graph.operators if o.name == "DEQUANTIZE" and o.inputs[0] in held]
    return frozenset(held | {index for operator in turned for index in operator.outputs})


def _option(operator: Operator, name: str) -> int:
    return int(operator.option(name) or 0)


def _numbers(graph: Graph, operator: Operator, place: int) -> list[int]:
    """The values of a constant int32 input, or nothing where it is none."""
    if place >= len(operator.inputs) or operator.inputs[place] < 0:
        return []
    data = graph.tensors[operator.inputs[place]].data
    return [] if data is None else [int(v) for v in np.frombuffer(data, np.int32)]


def _fused(_: Graph, operator: Operator, value: list[str]) -> Broken:
    number = _option(operator, "fusedActivationFunction")
    name = _ACTIVATIONS[number] if number < len(_ACTIVATIONS) else f"activation {number}"
    if name in value:
        return None
    return f"{' or '.join(value)} fused into it, this has {name}", "ReLU, or a layer of its own"


def _max_inputs(_: Graph, operator: Operator, value: int) -> Broken:
    found = len(operator.inputs)
    return None if found <= value else (f"up to {value} inputs, this has {found}", "two in a row")


def _max_outputs(_: Graph, operator: Operator, value: int) -> Broken:
    found = len(operator.outputs)
    return None if found <= value else (f"up to {value} outputs, this has {found}", "two in a row")


def _constant_weights(graph: Graph, operator: Operator, value: bool) -> Broken:
    if not value or {i for i in operator.inputs[1:] if i >= 0} <= constants(graph):
        return None
    return "weights that are constants", "a layer with weights of its own"


def _constant_inputs_zero(graph: Graph, operator: Operator, value: bool) -> Broken:
    tensors = [graph.tensors[i] for i in operator.inputs]
    constants = [t for t in tensors if t.data is not None]
    zero = all(
        set(t.data or b"") <= {(t.zero_points[0] if t.zero_points else 0) & 255} for t in constants
    )
    if not value or not constants or (len(tensors) == 2 and zero):
        return None
    return "one constant of zeros beside one input", "zero padding"


def _equal_dilation(_: Graph, operator: Operator, value: bool) -> Broken:
    if not value or _option(operator, "dilationWFactor") == _option(operator, "dilationHFactor"):
        return None
    return "the same dilation in both directions", "one dilation for both"


def _flat_output(graph: Graph, operator: Operator, value: bool) -> Broken:
    shape = graph.tensors[operator.outputs[0]].shape
    if not value or all(size == 1 for size in shape[:-1]):
        return None
    return f"an output of one dimension, this makes {list(shape)}", "a 1x1 convolution, or Flatten"


def _max_elements(graph: Graph, operator: Operator, value: int) -> Broken:
    found = int(np.prod(graph.tensors[operator.inputs[0]].shape))
    return None if found <= value else (f"up to {value} values, this has {found}", "fewer values")


def _keeps_batch(graph: Graph, operator: Operator, value: bool) -> Broken:
    rank = len(graph.tensors[operator.outputs[0]].shape)
    if operator.name == "PAD":
        touched = any(_numbers(graph, operator, 1)[:2])
    elif operator.name == "PACK":
        touched = _option(operator, "axis") in (0, -rank)
    else:
        # SPLIT names its axis first, the reductions second; negative axes count from the end.
        source, axes = (1, 0) if operator.name == "SPLIT" else (0, 1)
        rank = len(graph.tensors[operator.inputs[source]].shape)
        touched = any(axis in (0, -rank) for axis in _numbers(graph, operator, axes))
    return ("the batch left alone", "another axis") if value and touched else None


def _channels_multiple(graph: Graph, operator: Operator, value: int) -> Broken:
    shape = graph.tensors[operator.inputs[0]].shape
    over = any(axis in (len(shape) - 1, -1) for axis in _numbers(graph, operator, 1))
    if not over or shape[-1] % value == 0:
        return None
    return f"a multiple of {value} channels, this has {shape[-1]}", "a mean over height and width"


def _alpha_per_channel(graph: Graph, operator: Operator, value: bool) -> Broken:
    shape = graph.tensors[operator.inputs[1]].shape
    if not value or all(size == 1 for size in shape[:-1]):
        return None
    return f"one slope per channel, this has {list(shape)}", "PReLU(shared_axes=[1, 2])"


def _strided_1x1(_: Graph, operator: Operator, value: bool) -> Broken:
    window = {_option(operator, name) for name in ("filterHeight", "filterWidth")}
    strides = {_option(operator, name) for name in ("strideH", "strideW")}
    if value or window != {1} or strides == {1}:
        return None
    return "a window of more than one pixel where it strides", "a convolution with that stride"


def _unit_strides(graph: Graph, operator: Operator, value: bool) -> Broken:
    masks = _option(operator, "ellipsisMask") or _option(operator, "newAxisMask")
    if not value or (set(_numbers(graph, operator, 3)) == {1} and not masks):
        return None
    return "steps of 1 and no new axes", "a convolution or pooling with that stride"


def _whole_axes(_: Graph, operator: Operator, value: bool) -> Broken:
    if not value or not _option(operator, "shrinkAxisMask"):
        return None
    return "every axis kept", "a slice that keeps the axis, then Reshape"


LIMITS: Mapping[str, Limit] = MappingProxyType(
    {
        "alpha_per_channel": Limit(kind=bool, broken=_alpha_per_channel),
        "channels_multiple": Limit(kind=int, broken=_channels_multiple),
        "constant_inputs_zero": Limit(kind=bool, broken=_constant_inputs_zero),
        "constant_weights": Limit(kind=bool, broken=_constant_weights),
        "equal_dilation": Limit(kind=bool, broken=_equal_dilation),
        "flat_output": Limit(kind=bool, broken=_flat_output),
        "fused": Limit(kind=list, broken=_fused),
        "keeps_batch": Limit(kind=bool, broken=_keeps_batch),
        "max_elements": Limit(kind=int, broken=_max_elements),
        "max_inputs": Limit(kind=int, broken=_max_inputs),
        "max_outputs": Limit(kind=int, broken=_max_outputs),
        "strided_1x1": Limit(kind=bool, broken=_strided_1x1),
        "unit_strides": Limit(kind=bool, broken=_unit_strides),
        "whole_axes": Limit(kind=bool, broken=_whole_axes),
    }
)
"""Every limit by the name that a target's file uses."""
