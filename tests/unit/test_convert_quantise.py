"""The int8 form of a graph, operator by operator, judged by the runtime."""

from __future__ import annotations

import copy
import warnings
from types import MappingProxyType

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flat_graph import RELU, FlatGraph
from tiny_tflite import pictures, tiny_float

from edge_fer.errors import ModelError
from edge_fer_convert.graph import Graph, from_object, to_object
from edge_fer_convert.inputs.canonical import canonical
from edge_fer_convert.int8.quantise import quantise, tensor_ranges
from edge_fer_convert.int8.verify import output_kind
from edge_fer_convert.measuring.probe import Probe
from edge_fer_convert.measuring.ranges import Ranges
from edge_fer_convert.measuring.statistics import measure_statistics

SIDE = 8


def inputs(count: int = 24) -> np.ndarray:
    return pictures(count).astype(np.float32) / 255


def ranges_of(model: bytes) -> Ranges:
    return measure_statistics(model, (picture[None] for picture in inputs())).ranges("minmax")


def worst_error(model: bytes, int8: bytes) -> dict[str, float]:
    """Largest error of each activation, in parts of its largest value."""
    real, rounded = Probe(model), Probe(int8)
    errors: dict[str, float] = {}
    reach: dict[str, float] = {}
    for picture in inputs():
        values = rounded(picture[None])
        for name, value in real(picture[None]).items():
            errors[name] = max(errors.get(name, 0), float(np.abs(values[name] - value).max()))
            reach[name] = max(reach.get(name, 0), float(np.abs(value).max()))
    return {name: error / max(reach[name], 1e-9) for name, error in errors.items()}


def many_operators() -> bytes:
    """Convolution, leaky ReLU, pooling, depthwise, residual sum, ReLU, mean, dense, softmax."""
    rng = np.random.default_rng(5)
    flat = FlatGraph()
    picture = flat.tensor("picture", (1, SIDE, SIDE, 1))
    x = flat.conv("first", picture, rng.normal(0, 1, (4, 3, 3, 1)), rng.normal(0, 0.5, 4))
    x = flat.pool("pooled", flat.leaky("leaky", x))
    y = flat.depthwise("depthwise", x, rng.normal(0, 1, (1, 3, 3, 4)), rng.normal(0, 1, 4), RELU)
    x = flat.unary("RELU", "relu", flat.add("sum", x, y))
    x = flat.dense("scores", flat.mean("mean", x), rng.normal(0, 1, (3, 4)), None)
    return flat.done([picture], [flat.softmax("probabilities", x)])


def test_every_activation_stays_near_the_float_model() -> None:
    model = many_operators()
    int8 = quantise(model, ranges_of(model))
    errors = worst_error(model, int8)
    # What lies below 0 before a ReLU is cut away there already.
    assert min(Probe(model)(p[None])["sum"].min() for p in inputs()) < 0
    errors.pop("sum")
    assert max(errors.values()) < 0.06, errors
    graph = Graph.read(int8)
    assert {t.dtype for t in graph.tensors} == {"INT8", "INT32"}
    assert len(graph.operators) == len(Graph.read(model).operators)
    named = {t.name: (t.scales, t.zero_points) for t in graph.tensors}
    assert named["probabilities"] == ((1 / 256,), (-128,))
    assert named["pooled"] == named["leaky"]
    assert named["sum"] == named["relu"]
    assert named["relu"][1] == (-128,)


def test_versions_and_runtime_are_those_of_int8_kernels() -> None:
    graph = Graph.read(quantise(many_operators(), ranges_of(many_operators())))
    counts = graph.counts()
    assert counts["CONV_2D v3"] == counts["FULLY_CONNECTED v6"] == counts["LEAKY_RELU v2"] == 1
    assert graph.metadata["min_runtime_version"].rstrip(b"\0") == b"2.3.0"


