"""Operators of a float flatbuffer in TensorFlow, for :mod:`.tuning`.

TensorFlow is handed in: nothing here imports it, so that :mod:`.finetune` may ask what is known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edge_fer_convert.graph import Operator

__all__ = ["BIAS", "TUNABLE", "WEIGHTS", "activated"]

WEIGHTS, BIAS = 1, 2  # places among a layer's inputs
_PADDING = ("SAME", "VALID")
Value = Any  # a tensor of TensorFlow


def activated(tf: Any, value: Value, kind: int) -> Value:
    """The fused activation behind an operator, by its number in the schema."""
    if kind == 0:
        return value
    return {1: tf.nn.relu, 2: lambda v: tf.clip_by_value(v, -1, 1), 3: tf.nn.relu6, 4: tf.tanh}[
        kind
    ](value)


def _strides(operator: Operator) -> list[int]:
    return [1, operator.option("strideH"), operator.option("strideW"), 1]


def _dilations(operator: Operator) -> list[int]:
    return [operator.option("dilationHFactor"), operator.option("dilationWFactor")]


def _biased(value: Value, inputs: list[Value]) -> Value:
    return value + inputs[BIAS] if len(inputs) > BIAS else value


def _conv(tf: Any, o: Operator, inputs: list[Value]) -> Value:
    kernel = tf.transpose(inputs[WEIGHTS], [1, 2, 3, 0])
    value = tf.nn.conv2d(
        inputs[0],
        kernel,
        _strides(o),
        _PADDING[o.option("padding")],
        dilations=_dilations(o),
    )
    return _biased(value, inputs)


def _depthwise(tf: Any, o: Operator, inputs: list[Value]) -> Value:
    _, height, width, _ = inputs[WEIGHTS].shape
    kernel = tf.reshape(inputs[WEIGHTS], [height, width, inputs[0].shape[-1], -1])
    value = tf.nn.depthwise_conv2d(
        inputs[0],
        kernel,
        _strides(o),
        _PADDING[o.option("padding")],
        dilations=_dilations(o),
    )
    return _biased(value, inputs)


def _dense(tf: Any, o: Operator, inputs: list[Value]) -> Value:
    outputs, size = inputs[WEIGHTS].shape
    rows = tf.reshape(inputs[0], [-1, size])
    value = _biased(tf.matmul(rows, inputs[WEIGHTS], transpose_b=True), inputs)
    if not o.option("keepNumDims"):
        return value
    return tf.reshape(value, [-1, *inputs[0].shape[1:-1], outputs])


def _pool(kind: str) -> Callable[[Any, Operator, list[Value]], Value]:
    def pool(tf: Any, o: Operator, inputs: list[Value]) -> Value:
        window = [o.option("filterHeight"), o.option("filterWidth")]
        strides = [o.option("strideH"), o.option("strideW")]
        return tf.nn.pool(inputs[0], window, kind, strides, _PADDING[o.option("padding")])

    return pool


def _reshape(tf: Any, o: Operator, inputs: list[Value]) -> Value:
    # The shape is of a batch of 1; older files have it among the options.
    shape = inputs[1] if len(inputs) > 1 else o.option("newShape")
    return tf.reshape(inputs[0], [-1, *(int(n) for n in np.ravel(shape)[1:])])


def _mean(tf: Any, o: Operator, inputs: list[Value]) -> Value:
    axes = [int(axis) for axis in np.ravel(inputs[1])]
    return tf.reduce_mean(inputs[0], axis=axes, keepdims=bool(o.option("keepDims")))


TUNABLE: dict[str, Callable[[Any, Operator, list[Value]], Value]] = {
    "ADD": lambda tf, o, x: x[0] + x[1],
    "AVERAGE_POOL_2D": _pool("AVG"),
    "CONCATENATION": lambda tf, o, x: tf.concat(x, axis=o.option("axis")),
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "ELU": lambda tf, o, x: tf.nn.elu(x[0]),
    "FULLY_CONNECTED": _dense,
    "HARD_SWISH": lambda tf, o, x: x[0] * tf.nn.relu6(x[0] + 3) / 6,
    "LEAKY_RELU": lambda tf, o, x: tf.nn.leaky_relu(x[0], alpha=o.option("alpha")),
    "LOGISTIC": lambda tf, o, x: tf.sigmoid(x[0]),
    "MAX_POOL_2D": _pool("MAX"),
    "MEAN": _mean,
    "MUL": lambda tf, o, x: x[0] * x[1],
    "PAD": lambda tf, o, x: tf.pad(x[0], x[1]),
    "RELU": lambda tf, o, x: tf.nn.relu(x[0]),
    "RELU6": lambda tf, o, x: tf.nn.relu6(x[0]),
    "RESHAPE": _reshape,
    "SOFTMAX": lambda tf, o, x: tf.nn.softmax(x[0] * o.option("beta")),
    "SUB": lambda tf, o, x: x[0] - x[1],
    "TANH": lambda tf, o, x: tf.tanh(x[0]),
}
"""By name: (tensorflow, operator, its inputs) to its output, before the fused activation."""
