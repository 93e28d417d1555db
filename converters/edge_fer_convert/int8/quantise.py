"""Float ``.tflite`` to full-int8 ``.tflite``.

Static scheme of TFLite's 8-bit specification (Jacob et al., arXiv:1712.05877; Krishnamoorthi,
arXiv:1806.08342): weights int8 symmetric, one scale per output channel; activations int8 with a
zero point, one scale per tensor; biases int32; input and output int8.

Two things that quantisers leave undone, measured on models by others: a channel whose weights
vanish beside its bias gets a scale at which the bias still fits into int32 (else it becomes
nearly 0 without a word), and operators with an int8 kernel never stay in float.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.errors import ModelError
from edge_fer_convert.graph import Graph, Operator, builtin_name, constant, from_object, to_object
from edge_fer_convert.measuring.ranges import Ranges
from edge_fer_convert.operators import RULES, int8_version

__all__ = ["quantise", "software", "tensor_ranges"]

_MIN_RUNTIME = "min_runtime_version"
_MIN_RUNTIME_BYTES = 16
_BIAS_LIMIT = 2.0**30
# XNNPACK takes input scale * weight scale / output scale from 2**-32 on.
_LEAST_RESCALING = 2.0**-31
_INPUT, _WEIGHTS, _BIAS = 0, 1, 2


def quantise(flatbuffer: bytes, ranges: Ranges, *, per_tensor_dense: bool = False) -> bytes:
    """Quantise weights and activations to int8.

    The same model and ranges always give the same bytes.

    Args:
        flatbuffer: the float model in canonical form, without a contract.
        ranges: of every activation.
        per_tensor_dense: one scale for all weights of a dense layer, as older runtimes need it.

    Returns:
        The int8 model, without a contract.

    Raises:
        ModelError: an operator has no int8 form, or two branches that are joined need two scales;
            the message names it.
    """
    model = to_object(flatbuffer)
    graph = Graph.of(model)
    _check(graph)
    scales = _activation_scales(graph, ranges)
    for number, (scale, zero_point) in scales.items():
        _set(model, number, None, np.array([scale]), np.array([zero_point]))
    for operator in graph.operators:
        if RULES[operator.name].layer:
            _quantise_layer(model, operator, scales, per_tensor_dense=per_tensor_dense)
        else:
            _quantise_constants(model, graph, operator, scales)
    _raise_versions(model)
    return from_object(model)


def tensor_ranges(graph: Graph, ranges: Ranges) -> dict[int, tuple[float, float]]:
    """The range that each activation is quantised with, 0 included, by tensor number.

    Tensors that must share a scale have the widest of their ranges; before a ReLU the range is
    that of its output, because what saturates there is what the ReLU cuts away.

    Raises:
        ModelError: a range is missing.
    """
    group = _scale_groups(graph)
    clamped: set[int] = set()
    readers: dict[int, int] = {}
    for operator in graph.operators:
        for i in operator.inputs:
            readers[i] = readers.get(i, 0) + 1
    for operator in graph.operators:
        if RULES[operator.name].scales == "clamp":
            (held,) = (i for i in operator.inputs if _is_activation(graph, i))
            if readers[held] == 1 and held not in (*graph.inputs, *graph.outputs):
                clamped.add(held)
    found: dict[int, tuple[float, float]] = {}
    activations = [t for t in graph.activations() if t.dtype == "FLOAT32"]
    for tensor in activations:
        if tensor.name not in ranges.of:
            raise ModelError(
                f"The graph cannot be quantised to int8: no range is known for {tensor.name}.",
                "Calibrate this model, not another one.",
            )
        low, high = ranges.of[tensor.name]
        root = group.root(tensor.index)
        if tensor.index in clamped:
            low, high = 0.0, 0.0
        before = found.get(root, (0.0, 0.0))
        found[root] = (min(low, before[0]), max(high, before[1]))
    return {t.index: found[group.root(t.index)] for t in activations}


def software() -> dict[str, str]:
    """Versions of what quantises and judges, beside edge-fer's own."""
    return {name: version(name) for name in ("ai-edge-litert", "numpy")}


