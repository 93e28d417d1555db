"""The whole ``edge-fer convert`` command: every form of model, bad input, Ctrl-C, targets, options.

Small random nets with pictures of their own, whose truth is what the float model says.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from convert_command import (
    COMMAND,
    GENEROUS,
    edge_fer,
    environment,
    failed,
    listing,
    make,
    report_of,
    run,
    stopped_at,
)

from edge_fer.modelfile import embed, read_model
from edge_fer_convert.graph import Graph
from edge_fer_convert.outputs import OutputFiles
from edge_fer_convert.targets.edgetpu import COMPILER, INSTALL

pytest.importorskip("tensorflow", reason="the extra convert is not installed")
legacy = pytest.mark.skipif(find_spec("tf_keras") is None, reason="tf-keras is not installed")

Converted = tuple[subprocess.CompletedProcess[str], Path]

LABELS = ("--labels", "fer2013-7")
FEW = (*GENEROUS, "--calibration", 32)
APT = "sudo apt-get install edgetpu-compiler"

# Writes what it was given, and the table that release 16.0 prints, where -o says.
STAND_IN = """
import pathlib, sys
given = pathlib.Path(sys.argv[-1])
out = pathlib.Path(sys.argv[sys.argv.index("-o") + 1]) / (given.stem + "_edgetpu.tflite")
out.write_bytes(given.read_bytes())
print("Edge TPU Compiler version 16.0.384591198")
print("Operator                       Count      Status")
print()
print("CONV_2D                        2          Mapped to Edge TPU")
print("FULLY_CONNECTED                2          STATUS")
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("command"), "command-keras")


