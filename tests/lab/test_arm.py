"""The device set as a Pi has it: aarch64 wheels on both runtimes, run under emulation.

It proves that the wheels are there and import, and that every shipped model computes what it did
where it was made. It says nothing of speed.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import pytest
from needs import run_script, workplace

from edge_fer.cameras import open_camera
from edge_fer.models import load, shipped

TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "qemu-aarch64-static": "qemu-user-static",
    "update-binfmts": "binfmt-support",
}
RUNTIMES = ("litert", "tflite-runtime")
# Of a Zero 2 W, a Pi 4 and a Pi 5; XNNPACK has kernels of its own for each.
PROCESSORS = {
    "litert": ("cortex-a53", "cortex-a72", "cortex-a76"),
    "tflite-runtime": ("cortex-a72",),
}
TRIED = [(runtime, processor) for runtime in RUNTIMES for processor in PROCESSORS[runtime]]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with face.png: two drawn faces."""
    folder = tmp_path_factory.mktemp("pictures")
    frame = open_camera("synthetic?size=640x480&faces=2&frames=1&seed=3").read()
    assert frame is not None
    assert frame.colour is not None
    cv2.imwrite(str(folder / "face.png"), cv2.cvtColor(frame.colour, cv2.COLOR_RGB2BGR))
    return folder


@pytest.fixture(scope="module")
def found(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the emulated device printed."""
    work = workplace(tmp_path_factory.mktemp("arm"), TOOLS, lane="arm")
    code, said = run_script("arm.sh", work, pictures)
    assert code == 0, said[-8000:]
    return work / "found"


@pytest.mark.parametrize(("runtime", "processor"), TRIED)
def test_every_shipped_model_computes_the_same(found: Path, runtime: str, processor: str) -> None:
    which = f"{runtime}-{processor}"
    assert (found / f"machine-{which}.txt").read_text().startswith("aarch64 3.11.")
    rows = {Path(row["path"]).stem: row for row in document(found, "verify", which)["models"]}
    assert rows.keys() == shipped().keys()
    for name, row in rows.items():
        contract = load(name).contract
        assert row["sha256"] == load(name).sha256
        assert row["backend"].startswith(runtime)
        assert contract.golden is not None
        assert row["golden"]["n"] == contract.golden.n > 0
        error = row["golden"]["max_error"]
        int8 = contract.quantisation.scheme == "int8"
        # A detector's outputs have finer steps than all kernels agree on; its contract says how
        # many. LiteRT's are the same ones everywhere.
        strict = runtime == "litert" or contract.task.startswith("expression")
        steps = 1 if strict else contract.golden.max_steps
        allowed = steps if int8 else 1e-3
        unit = " steps" if int8 else ""
        say(f"{name}: off by {error:.3g}{unit}, allowed {allowed:g}; {row['backend']}")
        assert error <= allowed
        if runtime == "litert":
            assert "XNNPACK" in row["backend"]


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_picture_means_the_same(found: Path, pictures: Path, runtime: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "edge_fer", "predict", pictures / "face.png", "--json"],
        check=True,
        capture_output=True,
    )
    (here,) = json.loads(ran.stdout)["images"]
    (there,) = document(found, "predict", runtime)["images"]
    assert len(here["faces"]) == len(there["faces"]) == 2
    for ours, theirs in zip(here["faces"], there["faces"], strict=True):
        assert theirs["expression"] == ours["expression"]
        assert theirs["box"] == pytest.approx(ours["box"], abs=0.02 * ours["box"][2])
        assert theirs["probabilities"] == pytest.approx(ours["probabilities"], abs=0.05)
        say(f"{theirs['expression']} at {[round(v) for v in theirs['box']]}")


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_it_runs(found: Path, runtime: str) -> None:
    summary = document(found, "run", runtime)
    assert (summary["frames"], summary["ended_by"]) == (3, "source")
    lines = (found / f"{runtime}.jsonl").read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [record["seq"] for record in records] == [0, 1, 2]
    assert all(record["faces"] for record in records)
    say(f"{len(records)} records, {summary['faces']} faces")


def document(found: Path, command: str, runtime: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((found / f"{command}-{runtime}.json").read_text())
    return content


def say(text: str) -> None:
    sys.stdout.write(f"      {text}\n")
