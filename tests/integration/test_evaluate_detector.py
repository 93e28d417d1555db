"""``edge-fer evaluate --detector`` as a user runs it: in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

EVALUATE = [sys.executable, "-c", "from edge_fer.cli import main; main()", "evaluate"]


def evaluate(*words: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*EVALUATE, *map(str, words)], capture_output=True, text=True, check=False
    )
    assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


def evaluated(*words: str | Path, code: int = 0) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(evaluate(*words, "--json", code=code).stdout)
    return document


@pytest.fixture(scope="module")
def astronaut(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One picture with a face, one without, and one that is damaged."""
    from skimage.data import astronaut as picture

    folder = tmp_path_factory.mktemp("scenes")
    cv2.imwrite(str(folder / "face.png"), picture()[:, :, ::-1])
    cv2.imwrite(str(folder / "none.png"), np.full((240, 320, 3), 128, np.uint8))
    (folder / "bad.png").write_bytes(b"\x89PNG")
    (folder / "boxes.csv").write_text(
        "image,x1,y1,x2,y2\nface.png,177,66,272,161\nnone.png,,,,\nbad.png,1,1,60,60\n"
    )
    return folder


def test_one_face_one_scene_without_and_a_damaged_picture(astronaut: Path) -> None:
    done = evaluate("--detector", "haar", "--data", astronaut, "--json")
    document = json.loads(done.stdout)
    assert document["schema"] == "edge-fer/evaluate-detector/1"
    assert document["detector"]["name"] == "haar"
    assert (document["faces"], document["found"], document["extra"]) == (1, 1, 0)
    assert document["ap50"] == document["ap30"] == document["recall"] == 1
    assert document["by_size"]["60-100"]["n"] == 1
    assert document["face_free"]["n"] == 1
    assert document["data"]["n"] == 2
    assert [name for name, _ in document["data"]["skipped"]] == ["bad.png"]
    assert "left out: bad.png" in done.stderr
    assert document["latency_ms"]["p50"] > 0
    assert "conditions" not in document


def test_words_for_people_with_conditions(astronaut: Path) -> None:
    out = evaluate("--detector", "haar", "--data", astronaut, "--robustness").stdout
    for words in ("AP at IoU 0.5", "1.000", "found 1, extra 0", "masked", "half profile"):
        assert words in out
    assert "ms a frame" in out
    assert "0 of 1 with a false positive" in out


def test_faces_below_the_least_height_do_not_count(astronaut: Path) -> None:
    document = evaluated("--detector", "haar", "--data", astronaut, "--min-height", "0.5")
    assert (document["faces"], document["ignored"], document["extra"]) == (0, 1, 0)
    assert document["ap50"] is None
    assert document["recall"] is None
    out = evaluate("--detector", "haar", "--data", astronaut, "--min-height", "0.5").stdout
    assert "0 faces count: all that are labelled are below --min-height" in out
    assert "found 0, extra 0; not counted: 1 face below 50.0 %" in out


def test_one_is_no_plural(astronaut: Path) -> None:
    out = evaluate("--detector", "haar", "--data", astronaut, "--leave-out", "none.png").stdout
    assert ", 1 scene\n" in out
    assert "1 face " in out
    assert "1 faces" not in out


def test_help_says_what_a_size_and_the_whole_are() -> None:
    text = " ".join(evaluate("--help").stdout.replace("│", " ").split())
    assert "its longer side as a fraction of the picture's height" in text
    assert "with --detector everything" in text


def test_a_frame_and_pictures_left_out(astronaut: Path) -> None:
    document = evaluated(
        "--detector", "haar", "--data", astronaut, "--frame", "320x240", "--leave-out", "bad.png"
    )
    assert document["frame"] == [320, 240]
    assert document["data"]["skipped"] == []
    assert document["found"] == 1


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "neither a MODEL nor a --detector"),
        (("expression", "--detector", "haar"), "cannot be scored in one go"),
        (("expression", "--min-height", "0.1"), "--min-height goes with --detector only"),
        (("expression", "--leave-out", "a.png"), "--leave-out goes with --detector only"),
        (("--detector", "haar", "--ferplus", "x.csv"), "--ferplus goes with a MODEL only"),
        (("--detector", "haar", "--frame", "640"), "--frame cannot be '640'"),
        (("--detector", "haar", "--frame", "0x480"), "--frame cannot be '0x480'"),
        (("--detector", "haar", "--min-height", "1.5"), "--min-height"),
        (("--detector", "haar", "--split", "PublicTest"), "no split 'PublicTest'"),
        (("--detector", "hear"), "Did you mean haar?"),
        (("--detector", "haar", "--leave-out", "nine.png"), "Did you mean none.png?"),
    ],
)
def test_usage_errors(astronaut: Path, words: tuple[str, ...], said: str) -> None:
    done = evaluate(*words, "--data", astronaut, "--json", code=2)
    error = json.loads(done.stdout)["error"]
    assert said in f"{error['message']} {error['remedy']}"
    assert error["exit_code"] == 2


def test_data_that_cannot_be_used(tmp_path: Path, astronaut: Path) -> None:
    cut = tmp_path / "cut.zip"
    cut.write_bytes(b"PK\x03\x04" + bytes(40))
    for data, said in (
        (cut, "cannot be read"),
        (tmp_path / "nothing", "cannot be read"),
        (tmp_path, "no pictures"),
        (astronaut / "face.png", "cannot be read"),
    ):
        error = evaluated("--detector", "haar", "--data", data, code=2)["error"]
        assert said in error["message"]
        assert error["remedy"]


def test_pictures_without_boxes_are_taken_to_have_no_face(astronaut: Path, tmp_path: Path) -> None:
    (tmp_path / "face.png").write_bytes((astronaut / "face.png").read_bytes())
    done = evaluate("--detector", "haar", "--data", tmp_path, "--json")
    assert "has no boxes.csv" in done.stderr
    document = json.loads(done.stdout)
    assert document["faces"] == 0
    assert document["face_free"]["scenes_with"] == 1
    out = evaluate("--detector", "haar", "--data", tmp_path).stdout
    assert "0 faces count: none is labelled" in out
    assert "found 0, extra 1" in out


def test_group_photos(shared: Path) -> None:
    """Haar as edge-fer uses it: 38 of 43, none too many."""
    data = shared / "data" / "group_photos.zip"
    document = evaluated("--detector", "haar", "--data", data, "--min-height", "0")
    assert (document["faces"], document["found"], document["extra"]) == (43, 38, 0)


def test_the_test_part_of_the_scenes_without_faces(shared: Path) -> None:
    data = shared / "data" / "nonface_scenes.zip"
    crowd = "stadium_football_sun_bzdvbhfueegligps.jpg"
    words = ("--detector", "haar?min_size=60", "--data", data, "--split", "test")
    document = evaluated(*words, "--leave-out", crowd)
    assert document["face_free"]["n"] == 43
    assert document["data"]["labelled"] is False