def test_a_channel_without_weights_keeps_its_bias() -> None:
    """At the scale that vanishing weights ask for, the bias would not fit into 32 bits."""
    weights = np.random.default_rng(0).normal(0, 1, (3, 1, 1, 1))
    weights[1] = 1e-15
    flat = FlatGraph()
    picture = flat.tensor("picture", (1, SIDE, SIDE, 1))
    x = flat.conv("layer", picture, weights, np.array([0.1, -2.0, 0.3]))
    model = flat.done([picture], [flat.mean("mean", x)])
    int8 = quantise(model, ranges_of(model))
    assert Probe(int8)(inputs()[:1])["mean"][0, 1] == pytest.approx(-2.0, abs=0.03)


def test_dense_layers_with_one_scale() -> None:
    model = tiny_float()
    for per_tensor, count in ((True, 1), (False, 3)):
        graph = Graph.read(quantise(model, ranges_of(model), per_tensor_dense=per_tensor))
        (dense,) = (o for o in graph.operators if o.name == "FULLY_CONNECTED")
        assert [len(graph.tensors[i].scales) for i in dense.inputs] == [1, count, count]
    both = quantise(model, ranges_of(model), per_tensor_dense=True)
    assert max(worst_error(model, both).values()) < 0.05


def test_what_has_no_int8_form_is_named() -> None:
    flat = FlatGraph()
    picture = flat.tensor("picture", (1, SIDE, SIDE, 1))
    model = flat.done([picture], [flat.unary("EXP", "growth", picture)])
    with pytest.raises(ModelError, match="EXP, which makes growth"):
        quantise(model, Ranges(of=MappingProxyType({"picture": (0, 1), "growth": (0, 3)})))


@pytest.mark.parametrize("kind", ["ELU", "TANH", "LOGISTIC", "HARD_SWISH", "RELU6"])
def test_activations_that_stand_alone(kind: str) -> None:
    rng = np.random.default_rng(1)
    flat = FlatGraph()
    picture = flat.tensor("picture", (1, SIDE, SIDE, 1))
    x = flat.conv("layer", picture, rng.normal(0, 1, (3, 3, 3, 1)), np.zeros(3))
    model = flat.done([picture], [flat.mean("mean", flat.unary(kind, "active", x))])
    errors = worst_error(model, quantise(model, ranges_of(model)))
    assert errors["mean"] < 0.04
    assert errors["active"] < 0.04


def test_ranges_of_tensors_that_share_a_scale_are_joined() -> None:
    graph = Graph.read(many_operators())
    known = {t.name: (-1.0, 2.0) for t in graph.activations()} | {"leaky": (-3.0, 1.0)}
    found = {
        graph.tensors[number].name: bounds
        for number, bounds in tensor_ranges(graph, Ranges(of=MappingProxyType(known))).items()
    }
    assert found["leaky"] == found["pooled"] == (-3.0, 2.0)
    assert found["first"] == (-1.0, 2.0)


