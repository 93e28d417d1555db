"""Golden pictures: the same bytes on every machine."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from test_convert_candidate import finished
from tiny_tflite import tiny_contract, tiny_float, tiny_spec

from edge_fer.backends._interpreter import InterpreterBackend
from edge_fer.classifier import Classifier
from edge_fer.contract import InputSpec
from edge_fer.modelfile import ModelFile
from edge_fer_convert.int8.golden import golden_pixels, steady_pixels


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
    assert digest == "ba63c31105ecbbe8419b200073428866e0bea8db09dd3994fedcc72acfbacf19"


def test_smooth_and_noisy_pictures_use_the_whole_range() -> None:
    pixels = golden_pixels(spec(48, 1))
    assert pixels.shape == (4, 48, 48, 1)
    assert pixels.dtype == np.uint8
    rough = [np.abs(np.diff(p.astype(int), axis=0)).mean() for p in pixels]
    assert rough == sorted(rough)
    assert pixels.max() > 250
    assert pixels.min() < 5


def test_a_variant_is_other_pictures_of_the_same_kinds() -> None:
    first, second = golden_pixels(spec(48, 1)), golden_pixels(spec(48, 1), 1)
    assert all((a != b).mean() > 0.9 for a, b in zip(first, second, strict=True))


def test_steady_pictures_are_variants_and_their_kernels_agree(tmp_path: Path) -> None:
    made = finished(tmp_path).model
    steady = steady_pixels(made)
    variants = np.stack([golden_pixels(made.contract.input, v) for v in range(6)])
    assert (variants == steady).all(axis=(2, 3, 4)).any(axis=0).all()
    for kernels in (OpResolverType.BUILTIN_REF, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES):
        make = partial(
            Interpreter, model_content=made.flatbuffer, experimental_op_resolver_type=kernels
        )
        backend = InterpreterBackend(make, "another set of kernels")
        found = Classifier(made, backend).golden_error()
        backend.close()
        assert found is not None
        assert found[1] <= 1


def test_a_float_model_takes_the_first() -> None:
    model = ModelFile(path=Path("f"), flatbuffer=tiny_float(), contract=tiny_contract(), sha256="")
    steady = steady_pixels(model)
    np.testing.assert_array_equal(steady, golden_pixels(tiny_spec()))


@pytest.mark.parametrize(("side", "channels", "count"), [(48, 1, 4), (160, 3, 3), (224, 3, 2)])
def test_large_inputs_get_fewer(side: int, channels: int, count: int) -> None:
    assert golden_pixels(spec(side, channels)).shape == (count, side, side, channels)
