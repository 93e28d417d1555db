"""A target's file says what a machine takes, and a mistake in it is named."""

import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter

from edge_fer.errors import ConfigError
from edge_fer_convert.graph import from_object
from edge_fer_convert.targets.target import load_target, target_names

SHIPPED = files("edge_fer_convert") / "targets"
SMALL = """
name = "mine"
description = "a board"
runtime = "some runtime 1"
types = ["INT8", "INT32"]
per_tensor_dense = true
static_shapes = true
batch_one = true
[versions]
CONV_2D = 3
"""
WITH_ADD = SMALL + "[accelerator]\nname = 'x'\noperators = ['ADD']\n"


def written(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def test_three_come_along() -> None:
    assert target_names() == ("coral", "legacy", "pi")
    for name in target_names():
        target = load_target(name)
        assert target.name == name
        assert target.static_shapes
        assert target.batch_one
        assert "INT8" in target.types


def test_old_machines_get_one_scale_per_dense_layer() -> None:
    assert load_target("coral").per_tensor_dense
    assert load_target("legacy").per_tensor_dense
    assert not load_target("pi").per_tensor_dense


@pytest.mark.parametrize("name", target_names())
def test_every_name_is_an_operator_of_the_schema(name: str) -> None:
    target = load_target(name)
    known = {k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    assert set(target.versions) <= known
    if target.accelerator is not None:
        assert set(target.accelerator.operators) <= set(target.versions)
        assert set(target.accelerator.instead) <= known


def test_what_people_saw_the_edge_tpu_compiler_refuse_is_above_its_versions() -> None:
    versions = load_target("coral").versions
    for operator, refused in (("QUANTIZE", 3), ("EXP", 2), ("TRANSPOSE_CONV", 4), ("CONV_2D", 6)):
        assert versions[operator] < refused


def only_registering(operator: str, version: int) -> bytes:
    """A model without operators whose table of codes names one."""
    model, graph, tensor = schema.ModelT(), schema.SubGraphT(), schema.TensorT()
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, operator)
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), version
    tensor.name, tensor.shape, tensor.type = "x", [1, 4], schema.TensorType.INT8
    graph.tensors, graph.inputs, graph.outputs, graph.operators = [tensor], [0], [0], []
    model.version, model.subgraphs, model.operatorCodes = 3, [graph], [code]
    model.buffers = [schema.BufferT()]
    return from_object(model)


def test_this_runtime_has_every_version_that_pi_names() -> None:
    """The table is that of the oldest release that is allowed; this one may have more."""
    for operator, version in load_target("pi").versions.items():
        Interpreter(model_content=only_registering(operator, version))
    with pytest.raises(ValueError, match="Didn't find op"):
        Interpreter(model_content=only_registering("CONV_2D", 99))


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    target = load_target(written(tmp_path, SMALL))
    assert target.name == "mine"
    assert target.versions == {"CONV_2D": 3}
    assert target.accelerator is None


def test_a_file_that_starts_from_another(tmp_path: Path) -> None:
    changes = "[versions]\nCONV_2D = 2\n[accelerator.limits.ADD]\nfused = []\n"
    text = f'base = "pi"\nname = "mine"\n{changes}'
    mine, pi = load_target(written(tmp_path, text)), load_target("pi")
    assert mine.name == "mine"
    assert mine.versions == {**pi.versions, "CONV_2D": 2}
    assert pi.accelerator is not None
    assert mine.accelerator is not None
    assert mine.accelerator.operators == pi.accelerator.operators
    assert mine.accelerator.limits["ADD"] == {"fused": []}
    assert pi.accelerator.limits["ADD"] != {"fused": []}


def test_a_base_beside_the_file_is_found(tmp_path: Path) -> None:
    written(tmp_path, SMALL)
    child = written(tmp_path, 'base = "mine.toml"\nname = "child"\n', "child.toml")
    assert load_target(child).versions == {"CONV_2D": 3}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (SMALL.replace("types =", "typs ="), "Did you mean types"),
        (SMALL.replace('runtime = "some runtime 1"\n', ""), "does not say runtime"),
        (SMALL.replace("CONV_2D = 3", 'CONV_2D = "3"'), "CONV_2D must be a whole number"),
        (SMALL.replace("CONV_2D = 3", "CONV_2D = true"), "CONV_2D must be a whole number"),
        (SMALL.replace("CONV_2D = 3", "CONV_2D = 0"), "must be 1 or more"),
        (SMALL.replace("per_tensor_dense = true", "per_tensor_dense = 1"), "true or false"),
        (SMALL.replace('["INT8", "INT32"]', "[8]"), "a list of names"),
        (SMALL.replace("[versions]", "versions = 3\n[other]"), "other"),
        (SMALL + "[accelerator]\nname = 'x'\noperator = []", "Did you mean operators"),
        (SMALL + "[accelerator]\nname = 'x'", "does not say operators"),
        (WITH_ADD + "[accelerator.limits.ADD]\nfusd = []",
         "Did you mean fused"),
        (WITH_ADD + "[accelerator.limits.ADD]\nfused = 1",
         "must be a list"),
        (WITH_ADD + "[accelerator.limits.AD]\nfused = []",
         "Did you mean ADD"),
        (WITH_ADD + "instead = {ADD = 'y'}", "one of the"),
        ("name = [", "not valid TOML"),
        ('base = "mine.toml"\n' + SMALL, "based on itself"),
        ("base = 3\n" + SMALL, "a name or a path"),
        ('base = "corral"\n' + SMALL, "Did you mean coral"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_file_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_target(written(tmp_path, text))
    assert says in str(caught.value)


def test_a_misspelt_target_is_guessed_and_a_folder_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean coral"):
        load_target("corral")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_target(tmp_path)


def test_every_list_names_its_source() -> None:
    for name in target_names():
        text = (SHIPPED / f"{name}.toml").read_text()
        before = text.partition("\n[versions]")[0].splitlines()
        assert before[-1].startswith("#"), name
        assert tomllib.loads(text)
