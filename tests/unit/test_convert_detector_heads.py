"""A float detector in form: raw heads, each with a scale of its own, and nothing else changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flat_graph import FlatGraph
from tiny_detector import (
    ANCHORS,
    KEYPOINTS,
    SIDE,
    STRIDES,
    concatenation,
    reshape,
    tiny_detector,
    tiny_detector_contract,
)
from tiny_tflite import tiny_float

from edge_fer.errors import ModelError
from edge_fer_convert.graph import Graph, constant, from_object, to_object
from edge_fer_convert.inputs.heads import Heads, check_rebuilt, import_heads
from edge_fer_convert.inputs.surgery import plain_interpreter

DETECTION = tiny_detector_contract().detection
GRID = DETECTION.model_copy(update={"decoder": "grid"})  # type: ignore[union-attr]


def pictures(count: int = 3, side: int = SIDE) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.random((1, side, side, 1), np.float32) for _ in range(count)]


def outputs(flatbuffer: bytes) -> list[tuple[str, tuple[int, ...]]]:
    graph = Graph.read(flatbuffer)
    return [(graph.tensors[i].name, graph.tensors[i].shape) for i in graph.outputs]


def changed(change: Callable[[Any, Any], None], flatbuffer: bytes | None = None) -> bytes:
    model = to_object(flatbuffer or tiny_detector())
    change(model, model.subgraphs[0])
    return from_object(model)


def test_it_ends_in_the_grids_with_a_head_for_each_kind_of_number() -> None:
    heads = import_heads(tiny_detector(), "tiny", DETECTION)
    assert heads.shape == (SIDE, SIDE, 1)
    expected = []
    for stride, anchors in zip(STRIDES, ANCHORS, strict=True):
        grid = (1, SIDE // stride, SIDE // stride)
        expected += [
            (f"regressor_{stride}/centre", (*grid, 2 * anchors)),
            (f"regressor_{stride}/size", (*grid, 2 * anchors)),
            (f"regressor_{stride}/keypoints", (*grid, 2 * len(KEYPOINTS) * anchors)),
        ]
    for stride, anchors in zip(STRIDES, ANCHORS, strict=True):
        shape = (1, SIDE // stride, SIDE // stride, anchors)
        expected.append((f"classificator_{stride}", shape))
    assert outputs(heads.flatbuffer) == expected
    assert heads.parts == (((0, 1, 2), (3, 4, 5)), ((6,), (7,)))


def test_what_was_cut_off_is_gone_and_the_relu_is_in_its_convolution() -> None:
    graph = Graph.read(import_heads(tiny_detector(), "tiny", DETECTION).flatbuffer)
    assert {operator.name for operator in graph.operators} == {"CONV_2D", "MAX_POOL_2D"}
    first = graph.operators[0]
    assert first.option("fusedActivationFunction") == 1
    assert graph.tensors[first.outputs[0]].name == "positive"


def test_it_computes_what_the_file_computes() -> None:
    heads = import_heads(tiny_detector(), "tiny", DETECTION)
    rebuilt = check_rebuilt(tiny_detector(), heads, pictures(), "tiny")
    assert rebuilt.pictures == 3
    assert rebuilt.largest_value > 10
    assert rebuilt.largest_difference < 1e-5 * rebuilt.largest_value


def test_the_same_file_gives_the_same_bytes() -> None:
    first, second = (import_heads(tiny_detector(), "tiny", DETECTION) for _ in range(2))
    assert first == second


def test_a_model_that_computes_something_else_is_no_rebuilt_one() -> None:
    heads = import_heads(tiny_detector(), "tiny", DETECTION)
    model = to_object(heads.flatbuffer)
    last = model.subgraphs[0].operators[-1].inputs[2]
    buffer = model.buffers[model.subgraphs[0].tensors[last].buffer]
    buffer.data = np.frombuffer((constant(model, last) + 1).astype("<f4").tobytes(), np.uint8)
    wrong = Heads(flatbuffer=from_object(model), shape=heads.shape, parts=heads.parts)
    with pytest.raises(ModelError, match="something else"):
        check_rebuilt(tiny_detector(), wrong, pictures(), "tiny")


def test_half_floats_behind_dequantize_become_constants() -> None:
    halves: list[int] = []

    def halve(model: Any, graph: Any) -> None:
        code = schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
        code.version = 2
        model.operatorCodes.append(code)
        for operator in list(graph.operators):
            if model.operatorCodes[operator.opcodeIndex].builtinCode != 3:  # CONV_2D
                continue
            number = operator.inputs[1]
            held, small = graph.tensors[number], schema.TensorT()
            values = constant(model, number).astype("<f2")
            small.name, small.shape = held.name + b"/half", held.shape
            small.type, small.buffer = schema.TensorType.FLOAT16, len(model.buffers)
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(values.tobytes(), np.uint8)
            model.buffers.append(buffer)
            graph.tensors.append(small)
            held.buffer = 0
            widen = schema.OperatorT()
            widen.opcodeIndex = len(model.operatorCodes) - 1
            widen.inputs, widen.outputs = [len(graph.tensors) - 1], [number]
            graph.operators.insert(0, widen)
            halves.append(number)

    half = changed(halve)
    assert len(halves) == 5
    heads = import_heads(half, "half", DETECTION)
    names = {operator.name for operator in Graph.read(heads.flatbuffer).operators}
    assert "DEQUANTIZE" not in names
    assert check_rebuilt(half, heads, pictures(), "half").largest_difference < 1e-4


def test_a_relu_that_another_operator_bypasses_stays() -> None:
    flat = FlatGraph()
    picture = flat.tensor("picture", (1, 8, 8, 1))
    x = flat.conv("before", picture, np.full((4, 1, 1, 1), -1.0), np.zeros(4))
    y = flat.unary("RELU", "after", x)
    box = flat.conv("box", y, np.ones((4, 1, 1, 4)), np.zeros(4))
    score = flat.conv("score", x, np.ones((1, 1, 1, 4)), np.zeros(1))
    made = flat.done([picture], [score, box])
    heads = import_heads(made, "bypassed", GRID)
    assert Graph.read(heads.flatbuffer).counts() == {"CONV_2D v1": 3, "RELU v1": 1}
    assert check_rebuilt(made, heads, pictures(side=8), "bypassed").largest_difference == 0


def test_keras_outputs_come_in_the_order_of_the_signature() -> None:
    """TensorFlow shuffles the graph's outputs; with ten of them text order is wrong, too."""
    flat = FlatGraph()
    picture = flat.tensor("picture", (1, 4, 4, 1))
    ends = [
        flat.conv(f"head_{i}", picture, np.full((i + 1, 1, 1, 1), float(i)), np.zeros(i + 1))
        for i in range(11)
    ]
    shuffled = [ends[i] for i in (7, 0, 10, 3, 1, 9, 2, 8, 4, 6, 5)]

    def sign(model: Any, graph: Any) -> None:
        signature = schema.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
        signature.inputs, signature.outputs = [], []
        for i, number in enumerate(ends):
            end = schema.TensorMapT()
            end.name, end.tensorIndex = f"output_{i}".encode(), number
            signature.outputs.append(end)
        model.signatureDefs = [signature]

    made = changed(sign, flat.done([picture], shuffled))
    heads = import_heads(made, "keras", GRID)
    assert [name for name, _ in outputs(heads.flatbuffer)] == [f"head_{i}" for i in range(11)]
    assert check_rebuilt(made, heads, pictures(side=4), "keras").largest_difference == 0


