"""Golden pictures: the same bytes on every machine."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from edge_fer.contract import InputSpec
from edge_fer_convert.golden import golden_pixels


def spec(side: int, channels: int) -> InputSpec:
    return InputSpec(
        height=side,
        width=side,
        channels=channels,
        colour="gray" if channels == 1 else "rgb",
        scale=(1 / 255,) * channels,
        offset=(0.0,) * channels,
    )


def test_these_very_bytes() -> None:
    digest = hashlib.sha256(golden_pixels(spec(48, 1)).tobytes()).hexdigest()
    assert digest == "d9b41b4a47f796b943633119dce8c70d91d12f5d12041a3526949aa0a3ab874b"


def test_smooth_and_noisy_pictures_use_the_whole_range() -> None:
    pixels = golden_pixels(spec(48, 1))
    assert pixels.shape == (8, 48, 48, 1)
    assert pixels.dtype == np.uint8
    rough = [np.abs(np.diff(p.astype(int), axis=0)).mean() for p in pixels]
    assert rough == sorted(rough)
    assert pixels.max() > 250
    assert pixels.min() < 5


@pytest.mark.parametrize(("side", "channels", "count"), [(48, 1, 8), (112, 3, 6), (224, 3, 2)])
def test_large_inputs_get_fewer(side: int, channels: int, count: int) -> None:
    assert golden_pixels(spec(side, channels)).shape == (count, side, side, channels)
