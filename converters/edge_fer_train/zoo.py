"""Architectures by name, built only of operators that run full-int8 in XNNPACK and stand on the
Edge TPU's list: convolution, add, ReLU, mean, fully connected; every shape static.

Residual nets after He et al. (arXiv:1512.03385), ordinary 3x3 convolutions throughout:
on 48x48 faces they keep int8 close to float, where depthwise ones need care. The graph
ends in logits; softmax and temperature are eight numbers on the host.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from edge_fer.contract import InputSpec
from edge_fer.errors import ConfigError

__all__ = ["ZOO", "Architecture", "architecture", "build", "count_macs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A residual net: a stem at full resolution, then stages.

    Attributes:
        stem: channels of the first convolution, at full resolution.
        stages: per stage, the kind of each layer: ``("conv" | "residual", channels, stride)``.
        dropout: before the classifier.
    """

    stem: int
    stages: tuple[tuple[str, int, int], ...]
    dropout: float


ZOO: Mapping[str, Architecture] = MappingProxyType(
    {
        "resnet10": Architecture(
            stem=16,
            stages=(
                ("conv", 32, 2),
                ("residual", 32, 1),
                ("residual", 64, 2),
                ("conv", 64, 1),
                ("residual", 128, 2),
            ),
            dropout=0.3,
        ),
        "resnet6": Architecture(
            stem=8,
            stages=(("conv", 16, 2), ("residual", 32, 2), ("conv", 64, 2)),
            dropout=0.1,
        ),
    }
)


def architecture(name: str) -> Architecture:
    """Look a name up.

    Raises:
        ConfigError: no such name.
    """
    if name not in ZOO:
        raise ConfigError(f"There is no architecture {name!r}.", f"Known: {', '.join(ZOO)}.")
    return ZOO[name]


def build(name: str, spec: InputSpec, classes: int) -> Any:
    """A fresh Keras model: ``float32[N, height, width, channels]`` to ``float32[N, classes]``."""
    from keras import Model, layers

    def convolution(x: Any, channels: int, stride: int, size: int = 3, relu: bool = True) -> Any:
        x = layers.Conv2D(channels, size, strides=stride, padding="same", use_bias=False)(x)
        x = layers.BatchNormalization(momentum=0.98)(x)
        return layers.ReLU(max_value=6.0)(x) if relu else x

    def residual(x: Any, channels: int, stride: int) -> Any:
        y = convolution(x, channels, stride)
        y = convolution(y, channels, 1, relu=False)
        if stride != 1 or x.shape[-1] != channels:
            x = convolution(x, channels, stride, size=1, relu=False)
        return layers.ReLU()(layers.Add()([x, y]))

    arch = architecture(name)
    inputs = layers.Input((spec.height, spec.width, spec.channels), name="face")
    x = convolution(inputs, arch.stem, 1)
    for kind, channels, stride in arch.stages:
        x = (residual if kind == "residual" else convolution)(x, channels, stride)
    x = layers.GlobalAveragePooling2D()(x)
    x = layers.Dropout(arch.dropout)(x)
    # Logits stay float32 under a mixed-precision policy: the loss needs the range.
    return Model(inputs, layers.Dense(classes, dtype="float32", name="logits")(x), name=name)


def count_macs(model: Any) -> int:
    """Multiply-accumulates of one forward pass: convolutions and dense layers."""
    total = 0
    for layer in model.layers:
        kernel = getattr(layer, "kernel", None)
        if kernel is None:
            continue
        positions = 1
        for size in layer.output.shape[1:-1]:
            positions *= size
        per_position = 1
        for size in kernel.shape:
            per_position *= size
        total += positions * per_position
    return total
