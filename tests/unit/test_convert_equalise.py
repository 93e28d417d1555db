"""Channels of very different reach: equalised, with the same float answers, and better in int8."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flat_graph import NONE, RELU, RELU6, FlatGraph
from tiny_tflite import pictures

from edge_fer_convert.graph import Graph
from edge_fer_convert.int8.quantise import quantise
from edge_fer_convert.measuring.probe import Probe
from edge_fer_convert.measuring.statistics import measure_statistics
from edge_fer_convert.passes.bias import correct_bias
from edge_fer_convert.passes.equalise import equalise
from edge_fer_convert.passes.paths import paths

SIDE, WIDE = 8, 16


def inputs(count: int = 32, seed: int = 1) -> np.ndarray:
    return pictures(count, seed).astype(np.float32) / 255


def separable(spread: float, fused: int = RELU, gain: float = 1.0) -> bytes:
    """Depthwise and pointwise layers; channels rescaled by 2^U(-spread, spread), then undone."""
    rng = np.random.default_rng(2)
    flat = FlatGraph()
    picture = flat.tensor("picture", (1, SIDE, SIDE, 1))
    shape = (WIDE, 1, 1, WIDE)
    layers = [
        ("conv", rng.normal(0, 0.5, (WIDE, 3, 3, 1))),
        ("deep", rng.normal(0, 0.4, (1, 3, 3, WIDE))),
        ("point", rng.normal(0, 0.4, shape)),
        ("deeper", rng.normal(0, 0.4, (1, 3, 3, WIDE))),
        ("last", rng.normal(0, 0.4, shape)),
    ]
    x, undo = picture, np.ones(1)
    for name, weights in layers:
        factor = 2.0 ** rng.uniform(-spread, spread, WIDE)
        if name == "last":
            factor = np.ones(WIDE)
        bias = gain * rng.normal(0, 0.1, WIDE)
        across = (1, 1, 1, -1) if name.startswith("deep") else (-1, 1, 1, 1)
        scaled = gain * weights / undo * factor.reshape(across)
        make = flat.depthwise if name.startswith("deep") else flat.conv
        x = make(name, x, scaled, bias * factor, fused if name != "last" else NONE)
        undo = factor
    scores = flat.dense("scores", flat.mean("mean", x), rng.normal(0, 1, (5, WIDE)), np.zeros(5))
    return flat.done([picture], [scores])


def answers(model: bytes, name: str = "scores") -> np.ndarray:
    probe = Probe(model, [name])
    return np.concatenate([probe(p[None])[name] for p in inputs(60, seed=9)])


def int8_of(model: bytes) -> Callable[[bytes], bytes]:
    ranges = measure_statistics(model, (p[None] for p in inputs())).ranges("minmax")
    return lambda changed: quantise(changed, ranges)


def error(model: bytes, reference: np.ndarray) -> float:
    found = answers(int8_of(model)(model))
    return float(np.abs(found - reference).mean() / reference.std())


def test_what_a_rescaling_spoilt_is_mended() -> None:
    model = separable(spread=4)
    reference = answers(model)
    mended = equalise(model, (p[None] for p in inputs()))
    assert np.abs(answers(mended) - reference).max() < 1e-4
    spoilt, good = error(model, reference), error(mended, reference)
    plain = error(separable(spread=0), answers(separable(spread=0)))
    assert spoilt > 5 * good
    assert good < 2 * plain


def test_relu6_that_never_clips_becomes_a_relu() -> None:
    model = separable(spread=1, fused=RELU6, gain=0.5)
    mended = equalise(model, (p[None] for p in inputs()))
    fused = [o.option("fusedActivationFunction") for o in Graph.read(mended).operators[:4]]
    assert fused == [RELU] * 4
    assert np.abs(answers(mended) - answers(model)).max() < 1e-4


def test_relu6_that_clips_is_left_alone() -> None:
    model = separable(spread=1, fused=RELU6, gain=6.0)
    reach = Probe(model)(inputs()[:1])
    clipping = [name for name in ("conv", "deep", "point", "deeper") if reach[name].max() >= 6]
    assert clipping
    mended = Graph.read(equalise(model, (p[None] for p in inputs())))
    for name in clipping:
        (operator,) = (o for o in mended.operators if mended.tensors[o.outputs[0]].name == name)
        assert operator.option("fusedActivationFunction") == RELU6
    assert (
        np.abs(answers(equalise(model, (p[None] for p in inputs()))) - answers(model)).max() < 1e-3
    )


def test_paths_end_at_sums_second_readers_and_flattened_maps() -> None:
    rng = np.random.default_rng(0)
    flat = FlatGraph()
    picture = flat.tensor("picture", (1, SIDE, SIDE, 1))
    a = flat.conv("a", picture, rng.normal(size=(4, 3, 3, 1)), np.zeros(4), RELU)
    b = flat.conv("b", a, rng.normal(size=(4, 3, 3, 4)), np.zeros(4), RELU)
    c = flat.conv("c", b, rng.normal(size=(4, 3, 3, 4)), np.zeros(4))
    d = flat.pool("pooled", flat.leaky("leaky", flat.add("sum", a, c)))
    e = flat.conv("e", d, rng.normal(size=(4, 3, 3, 4)), np.zeros(4), RELU)
    f = flat.pool("f", e)
    scores = flat.dense("scores", f, rng.normal(size=(3, 16)), np.zeros(3))
    graph = Graph.read(flat.done([picture], [scores]))
    found = {
        graph.tensors[p.between[0]].name: (p.second, [graph.tensors[t].name for t in p.between])
        for p in paths(graph)
    }
    names = [graph.tensors[o.outputs[0]].name for o in graph.operators]
    assert found["a"] == (None, ["a"])  # two readers
    assert found["b"] == (names.index("c"), ["b"])
    assert found["c"] == (None, ["c"])  # a residual sum
    assert found["e"] == (None, ["e", "f"])  # 16 inputs of 4 channels
    assert [p.rectified for p in paths(graph)] == [True, True, False, True, False]


def test_bias_correction_takes_back_the_shift() -> None:
    model = separable(spread=3)
    int8 = int8_of(model)
    reference = answers(model, "mean")
    corrected = correct_bias(model, int8, inputs(48, seed=4))
    shift = [abs((answers(int8(m), "mean") - reference).mean(axis=0)) for m in (model, corrected)]
    assert shift[1].mean() < 0.5 * shift[0].mean()
    assert answers(corrected).shape == answers(model).shape
    assert error(model, answers(model)) == pytest.approx(error(model, answers(model)))


def test_a_mean_over_the_channels_ends_a_path() -> None:
    rng = np.random.default_rng(0)
    flat = FlatGraph()
    picture = flat.tensor("picture", (1, SIDE, SIDE, 1))
    x = flat.conv("wide", picture, rng.normal(size=(SIDE, 3, 3, 1)), np.zeros(SIDE))
    axes = flat.tensor("axes", (2,), np.array([1, 3], np.int32))
    mean = flat.tensor("mean", (1, SIDE))
    flat.operator("MEAN", schema.ReducerOptionsT(), [x, axes], mean)
    scores = flat.dense("scores", mean, rng.normal(size=(3, SIDE)), np.zeros(3))
    model = flat.done([picture], [scores])
    assert paths(Graph.read(model))[0].second is None
    assert np.array_equal(answers(equalise(model, (p[None] for p in inputs()))), answers(model))
