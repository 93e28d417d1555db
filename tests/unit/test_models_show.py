"""``edge-fer models show``: contract and graph, on a machine that has no build host."""

import json
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_tflite import tiny_contract, tiny_float

from edge_fer.errors import ModelError
from edge_fer.graphfile import OPERATORS, TYPES, read_graph
from edge_fer.modelfile import embed, read_model
from edge_fer.models import find, shipped
from edge_fer_convert.graph import Graph, from_object, to_object

# No runtime, no converters: what is left is what reads a file.
BARE = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('ai_edge_litert', 'tflite_runtime', 'edge_fer_convert',
                                  'edge_fer_train', 'edge_fer_bench', 'tensorflow'):
            raise ImportError('blocked: ' + name)
sys.meta_path.insert(0, Blocked())
from edge_fer.cli import models
models.app(sys.argv[1:], standalone_mode=False)
"""


def show(*words: str, code: str | None = None) -> str:
    entry = code or "from edge_fer.cli import main; main()"
    group = [] if code else ["models"]
    done = subprocess.run(
        [sys.executable, "-c", entry, *group, "show", *words],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("name", shipped())
def test_it_agrees_with_the_build_hosts_reader(name: str) -> None:
    model = read_model(find(name))
    table, graph = read_graph(model.flatbuffer), Graph.read(model.flatbuffer)
    assert [(line.operator, line.version) for line in table.lines] == [
        (operator.name, operator.version) for operator in graph.operators
    ]
    for line, operator in zip(table.lines, graph.operators, strict=True):
        made = graph.tensors[operator.outputs[0]]
        assert (line.shape, line.dtype) == (made.shape, made.dtype)
        assert line.scale == (made.scales[0] if made.scales else None)
        assert line.zero_point == (made.zero_points[0] if made.scales else None)
    constants = {i for o in graph.operators for i in o.inputs if graph.tensors[i].data is not None}
    assert table.weight_bytes == sum(len(graph.tensors[i].data or b"") for i in constants)


@pytest.mark.parametrize("name", shipped())
def test_the_work_is_that_of_the_model_that_was_trained(name: str) -> None:
    model = read_model(find(name))
    stated = model.contract.provenance["macs"]
    if model.contract.detection is not None:
        # Stated for the size that it was trained at; a pixel costs the same at any.
        stated *= model.contract.input.height * model.contract.input.width / (192 * 256)
    assert read_graph(model.flatbuffer).macs == stated


def test_int8_and_float_have_the_same_parameters() -> None:
    for name in ("expression", "expression-nano", "expression-fer2013"):
        one, other = (read_graph(read_model(find(n)).flatbuffer) for n in (name, f"{name}.float"))
        assert one.parameters == other.parameters > 50_000


def test_a_graph_counted_by_hand() -> None:
    table = read_graph(tiny_float())
    assert [(line.operator, line.shape, line.macs) for line in table.lines] == [
        ("CONV_2D", (1, 8, 8, 4), 8 * 8 * 4 * 3 * 3),
        ("MEAN", (1, 4), 0),
        ("FULLY_CONNECTED", (1, 3), 4 * 3),
    ]
    assert table.parameters == (4 * 9 + 4) + (4 * 3 + 3)
    assert table.weight_bytes == 4 * table.parameters + 2 * 4
    assert [line.weight_bytes for line in table.lines] == [160, 8, 60]
    assert table.lines[0].scale is None


def changed(change: Any) -> bytes:
    model = to_object(tiny_float())
    change(model)
    return from_object(model)


def test_the_work_of_something_unknown_is_unknown() -> None:
    def custom(model: Any) -> None:
        code = model.operatorCodes[1]
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
        code.customCode = b"edgetpu-custom-op"

    table = read_graph(changed(custom))
    assert table.lines[1].operator == "edgetpu-custom-op"
    assert table.lines[1].macs is None
    assert table.lines[0].macs
    assert table.macs is None


def test_a_size_that_is_left_open_is_shown_so() -> None:
    def opened(model: Any) -> None:
        for tensor in model.subgraphs[0].tensors[:1] + model.subgraphs[0].tensors[3:4]:
            tensor.shapeSignature = [-1, *tensor.shape[1:]]

    table = read_graph(changed(opened))
    assert table.lines[0].shape == (-1, 8, 8, 4)
    assert table.macs is None


def test_an_operator_of_a_later_schema_has_a_number() -> None:
    def later(model: Any) -> None:
        model.operatorCodes[1].builtinCode = 9999
        model.operatorCodes[1].deprecatedBuiltinCode = 127

    table = read_graph(changed(later))
    assert table.lines[1].operator == "OPERATOR_9999"
    assert table.macs is None


def test_names_and_numbers_are_those_of_the_schema() -> None:
    for names, enum in ((OPERATORS, schema.BuiltinOperator), (TYPES, schema.TensorType)):
        assert {name: number for number, name in enumerate(names)}.items() <= vars(enum).items()


@given(st.integers(0, len(tiny_float()) - 1), st.integers(1, 255))
@settings(max_examples=200, deadline=None)
def test_a_damaged_graph_is_refused_or_read(at: int, change: int) -> None:
    data = bytearray(tiny_float())
    data[at] ^= change
    with suppress(ModelError):
        assert read_graph(bytes(data)).lines is not None


def test_json_has_contract_and_graph() -> None:
    document = json.loads(show("expression", "--json"))
    assert set(document) == {"schema", "path", "sha256", "contract", "graph"}
    graph = document["graph"]
    assert graph["totals"]["operators"] == len(graph["operators"]) == 17
    assert graph["totals"]["macs"] == document["contract"]["provenance"]["macs"]
    assert set(graph["totals"]) == {"operators", "parameters", "macs", "weight_bytes", "subgraphs"}
    assert set(graph["operators"][0]) == {
        "number", "operator", "version", "shape", "dtype", "scale", "zero_point", "weight_bytes",
        "macs",
    }  # fmt: skip
    assert graph["operators"][0]["operator"] == "CONV_2D"


def test_text_has_a_line_for_each_operator() -> None:
    said = show("expression-nano")
    assert "labels: neutral, happiness" in said
    lines = said[said.index("graph:") :].splitlines()
    table = read_graph(read_model(find("expression-nano")).flatbuffer)
    assert len(lines) == 2 + len(table.lines) + 1
    assert lines[2].split()[:5] == ["0", "CONV_2D", "3", "1x24x24x24", "INT8"]
    assert lines[-1].split()[:2] == ["11", "operators,"]
    assert f"{table.macs:,} multiply-accumulates" in lines[-1]


def test_it_needs_no_runtime_and_no_build_host(tmp_path: Path) -> None:
    mine = tmp_path / "mine.tflite"
    mine.write_bytes(embed(tiny_float(), tiny_contract()))
    for file in ("expression", str(mine)):
        assert "multiply-accumulates" in show(file, code=BARE)
