"""The soak's own figures, on a short one: what months of uptime rest on is measured at all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def soak(folder: Path, *options: str) -> dict[str, object]:
    out = folder / "soak.json"
    done = subprocess.run(
        [sys.executable, ROOT / "benchmarks" / "soak.py", "--json", out, *options],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"XDG_CONFIG_HOME": str(folder)},
    )
    assert done.returncode == 0, done.stderr
    assert "records dropped" in done.stdout
    found: dict[str, object] = json.loads(out.read_text())
    return found


@pytest.mark.slow
def test_nothing_is_dropped_and_nothing_stays_open(tmp_path: Path) -> None:
    found = soak(tmp_path, "--frames", "1500", "--block", "1")
    blocks = found["blocks"]
    assert isinstance(blocks, list)
    assert found["dropped"] == found["dropped_frames"] == 0
    assert blocks[-1]["frames"] == blocks[-1]["camera"]["captured"] == 1500
    assert blocks[-1]["camera"]["missed"] == blocks[-1]["camera"]["reopened"] == 0
    assert blocks[-1]["faces"] > 1500
    assert len({block["open_files"] for block in blocks[1:]}) == 1
    assert float(str(found["growth_mb"])) < 20
    held = found["blocked_sink"]
    assert isinstance(held, dict)
    # Nobody waited for the sink that blocked, and it got everything once it could.
    assert held["dropped"] == 0
    assert held["frames"]["blocked"] > 10
    assert held["accepted"] == held["frames"]["free"] + held["frames"]["blocked"]


@pytest.mark.slow
def test_memory_does_not_grow(tmp_path: Path) -> None:
    # Buffers of the last minutes fill in the first five thousand frames.
    frames, growth = (200_000, 2) if os.environ.get("EDGE_FER_LONG") == "1" else (20_000, 4)
    found = soak(tmp_path, "--frames", str(frames))
    assert found["dropped"] == found["dropped_frames"] == 0
    assert float(str(found["growth_mb"])) <= growth
    assert float(str(found["rss_mb"])) <= 130
