"""What the tests of this folder need of the machine that they run on."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

__all__ = ["workplace"]


def workplace(scratch: Path, tools: dict[str, str]) -> Path:
    """Where to build; skips the test, and says why, where it cannot run.

    Args:
        scratch: a folder for this run; EDGE_FER_LAB names one that keeps what was built.
        tools: commands, and the Debian packages that have them.
    """
    if os.environ.get("EDGE_FER_LONG") != "1":
        pytest.skip("it builds a system of its own, for minutes; set EDGE_FER_LONG=1")
    missing = sorted({package for tool, package in tools.items() if not shutil.which(tool)})
    if missing:
        pytest.skip(f"apt install {' '.join(missing)}")
    if os.geteuid() != 0:
        pytest.skip("debootstrap needs root")
    return Path(os.environ.get("EDGE_FER_LAB") or scratch)
