"""A sweep of shipped models and real detectors: its form and its counts, never its times."""

from __future__ import annotations

import json
from xml.etree import ElementTree

from edge_fer.config import load_settings
from edge_fer_bench.sweep.sweep import measure_sweep

MODELS = ["expression", "expression-nano"]
# A small scene, in which Haar is quick.
SOURCE = "synthetic?size=160x120&faces=1"


def test_two_models_and_two_detectors_beside_each_other() -> None:
    told: list[tuple[float, float]] = []
    skipped: list[str] = []
    found = measure_sweep(
        load_settings(),
        models=MODELS,
        detectors=["face", "haar?min_size=70", "haar?cascade=nosuch"],
        threads=[1],
        sources=[SOURCE],
        seconds=0.0,
        on_progress=lambda *at: told.append(at),
        on_skip=skipped.append,
    )
    assert [(v.variant.model, v.variant.detector) for v in found.variants] == [
        (model, detector) for model in MODELS for detector in ("face", "haar?min_size=70")
    ]
    assert (found.rounds, found.frames) == (6, 10)
    assert told[-1] == (6 + 6 * 4, 6 + 6 * 4)
    assert len(skipped) == 2
    assert all("no cascade 'nosuch'" in why for why in skipped)
    for v in found.variants:
        assert v.frames == 60
        assert (v.width, v.height) == (160, 120)
        # One face in every frame; the quality gate may keep some from being classified.
        assert 0.5 < v.faces <= 1.0
        assert v.classify_ms is not None
        assert 0 < v.work_ms < v.mean_ms
        assert v.p99_ms is None  # a few blocks are too few frames for it
        assert v.share is not None
        assert not v.measured
    assert found.variants[0].ratio.median == 1.0
    face, haar, *_ = found.variants
    assert face.share == haar.share
    assert face.size_kb != haar.size_kb
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert [v["detector"] for v in document["variants"]] == ["face", "haar?min_size=70"] * 2
    assert {s["detector"] for s in document["skipped"]} == {"haar?cascade=nosuch"}
    assert len(found.grids[0].rows) == 4
    (figure,) = found.figures
    dots = ElementTree.fromstring(str(figure.svg)).iter("circle")  # noqa: S314 - our own
    assert len([dot for dot in dots if dot.find("title") is not None]) == 4
