"""The whole ``edge-fer convert --detector``: files, bad input, Ctrl-C, official detectors."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from convert_command import edge_fer, environment, failed, listing, report_of, run, stopped_at

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "unit"))
from tiny_detector import tiny_detector, tiny_detector_contract, write_scenes
from tiny_tflite import tiny_float

from edge_fer.contract import DetectionSpec, InputSpec, OutputSpec, SquareRule
from edge_fer.modelfile import read_model
from edge_fer_convert.graph import Graph
from edge_fer_convert.int8.candidate import open_detector

FEW = ("--calibration", 16)
# A net that was never trained, as its trainer saves it: open sizes, heads finest stride first. It
# has seen some noise, so that its activations neither vanish nor explode.
KERAS = """
import sys
import keras, numpy as np
from edge_fer_train.detection.network import build_detector
keras.utils.set_random_seed(1)
net = build_detector(normalisation=lambda: keras.layers.BatchNormalization(momentum=0.0))
net(np.random.default_rng(0).random((8, 96, 128, 1), np.float32), training=True)
net.save(sys.argv[1])
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("detector")
    (folder / "tiny.tflite").write_bytes(tiny_detector())
    (folder / "tiny.tflite.contract.json").write_bytes(tiny_detector_contract().to_json())
    write_scenes(folder / "scenes.zip", range(40))
    write_scenes(folder / "boxes.zip", range(100, 120), boxes=True)
    return folder


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def tiny(made: Path) -> tuple[object, ...]:
    return ("--detector", made / "tiny.tflite", "--data", made / "scenes.zip", *FEW)


def test_four_files_whose_report_holds(made: Path, out: Path) -> None:
    path = out / "tiny.tflite"
    evaluate = ("--evaluate", made / "boxes.zip")
    report = report_of(run(*tiny(made), *evaluate, "-o", path, "--json"))
    assert sorted(listing(out)) == [
        "tiny.float.tflite",
        "tiny.report.html",
        "tiny.report.json",
        "tiny.tflite",
    ]
    assert report["schema"] == "edge-fer/convert-detector/1"
    assert json.loads((out / "tiny.report.json").read_text()) == report
    assert report["budget"]["verdict"] in ("pass", "not_distinguishable")
    assert report["agreement"]["pictures"] == 20
    assert report["agreement"]["box_iou"]["median"] > 0.97
    assert report["graph"]["full_integer"]
    assert report["golden"]["n"] >= 1
    assert len(report["calibration"]["pictures"]) == 16
    page = (out / "tiny.report.html").read_text()
    assert "Within the budget" in page or "Not distinguishable" in page
    assert "http" not in page.replace("http-equiv", "")
    int8, floating = (read_model(out / f"tiny{kind}.tflite") for kind in ("", ".float"))
    assert int8.contract.quantisation.parent_sha256 == floating.flatbuffer_sha256
    assert int8.contract.quantisation.output is None  # each head has its own
    graph = Graph.read(int8.flatbuffer)
    assert len(graph.outputs) == 8
    assert {graph.tensors[i].dtype for i in graph.outputs} == {"INT8"}
    for model in (int8, floating):
        with open_detector(model) as detector:
            error = detector.check_golden()
        assert error is not None
        assert error[1] == 0


def test_the_figures_are_those_of_evaluate(made: Path, out: Path) -> None:
    path = out / "tiny.tflite"
    evaluate = ("--evaluate", made / "boxes.zip")
    report = report_of(run(*tiny(made), *evaluate, "-o", path, "--json"))
    for kind, file in (("int8", "tiny.tflite"), ("float", "tiny.float.tflite")):
        words = ("--detector", out / file, "--data", made / "boxes.zip", "--json")
        found = report_of(edge_fer("evaluate", *words))
        for key in ("ap50", "ap30", "recall", "precision", "faces", "found", "extra", "by_size"):
            assert report["accuracy"][kind][key] == found[key]


def test_the_same_files_give_the_same_bytes(made: Path, tmp_path: Path) -> None:
    results = []
    for name in ("first", "second"):
        folder = tmp_path / name
        folder.mkdir()
        report_of(run(*tiny(made), "-o", folder / "tiny.tflite", "--json"))
        results.append({n: data for n, data in listing(folder).items() if n.endswith("tflite")})
    assert results[0] == results[1]
    assert len(results[0]) == 2


def test_without_boxes_the_comparison_is_on_scenes_of_the_data(made: Path, out: Path) -> None:
    report = report_of(run(*tiny(made), "-o", out / "tiny.tflite", "--json"))
    assert report["accuracy"] is None
    assert any("--evaluate" in sentence for sentence in report["warnings"])
    assert read_model(out / "tiny.tflite").contract.metrics == ()


def test_scenes_of_the_evaluation_do_not_calibrate(made: Path, out: Path) -> None:
    both = made / "both.zip"
    write_scenes(both, range(10, 40), boxes=True)
    words = (*tiny(made), "--evaluate", both, "-o", out / "tiny.tflite", "--json")
    report = report_of(run(*words))
    assert len({p["scene"] for p in report["calibration"]["pictures"]}) <= 10