@pytest.fixture(scope="module")
def made_by_keras_2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("legacy"), "command-tf_keras")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """To be TMPDIR; it must be empty in the end."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


def gray(made: Path) -> tuple[object, ...]:
    """The model that needs no TensorFlow, and its data."""
    return (made / "gray.tflite", "--data", made / "gray.data.npz", *LABELS)


def agreed(report: dict[str, Any], data: Path, split: str) -> None:
    """``evaluate`` finds what the report says, of both files and to the last picture."""
    accuracy = report["accuracy"]
    assert accuracy["split"] == split
    for model, figures in (("int8", "quantised"), ("float", "reference")):
        path = report["outputs"][model]["path"]
        found = report_of(edge_fer("evaluate", path, "--data", data, "--split", split, "--json"))
        n = found["data"]["n"]
        assert (n, found["labels"]) == (accuracy["n"], report["labels"])
        assert found["model"]["sha256"] == report["outputs"][model]["sha256"]
        assert found["confusion"] == report["confusion"][model]
        right = sum(row[i] for i, row in enumerate(found["confusion"]))
        assert round(accuracy[figures]["accuracy"] * n, 6) == right
        assert found["accuracy"] == accuracy[figures]["accuracy"]
        assert found["ece"] == pytest.approx(accuracy[figures]["ece"], abs=1e-12)


def shown(done: subprocess.CompletedProcess[str], output: Path) -> dict[str, Any]:
    """The report of a conversion, after a look at everything that it wrote."""
    report, files = report_of(done), OutputFiles.beside(output)
    assert files.report_json.read_text() == done.stdout or files.report_json.stat().st_size > 0
    page = files.report_html.read_text()
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org/", "")
    int8, original = read_model(files.int8), read_model(files.float32)
    assert int8.contract.quantisation.scheme == "int8"
    assert int8.contract.quantisation.parent_sha256 == original.flatbuffer_sha256
    assert report["graph"]["full_integer"] is True
    assert report["lint"]["full_integer"] is True
    assert report["accuracy"]["reference"]["accuracy"] == 1.0  # it says what the truth is
    assert report["chosen"] == "plain"
    assert [row["name"] for row in report["rungs"]] == ["drawn", "plain"]
    assert len(int8.flatbuffer) < len(original.flatbuffer) * 1.1
    return report


@legacy
def test_shows_an_h5_of_keras_2(made_by_keras_2: Path, out: Path) -> None:
    data, output = made_by_keras_2 / "keras2.data.npz", out / "old.tflite"
    words = (made_by_keras_2 / "keras2.h5", "--data", data, *LABELS, "-o", output)
    done = run(*words, "--input-range", "0,255", *FEW, "--json")
    report = shown(done, output)
    assert set(report["software"]) >= {"tf-keras", "tensorflow"}
    # A Rescaling layer inside takes 0..255, and the other ranges show it.
    assert report["input_range"]["chosen"] == [0.0, 255.0]
    assert report["input_range"]["warning"] is None
    agreed(report, data, "PublicTest")


def test_shows_a_saved_model_of_a_subclassed_model(made: Path, out: Path) -> None:
    data, output = made / "saved.data.npz", out / "saved.tflite"
    done = run(made / "saved", "--data", data, *LABELS, "-o", output, *FEW, "--json")
    report = shown(done, output)
    assert "keras" not in report["software"]
    agreed(report, data, "PublicTest")


def test_shows_a_float_tflite(made: Path, out: Path) -> None:
    output = out / "gray.tflite"
    report = shown(run(*gray(made), "-o", output, *FEW, "--json"), output)
    assert "tensorflow" not in report["software"]
    assert read_model(output).contract.input.colour == "gray"
    agreed(report, made / "gray.data.npz", "PublicTest")


@pytest.fixture(scope="module")
def mobilenet(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Converted:
    output = tmp_path_factory.mktemp("mobilenet") / "mobilenet.tflite"
    data = made / "mobilenet.data.npz"
    done = run(made / "mobilenet.keras", "--data", data, *LABELS, "-o", output, *FEW, "--json")
    return done, output


def test_shows_an_rgb_mobilenet(made: Path, mobilenet: Converted) -> None:
    done, output = mobilenet
    report = shown(done, output)
    spec = read_model(output).contract.input
    assert (spec.height, spec.width, spec.channels, spec.colour) == (96, 96, 3, "rgb")
    assert "taken as RGB" in done.stderr
    assert len(report["layers"]) > 50
    agreed(report, made / "mobilenet.data.npz", "PublicTest")


def test_shows_a_binary_head_on_class_folders(made: Path, out: Path) -> None:
    data, output = made / "faces", out / "binary.tflite"
    labels = ("--labels", "happy,sad")
    done = run(made / "binary.keras", "--data", data, *labels, "-o", output, *FEW, "--json")
    report = shown(done, output)
    assert report["labels"] == ["happiness", "sadness"]
    assert report["output_kind"] == "logits"
    agreed(report, data, "test")


@pytest.mark.slow
def test_shows_vgg16_with_a_binary_head(tmp_path: Path, out: Path) -> None:
    made, output = make(tmp_path, "vgg16"), out / "vgg16.tflite"
    words = (made / "vgg16.keras", "--data", made / "faces", "--labels", "happy,sad", "-o", output)
    report = shown(run(*words, *GENEROUS, "--json"), output)
    assert 14 << 20 < report["outputs"]["int8"]["bytes"] < 16 << 20
    assert 56 << 20 < report["outputs"]["float"]["bytes"] < 60 << 20
    agreed(report, made / "faces", "test")


def test_a_range_for_each_colour(made: Path, mobilenet: Converted, out: Path) -> None:
    """Where a contract states one, no other range is tried, and the report says how it did."""
    model = read_model(OutputFiles.beside(mobilenet[1]).float32)
    spec = model.contract.input.model_copy(update={"offset": (0.0, -0.01, 0.01)})
    source = out / "source.tflite"
    source.write_bytes(embed(model.flatbuffer, model.contract.with_(input=spec)))
    words = ("--data", made / "mobilenet.data.npz", "-o", out / "x.tflite", *FEW, "--json")
    report = report_of(run(source, *words))
    assert report["input_range"]["chosen"] is None
    assert set(report["input_range"]["accuracy"]) == {"stated"}
    assert read_model(out / "x.tflite").contract.input.offset == spec.offset


# ---- Bad input: an error of its own, its exit code, and the output folder as it was.


def refused(
    out: Path, scratch: Path, code: int, said: tuple[str, ...], *words: object
) -> dict[str, str]:
    (out / "keep.txt").write_text("somebody else's")
    before = listing(out)
    done = run(*words, "-o", out / "x.tflite", *FEW, "--json", TMPDIR=str(scratch))
    error = failed(done, code, *said)
    assert listing(out) == before
    assert listing(scratch) == {}
    return error


@pytest.mark.parametrize(
    ("model", "code", "said"),
    [
        (
            "custom.keras",
            5,
            ("Keras cannot load", "locate class 'Doubled'", "model.export('folder')"),
        ),
        ("any-size.keras", 5, ("pictures of any size [None, None, None, 1]",)),
        ("sequence.keras", 5, ("sequences of pictures [None, 4, 24, 24, 1]", "over time")),
        ("text", 5, ("takes text, not pictures",)),
        ("nan.keras", 5, ("weights that are NaN or infinite", "earlier checkpoint")),
    ],
)
def test_a_model_that_is_refused(
    made: Path, out: Path, scratch: Path, model: str, code: int, said: tuple[str, ...]
) -> None:
    data = ("--data", made / "gray.data.npz", *LABELS)
    error = refused(out, scratch, code, (*said, str(made / model)), made / model, *data)
    assert error["code"] == "model"


def test_files_that_are_cut_off(made: Path, tmp_path: Path, out: Path, scratch: Path) -> None:
    data = ("--data", made / "gray.data.npz", *LABELS)
    for name in ("gray.tflite", "gray.h5"):
        whole, cut = (made / name).read_bytes(), tmp_path / f"cut-{name}"
        for length in (0, 3, len(whole) // 50, len(whole) // 2, len(whole) - 1):
            cut.write_bytes(whole[:length])
            error = refused(out, scratch, 5, (str(cut),), cut, *data)
            assert error["code"] == "model"
            if length > len(whole) // 50:
                assert "cut off" in error["message"], (name, length)


def test_folders_that_are_no_model(made: Path, tmp_path: Path, out: Path, scratch: Path) -> None:
    data = ("--data", made / "gray.data.npz", *LABELS)
    half = tmp_path / "half"
    shutil.copytree(made / "saved", half)
    shutil.rmtree(half / "variables")
    refused(out, scratch, 5, ("TensorFlow cannot load", "variables included"), half, *data)
    refused(out, scratch, 5, ("without saved_model.pb",), made / "faces", *data)


def test_labels_that_do_not_fit_the_outputs(made: Path, out: Path, scratch: Path) -> None:
    words = (made / "gray.tflite", "--data", made / "gray.data.npz", "--labels")
    refused(out, scratch, 5, ("gives 7 scores", "8 labels", "--labels"), *words, "ferplus8")
    refused(out, scratch, 5, ("gives 7 scores", "2 labels"), *words, "happy,sad")
    refused(out, scratch, 2, ("a name of its own",), *words, "a,a,b,c,d,e,f")


def test_data_that_tell_nothing_apart(made: Path, tmp_path: Path, out: Path, scratch: Path) -> None:
    faces = tmp_path / "faces"
    shutil.copytree(made / "faces", faces)
    words = (made / "binary.keras", "--data", faces, "--labels", "happy,sad")
    for file in (faces / "test" / "sad").iterdir():
        file.unlink()
    emptied = ("class folder", str(faces / "test" / "sad"), "is empty")
    refused(out, scratch, 2, emptied, *words)
    for split in ("train", "test"):
        shutil.rmtree(faces / split / "sad")
    refused(out, scratch, 2, ("pictures of one class only (happiness)",), *words)
    shutil.rmtree(faces)
    faces.mkdir()
    refused(out, scratch, 2, ("holds no pictures in class folders",), *words)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--target", "nonsense"), 2, ("no target 'nonsense'", "coral")),
        (("--recipe", "nonsense"), 2, ("no recipe 'nonsense'", "plain")),
        (("--formats", "bmp"), 2, ("no format bmp", "fp16")),
        (("--require-full-mapping",), 2, ("--target coral",)),
        (("--calibration", "3"), 2, ("--calibration",)),
        (("--max-drop", "-1"), 2, ("--max-drop",)),
        (("--split", "nonsense"), 2, ("no rows of split 'nonsense'", "PublicTest")),
        (("--input-range", "255,0"), 2, ("not two numbers",)),
        (("--scenes", "no.zip"), 2, ("no.zip",)),
        (("--detector", "nonsense", "--scenes", "."), 2, ("nonsense",)),
        (("--against", "no.tflite"), 5, ("no.tflite",)),
    ],
)
def test_options_that_make_no_sense(
    made: Path, out: Path, scratch: Path, words: tuple[str, ...], code: int, said: tuple[str, ...]
) -> None:
    # Of an option that is given twice the last one counts.
    (out / "keep.txt").write_text("somebody else's")
    before = listing(out)
    done = run(*gray(made), "-o", out / "x.tflite", *FEW, *words, "--json", TMPDIR=str(scratch))
    failed(done, code, *said)
    assert listing(out) == before
    assert listing(scratch) == {}


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[bool]:
    """An empty file system in memory; False where this machine does not let us mount one."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = shutil.which("mount") and subprocess.run(command, capture_output=True, check=False)
    if not done or done.returncode != 0:
        yield False
        return
    try:
        yield True
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_too_little_disk_for_the_results(made: Path, out: Path, scratch: Path) -> None:
    with mounted(out, "size=1m") as there:
        if not there:
            pytest.skip("no file system can be mounted here")
        done = run(*gray(made), "-o", out / "x.tflite", *FEW, "--json", TMPDIR=str(scratch))
        error = failed(done, 4, str(out), "1 MiB free", "-o")
        assert error["code"] == "device"
        assert listing(out) == {}
    assert listing(scratch) == {}


