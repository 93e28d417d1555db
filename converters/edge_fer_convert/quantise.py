"""Float ``.tflite`` to full-int8 ``.tflite``: the only module that knows ai-edge-quantizer.

Scheme ``static_wi8_ai8`` (Jacob et al., arXiv:1712.05877; Krishnamoorthi, arXiv:1806.08342):
weights int8 symmetric, one scale per output channel; activations int8 with a zero point, one
scale per tensor; biases int32; input and output int8. The quantiser copies the operator versions of
the float file; int8 kernels are newer, so the versions are raised here to what TFLite's own
converter writes.
"""

from __future__ import annotations

import warnings
from importlib.metadata import version
from typing import Any

import numpy as np

from edge_fer.errors import MissingExtra, ModelError
from edge_fer.quiet import hushed_stderr
from edge_fer_convert.graph import Graph, Operator, builtin_name, from_object, to_object
from edge_fer_convert.ranges import Ranges

__all__ = ["RECIPE", "quantise", "software"]

RECIPE = "static_wi8_ai8"
_MIN_RUNTIME = "min_runtime_version"
_MIN_RUNTIME_BYTES = 16

# Operator, its version for int8 tensors, the first TFLite runtime that has it
# (tensorflow/compiler/mlir/lite/tools/versioning: op_version.cc, runtime_version.cc).
_INT8_VERSIONS = {
    "ADD": (2, "1.14.0"),
    "AVERAGE_POOL_2D": (2, "1.14.0"),
    "CONCATENATION": (2, "1.14.0"),
    "CONV_2D": (3, "1.14.0"),
    "DEPTHWISE_CONV_2D": (3, "1.14.0"),
    "FULLY_CONNECTED": (4, "1.14.0"),
    "LOGISTIC": (2, "1.14.0"),
    "MAX_POOL_2D": (2, "1.14.0"),
    "MEAN": (2, "1.14.0"),
    "MUL": (2, "1.14.0"),
    "PAD": (2, "1.14.0"),
    "PADV2": (2, "1.14.0"),
    "REDUCE_MAX": (2, "1.14.0"),
    "RELU": (2, "2.1.0"),
    "RELU6": (2, "1.14.0"),
    "SOFTMAX": (2, "1.14.0"),
    "SUB": (2, "1.14.0"),
    "SUM": (2, "1.15.0"),
    "TANH": (2, "1.14.0"),
    "TRANSPOSE": (2, "1.14.0"),
}
_KEEPS_DIMENSIONS = (5, "2.0.0")  # FULLY_CONNECTED with keep_num_dims
_WITHOUT_BIAS = (6, "2.1.0")  # FULLY_CONNECTED with two inputs
_LARGE_PRODUCT = (3, "1.15.0")  # MUL whose rescaling factor is 1 or more


def quantise(flatbuffer: bytes, ranges: Ranges) -> bytes:
    """Quantise weights and activations to int8.

    The same model and ranges always give the same bytes.

    Args:
        flatbuffer: the float model, without a contract.
        ranges: of every activation.

    Returns:
        The int8 model, without a contract.

    Raises:
        MissingExtra: ai-edge-quantizer is not installed.
        ModelError: it cannot quantise this graph.
    """
    try:
        from ai_edge_quantizer import quantizer, recipe
    except ImportError as err:
        raise MissingExtra(
            f"ai-edge-quantizer cannot be loaded ({err}).",
            "Install it with: pip install 'edge-fer[convert]'",
        ) from err
    known = {
        name: {"min": _as_array(low), "max": _as_array(high)}
        for name, (low, high) in ranges.of.items()
    }
    try:
        engine = quantizer.Quantizer(flatbuffer, recipe.static_wi8_ai8())
        with warnings.catch_warnings(), hushed_stderr():
            # It keeps every tensor of an interpreter for a moment, and LiteRT warns of the memory.
            warnings.simplefilter("ignore", UserWarning)
            result = engine.quantize(known, enable_progress_bar=False, enable_progress_report=False)
    except (RuntimeError, ValueError, KeyError, TypeError, NotImplementedError) as err:
        raise ModelError(
            f"The graph cannot be quantised to int8: {(str(err) or repr(err)).splitlines()[0]}",
            "Replace the layer that it names by convolution, dense, pooling, add or ReLU.",
        ) from err
    return _with_int8_versions(bytes(result.quantized_model))


def software() -> dict[str, str]:
    """Versions of what quantises and judges."""
    return {name: version(name) for name in ("ai-edge-quantizer", "ai-edge-litert")}


def _as_array(value: float) -> Any:
    return np.full((1, 1, 1, 1), value, np.float32)


def _with_int8_versions(flatbuffer: bytes) -> bytes:
    model = to_object(flatbuffer)
    graph = Graph.of(model)
    needed: dict[str, tuple[int, str]] = {}
    for operator in graph.operators:
        wanted = _int8_version(graph, operator)
        if wanted is not None:
            needed[operator.name] = max(needed.get(operator.name, wanted), wanted)
    runtimes = [graph.metadata.get(_MIN_RUNTIME, b"1.5.0").rstrip(b"\0").decode()]
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
    return from_object(model)


def _int8_version(graph: Graph, operator: Operator) -> tuple[int, str] | None:
    tensors = [graph.tensors[i] for i in operator.inputs if i >= 0]
    if not any(t.dtype == "INT8" for t in tensors):
        return None
    if operator.name == "FULLY_CONNECTED":
        if len(operator.inputs) == 2:
            return _WITHOUT_BIAS
        if '"keepNumDims": true' in operator.options:
            return _KEEPS_DIMENSIONS
    if operator.name == "MUL":
        scales = [t.scales[0] for t in (*tensors, graph.tensors[operator.outputs[0]]) if t.scales]
        if len(scales) == 3 and scales[0] * scales[1] / scales[2] >= 1:
            return _LARGE_PRODUCT
    return _INT8_VERSIONS.get(operator.name)