def test_earlier_results_are_kept_unless_forced(made: Path, out: Path) -> None:
    words = (*tiny(made), "-o", out / "tiny.tflite", "--json")
    report_of(run(*words))
    before = listing(out)
    failed(run(*words), 2, "exists already", "--force")
    assert listing(out) == before
    report_of(run(*words, "--force"))


def coarse(folder: Path) -> tuple[object, ...]:
    """Its logits reach into the thousands."""
    (folder / "coarse.tflite").write_bytes(tiny_detector(score_gain=4000.0))
    (folder / "coarse.tflite.contract.json").write_bytes(tiny_detector_contract().to_json())
    return ("--detector", folder / "coarse.tflite", "--data", folder / "scenes.zip", *FEW)


def test_scores_that_int8_cannot_hold_are_refused_and_told(made: Path, out: Path) -> None:
    path = out / "coarse.tflite"
    done = run(*coarse(made), "-o", path, "--json")
    assert done.returncode == 6
    report = json.loads(done.stdout)
    assert report["budget"]["verdict"] == "fail"
    assert "score head" in report["budget"]["words"]
    assert "logits" in done.stderr
    assert sorted(listing(out)) == [
        "coarse.rejected.float.tflite",
        "coarse.rejected.report.html",
        "coarse.rejected.report.json",
        "coarse.rejected.tflite",
    ]


def test_bad_input_is_said_in_one_line(made: Path, tmp_path: Path, out: Path) -> None:
    classifier = tmp_path / "classifier.tflite"
    classifier.write_bytes(tiny_float())
    contract = ("--contract", made / "tiny.tflite.contract.json")
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(tiny_detector()[:1500])
    onnx = tmp_path / "detector.onnx"
    onnx.write_bytes(b"\x08\x07\x12\x07pytorch")
    empty = tmp_path / "empty"
    empty.mkdir()
    scenes = made / "scenes.zip"
    cases: list[tuple[Path, Path, tuple[object, ...], int, tuple[str, ...]]] = [
        (classifier, scenes, contract, 5, ("grids", "without --detector")),
        (classifier, scenes, (), 2, ("how its heads are read", "without --detector")),
        (cut, scenes, contract, 5, ("cut off or damaged",)),
        (onnx, scenes, (), 5, ("neither a float .tflite nor a .keras file",)),
        (tmp_path / "none.tflite", scenes, (), 5, ("no detector at",)),
        (made / "tiny.tflite", empty, (), 2, ("0 scenes",)),
        (made / "tiny.tflite", tmp_path / "none.zip", (), 2, ("cannot be read",)),
        (made / "tiny.tflite", scenes, ("--evaluate", scenes), 2, ("no labelled face",)),
        (
            made / "tiny.tflite",
            scenes,
            ("--min-agreement", "0.5", "--max-class-drop", "0"),
            2,
            ("--max-class-drop is about", "--min-agreement"),
        ),
        (made / "tiny.tflite", scenes, ("--input-size", "96x96"), 2, ("only a .keras",)),
        (made / "tiny.tflite", scenes, ("--input-size", "big"), 2, ("--input-size big",)),
        (made / "tiny.tflite", scenes, ("--recipe", "finetuned"), 2, ("fine-tunes",)),
        (made / "tiny.tflite", scenes, ("--labels", "ferplus8"), 2, ("--labels is about",)),
    ]
    for detector, data, more, code, said in cases:
        words = ("--detector", detector, "--data", data, *more, "-o", out / "x.tflite", "--json")
        failed(run(*words), code, *said)
    assert listing(out) == {}


def test_options_of_a_detector_mean_nothing_to_a_classifier(made: Path, out: Path) -> None:
    words = ("mine.keras", "--data", made / "scenes.zip", "-o", out / "x.tflite", "--json")
    failed(run(*words, "--evaluate", made / "boxes.zip"), 2, "--evaluate is about a detector")


def test_nothing_to_convert_is_said(made: Path, out: Path) -> None:
    words = ("--data", made / "scenes.zip", "-o", out / "x.tflite", "--json")
    failed(run(*words), 2, "nothing to convert", "--detector FILE")


@pytest.mark.parametrize("phase", ["plain: calibrating", "comparing detector"])
def test_ctrl_c_leaves_nothing(made: Path, out: Path, tmp_path: Path, phase: str) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    words = (*tiny(made), "-o", out / "tiny.tflite")
    stopped = stopped_at(phase, *words, TMPDIR=str(scratch))
    assert stopped.code == 7
    assert "Traceback" not in stopped.rest
    assert listing(out) == listing(scratch) == {}
    assert stopped.left == ()


