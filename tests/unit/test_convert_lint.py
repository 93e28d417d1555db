"""Each thing that keeps a graph from its target is found, and nothing that does not."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from tiny_tflite import tiny_float

from edge_fer.errors import ModelError
from edge_fer.modelfile import read_model
from edge_fer.models import find
from edge_fer_convert.graph import Graph, from_object
from edge_fer_convert.int8.verify import Partitions, check_full_integer, partitions
from edge_fer_convert.targets.limits import LIMITS
from edge_fer_convert.targets.lint import Finding, lint, summary
from edge_fer_convert.targets.target import load_target

PI, CORAL, LEGACY = load_target("pi"), load_target("coral"), load_target("legacy")
INT8, INT32, FLOAT32 = (getattr(schema.TensorType, n) for n in ("INT8", "INT32", "FLOAT32"))
PICTURE = (1, 8, 8, 4)


class Sketch:
    """A model that is drawn operator by operator."""

    def __init__(self, kind: int = INT8) -> None:
        self.kind = kind
        self.model, self.graph = schema.ModelT(), schema.SubGraphT()
        self.model.version, self.model.subgraphs = 3, [self.graph]
        self.model.buffers, self.model.operatorCodes = [schema.BufferT()], []
        self.graph.tensors, self.graph.operators = [], []

    def tensor(
        self, *shape: int, data: Any = None, kind: int | None = None, scales: int = 1,
        scale: float = 0.1, zero_point: int = 0,
    ) -> int:  # fmt: skip
        new = schema.TensorT()
        new.name, new.shape = f"t{len(self.graph.tensors)}", list(shape)
        new.type = self.kind if kind is None else kind
        if new.type == INT8 or scale != 0.1:
            new.quantization = schema.QuantizationParametersT()
            new.quantization.scale = [scale] * scales
            new.quantization.zeroPoint = [zero_point] * scales
        new.buffer = 0
        if data is not None:
            buffer = schema.BufferT()
            dtype = {INT8: np.int8, INT32: np.int32, FLOAT32: np.float32}[new.type]
            buffer.data = list(np.broadcast_to(np.array(data, dtype), shape).tobytes())
            new.buffer = len(self.model.buffers)
            self.model.buffers.append(buffer)
        self.graph.tensors.append(new)
        return len(self.graph.tensors) - 1

    def numbers(self, *values: int) -> int:
        return self.tensor(len(values), data=values, kind=INT32)

    def run(
        self, name: str, inputs: list[int], *made: tuple[int, ...], version: int = 2,
        options: str = "", **values: Any,
    ) -> int:  # fmt: skip
        code, operator = schema.OperatorCodeT(), schema.OperatorT()
        code.builtinCode = getattr(schema.BuiltinOperator, name)
        code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), version
        self.model.operatorCodes.append(code)
        operator.opcodeIndex = len(self.model.operatorCodes) - 1
        operator.inputs = inputs
        fixed = {"scale": 1 / 256, "zero_point": -128} if name == "SOFTMAX" else {}
        operator.outputs = [self.tensor(*shape, **fixed) for shape in made]
        if options:
            operator.builtinOptionsType = getattr(schema.BuiltinOptions, options)
            operator.builtinOptions = getattr(schema, options + "T")()
            for key, value in values.items():
                setattr(operator.builtinOptions, key, value)
        self.graph.operators.append(operator)
        return int(operator.outputs[0])

    def bytes(self, inputs: list[int], outputs: list[int]) -> bytes:
        self.graph.inputs, self.graph.outputs = inputs, outputs
        return from_object(self.model)


def alone(
    name: str, shape: tuple[int, ...] = PICTURE, made: tuple[int, ...] = PICTURE, *,
    more: Callable[[Sketch], list[int]] = lambda sketch: [], kind: int = INT8, **said: Any,
) -> bytes:  # fmt: skip
    """One operator: a tensor, whatever else it takes, and what it makes."""
    sketch = Sketch(kind)
    given = sketch.tensor(*shape)
    return sketch.bytes([given], [sketch.run(name, [given, *more(sketch)], made, **said)])


def many(count: int) -> bytes:
    sketch = Sketch()
    given = [sketch.tensor(*PICTURE) for _ in range(count)]
    made = sketch.run(
        "CONCATENATION", given, (1, 8, 8, 4 * count), options="ConcatenationOptions", axis=3
    )
    return sketch.bytes(given, [made])


def twice(activation: int) -> bytes:
    sketch = Sketch()
    given = sketch.tensor(*PICTURE)
    made = sketch.run(
        "ADD", [given, given], PICTURE, options="AddOptions", fusedActivationFunction=activation
    )
    return sketch.bytes([given], [made])


def pooled(name: str, window: int, stride: int) -> bytes:
    side = 8 // stride
    return alone(
        name, made=(1, side, side, 4), options="Pool2DOptions",
        filterHeight=window, filterWidth=window, strideH=stride, strideW=stride,
    )  # fmt: skip


def sliced(step: int, **masks: int) -> bytes:
    side = 4 // step
    made = (1, side, side) if masks else (1, side, side, 4)
    return alone(
        "STRIDED_SLICE", made=made, options="StridedSliceOptions",
        more=lambda s: [
            s.numbers(0, 0, 0, 0),
            s.numbers(1, 4, 4, 1 if masks else 4),
            s.numbers(1, step, step, 1),
        ],
        **masks,
    )  # fmt: skip


def dense(scales: int, *, constant: bool = True) -> bytes:
    sketch = Sketch()
    given = sketch.tensor(1, 8)
    weights = sketch.tensor(4, 8, data=1 if constant else None, scales=scales)
    made = sketch.run(
        "FULLY_CONNECTED", [given, weights, -1], (1, 4), version=4, options="FullyConnectedOptions"
    )
    return sketch.bytes([given] if constant else [given, weights], [made])


def convolved(**said: Any) -> bytes:
    return alone(
        "CONV_2D", version=3, options="Conv2DOptions", strideH=1, strideW=1,
        more=lambda s: [
            s.tensor(4, 3, 3, 4, data=1), s.tensor(4, data=0, kind=INT32, scale=0.01)
        ],
        **said,
    )  # fmt: skip


def found(data: bytes, target: Any = PI) -> tuple[Finding, ...]:
    return lint(Graph.read(data), target)


# Whether XNNPACK takes a model is asked of XNNPACK.
AGAINST_THE_RUNTIME = {
    "logistic": alone("LOGISTIC"),
    "tanh": alone("TANH"),
    "elu": alone("ELU", version=1),
    "leaky_relu": alone("LEAKY_RELU", options="LeakyReluOptions", alpha=0.2),
    "hard_swish": alone("HARD_SWISH", version=1),
    "gelu": alone("GELU", options="GeluOptions"),
    "relu": alone("RELU"),
    "relu6": alone("RELU6"),
    "softmax": alone("SOFTMAX", (1, 8), (1, 8), options="SoftmaxOptions", beta=1.0),
    "prelu": alone("PRELU", version=1, more=lambda s: [s.tensor(1, 1, 4, data=1)]),
    "maximum": alone("MAXIMUM", more=lambda s: [s.tensor(4, data=1)]),
    "average": pooled("AVERAGE_POOL_2D", 2, 2),
    "max": pooled("MAX_POOL_2D", 2, 2),
    "max 1x1": pooled("MAX_POOL_2D", 1, 2),
    "add": twice(0),
    "add relu": twice(1),
    "add tanh": twice(4),
    "five": many(5),
    "six": many(6),
    "slice": sliced(1),
    "stride": sliced(2),
    "shrink": sliced(1, shrinkAxisMask=8),
    "dense": dense(4),
    "dense of variables": dense(1, constant=False),
    "convolution": convolved(),
    "convolution tanh": convolved(fusedActivationFunction=4),
    "mean": alone("MEAN", made=(1, 4), options="ReducerOptions", more=lambda s: [s.numbers(1, 2)]),
    "squeeze": alone("SQUEEZE", (1, 1, 1, 4), (1, 4), version=1, options="SqueezeOptions",
                     squeezeDims=[1, 2]),
    "transpose": alone("TRANSPOSE", made=(1, 4, 8, 8), options="TransposeOptions",
                       more=lambda s: [s.numbers(0, 3, 1, 2)]),
}  # fmt: skip


@pytest.mark.parametrize("name", AGAINST_THE_RUNTIME)
def test_what_is_said_of_xnnpack_is_what_xnnpack_does(name: str) -> None:
    data = AGAINST_THE_RUNTIME[name]
    measured = partitions(data)
    assert measured is not None
    warned = {f.operator for f in found(data) if f.severity == "warning"}
    assert warned == set(measured.outside)
    assert measured.count == (0 if warned else 1)


def test_partitions_around_an_operator_that_stays() -> None:
    sketch = Sketch()
    first = sketch.tensor(1, 8)
    weights = sketch.tensor(8, 8, data=1)
    options = {"version": 4, "options": "FullyConnectedOptions"}
    second = sketch.run("FULLY_CONNECTED", [first, weights, -1], (1, 8), **options)
    third = sketch.run("SOFTMAX", [second], (1, 8), options="SoftmaxOptions", beta=1.0)
    last = sketch.run("FULLY_CONNECTED", [third, weights, -1], (1, 8), **options)
    data = sketch.bytes([first], [last])
    assert partitions(data) == Partitions(count=2, outside=("SOFTMAX",))
    assert summary(data, PI)["partitions"] == 2
    assert summary(data, PI)["outside"] == 1
    assert summary(data, LEGACY)["partitions"] is None


def test_partitions_says_nothing_to_the_user() -> None:
    code = (
        "from edge_fer.modelfile import read_model\n"
        "from edge_fer.models import find\n"
        "from edge_fer_convert.int8.verify import partitions\n"
        "print(partitions(read_model(find('expression-nano.float')).flatbuffer).count)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
    assert done.stderr == ""


def test_a_model_that_the_runtime_cannot_load_is_refused() -> None:
    with pytest.raises(ModelError, match="cannot load"):
        partitions(alone("CONV_2D", version=3, options="Conv2DOptions"))


def test_what_to_use_instead_is_named() -> None:
    (finding,) = found(AGAINST_THE_RUNTIME["leaky_relu"], CORAL)
    assert finding.severity == "warning"
    assert finding.operator == "LEAKY_RELU"
    assert "ReLU, or PReLU with shared_axes" in finding.instead
    assert str(finding) == (
        f"LEAKY_RELU making {finding.tensor}: the Edge TPU does not map it; "
        "use ReLU, or PReLU with shared_axes=[1, 2]."
    )
    assert set(finding.to_json()) == {
        "severity", "operator", "version", "tensor", "why", "instead"
    }  # fmt: skip


def over(name: str, *axes: int, shape: tuple[int, ...] = PICTURE) -> bytes:
    made = tuple(1 if i in {a % 4 for a in axes} else size for i, size in enumerate(shape))
    return alone(
        name, shape, made, options="ReducerOptions", keepDims=True,
        more=lambda s: [s.numbers(*axes)],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("kept", "broken", "why"),
    [
        (pooled("MAX_POOL_2D", 2, 2),
         alone("MAX_POOL_2D", options="Pool2DOptions", filterHeight=1, filterWidth=1, strideH=1,
               strideW=1, fusedActivationFunction=1), "NONE fused"),
        (convolved(dilationWFactor=2, dilationHFactor=2), convolved(dilationWFactor=2), "dilation"),
        (over("MEAN", 1, 2), over("MEAN", 0), "batch"),
        (over("MEAN", 3), over("MEAN", -1, shape=(1, 8, 8, 6)), "multiple of 4"),
        (over("SUM", 3), over("SUM", -4), "batch"),
        (alone("PRELU", version=1, more=lambda s: [s.tensor(1, 1, 4, data=1)]),
         alone("PRELU", version=1, more=lambda s: [s.tensor(8, 8, 4, data=1)]),
         "slope per channel"),
        (alone("SOFTMAX", (1, 8), (1, 8)), alone("SOFTMAX", (1, 8, 8), (1, 8, 8)), "one dimension"),
        (alone("SOFTMAX", (1, 8), (1, 8)), alone("SOFTMAX", (1, 17000), (1, 17000)), "16000"),
        (dense(1), dense(1, constant=False), "constants"),
        (sliced(1), sliced(2), "steps of 1"),
        (alone("PAD", made=(1, 10, 10, 4),
               more=lambda s: [s.tensor(4, 2, data=[[0, 0], [1, 1], [1, 1], [0, 0]], kind=INT32)]),
         alone("PAD", made=(2, 8, 8, 4),
               more=lambda s: [s.tensor(4, 2, data=[[0, 1], [0, 0], [0, 0], [0, 0]], kind=INT32)]),
         "batch"),
        (alone("CONCATENATION", made=(1, 8, 8, 8), more=lambda s: [s.tensor(*PICTURE, data=0)]),
         alone("CONCATENATION", made=(1, 8, 8, 8), more=lambda s: [s.tensor(*PICTURE, data=3)]),
         "zeros"),
        (alone("TANH"), alone("TANH", (2, 8, 8, 4), (2, 8, 8, 4)), "4 sizes that count"),
    ],
)  # fmt: skip
def test_the_limits_of_the_edge_tpu(kept: bytes, broken: bytes, why: str) -> None:
    assert not [f for f in found(kept, CORAL) if f.severity == "warning"]
    warnings = [f for f in found(broken, CORAL) if f.severity == "warning"]
    assert any(why in f.why for f in warnings), warnings


def test_packing_and_splitting_leave_the_batch_alone() -> None:
    def packed(axis: int) -> bytes:
        sketch = Sketch()
        pair = [sketch.tensor(1, 4), sketch.tensor(1, 4)]
        made = sketch.run("PACK", pair, (1, 2, 4), options="PackOptions", valuesCount=2, axis=axis)
        return sketch.bytes(pair, [made])

    def split(axis: int) -> bytes:
        sketch = Sketch()
        where, given = sketch.numbers(axis), sketch.tensor(2, 8, 8, 4)
        sketch.run("SPLIT", [where, given], (1, 8, 8, 4), (1, 8, 8, 4), options="SplitOptions")
        return sketch.bytes([given], list(sketch.graph.operators[0].outputs))

    assert not found(packed(1), CORAL)
    for data in (packed(0), packed(-3), split(0)):
        assert any("batch left alone" in f.why for f in found(data, CORAL))
    assert not any("batch left alone" in f.why for f in found(split(3), CORAL))


def test_every_limit_is_used_by_a_target() -> None:
    used = {
        rule
        for target in (PI, CORAL)
        if target.accelerator is not None
        for rules in target.accelerator.limits.values()
        for rule in rules
    }
    assert used == set(LIMITS)


def test_a_version_that_is_too_new_is_an_error() -> None:
    assert found(twice(0), CORAL) == ()
    data = alone("TRANSPOSE_CONV", version=4)
    (finding,) = [f for f in found(data, CORAL) if f.severity == "error"]
    assert "up to version 3, this is 4" in finding.why
    assert not [f for f in found(data, LEGACY) if f.severity == "error"]


def test_an_operator_that_the_runtime_never_had_is_an_error() -> None:
    data = alone("GELU", options="GeluOptions")
    errors = [f for f in found(data, CORAL) if f.severity == "error"]
    assert ["has no such operator" in f.why for f in errors] == [True]
    assert not [f for f in found(data, LEGACY) if f.severity == "error"]


def test_types_outside_the_list_are_errors() -> None:
    data = alone("DEQUANTIZE", options="DequantizeOptions", kind=INT8)
    graph = Graph.read(data)
    made = replace(graph.tensors[1], dtype="FLOAT32", scales=(), zero_points=())
    graph = replace(graph, tensors=(graph.tensors[0], made))
    for target in (PI, CORAL, LEGACY):
        whys = [f.why for f in lint(graph, target) if f.severity == "error"]
        assert any("INT8 is turned into FLOAT32" in why for why in whys)
        assert any(f"its type is FLOAT32, and {target.name} takes" in why for why in whys)


def test_a_change_of_scale_costs_and_is_no_error() -> None:
    (finding,) = found(alone("QUANTIZE", options="QuantizeOptions"))
    assert finding.severity == "warning"
    assert "one INT8 scale is turned into another" in finding.why


def test_open_sizes_and_batches_are_errors() -> None:
    graph = Graph.read(alone("LOGISTIC"))
    for shape, says in (((1, -1, 8, 4), "is open"), ((8, 8, 8, 4), "of one picture")):
        changed = replace(graph, tensors=tuple(replace(t, shape=shape) for t in graph.tensors))
        errors = [f for f in lint(changed, PI) if f.severity == "error"]
        assert [says in f.why for f in errors] == [True, True]
        assert all(f.operator == "" and f.version is None for f in errors)


def test_dense_layers_with_a_scale_per_channel() -> None:
    assert not found(dense(4), PI)
    for target in (CORAL, LEGACY):
        (finding,) = found(dense(4), target)
        assert finding.severity == "error"
        assert "4 scales" in finding.why
        assert not found(dense(1), target)
    assert summary(dense(1), PI)["per_tensor_dense"]
    assert not summary(dense(4), PI)["per_tensor_dense"]


def test_the_proof_holds_dense_layers_to_one_scale() -> None:
    graph = Graph.read(read_model(find("expression")).flatbuffer)
    check_full_integer(graph)
    with pytest.raises(ModelError, match="8 scales in the weights of"):
        check_full_integer(graph, per_tensor_dense=True)
    weights = {o.inputs[1] for o in graph.operators if o.name == "FULLY_CONNECTED"}
    one = tuple(
        replace(t, scales=t.scales[:1], zero_points=t.zero_points[:1]) if t.index in weights else t
        for t in graph.tensors
    )
    check_full_integer(replace(graph, tensors=one), per_tensor_dense=True)


def test_shipped_models_are_made_for_the_pi() -> None:
    for name in ("expression", "expression-nano", "expression-fer2013"):
        assert found(read_model(find(name)).flatbuffer) == ()


def test_of_a_float_graph_only_the_operators_count() -> None:
    for target in (PI, CORAL, LEGACY):
        assert found(tiny_float(), target) == ()
    data = alone("HARD_SWISH", (5, 8, 8, 4), (5, 8, 8, 4), kind=FLOAT32, version=99)
    (finding,) = found(data)
    assert finding.severity == "warning"
    assert found(data, LEGACY) == ()


def test_float16_weights_are_constants() -> None:
    sketch = Sketch(FLOAT32)
    given = sketch.tensor(1, 8)
    weights = sketch.run("DEQUANTIZE", [sketch.tensor(4, 8, data=1)], (4, 8))
    made = sketch.run("FULLY_CONNECTED", [given, weights, -1], (1, 4), version=1)
    assert found(sketch.bytes([given], [made])) == ()


def test_errors_come_first() -> None:
    sketch = Sketch()
    first = sketch.tensor(1, 8)
    second = sketch.run("SOFTMAX", [first], (1, 8), options="SoftmaxOptions", beta=1.0)
    last = sketch.run(
        "FULLY_CONNECTED", [second, sketch.tensor(4, 8, data=1), -1], (1, 4), version=99
    )
    severities = [f.severity for f in found(sketch.bytes([first], [last]))]
    assert severities == ["error", "warning"]
