"""Feature space: the cut before the last layer, and the order of far-apart points."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_tflite import CHANNELS, SIDE, pictures, tiny_float, tiny_spec

from edge_fer.errors import ModelError
from edge_fer.modelfile import read_model
from edge_fer.models import find
from edge_fer.preprocess import to_real
from edge_fer_convert.calibration.features import far_apart, penultimate
from edge_fer_convert.graph import from_object, to_object
from edge_fer_convert.measuring.ranges import run_watched


def without_last(model: bytes, count: int) -> bytes:
    """The model without its last operators."""
    changed = to_object(model)
    graph = changed.subgraphs[0]
    graph.operators = graph.operators[:-count]
    graph.outputs = [int(i) for i in graph.operators[-1].outputs]
    return from_object(changed)


def tensor_of(model: bytes, name: str, pixels: np.ndarray) -> np.ndarray:
    real = to_real(pixels, tiny_spec())
    watched = run_watched(model, (real[i : i + 1] for i in range(len(real))))
    return np.stack([value.ravel() for tensor, value in watched if tensor.name == name])


def test_features_are_what_the_dense_layer_reads() -> None:
    model, pixels = tiny_float(), pictures(5)
    features = penultimate(model, tiny_spec())
    found = features(pixels)
    assert (features.layer, found.shape, found.dtype) == ("pooled", (5, CHANNELS), np.float32)
    np.testing.assert_allclose(found, tensor_of(model, "pooled", pixels), rtol=1e-5)
    assert features.macs == SIDE * SIDE * CHANNELS * 9


def test_without_a_dense_layer_it_is_what_makes_the_output_reads() -> None:
    model, pixels = without_last(tiny_float(), 1), pictures(3)
    features = penultimate(model, tiny_spec())
    found = features(pixels)
    assert (features.layer, found.shape) == ("features", (3, SIDE * SIDE * CHANNELS))
    np.testing.assert_allclose(found, tensor_of(model, "features", pixels), rtol=1e-5, atol=1e-6)


def test_a_single_layer_reads_the_picture_itself() -> None:
    features = penultimate(without_last(tiny_float(), 2), tiny_spec())
    found = features(pictures(2))
    assert (features.layer, features.macs) == ("picture", 0)
    np.testing.assert_array_equal(found, to_real(pictures(2), tiny_spec()).reshape(2, -1))


def test_an_output_without_a_picture_is_a_model_error() -> None:
    model = to_object(tiny_float())
    graph = model.subgraphs[0]
    graph.operators[-1].inputs = [int(i) for i in graph.operators[-1].inputs[1:]] * 2
    with pytest.raises(ModelError, match="depends on the picture"):
        penultimate(from_object(model), tiny_spec())


def test_the_shipped_model_gives_its_pooled_features() -> None:
    model = read_model(find("expression.float"))
    features = penultimate(model.flatbuffer, model.contract.input)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 48, 48, 1), dtype=np.uint8)
    found = features(pixels)
    assert found.ndim == 2
    assert found.shape[1] > 16
    assert not np.array_equal(found[0], found[1])
    assert 1e6 < features.macs < 1e8


def cover(points: np.ndarray, centres: list[int]) -> float:
    """The largest distance of a point to its nearest centre."""
    return float(np.linalg.norm(points[:, None] - points[centres][None], axis=2).min(axis=1).max())


def test_centres_reach_every_cluster() -> None:
    rng = np.random.default_rng(4)
    places = rng.uniform(-10, 10, (6, 12))
    points = np.repeat(places, 30, axis=0) + rng.normal(0, 0.05, (180, 12))
    order = far_apart(points.astype(np.float32), 6)
    assert {i // 30 for i in order} == set(range(6))
    assert cover(points, order) < 0.2 * cover(points, list(range(6)))


@given(seed=st.integers(0, 999), count=st.integers(1, 12))
def test_orders_are_nested_and_without_repeats(seed: int, count: int) -> None:
    points = np.random.default_rng(seed).integers(0, 3, (12, 2)).astype(np.float32)
    whole = far_apart(points, 12)
    assert sorted(whole) == list(range(12))
    assert far_apart(points, count) == whole[:count]


def test_the_first_centre_is_in_the_middle() -> None:
    points = np.array([[9.0, 0], [0, 9], [3, 3], [0, 0]], np.float32)
    assert far_apart(points, 1) == [2]
    assert far_apart(points, 2) == [2, 0]
    assert far_apart(np.zeros((3, 2), np.float32), 3) == [0, 1, 2]


def test_the_last_bits_of_features_change_nothing() -> None:
    rng = np.random.default_rng(5)
    differing = 0
    for _ in range(20):
        points = rng.normal(0, 1, (80, 32)).astype(np.float32)
        noisy = points * (1 + rng.uniform(-3e-7, 3e-7, points.shape)).astype(np.float32)
        differing += far_apart(points, 20) != far_apart(noisy, 20)
    assert differing <= 1
