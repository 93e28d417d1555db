"""The README's words about a frame's parts are what was measured, and keep what is promised."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))

# Nine measurements gave 1.71 to 1.77 on one virtual machine whose milliseconds went from 0.76 to
# 1.15 meanwhile. Beside busy programs it was 1.94 and 2.16: then measure again on a quiet machine.
MOST_BESIDE_THE_NETWORKS = 2.0


@pytest.fixture(scope="module")
def measured() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / "benchmarks" / "end_to_end.json").read_text())
    return found


def test_the_words_are_in_the_readme(measured: dict[str, Any]) -> None:
    from end_to_end import section

    assert section(measured) in (ROOT / "README.md").read_text()


def test_it_keeps_what_is_promised(measured: dict[str, Any]) -> None:
    beside = measured["beside_the_networks_ms"]
    low, high = beside["of_the_networks_range"]
    assert low <= beside["of_the_networks"] <= high
    assert beside["of_the_networks"] <= MOST_BESIDE_THE_NETWORKS
    assert measured["further_faces"]["ratio"] <= 1.3
    assert measured["cold_start_ms"] <= 1000


def test_how_long_a_frame_takes_is_measured_by_one_script(measured: dict[str, Any]) -> None:
    from end_to_end import section

    assert "frame_ms" not in measured
    assert not re.search(r"a frame takes [\d.]+ ms", section(measured))
    text = (ROOT / "README.md").read_text()
    assert "(#against-other-projects)" in section(measured)
    assert "\n### Against other projects\n" in text


def test_what_is_beside_the_networks_is_counted_by_picture() -> None:
    from end_to_end import beside_the_networks

    pictures = [np.zeros((48, 64, 3), np.uint8)] * 3
    told: list[tuple[int, int]] = []
    beside = beside_the_networks(pictures, 2, lambda *at: told.append(at))
    assert told == [(0, 2), (1, 2), (2, 2)]
    assert 0 < beside["p50"] <= beside["p90"]
    assert beside["networks_p50"] > 0
    low, high = beside["of_the_networks_range"]
    assert 0 < low <= beside["of_the_networks"] <= high


def test_wrong_use_is_said() -> None:
    from end_to_end import main

    with pytest.raises(typer.BadParameter, match="either --video or --from"):
        main()