class _Groups:
    """Tensors that share a scale."""

    def __init__(self) -> None:
        self._parent: dict[int, int] = {}

    def root(self, item: int) -> int:
        while (parent := self._parent.get(item, item)) != item:
            item = parent
        return item

    def join(self, a: int, b: int) -> None:
        low, high = sorted((self.root(a), self.root(b)))
        self._parent[high] = low


def _scale_groups(graph: Graph) -> _Groups:
    group = _Groups()
    for operator in graph.operators:
        if RULES[operator.name].scales == "own":
            continue
        held = [i for i in operator.inputs if _is_activation(graph, i)]
        for other in (*held[1:], *operator.outputs):
            group.join(held[0], other)
    return group


def _check(graph: Graph) -> None:
    for operator in graph.operators:
        made = graph.tensors[operator.outputs[0]].name
        if operator.name not in RULES:
            raise ModelError(
                f"The graph cannot be quantised to int8: {operator.name}, which makes {made}.",
                "Replace the layer behind that name by convolution, dense, pooling, add or ReLU.",
            )
        weights = RULES[operator.name].layer and graph.tensors[operator.inputs[_WEIGHTS]]
        if weights and weights.data is None:
            raise ModelError(
                f"The weights of {operator.name}, which makes {made}, are computed by the graph.",
                "Save the model with its weights as constants (for inference, not for training).",
            )


def _activation_scales(graph: Graph, ranges: Ranges) -> dict[int, tuple[float, int]]:
    group = _scale_groups(graph)
    fixed: dict[int, tuple[float, int]] = {}
    for operator in graph.operators:
        rule = RULES[operator.name]
        if rule.fixed is not None:
            root = group.root(operator.outputs[0])
            if fixed.setdefault(root, rule.fixed) != rule.fixed:
                raise _two_scales(graph, operator)
    for operator in graph.operators:
        rule = RULES[operator.name]
        if rule.scales == "own" and rule.fixed is None and group.root(operator.outputs[0]) in fixed:
            raise _two_scales(graph, operator)
    return {
        number: fixed.get(group.root(number)) or _asymmetric(low, high)
        for number, (low, high) in tensor_ranges(graph, ranges).items()
    }


def _two_scales(graph: Graph, operator: Operator) -> ModelError:
    """Softmax, sigmoid and tanh have a scale of their own, and cannot be joined with others."""
    made = graph.tensors[operator.outputs[0]].name
    return ModelError(
        f"The graph cannot be quantised to int8: {operator.name}, which makes {made}, is joined "
        "with the output of a softmax, sigmoid or tanh, whose int8 scale is another one.",
        "Join the branches before these activations, or multiply instead of concatenating.",
    )


def _asymmetric(low: float, high: float) -> tuple[float, int]:
    low, high = min(low, 0.0), max(high, 0.0)
    if low == high:
        return 1.0, 0
    scale = float(np.float32((high - low) / 255))
    if scale == 0:  # too small for float32
        return 1.0, 0
    return scale, int(np.clip(np.rint(-128 - low / scale), -128, 127))


