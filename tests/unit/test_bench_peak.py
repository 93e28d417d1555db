"""The peak: a graph that we write ourselves, its arithmetic, and how rates are made of times."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_fer.backends import open_backend
from edge_fer.backends.base import Array, TensorSpec
from edge_fer.backends.fake import FakeBackend
from edge_fer.errors import DeviceError, EdgeFerError, MissingExtra, ModelError
from edge_fer.graphfile import read_graph
from edge_fer_bench.roofline.layer import Layer, constants, flatbuffer
from edge_fer_bench.roofline.memory import buffer_bytes, copy_rate
from edge_fer_bench.roofline.peak import LAYERS, Peak, measure_peak
from edge_fer_bench.roofline.turns import in_turns

POINTWISE = Layer(operator="CONV_2D", side=6, channels=16)
DEPTHWISE = Layer(operator="DEPTHWISE_CONV_2D", side=6, channels=16)
THRICE = Layer(operator="CONV_2D", side=6, channels=16, times=3)
MS = 1_000_000


class Clock:
    """Nanoseconds that work takes; what is no work of ours takes ``tick`` from look to look."""

    def __init__(self, tick: int = 100_000) -> None:
        self.now, self._tick = 0, tick

    def __call__(self) -> int:
        self.now += self._tick
        return self.now

    def work(self, *spent: int) -> Callable[[], None]:
        """Takes these times, one a call, again and again."""
        calls = iter(range(10**9))

        def call() -> None:
            self.now += spent[next(calls) % len(spent)] - self._tick

        return call


class Runtime:
    """Opens fakes that take so long a run, and remembers how it was asked."""

    def __init__(self, *works: Callable[[], None]) -> None:
        self._works = iter(works)
        self.asked: list[tuple[str, int]] = []
        self.opened: list[FakeBackend] = []

    def __call__(self, name: str, flatbuffer: bytes, /, *, threads: int) -> FakeBackend:
        self.asked.append((name, threads))
        shape = read_graph(flatbuffer).lines[0].shape
        spec = TensorSpec(name="x", shape=shape, dtype=np.dtype(np.int8), quantisation=None)
        work = next(self._works)

        def answer(array: Array) -> tuple[Array, ...]:
            work()
            return (array,)

        self.opened.append(FakeBackend(spec, (spec,), answer))
        return self.opened[-1]


# Macs and bytes are counted by hand: 6 x 6 pixels, 16 channels, 16 or 9 taps, int32 biases.
@pytest.mark.parametrize(
    ("layer", "macs", "weights", "moved"),
    [
        (POINTWISE, 36 * 16 * 16, 256 + 64, 576 + 576 + 320),
        (DEPTHWISE, 36 * 16 * 9, 144 + 64, 576 + 576 + 208),
        (THRICE, 3 * 36 * 16 * 16, 256 + 64, 576 + 3 * (576 + 320)),
    ],
)
def test_the_graph_is_read_back(layer: Layer, macs: int, weights: int, moved: int) -> None:
    table = read_graph(flatbuffer(layer))
    assert table.macs == layer.macs == macs
    assert table.weight_bytes == weights
    assert layer.moved_bytes == moved
    assert [line.operator for line in table.lines] == [layer.operator] * layer.times
    assert {line.shape for line in table.lines} == {(1, 6, 6, 16)}
    assert {line.dtype for line in table.lines} == {"INT8"}
    assert {line.zero_point for line in table.lines} == {-100}
    assert [line.scale for line in table.lines] == pytest.approx([0.02] * layer.times)


@pytest.mark.parametrize(("layer", "axis"), [(POINTWISE, 0), (DEPTHWISE, 3)])
def test_weights_have_a_scale_per_channel(layer: Layer, axis: int) -> None:
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated", reason="reads the schema")
    model = schema.ModelT.InitFromPackedBuf(flatbuffer(layer), 0)
    weights, bias = model.subgraphs[0].tensors[:2]
    assert weights.quantization.quantizedDimension == axis
    assert list(weights.shape) == list(layer.weights_shape)
    scales = constants(layer).weight_scales
    assert weights.quantization.scale == pytest.approx(scales)
    assert len(set(scales)) == layer.channels
    assert bias.quantization.scale == pytest.approx(scales * constants(layer).picture.scale)
    assert model.operatorCodes[0].version == 3


@pytest.mark.parametrize("layer", [POINTWISE, DEPTHWISE])
def test_constants_lie_as_kernels_want_them(layer: Layer) -> None:
    made, values = flatbuffer(layer), constants(layer)
    assert made[4:8] == b"TFL3"
    for held in (values.weights.tobytes(), values.bias.astype("<i4").tobytes()):
        assert made.count(held) == 1
        assert made.index(held) % 16 == 0


def by_hand(layer: Layer, array: Array) -> Array:
    """TFLite's 8-bit arithmetic in whole numbers, and one rounding at the end."""
    values = constants(layer)
    zero = values.picture.zero_point
    real = np.pad(array[0].astype(np.int64) - zero, ((1, 1), (1, 1), (0, 0)))
    weights = values.weights.astype(np.int64)
    side = layer.side
    if layer.operator == "CONV_2D":
        sums = real[1:-1, 1:-1] @ weights[:, 0, 0, :].T
    else:
        sums = sum(
            real[dy : dy + side, dx : dx + side] * weights[0, dy, dx]
            for dy in range(3)
            for dx in range(3)
        )
    # Input and output have one scale, so that only the weights' is left.
    steps = np.rint((sums + values.bias) * values.weight_scales.astype(np.float64))
    return np.asarray(np.clip(steps + zero, zero, 127), np.int8)[None]


