"""``edge-fer convert`` from the command line, with TensorFlow, on models of a few layers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from shipped_models import CLASSIFIERS

from edge_fer.backends import open_backend
from edge_fer.backends._interpreter import InterpreterBackend
from edge_fer.classifier import Classifier
from edge_fer.errors import ModelError
from edge_fer.evaluation.data import load
from edge_fer.modelfile import read_model
from edge_fer.models import shipped
from edge_fer_convert.graph import Graph
from edge_fer_convert.inputs.export import export
from edge_fer_convert.inputs.source import Source
from edge_fer_convert.outputs import OutputFiles

pytest.importorskip("tensorflow", reason="the extra convert is not installed")
pytest.importorskip("ai_edge_quantizer", reason="the extra convert is not installed")

ROOT = Path(__file__).resolve().parents[2]
# Random nets lose more than trained ones.
GENEROUS = ("--max-drop", "inf", "--max-class-drop", "inf", "--recipe", "plain")
COMMAND = "from edge_fer.cli import main; main()"


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {**os.environ, "PYTHONPATH": path, **more}


def run(*words: object, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", COMMAND, "convert", *map(str, words)],
        env=environment(**more),
        capture_output=True,
        text=True,
        check=False,
    )


def failed(done: subprocess.CompletedProcess[str], code: int, *said: str) -> dict[str, str]:
    """The error document of a failed --json command; nothing else may be on stdout."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    error = json.loads(done.stdout)["error"]
    assert error["exit_code"] == code
    assert error["remedy"]
    for words in said:
        assert words in error["message"] + error["remedy"]
    return dict(error)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the small models and their data."""
    folder = tmp_path_factory.mktemp("keras")
    script = Path(__file__).with_name("make_keras.py")
    done = subprocess.run(
        [sys.executable, str(script), str(folder)],
        env=environment(CUDA_VISIBLE_DEVICES="-1", TF_CPP_MIN_LOG_LEVEL="3"),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def converted(made: Path) -> tuple[OutputFiles, dict[str, Any]]:
    """The tiny model, converted once."""
    output = made / "tiny.tflite"
    words = (made / "tiny.keras", "--data", made / "data.npz", "-o", output, *GENEROUS)
    done = run(*words, "--json")
    assert done.returncode == 0, done.stderr
    return OutputFiles.beside(output), json.loads(done.stdout)


def test_what_is_written(converted: tuple[OutputFiles, dict[str, Any]], made: Path) -> None:
    files, report = converted
    int8, original = read_model(files.int8), read_model(files.float32)
    contract = int8.contract
    assert contract.labels == original.contract.labels
    assert (contract.label_scheme, contract.output.temperature) == ("fer2013-7", 1.5)
    for made_of in (contract, original.contract):
        assert made_of.output.unknown == {"min_probability": 0.25}
        assert made_of.quality is not None
        assert (made_of.quality.n, made_of.quality.noise.p99) == (9, 3.0)
    assert contract.quantisation.recipe == "plain"
    assert contract.quantisation.parent_sha256 == original.flatbuffer_sha256
    assert contract.quantisation.input is not None
    assert contract.quantisation.input.zero_point == -128
    assert original.contract.quantisation.scheme == "float32"
    assert contract.calibration is not None
    assert contract.calibration.n == report["calibration"]["n"] <= 402
    assert contract.provenance["arch"] == "tiny"
    (metric,) = contract.metrics
    assert (metric.split, metric.n, metric.data) == ("PublicTest", 300, "data.npz")
    assert metric.float_accuracy == 1.0  # the truth is what the float model says
    assert metric.int8_accuracy > 0.9
    assert str(made) not in contract.to_json().decode()

    for model in (int8, original):
        classifier = Classifier(model, open_backend("litert", model.flatbuffer))
        found = classifier.golden_error()
        classifier.close()
        assert found == (4, 0.0)

    assert json.loads(files.report_json.read_text()) == report
    assert report["graph"]["full_integer"] is True
    assert report["accuracy"]["drop_points"] == pytest.approx(metric.drop_points)
    assert report["comparison"] is None
    assert "<svg" in files.report_html.read_text()


def test_operator_versions_agree_with_tensorflow(
    converted: tuple[OutputFiles, dict[str, Any]], made: Path
) -> None:
    ours = Graph.read(read_model(converted[0].int8).flatbuffer)
    theirs = Graph.read((made / "tiny.tensorflow.tflite").read_bytes())
    assert ours.counts() == theirs.counts()
    runtime = "min_runtime_version"
    assert ours.metadata[runtime].rstrip(b"\0") == theirs.metadata[runtime].rstrip(b"\0")


@pytest.mark.slow
def test_another_process_gives_the_same_bytes(
    converted: tuple[OutputFiles, dict[str, Any]], made: Path, tmp_path: Path
) -> None:
    first, _ = converted
    output = tmp_path / "elsewhere.tflite"
    copied = tmp_path / "renamed.keras"
    copied.write_bytes((made / "tiny.keras").read_bytes())
    done = run(
        *(copied, "--data", made / "data.npz", "-o", output, "--against", first.int8),
        *GENEROUS,
        *("--json", "--quiet"),
        PYTHONHASHSEED="1",
        TZ="Asia/Tokyo",
    )
    assert (done.returncode, done.stderr) == (0, "")
    second = OutputFiles.beside(output)
    assert second.int8.read_bytes() == first.int8.read_bytes()
    assert second.float32.read_bytes() == first.float32.read_bytes()
    compared = json.loads(done.stdout)["comparison"]
    assert compared["identical"]
    assert (compared["agreement"], compared["golden_max_lsb"]) == (1.0, 0.0)


def test_a_missed_budget_keeps_the_candidate_aside(made: Path, tmp_path: Path) -> None:
    output = tmp_path / "mine.tflite"
    arguments = (made / "fragile.keras", "--data", made / "data.npz", "-o", output)
    done = run(*arguments, "--max-drop", 1, "--recipe", "plain", "--json")
    assert done.returncode == 6
    assert "mine.rejected.tflite" in done.stderr
    assert "beyond the budget of 1 points" in done.stderr
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "mine.rejected.float.tflite",
        "mine.rejected.report.html",
        "mine.rejected.report.json",
        "mine.rejected.tflite",
    ]
    report = json.loads((tmp_path / "mine.rejected.report.json").read_text())
    assert json.loads(done.stdout) == report
    assert report["accuracy"]["verdict"] == "fail"
    assert report["outputs"]["int8"]["path"].endswith("mine.rejected.tflite")
    assert read_model(tmp_path / "mine.rejected.tflite").contract.metrics[0].drop_points > 1


def test_a_foreign_model_on_class_folders(made: Path, tmp_path: Path) -> None:
    data = tmp_path / "faces"
    rng = np.random.default_rng(0)
    for name in ("happy", "sad", "surprised"):
        (data / name).mkdir(parents=True)
        for i in range(24):
            pixels = rng.integers(0, 256, (22, 20, 3), dtype=np.uint8)
            cv2.imwrite(str(data / name / f"{i}.png"), pixels)
    (data / "sad" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n but no more")
    output = tmp_path / "mine.tflite"
    done = run(
        *(made / "foreign.keras", "--data", data, "-o", output, "--json"),
        *("--labels", "happy,sad,surprised", "--input-range=-1,1", *GENEROUS),
    )
    assert done.returncode == 0, done.stderr
    report, contract = json.loads(done.stdout), read_model(output).contract
    assert contract.labels == ("happiness", "sadness", "surprise")
    assert (contract.label_scheme, contract.output.kind) == ("custom", "probabilities")
    assert contract.input.colour == "rgb"
    assert contract.input.offset == (-1.0, -1.0, -1.0)
    assert contract.quantisation.input is not None
    assert contract.quantisation.input.zero_point == 0
    assert contract.licence.weights == "not stated"
    assert report["calibration"]["n"] == 18
    assert report["accuracy"]["n"] == 72 - 16
    said = " ".join(report["warnings"])
    for words in ("could not be read", "RGB", "softmax", "no training split", "instead of 512"):
        assert words in said
        assert words in done.stderr
    assert "--input-range" not in said


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("regression.keras", "not a score for each of several classes"),
        ("two-inputs.keras", "2 inputs and 1 outputs"),
    ],
)
def test_a_keras_model_that_is_no_classifier(
    made: Path, tmp_path: Path, name: str, said: str
) -> None:
    output = tmp_path / "x.tflite"
    words = ("--data", made / "data.npz", "--labels", "fer2013-7", "-o", output, "--json")
    failed(run(made / name, *words), 5, said)
    assert list(tmp_path.iterdir()) == []


def test_other_bad_input(made: Path, tmp_path: Path) -> None:
    output = ("-o", tmp_path / "x.tflite", "--json")
    data = ("--data", made / "data.npz")
    tiny = made / "tiny.keras"
    failed(run(tmp_path / "no.keras", *data, *output), 5, "There is no model")
    cut = tmp_path / "cut.keras"
    cut.write_bytes(tiny.read_bytes()[:-500])
    failed(run(cut, *data, *output), 5, "cut off or damaged")
    cut.unlink()
    wrong = made / "wrong.csv"
    wrong.write_text("a,b\n1,2\n")
    failed(run(tiny, "--data", wrong, *output), 2, "has no column emotion, pixels, usage")
    failed(run(tiny, *data, "--split", "PrivateTest", *output), 2, "no rows of split")
    failed(run(tiny, *data, "--labels", "ferplus8", *output), 2, "contradicts")
    failed(run(tiny, *data, "--input-range", "1", *output), 2, "not two numbers")
    failed(run(tiny, *data, "-o", tiny, "--json"), 2, "does not end in .tflite")
    failed(run(made / "foreign.keras", *data, *output), 2, "--labels")
    assert list(tmp_path.iterdir()) == []


def test_earlier_results_are_not_replaced_unasked(
    converted: tuple[OutputFiles, dict[str, Any]], made: Path
) -> None:
    files, _ = converted
    before = files.int8.read_bytes()
    words = (made / "tiny.keras", "--data", made / "data.npz", "-o", files.int8, "--json")
    failed(run(*words), 2, "exists already", "--force")
    assert files.int8.read_bytes() == before


def test_without_tensorflow_the_remedy_is_the_pip_line(made: Path, tmp_path: Path) -> None:
    # A module that cannot be loaded, first on the path: as on a machine with a broken install.
    (tmp_path / "tensorflow.py").write_text("raise ImportError('no TensorFlow here')")
    path = os.pathsep.join([str(tmp_path), *(entry for entry in sys.path if entry)])
    words = ("--data", made / "data.npz", "-o", tmp_path / "x.tflite", "--json")
    done = run(made / "tiny.keras", *words, PYTHONPATH=path)
    error = failed(done, 3, "pip install 'edge-fer[convert]'")
    assert error["code"] == "missing_extra"


def test_ctrl_c_leaves_nothing_behind(made: Path, tmp_path: Path) -> None:
    out, scratch = tmp_path / "out", tmp_path / "scratch"
    out.mkdir()
    scratch.mkdir()
    words = (made / "tiny.keras", "--data", made / "data.npz", "-o", out / "x.tflite", "-v")
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "convert", *map(str, words)],
        env=environment(TMPDIR=str(scratch)),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    with process.stderr:
        for line in process.stderr:
            if "making the float model" in line:
                os.killpg(process.pid, signal.SIGINT)
                break
        rest = process.stderr.read()
    assert process.wait() == 7, rest
    assert "Traceback" not in rest
    assert list(out.iterdir()) == []
    assert list(scratch.iterdir()) == []


def test_the_converter_itself_never_imports_tensorflow() -> None:
    code = (
        "import sys, pkgutil, importlib, edge_fer_convert as package\n"
        "for m in pkgutil.iter_modules(package.__path__):\n"
        "    importlib.import_module('edge_fer_convert.' + m.name)\n"
        "from edge_fer_convert.int8.quantise import quantise\n"
        "import ai_edge_quantizer.quantizer\n"
        "print(sorted({m.partition('.')[0] for m in sys.modules} & {'tensorflow', 'keras'}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


def test_tensorflow_gives_up_and_its_last_words_are_passed_on(made: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.keras"
    with zipfile.ZipFile(made / "tiny.keras") as old, zipfile.ZipFile(broken, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, b'{"class_name": "Nonsense"}' if name == "config.json" else data)
    lines: list[str] = []
    with pytest.raises(ModelError, match="Keras cannot load"):
        export(Source(path=broken, sha256="0", draft=None), on_log=lines.append)
    assert any("Traceback" in line for line in lines)


@pytest.fixture(scope="module", params=CLASSIFIERS)
def real(
    request: pytest.FixtureRequest, fer2013: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """A shipped model, converted again from its source and compared with the shipped file."""
    source = ROOT / "converters" / "models" / f"{request.param}.keras"
    output = tmp_path_factory.mktemp("real") / f"{request.param}.tflite"
    done = run(
        *(source, "--data", fer2013, "-o", output, "--recipe", "equalised"),
        *("--against", shipped()[request.param], "--json"),
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


@pytest.mark.slow
def test_the_shipped_model_comes_out_again(real: dict[str, Any], fer2013: Path) -> None:
    compared = real["comparison"]
    assert compared["same_labels"]
    assert compared["same_graph"]
    assert compared["same_weight_shapes"]
    assert compared["golden_max_lsb"] <= 1
    assert compared["agreement"] >= 0.998
    labels = read_model(Path(real["outputs"]["int8"]["path"])).contract.labels
    assert compared["n"] == len(load(fer2013, labels, split="PublicTest")) in (3199, 3589)
    if not compared["identical"]:
        # Bytes may differ on another processor; then the report must say where.
        assert any(not s["same"] and s["detail"] for s in compared["sections"])


def test_golden_vectors_hold_on_every_set_of_kernels(real: dict[str, Any]) -> None:
    model = read_model(Path(real["outputs"]["int8"]["path"]))
    for kernels in (OpResolverType.BUILTIN_REF, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES):
        make = partial(
            Interpreter, model_content=model.flatbuffer, experimental_op_resolver_type=kernels
        )
        backend = InterpreterBackend(make, "another set of kernels")
        found = Classifier(model, backend).golden_error()
        backend.close()
        assert found is not None
        assert found[0] == 4
        assert found[1] <= 1


def test_the_shipped_contract_records_these_figures(real: dict[str, Any]) -> None:
    name = Path(real["outputs"]["int8"]["path"]).stem
    (metric,) = read_model(shipped()[name]).contract.metrics
    assert metric.n == real["accuracy"]["n"]
    assert abs(metric.float_accuracy - real["accuracy"]["reference"]["accuracy"]) < 0.002
    assert abs(metric.int8_accuracy - real["accuracy"]["quantised"]["accuracy"]) < 0.004
