"""Counters and record numbers that outlive restarts, kills and damage."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge_fer.state import BLOCK, LEAP, SPARE, Counters, State


def turn(state: State, seq: int, *, uptime_s: float = 1.0, frames: int = 0) -> None:
    state.turn(frames=frames, faces=2, observations=frames, uptime_s=uptime_s, next_seq=seq)


def test_counters_go_on_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    first = State(path)
    assert (first.first_seq, first.before) == (0, Counters())
    turn(first, 40, uptime_s=8.5, frames=40)
    first.close()
    first.close()
    second = State(path)
    assert second.problem == ""
    assert second.before == Counters(starts=1, frames=40, faces=2, observations=40, uptime_s=8.5)
    # An orderly end gives back what it did not use, but for what closing sinks may number yet.
    assert second.first_seq == 40 + SPARE
    turn(second, 45, uptime_s=1.5, frames=5)
    assert second.total == Counters(starts=2, frames=45, faces=4, observations=45, uptime_s=10.0)
    second.close()


def test_without_a_file_nothing_is_kept() -> None:
    state = State()
    turn(state, 5, uptime_s=1e6)
    state.close()
    assert (state.first_seq, state.problem) == (0, "")


def test_after_a_kill_no_number_comes_twice(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    code = f"""
import os, signal
from pathlib import Path
from edge_fer.state import State
state = State(Path({str(path)!r}), every_s=1e9)
print(state.first_seq, flush=True)
# Far beyond the first block: the reservation must have followed before it was used up.
for seq in range(0, {3 * BLOCK}, 1000):
    state.turn(frames=seq, faces=0, observations=seq, uptime_s=1.0,
               next_seq=state.first_seq + seq)
    state.settle()
print(state.first_seq + seq, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    handed_out = -1
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=False
        )
        assert done.returncode == -signal.SIGKILL, done.stderr
        first, last = map(int, done.stdout.split())
        assert first > handed_out
        handed_out = last
    assert json.loads(path.read_text())["next_seq"] > handed_out
    assert State(path).before.starts == 3


def test_it_is_written_every_window_and_not_in_between(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    state = State(path, every_s=60)
    for second in range(181):
        turn(state, second, uptime_s=float(second), frames=second)
        state.settle()
        if second in {59, 60, 119, 180}:
            # The first turn starts the window.
            kept = json.loads(path.read_text())["frames"]
            assert kept == {59: 0, 60: 60, 119: 60, 180: 180}[second]
    state.close()


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"\x00" * 200,
        b'{"schema": "edge-fer/state/1", "next_seq": 12',
        b"[]",
        b'{"schema": "edge-fer/state/2"}',
        b'{"schema": "edge-fer/state/1", "next_seq": -1, "starts": 1, "frames": 1, "faces": 0, '
        b'"observations": 1, "uptime_s": 1}',
        b'{"schema": "edge-fer/state/1", "next_seq": 1, "starts": 1, "frames": 1, "faces": 0, '
        b'"observations": 1, "uptime_s": NaN}',
        b"[" * 100_000,
        b"\xff\xfe",
    ],
)
def test_a_damaged_file_is_set_aside_and_numbers_leap(tmp_path: Path, damaged: bytes) -> None:
    path = tmp_path / "state.json"
    path.write_bytes(damaged)
    state = State(path)
    assert state.before == Counters()
    assert state.first_seq == LEAP
    assert "state.json.damaged-1" in state.problem
    assert (tmp_path / "state.json.damaged-1").read_bytes() == damaged
    turn(state, LEAP + 7)
    state.close()
    path.write_bytes(b"again")
    again = State(path)
    assert again.first_seq == 2 * LEAP
    assert 2 * LEAP < 2**53
    again.close()


def test_a_full_disk_is_said_and_survived() -> None:
    # A path in a folder that does not exist fails as a full disk does: nothing can be made there.
    state = State(Path("/proc/no/such/state.json"))
    assert "was not kept" in state.problem
    turn(state, 5)
    state.close()
    assert state.total.starts == 1


def test_what_was_not_kept_is_kept_once_it_can_be(tmp_path: Path) -> None:
    folder = tmp_path / "away"
    state = State(folder / "state.json", every_s=1)
    assert "was not kept" in state.problem
    folder.mkdir()
    turn(state, 5, uptime_s=0.0, frames=5)
    turn(state, 6, uptime_s=2.0, frames=6)
    state.close()
    assert state.problem == ""
    assert State(folder / "state.json").before.frames == 6


def test_a_folder_in_its_place_is_survived(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.mkdir()
    state = State(path)
    assert "could not be used" in state.problem or "was not kept" in state.problem
    state.close()


def test_old_states_are_not_left_over(tmp_path: Path) -> None:
    (tmp_path / ".state.json.abc123").write_text("of one that was killed")
    state = State(tmp_path / "state.json", every_s=1)
    for second in range(5):
        turn(state, second, uptime_s=second * 2.0)
        state.settle()
    state.close()
    assert os.listdir(tmp_path) == ["state.json"]  # noqa: PTH208


def test_what_a_day_has_used_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    state = State(path, every_s=60)
    assert state.budget == {}
    used = {"used": 5}
    state.keep_budget = lambda: used
    turn(state, 1, uptime_s=0.0)
    turn(state, 2, uptime_s=60.0)
    state.settle()
    assert json.loads(path.read_text())["budget"] == {"used": 5}
    used["used"] = 9
    state.close()
    again = State(path)
    assert again.budget == {"used": 9}
    # Killed now, before anybody has asked for more: it is still there.
    assert State(path).budget == {"used": 9}
    again.close()


@pytest.mark.parametrize("budget", ["", ', "budget": 7', ', "budget": null'])
def test_a_state_without_a_budget_is_used(tmp_path: Path, budget: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(
        '{"schema": "edge-fer/state/1", "next_seq": 8, "starts": 1, "frames": 1, "faces": 0, '
        f'"observations": 1, "uptime_s": 1{budget}}}'
    )
    state = State(path)
    assert (state.budget, state.first_seq, state.problem) == ({}, 8, "")
    state.close()


def test_it_says_what_it_costs_and_writes_every_five_minutes(tmp_path: Path) -> None:
    state = State(tmp_path / "state.json")
    for minute in range(61):
        turn(state, minute, uptime_s=60.0 * minute)
        state.settle()
    assert state.bytes_written == 13 * 20_000  # at the start, and twelve times in the hour
    state.close()
    nowhere = State()
    nowhere.close()
    assert nowhere.bytes_written == 0