@pytest.mark.parametrize(
    "layer",
    [
        POINTWISE,
        DEPTHWISE,
        Layer(operator="CONV_2D", side=5, channels=24),
        Layer(operator="DEPTHWISE_CONV_2D", side=7, channels=12),
    ],
)
def test_the_arithmetic_is_right(layer: Layer) -> None:
    array = np.random.default_rng(2).integers(-128, 128, layer.shape, dtype=np.int8)
    backend = open_backend("auto", flatbuffer(layer))
    (found,) = backend.run(array)
    expected = by_hand(layer, array)
    assert np.abs(found.astype(int) - expected).max() <= 1
    # Outputs that all are the same would be right too easily.
    assert len(np.unique(expected)) > 60
    assert found.min() == -100  # ReLU ends at the zero point, not at int8's end
    assert 0.2 < (expected == -100).mean() < 0.8
    backend.close()


@pytest.mark.parametrize("kind", ["CONV_2D", "DEPTHWISE_CONV_2D"])
def test_three_times_is_one_after_another(kind: Any) -> None:
    one, three = (Layer(operator=kind, side=6, channels=16, times=n) for n in (1, 3))
    array = np.random.default_rng(4).integers(-128, 128, one.shape, dtype=np.int8)
    once, thrice = (open_backend("auto", flatbuffer(layer)) for layer in (one, three))
    expected = array
    for _ in range(3):
        (expected,) = once.run(expected)
    (found,) = thrice.run(array)
    assert np.array_equal(found, expected)
    assert len(np.unique(found)) > 10
    once.close()
    thrice.close()


def test_work_takes_turns_and_warms_up_first() -> None:
    clock, order = Clock(tick=0), ""
    first, second = clock.work(99 * MS, 4 * MS), clock.work(15 * MS)

    def a() -> None:
        nonlocal order
        order += "a"
        first()

    def b() -> None:
        nonlocal order
        order += "b"
        second()

    told: list[tuple[float, float]] = []
    one, other = in_turns([a, b], seconds=0.3, clock=clock, on_progress=lambda *at: told.append(at))
    # A block ends after 10 ms: 99 ms, or 4 + 99 ms; 15 ms of the other.
    assert order == "ab" + "aab" * 3
    assert (one.calls, other.calls) == (6, 3)
    assert (one.min_ns, one.p50_ns, one.p75_ns) == (4 * MS, 51.5 * MS, 99 * MS)
    assert other.p25_ns == other.p50_ns == 15 * MS
    assert told == [(pytest.approx(0.232), 0.3), (0.3, 0.3), (0.3, 0.3)]


