"""What a check found, with file and line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Finding", "State"]

State = Literal["ok", "warning", "problem", "skipped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: what, in a word or two: ``cmdline``, ``systemd-analyze verify``.
        state: a ``problem`` must not be flashed; ``skipped`` could not be looked at.
        message: what was seen, one sentence; never a secret.
        file: relative to the folder that is checked; empty where it is no file's fault.
        line: in it, from 1; 0 where it is the whole file's.
        remedy: the line that mends it; never empty for a warning or a problem.
        keys: of the setting that it is about, from the outermost table; empty where it is none.
    """

    check: str
    state: State
    message: str
    file: str = ""
    line: int = 0
    remedy: str = ""
    keys: tuple[str, ...] = ()

    @property
    def place(self) -> str:
        """``file:line``, as editors take it."""
        return f"{self.file}:{self.line}" if self.line else self.file
