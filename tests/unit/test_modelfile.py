"""A model file that was damaged in any way is refused before an interpreter sees it."""

import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_fer.backends import open_backend
from edge_fer.errors import EdgeFerError, ModelError
from edge_fer.modelfile import embed, read_model
from edge_fer.models import find, shipped

EXPRESSION = find("expression")
WHOLE = EXPRESSION.read_bytes()


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_unzip_shows_the_labels() -> None:
    model = read_model(EXPRESSION)
    with zipfile.ZipFile(EXPRESSION) as archive:
        assert archive.read("labels.txt").decode().split() == list(model.contract.labels)


def test_the_parent_is_the_shipped_float_twin() -> None:
    child, parent = read_model(EXPRESSION), read_model(find("expression.float"))
    assert child.contract.quantisation.parent_sha256 == parent.flatbuffer_sha256


def test_embedding_again_gives_the_same_bytes() -> None:
    model = read_model(EXPRESSION)
    once = embed(model.flatbuffer, model.contract)
    assert once == embed(once, model.contract)


def test_a_changed_contract_is_replaced_and_the_graph_stays(tmp_path: Path) -> None:
    model = read_model(EXPRESSION)
    changed = model.contract.with_(label_scheme="custom")
    again = read_model(write(tmp_path / "m.tflite", embed(WHOLE, changed)))
    assert again.contract == changed
    assert open_backend("litert", again.flatbuffer).input.shape == (1, 48, 48, 1)


def test_a_missing_file_names_the_command_that_lists_models(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="edge-fer models list"):
        read_model(tmp_path / "none.tflite")


def test_a_folder_is_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="directory"):
        read_model(tmp_path)


@pytest.mark.parametrize("data", [b"", b"TFL3", b"not a model at all", b"\x89PNG\r\n\x1a\n" * 9])
def test_another_kind_of_file_is_refused(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(ModelError, match=r"not a \.tflite"):
        read_model(write(tmp_path / "m.tflite", data))


def test_a_model_without_a_contract_says_how_to_write_one(tmp_path: Path) -> None:
    from ai_edge_litert.tools import flatbuffer_utils

    graph = flatbuffer_utils.read_model_from_bytearray(bytearray(read_model(EXPRESSION).flatbuffer))
    graph.metadata = []
    bare = bytes(flatbuffer_utils.convert_object_to_bytearray(graph))
    with pytest.raises(ModelError, match="models adopt"):
        read_model(write(tmp_path / "bare.tflite", bare))


@given(st.integers(8, len(WHOLE) - 1))
@settings(max_examples=60, deadline=None)
def test_a_file_cut_anywhere_is_refused(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = write(tmp_path_factory.mktemp("cut") / "m.tflite", WHOLE[:cut])
    with pytest.raises(ModelError):
        read_model(path)


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
@settings(max_examples=100, deadline=None)
def test_a_changed_byte_is_noticed_or_harmless(
    tmp_path_factory: pytest.TempPathFactory, at: int, change: int
) -> None:
    """Inside the flatbuffer every change is noticed; the zip has dates and the like."""
    damaged = bytearray(WHOLE)
    damaged[at] ^= change
    path = write(tmp_path_factory.mktemp("bit") / "m.tflite", bytes(damaged))
    intact = read_model(EXPRESSION)
    try:
        model = read_model(path)
    except EdgeFerError:
        return
    assert model.flatbuffer == intact.flatbuffer
    assert model.contract == intact.contract


def test_a_zip_bomb_of_other_members_does_not_matter(tmp_path: Path) -> None:
    data = BytesIO(WHOLE)
    with zipfile.ZipFile(data, "a") as archive:
        archive.writestr("notes.txt", "somebody's own")
    assert read_model(write(tmp_path / "m.tflite", data.getvalue())).contract.labels


def test_something_behind_the_end_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="follows its end"):
        read_model(write(tmp_path / "m.tflite", WHOLE + b"junk"))


def test_shipped_models_are_small_and_named() -> None:
    models = shipped()
    assert {"expression", "expression.float"} <= set(models)
    assert all(path.stat().st_size < 2_000_000 for path in models.values())


def test_a_misspelt_model_is_guessed() -> None:
    with pytest.raises(ModelError, match="Did you mean expression"):
        find("expresion")