def upsampled(times: tuple[int, int], order: tuple[int, int] = (2, 3)) -> bytes:
    """Keras's own way to repeat rows and columns of a 4x4 map, between two layers."""
    flat = FlatGraph()
    picture = flat.tensor("picture", (1, 4, 4, 1))
    x = flat.conv("small", picture, np.arange(1.0, 3.0).reshape(2, 1, 1, 1), np.zeros(2))
    height, width = 4, 4
    for axis, factor in zip(order, times, strict=True):
        if axis == 2:
            x = reshape(flat, f"apart_{axis}", x, (1, height, 1, width, 2))
        else:
            x = reshape(flat, f"apart_{axis}", x, (1, height, width, 1, 2))
        repeats = np.ones(5, np.int32)
        repeats[axis] = factor
        shape = tuple(int(n) for n in np.array(flat.graph.tensors[x].shape) * repeats)
        amounts = flat.constant(f"repeats_{axis}", repeats)
        out = flat.tensor(f"tiled_{axis}", shape)
        x = flat.operator("TILE", schema.TileOptionsT(), [x, amounts], out)
        height, width = (height * factor, width) if axis == 2 else (height, width * factor)
        x = reshape(flat, f"joined_{axis}", x, (1, height, width, 2))
    box = flat.conv("box", x, np.ones((4, 1, 1, 2)), np.zeros(4))
    score = flat.conv("score", x, np.ones((1, 1, 1, 2)), np.zeros(1))
    return flat.done([picture], [score, box])


