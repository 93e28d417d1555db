"""What a run does to the world outside, by the kernel's own account."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CALLS = "?open,openat,?creat,?mkdir,?rename,?renameat,renameat2,?unlink,unlinkat,?link,truncate"
# What is written to and is no file of anybody's.
NOBODYS = re.compile(r"^(/dev/(null|tty|shm/|urandom)|/proc/self/|/proc/\d+/|/sys/fs/cgroup/)")
WRITING = re.compile(r"O_WRONLY|O_RDWR|O_CREAT|O_TRUNC|O_APPEND")
OPENED = re.compile(r'open(?:at)?\((?:[^,"]+, )?"([^"]*)", ([A-Z_|0-9]+)')
CHANGED = re.compile(
    r'(?:mkdir|rename|renameat2?|unlink|unlinkat|link|symlink|truncate|creat)\([^"]*"([^"]*)"'
)


@pytest.fixture(scope="module")
def strace() -> str:
    found = shutil.which("strace")
    if found is None:
        pytest.skip("strace is not installed (apt install strace)")
    works = subprocess.run([found, "-o", "/dev/null", "true"], capture_output=True, check=False)
    if works.returncode:
        pytest.skip("strace may not trace here")
    return found


def traced(strace: str, folder: Path, *arguments: str) -> list[str]:
    """The calls of `edge-fer run`, every process and thread of it, that did not fail."""
    log = folder / "calls.txt"
    home = folder / "home"
    home.mkdir()
    environment = {k: v for k, v in os.environ.items() if not k.startswith("EDGE_FER")}
    done = subprocess.run(
        [
            *(strace, "-f", "-qq", "-o", str(log)),
            *("-e", f"trace=%network,{CALLS}"),
            *(sys.executable, "-m", "edge_fer", "run", *arguments),
        ],
        cwd=folder,
        env=environment | {"HOME": str(home), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    calls = log.read_text(errors="replace").splitlines()
    assert any("expression" in call and ".tflite" in call for call in calls), "nothing was traced"
    return [call for call in calls if not re.search(r"= -1 E[A-Z]+", call)]


def written(calls: list[str]) -> set[str]:
    found = {
        match[1] for call in calls if (match := OPENED.search(call)) and WRITING.search(match[2])
    }
    found |= {match[1] for call in calls if (match := CHANGED.search(call))}
    return {path for path in found if not NOBODYS.match(path)}


def test_a_default_run_opens_no_socket_and_writes_nothing(strace: str, tmp_path: Path) -> None:
    calls = traced(strace, tmp_path, "--source", "synthetic?frames=20", "--quiet")
    assert not [call for call in calls if "socket(" in call and "AF_INET" in call]
    assert not [call for call in calls if "connect(" in call or "bind(" in call]
    assert written(calls) == set()
    assert {path.name for path in tmp_path.iterdir()} == {"home", "calls.txt"}
    assert list((tmp_path / "home").iterdir()) == []


def test_a_run_writes_its_sinks_and_nothing_else(strace: str, tmp_path: Path) -> None:
    sinks = ("--sink", f"jsonl:{tmp_path}/seen.jsonl", "--sink", f"sqlite:{tmp_path}/seen.db")
    calls = traced(strace, tmp_path, "--source", "synthetic?frames=20", "--quiet", *sinks)
    assert not [call for call in calls if "socket(" in call and "AF_INET" in call]
    paths = written(calls)
    assert str(tmp_path / "seen.jsonl") in paths
    assert str(tmp_path / "seen.db") in paths
    strangers = {path for path in paths if not Path(path).name.startswith("seen.")}
    assert strangers == set()
