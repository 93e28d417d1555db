"""The file system that a boot partition is mounted from, by ``fsck.vfat``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from edge_fer_firmware.checking.folder import CardFolder
from edge_fer_firmware.checking.tools import Answer, Validators
from edge_fer_firmware.findings import Finding

__all__ = ["check_fat", "judge_fat"]

# What fsck.fat 4.2 prints of a volume whose dirty bit is all that it sees. The bit stands at 65
# (FAT32) or 37 (FAT12 and FAT16) of the boot sector, and the sector's copy does not have it.
_DIRTY = re.compile(r"Dirty bit is set\..*|\s*Automatically removing dirty bit\.")
_HARMLESS = re.compile(
    r"fsck\.fat [\d.]+ \(.*\)"
    r"|There are differences between boot sector and its backup\."
    r"|This is mostly harmless\. Differences: \(offset:original/backup\)"
    r"|\s*(65|37):0[01]/0[01]"
    r"|\s*Not automatically fixing this\."
    r"|Leaving filesystem unchanged\."
    r"|.*: \d+ files, \d+/\d+ clusters"
)


def check_fat(card: CardFolder, tools: Validators) -> Iterator[Finding]:
    """Look at the volume; nothing is said of a folder that is none."""
    device = _device(card.boot)
    if device is None:
        return
    if not tools.find("fsck.vfat"):
        yield Finding(
            check="fsck.vfat",
            state="skipped",
            message="fsck.vfat is not installed.",
            remedy="apt install dosfstools",
        )
        return
    yield judge_fat(device, tools.run(["fsck.vfat", "-n", device]))


def judge_fat(device: str, answer: Answer) -> Finding:
    """What ``fsck.vfat -n`` has said about a mounted volume.

    Args:
        device: ``/dev/mmcblk0p1``.
        answer: its own.

    Returns:
        ``skipped`` where it may not read the device; ``ok`` for a sound volume and for one whose
        dirty bit is set, because every mounted one has it; else a problem.
    """
    lines = [line for line in f"{answer.out}\n{answer.err}".splitlines() if line.strip()]
    if "Permission denied" in answer.err:
        return Finding(
            check="fsck.vfat",
            state="skipped",
            message=f"{device} may only be read by root.",
            remedy=f"sudo fsck.vfat -n {device}",
        )
    if answer.code == 0:
        words = lines[-1] if lines else f"{device} is whole."
        return Finding(check="fsck.vfat", state="ok", message=words)
    left = [line for line in lines if not _DIRTY.fullmatch(line) and not _HARMLESS.fullmatch(line)]
    if not left and any(_DIRTY.fullmatch(line) for line in lines):
        words = f"{device}: only the dirty bit is set, as of every volume that is mounted."
        return Finding(check="fsck.vfat", state="ok", message=words)
    said = " ".join(line.strip() for line in left)[:400]
    return Finding(
        check="fsck.vfat",
        state="problem",
        message=f"{device}: {said or f'it ended with {answer.code} and said nothing'}",
        remedy=f"Unmount it, then: fsck.vfat -a {device}",
    )


def _device(folder: Path) -> str | None:
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    for line in mounts.splitlines():
        device, place, kind, *_ = line.split(" ")
        # proc(5): a space is written as \040.
        if kind == "vfat" and Path(place.replace("\\040", " ")) == folder.resolve():
            return device
    return None
