"""The clips: one person followed as one, and no longer than he is there."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from edge_fer.assemble import build
from edge_fer.cameras import open_camera
from edge_fer.config import load_settings
from edge_fer.detectors import open_detector
from edge_fer.tracking import Tracker
from edge_fer.types import Detector, Face, Frame

# The frame of face_noface.mov in which the cartoon's title has taken the man's place.
GONE = 85
Faces = list[tuple[Face, ...]]


@pytest.fixture(params=["haar?min_size=90", "blazeface_full_range", "blazeface_front_2019"])
def detector(request: pytest.FixtureRequest, shared: Path) -> Iterator[Detector]:
    name = request.param
    if name.startswith("blazeface"):
        file = shared / "models" / f"{name}.tflite"
        if not file.exists():
            pytest.skip(f"no {file}")
        name = str(file)
    opened = open_detector(name)
    yield opened
    opened.close()


def clip(shared: Path, name: str) -> Path:
    path = shared / "data" / "clips" / name
    if not path.exists():
        pytest.skip(f"no {path}")
    return path


def over(path: Path, find: Callable[[Frame], tuple[Face, ...]]) -> Faces:
    camera = open_camera(str(path))
    found = []
    while (frame := camera.read()) is not None:
        found.append(find(frame))
    camera.close()
    return found


def unrest(found: Faces) -> float:
    """How far centre and width jump from frame to frame, relative to the width."""
    rows = np.array([[b.x + b.w / 2, b.y + b.h / 2, b.w] for f in found for b in (f[0].box,)])
    return float(np.diff(rows, axis=0).std(axis=0).sum() / rows[:, 2].mean())


def test_one_person_is_one_track(detector: Detector, shared: Path) -> None:
    path = clip(shared, "single_face.mp4")
    tracker = Tracker(detector)
    searches = []

    def find(frame: Frame) -> tuple[Face, ...]:
        faces = tracker.update(frame)
        searches.append(tracker.search)
        return faces

    found = over(path, find)
    assert [[f.track for f in faces] for faces in found] == [[0]] * 72
    assert sum(s.missed for s in searches) == 0
    if hasattr(detector, "detect_in"):
        assert [n for n, s in enumerate(searches) if s.full_frame] == list(range(0, 72, 10))


def test_the_track_ends_when_the_face_is_gone(detector: Detector, shared: Path) -> None:
    tracker = Tracker(detector)
    found = over(clip(shared, "face_noface.mov"), tracker.update)
    assert len(found) == 169
    tracks = Counter(f.track for faces in found[:70] for f in faces)
    man, frames = tracks.most_common(1)[0]
    assert frames >= 69
    assert not any(f.track == man for faces in found[GONE:] for f in faces)


def test_the_boxes_are_steadier_than_those_of_haar(shared: Path) -> None:
    path = clip(shared, "single_face.mp4")
    haar = open_detector("haar?min_size=90")
    assert unrest(over(path, Tracker(haar).update)) < 0.7 * unrest(over(path, haar.detect))


def test_observations_carry_the_track(shared: Path) -> None:
    source = str(clip(shared, "single_face.mp4"))
    given = {"source": source, "detector": "haar?min_size=90"}
    for more, track in (({}, 0), ({"track": False}, None)):
        running = build(load_settings(overrides={**given, **more}))
        for _ in range(3):
            observation = running.step()
            assert observation is not None
            assert [f.face.track for f in observation.faces] == [track]
            assert ("track" in observation.timings_ms) == (track is not None)
        running.close()


def edge_fer_run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from edge_fer.cli import main; main()", "run", "--json"]
    source = ["--source", "synthetic?frames=9", "--detector", "haar?min_size=70"]
    return subprocess.run([*command, *source, *words], capture_output=True, text=True, check=False)


def test_the_flags_and_what_the_command_says_of_them() -> None:
    done = edge_fer_run("--detect-every", "4", "--max-faces", "1")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["faces"] == 9
    assert document["tracking"] == {"tracks": 1, "full_frames": 3, "regions": 6, "missed": 0}
    done = edge_fer_run("--no-track")
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert (document["faces"], document["tracking"]) == (18, None)


@pytest.mark.parametrize(
    ("flag", "setting"), [("--detect-every", "track_interval"), ("--max-faces", "max_faces")]
)
def test_a_flag_below_one_is_explained(flag: str, setting: str) -> None:
    done = edge_fer_run(flag, "0")
    assert done.returncode == 2
    assert setting in json.loads(done.stdout)["error"]["message"]
