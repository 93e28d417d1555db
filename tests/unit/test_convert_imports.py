"""Foreign float flatbuffers: what is mended, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter
from tiny_tflite import CLASSES, SIDE, tiny_contract, tiny_float

from edge_fer.errors import ModelError
from edge_fer.modelfile import embed
from edge_fer_convert.graph import Graph, constant, from_object, to_object
from edge_fer_convert.inputs.imports import import_float

NAMES = {t.name: t.index for t in Graph.read(tiny_float()).tensors}


def run(flatbuffer: bytes, given: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(model_content=flatbuffer, num_threads=1)
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], given.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], given)
    interpreter.invoke()
    return np.array(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))


def given(seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).random((1, SIDE, SIDE, 1), np.float32)


def changed(change: Callable[[Any, Any], None], flatbuffer: bytes | None = None) -> bytes:
    model = to_object(flatbuffer or tiny_float())
    change(model, model.subgraphs[0])
    return from_object(model)


def tensor(model: Any, name: str, shape: list[int], kind: str, data: np.ndarray | None) -> int:
    new, buffer = schema.TensorT(), schema.BufferT()
    new.name, new.shape, new.type = name, shape, getattr(schema.TensorType, kind)
    if data is not None:
        buffer.data = np.frombuffer(data.tobytes(), np.uint8)
    model.buffers.append(buffer)
    new.buffer = len(model.buffers) - 1
    model.subgraphs[0].tensors.append(new)
    return len(model.subgraphs[0].tensors) - 1


def operator(model: Any, name: str, inputs: list[int], outputs: list[int], options: Any) -> Any:
    code, new = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    code.version = 1
    model.operatorCodes.append(code)
    new.opcodeIndex = len(model.operatorCodes) - 1
    new.inputs, new.outputs = inputs, outputs
    if options is not None:
        kind = type(options).__name__.removesuffix("T")
        new.builtinOptionsType = getattr(schema.BuiltinOptions, kind)
        new.builtinOptions = options
    return new


def with_head(units: int, activation: str | None) -> bytes:
    """The tiny net with a last layer of so many units, and an operator behind it."""

    def change(model: Any, graph: Any) -> None:
        scores = graph.tensors[NAMES["scores"]]
        for name, width in (("dense", 4), ("offset", None)):
            where = NAMES[name]
            values = constant(model, where)[:units] + np.float32(0.25)
            held = graph.tensors[where]
            held.shape = [units] if width is None else [units, width]
            model.buffers[held.buffer].data = np.frombuffer(values.tobytes(), np.uint8)
        scores.shape = [1, units]
        if activation is not None:
            out = tensor(model, "p", [1, units], "FLOAT32", None)
            graph.operators.append(operator(model, activation, [NAMES["scores"]], [out], None))
            graph.outputs = [out]

    return changed(change)


def free_batch() -> bytes:
    """A flatten as TensorFlow writes it for a free batch: SHAPE, STRIDED_SLICE, PACK, RESHAPE."""

    def change(model: Any, graph: Any) -> None:
        shape = tensor(model, "shape", [4], "INT32", None)
        ends = [tensor(model, f"e{i}", [1], "INT32", np.array([i], np.int32)) for i in (0, 1, 1)]
        batch = tensor(model, "batch", [], "INT32", None)
        width = tensor(model, "width", [], "INT32", np.array(4, np.int32))
        packed = tensor(model, "packed", [2], "INT32", None)
        flat = tensor(model, "flat", [1, 4], "FLOAT32", None)
        graph.tensors[flat].shapeSignature = [-1, 4]
        slicing, packing = schema.StridedSliceOptionsT(), schema.PackOptionsT()
        asking = schema.ShapeOptionsT()
        asking.outType = schema.TensorType.INT32
        slicing.shrinkAxisMask, packing.valuesCount = 1, 2
        last = graph.operators.pop()
        last.inputs = [flat, *last.inputs[1:]]
        graph.operators += [
            operator(model, "SHAPE", [0], [shape], asking),
            operator(model, "STRIDED_SLICE", [shape, *ends], [batch], slicing),
            operator(model, "PACK", [batch, width], [packed], packing),
            operator(model, "RESHAPE", [NAMES["pooled"], packed], [flat], None),
            last,
        ]
        for name in ("picture", "features", "pooled", "scores"):
            held = graph.tensors[NAMES[name]]
            held.shapeSignature = [-1, *held.shape[1:]]

    return changed(change)


def half_floats() -> bytes:
    """The kernel in float16 behind DEQUANTIZE, as TensorFlow's float16 option writes it."""

    def change(model: Any, graph: Any) -> None:
        kernel = constant(model, NAMES["kernel"])
        half = tensor(model, "half", list(kernel.shape), "FLOAT16", kernel.astype(np.float16))
        graph.tensors[NAMES["kernel"]].buffer = 0
        widen = operator(model, "DEQUANTIZE", [half], [NAMES["kernel"]], None)
        graph.operators.insert(0, widen)

    return changed(change)


