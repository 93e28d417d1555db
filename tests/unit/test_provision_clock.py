"""The time of day over a power cut: forward only, never taken for a synchronised one."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
import scratch_card
from scratch_card import Scratch

from edge_fer.records import clock_ok
from edge_fer_firmware import first_boot
from edge_fer_firmware.first_boot.storage import MOUNT

# 2026-06-01, in seconds.
THEN = 1780272000


@pytest.fixture
def card(tmp_path: Path) -> Scratch:
    made = Scratch(tmp_path, scratch_card.plan(storage="root"))
    here = made.root / "usr/lib/edge-fer"
    here.mkdir(parents=True)
    script = made.boot / "edge-fer/root/usr/lib/edge-fer/clock"
    (here / "clock").write_bytes(script.read_bytes())
    (made.root / "var/lib/edge-fer").mkdir()
    stands(made, THEN)
    return made


def stands(card: Scratch, seconds: int) -> None:
    """A clock that does as date(1), at this time."""
    card.fake("date", f'[ "$2" != +%s ] || echo {seconds}')


def clock(card: Scratch, verb: str) -> int:
    return card.sh(card.root / "usr/lib/edge-fer/clock", verb).returncode


def set_to(card: Scratch) -> list[str]:
    return [call for call in card.called if call.startswith("date -u -s")]


def kept(card: Scratch) -> Path:
    return card.root / "var/lib/edge-fer/clock"


def floor(card: Scratch) -> Path:
    return card.root / "usr/lib/edge-fer/clock-floor"


def test_what_was_saved_is_set_again_after_a_power_cut(card: Scratch) -> None:
    assert clock(card, "save") == 0
    assert kept(card).read_text() == f"{THEN}\n"
    stands(card, 100)
    assert clock(card, "restore") == 0
    assert set_to(card) == [f"date -u -s @{THEN}"]


def test_never_back(card: Scratch) -> None:
    kept(card).write_text(f"{THEN - 1}\n")
    floor(card).write_text(f"{THEN}\n")
    assert clock(card, "restore") == 0
    assert set_to(card) == []


def test_later_of_saved_and_written_counts(card: Scratch) -> None:
    kept(card).write_text(f"{THEN + 5}\n")
    floor(card).write_text(f"{THEN + 9}\n")
    assert clock(card, "restore") == 0
    kept(card).write_text(f"{THEN + 20}\n")
    assert clock(card, "restore") == 0
    assert set_to(card) == [f"date -u -s @{THEN + 9}", f"date -u -s @{THEN + 20}"]


@pytest.mark.parametrize("content", ["", "\0\0\0\0", "tomorrow\n", "99999999999\n", "9999999999\n"])
def test_damaged_file_is_none(card: Scratch, content: str) -> None:
    kept(card).write_text(content)
    stands(card, 100)
    assert clock(card, "restore") == 0
    assert set_to(card) == []
    floor(card).write_text(f"{THEN}")  # a power cut took the line break
    assert clock(card, "restore") == 0
    assert set_to(card) == [f"date -u -s @{THEN}"]


def test_anything_else_is_refused(card: Scratch) -> None:
    assert clock(card, "set") == 2


def test_restored_clock_does_not_count_as_synchronised(tmp_path: Path) -> None:
    """systemd-timesyncd runs and has not synchronised: whatever the date, it is not believed."""
    timesync = tmp_path / "timesync"
    timesync.mkdir()
    assert clock_ok(datetime.fromtimestamp(THEN, UTC), timesync) is False
    for storage in ("data-partition", "overlay", "root"):
        for file in first_boot.files(scratch_card.plan(storage=storage)):
            assert isinstance(file.content, bytes)
            lines = file.content.decode().splitlines()
            code = [line for line in lines if not line.lstrip().startswith("#")]
            assert "timesync" not in "\n".join(code), file.path


def test_saving_needs_no_root_and_the_service_comes_after() -> None:
    card = scratch_card.plan()
    unit = scratch_card.root_text(card, "/etc/systemd/system/edge-fer-clock.service")
    assert "User=edge-fer\n" in unit
    # As edge-fer.service has it: the one that starts last would decide.
    assert "StateDirectoryMode=0750\n" in unit
    assert "ExecStart=+/usr/lib/edge-fer/clock restore\n" in unit
    assert "ExecStop=/usr/lib/edge-fer/clock save\n" in unit
    assert "Before=edge-fer.service\n" in unit
    assert f"After={MOUNT}\n" in unit
    timer = scratch_card.root_text(card, "/etc/systemd/system/edge-fer-clock-save.timer")
    assert "OnUnitActiveSec=1h\n" in timer


def test_card_that_keeps_nothing_has_only_the_lower_bound() -> None:
    card = scratch_card.plan(storage="overlay")
    names = {Path(file.path).name for file in first_boot.files(card)}
    assert "edge-fer-clock.service" in names
    assert "edge-fer-clock-save.timer" not in names
    unit = scratch_card.root_text(card, "/etc/systemd/system/edge-fer-clock.service")
    assert "save" not in unit


def test_lower_bound_is_when_the_card_was_written(tmp_path: Path) -> None:
    card = Scratch(tmp_path, scratch_card.plan(storage="root"))
    (card.root / "opt/edge-fer/bin").mkdir(parents=True)
    program = card.root / "opt/edge-fer/bin/edge-fer"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    os.utime(card.boot / "edge-fer/install.sh", (THEN, THEN))
    assert card.run("edge-fer/install.sh").returncode == 0, card.log
    # FAT knows no time zone: 14 hours are the most that it can be ahead.
    assert floor(card).read_text() == f"{THEN - 14 * 3600}\n"
