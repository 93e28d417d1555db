"""``edge-fer benchmark`` on the shipped model, as a user runs it: in a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bench_command import BENCHMARK, benchmark

from edge_fer.contract import Golden
from edge_fer.modelfile import embed, read_model
from edge_fer.models import find

STAGES = ("capture", "detect", "track", "preprocess", "classify", "smooth", "emit", "total")
TOP = {
    "schema",
    "device",
    "software",
    "model",
    "source",
    "latency_ms",
    "cold_start_ms",
    "fps",
    "rss_peak_mb",
    "thermal",
    "accuracy",
    "recorded",
    "golden",
}


def measured(*words: str | Path, code: int = 0) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(benchmark(*words, "--json", code=code).stdout)
    return document


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path, str]:
    """One run without data, its report folder, and what it said."""
    folder = tmp_path_factory.mktemp("plain") / "made" / "here"
    done = benchmark("--report", folder, "--json")
    return json.loads(done.stdout), folder, done.stderr


def test_without_data_every_field_is_there_and_accuracy_is_null(
    plain: tuple[dict[str, Any], Path, str],
) -> None:
    document, _, _ = plain
    assert set(document) >= TOP
    assert document["schema"] == "edge-fer/benchmark/1"
    assert document["accuracy"] is None
    assert document["recorded"]
    assert {"data", "split", "n", "drop_points", "ci95_points"} <= set(document["recorded"][0])
    assert document["golden"]["n"] > 0
    assert document["golden"]["max_lsb"] in (0, 1)
    assert document["model"]["sha256"] == read_model(find("expression")).sha256
    assert document["cold_start_ms"] > 0
    assert document["fps"] > 0
    assert document["rss_peak_mb"] > 20


def test_every_stage_that_can_run_ran_in_every_frame_of_the_scene(
    plain: tuple[dict[str, Any], Path, str],
) -> None:
    document, _, _ = plain
    times = document["latency_ms"]
    assert tuple(times) == STAGES
    frames = document["source"]["frames"]
    assert frames >= 30
    for stage in ("capture", "detect", "total"):
        assert times[stage]["n"] == frames
    assert document["source"]["frames_with_face"] > frames / 2
    for stage in ("preprocess", "classify"):
        assert times[stage]["n"] == document["source"]["frames_with_face"]
    assert times["track"]["n"] == frames
    assert times["smooth"]["n"] >= document["source"]["frames_with_face"]
    figures = ("mean", "p50", "p90", "p99", "max", "ci95")
    assert times["emit"] == dict.fromkeys(figures, None) | {"n": 0}
    for row in times.values():
        if row["n"]:
            assert 0 < row["p50"] <= row["p90"] <= row["p99"] <= row["max"]
            for name in ("p50", "p90", "p99"):
                assert row["ci95"][name][0] <= row["ci95"][name][1]
    # Stages and total are of one clock: what lies between them is next to nothing.
    whole = sum(row["n"] * row["mean"] for name, row in times.items() if row["n"]) / frames
    assert whole / times["total"]["mean"] == pytest.approx(2, rel=0.03)


def test_what_is_timed_is_what_run_does(tmp_path: Path) -> None:
    config = tmp_path / "device.toml"
    config.write_text('smoothing = "none"\ngate = false\nsinks = ["jsonl:/never/opened.jsonl"]\n')
    target = tmp_path / "seen.jsonl"
    document = measured("--no-track", "--config", config, "--sink", f"jsonl:{target}")
    source, times = document["source"], document["latency_ms"]
    assert (source["track"], source["gate"], source["smoothing"]) == (False, False, "none")
    assert source["sinks"] == [f"jsonl:{target}"]
    assert times["track"]["n"] == times["smooth"]["n"] == 0
    assert times["emit"]["n"] == source["frames"]
    warm_up = document["protocol"]["warm_up_frames"]
    assert len(target.read_text().splitlines()) == source["frames"] + warm_up


def test_the_report_folder(plain: tuple[dict[str, Any], Path, str]) -> None:
    document, folder, said = plain
    assert sorted(p.name for p in folder.iterdir()) == [
        "annotated.png",
        "frames.csv",
        "report.csv",
        "report.html",
        "report.json",
    ]
    assert json.loads((folder / "report.json").read_text()) == document
    assert cv2.imread(str(folder / "annotated.png")).shape == (480, 640, 3)
    page = (folder / "report.html").read_text()
    assert "accuracy: not measured here" in page
    for marker in ('src="http', "src='http", 'href="', "<script", "url("):
        assert marker not in page
    body = page[page.index("<main>") :]
    assert body.index("frames per second on this machine") < body.index("<h2>")
    assert "report.html" in said


@pytest.fixture(scope="module")
def with_data(fer2013: Path) -> dict[str, Any]:
    return measured("--data", fer2013)


def test_with_data_every_field_of_accuracy_on_3199_rows(with_data: dict[str, Any]) -> None:
    found = with_data["accuracy"]
    assert set(with_data) >= TOP
    assert found["n"] == 3199
    assert found["split"] == "PublicTest"
    assert found["data"].endswith("fer2013_train_public.npz")
    assert set(found["reference"]) == {"accuracy", "macro_recall", "macro_f1", "ece"}
    assert set(found["quantised"]) == set(found["reference"])
    low, high = found["ci95_points"]
    assert low <= found["drop_points"] <= high
    assert 0 <= found["mcnemar_p"] <= 1
    assert 0.9 < found["agreement"] <= 1
    assert 0 < found["mean_abs_dp"] < 0.05
    assert found["verdict"] in ("pass", "fail", "not_distinguishable")
    assert sum(row["n"] for row in found["per_class"].values()) == 3199
    assert set(found["per_class"]) == set(with_data["model"]["labels"])
    for row in found["per_class"].values():
        assert set(row) == {"n", "reference_recall", "quantised_recall", "drop_points"}
    change = 100 * (found["reference"]["accuracy"] - found["quantised"]["accuracy"])
    assert found["drop_points"] == pytest.approx(change, abs=1e-9)


def test_its_accuracy_is_that_of_evaluate(with_data: dict[str, Any], fer2013: Path) -> None:
    done = subprocess.run(
        [*BENCHMARK[:-1], "evaluate", "expression", "--data", str(fer2013), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    evaluated = json.loads(done.stdout)
    for figure in ("accuracy", "macro_recall", "macro_f1", "ece"):
        assert with_data["accuracy"]["quantised"][figure] == pytest.approx(evaluated[figure])


def test_labelled_pictures_do_not_count_as_the_devices_memory(
    with_data: dict[str, Any], plain: tuple[dict[str, Any], Path, str]
) -> None:
    # The 32,000 pictures of the file are more than 70 MB.
    assert with_data["rss_peak_mb"] < plain[0]["rss_peak_mb"] + 40


def test_missed_limits_exit_6_after_everything_is_written(tmp_path: Path) -> None:
    done = benchmark(
        "--json", "--report", tmp_path, "--max-p99", "0.01", "--min-fps", "1e6", code=6
    )
    document = json.loads(done.stdout)  # one document, and it is the report
    assert document["schema"] == "edge-fer/benchmark/1"
    assert [check["met"] for check in document["budgets"]] == [False, False]
    assert "the limit is 0.01 ms" in done.stderr
    assert "least allowed is 1e+06" in done.stderr
    assert json.loads((tmp_path / "report.json").read_text()) == document
    assert "Limit missed" in (tmp_path / "report.html").read_text()


def test_limits_that_are_kept_exit_0() -> None:
    document = measured("--max-p99", "1e6", "--min-fps", "0.001", "--max-rss", "1e6")
    assert [check["met"] for check in document["budgets"]] == [True, True, True]


def test_the_table_is_for_people() -> None:
    done = benchmark()
    assert "accuracy: not measured here" in done.stdout
    assert "total" in done.stdout
    assert max(len(line) for line in done.stdout.splitlines()) <= 80
    assert benchmark("--quiet").stdout == ""


def test_a_recording_is_gone_through_until_there_is_a_p99_and_not_stored(
    shared: Path, tmp_path: Path
) -> None:
    clip = shared / "data" / "clips" / "single_face.mp4"
    done = benchmark("--source", clip, "--seconds", "600", "--report", tmp_path, "--json")
    document = json.loads(done.stdout)
    assert document["source"]["frames"] == 6 * 72  # the first multiple from 400 on
    assert document["protocol"]["stopped_by"] == "passes"
    assert "has 72 frames and was gone through 6 times" in document["bounded_by"]
    assert not (tmp_path / "annotated.png").exists()
    assert "data:image" not in (tmp_path / "report.html").read_text()
    benchmark("--source", clip, "--report", tmp_path, "--annotate")
    assert (tmp_path / "annotated.png").exists()


@pytest.mark.parametrize(
    ("number", "phase", "seconds"),
    [
        (signal.SIGINT, "measuring", "600"),
        (signal.SIGTERM, "measuring", "600"),
        (signal.SIGINT, "roofline", "1"),
        (signal.SIGINT, "sweep", "1"),
    ],
)
def test_ctrl_c_leaves_a_partial_report_and_exits_7(
    tmp_path: Path, number: int, phase: str, seconds: str
) -> None:
    flags = ["--seconds", seconds, "--json", "-v", "--report", str(tmp_path)]
    flags += ["--threads", "1,2,3,4"] if phase == "sweep" else []
    running = subprocess.Popen(
        [*BENCHMARK, *flags],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert running.stderr is not None
    for line in running.stderr:
        if line.strip() == phase:
            break
    running.send_signal(number)
    out, said = running.communicate(timeout=60)
    assert running.returncode == 7, said
    document = json.loads(out)
    assert document["interrupted"] is True
    if phase == "measuring":
        assert document["protocol"]["stopped_by"] == "interrupted"
    else:
        assert document["protocol"]["stopped_by"] == "time"
        assert ("roofline" in document) == (phase == "sweep")
    assert document["source"]["frames"] > 0
    assert json.loads((tmp_path / "report.json").read_text()) == document
    assert "Traceback" not in said


def test_a_device_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    model = read_model(find("expression"))
    golden, labels = model.contract.golden, len(model.contract.labels)
    assert golden is not None
    wrong = golden.expected("int8", labels).astype(np.int16)
    wrong[0, 0] += 2 if wrong[0, 0] < 0 else -2
    spoilt = model.contract.with_(
        golden=Golden.of(golden.pixels(model.contract.input), wrong.astype(np.int8))
    )
    path = tmp_path / "spoilt.tflite"
    path.write_bytes(embed(model.flatbuffer, spoilt))
    document = measured(path, code=5)
    assert document["error"]["code"] == "model"
    assert "off by 2" in document["error"]["message"]


@pytest.mark.parametrize(
    ("words", "code", "part"),
    [
        (["--max-drop", "0.5"], 2, "without --data"),
        (["--split", "PublicTest"], 2, "no --data"),
        (["--reference", "expression.float"], 2, "no --data"),
        (["--annotate"], 2, "--report"),
        (["--data", "no-such.csv"], 2, "no-such.csv"),
        (["--seconds", "-1"], 2, "--seconds"),
        (["--seconds", "inf"], 2, "inf"),
        (["--max-p99", "nan"], 2, "--max-p99"),
        (["--detector", "hear"], 2, "haar"),
        (["--source", "no-such.mp4"], 2, "no-such.mp4"),
        (["--report", "/proc/nothing/here"], 4, "/proc/nothing/here"),
        (["no-such-model"], 5, "no-such-model"),
    ],
)
def test_bad_input_is_one_paragraph_with_its_exit_code(
    words: list[str], code: int, part: str
) -> None:
    done = benchmark(*words, "--json", code=code)
    error = json.loads(done.stdout)["error"]
    assert error["exit_code"] == code
    assert part in f"{error['message']} {error['remedy']}"
    assert error["message"] in done.stderr


def test_a_float_model_has_no_drop(fer2013: Path) -> None:
    document = measured("expression.float", "--data", fer2013, code=2)
    assert "is a float model" in document["error"]["message"]


def test_an_empty_folder_and_a_cut_video(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    clip = shared / "data" / "clips" / "single_face.mp4"
    (tmp_path / "cut.mp4").write_bytes(clip.read_bytes()[:50_000])
    for name in ("empty", "cut.mp4"):
        document = measured("--source", tmp_path / name, code=2)
        assert document["error"]["code"] == "data"
        assert name in document["error"]["message"]
