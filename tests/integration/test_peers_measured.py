"""The comparison with the real peers, on few rows, as a user runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from peers.pypi_fer import VENV
from peers.vicksam import INT8_NAME, NAME

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "benchmarks" / "peers" / "compare.py"


def run(*words: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """The script from another folder, with nothing of the repository on the path."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, str(SCRIPT), *map(str, words)],
        cwd=folder,
        env=clean,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def small(fer2013: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few hundred rows of each split, and PublicTest copies of Training rows among them."""
    path = tmp_path_factory.mktemp("peers") / "fer2013.npz"
    with np.load(fer2013) as data:
        rng = np.random.default_rng(1)
        kept = np.concatenate(
            [
                np.sort(rng.choice(np.flatnonzero(data["usage"] == usage), n, replace=False))
                for usage, n in ((0, 400), (1, 240))
            ]
        )
        np.savez(path, **{k: data[k][kept] for k in ("images", "emotion", "usage", "ferplus")})
    return path


@pytest.fixture(scope="module")
def document(shared: Path, small: Path) -> dict[str, Any]:
    peer = shared / "models" / "peer_vicksam_ferplus.tflite"
    if not peer.exists():
        pytest.skip(f"no {peer}")
    out = small.with_name("results.json")
    words = ["--data", small, "--peer", peer, "--json", out, "--markdown", "table.md"]
    done = run(*words, "--rounds", "2", "--calls", "3", folder=small.parent)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "FER+ majority labels, 8 classes" in done.stdout
    found: dict[str, Any] = json.loads(out.read_text())
    assert (small.parent / "table.md").read_text().count("\n| ") >= len(found["entrants"])
    return found


def accuracy(document: dict[str, Any], scheme: str, name: str) -> float:
    (table,) = (t for t in document["tables"] if t["scheme"] == scheme)
    scores = [s for s in table["scores"] if s["entrant"].startswith(name)]
    return float(scores[-1]["accuracy"])


def test_the_published_file_is_as_good_as_its_author_says(document: dict[str, Any]) -> None:
    # 88 % on all rows; a wrong label order or input range would leave less than half.
    assert accuracy(document, "ferplus8", NAME) > 0.8
    (entrant,) = (e for e in document["entrants"] if e["name"] == NAME)
    assert entrant["size_bytes"] == 691_988
    assert entrant["numbers"] == "float32"


def test_its_int8_version_is_full_integer_and_near_it(document: dict[str, Any]) -> None:
    if find_spec("tensorflow") is None:
        pytest.skip("no TensorFlow to quantise with")
    (entrant,) = (e for e in document["entrants"] if e["name"] == INT8_NAME)
    assert 240_000 < entrant["size_bytes"] < 270_000
    gap = accuracy(document, "ferplus8", NAME) - accuracy(document, "ferplus8", INT8_NAME)
    assert abs(gap) < 0.06


def test_fer_is_measured_where_its_environment_is(document: dict[str, Any]) -> None:
    if not VENV.exists():
        (skipped,) = (one for one in document["skipped"] if one["name"] == "fer")
        assert "--make-venv" in skipped["reason"]
        pytest.skip(f"no {VENV.name}; make it with: python benchmarks/peers/compare.py --make-venv")
    # 66 and 67 % on all rows.
    assert accuracy(document, "fer2013-7", "fer ") > 0.55
    assert accuracy(document, "ferplus8", "fer ") > 0.55


def test_help_needs_nothing_but_the_script(tmp_path: Path) -> None:
    done = run("--help", folder=tmp_path)
    assert done.returncode == 0
    assert "--make-venv" in done.stdout