def test_too_little_disk_for_temporary_files(made: Path, out: Path, scratch: Path) -> None:
    with mounted(scratch, "size=1m") as there:
        if not there:
            pytest.skip("no file system can be mounted here")
        data = ("--data", made / "mobilenet.data.npz", *LABELS, *FEW, "--json")
        output = ("-o", out / "x.tflite")
        done = run(made / "mobilenet.keras", *data, *output, TMPDIR=str(scratch))
        failed(done, 4, str(scratch), "TMPDIR=")
        assert listing(scratch) == {}
    assert listing(out) == {}


def test_a_disk_that_is_full_while_writing(made: Path, out: Path, scratch: Path) -> None:
    """The shell's limit on the size of a file stops us where a full disk would, in the middle."""
    words = (*gray(made), "-o", out / "x.tflite", *FEW, "--json")
    command = [sys.executable, "-c", COMMAND, "convert", *map(str, words)]
    for kibibytes in (8, 20):
        done = subprocess.run(
            ["bash", "-c", f'ulimit -f {kibibytes}; exec "$@"', "-", *command],
            env=environment(TMPDIR=str(scratch)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert failed(done, 4, "File too large")["code"] == "device"
        assert listing(out) == {}
        assert listing(scratch) == {}


def test_an_output_folder_that_cannot_be_written(made: Path, out: Path) -> None:
    words = (*gray(made), "-o", out / "x.tflite", *FEW, "--json")
    with mounted(out, "ro") as there:
        if not there:
            if os.geteuid() == 0:
                pytest.skip("root may write everywhere, and nothing can be mounted here")
            out.chmod(0o555)
        failed(run(*words), 4, f"{out} cannot be written", "-o")
        assert listing(out) == {}
    missing = out / "no" / "x.tflite"
    failed(run(*gray(made), "-o", missing, *FEW, "--json"), 4, "does not exist", "mkdir -p")


@pytest.fixture(scope="module")
def faces(fer2013: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tenth of FER2013."""
    with np.load(fer2013) as stored:
        arrays = {key: stored[key] for key in stored.files}
    rows = len(arrays["images"])
    few = {k: v[::10] if len(v) == rows else v for k, v in arrays.items()}
    path = tmp_path_factory.mktemp("faces") / "faces.npz"
    np.savez(path, **few)
    return path


@pytest.mark.parametrize("wrong", ["0,255", "-1,1"])
def test_a_wrong_input_range_is_never_silent(
    shared: Path, faces: Path, out: Path, wrong: str
) -> None:
    """A real model, real faces: black and white are 0 and 1 to it."""
    peer = shared / "models" / "peer_vicksam_ferplus.tflite"
    done = run(
        *(peer, "--data", faces, "--labels", "ferplus8", f"--input-range={wrong}"),
        *("-o", out / "peer.tflite", *FEW, "--json"),
    )
    if done.returncode != 0:
        failed(done, 5, "labelled pictures", "--input-range=0,1")
        assert listing(out) == {}
        return
    report = report_of(done)
    assert "--input-range=0,1" in report["input_range"]["warning"]
    assert report["input_range"]["warning"] in report["warnings"]
    assert report["input_range"]["warning"] in done.stderr
    assert "--input-range=0,1" in (out / "peer.report.html").read_text()


# ---- Ctrl-C


def interrupted(out: Path, scratch: Path, phase: str, *words: object, **how: Any) -> str:
    """Stop a conversion when it says that a phase begins; what it said afterwards."""
    done = stopped_at(phase, *words, "-o", out / "x.tflite", TMPDIR=str(scratch), **how)
    assert done.code == 7, done.rest
    assert "Traceback" not in done.rest
    assert "Stopped" in done.rest
    assert done.left == ()
    assert listing(out) == {}
    assert listing(scratch) == {}
    return done.rest


# Each long enough that the signal comes while it lasts.
PHASES = (
    "making the float model",
    "choosing calibration pictures",
    "checking the input range",
    "plain: calibrating",
    "plain: minmax on ",
    "evaluating the float model",
    "evaluating the int8 model",
    "asking what hangs on the calibration pictures",
)


@pytest.mark.parametrize("phase", PHASES)
def test_ctrl_c_in_each_phase(
    made: Path, mobilenet: Converted, out: Path, scratch: Path, phase: str
) -> None:
    # Only the export needs the model as it was.
    float32 = OutputFiles.beside(mobilenet[1]).float32
    model = made / "mobilenet.keras" if phase == PHASES[0] else float32
    words = (model, "--data", made / "mobilenet.data.npz", *LABELS, *GENEROUS)
    # It is announced right before its folder is made; a folder without a name yet would be left.
    rest = interrupted(out, scratch, phase, *words, after_s=1 if phase == PHASES[0] else 0)
    assert not any(later in rest for later in PHASES[PHASES.index(phase) + 1 :])


@pytest.fixture
def patient(tmp_path: Path) -> Path:
    """A recipe that takes minutes."""
    recipe = tmp_path / "patient.toml"
    recipe.write_text(
        'words = "for long"\nfinetune = { steps = 2000, learning_rate = 1e-4 }\n', encoding="utf-8"
    )
    return recipe


def test_ctrl_c_while_fine_tuning(made: Path, out: Path, scratch: Path, patient: Path) -> None:
    words = (*gray(made), "--recipe", patient, "--max-drop", "inf")
    interrupted(out, scratch, "patient: fine-tuning", *words)


def test_sigterm_stops_the_processes_with_tensorflow_too(
    made: Path, out: Path, scratch: Path, patient: Path
) -> None:
    """It comes to the first process alone, while the other one is still loading TensorFlow."""
    words = (made / "binary.keras", "--data", made / "faces", "--labels", "happy,sad")
    phase = "making the float model"
    interrupted(out, scratch, phase, *words, group=False, after_s=1)
    words = (*gray(made), "--recipe", patient, "--max-drop", "inf")
    interrupted(out, scratch, "patient: minmax on ", *words, group=False, after_s=2)


# ---- Targets and options


def test_coral_without_its_compiler(made: Path, out: Path, scratch: Path, tmp_path: Path) -> None:
    empty = tmp_path / "bin"
    empty.mkdir()
    output = ("-o", out / "x.tflite", "--target", "coral", *FEW, "--json")
    done = run(*gray(made), *output, PATH=str(empty), TMPDIR=str(scratch))
    report = report_of(done)
    assert report["edgetpu"]["compiled"] is False
    assert tuple(report["edgetpu"]["install"]) == INSTALL
    assert APT in done.stderr
    assert all(line in done.stderr for line in INSTALL)
    page = (out / "x.report.html").read_text()
    assert APT in page
    assert not (out / "x.edgetpu.tflite").exists()
    assert report["lint"]["target"] == "coral"
    done = run(*(*gray(made), *output, "--force", "--require-full-mapping"), PATH=str(empty))
    failed(done, 3, APT)


def test_coral_with_a_stand_in_for_the_compiler(made: Path, out: Path, tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    compiler = folder / COMPILER

    def compiles(status: str) -> None:
        compiler.write_text(f"#!{sys.executable}\n{STAND_IN.replace('STATUS', status)}")
        compiler.chmod(0o755)

    output = ("-o", out / "x.tflite", "--target", "coral", *FEW, "--json")
    compiles("Mapped to Edge TPU")
    report = report_of(run(*gray(made), *output, "--require-full-mapping", PATH=str(folder)))
    assert (report["edgetpu"]["compiled"], report["edgetpu"]["mapped"]) == (True, 4)
    assert report["edgetpu"]["on_cpu"] == 0
    compiled, plain = read_model(out / "x.edgetpu.tflite"), read_model(out / "x.tflite")
    assert compiled.contract == plain.contract
    assert Graph.read(compiled.flatbuffer).counts() == Graph.read(plain.flatbuffer).counts()
    assert "4 of 4" in (out / "x.report.html").read_text()

    before = listing(out)
    compiles("Operation not supported")
    words = (*gray(made), *output, "--force", "--require-full-mapping")
    failed(run(*words, PATH=str(folder)), 5, "FULLY_CONNECTED (Operation not supported)")
    assert listing(out) == before
    compiler.write_text("#!/bin/sh\necho it broke\nexit 1\n")
    failed(run(*words, PATH=str(folder)), 5, "it broke")
    assert listing(out) == before
    compiler.unlink()
    # What an earlier compiler made belongs to the file that is replaced.
    report_of(run(*gray(made), *output, "--force", PATH=str(folder)))
    assert not (out / "x.edgetpu.tflite").exists()


def test_legacy_has_one_scale_in_dense_layers(made: Path, out: Path) -> None:
    scales: dict[str, dict[str, set[int]]] = {}
    for target in ("pi", "legacy"):
        output = out / f"{target}.tflite"
        words = ("-o", output, "--target", target, *FEW, "--json")
        report = report_of(run(*gray(made), *words))
        assert report["lint"]["target"] == target
        assert report["lint"]["per_tensor_dense"] is (target == "legacy")
        graph = Graph.read(read_model(output).flatbuffer)
        scales[target] = {
            kind: {
                len(graph.tensors[o.inputs[1]].scales) for o in graph.operators if o.name == kind
            }
            for kind in ("FULLY_CONNECTED", "CONV_2D")
        }
    assert scales["legacy"] == {"FULLY_CONNECTED": {1}, "CONV_2D": {8}}
    assert scales["pi"] == {"FULLY_CONNECTED": {7, 16}, "CONV_2D": {8}}


def test_formats_and_sweep_are_in_the_report_and_on_the_page(made: Path, out: Path) -> None:
    output = ("-o", out / "x.tflite", *GENEROUS, "--calibration", 100, "--json")
    plain = report_of(run(*gray(made), *output))
    without = (out / "x.report.html").read_text()
    more = ("--formats", "float,fp16,dynamic,int8", "--sweep", "--force")
    report = report_of(run(*gray(made), *output, *more))
    assert (plain["formats"], plain["sweep"]) == (None, None)
    rows = {row["format"]: row for row in report["formats"]}
    assert list(rows) == ["float32", "float16", "dynamic", "int8"]
    assert rows["float32"]["accuracy"] == report["accuracy"]["reference"]["accuracy"]
    assert rows["int8"]["accuracy"] == report["accuracy"]["quantised"]["accuracy"]
    assert rows["int8"]["agreement"] == report["accuracy"]["agreement"]
    sizes = [rows[name]["bytes"] for name in ("float32", "float16", "dynamic")]
    assert sizes == sorted(sizes, reverse=True)
    assert all(row["latency_ms"] > 0 and row["n"] == 160 for row in rows.values())
    counts = [point["n"] for point in report["sweep"]]
    assert counts == [16, 32, 64, 100]
    assert all(0 <= point["agreement"] <= 1 for point in report["sweep"])
    (taken,) = (row for row in report["rungs"] if row["name"] == "plain")
    assert report["sweep"][-1]["agreement"] == taken["agreement"]
    page = (out / "x.report.html").read_text()
    for words in ("float16", "dynamic", "same label as float", "mean change of a probability"):
        assert words in page
        assert words not in without or words == "dynamic"
    assert page.count("<svg") > without.count("<svg")


def test_scenes_calibrate_with_the_faces_that_the_detector_finds(
    made: Path, tmp_path: Path, out: Path
) -> None:
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
    scenes = tmp_path / "scenes.zip"
    good, png = cv2.imencode(".png", data.astronaut()[:, :, ::-1])
    assert good
    with zipfile.ZipFile(scenes, "w") as archive:
        archive.writestr("astronaut.png", png.tobytes())
        archive.writestr("notes.txt", "no picture")
        archive.writestr("broken.png", b"\x89PNG\r\n\x1a\n but no more")
    words = ("-o", out / "x.tflite", *FEW, "--json")
    report = report_of(run(*gray(made), "--scenes", scenes, *words))
    assert report["calibration"]["per_class"]["scenes"] == 1
    assert report["calibration"]["n"] == 32
    nothing = tmp_path / "nothing.zip"
    with zipfile.ZipFile(nothing, "w") as archive:
        wall = cv2.imencode(".png", np.full((64, 64), 128, np.uint8))[1]
        archive.writestr("wall.png", wall.tobytes())
    before = listing(out)
    done = run(*gray(made), "--scenes", nothing, *words, "--force")
    failed(done, 2, "finds no face")
    assert listing(out) == before
