"""Error per layer: what rounding and clipping do inside the graph."""

from __future__ import annotations

import numpy as np
import pytest
from test_convert_candidate import ranges_of
from tiny_tflite import pictures, tiny_contract, tiny_float, tiny_spec

from edge_fer.errors import ModelError
from edge_fer.preprocess import to_real
from edge_fer_convert.graph import from_object, to_object
from edge_fer_convert.int8.candidate import Candidate
from edge_fer_convert.measuring.ranges import Ranges
from edge_fer_convert.measuring.statistics import measure_statistics
from edge_fer_convert.reporting.layers import LayerError, layer_errors, short_name, worst

MODEL = tiny_float()
PIXELS = pictures(40)


def layers(ranges: Ranges, pixels: np.ndarray = PIXELS) -> dict[str, LayerError]:
    int8 = Candidate.quantised(MODEL, tiny_contract(), ranges)
    found = layer_errors(MODEL, int8.flatbuffer, pixels, tiny_contract(), int8.contract)
    assert [layer.index for layer in found] == [0, 1, 2]
    return {layer.tensor: layer for layer in found}


def wide() -> Ranges:
    """Ranges that hold every value of all pictures."""
    inputs = to_real(PIXELS, tiny_spec())
    statistics = measure_statistics(MODEL, (inputs[i : i + 1] for i in range(len(inputs))))
    return statistics.ranges("minmax", pinned={"picture": (0.0, 1.0)})


def test_layers_are_named_and_nothing_is_clipped_where_the_ranges_hold() -> None:
    found = layers(wide())
    assert {name: (layer.operator, layer.shape) for name, layer in found.items()} == {
        "features": ("CONV_2D", (1, 8, 8, 4)),
        "pooled": ("MEAN", (1, 4)),
        "scores": ("FULLY_CONNECTED", (1, 3)),
    }
    # Kernels int8, biases int32.
    assert found["features"].weight_bytes == 36 + 4 * 4
    assert found["scores"].weight_bytes == 12 + 3 * 4
    for layer in found.values():
        assert layer.clipped == 0
        assert layer.saturated < 0.01
        assert layer.sqnr_db is not None
        assert layer.sqnr_db > 30


def test_the_figures_are_those_of_the_definition() -> None:
    ranges = wide()
    int8 = Candidate.quantised(MODEL, tiny_contract(), ranges)
    before = Candidate(flatbuffer=MODEL, contract=tiny_contract())
    stated = int8.contract.quantisation.output
    assert stated is not None
    from edge_fer.backends import open_backend
    from edge_fer.preprocess import quantise

    inputs = to_real(PIXELS[:32], tiny_spec())
    assert int8.contract.quantisation.input is not None
    int8_inputs = quantise(PIXELS[:32], tiny_spec(), int8.contract.quantisation.input)
    real = [open_backend("litert", before.flatbuffer).run(x[None])[0] for x in inputs]
    stored = [open_backend("litert", int8.flatbuffer).run(x[None])[0] for x in int8_inputs]
    signal = np.array(real, np.float64)
    error = (np.array(stored, np.float64) - stated.zero_point) * stated.scale - signal
    found = layers(ranges)["scores"]
    # XNNPACK's kernels may round one value in many by a step more.
    assert found.mse == pytest.approx(float((error**2).mean()), rel=0.2)
    assert found.sqnr_db == pytest.approx(
        10 * np.log10((signal**2).mean() / (error**2).mean()), abs=1.0
    )


def test_a_clipped_range_shows_as_saturation_and_fewer_decibels_in_that_layer() -> None:
    ranges = wide()
    low, high = ranges.of["features"]
    before = layers(ranges)
    after = layers(Ranges(of={**ranges.of, "features": (low, 0.3 * high)}))
    assert after["features"].clipped > 0.05
    assert after["features"].saturated > 0.05
    assert before["features"].sqnr_db is not None
    assert after["features"].sqnr_db is not None
    assert after["features"].sqnr_db < before["features"].sqnr_db - 10
    # Later layers hold the error, and clip nothing themselves.
    assert after["pooled"].clipped == after["scores"].clipped == 0
    assert next(worst(list(after.values()))).tensor == "features"


def test_the_zero_of_a_relu_is_no_saturation() -> None:
    dark = np.zeros((4, 8, 8, 1), np.uint8)
    model = to_object(MODEL)
    # Black pictures leave the bias alone: below zero, so that ReLU gives nothing but zeros.
    bias = next(t for t in model.subgraphs[0].tensors if t.name == b"bias")
    model.buffers[bias.buffer].data = list(np.full(4, -0.1, np.float32).tobytes())
    negative = from_object(model)
    int8 = Candidate.quantised(negative, tiny_contract(), wide())
    found = layer_errors(negative, int8.flatbuffer, dark, tiny_contract(), int8.contract)
    assert found[0].tensor == "features"
    assert (found[0].saturated, found[0].mse, found[0].sqnr_db) == (0, 0, None)
    assert found[0].to_json()["sqnr_db"] is None


def test_the_same_twice_and_at_most_32_pictures() -> None:
    told: list[int] = []
    ranges = ranges_of(MODEL)
    int8 = Candidate.quantised(MODEL, tiny_contract(), ranges)
    found = layer_errors(
        MODEL, int8.flatbuffer, PIXELS, tiny_contract(), int8.contract, on_done=told.append
    )
    assert told == list(range(1, 33))
    assert found == tuple(layers(ranges, PIXELS[:32]).values())
    assert found != tuple(layers(ranges, PIXELS[8:]).values())


def test_what_a_layer_adds_is_its_noise_over_signal_less_that_of_its_input() -> None:
    found = layers(wide())
    noise = {name: 10 ** (-(layer.sqnr_db or 0.0) / 10) for name, layer in found.items()}
    assert found["scores"].added == pytest.approx(noise["scores"] - noise["pooled"], rel=1e-6)
    order = [layer.added or 0.0 for layer in worst(list(found.values()))]
    assert order == sorted(order, reverse=True)
    assert all(added > 0 for added in order)


def test_models_without_a_common_layer_are_refused() -> None:
    model = to_object(MODEL)
    for tensor in model.subgraphs[0].tensors:
        tensor.name = b"other/" + tensor.name
    int8 = Candidate.quantised(MODEL, tiny_contract(), wide())
    with pytest.raises(ModelError, match="no layer in common"):
        layer_errors(from_object(model), int8.flatbuffer, PIXELS, tiny_contract(), int8.contract)


def test_a_model_that_litert_cannot_run_is_refused() -> None:
    int8 = Candidate.quantised(MODEL, tiny_contract(), wide())
    model = to_object(MODEL)
    model.operatorCodes[0].version = 99
    with pytest.raises(ModelError, match="LiteRT cannot run") as caught:
        layer_errors(from_object(model), int8.flatbuffer, PIXELS, tiny_contract(), int8.contract)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("tensor", "short"),
    [
        (
            "net/relu_1/Relu;net/bn/add_1;net/conv2d_3/convolution;net/bn/sub",
            "conv2d_3/convolution",
        ),
        ("net/relu_9/Relu;net/add_2/Add", "add_2/Add"),
        ("features", "features"),
    ],
)
def test_fused_layers_have_a_short_name(tensor: str, short: str) -> None:
    assert short_name(tensor) == short
