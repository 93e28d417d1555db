"""Histograms and what follows from them: order-free counts, clipping, shared scales, int8 files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_quantizer.algorithms.utils.common_utils import OpQuantConstraint
from ai_edge_quantizer.utils.constrained_ops_utils import get_constrained_op_list
from hypothesis import given
from hypothesis import strategies as st
from tiny_tflite import CHANNELS, pictures, tiny_contract, tiny_float, tiny_spec

from edge_fer.contract import InputSpec, OutputSpec
from edge_fer.errors import ConfigError, ModelError
from edge_fer.evaluation.data import load
from edge_fer.modelfile import read_model
from edge_fer.models import find
from edge_fer.preprocess import fit, to_real
from edge_fer.types import Image
from edge_fer_convert.calibration.parting import CalibrationSet, digests
from edge_fer_convert.graph import Graph, from_object, to_object
from edge_fer_convert.int8.candidate import Candidate
from edge_fer_convert.int8.verify import check_full_integer
from edge_fer_convert.measuring.histograms import Histogram, rounded_up
from edge_fer_convert.measuring.probe import Probe
from edge_fer_convert.measuring.ranges import input_range
from edge_fer_convert.measuring.statistics import Statistics, measure_statistics
from edge_fer_convert.operators import RULES

METHODS = ("minmax", "percentile:99.99", "percentile:99.9", "mse")
floats = st.floats(width=32, allow_nan=False, allow_infinity=False)


def of(*parts: object) -> Histogram:
    histogram = Histogram()
    for part in parts:
        histogram.add(np.asarray(part, np.float32))
    return histogram


def counted(model: bytes, pixels: Image, spec: InputSpec) -> Statistics:
    real = to_real(pixels, spec)
    return measure_statistics(model, (real[i : i + 1] for i in range(len(real))))


@given(values=st.lists(floats, min_size=1, max_size=40), data=st.data())
def test_counts_depend_on_the_values_alone(values: list[float], data: st.DataObject) -> None:
    whole = of(values)
    shuffled = data.draw(st.permutations(values))
    cut = data.draw(st.integers(0, len(values)))
    assert of(*([v] for v in shuffled)) == whole
    assert of(shuffled[:cut]).merged(of(shuffled[cut:])) == whole
    assert of(shuffled[:cut], shuffled[cut:]) == whole


@given(values=st.lists(floats, min_size=1, max_size=40))
def test_every_value_lies_in_its_bin(values: list[float]) -> None:
    histogram = of(values)
    assert (histogram.lowest, histogram.highest) == (min(values), max(values))
    assert histogram.counts.sum() == histogram.total == len(values)
    assert len(histogram.counts) <= 2048
    expected = np.histogram(values, bins=[*histogram.edges[:-1], np.inf])[0]
    np.testing.assert_array_equal(histogram.counts, expected)


def test_bins_are_fine_and_aligned_at_zero() -> None:
    histogram = of(np.linspace(-3, 5, 1000))
    assert 1024 <= len(histogram.counts) <= 2048
    assert 0.0 in histogram.edges
    assert histogram.width == 2.0 ** round(np.log2(histogram.width))
    other = of(np.linspace(-3, 5, 999))
    assert other != histogram


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="inf"):
        of([1.0, np.inf])
    assert of([]).total == 0


@pytest.mark.parametrize("percent", [60.0, 99.0, 99.9, 100.0])
def test_percentiles_leave_out_what_they_say(percent: float) -> None:
    values = np.random.default_rng(0).standard_t(3, 20_000).astype(np.float32)
    histogram = of(values)
    low, high = histogram.percentile(percent)
    spare = len(values) * (1 - percent / 100)
    for out in ((values < low).sum(), (values > high).sum()):
        assert out <= spare
    # One bin further in would leave out too many.
    assert (values < low + histogram.width).sum() >= spare * 0.99
    assert (values > high - histogram.width).sum() >= spare * 0.99
    if percent == 100:
        assert (low, high) == (values.min(), values.max())


def int8_error(values: np.ndarray, low: float, high: float) -> float:
    step = (high - low) / 255
    zero_point = round(-128 - low / step)
    codes = np.clip(np.rint(values / step) + zero_point, -128, 127)
    return float((((codes - zero_point) * step - values) ** 2).mean())


@pytest.mark.parametrize(("low", "high"), [(-9, 12), (-2, 3), (-0.5, 0.1), (0, 4), (-4, 0)])
def test_the_expected_error_is_that_of_real_int8(low: float, high: float) -> None:
    values = np.random.default_rng(1).laplace(0.2, 1, 100_000).astype(np.float32)
    values[:30_000] = 0  # as after ReLU
    assert of(values).squared_error(low, high) == pytest.approx(
        int8_error(values.astype(np.float64), low, high), rel=0.02
    )


def test_least_error_beats_the_ends_and_a_grid_of_others() -> None:
    values = np.random.default_rng(2).standard_t(2.5, 50_000).astype(np.float32) + 0.3
    histogram = of(values)
    low, high = histogram.least_error()
    found = int8_error(values, low, high)
    assert found < 0.95 * int8_error(values, histogram.lowest, histogram.highest)
    for a in np.linspace(0.5, 1.5, 9):
        for b in np.linspace(0.5, 1.5, 9):
            assert found < 1.03 * int8_error(values, low * a, high * b)


def test_least_error_keeps_even_values_whole() -> None:
    low, high = of(np.linspace(-2, 6, 10_001)).least_error()
    assert low == pytest.approx(-2, rel=0.06)
    assert high == pytest.approx(6, rel=0.06)
    assert of(np.zeros(5)).least_error() == (0.0, 0.0)
    assert of(np.linspace(0, 1, 999)).least_error()[0] == 0.0


def test_the_last_bits_of_values_change_no_range() -> None:
    rng = np.random.default_rng(3)
    differing = 0
    for seed in range(20):
        values = np.random.default_rng(seed).standard_t(4, 20_000).astype(np.float32)
        noisy = values * (1 + rng.uniform(-4e-7, 4e-7, len(values))).astype(np.float32)
        differing += of(values).least_error() != of(noisy).least_error()
    assert differing <= 1


@given(value=st.floats(1e-6, 1e6))
def test_rounding_up_keeps_ten_bits(value: float) -> None:
    up = rounded_up(value)
    assert value <= up <= value * 1.002
    assert np.ldexp(up, 10 - np.frexp(up)[1]) % 1 == 0


def test_statistics_are_one_pass_and_order_free() -> None:
    model, spec, pixels = tiny_float(), tiny_spec(), pictures(12)
    whole = counted(model, pixels, spec)
    backwards = counted(model, pixels[::-1], spec)
    assert backwards.histograms == whole.histograms
    for method in METHODS:
        assert backwards.ranges(method) == whole.ranges(method)
    probe = Probe(model)
    shown = [probe(picture[None]) for picture in to_real(pixels, spec)]
    assert set(whole.histograms) == set(shown[0])
    for name, histogram in whole.histograms.items():
        values = np.stack([values[name] for values in shown])
        assert (histogram.lowest, histogram.highest) == (values.min(), values.max())
        assert histogram.total == values.size


def test_a_model_that_computes_infinity_is_refused() -> None:
    with pytest.raises(ModelError, match=r"computes .*(inf|nan)"):
        counted(tiny_float(gain=1e38), pictures(1), tiny_spec())


@pytest.mark.parametrize("method", ["", "max", "percentile", "percentile:50", "percentile:x"])
def test_an_unknown_method_is_a_config_error(method: str) -> None:
    with pytest.raises(ConfigError, match="no way"):
        counted(tiny_float(), pictures(1), tiny_spec()).ranges(method)


def with_operator(name: str, options: object, shape: tuple[int, ...], *, at_end: bool) -> bytes:
    """The tiny model with one more operator behind its convolution, or behind its scores."""
    model = to_object(tiny_float())
    graph = model.subgraphs[0]
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, name)
    code.version = 1
    model.operatorCodes.append(code)
    source = next(i for i, t in enumerate(graph.tensors) if t.name == b"features")
    before = graph.outputs[0] if at_end else source
    tensor = schema.TensorT()
    tensor.name, tensor.shape, tensor.buffer = "added", list(shape), 0
    tensor.type = schema.TensorType.FLOAT32
    graph.tensors.append(tensor)
    new = schema.OperatorT()
    new.opcodeIndex, new.inputs = len(model.operatorCodes) - 1, [before]
    new.outputs = [len(graph.tensors) - 1]
    new.builtinOptionsType = getattr(
        schema.BuiltinOptions, type(options).__name__.removesuffix("T")
    )
    new.builtinOptions = options
    if at_end:
        graph.operators.append(new)
        graph.outputs = new.outputs
    else:
        graph.operators.insert(1, new)
        graph.operators[2].inputs[0] = new.outputs[0]
    return from_object(model)


def pooling() -> bytes:
    options = schema.Pool2DOptionsT()
    options.strideH = options.strideW = options.filterHeight = options.filterWidth = 2
    return with_operator("MAX_POOL_2D", options, (1, 4, 4, CHANNELS), at_end=False)


def softmax() -> bytes:
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    return with_operator("SOFTMAX", options, (1, 3), at_end=True)


@pytest.mark.parametrize("method", METHODS)
def test_a_pooled_tensor_has_the_range_of_its_source(method: str) -> None:
    model, spec = pooling(), tiny_spec()
    found = counted(model, pictures(16), spec).ranges(method, pinned={"picture": (0.0, 1.0)})
    assert found.of["added"] == found.of["features"]
    int8 = Candidate.quantised(model, tiny_contract(), found)
    named = {t.name: t for t in Graph.read(int8.flatbuffer).tensors}
    assert named["added"].scales == named["features"].scales
    low, high = found.of["features"]
    assert named["features"].scales[0] == pytest.approx((high - low) / 255, rel=1e-6)


def test_before_a_max_pool_only_what_it_lets_through_counts() -> None:
    statistics = counted(pooling(), pictures(16), tiny_spec())
    pooled = statistics.histograms["added"].least_error()
    assert statistics.ranges("mse").of["features"] == pooled
    ends = statistics.histograms["features"]
    assert statistics.ranges("minmax").of["features"] == (0.0, rounded_up(ends.highest))


@pytest.mark.parametrize("method", METHODS)
def test_both_ends_keep_their_exact_ranges(method: str) -> None:
    for model, output in ((tiny_float(), "scores"), (softmax(), "added")):
        statistics = counted(model, pictures(16), tiny_spec())
        found = statistics.ranges(method)
        for name in ("picture", output):
            seen = statistics.histograms[name]
            assert found.of[name] == (
                -rounded_up(-min(seen.lowest, 0.0)),
                rounded_up(max(seen.highest, 0.0)),
            )
        assert all(low <= 0 <= high for low, high in found.of.values())
        assert found.rounded() == found


def test_pinned_ranges_stand_as_they_are_and_spread_to_their_like() -> None:
    statistics = counted(pooling(), pictures(4), tiny_spec())
    third = 7 / 3
    found = statistics.ranges("mse", pinned={"picture": (0.0, 1.0), "added": (-third, third)})
    assert found.of["picture"] == (0.0, 1.0)
    assert found.of["added"] == found.of["features"] == (-third, third)


def test_a_pinned_range_clips_nobody_who_shares_its_scale() -> None:
    statistics = counted(pooling(), pictures(4), tiny_spec())
    found = statistics.ranges("minmax", pinned={"picture": (0.0, 1.0), "added": (-0.1, 0.1)})
    seen = statistics.histograms["features"]
    assert found.of["added"] == found.of["features"] == (-0.1, rounded_up(seen.highest))


def test_the_operators_with_one_scale_are_ai_edge_quantizers() -> None:
    """A second opinion, on the operators that both know."""
    theirs = {
        str(name.value if hasattr(name, "value") else name)
        for kind in (OpQuantConstraint.SAME_AS_INPUT_SCALE, OpQuantConstraint.SAME_AS_OUTPUT_SCALE)
        for name in get_constrained_op_list(kind)
    }
    ours = {name for name, rule in RULES.items() if rule.scales == "shared"}
    shape_only = {"EXPAND_DIMS", "MINIMUM", "REDUCE_MAX", "RESIZE_NEAREST_NEIGHBOR", "SQUEEZE"}
    assert ours - theirs <= shape_only
    assert theirs & set(RULES) <= ours


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("make", [tiny_float, pooling, softmax])
def test_every_method_gives_a_full_integer_model(method: str, make: object) -> None:
    model = make()  # type: ignore[operator]
    contract = tiny_contract()
    if make is softmax:
        contract = contract.with_(output=OutputSpec(kind="probabilities"))
    ranges = counted(model, pictures(32), tiny_spec()).ranges(method, pinned={"picture": (0, 1)})
    int8 = Candidate.quantised(model, contract, ranges)
    check_full_integer(Graph.read(int8.flatbuffer))
    before = Candidate(flatbuffer=model, contract=contract).probabilities(pictures(32, 9))
    assert np.abs(before - int8.probabilities(pictures(32, 9))).max() < 0.03


@pytest.mark.slow
def test_every_method_agrees_with_the_shipped_float_model(fer2013: Path) -> None:
    model = read_model(find("expression.float"))
    spec, labels = model.contract.input, model.contract.labels
    validation = load(fer2013, labels, split="validation").take(np.arange(300))
    pixels = np.stack([fit(image, spec) for image in validation.images])
    training = load(fer2013, labels, split="Training").take(np.arange(0, 20_000, 100))
    without = digests(validation.images, spec)
    calibration = CalibrationSet.choose(training, spec, 128, without=without)
    statistics = counted(model.flatbuffer, calibration.pixels, spec)
    said = Candidate(flatbuffer=model.flatbuffer, contract=model.contract).probabilities(pixels)
    pinned = {Graph.read(model.flatbuffer).tensors[0].name: input_range(spec)}
    for method in METHODS:
        ranges = statistics.ranges(method, pinned=pinned)
        int8 = Candidate.quantised(model.flatbuffer, model.contract, ranges)
        agreement = (int8.probabilities(pixels).argmax(axis=1) == said.argmax(axis=1)).mean()
        assert agreement >= 0.97, method
