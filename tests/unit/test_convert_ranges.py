"""Ranges: the pinned input, rounding, and what a float model's activations reach."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_tflite import pictures, tiny_float, tiny_spec

from edge_fer.contract import InputSpec, TensorQuantisation
from edge_fer.errors import ModelError
from edge_fer.preprocess import quantise, to_real
from edge_fer_convert.graph import from_object, to_object
from edge_fer_convert.measuring.probe import Probe
from edge_fer_convert.measuring.ranges import Ranges, input_range, run_watched
from edge_fer_convert.measuring.statistics import measure_statistics

LEVELS = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)


def spec(low: float, high: float) -> InputSpec:
    return InputSpec(
        height=16,
        width=16,
        channels=1,
        colour="gray",
        scale=((high - low) / 255,),
        offset=(low,),
    )


def pinned(s: InputSpec) -> TensorQuantisation:
    low, high = input_range(s)
    scale = float(np.float32((high - low) / 255))
    zero_point = -128 - low / ((high - low) / 255)
    assert abs(zero_point - round(zero_point)) < 1e-6
    return TensorQuantisation(scale=scale, zero_point=round(zero_point))


@pytest.mark.parametrize("ends", [(0, 1), (0, 255), (-128, 127), (0, 6)])
def test_int8_is_uint8_minus_128_where_the_range_allows_it(ends: tuple[float, float]) -> None:
    s = spec(*ends)
    assert (quantise(LEVELS, s, pinned(s)).astype(int) == LEVELS.astype(int) - 128).all()


def test_minus_one_to_one_loses_only_the_two_middle_grays() -> None:
    s = spec(-1, 1)
    out = quantise(LEVELS, s, pinned(s)).ravel().astype(int)
    assert pinned(s).zero_point == 0
    assert (np.diff(out) >= 0).all()
    assert len(set(out.tolist())) == 255
    assert out[127] == out[128] == 0


@given(low=st.floats(-300, 290), width=st.floats(0.01, 600))
def test_every_gray_level_is_within_half_a_step(low: float, width: float) -> None:
    s = spec(low, low + width)
    tensor = pinned(s)
    back = (quantise(LEVELS, s, tensor).astype(float) - tensor.zero_point) * tensor.scale
    # to_real is float32, so allow its rounding beside half a step.
    slack = 1e-5 * (abs(low) + width)
    assert np.abs(back - to_real(LEVELS, s)).max() <= 0.5 * tensor.scale + slack


@given(value=st.floats(-1e6, 1e6, allow_subnormal=False))
def test_rounding_goes_outward_by_at_most_a_fifth_of_a_percent(value: float) -> None:
    low, high = Ranges(of={"t": (value, value)}).rounded().of["t"]
    assert low <= value <= high
    assert max(high - value, value - low) <= 0.002 * abs(value)
    assert Ranges(of={"t": (low, high)}).rounded().of["t"] == (low, high)


def test_rounding_hides_the_last_bits() -> None:
    rng = np.random.default_rng(0)
    values = rng.uniform(0.1, 20, 1000)
    a = Ranges(of={str(i): (0.0, float(v)) for i, v in enumerate(values)}).rounded()
    b = Ranges(of={str(i): (0.0, float(v) * (1 + 4e-7)) for i, v in enumerate(values)}).rounded()
    differing = sum(a.of[name] != b.of[name] for name in a.of)
    assert differing <= 3
    assert Ranges(of={"relu6": (0.0, 6.0)}).rounded().of["relu6"] == (0.0, 6.0)


def reached(
    model: bytes,
    inputs: Iterable[np.ndarray],
    on_done: Callable[[int], None] = lambda done: None,
) -> dict[str, tuple[float, float]]:
    """(lowest, highest) of every activation, by name."""
    found = measure_statistics(model, inputs, on_done=on_done).histograms
    return {name: (histogram.lowest, histogram.highest) for name, histogram in found.items()}


def test_measured_ranges_are_global_and_order_free() -> None:
    model, seen = tiny_float(), []
    inputs = to_real(pictures(12), tiny_spec())
    found = reached(model, (inputs[i : i + 1] for i in range(12)), seen.append)
    backwards = reached(model, (inputs[i : i + 1] for i in reversed(range(12))))
    assert found == backwards
    assert set(found) == {"picture", "features", "pooled", "scores"}
    assert found["picture"] == (float(inputs.min()), float(inputs.max()))
    parts = [reached(model, [inputs[i : i + 1]])["scores"] for i in range(12)]
    assert found["scores"] == (min(p[0] for p in parts), max(p[1] for p in parts))
    assert seen == list(range(1, 13))


def test_a_model_that_computes_infinity_is_refused() -> None:
    with pytest.raises(ModelError, match=r"computes .*(inf|nan)"):
        list(run_watched(tiny_float(gain=1e38), [to_real(pictures(1), tiny_spec())]))


def of_another_shape() -> bytes:
    """A kernel for three channels over a picture of one: LiteRT fails when it allocates."""
    model = to_object(tiny_float())
    kernel = next(t for t in model.subgraphs[0].tensors if t.name == b"kernel")
    kernel.shape = [4, 1, 3, 3]
    return from_object(model)


def of_the_future() -> bytes:
    model = to_object(tiny_float())
    model.operatorCodes[0].version = 99
    return from_object(model)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(b"", id="empty"),
        pytest.param(tiny_float()[:-40], id="truncated"),
        pytest.param(of_another_shape(), id="another shape"),
        pytest.param(of_the_future(), id="unknown version"),
    ],
)
def test_what_litert_cannot_run_is_a_model_error_with_a_remedy(model: bytes) -> None:
    picture = to_real(pictures(1), tiny_spec())
    for run in (lambda: Probe(model)(picture), lambda: list(run_watched(model, [picture]))):
        with pytest.raises(ModelError) as caught:
            run()
        assert caught.value.remedy


def test_a_tensor_that_nothing_computes_is_not_shown() -> None:
    model = to_object(tiny_float())
    model.subgraphs[0].operators = []
    idle, picture = from_object(model), to_real(pictures(1), tiny_spec())
    shown = Probe(idle)(picture)
    assert set(shown) == {tensor.name for tensor, _ in run_watched(idle, [picture])} == {"picture"}
    np.testing.assert_array_equal(shown["picture"], picture)
