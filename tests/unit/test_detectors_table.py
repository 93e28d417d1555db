"""The README's table of detectors is what was measured, and keeps what is promised of ours."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
from detectors import ALT2, HAAR, YUNET, detectors_table  # noqa: E402


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "benchmarks" / "detectors.json").read_text())
    return found["detectors"]  # type: ignore[no-any-return]


def test_every_line_of_the_table_is_in_the_readme(measured: dict[str, Any]) -> None:
    assert detectors_table(measured) in (ROOT / "README.md").read_text()


def test_ours_is_better_than_both_cascades_on_every_line(measured: dict[str, Any]) -> None:
    ours = measured["face"]
    for peer in (HAAR, ALT2):
        theirs = measured[peer]
        assert ours["boxes"]["ap50"] > theirs["boxes"]["ap50"]
        assert ours["boxes"]["precision"] > theirs["boxes"]["precision"]
        assert ours["groups"]["found"] > theirs["groups"]["found"]
        assert ours["scenes"]["face_free"]["share"] <= theirs["scenes"]["face_free"]["share"]
        assert ours["end_to_end"]["gray"]["recall"] > theirs["end_to_end"]["gray"]["recall"]
    took = {name: each["boxes"]["latency_ms"]["p50"] for name, each in measured.items()}
    assert took["face"] < took[HAAR] / 15
    assert took["face"] < took[YUNET]


def test_what_the_crop_costs_at_the_end_of_the_pipeline(measured: dict[str, Any]) -> None:
    for kind in ("colour", "gray"):
        end = measured["face"]["end_to_end"][kind]
        assert end["recall"] >= 0.9
        assert end["accuracy_given_of_found"] - end["accuracy_found"] <= 0.03