def test_a_file_of_somebody_else_is_not_replaced(made: Path, out: Path) -> None:
    (out / "tiny.tflite").write_bytes(tiny_detector())
    words = (*tiny(made), "-o", out / "tiny.tflite", "--json", "--force")
    failed(run(*words), 2, "not the result of an earlier conversion")
    assert (out / "tiny.tflite").read_bytes() == tiny_detector()


# A Keras detector of our own


@pytest.fixture(scope="module")
def keras(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("tensorflow", reason="the extra convert is not installed")
    folder = tmp_path_factory.mktemp("keras")
    subprocess.run(
        [sys.executable, "-c", KERAS, str(folder / "face.keras")],
        env=environment(CUDA_VISIBLE_DEVICES="-1", TF_CPP_MIN_LOG_LEVEL="3"),
        check=True,
    )
    contract = tiny_detector_contract(
        input=InputSpec(
            height=96, width=128, channels=1, colour="gray", scale=(1 / 255,), offset=(0.0,)
        ),
        output=OutputSpec(kind="sigmoid"),
        detection=DetectionSpec(
            decoder="grid",
            strides=(8, 16, 32),
            anchors=(1, 1, 1),
            keypoints=("right_eye", "left_eye", "mouth"),
            min_score=0.01,
            square=SquareRule(unit="width", side=1.2, centre_y=0.5),
        ),
    )
    (folder / "face.keras.contract.json").write_bytes(contract.to_json())
    return folder


def converted(keras: Path, made: Path, out: Path, size: str | None) -> dict[str, Any]:
    """Untrained: what is made may be kept as rejected."""
    words = ("--detector", keras / "face.keras", "--data", made / "scenes.zip", *FEW)
    more = ("--recipe", "plain", "-o", out / "face.tflite", "--json")
    done = run(*words, *more, *([] if size is None else ["--input-size", size]))
    assert done.returncode in (0, 6), done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.slow
def test_one_set_of_weights_serves_two_sizes(keras: Path, made: Path, out: Path) -> None:
    weights = []
    for size, grid in ((None, [12, 16]), ("96x64", [8, 12])):
        folder = out / str(size)
        folder.mkdir()
        report = converted(keras, made, folder, size)
        assert report["heads"][0]["shape"] == [1, *grid, 1]
        kinds = [head["kind"] for head in report["heads"]]
        assert kinds == ["score", "box", "keypoints"] * 3
        assert report["heads"][0]["scale"] == 1 / 256
        assert report["graph"]["operators"]["RESIZE_NEAREST_NEIGHBOR v2"] == 2
        (path,) = folder.glob("*.float.tflite")
        model = read_model(path)
        spec = model.contract.input
        assert f"{spec.width}x{spec.height}" == (size or "128x96")  # the contract's, of an open net
        graph = Graph.read(model.flatbuffer)
        kernels = [
            np.frombuffer(graph.tensors[o.inputs[1]].data or b"", "<f4")
            for o in graph.operators
            if "CONV" in o.name
        ]
        weights.append(kernels)
    for first, second in zip(*weights, strict=True):
        np.testing.assert_array_equal(first, second)


def test_a_size_that_the_net_cannot_have_is_said(keras: Path, made: Path, out: Path) -> None:
    words = ("--detector", keras / "face.keras", "--data", made / "scenes.zip", *FEW)
    more = ("--input-size", "100x90", "-o", out / "face.tflite", "--json")
    failed(run(*words, *more), 5, "cannot be built for pictures of 100x90", "multiples")
    assert listing(out) == {}


# The official files


def official(shared: Path, name: str, out: Path, *more: object) -> tuple[object, ...]:
    data = shared / "data"
    for needed in (
        shared / "models" / f"{name}.tflite",
        data / "faceboxes_train.zip",
        data / "faceboxes_dev.zip",
    ):
        if not needed.exists():
            pytest.skip(f"no {needed}")
    return (
        *("--detector", shared / "models" / f"{name}.tflite"),
        *("--data", data / "faceboxes_train.zip", "--evaluate", data / "faceboxes_dev.zip"),
        *("-o", out / "detector.tflite", "--json", *more),
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["blazeface_front_2019", "blazeface_full_range"])
def test_official_files_survive_int8(shared: Path, out: Path, name: str) -> None:
    report = report_of(run(*official(shared, name, out)))
    assert report["agreement"]["box_iou"]["median"] >= 0.94
    assert abs(report["accuracy"]["ap50_drop_points"]) <= 1
    assert report["partitions"] in (None, {"count": 1, "outside": []})
    rebuilt = report["rebuilt"]
    assert rebuilt["largest_difference"] <= 1e-5 * rebuilt["largest_value"]


@pytest.mark.slow
def test_short_range_is_refused_for_its_score_head(shared: Path, out: Path) -> None:
    words = official(shared, "blazeface_short_range", out, "--recipe", "plain")
    done = run(*words)
    assert done.returncode == 6
    report = json.loads(done.stdout)
    assert "The score head of the 8x8 grid" in report["budget"]["words"]
    assert not (out / "detector.tflite").exists()