def _quantise_layer(
    model: Any,
    operator: Operator,
    scales: Mapping[int, tuple[float, int]],
    *,
    per_tensor_dense: bool,
) -> None:
    weights = constant(model, operator.inputs[_WEIGHTS]).astype(np.float64)
    has_bias = len(operator.inputs) > _BIAS and operator.inputs[_BIAS] >= 0
    # Output channels come first, in depthwise weights last.
    axis = weights.ndim - 1 if operator.name == "DEPTHWISE_CONV_2D" else 0
    others = tuple(i for i in range(weights.ndim) if i != axis)
    bias = np.zeros(weights.shape[axis])
    if has_bias:
        bias = constant(model, operator.inputs[_BIAS]).astype(np.float64)
    source, result = scales[operator.inputs[_INPUT]][0], scales[operator.outputs[0]][0]
    least = np.maximum(np.abs(bias) / (source * _BIAS_LIMIT), _LEAST_RESCALING * result / source)
    scale = np.maximum(np.abs(weights).max(axis=others) / 127, least)
    if per_tensor_dense and operator.name == "FULLY_CONNECTED":
        scale = np.full(1, scale.max())
    # The scale that is stored, so that weights are rounded by the one that they are read with.
    scale = scale.astype(np.float32).astype(np.float64)
    along = scale.reshape([-1 if i == axis else 1 for i in range(weights.ndim)])
    steps = np.clip(np.rint(weights / along), -127, 127).astype(np.int8)
    zeros = np.zeros(len(scale), np.int64)
    _set(model, operator.inputs[_WEIGHTS], steps, scale, zeros, axis if len(scale) > 1 else 0)
    if has_bias:
        unit = (scale.astype(np.float32) * np.float32(source)).astype(np.float64)
        _set(
            model,
            operator.inputs[_BIAS],
            np.clip(np.rint(bias / unit), -(2**31) + 1, 2**31 - 1).astype(np.int32),
            unit,
            zeros,
        )


def _quantise_constants(
    model: Any, graph: Graph, operator: Operator, scales: Mapping[int, tuple[float, int]]
) -> None:
    """Float constants beside activations: what a Rescaling layer adds and multiplies by."""
    for number in operator.inputs:
        if number < 0 or graph.tensors[number].data is None:
            continue
        if graph.tensors[number].dtype != "FLOAT32":
            continue
        values = constant(model, number).astype(np.float64)
        if RULES[operator.name].scales == "own":
            scale, zero_point = _asymmetric(float(values.min()), float(values.max()))
        else:
            scale, zero_point = scales[operator.outputs[0]]
        steps = np.clip(np.rint(values / scale) + zero_point, -128, 127).astype(np.int8)
        _set(model, number, steps, np.array([scale]), np.array([zero_point]))


def _is_activation(graph: Graph, number: int) -> bool:
    return number >= 0 and graph.tensors[number].data is None


def _set(
    model: Any,
    number: int,
    data: NDArray[Any] | None,
    scale: NDArray[np.float64],
    zero_point: NDArray[Any],
    axis: int = 0,
) -> None:
    """Make a tensor of a ``ModelT`` an integer one."""
    from ai_edge_litert import schema_py_generated as schema

    tensor = model.subgraphs[0].tensors[number]
    wide = data is not None and data.dtype == np.int32
    tensor.type = schema.TensorType.INT32 if wide else schema.TensorType.INT8
    tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.scale = scale.astype(np.float32).tolist()
    tensor.quantization.zeroPoint = [int(z) for z in zero_point]
    tensor.quantization.quantizedDimension = axis
    if data is not None:
        model.buffers[tensor.buffer].data = np.frombuffer(data.tobytes(), np.uint8)


def _raise_versions(model: Any) -> None:
    """Operator versions as int8 kernels have them, and the runtime that the file asks for."""
    graph = Graph.of(model)
    needed: dict[str, tuple[int, str]] = {}
    for operator in graph.operators:
        wanted = int8_version(graph, operator)
        needed[operator.name] = max(needed.get(operator.name, wanted), wanted)
    runtimes = [graph.metadata.get(_MIN_RUNTIME, b"1.5.0").rstrip(b"\0").decode() or "1.5.0"]
    for code in model.operatorCodes:
        least, runtime = needed.get(builtin_name(code), (0, ""))
        if least > code.version:
            code.version = least
            runtimes.append(runtime)
    newest = max(runtimes, key=lambda v: tuple(int(n) for n in v.split(".")))
    for entry in model.metadata or ():
        if entry.name == _MIN_RUNTIME.encode():
            text = newest.encode().ljust(_MIN_RUNTIME_BYTES, b"\0")
            model.buffers[entry.buffer].data = list(text)