def test_turns_end_with_the_time_and_with_a_clock_that_stands() -> None:
    clock = Clock(tick=0)
    (timed,) = in_turns([clock.work(20 * MS)], seconds=1.0, clock=clock)
    assert timed.calls == 49  # the fiftieth warmed up
    (still,) = in_turns([lambda: None], seconds=0.0, clock=Clock(tick=0))
    assert (still.calls, still.p50_ns) == (3000, 0.0)
    assert in_turns([], seconds=1.0, clock=Clock()) == ()


def measured(runtime: Any, clock: Clock, **changes: Any) -> tuple[Peak, tuple[Any, ...]]:
    given: dict[str, Any] = {
        "threads": 1,
        "layers": (POINTWISE, THRICE, DEPTHWISE),
        "seconds": 0.5,
        "opener": runtime,
        "memory_bytes": 1000,
        "clock": clock,
        "cpu_clock": lambda: clock.now,
    }
    return measure_peak(**given | changes)


def test_rates_are_macs_over_the_median_time() -> None:
    clock = Clock()
    # The first call is a trial, the second warms up: one slow one of at least three is left.
    runtime = Runtime(clock.work(*[12 * MS] * 3, 90 * MS), clock.work(20 * MS), clock.work(50 * MS))
    peak, (beside,) = measured(
        runtime, clock, threads=3, backend="litert", beside=[clock.work(30 * MS)]
    )
    assert runtime.asked == [("litert", 3)] * 3
    assert [rate.gmac_s for rate in peak.rates] == pytest.approx(
        [9216 / 12e6, 27648 / 20e6, 5184 / 50e6]
    )
    assert peak.gmac_s == pytest.approx(27648 / 20e6)
    assert peak.pointwise is peak.rates[1]
    assert peak.depthwise is peak.rates[2]
    assert beside.p50_ns == 30 * MS
    assert (peak.threads, peak.backend, peak.why_not) == (3, "fake", "")
    assert all(backend.closed for backend in runtime.opened)
    assert "3 threads is 0.00138 GMAC/s (1x1, 6x6x16, fake)" in peak.words


def test_the_ridge_is_peak_over_memory() -> None:
    clock = Clock()
    runtime = Runtime(*[clock.work(20 * MS)] * 3)
    peak, _ = measured(runtime, clock, memory_bytes=4_000_000)
    assert peak.memory_gb_s == pytest.approx(2 * 4e6 / 100_000)
    assert peak.gmac_s == pytest.approx(27648 / 20e6)
    assert peak.ridge == pytest.approx(27648 / 20e6 / 80)
    document = json.loads(json.dumps(peak.to_json(), allow_nan=False))
    assert document["ridge_mac_per_byte"] == peak.ridge
    assert [entry["macs"] for entry in document["layers"]] == [9216, 27648, 5184]
    assert [entry["weight_bytes"] for entry in document["layers"]] == [256, 256, 144]


@pytest.mark.parametrize(
    ("share", "threads", "disturbed"), [(1.0, 1, False), (0.6, 1, False), (0.8, 2, True)]
)
def test_other_work_on_the_processor_is_said(share: float, threads: int, disturbed: bool) -> None:
    clock = Clock()
    runtime = Runtime(*[clock.work(20 * MS)] * 3)
    peak, _ = measured(runtime, clock, threads=threads, cpu_clock=lambda: int(share * clock.now))
    assert peak.busy == pytest.approx(share, rel=0.01)
    assert peak.to_json()["disturbed"] is peak.disturbed is disturbed
    words = f"Other work held the processor ({share:.1f} of {threads} were ours)"
    assert (words in peak.words) is disturbed


