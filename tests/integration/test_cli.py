"""The commands on real input, as a user runs them: in a process of their own."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from edge_fer.evaluation.corruptions import CORRUPTIONS
from edge_fer.evaluation.labels import FERPLUS8
from edge_fer.models import find
from edge_fer.types import Box

EDGE_FER = [sys.executable, "-c", "from edge_fer.cli import main; main()"]


def edge_fer(*words: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*EDGE_FER, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def edge_fer_json(*words: str | Path, code: int = 0) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(edge_fer(*words, "--json", code=code).stdout)
    return document


@pytest.fixture(scope="module")
def astronaut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from skimage.data import astronaut as picture

    path = tmp_path_factory.mktemp("pictures") / "astronaut.png"
    cv2.imwrite(str(path), picture()[:, :, ::-1])
    return path


@pytest.fixture(scope="module")
def photos(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    with zipfile.ZipFile(shared / "data" / "group_photos.zip") as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def clip(shared: Path) -> Path:
    return shared / "data" / "clips" / "single_face.mp4"


# predict


def test_the_astronaut_has_one_face_and_is_happy(astronaut: Path, tmp_path: Path) -> None:
    document = edge_fer_json("predict", astronaut, "--annotate", tmp_path / "out")
    assert document["schema"] == "edge-fer/predict/1"
    (image,) = document["images"]
    assert (image["width"], image["height"], image["error"]) == (512, 512, None)
    (face,) = image["faces"]
    assert face["expression"] == "happiness"
    assert list(face["probabilities"]) == list(FERPLUS8)
    assert face["reason"] is None
    drawn = cv2.imread(str(tmp_path / "out" / "astronaut.png"))
    assert drawn is not None
    assert (drawn != cv2.imread(str(astronaut))).any()


def test_group_photos(photos: Path) -> None:
    """At least 38 of 43 boxes, one to one at IoU >= 0.3, and at most 4 extra faces."""
    truth: dict[str, list[Box]] = {}
    with (photos / "boxes.csv").open() as file:
        for row in csv.DictReader(file):
            x1, y1, x2, y2 = (float(row[k]) for k in ("x1", "y1", "x2", "y2"))
            truth.setdefault(row["image"], []).append(Box(x=x1, y=y1, w=x2 - x1, h=y2 - y1))
    document = edge_fer_json("predict", *sorted((photos / "images").glob("*.jpg")))
    hits = extra = 0
    for image in document["images"]:
        found = [Box(x=b[0], y=b[1], w=b[2], h=b[3]) for b in (f["box"] for f in image["faces"])]
        left = list(truth[Path(image["path"]).name])
        pairs = sorted(((a.iou(b), a, b) for a in found for b in left), key=lambda p: -p[0])
        for overlap, a, b in pairs:
            if overlap >= 0.3 and a in found and b in left:
                found.remove(a)
                left.remove(b)
                hits += 1
        extra += len(found)
    assert sum(map(len, truth.values())) == 43
    assert hits >= 38
    assert extra <= 4


def test_a_bad_picture_among_good_ones(astronaut: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.png"
    cut.write_bytes(astronaut.read_bytes()[:20_000])
    none = tmp_path / "none.png"
    document = edge_fer_json("predict", cut, astronaut, none, code=2)
    bad, good, missing = document["images"]
    assert good["faces"][0]["expression"] == "happiness"
    assert (bad["faces"], missing["faces"]) == ([], [])
    assert "not a readable picture" in bad["error"]
    assert "cannot be read" in missing["error"]


def test_words_for_people_and_the_other_cascade(astronaut: Path) -> None:
    out = edge_fer("predict", astronaut, "--detector", "haar?cascade=alt2").stdout
    assert "1 face" in out
    assert "happiness" in out


# run


def test_the_clip_starts_neutral_and_ends_happy(clip: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    document = edge_fer_json("run", "--source", clip, "--sink", f"jsonl:{out}")
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == document["frames"] == 72
    assert sum(len(line["faces"]) == 1 for line in lines) >= 70
    said = [f["expression"] for line in lines for f in line["faces"]]
    assert Counter(said[:10]).most_common(1)[0][0] == "neutral"
    assert Counter(said[-10:]).most_common(1)[0][0] == "happiness"
    first = lines[0]
    assert set(first) == {
        "schema", "boot_id", "seq", "t_ns", "wall_time", "clock_ok", "source", "model", "frame",
        "faces", "timings_ms", "run",
    }  # fmt: skip
    assert [line["seq"] for line in lines] == list(range(72))
    assert first["schema"] == "edge-fer/observation/1"
    assert set(first["faces"][0]) == {
        "track", "box", "score", "expression", "reason", "probabilities", "raw_expression",
    }  # fmt: skip


def test_a_folder_and_an_annotated_video(astronaut: Path, tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(3):
        shutil.copy(astronaut, folder / f"{i}.png")
    video = tmp_path / "seen.mp4"
    document = edge_fer_json("run", "--source", folder, "--annotate", video)
    assert (document["frames"], document["expressions"]) == (3, {"happiness": 3})
    capture = cv2.VideoCapture(str(video))
    assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    capture.release()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pictures", "seen.mp4"]


def test_the_synthetic_source(tmp_path: Path) -> None:
    out = tmp_path / "o.jsonl"
    edge_fer("run", "--source", "synthetic?frames=5", "--sink", f"jsonl:{out}", "--quiet")
    assert len(out.read_text().splitlines()) == 5


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 0), (signal.SIGINT, 7)])
def test_signals_end_a_run_with_whole_lines(tmp_path: Path, number: int, code: int) -> None:
    out = tmp_path / "o.jsonl"
    process = subprocess.Popen(
        [*EDGE_FER, "run", "--source", "synthetic", "--sink", f"jsonl:{out}"],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not (out.exists() and out.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(number)
    assert process.communicate(timeout=60)[1]
    assert process.returncode == code
    for line in out.read_text().splitlines():
        json.loads(line)


def test_a_killed_run_loses_nothing_that_was_accepted(tmp_path: Path) -> None:
    out = tmp_path / "o.jsonl"
    command = [*EDGE_FER, "run", "--source", "synthetic", "--sink", f"jsonl:{out}", "-q"]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while not (out.exists() and out.stat().st_size > 3000) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    before = [line for line in out.read_text().splitlines() if line.endswith("}")]
    assert before
    edge_fer("run", "--source", "synthetic?frames=2", "--sink", f"jsonl:{out}", "-q")
    after = out.read_text().splitlines()
    assert after[: len(before)] == before
    assert all(json.loads(line) for line in after[-2:])


def test_a_video_that_ends_mid_frame_is_answered_until_there(clip: Path, tmp_path: Path) -> None:
    cut, out = tmp_path / "cut.mp4", tmp_path / "o.jsonl"
    data = clip.read_bytes()
    whole = tmp_path / "whole.avi"
    # An .avi can be read up to the cut; an .mp4 has its index at the end or the start.
    reader = cv2.VideoCapture(str(clip))
    writer = cv2.VideoWriter(
        str(whole), cv2.VideoWriter.fourcc(*"MJPG"), 25, (int(reader.get(3)), int(reader.get(4)))
    )
    for _ in range(20):
        writer.write(reader.read()[1])
    writer.release()
    reader.release()
    part = tmp_path / "part.avi"
    part.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    done = edge_fer("run", "--source", part, "--sink", f"jsonl:{out}", code=2)
    assert "edge-fer: " in done.stderr
    assert 3 <= len(out.read_text().splitlines()) < 20
    cut.write_bytes(data[: len(data) // 3])
    edge_fer("run", "--source", cut, "--sink", f"jsonl:{tmp_path / 'p.jsonl'}", code=2)


def test_settings_from_a_file_and_the_environment(tmp_path: Path) -> None:
    config = tmp_path / "edge.toml"
    config.write_text('source = "synthetic?frames=3"\n')
    assert edge_fer_json("run", "--config", config)["frames"] == 3
    config.write_text('sorce = "synthetic"\n')
    document = edge_fer_json("run", "--config", config, code=2)
    assert "Did you mean source" in document["error"]["remedy"]


def test_annotating_never_replaces_a_picture_that_was_given(
    astronaut: Path, tmp_path: Path
) -> None:
    own = tmp_path / "own.png"
    shutil.copy(astronaut, own)
    edge_fer("predict", own, "--annotate", tmp_path)
    assert own.read_bytes() == astronaut.read_bytes()
    assert (tmp_path / "own-2.png").exists()


def test_an_unreadable_picture_in_a_folder_is_said_after_the_good_ones(
    astronaut: Path, tmp_path: Path
) -> None:
    shutil.copy(astronaut, tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"cut off")
    shutil.copy(astronaut, tmp_path / "c.png")
    out = tmp_path / "o.jsonl"
    done = edge_fer("run", "--source", tmp_path, "--sink", f"jsonl:{out}", code=2)
    assert "1 of the 3 pictures" in done.stderr
    assert "b.png" in done.stderr
    assert len(out.read_text().splitlines()) == 2


def test_an_annotated_video_keeps_its_frame_rate(clip: Path, tmp_path: Path) -> None:
    edge_fer("run", "--source", clip, "--annotate", tmp_path / "seen.mp4", "-q")
    rates = []
    for path in (clip, tmp_path / "seen.mp4"):
        capture = cv2.VideoCapture(str(path))
        rates.append(capture.get(cv2.CAP_PROP_FPS))
        assert capture.get(cv2.CAP_PROP_FRAME_COUNT) == 72
        capture.release()
    assert rates[1] == pytest.approx(rates[0], rel=0.02)


def test_two_documents_on_stdout_are_refused() -> None:
    words = ("run", "--source", "synthetic?frames=1", "--sink", "jsonl:-", "--json")
    assert json.loads(edge_fer(*words, code=2).stdout)["error"]["code"] == "config"


@pytest.mark.parametrize("words", [["models", "list", "--json"], ["models", "show", "expression"]])
def test_a_full_disk_behind_stdout_is_exit_4(words: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*EDGE_FER, *words], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 4
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


def test_without_stderr_the_answer_still_comes(astronaut: Path) -> None:
    command = " ".join(f"'{w}'" for w in [*EDGE_FER, "predict", str(astronaut)])
    done = subprocess.run(
        ["bash", "-c", f"{command} 2>&-"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert "happiness" in done.stdout


def test_a_fault_of_ours_is_exit_70_and_says_so() -> None:
    code = (
        "import edge_fer.cli.predict as p\n"
        "from edge_fer import cli\n"
        "def predict(json: bool = False) -> None: raise ZeroDivisionError('by accident')\n"
        "p.predict = predict\n"
        "cli.main(['predict'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 70
    assert "ZeroDivisionError" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_within_a_destructor_is_not_lost() -> None:
    # Python swallows what a destructor raises; the interpreters of models have one.
    code = (
        "import os, signal, time\n"
        "import edge_fer.cli.predict as p\n"
        "from edge_fer import cli\n"
        "class Held:\n"
        "    def __del__(self): os.kill(os.getpid(), signal.SIGINT); time.sleep(0)\n"
        "def predict(json: bool = False) -> None:\n"
        "    held = Held(); del held; time.sleep(30)\n"
        "p.predict = predict\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "cli.main(['predict'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (7, "edge-fer: Stopped.\n")


def test_ctrl_c_within_code_from_a_string_has_the_same_exit_code(tmp_path: Path) -> None:
    # Classes of dataclasses and named tuples are made so, hundreds of them by a command's imports.
    (tmp_path / "interrupted.py").write_text(
        "import edge_fer.cli.predict as p\n"
        "from edge_fer import cli\n"
        "def predict(json: bool = False) -> None: exec('raise KeyboardInterrupt')\n"
        "p.predict = predict\n"
        "cli.main(['predict'])\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "interrupted"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (7, "edge-fer: Stopped.\n")


# evaluate and models


def test_evaluate_names_pictures_that_it_left_out(astronaut: Path, tmp_path: Path) -> None:
    (tmp_path / "happy").mkdir()
    shutil.copy(astronaut, tmp_path / "happy" / "a.png")
    (tmp_path / "happy" / "b.png").write_bytes(b"cut off")
    done = edge_fer("evaluate", "expression", "--data", tmp_path)
    assert "b.png" in done.stderr
    assert "n 1" in done.stdout


def test_evaluate_gives_every_field(fer2013: Path) -> None:
    document = edge_fer_json("evaluate", "expression", "--data", fer2013)
    assert document["data"]["n"] == 3199
    assert document["data"]["split"] == "PublicTest"
    assert document["clean"]["n"] == 2948
    assert document["accuracy"] >= 0.865
    low, high = document["ci95"]
    assert low < document["accuracy"] < high
    assert set(document) == {
        "schema", "model", "data", "labels", "accuracy", "ci95", "macro_recall",
        "macro_recall_n50", "macro_f1", "ece",
        "clean", "unknown_rate", "accepted", "per_class", "confusion",
    }  # fmt: skip
    assert list(document["per_class"]) == list(FERPLUS8)
    assert document["accepted"]["coverage"] == pytest.approx(1 - document["unknown_rate"])
    matrix = np.array(document["confusion"])
    assert np.trace(matrix) / matrix.sum() == pytest.approx(document["accuracy"])


def test_spoilt_faces_and_scenes_are_scored(tmp_path: Path) -> None:
    """On ten generated rows and a dozen generated scenes: the fields, not the figures."""
    rng = np.random.default_rng(0)
    np.savez(
        tmp_path / "rows.npz",
        images=rng.integers(0, 256, (10, 48, 48), dtype=np.uint8),
        emotion=np.arange(10, dtype=np.uint8) % 7,
    )
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    for i in range(24):
        cv2.imwrite(str(scenes / f"{i}.png"), rng.integers(0, 256, (60, 60), dtype=np.uint8))
    base = ("evaluate", "expression", "--data", tmp_path / "rows.npz")
    found = edge_fer_json(*base, "--non-faces", scenes)["robustness"]
    assert 0 <= found["accepted_non_faces"] <= 1
    assert found["min_probability"] > 0
    assert set(found["corrupted"]) == set(CORRUPTIONS)
    assert found["corrupted"]["blur"]["all"]["n"] == 30
    assert edge_fer_json(*base, "--robustness")["robustness"]["accepted_non_faces"] is None
    assert "covered mouth" in edge_fer(*base, "--robustness").stdout
    (scenes / "boxes.csv").write_text("image\n")
    for wrong, says in ((scenes, "it has a boxes.csv"), (tmp_path / "gone.zip", "zip file")):
        done = edge_fer(*base, "--non-faces", wrong, code=2)
        assert says in done.stderr


def test_models_list_show_verify() -> None:
    names = [row["name"] for row in edge_fer_json("models", "list")["models"]]
    assert {"expression", "expression.float"} <= set(names)
    assert edge_fer_json("models", "show", "expression")["contract"]["labels"] == list(FERPLUS8)
    for row in edge_fer_json("models", "verify", *names)["models"]:
        assert row["golden"]["max_error"] <= 1
    assert "good" in edge_fer("models", "verify", "expression").stdout


def test_adopt_a_model_without_a_contract(tmp_path: Path, shared: Path, fer2013: Path) -> None:
    """The strongest public peer, adopted: its published accuracy comes out of evaluate."""
    theirs, mine = shared / "models" / "peer_vicksam_ferplus.tflite", tmp_path / "peer.tflite"
    edge_fer(
        "models", "adopt", theirs, "--labels", "ferplus8", "--input-range", "0,1", "-o", mine
    )  # fmt: skip
    assert edge_fer_json("evaluate", mine, "--data", fer2013)["accuracy"] == pytest.approx(
        0.8803, abs=5e-4
    )
    edge_fer(
        "models", "adopt", theirs, "--labels", "a,b", "--input-range", "0,1", "-o", mine, "--force",
        code=2,
    )  # fmt: skip


# bad input


def cases(tmp_path: Path) -> list[tuple[list[str | Path], int, str]]:
    whole = find("expression").read_bytes()
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(whole[: len(whole) // 2])
    empty = tmp_path / "empty"
    empty.mkdir()
    wrong = tmp_path / "wrong.csv"
    wrong.write_text("name,label\na,b\n")
    folder_named_like_a_video = tmp_path / "a.mp4"
    folder_named_like_a_video.mkdir()
    text = tmp_path / "notes.mp4"
    text.write_text("not a video")
    return [
        (["predict", "x.png", "--model", tmp_path / "none.tflite"], 5, "There is no model"),
        (["predict", "x.png", "--model", cut], 5, "cut off"),
        (["predict", "x.png", "--detector", "har"], 2, "Did you mean haar"),
        (["run", "--source", empty], 2, "edge-fer: "),
        (["run", "--source", text], 2, "edge-fer: "),
        (["run", "--source", tmp_path / "none.mp4"], 2, "none.mp4"),
        (["run", "--sink", f"jsonl:{tmp_path}/none/o.jsonl"], 4, "none"),
        (["run", "--source", "synthetic?frames=1", "--annotate", "a.gif"], 2, ".mp4"),
        (["evaluate", "expression", "--data", wrong], 2, "no column emotion"),
        (["evaluate", "expression", "--data", empty], 2, "no pictures"),
        (["evaluate", "expression"], 2, "--data"),
        (["models", "verify", "expresion"], 5, "Did you mean expression"),
        (["nonsense"], 2, "edge-fer --help"),
        (["predict", "x.png", "--detector", "haar?scale_factor=inf"], 2, "at most 2"),
        (
            ["run", "--source", "synthetic?frames=1", "--annotate", folder_named_like_a_video],
            4,
            "a.mp4",
        ),
        (
            [
                "models",
                "adopt",
                find("expression"),
                "--labels",
                "a,b,a",
                "--input-range",
                "0,1",
                "-o",
                tmp_path / "o.tflite",
            ],
            2,
            "a name of its own",
        ),
        (
            [
                "models",
                "adopt",
                find("expression"),
                "--labels",
                "ferplus8",
                "--input-range",
                "0,inf",
                "-o",
                tmp_path / "o.tflite",
            ],
            2,
            "two numbers",
        ),
        (["train", "--data", wrong, "-o", tmp_path / "none" / "m.keras"], 4, "not writable"),
        (["train", "--data", wrong, "-o", tmp_path / "m.h5"], 2, "OUT.keras"),
    ]


@pytest.mark.parametrize("number", range(19))
def test_bad_input_is_one_paragraph_with_its_exit_code(tmp_path: Path, number: int) -> None:
    words, code, says = cases(tmp_path)[number]
    done = edge_fer(*words, code=code)
    assert says in done.stderr
    assert len(done.stderr.strip().split("\n\n")) == 1
    document = edge_fer_json(*words, code=code)
    if words[0] != "predict" or document["schema"] != "edge-fer/predict/1":
        assert document["schema"] == "edge-fer/error/1"
        assert document["error"]["exit_code"] == code


def test_a_full_disk_is_exit_4_and_keeps_what_was_accepted() -> None:
    done = edge_fer("run", "--source", "synthetic?frames=3", "--sink", "jsonl:/dev/full", code=4)
    assert "edge-fer: " in done.stderr


def test_a_reader_that_went_away_is_no_error(astronaut: Path) -> None:
    command = " ".join(f"'{w}'" for w in [*EDGE_FER, "predict", *[str(astronaut)] * 40])
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | head -n 1"],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    assert "Traceback" not in done.stderr
    assert "astronaut" in done.stdout


def test_every_command_has_help_with_an_example() -> None:
    for words in (
        ["predict"], ["run"], ["evaluate"], ["convert"], ["train"], ["benchmark"],
        ["models", "list"], ["models", "show"], ["models", "verify"], ["models", "adopt"],
            ["status"], ["doctor"],
    ):  # fmt: skip
        assert "Example: edge-fer " in " ".join(edge_fer(*words, "--help").stdout.split())
