"""What is made of the true words of fsck.vfat about volumes that are made here."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from edge_fer_firmware.checking.fat import judge_fat
from edge_fer_firmware.checking.tools import Answer, run_tool

BACKUP, FAT = 65, 32 * 512 + 8
# dosfstools 4.2, with all that FAT32 adds: its boot sector has a copy.
DIRTY = """\
fsck.fat 4.2 (2021-01-31)
There are differences between boot sector and its backup.
This is mostly harmless. Differences: (offset:original/backup)
  65:01/00
  Not automatically fixing this.
Dirty bit is set. Fs was not properly unmounted and some data may be corrupt.
 Automatically removing dirty bit.

Leaving filesystem unchanged.
/dev/sda1: 412 files, 1/129022 clusters
"""


def asked(tmp_path: Path, changes: dict[int, bytes]) -> Answer:
    image = tmp_path / "boot.img"
    with image.open("wb") as file:
        file.truncate(64 << 20)
    assert run_tool(["mkfs.vfat", "-F", "32", str(image)]).code == 0
    with image.open("r+b") as file:
        for offset, data in changes.items():
            file.seek(offset)
            file.write(data)
    return run_tool(["fsck.vfat", "-n", str(image)])


@pytest.mark.skipif(not shutil.which("fsck.vfat"), reason="no fsck.vfat: apt install dosfstools")
@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        ({}, "ok", "clusters"),
        ({0x41: b"\1"}, "ok", "dirty bit"),
        ({FAT: b"\xff" * 6}, "problem", "FATs differ"),
        ({0x41: b"\1", FAT: b"\xff" * 6}, "problem", "FATs differ"),
        ({0x41: b"\1", 0x47: b"X"}, "problem", "71:58"),
    ],
)
def test_a_volume(tmp_path: Path, changes: dict[int, bytes], state: str, words: str) -> None:
    found = judge_fat("/dev/sda1", asked(tmp_path, changes))
    assert (found.state, words in found.message) == (state, True), found


def test_the_dirty_bit_of_a_mounted_volume() -> None:
    assert judge_fat("/dev/sda1", Answer(code=1, out=DIRTY)).state == "ok"


def test_a_device_that_only_root_may_read() -> None:
    said = Answer(code=6, out="fsck.fat 4.2 (2021-01-31)\n", err="open: Permission denied\n")
    found = judge_fat("/dev/sda1", said)
    assert (found.state, found.remedy) == ("skipped", "sudo fsck.vfat -n /dev/sda1")


def test_a_tool_that_says_nothing() -> None:
    found = judge_fat("/dev/sda1", Answer(code=8))
    assert (found.state, "ended with 8" in found.message) == ("problem", True)
