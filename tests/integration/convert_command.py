"""What the tests of ``edge-fer convert`` share: running it, reading its errors, its inputs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = "from edge_fer.cli import main; main()"
# Random nets lose more than trained ones.
GENEROUS = ("--max-drop", "inf", "--max-class-drop", "inf", "--recipe", "plain")


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join(entry for entry in sys.path if entry)
    return {**os.environ, "PYTHONPATH": path, **more}


def edge_fer(command: str, *words: object, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", COMMAND, command, *map(str, words)],
        env=environment(**more),
        capture_output=True,
        text=True,
        check=False,
    )


def run(*words: object, **more: str) -> subprocess.CompletedProcess[str]:
    return edge_fer("convert", *words, **more)


def report_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The report of a --json command that ended well."""
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return dict(json.loads(done.stdout))


def failed(done: subprocess.CompletedProcess[str], code: int, *said: str) -> dict[str, str]:
    """The error document of a failed --json command; nothing else may be on stdout."""
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    error = json.loads(done.stdout)["error"]
    assert error["exit_code"] == code
    assert error["remedy"]
    for words in said:
        assert words in error["message"] + error["remedy"]
    return dict(error)


def make(folder: Path, what: str) -> Path:
    """Models of ``make_inputs.py`` in a folder."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("make_inputs.py")), what, str(folder)],
        env=environment(
            CUDA_VISIBLE_DEVICES="-1",
            TF_CPP_MIN_LOG_LEVEL="3",
            TF_USE_LEGACY_KERAS="1" if "tf_keras" in what else "0",
        ),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def listing(folder: Path) -> dict[str, bytes]:
    """Every file below a folder with its bytes, hidden ones too."""
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else b""
        for p in sorted(folder.rglob("*"))
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """A command that was interrupted: its exit code, and what it said afterwards."""

    code: int
    rest: str
    left: tuple[str, ...]  # processes that it started and that outlived it


def stopped_at(
    phase: str, *words: object, group: bool = True, after_s: float = 0, **more: str
) -> Stopped:
    """Run ``convert -v`` and stop it when it says that a phase begins.

    Args:
        phase: what it says.
        words: its arguments.
        group: SIGINT to all of its processes, as a terminal does; else SIGTERM to the first alone.
        after_s: how long to wait first, for what begins without a word.
        more: environment variables.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "convert", *map(str, words), "-v"],
        env=environment(**more),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    said = []
    with process.stderr:
        for line in process.stderr:
            said.append(line)
            if line.startswith(phase):
                time.sleep(after_s)
                if group:
                    os.killpg(process.pid, signal.SIGINT)
                else:
                    process.terminate()
                break
        else:
            raise AssertionError(f"it never said {phase!r}: {''.join(said)}")
        rest = process.stderr.read()
    code = process.wait(60)
    return Stopped(code=code, rest=rest, left=_of_session(process.pid))


def _of_session(leader: int) -> tuple[str, ...]:
    """The processes of a session that still run two seconds later; ended, so that none stays."""
    deadline = time.monotonic() + 2
    while (found := _running(leader)) and time.monotonic() < deadline:
        time.sleep(0.05)
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    return tuple(found.values())


def _running(session: int) -> dict[int, str]:
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(state[3]) == session and state[0] != "Z":
                found[int(folder.name)] = (folder / "cmdline").read_text().replace("\0", " ")
        except OSError:  # it has ended meanwhile
            continue
    return found