def test_a_model_in_form_stays_as_it_is() -> None:
    imported = import_float(tiny_float(), "m")
    assert imported.shape == (SIDE, SIDE, 1)
    assert imported.classes == CLASSES
    assert np.array_equal(run(imported.flatbuffer, given()), run(tiny_float(), given()))
    assert import_float(imported.flatbuffer, "m").flatbuffer == imported.flatbuffer


def test_our_contract_and_the_zip_are_dropped() -> None:
    whole = embed(tiny_float(), tiny_contract())
    imported = import_float(whole, "m")
    assert set(Graph.read(imported.flatbuffer).metadata) == {"min_runtime_version"}
    assert b"labels.txt" not in imported.flatbuffer
    assert b"edge-fer/contract" not in imported.flatbuffer


def test_a_free_batch_becomes_one_picture() -> None:
    before = free_batch()
    assert run(before, np.repeat(given(), 3, axis=0)).shape == (3, CLASSES)
    imported = import_float(before, "m")
    graph = Graph.read(imported.flatbuffer)
    assert [o.name for o in graph.operators] == ["CONV_2D", "MEAN", "RESHAPE", "FULLY_CONNECTED"]
    assert all(
        t.shapeSignature is None or -1 not in t.shapeSignature
        for t in to_object(imported.flatbuffer).subgraphs[0].tensors
    )
    np.testing.assert_allclose(run(imported.flatbuffer, given()), run(before, given()), atol=1e-6)


def test_half_floats_become_floats() -> None:
    imported = import_float(half_floats(), "m")
    graph = Graph.read(imported.flatbuffer)
    assert [o.name for o in graph.operators] == ["CONV_2D", "MEAN", "FULLY_CONNECTED"]
    assert not any(t.dtype == "FLOAT16" for t in graph.tensors)
    found, exact = run(imported.flatbuffer, given()), run(half_floats(), given())
    np.testing.assert_allclose(found, exact, atol=1e-6)


@pytest.mark.parametrize("name", ["blazeface_full_range", "blazeface_short_range"])
def test_every_half_float_of_a_real_file(shared: Path, name: str) -> None:
    from edge_fer_convert.inputs.surgery import prune, widen

    path = shared / "models" / f"{name}.tflite"
    if not path.exists():
        pytest.skip(f"no {path}")
    model = to_object(path.read_bytes())
    model.metadata = []
    widen(model)
    prune(model)
    folded = from_object(model)
    graph = Graph.read(folded)
    assert "DEQUANTIZE" not in {o.name for o in graph.operators}
    assert not any(t.dtype == "FLOAT16" for t in graph.tensors)
    picture = np.random.default_rng(0).random(graph.tensors[graph.inputs[0]].shape, np.float32)
    np.testing.assert_allclose(run(folded, picture), run(path.read_bytes(), picture), atol=1e-3)


