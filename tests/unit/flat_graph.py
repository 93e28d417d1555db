"""Builds small float flatbuffers operator by operator, without TensorFlow."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edge_fer_convert.graph import from_object

NONE, RELU, RELU6 = 0, 1, 3


class FlatGraph:
    """A graph in the making; every method returns the number of the tensor that it adds."""

    def __init__(self) -> None:
        self.model = schema.ModelT()
        self.model.version, self.model.description = 3, "tiny"
        self.model.buffers, self.model.metadata = [schema.BufferT()], []
        self.graph = schema.SubGraphT()
        self.graph.tensors, self.graph.operators, self.graph.name = [], [], "main"
        self.model.subgraphs, self.model.operatorCodes = [self.graph], []

    def tensor(self, name: str, shape: tuple[int, ...], data: np.ndarray | None = None) -> int:
        new = schema.TensorT()
        new.name, new.shape = name.encode(), list(shape)
        integer = data is not None and data.dtype == np.int32
        new.type = schema.TensorType.INT32 if integer else schema.TensorType.FLOAT32
        new.buffer = len(self.model.buffers)
        buffer = schema.BufferT()
        if data is not None:
            buffer.data = list(data.tobytes())
        self.model.buffers.append(buffer)
        self.graph.tensors.append(new)
        return len(self.graph.tensors) - 1

    def constant(self, name: str, values: np.ndarray) -> int:
        if values.dtype != np.int32:
            values = values.astype(np.float32)
        return self.tensor(name, values.shape, values)

    def operator(self, name: str, options: Any, inputs: list[int], output: int) -> int:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        code.version = 1
        self.model.operatorCodes.append(code)
        new = schema.OperatorT()
        new.opcodeIndex, new.inputs, new.outputs = (
            len(self.model.operatorCodes) - 1,
            inputs,
            [output],
        )
        if options is not None:
            kind = type(options).__name__.removesuffix("T")
            new.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        new.builtinOptions = options
        self.graph.operators.append(new)
        return output

    def conv(
        self, name: str, x: int, weights: np.ndarray, bias: np.ndarray, fused: int = NONE
    ) -> int:
        """Stride 1, same size; weights ``[out, h, w, in]``."""
        options = schema.Conv2DOptionsT()
        options.strideH = options.strideW = 1
        options.fusedActivationFunction = fused
        return self._layer("CONV_2D", options, name, x, weights, bias, len(weights))

    def depthwise(
        self, name: str, x: int, weights: np.ndarray, bias: np.ndarray, fused: int = NONE
    ) -> int:
        """Stride 1, same size; weights ``[1, h, w, channels]``."""
        options = schema.DepthwiseConv2DOptionsT()
        options.strideH = options.strideW = options.depthMultiplier = 1
        options.fusedActivationFunction = fused
        shape = weights.shape[-1]
        return self._layer("DEPTHWISE_CONV_2D", options, name, x, weights, bias, shape)

    def dense(self, name: str, x: int, weights: np.ndarray, bias: np.ndarray | None) -> int:
        inputs = [x, self.constant(f"{name}/weights", weights)]
        inputs.append(-1 if bias is None else self.constant(f"{name}/bias", bias))
        out = self.tensor(name, (1, len(weights)))
        return self.operator("FULLY_CONNECTED", schema.FullyConnectedOptionsT(), inputs, out)

    def pool(self, name: str, x: int) -> int:
        """Largest of 2x2."""
        options = schema.Pool2DOptionsT()
        options.strideH = options.strideW = options.filterHeight = options.filterWidth = 2
        _, height, width, channels = self.graph.tensors[x].shape
        out = self.tensor(name, (1, height // 2, width // 2, channels))
        return self.operator("MAX_POOL_2D", options, [x], out)

    def leaky(self, name: str, x: int, alpha: float = 0.1) -> int:
        options = schema.LeakyReluOptionsT()
        options.alpha = alpha
        return self.operator("LEAKY_RELU", options, [x], self._like(name, x))

    def unary(self, kind: str, name: str, x: int) -> int:
        """An operator without options, shape unchanged."""
        return self.operator(kind, None, [x], self._like(name, x))

    def add(self, name: str, x: int, y: int) -> int:
        return self.operator("ADD", schema.AddOptionsT(), [x, y], self._like(name, x))

    def mean(self, name: str, x: int) -> int:
        """Over height and width."""
        axes = self.tensor(f"{name}/axes", (2,), np.array([1, 2], np.int32))
        out = self.tensor(name, (1, self.graph.tensors[x].shape[-1]))
        return self.operator("MEAN", schema.ReducerOptionsT(), [x, axes], out)

    def softmax(self, name: str, x: int) -> int:
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        return self.operator("SOFTMAX", options, [x], self._like(name, x))

    def done(self, inputs: list[int], outputs: list[int]) -> bytes:
        """The flatbuffer."""
        self.graph.inputs, self.graph.outputs = inputs, outputs
        runtime = schema.BufferT()
        runtime.data = list(b"1.6.0".ljust(16, b"\0"))
        self.model.buffers.append(runtime)
        entry = schema.MetadataT()
        entry.name, entry.buffer = b"min_runtime_version", len(self.model.buffers) - 1
        self.model.metadata.append(entry)
        return from_object(self.model)

    def _layer(
        self,
        kind: str,
        options: Any,
        name: str,
        x: int,
        weights: np.ndarray,
        bias: np.ndarray,
        channels: int,
    ) -> int:
        inputs = [x, self.constant(f"{name}/weights", weights), self.constant(f"{name}/bias", bias)]
        _, height, width, _ = self.graph.tensors[x].shape
        return self.operator(kind, options, inputs, self.tensor(name, (1, height, width, channels)))

    def _like(self, name: str, x: int) -> int:
        return self.tensor(name, tuple(self.graph.tensors[x].shape))
