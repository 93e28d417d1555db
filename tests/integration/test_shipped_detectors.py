"""The detectors in the box keep their budgets, and find what the README says."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter
from shipped_models import DETECTORS

from edge_fer.assemble import open_model
from edge_fer.detectors import open_detector
from edge_fer.evaluation.boxes import FRAME, read_scenes
from edge_fer.evaluation.detector import Entrant, evaluate_detectors, low_twin
from edge_fer.graphfile import read_graph
from edge_fer.modelfile import read_model
from edge_fer.models import find

ROOT = Path(__file__).resolve().parents[2]
# The crowd far off in a scene that is said to have no face.
CROWD = "stadium_football_sun_bzdvbhfueegligps.jpg"
# Average precision of OpenCV's better cascade on the same scenes, in the same run (README).
HAAR_AP50 = 0.41


def test_two_detectors_of_one_net_ship() -> None:
    assert sorted(DETECTORS) == ["face", "face-region"]
    face, region = (read_model(find(name)).contract for name in ("face", "face-region"))
    assert face.detection == region.detection
    assert face.input.height * face.input.width > region.input.height * region.input.width
    graphs = [read_graph(read_model(find(name)).flatbuffer) for name in ("face", "face-region")]
    assert graphs[0].parameters == graphs[1].parameters


@pytest.mark.parametrize("name", DETECTORS)
def test_size_and_cost_are_within_the_budget(name: str) -> None:
    model = read_model(find(name))
    assert find(name).stat().st_size <= 250_000
    macs = read_graph(model.flatbuffer).macs
    assert macs is not None
    assert macs <= 35e6


@pytest.mark.parametrize("name", DETECTORS)
def test_everything_in_it_is_integers_and_the_golden_vectors_hold(name: str) -> None:
    flatbuffer = read_model(find(name)).flatbuffer
    interpreter = Interpreter(model_content=flatbuffer, num_threads=1)
    kinds = {tensor["dtype"] for tensor in interpreter.get_tensor_details()}
    assert kinds <= {np.int8, np.int32}
    loaded = open_model(name)
    assert loaded.check_golden() is not None
    loaded.close()


def test_what_it_was_made_from_is_recorded() -> None:
    folder = ROOT / "converters" / "models"
    record = json.loads((folder / "face.run.json").read_text())
    contract = read_model(find("face")).contract
    assert contract.provenance["macs"] == record["macs"]
    assert contract.provenance["trained_on"] == record["trained_on"]
    report = json.loads((folder / "face.report.json").read_text())
    sha256 = hashlib.sha256((folder / "face.keras").read_bytes()).hexdigest()
    assert report["model"]["sha256"] == contract.provenance["converted_from_sha256"] == sha256


def test_group_photos_and_scenes_without_faces(shared: Path) -> None:
    entrants = {"face": Entrant(detector=open_detector("face"), low=None)}
    groups = read_scenes(shared / "data" / "group_photos.zip")
    few = evaluate_detectors(entrants, groups, min_height=0)["face"].to_json({})
    assert few["faces"] == 43
    assert few["found"] >= 38
    assert few["extra"] <= 4
    scenes = read_scenes(shared / "data" / "nonface_scenes.zip", split="test", leave_out=[CROWD])
    none = evaluate_detectors(entrants, scenes)["face"].to_json({})["face_free"]
    assert none["n"] == 43
    assert none["share"] <= 0.03


def test_it_finds_more_than_haar_on_crowded_scenes(shared: Path) -> None:
    twin = low_twin("face")
    assert twin is not None
    entrants = {"face": Entrant(detector=open_detector("face"), low=open_detector(twin))}
    scenes = read_scenes(shared / "data" / "faceboxes_dev.zip")
    found = evaluate_detectors(entrants, scenes, fit=FRAME)["face"].to_json({})
    assert found["ap50"] > HAAR_AP50


def test_a_region_shows_what_the_whole_frame_shows(shared: Path) -> None:
    """The smaller twin, looking near each face, finds no fewer of them."""
    whole, near = open_detector("face"), open_detector("face-region")
    hits, again = 0, 0
    for scene in read_scenes(shared / "data" / "group_photos.zip").scenes:
        view = scene.view()
        for label in view.faces:
            side = 2.5 * max(label.box.w, label.box.h)
            centre = (label.box.x + label.box.w / 2, label.box.y + label.box.h / 2)
            region = type(label.box)(x=centre[0] - side / 2, y=centre[1] - side / 2, w=side, h=side)
            hits += any(f.box.iou(label.box) >= 0.3 for f in whole.detect(view.frame))
            again += any(
                f.box.iou(label.box) >= 0.3
                for f in near.detect_in(view.frame, region)  # type: ignore[attr-defined]
            )
    assert again >= hits > 0