@pytest.mark.parametrize(
    "trouble",
    [
        MissingExtra("LiteRT cannot be loaded.", "Install it."),
        ModelError("No operator CONV_2D."),
        DeviceError("Unplugged."),
    ],
)
def test_a_runtime_that_cannot_is_said_and_no_failure(trouble: EdgeFerError) -> None:
    clock = Clock()

    def opener(name: str, flatbuffer: bytes, /, *, threads: int) -> FakeBackend:
        raise trouble

    peak, (beside,) = measured(opener, clock, beside=[clock.work(11 * MS)])
    assert peak.words == f"The int8 peak is not measured: {trouble}"
    assert (peak.gmac_s, peak.depthwise, peak.ridge, peak.rates) == (None, None, None, ())
    assert beside.p50_ns == 11 * MS
    assert (peak.busy, peak.disturbed) == (None, False)
    assert json.loads(json.dumps(peak.to_json()))["why_not"] == str(trouble)


def test_a_runtime_that_fails_when_it_runs() -> None:
    clock = Clock()

    def fails() -> None:
        raise DeviceError("Out of registers.")

    runtime = Runtime(clock.work(MS), fails, clock.work(MS))
    peak, _ = measured(runtime, clock, beside=[clock.work(MS)])
    assert peak.why_not == "Out of registers."
    assert [backend.closed for backend in runtime.opened] == [True] * 3


def test_a_backend_without_a_plain_model_is_said() -> None:
    peak, _ = measure_peak(
        threads=1, backend="edgetpu", seconds=0.01, memory_bytes=1000, clock=Clock(tick=MS)
    )
    assert "not measured: The model is not compiled for an Edge TPU." in peak.words


def test_too_little_memory_leaves_the_slope_out() -> None:
    clock = Clock()
    runtime = Runtime(*[clock.work(20 * MS)] * 3)
    peak, _ = measured(runtime, clock, memory_bytes=1 << 60)
    assert peak.gmac_s is not None
    assert peak.memory_gb_s is None
    assert peak.ridge is None
    assert "memory" not in peak.words


def test_real_layers_of_all_sizes_run_on_both_counts_of_threads() -> None:
    assert sum(layer.operator == "CONV_2D" for layer in LAYERS) >= 3
    for threads in (1, 2):
        peak, _ = measure_peak(
            threads=threads, seconds=0.0, memory_bytes=1 << 20, clock=Clock(tick=11 * MS)
        )
        assert peak.why_not == ""
        assert f"{threads} thread" in peak.backend
        assert [rate.layer for rate in peak.rates] == list(LAYERS)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_copy_counts_what_is_read_and_written(threads: int) -> None:
    rate = copy_rate(threads=threads, size=10_001, seconds=0.0, clock=Clock(tick=500))
    assert rate == pytest.approx(2 * 10_001 / 500)


@pytest.mark.parametrize(
    ("caches", "free_kb", "expected"),
    [
        (("32K", "1024K", "32768K"), 8_000_000, 64 << 20),
        (("32K", "8M"), None, 16 << 20),
        (("garbage", "", "512K"), 8_000_000, 16 << 20),
        ((), 8_000_000, 16 << 20),
        (("512M",), 8_000_000, 128 << 20),
        (("2048K",), 64 * 1024, 8 << 20),
    ],
)
def test_the_buffer_is_beyond_the_caches_and_within_memory(
    tmp_path: Path, caches: tuple[str, ...], free_kb: int | None, expected: int
) -> None:
    for number, size in enumerate(caches):
        cache = tmp_path / f"sys/devices/system/cpu/cpu0/cache/index{number}"
        cache.mkdir(parents=True)
        (cache / "size").write_text(f"{size}\n")
    if free_kb is not None:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc/meminfo").write_text(f"MemTotal: 1 kB\nMemAvailable:  {free_kb} kB\n")
    assert buffer_bytes(tmp_path) == expected
