"""The README's words about whole frames are what was measured, and keep what is promised."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "benchmarks" / "end_to_end.json").read_text())
    return found


def test_the_words_are_in_the_readme(measured: dict[str, Any]) -> None:
    from end_to_end import section

    assert section(measured) in (ROOT / "README.md").read_text()


def test_it_keeps_what_is_promised(measured: dict[str, Any]) -> None:
    assert measured["frame_ms"]["tracked"] < measured["frame_ms"]["untracked"]
    assert measured["beside_the_networks_ms"]["p50"] <= 0.8
    assert measured["further_faces"]["ratio"] <= 1.3
    assert measured["cold_start_ms"] <= 1000


def test_tracking_and_not_tracking_see_every_picture_in_turns() -> None:
    from end_to_end import beside_the_networks, whole_frames

    pictures = [np.zeros((48, 64, 3), np.uint8)] * 3
    told: list[tuple[int, int]] = []
    found = whole_frames(pictures, 2, lambda *at: told.append(at))
    assert set(found) == {"tracked", "untracked"}
    assert min(found.values()) > 0
    assert told == [(0, 2), (1, 2), (2, 2)]
    beside = beside_the_networks(pictures, 2)
    assert 0 < beside["p50"] <= beside["p90"]


def test_wrong_use_is_said() -> None:
    from end_to_end import main

    with pytest.raises(typer.BadParameter, match="either --video or --from"):
        main()