@pytest.mark.parametrize("times", [(2, 2), (4, 2), (1, 2)])
def test_upsampling_becomes_one_operator(times: tuple[int, int]) -> None:
    made = upsampled(times)
    heads = import_heads(made, "upsampled", GRID)
    assert Graph.read(heads.flatbuffer).counts() == {
        "CONV_2D v1": 3,
        "RESIZE_NEAREST_NEIGHBOR v1": 1,
    }
    assert check_rebuilt(made, heads, pictures(side=4), "upsampled").largest_difference == 0


def test_a_chain_that_copies_in_another_order_stays() -> None:
    flat = FlatGraph()
    picture = flat.tensor("picture", (1, 4, 4, 1))
    amounts = flat.constant("repeats", np.array([1, 2, 2, 1], np.int32))
    out = flat.tensor("tiled", (1, 8, 8, 1))  # whole pictures beside each other
    x = flat.operator("TILE", schema.TileOptionsT(), [picture, amounts], out)
    heads = [flat.conv(f"h{n}", x, np.ones((n, 1, 1, 1)), np.zeros(n)) for n in (1, 4)]
    made = flat.done([picture], heads)
    assert "TILE v1" in Graph.read(import_heads(made, "tiled", GRID).flatbuffer).counts()


def test_heads_without_keypoints_are_split_in_two() -> None:
    bare = DETECTION.model_copy(update={"keypoints": (), "strides": (8,), "anchors": (1,)})  # type: ignore[union-attr]
    flat = FlatGraph()
    picture = flat.tensor("picture", (1, 8, 8, 1))
    box = flat.conv("box", picture, np.arange(4.0).reshape(4, 1, 1, 1), np.arange(4.0))
    score = flat.conv("score", picture, np.ones((1, 1, 1, 1)), np.zeros(1))
    made = flat.done([picture], [box, score])
    heads = import_heads(made, "bare", bare)
    assert [shape[3] for _, shape in outputs(heads.flatbuffer)] == [2, 2, 1]
    assert check_rebuilt(made, heads, pictures(side=8), "bare").largest_difference == 0


def test_a_classifier_is_no_detector() -> None:
    with pytest.raises(ModelError, match=r"gives \[1, 3\].*grids") as caught:
        import_heads(tiny_float(), "classifier.tflite", DETECTION)
    assert "without --detector" in caught.value.remedy


def test_rows_that_no_convolution_made_are_no_grids() -> None:
    flat = FlatGraph()
    picture = flat.tensor("picture", (1, 8, 8, 1))
    pooled = flat.mean("mean", picture)
    rows = [reshape(flat, f"row_{i}", pooled, (1, 1, 1)) for i in range(2)]
    made = flat.done([picture], [concatenation(flat, "laid", rows)])
    with pytest.raises(ModelError, match="not the grids of a detector"):
        import_heads(made, "rows.tflite", DETECTION)


@pytest.mark.parametrize("share", [0.2, 0.9])
def test_a_file_that_is_cut_off_is_refused(share: float) -> None:
    whole = tiny_detector()
    with pytest.raises(ModelError):
        import_heads(whole[: int(share * len(whole))], "cut.tflite", DETECTION)


def test_weights_that_are_no_numbers_are_refused() -> None:
    def spoil(model: Any, graph: Any) -> None:
        number = graph.operators[0].inputs[1]
        values = constant(model, number).copy()
        values[0] = np.nan
        model.buffers[graph.tensors[number].buffer].data = np.frombuffer(values.tobytes(), np.uint8)

    with pytest.raises(ModelError, match="NaN"):
        import_heads(changed(spoil), "spoilt.tflite", DETECTION)


def test_the_plain_kernels_take_the_heads() -> None:
    heads = import_heads(tiny_detector(), "tiny", DETECTION)
    assert plain_interpreter(heads.flatbuffer, (1, *heads.shape), "tiny")
