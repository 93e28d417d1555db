"""Each form of model that ``edge-fer convert`` takes, against what Keras itself answers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from edge_fer.errors import MissingExtra, ModelError
from edge_fer_convert.graph import Graph
from edge_fer_convert.inputs.export import Exported, export
from edge_fer_convert.inputs.source import read_source
from edge_fer_convert.int8.verify import output_kind

pytest.importorskip("tensorflow", reason="the extra convert is not installed")
legacy = pytest.mark.skipif(find_spec("tf_keras") is None, reason="tf-keras is not installed")


def make(folder: Path, keras: str) -> Path:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("make_inputs.py")), keras, str(folder)],
        env={
            **os.environ,
            "PYTHONPATH": path,
            "CUDA_VISIBLE_DEVICES": "-1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            "TF_USE_LEGACY_KERAS": "1" if keras == "tf_keras" else "0",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("inputs"), "keras")


@pytest.fixture(scope="module")
def made_by_keras_2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("legacy"), "tf_keras")


def answers(exported: Exported, given: np.ndarray) -> np.ndarray:
    interpreter = Interpreter(model_content=exported.flatbuffer, num_threads=1)
    interpreter.allocate_tensors()
    (one,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    assert one["shape"].tolist() == [1, *exported.shape]
    assert out["shape"].tolist() == [1, exported.classes]
    rows = []
    for picture in given:
        interpreter.set_tensor(one["index"], picture[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(out["index"])[0].copy())
    return np.stack(rows)


def compared(
    folder: Path, file: str, name: str, *, tolerance: float = 1e-4, log: list[str] | None = None
) -> Exported:
    """Export, and see that the flatbuffer answers what Keras answered."""
    lines = [] if log is None else log
    exported = export(read_source(folder / file), on_log=lines.append)
    known: Any = np.load(folder / f"{name}.npz")
    expected, found = known["answer"], answers(exported, known["given"])
    if expected.shape[1] == 1:
        expected = np.concatenate([1 - expected, expected], axis=1)
        powers = np.exp(found)
        found = powers / powers.sum(axis=1, keepdims=True)
    assert np.ptp(expected, axis=0).max() > 1e-3, "the model says the same of every picture"
    assert np.abs(found - expected).max() <= tolerance
    graph = Graph.read(exported.flatbuffer)
    assert all(size > 0 for t in graph.tensors for size in t.shape)
    assert {"SHAPE", "DEQUANTIZE", "CUSTOM"}.isdisjoint(o.name for o in graph.operators)
    return exported


@pytest.mark.parametrize(
    ("file", "form"),
    [
        ("keras3.h5", "h5"),
        ("subclassed", "savedmodel"),
        ("free-batch.tflite", "tflite"),
        ("mobilenet.keras", "keras"),
    ],
)
def test_every_form_answers_as_keras_does(made: Path, file: str, form: str) -> None:
    source = read_source(made / file)
    assert source.form == form
    exported = compared(made, file, file.partition(".")[0])
    assert exported.classes == 7
    assert exported.shape == ((96, 96, 3) if "mobilenet" in file else (24, 24, 1))
    assert (
        set(exported.software)
        == {
            "h5": {"keras", "tensorflow"},
            "savedmodel": {"tensorflow"},
            "tflite": set(),
            "keras": {"keras", "tensorflow"},
        }[form]
    )


def test_half_floats_are_widened(made: Path) -> None:
    """float16 keeps 11 bits; the folded file must agree with the float16 file, Keras less so."""
    compared(made, "float16.tflite", "float16", tolerance=2e-2)


def test_a_sigmoid_becomes_two_logits(made: Path) -> None:
    exported = compared(made, "binary.keras", "binary")
    assert exported.classes == 2
    assert output_kind(Graph.read(exported.flatbuffer)) == "logits"
    with pytest.raises(ModelError, match=r"gives \[1, 1\], which is not a score for each"):
        export(read_source(made / "regression.keras"))


def test_the_name_does_not_matter(made: Path, tmp_path: Path) -> None:
    shutil.copy(made / "keras3.h5", tmp_path / "keras3.model")
    shutil.copy(made / "keras3.npz", tmp_path)
    compared(tmp_path, "keras3.model", "keras3")


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("nan.keras", "weights that are NaN or infinite"),
        ("sequence.keras", "takes sequences of pictures [None, 4, 24, 24, 1]"),
        ("any-size.keras", "pictures of any size [None, None, None, 1]"),
        ("subclassed.keras", "model.export('folder')"),
        ("only.weights.h5", "weights alone"),
        ("two-inputs", "2 inputs and 1 outputs"),
        ("two-outputs", "1 inputs and 2 outputs"),
        ("text", "takes text"),
        ("any-size", "pictures of any size [None, None, None, 1]"),
        ("other-signature", "no signature serving_default; it has predict"),
    ],
)
def test_each_refusal_has_its_own_words(made: Path, file: str, said: str) -> None:
    source = read_source(made / file)
    with pytest.raises(ModelError) as caught:
        export(source)
    assert said in str(caught.value)
    assert str(made / file) in caught.value.message
    assert caught.value.remedy
    assert caught.value.exit_code == 5


def test_a_saved_model_without_its_variables(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "half"
    shutil.copytree(made / "subclassed", folder)
    shutil.rmtree(folder / "variables")
    with pytest.raises(ModelError, match="TensorFlow cannot load"):
        export(read_source(folder))


@legacy
def test_keras_2_goes_through_its_own_loader(made_by_keras_2: Path) -> None:
    lines: list[str] = []
    exported = compared(made_by_keras_2, "keras2.h5", "keras2", log=lines)
    assert set(exported.software) == {"tf-keras", "tensorflow"}
    assert any("Trying tf-keras" in line for line in lines)


@legacy
def test_keras_3_reads_plain_files_of_keras_2(made_by_keras_2: Path) -> None:
    exported = compared(made_by_keras_2, "keras2-plain.hdf5", "keras2-plain")
    assert set(exported.software) == {"keras", "tensorflow"}


def test_without_tf_keras_the_pip_line_is_said(tmp_path: Path) -> None:
    """A Keras 2 file with a layer that Keras 3 does not know, on a machine without tf-keras."""
    h5py = pytest.importorskip("h5py")
    if find_spec("tf_keras") is not None:
        pytest.skip("tf-keras is installed")
    with h5py.File(tmp_path / "old.h5", "w") as file:
        file.attrs["keras_version"] = b"2.15.0"
        file.attrs["model_config"] = b'{"class_name": "Gone", "config": {}}'
    with pytest.raises(MissingExtra, match="Keras 2 saved it") as caught:
        export(read_source(tmp_path / "old.h5"))
    assert "pip install tf-keras" in caught.value.remedy


@pytest.mark.slow
def test_the_same_model_gives_the_same_bytes(made: Path) -> None:
    for file in ("subclassed", "free-batch.tflite"):
        first, second = (export(read_source(made / file)).flatbuffer for _ in range(2))
        assert first == second
