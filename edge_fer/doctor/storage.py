"""The disk: room for what is written, whether it stays, and how long a card lasts."""

from __future__ import annotations

import os
from pathlib import Path

from edge_fer.config import Settings
from edge_fer.doctor.findings import Finding, ok, problem, warning
from edge_fer.doctor.machine import Machine
from edge_fer.files import service_folder

__all__ = ["check_card", "check_state_folder", "state_folder"]

_FULL_MB, _TIGHT_MB = 100, 1000


def state_folder(machine: Machine, settings: Settings | None) -> Path:
    """Where counters are kept: as the settings say, else systemd's folder."""
    if settings is not None and settings.state_file:
        return Path(settings.state_file).absolute().parent
    own = service_folder("STATE_DIRECTORY", machine.environment)
    return own or machine.root / "var/lib/edge-fer"


def check_state_folder(machine: Machine, settings: Settings | None) -> Finding:
    """Free space, and whether it can be written and keeps what is written."""
    name = "state folder"
    folder = state_folder(machine, settings)
    there = next((p for p in (folder, *folder.parents) if p.exists()), Path("/"))
    space = machine.space(there)
    free = space.free / 1e6
    message = f"{folder}: {free:.0f} MB free."
    if _mount(machine, there)[2] in ("overlay", "tmpfs") and not space.read_only:
        return warning(
            name,
            f"{folder} lies in memory: counters and records are gone after a restart.",
            "Mount a partition or a USB stick there, or: sudo raspi-config nonint do_overlayfs 1",
        )
    if space.read_only:
        return problem(
            name,
            f"{folder} lies on a file system that cannot be written.",
            f"sudo mount -o remount,rw {_mount(machine, there)[1]}; if it fails: dmesg | tail",
        )
    if free < _FULL_MB:
        return problem(name, message, f"Make room: sudo du -xh -d1 {there} | sort -h")
    if folder.exists() and not machine.may(folder, os.W_OK | os.X_OK):
        return warning(
            name,
            f"{folder} may not be written by {machine.user}.",
            f"sudo chown -R {machine.user} {folder}; a service has StateDirectory=edge-fer",
        )
    if free < _TIGHT_MB:
        return warning(name, message, f"Make room: sudo du -xh -d1 {there} | sort -h")
    return ok(name, message)


def check_card(machine: Machine, settings: Settings | None) -> Finding:
    """SD cards wear out by being written."""
    name = "wear"
    device = _mount(machine, Path(machine.root))[0]
    if not device.startswith("/dev/mmcblk"):
        return ok(name, "The system does not run from an SD card.")
    limit = f", at most {settings.max_mb_per_day:g} MB a day" if settings else ""
    if settings is not None and settings.commit_interval < 1:
        return warning(
            name,
            f"An SD card ({device}), and records are made durable every "
            f"{settings.commit_interval:g} s: each time is a write of 16 kB or more.",
            'Set commit_interval = 5.0, or aggregate = "1min".',
        )
    return ok(name, f"An SD card ({device}): what is written is bounded{limit}.")


def _mount(machine: Machine, path: Path) -> tuple[str, str, str]:
    """Device, mount point and type of the file system that holds a path."""
    inside = (
        Path("/") / path.relative_to(machine.root) if path.is_relative_to(machine.root) else path
    )
    best = ("", "/", "")
    for line in (machine.text("proc/mounts") or "").splitlines():
        words = line.split()
        if len(words) >= 3 and inside.is_relative_to(words[1]) and len(words[1]) >= len(best[1]):
            best = (words[0], words[1], words[2])
    return best