def test_ai_edge_quantizer_gives_the_same_weights() -> None:
    """A second engine on a graph that both can do."""
    quantizer = pytest.importorskip("ai_edge_quantizer.quantizer")
    from ai_edge_quantizer import recipe

    model = tiny_float()
    ranges = ranges_of(model)
    known = {
        name: {"min": np.full((1, 1, 1, 1), low, "f4"), "max": np.full((1, 1, 1, 1), high, "f4")}
        for name, (low, high) in ranges.of.items()
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of the memory that it needs
        engine = quantizer.Quantizer(model, recipe.static_wi8_ai8())
        theirs = Graph.read(bytes(engine.quantize(known).quantized_model))
    ours = {t.name: t for t in Graph.read(quantise(model, ranges)).tensors}
    for tensor in theirs.tensors:
        twin = ours[tensor.name]
        assert (tensor.dtype, tensor.zero_points) == (twin.dtype, twin.zero_points), tensor.name
        assert tensor.scales == pytest.approx(twin.scales, rel=1e-6), tensor.name
        assert tensor.data == twin.data, tensor.name


def test_a_file_of_2019_with_shared_constants() -> None:
    """Only the narrow operator code is filled, and two layers read one run of zeros."""
    model = to_object(many_operators())
    for code in model.operatorCodes:
        code.builtinCode = 0
    graph = model.subgraphs[0]
    first, depthwise = graph.operators[0], graph.operators[3]
    depthwise.inputs = [*depthwise.inputs[:2], first.inputs[2]]
    graph.tensors[first.inputs[1]].buffer = graph.tensors[first.inputs[1]].buffer
    twin = copy.copy(graph.tensors[first.inputs[2]])
    twin.name = b"twin"
    graph.tensors.append(twin)
    old = from_object(model)
    clean = canonical(old)
    numbers = [i for o in Graph.read(clean).operators for i in o.inputs if i >= 0]
    tensors = Graph.read(clean).tensors
    constants = [i for i in numbers if tensors[i].data is not None]
    assert len(constants) == len(set(constants))
    buffers = [t.buffer for t in to_object(clean).subgraphs[0].tensors if t.buffer]
    held = [b for b in buffers if to_object(clean).buffers[b].data is not None]
    assert len(held) == len(set(held))
    assert canonical(clean) == clean
    assert max(worst_error(old, clean).values()) == 0
    errors = worst_error(clean, quantise(clean, ranges_of(clean)))
    errors.pop("sum")
    assert max(errors.values()) < 0.06


def reshaped(flat: FlatGraph, name: str, x: int, *shape: int) -> int:
    sizes = flat.tensor(f"{name}/shape", (len(shape),), np.array(shape, np.int32))
    return flat.operator("RESHAPE", None, [x, sizes], flat.tensor(name, shape))


def test_a_softmax_keeps_its_scale_through_every_reshape() -> None:
    flat = FlatGraph()
    picture = flat.tensor("picture", (1, SIDE, SIDE, 1))
    x = flat.conv(
        "layer", picture, np.random.default_rng(1).normal(0, 1, (4, 3, 3, 1)), np.zeros(4)
    )
    x = flat.softmax("probabilities", flat.mean("mean", x))
    x = reshaped(flat, "second", reshaped(flat, "first", x, 1, 2, 2), 1, 4)
    model = flat.done([picture], [x])
    graph = Graph.read(quantise(model, ranges_of(model)))
    assert {t.scales for t in graph.tensors if t.name in ("probabilities", "first", "second")} == {
        (1 / 256,)
    }
    assert output_kind(Graph.read(model)) == "probabilities"


def joined(kind: str | None) -> bytes:
    """A picture, or an activation of it, concatenated with a convolution of it."""
    flat = FlatGraph()
    picture = flat.tensor("picture", (1, SIDE, SIDE, 1))
    weights = np.random.default_rng(1).normal(0, 4, (2, 3, 3, 1))
    branch = flat.conv("branch", picture, weights, np.zeros(2))
    other = picture if kind is None else flat.unary(kind, "other", picture)
    options = schema.ConcatenationOptionsT()
    options.axis = 3
    both = flat.tensor("both", (1, SIDE, SIDE, 3))
    flat.operator("CONCATENATION", options, [other, branch], both)
    return flat.done([picture], [flat.mean("mean", both)])


def test_what_is_joined_with_the_picture_is_not_clipped_to_its_range() -> None:
    model = joined(None)
    statistics = measure_statistics(model, (p[None] for p in inputs()))
    ranges = statistics.ranges("minmax", pinned={"picture": (0.0, 1.0)})
    assert worst_error(model, quantise(model, ranges))["mean"] < 0.03


def test_branches_that_need_two_scales_are_named() -> None:
    model = joined("LOGISTIC")
    with pytest.raises(ModelError, match="CONV_2D, which makes branch, is joined"):
        quantise(model, ranges_of(model))


def test_a_range_too_small_for_float32() -> None:
    graph = Graph.read(tiny_float())
    none = Ranges(of=MappingProxyType({t.name: (0.0, 1e-43) for t in graph.activations()}))
    int8 = Graph.read(quantise(tiny_float(), none))
    assert all(scale > 0 for tensor in int8.tensors for scale in tensor.scales)


def test_tensors_without_a_name_or_with_the_same_get_their_own() -> None:
    model = to_object(many_operators())
    for tensor in model.subgraphs[0].tensors:
        tensor.name = b""
    clean = canonical(from_object(model))
    names = [t.name for t in Graph.read(clean).tensors]
    assert all(names)
    assert len(set(names)) == len(names)
    assert len(Graph.read(quantise(clean, ranges_of(clean))).operators) == 9
