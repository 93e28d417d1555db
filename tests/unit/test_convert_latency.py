"""Time of one inference on this host."""

from __future__ import annotations

from time import perf_counter

import pytest
from test_convert_candidate import ranges_of
from tiny_tflite import tiny_float

from edge_fer.errors import ModelError
from edge_fer_convert.graph import from_object, to_object
from edge_fer_convert.int8.quantise import quantise
from edge_fer_convert.reporting.latency import latencies_ms


def larger(flatbuffer: bytes, side: int) -> bytes:
    """The same model for pictures of another size."""
    model = to_object(flatbuffer)
    for tensor in model.subgraphs[0].tensors:
        if tensor.name in {b"picture", b"features"}:
            tensor.shape = [1, side, side, list(tensor.shape)[-1]]
    return from_object(model)


def test_a_model_with_a_thousand_times_the_work_takes_longer() -> None:
    small = tiny_float()
    found = latencies_ms({"large": larger(small, 256), "small": small}, runs=9)
    assert list(found) == ["large", "small"]
    assert 0 < 3 * found["small"] < found["large"]


def test_float_and_int8_are_both_timed() -> None:
    model = tiny_float()
    files = {"float": model, "int8": quantise(model, ranges_of(model))}
    found = latencies_ms(files, runs=5)
    assert list(found) == list(files)
    assert all(0 < took < 1000 for took in found.values())


def test_a_limit_of_time_still_gives_a_figure() -> None:
    started = perf_counter()
    large = larger(tiny_float(), 256)
    assert latencies_ms({"large": large}, runs=100_000, limit_s=0.01)["large"] > 0
    assert perf_counter() - started < 30


def test_a_damaged_model_is_a_model_error() -> None:
    with pytest.raises(ModelError):
        latencies_ms({"damaged": b"TFL3" * 20})
