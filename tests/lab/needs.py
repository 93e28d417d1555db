"""What the tests of this folder need of the machine that they run on, and how they run scripts."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

__all__ = ["GUEST", "rendered", "run_script", "workplace"]

ROOT = Path(__file__).resolve().parents[2]
#: Commands that guest.sh takes, and their packages.
GUEST = {
    "qemu-system-x86_64": "qemu-system-x86",
    "mmdebstrap": "mmdebstrap",
    "busybox": "busybox-static",
    "cpio": "cpio",
    "depmod": "kmod",
    "mke2fs": "e2fsprogs",
}


def workplace(scratch: Path, tools: dict[str, str], *, lane: str) -> Path:
    """Where to build; skips the test, and says why, where it cannot run.

    Args:
        scratch: a folder for this run; EDGE_FER_LAB names one that keeps what was built.
        tools: commands, and the Debian packages that have them.
        lane: which one the test belongs to: it runs when EDGE_FER_LANE names that.
    """
    if os.environ.get("EDGE_FER_LANE") != lane:
        pytest.skip(f"it builds a system of its own, for minutes; run: make lab-{lane}")
    if os.geteuid() != 0:
        pytest.skip(f"a system's files belong to root; run: sudo make lab-{lane}")
    release = Path("/etc/os-release")
    if not release.exists() or "ID=debian" not in release.read_text().splitlines():
        pytest.skip("what it builds with is Debian's own")
    missing = sorted({package for tool, package in tools.items() if not shutil.which(tool)})
    if missing:
        pytest.skip(f"apt install {' '.join(missing)}")
    return Path(os.environ.get("EDGE_FER_LAB") or scratch)


def run_script(name: str, *args: object) -> tuple[int, str]:
    """Run a script of this folder, showing what it prints; its exit code, and all of that."""
    said = []
    command = ["bash", str(Path(__file__).with_name(name)), *map(str, args)]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=os.environ | {"PYTHON": sys.executable},
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            said.append(line.decode(errors="replace"))
            sys.stdout.write(said[-1])
            sys.stdout.flush()
    return process.returncode, "".join(said)


def rendered(folder: Path, settings: Path = ROOT / "examples" / "kiosk.toml") -> Path:
    """A card as ``edge-fer provision render`` makes it: its boot files."""
    words = ["provision", "render", str(settings), "-o", str(folder)]
    subprocess.run([sys.executable, "-m", "edge_fer", *words], check=True)
    return folder / "bootfs"
