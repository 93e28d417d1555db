"""A tiny float classifier as a flatbuffer, made without TensorFlow: convolution, mean, dense."""

from __future__ import annotations

from typing import Any

import numpy as np
from flat_graph import RELU, FlatGraph

from edge_fer.contract import InputSpec, Licence, ModelContract, OutputSpec

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

    def weights(*shape: int) -> np.ndarray:
        return (gain * rng.normal(0, 0.6, shape)).astype(np.float32)

    flat = FlatGraph()
    picture = flat.tensor("picture", (1, SIDE, SIDE, 1))
    kernel = weights(CHANNELS, 3, 3, 1)
    features = flat.conv("features", picture, kernel, np.full(CHANNELS, 0.1), RELU)
    pooled = flat.mean("pooled", features)
    scores = flat.dense("scores", pooled, weights(CLASSES, CHANNELS), np.zeros(CLASSES))
    names = {"features/weights": "kernel", "features/bias": "bias"}
    names |= {"scores/weights": "dense", "scores/bias": "offset", "pooled/axes": "axes"}
    for tensor in flat.graph.tensors:
        tensor.name = names.get(tensor.name.decode(), tensor.name.decode()).encode()
    return flat.done([picture], [scores])


def pictures(count: int, seed: int = 1) -> np.ndarray:
    """``uint8[count, 8, 8, 1]``."""
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 1), dtype=np.uint8)
