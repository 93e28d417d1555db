"""Architectures by name, built only of operators that run full-int8 in XNNPACK and stand on the
Edge TPU's list: convolution, depthwise convolution, add, ReLU, max-pool, mean, fully connected;
every shape static.

Two families: residual nets after He et al. (arXiv:1512.03385) with ordinary 3x3 convolutions, and
separable ones (Chollet, arXiv:1610.02357), which learn more with the same arithmetic. A 5x5
convolution with stride 2 comes first, because full-resolution layers cost two fifths of the
time for a twelfth of the arithmetic. Graphs end in logits; softmax and temperature are a few
numbers on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from edge_fer.contract import InputSpec
from edge_fer.errors import ConfigError

__all__ = ["ZOO", "Architecture", "architecture", "build", "count_macs"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A net's name, what it is for, and its body.

    Attributes:
        name: as ``--arch`` takes it.
        purpose: one line for listings.
        body: from ``[N, H, W, C]`` to the vector ``[N, D]`` that the classifier reads.
    """

    name: str
    purpose: str
    body: Callable[[Any, Callable[[], Any]], Any]


def _net(
    stem: int, *stages: tuple[str, int, int], dropout: float
) -> Callable[[Any, Callable[[], Any]], Any]:
    """Stages are ``(conv | residual | separable, channels, stride)``."""

    def body(x: Any, normalisation: Callable[[], Any]) -> Any:
        from keras import layers

        def convolution(
            x: Any, channels: int, stride: int, size: int = 3, relu: bool = True
        ) -> Any:
            x = layers.Conv2D(channels, size, strides=stride, padding="same", use_bias=False)(x)
            x = normalisation()(x)
            return layers.ReLU()(x) if relu else x

        def residual(x: Any, channels: int, stride: int) -> Any:
            y = convolution(x, channels, stride)
            y = convolution(y, channels, 1, relu=False)
            if stride != 1 or x.shape[-1] != channels:
                x = convolution(x, channels, stride, size=1, relu=False)
            return layers.ReLU()(layers.Add()([x, y]))

        def separable(x: Any, channels: int, stride: int) -> Any:
            # In float32 even where the rest is bfloat16, for which there is no fast kernel.
            y = layers.DepthwiseConv2D(
                3, strides=stride, padding="same", use_bias=False, dtype="float32"
            )(x)
            y = convolution(y, channels, 1, size=1)
            same = stride == 1 and x.shape[-1] == channels
            return layers.Add()([x, y]) if same else y

        kinds = {"conv": convolution, "residual": residual, "separable": separable}
        x = convolution(x, stem, 2, size=5)
        for kind, channels, stride in stages:
            x = kinds[kind](x, channels, stride)
        return layers.Dropout(dropout)(layers.GlobalAveragePooling2D()(x))

    return body


def _article(x: Any, _: Callable[[], Any]) -> Any:
    from keras import layers

    for channels in (32, 64):
        x = layers.Conv2D(channels, 3, activation="relu")(x)
        x = layers.MaxPooling2D()(x)
    x = layers.Dense(128, activation="relu")(layers.Flatten()(x))
    return layers.Dropout(0.5)(x)


_NETS = (
    Architecture(
        name="resnet10",
        purpose="expression, expression-fer2013: Pi 4 and 5",
        body=_net(
            32,
            ("residual", 32, 1),
            ("residual", 64, 2),
            ("residual", 64, 1),
            ("residual", 112, 2),
            dropout=0.1,
        ),
    ),
    Architecture(
        name="resnet10-wide",
        purpose="teacher of the others; too large for a device",
        body=_net(
            64,
            ("residual", 64, 1),
            ("residual", 128, 2),
            ("residual", 128, 1),
            ("residual", 256, 2),
            dropout=0.2,
        ),
    ),
    Architecture(
        name="separable14",
        purpose="for what resnet10 is for, with less arithmetic; trains slower",
        body=_net(
            24,
            ("conv", 32, 1),
            ("conv", 32, 1),
            ("separable", 128, 2),
            *[("separable", 128, 1)] * 5,
            ("separable", 208, 2),
            *[("separable", 208, 1)] * 3,
            dropout=0.1,
        ),
    ),
    Architecture(
        name="separable10-nano",
        purpose="more accurate than resnet7-nano for the same arithmetic",
        body=_net(
            16,
            ("conv", 24, 1),
            ("separable", 64, 2),
            *[("separable", 64, 1)] * 3,
            ("separable", 88, 2),
            *[("separable", 88, 1)] * 2,
            dropout=0.05,
        ),
    ),
    Architecture(
        name="resnet7-nano",
        purpose="expression-nano: Zero 2 W",
        body=_net(24, ("conv", 32, 2), ("residual", 32, 1), ("residual", 48, 2), dropout=0.05),
    ),
    Architecture(
        name="resnet4",
        purpose="tests and first tries: trains in seconds",
        body=_net(8, ("conv", 16, 2), ("residual", 32, 2), dropout=0.1),
    ),
    Architecture(
        name="article-cnn",
        purpose="the two-convolution net of introductory articles, for comparison",
        body=_article,
    ),
)
ZOO: Mapping[str, Architecture] = MappingProxyType({net.name: net for net in _NETS})


def architecture(name: str) -> Architecture:
    """Look a name up.

    Raises:
        ConfigError: no such name.
    """
    if name not in ZOO:
        raise ConfigError(f"There is no architecture {name!r}.", f"Known: {', '.join(ZOO)}.")
    return ZOO[name]


def build(
    name: str, spec: InputSpec, classes: int, normalisation: Callable[[], Any] | None = None
) -> Any:
    """A fresh Keras model: ``float32[N, height, width, channels]`` to ``float32[N, classes]``.

    Args:
        name: see :data:`ZOO`.
        spec: what the model takes.
        classes: how many logits.
        normalisation: makes each batch normalisation; default: Keras's own.

    Raises:
        ConfigError: no such name.
    """
    from keras import Model, layers

    inputs = layers.Input((spec.height, spec.width, spec.channels), name="face")
    make = normalisation or (lambda: layers.BatchNormalization(momentum=0.98))
    x = architecture(name).body(inputs, make)
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
