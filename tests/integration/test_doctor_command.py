"""``edge-fer doctor`` as a user runs it."""

from __future__ import annotations

import importlib.util
import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from stub_delegate import build_stub, compiled_stand_in

from edge_fer.modelfile import embed
from edge_fer.models import load

EDGE_FER = [sys.executable, "-c", "from edge_fer.cli import main; main()"]
GROUPS = ["software", "board", "cameras", "edge tpu", "storage", "models", "service"]
STATES = {"ok", "warning", "problem", "not_applicable"}


def edge_fer(*words: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*EDGE_FER, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_CONFIG_HOME": "/nonexistent", **variables},
    )
    assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture(scope="module")
def healthy() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(edge_fer("doctor", "--json").stdout)
    return document


def test_the_document(healthy: dict[str, Any]) -> None:
    assert healthy["schema"] == "edge-fer/doctor/1"
    assert healthy["healthy"] is True
    assert list(healthy["groups"]) == GROUPS
    findings = [f for group in healthy["groups"].values() for f in group]
    assert sum(healthy["counts"].values()) == len(findings)
    for finding in findings:
        assert set(finding) == {"name", "state", "message", "remedy"}
        assert finding["state"] in STATES
        assert bool(finding["remedy"]) == (finding["state"] in ("warning", "problem"))
    by_name = {f["name"]: f for f in findings}
    assert by_name["models"]["state"] == "ok"
    assert sys.version.split()[0] in by_name["Python"]["message"]
    assert healthy["camera"] is None


def test_lines_where_there_is_no_terminal() -> None:
    done = edge_fer("doctor")
    lines = done.stdout.splitlines()
    assert lines[0].startswith("ok       software: Python: Python 3.")
    assert "\x1b" not in done.stdout
    assert edge_fer("doctor", "--quiet").stdout.count("\nok ") == 0


def test_a_table_on_a_terminal() -> None:
    leader, follower = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"}
    env.pop("NO_COLOR", None)
    with subprocess.Popen([*EDGE_FER, "doctor"], stdout=follower, stderr=follower, env=env) as run:
        os.close(follower)
        shown = b""
        while True:
            try:
                part = os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            shown += part
    os.close(leader)
    assert run.returncode == 0
    assert b"\x1b[" in shown
    assert b"edge tpu" in shown
    assert b"ok       software" not in shown


def test_a_problem_is_exit_code_4_and_the_document_is_whole(tmp_path: Path) -> None:
    (tmp_path / "edge-fer").mkdir()
    (tmp_path / "edge-fer/config.toml").write_text("sauce = 1\n")
    done = edge_fer("doctor", "--json", code=4, XDG_CONFIG_HOME=str(tmp_path))
    document = json.loads(done.stdout)
    assert document["healthy"] is False
    assert document["counts"]["problem"] == 1
    (settings,) = [f for f in document["groups"]["service"] if f["name"] == "settings"]
    assert "Did you mean source" in settings["remedy"]
    done = edge_fer("doctor", code=4, XDG_CONFIG_HOME=str(tmp_path))
    assert "problem  service: settings: " in done.stdout
    assert "         -> Did you mean source" in done.stdout
    assert "1 problem: settings." in done.stderr


def test_no_runtime_is_found_out_not_stumbled_over(tmp_path: Path) -> None:
    """A package that fails to load stands before the real one on the path."""
    if importlib.util.find_spec("ai_edge_litert") is None:
        pytest.skip("ai-edge-litert is not installed")
    (tmp_path / "ai_edge_litert").mkdir()
    (tmp_path / "ai_edge_litert/__init__.py").write_text("raise ImportError('a broken wheel')\n")
    done = edge_fer("doctor", "--json", code=4, PYTHONPATH=str(tmp_path))
    groups = json.loads(done.stdout)["groups"]
    (runtime,) = [f for f in groups["software"] if f["name"] == "runtime"]
    assert runtime["state"] == "problem"
    assert "a broken wheel" in runtime["message"]
    assert groups["models"][0]["state"] == "problem"


@pytest.mark.parametrize(("mode", "code"), [("works", 0), ("segfault", 4)])
def test_libedgetpu_with_the_configured_models_compiled_file(
    tmp_path: Path, mode: str, code: int
) -> None:
    """A stub stands where the loader looks for the real library."""
    build_stub(tmp_path).rename(tmp_path / "libedgetpu.so.1")
    model = load("expression")
    own = tmp_path / "own.tflite"
    own.write_bytes(model.path.read_bytes())
    twin = embed(compiled_stand_in(model.flatbuffer), model.contract)
    (tmp_path / "own.edgetpu.tflite").write_bytes(twin)
    done = edge_fer(
        "doctor",
        "--json",
        code=code,
        EDGE_FER__MODEL=str(own),
        LD_LIBRARY_PATH=str(tmp_path),
        STUB_DELEGATE=mode,
    )
    groups = json.loads(done.stdout)["groups"]
    (library,) = [f for f in groups["edge tpu"] if f["name"] == "libedgetpu"]
    if mode == "works":
        assert library["message"] == "It loads, and ran the configured model on the Edge TPU."
    else:
        assert library["state"] == "problem"
        assert "SIGSEGV" in library["message"]


def test_source_without_camera_is_refused() -> None:
    done = edge_fer("doctor", "--source", "synthetic", code=2)
    assert "--camera" in done.stderr


@pytest.mark.parametrize("source", ["/dev/video77", "no-such-file.mp4", "synthetic?fases=1"])
def test_a_camera_that_is_not_there_is_a_finding(source: str) -> None:
    done = edge_fer("doctor", "--camera", "--source", source, "--json", code=4)
    document = json.loads(done.stdout)
    (camera,) = document["groups"]["picture"]
    assert (camera["name"], camera["state"]) == ("camera", "problem")
    assert camera["remedy"]
    assert document["camera"] is None
    assert document["groups"]["models"]


@pytest.mark.parametrize("mounted", [0, 90, 180, 270])
def test_the_turn_that_puts_a_face_upright(shared: Path, tmp_path: Path, mounted: int) -> None:
    """The clip stands in for a camera that is mounted so: the advice undoes it."""
    clip = shared / "data" / "clips" / "single_face.mp4"
    if not clip.exists():
        pytest.skip(f"no {clip}")
    source = f"{clip}?rotate={mounted}" if mounted else str(clip)
    before = sorted(tmp_path.iterdir())
    done = edge_fer("doctor", "--camera", "--source", source, "--json", TMPDIR=str(tmp_path))
    camera = json.loads(done.stdout)["camera"]
    assert camera["advised"] == str(clip)
    assert camera["frames"] == 30
    assert camera["fps"] == pytest.approx(30, abs=1)
    best = max(camera["looks"], key=lambda look: look["score"])
    assert (best["rotate"] + mounted) % 360 == 0
    assert best["frames"] == 30
    assert 100 < best["size"] < 400
    assert 60 < best["brightness"] < 200
    assert best["sharpness"] > 0.3
    assert sorted(tmp_path.iterdir()) == before  # nothing is stored


def test_synthetic_faces_are_found_upright() -> None:
    done = edge_fer("doctor", "--camera", "--source", "synthetic")
    assert "the right way up" in done.stdout
    assert "\nsource: synthetic\n" in done.stdout
    done = edge_fer("doctor", "--camera", "--source", "synthetic?faces=0")
    assert "No face in 30 pictures" in done.stdout
    assert "source:" not in done.stdout.replace("source: synthetic?", "")


def test_help_has_examples() -> None:
    done = edge_fer("doctor", "--help")
    assert "edge-fer doctor --camera" in done.stdout
