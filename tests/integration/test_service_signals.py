"""Signals at random moments, to a real process: it always ends whole, or says why not."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from fake_service import FakeSystemd

from edge_fer.state import SPARE, State
from edge_fer.status import Status

HERE = Path(__file__).resolve().parent
TIMES = 100 if os.environ.get("EDGE_FER_LONG") else 20


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[FakeSystemd]:
    manager = FakeSystemd(tmp_path)
    yield manager
    manager.close()


def start(folder: Path, systemd: FakeSystemd, *words: str) -> subprocess.Popen[str]:
    """A child that is inside its service."""
    return subprocess.Popen(
        [sys.executable, "-m", "service_child", str(folder), *words],
        env={
            **os.environ,
            "NOTIFY_SOCKET": systemd.address,
            "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent), str(HERE.parents[1])]),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def first_seq(child: subprocess.Popen[str]) -> int:
    assert child.stdout is not None
    line = child.stdout.readline()
    assert line, child.communicate()[1]
    return int(line)


def whole(folder: Path) -> tuple[dict, dict]:
    """Both files, and nothing beside them."""
    names = sorted(p.name for p in folder.iterdir())
    assert names in (["state.json", "status.json"], ["state.json"])
    return tuple(
        json.loads(path.read_text()) if (path := folder / name).exists() else {}
        for name in ("status.json", "state.json")
    )


def test_signals_at_random_moments_always_end_it_whole(
    tmp_path: Path, systemd: FakeSystemd
) -> None:
    chance = random.Random(7)  # noqa: S311
    folder = tmp_path / "files"
    folder.mkdir()
    reloads = frames = 0
    for number in range(TIMES):
        child = start(folder, systemd)
        begins = first_seq(child)
        assert begins == frames + number * SPARE  # numbers go on where they stopped
        for _ in range(chance.randrange(6)):
            time.sleep(chance.random() * 0.05)
            child.send_signal(signal.SIGHUP)
        time.sleep(chance.random() * 0.1)
        # As timeout(1) does: one wish, delivered twice.
        for _ in range(chance.choice([1, 2])):
            child.send_signal(chance.choice([signal.SIGTERM, signal.SIGINT]))
        out, err = child.communicate(timeout=60)
        assert (child.returncode, err) == (0, ""), number
        by, took, made = out.split()
        assert by == "signal"
        frames, reloads = frames + int(took), reloads + int(made)
        status, state = whole(folder)
        assert (status["state"], status["pid"]) == ("stopping", child.pid)
        assert (state["starts"], state["frames"]) == (number + 1, frames)
        said = [s.split("\n")[0].split("=")[0] for s in systemd.read()]
        turns = [s for s in said if s in ("READY", "RELOADING", "STOPPING")]
        assert turns[-1] == "STOPPING"
        # After each RELOADING comes a READY, and the first READY comes before.
        assert (
            turns[:-1]
            == (["READY"] + ["RELOADING", "READY"] * turns.count("RELOADING"))[: len(turns) - 1]
        )
    assert reloads > TIMES / 4  # or nothing was tested


def test_kills_at_random_moments_leave_whole_files_and_no_number_twice(
    tmp_path: Path, systemd: FakeSystemd
) -> None:
    chance = random.Random(9)  # noqa: S311
    folder = tmp_path / "files"
    folder.mkdir()
    used = -1
    for _ in range(TIMES // 4):
        child = start(folder, systemd)
        begins = first_seq(child)
        assert begins > used
        time.sleep(chance.random() * 0.3)
        child.kill()
        child.communicate()
        _, state = whole_after_a_kill(folder)
        used = begins + state["frames"]
        assert state["next_seq"] > used


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A disk without any room."""
    folder = tmp_path / "full"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        pytest.skip(f"no disk can be filled here: {made.stderr.strip()}")
    with suppress(OSError), (folder / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 1024)
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_stops_neither_status_nor_state_nor_the_service(full: Path) -> None:
    status, state = Status(full / "status.json"), State(full / "state.json")
    status.write({"turn": 1})
    assert "No space left on device" in status.problem
    assert "No space left on device" in state.problem
    (full / "filler").unlink()
    status.write({"turn": 2})
    state.turn(frames=7, faces=0, observations=7, uptime_s=1.0, next_seq=7)
    state.close()
    assert (status.problem, state.problem) == ("", "")
    assert json.loads((full / "status.json").read_text()) == {"turn": 2}
    assert State(full / "state.json").before.frames == 7


def whole_after_a_kill(folder: Path) -> tuple[dict, dict]:
    """Both files whole; one that was being written may lie beside each until the next start."""
    for path in folder.glob(".*"):
        path.unlink()
    return whole(folder)


@pytest.mark.parametrize("hangs", ["step", "close"])
def test_what_hangs_is_ended_hard_after_the_time_of_grace(
    tmp_path: Path, systemd: FakeSystemd, hangs: str
) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    child = start(folder, systemd, hangs, "0.7")
    first_seq(child)
    if hangs == "step":
        assert child.stdout is not None
        assert child.stdout.readline() == "hangs\n"
    child.terminate()
    _, err = child.communicate(timeout=60)
    assert child.returncode == 7
    assert "did not end within 0.7 s" in err
    whole(folder)


def test_who_is_told_twice_to_end_ends(tmp_path: Path, systemd: FakeSystemd) -> None:
    folder = tmp_path / "files"
    folder.mkdir()
    child = start(folder, systemd, "step", "1000")
    first_seq(child)
    assert child.stdout is not None
    assert child.stdout.readline() == "hangs\n"
    child.terminate()
    time.sleep(1.5)  # a second wish, not the first one twice
    child.terminate()
    _, err = child.communicate(timeout=60)
    assert child.returncode == 7
    assert "was told twice to end" in err


def test_the_command_itself_ends_whole(tmp_path: Path, systemd: FakeSystemd) -> None:
    chance = random.Random(11)  # noqa: S311
    folder, out = tmp_path / "files", tmp_path / "seen.jsonl"
    folder.mkdir()
    words = ["--source", "synthetic?fps=30", "--sink", f"jsonl:{out}"]
    environ = {
        **os.environ,
        "NOTIFY_SOCKET": systemd.address,
        "WATCHDOG_USEC": "200000",
        "RUNTIME_DIRECTORY": str(folder),
        "STATE_DIRECTORY": str(folder),
    }
    for number in range(TIMES // 5):
        systemd.read()
        child = subprocess.Popen(
            [sys.executable, "-m", "edge_fer", "run", "-q", *words],
            env=environ,
            stderr=subprocess.PIPE,
            text=True,
        )
        said: list[str] = []
        while "WATCHDOG=1" not in said and child.poll() is None:
            said += systemd.read()
            time.sleep(0.02)
        for _ in range(chance.randrange(3)):
            child.send_signal(signal.SIGHUP)
            time.sleep(chance.random() * 0.3)
        time.sleep(chance.random() * 0.3)
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=60)
        assert (child.returncode, err) == (0, ""), number
        said += systemd.read()
        assert said[0].startswith("STATUS=starting")
        assert any(s.startswith("READY=1") for s in said)
        assert said[-1].startswith("STOPPING=1")
        status, state = whole(folder)
        assert (status["state"], state["starts"]) == ("stopping", number + 1)
    seen = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(seen) == state["observations"]  # what was seen was kept
    numbers = [record["seq"] for record in seen]
    assert numbers == sorted(set(numbers))  # in order, over all runs, and none twice