def test_the_strongest_foreign_model(shared: Path) -> None:
    path = shared / "models" / "peer_vicksam_ferplus.tflite"
    if not path.exists():
        pytest.skip(f"no {path}")
    imported = import_float(path.read_bytes(), "peer")
    assert imported.shape == (48, 48, 1)
    assert imported.classes == 8
    picture = np.random.default_rng(0).random((1, 48, 48, 1), np.float32)
    found, expected = run(imported.flatbuffer, picture), run(path.read_bytes(), picture)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_sigmoid_becomes_two_logits() -> None:
    before = with_head(1, "LOGISTIC")
    imported = import_float(before, "m")
    assert imported.classes == 2
    for seed in range(4):
        p = float(run(before, given(seed))[0, 0])
        rest, z = run(imported.flatbuffer, given(seed))[0]
        assert rest == 0.0
        assert 1 / (1 + np.exp(-z)) == pytest.approx(p, abs=1e-6)
    assert "LOGISTIC" not in {o.name for o in Graph.read(imported.flatbuffer).operators}


def test_several_sigmoids_stay() -> None:
    imported = import_float(with_head(3, "LOGISTIC"), "m")
    assert imported.classes == 3
    assert "LOGISTIC" in {o.name for o in Graph.read(imported.flatbuffer).operators}


def string_input(model: Any, graph: Any) -> None:
    graph.tensors[0].type = schema.TensorType.STRING


def integers(model: Any, graph: Any) -> None:
    graph.tensors[0].type = schema.TensorType.INT8
    graph.tensors[0].quantization = schema.QuantizationParametersT()
    graph.tensors[0].quantization.scale = [0.1]
    graph.tensors[0].quantization.zeroPoint = [0]


def two_inputs(model: Any, graph: Any) -> None:
    graph.inputs = [*graph.inputs, tensor(model, "more", [1, 4], "FLOAT32", None)]


def two_subgraphs(model: Any, graph: Any) -> None:
    model.subgraphs.append(graph)


def shaped(*sizes: int) -> Callable[[Any, Any], None]:
    def change(model: Any, graph: Any) -> None:
        graph.tensors[0].shape = [abs(size) for size in sizes]
        graph.tensors[0].shapeSignature = list(sizes)

    return change


def custom_operator(model: Any, graph: Any) -> None:
    model.operatorCodes[1].builtinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[1].deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    model.operatorCodes[1].customCode = b"FlexErf"


def poisoned(value: float) -> Callable[[Any, Any], None]:
    def change(model: Any, graph: Any) -> None:
        weights = constant(model, NAMES["dense"]).copy()
        weights[1, 2] = value
        buffer = model.buffers[graph.tensors[NAMES["dense"]].buffer]
        buffer.data = np.frombuffer(weights.tobytes(), np.uint8)

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (string_input, "takes text"),
        (integers, "quantised already"),
        (two_inputs, "2 inputs and 1 outputs"),
        (two_subgraphs, "2 subgraphs"),
        (shaped(-1, 4, 8, 8, 1), r"sequences of pictures \[None, 4, 8, 8, 1\]"),
        (shaped(1, -1, -1, 1), r"pictures of any size \[1, None, None, 1\]"),
        (shaped(1, 1, 8, 8), "channels come first"),
        (shaped(1, 64), "no picture"),
        (shaped(1, 8, 8, 4), "no picture"),
        (shaped(16, 8, 8, 1), "takes 16 pictures at once"),
        (custom_operator, "does not know: FlexErf"),
        (poisoned(np.nan), "1 weights that are NaN or infinite, in dense"),
        (poisoned(np.inf), "1 weights that are NaN or infinite, in dense"),
    ],
)
def test_each_refusal_has_its_own_words(change: Callable[[Any, Any], None], said: str) -> None:
    with pytest.raises(ModelError, match=said) as caught:
        import_float(changed(change), "some.tflite")
    assert "some.tflite" in caught.value.message
    assert caught.value.remedy


def test_one_score_without_a_sigmoid() -> None:
    with pytest.raises(ModelError, match=r"gives \[1, 1\], which is not a score for each"):
        import_float(with_head(1, None), "m")


@pytest.mark.parametrize("kept", [20, 0.3, 0.9, 0.999])
def test_cut_off(kept: float) -> None:
    whole = tiny_float()
    with pytest.raises(ModelError, match="cut off or damaged"):
        import_float(whole[: int(kept * len(whole)) if kept < 1 else int(kept)], "m")
