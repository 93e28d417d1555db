"""Small files of the kernel that may be missing, closed to this user, or gone in a moment."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["number", "text"]


def number(path: Path) -> int | None:
    """A whole number; None where there is none."""
    found = text(path)
    return int(found) if found and re.fullmatch(r"-?[0-9]+", found) else None


def text(path: Path) -> str | None:
    """Without the spaces around it, and the NUL of device trees; None where it cannot be read."""
    try:
        return path.read_text(errors="replace").replace("\0", "").strip()
    except OSError:
        return None
