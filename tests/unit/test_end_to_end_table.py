"""The README's table of whole frames is what was measured, and keeps what is promised."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "benchmarks" / "end_to_end.json").read_text())
    return found


def test_the_table_is_in_the_readme(measured: dict[str, Any]) -> None:
    pytest.importorskip("ai_edge_litert", reason="the script needs LiteRT itself")
    from end_to_end import section

    assert section(measured) in (ROOT / "README.md").read_text()


def test_it_keeps_what_is_promised(measured: dict[str, Any]) -> None:
    ratio = {name: entry["ours_over_theirs"] for name, entry in measured["entrants"].items()}
    assert ratio["PyPI fer"][0] <= 1 / 20
    assert ratio["a plain loop of YuNet and vicksam/fer-model"][0] <= 0.8
    assert all(entry["frames_with_faces"] >= 0.9 for entry in measured["entrants"].values())
    assert measured["beside_the_networks_ms"]["p50"] <= 0.8
    assert measured["further_faces"]["ratio"] <= 1.3
    assert measured["cold_start_ms"] <= 1000
