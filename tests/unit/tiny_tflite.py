"""A tiny float classifier as a flatbuffer, made without TensorFlow: convolution, mean, dense."""

from __future__ import annotations

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from edge_fer.contract import InputSpec, Licence, ModelContract, OutputSpec
from edge_fer_convert.graph import from_object

SIDE, CHANNELS, CLASSES = 8, 4, 3
LABELS = ("anger", "happiness", "neutral")


def tiny_spec() -> InputSpec:
    return InputSpec(
        height=SIDE, width=SIDE, channels=1, colour="gray", scale=(1 / 255,), offset=(0.0,)
    )


def tiny_contract(**changes: Any) -> ModelContract:
    return ModelContract(
        labels=LABELS,
        label_scheme="custom",
        input=tiny_spec(),
        output=OutputSpec(kind="logits"),
        licence=Licence(code="Apache-2.0", weights="none"),
        provenance={"converted_by": {"ai-edge-litert": "0"}},
    ).with_(**changes)


def tiny_float(seed: int = 0, gain: float = 1.0) -> bytes:
    """``float32[1, 8, 8, 1] -> float32[1, 3]``."""
    rng = np.random.default_rng(seed)
    model = schema.ModelT()
    model.version, model.description = 3, "tiny"
    model.buffers, model.metadata = [schema.BufferT()], []
    graph = schema.SubGraphT()
    graph.tensors, graph.operators, graph.name = [], [], "main"
    model.subgraphs, model.operatorCodes = [graph], []

    def tensor(name: str, shape: tuple[int, ...], data: np.ndarray | None = None) -> int:
        new = schema.TensorT()
        new.name, new.shape = name, list(shape)
        integer = data is not None and data.dtype == np.int32
        new.type = schema.TensorType.INT32 if integer else schema.TensorType.FLOAT32
        new.buffer = len(model.buffers)
        buffer = schema.BufferT()
        if data is not None:
            buffer.data = list(data.tobytes())
        model.buffers.append(buffer)
        graph.tensors.append(new)
        return len(graph.tensors) - 1

    def operator(name: str, options: Any, inputs: list[int], output: int) -> None:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
        code.version = 1
        model.operatorCodes.append(code)
        new = schema.OperatorT()
        new.opcodeIndex, new.inputs, new.outputs = len(model.operatorCodes) - 1, inputs, [output]
        kind = type(options).__name__.removesuffix("T")
        new.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        new.builtinOptions = options
        graph.operators.append(new)

    def weights(*shape: int) -> np.ndarray:
        return (gain * rng.normal(0, 0.6, shape)).astype(np.float32)

    picture = tensor("picture", (1, SIDE, SIDE, 1))
    kernel = tensor("kernel", (CHANNELS, 3, 3, 1), weights(CHANNELS, 3, 3, 1))
    bias = tensor("bias", (CHANNELS,), np.full(CHANNELS, 0.1, np.float32))
    features = tensor("features", (1, SIDE, SIDE, CHANNELS))
    convolution = schema.Conv2DOptionsT()
    convolution.strideH = convolution.strideW = 1
    convolution.fusedActivationFunction = schema.ActivationFunctionType.RELU
    operator("CONV_2D", convolution, [picture, kernel, bias], features)

    pooled = tensor("pooled", (1, CHANNELS))
    axes = tensor("axes", (2,), np.array([1, 2], np.int32))
    operator("MEAN", schema.ReducerOptionsT(), [features, axes], pooled)

    dense = tensor("dense", (CLASSES, CHANNELS), weights(CLASSES, CHANNELS))
    offset = tensor("offset", (CLASSES,), np.zeros(CLASSES, np.float32))
    scores = tensor("scores", (1, CLASSES))
    operator("FULLY_CONNECTED", schema.FullyConnectedOptionsT(), [pooled, dense, offset], scores)
    graph.inputs, graph.outputs = [picture], [scores]

    runtime = schema.BufferT()
    runtime.data = list(b"1.6.0".ljust(16, b"\0"))
    model.buffers.append(runtime)
    entry = schema.MetadataT()
    entry.name, entry.buffer = "min_runtime_version", len(model.buffers) - 1
    model.metadata.append(entry)
    return from_object(model)


def pictures(count: int, seed: int = 1) -> np.ndarray:
    """``uint8[count, 8, 8, 1]``."""
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 1), dtype=np.uint8)
