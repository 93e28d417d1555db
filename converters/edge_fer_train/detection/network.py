"""The net of ``face``: single-shot and anchor-free, in the manner of BlazeFace (Bazarevsky et al.,
arXiv:1907.05047) and YuNet (Wu et al., Machine Intelligence Research 20, 2023).

Depthwise-separable residual blocks down to stride 32, one top-down pass, one prediction a cell
at strides 8, 16 and 32. Only operators that stay int8 on XNNPACK and the Edge TPU, ReLU6 so that no
activation outgrows its scale, and the sigmoid of the score in the graph, where int8 gives it the
fixed scale 1/256. Every stride-2 convolution pads one pixel on each side itself, so that the
cells lie alike for every input size, and one set of weights serves several.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

__all__ = ["KEYPOINTS", "STRIDES", "build_detector"]

STRIDES = (8, 16, 32)
KEYPOINTS = ("right_eye", "left_eye", "mouth")
_PRIOR = -4.0  # logit of a face in a cell before anything was learnt (Lin et al., 1708.02002)


def build_detector(
    height: int | None = None,
    width: int | None = None,
    *,
    normalisation: Callable[[], Any] | None = None,
) -> Any:
    """A fresh Keras model.

    Args:
        height: of the input, a multiple of 32; None leaves it open.
        width: likewise.
        normalisation: makes each batch normalisation; default: Keras's own.

    Returns:
        ``float32[N, height, width, 1]``, gray in 0..1, to nine heads, finest stride first: scores
        ``[N, gh, gw, 1]`` after the sigmoid, boxes ``[N, gh, gw, 4]`` and keypoints
        ``[N, gh, gw, 2 K]``, as the decoder ``grid`` reads them.
    """
    from keras import Model, initializers, layers

    norm = normalisation or (lambda: layers.BatchNormalization(momentum=0.98))

    def finish(x: Any, relu: bool = True) -> Any:
        x = norm()(x)
        return layers.ReLU(6.0)(x) if relu else x

    def pointwise(x: Any, channels: int, relu: bool = True) -> Any:
        return finish(layers.Conv2D(channels, 1, use_bias=False)(x), relu)

    def depthwise(x: Any, size: int = 3, stride: int = 1) -> Any:
        padding = "same"
        if stride == 2:
            x, padding = layers.ZeroPadding2D(size // 2)(x), "valid"
        return finish(
            layers.DepthwiseConv2D(size, strides=stride, padding=padding, use_bias=False)(x)
        )

    def down(x: Any, channels: int) -> Any:
        return pointwise(depthwise(x, stride=2), channels)

    def block(x: Any, size: int = 3) -> Any:
        y = pointwise(depthwise(x, size), x.shape[-1], relu=False)
        return layers.ReLU(6.0)(layers.Add()([x, y]))

    def repeat(x: Any, times: int, size: int = 3) -> Any:
        for _ in range(times):
            x = block(x, size)
        return x

    inputs = layers.Input((height, width, 1), name="picture")
    x = layers.ZeroPadding2D(1)(inputs)
    x = finish(layers.Conv2D(16, 3, strides=2, use_bias=False)(x))
    x = repeat(down(x, 32), 1)
    fine = repeat(down(x, 48), 3)
    middle = repeat(down(fine, 80), 2, size=5)
    coarse = repeat(down(middle, 96), 1, size=5)

    # Top down: what is a face at a distance depends on what is around it.
    deep = pointwise(coarse, 48)
    up = layers.UpSampling2D(2, interpolation="nearest")(deep)
    middle = block(layers.ReLU(6.0)(layers.Add()([pointwise(middle, 48, relu=False), up])))
    up = layers.UpSampling2D(2, interpolation="nearest")(middle)
    fine = block(layers.ReLU(6.0)(layers.Add()([fine, up])))

    heads = []
    for stride, level in zip(STRIDES, (fine, middle, deep), strict=True):
        seen = pointwise(depthwise(level), 48)
        prior = initializers.Constant(_PRIOR)
        heads += [
            layers.Conv2D(
                1, 1, bias_initializer=prior, activation="sigmoid", name=f"score_{stride}"
            )(seen),
            layers.Conv2D(4, 1, name=f"box_{stride}")(seen),
            layers.Conv2D(2 * len(KEYPOINTS), 1, name=f"keypoints_{stride}")(seen),
        ]
    return Model(inputs, heads, name="face")
