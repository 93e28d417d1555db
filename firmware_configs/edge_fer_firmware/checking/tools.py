"""Running other people's tools: found, run with a time limit, and replaced in tests."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Answer", "Validators", "run_tool"]

_SECONDS = 60.0
# Where Debian keeps its own units: targets that ours are ordered by.
_UNITS = Path("/usr/lib/systemd/system")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a tool said.

    Attributes:
        code: its exit status; 124: it took too long.
        out: standard output.
        err: standard error.
    """

    code: int
    out: str = ""
    err: str = ""


def run_tool(command: Sequence[str]) -> Answer:
    """Run a tool for a minute at most, without input and in plain English."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8", "TERM": "dumb"}
    try:
        done = subprocess.run(
            list(command),
            capture_output=True,
            check=False,
            timeout=_SECONDS,
            stdin=subprocess.DEVNULL,
            env=environment,
        )
    except subprocess.TimeoutExpired:
        return Answer(code=124, err=f"It took longer than {_SECONDS:.0f} seconds.")
    except OSError as err:
        return Answer(code=127, err=f"{err}")
    return Answer(
        code=done.returncode,
        out=done.stdout.decode("utf-8", "replace"),
        err=done.stderr.decode("utf-8", "replace"),
    )


def _find(name: str) -> str | None:
    return shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Validators:
    """How tools are found and run.

    Attributes:
        run: a command to its answer.
        find: a name to its path; None where it is not installed.
        units: the system's own units, for those that ours are ordered by.
    """

    run: Callable[[Sequence[str]], Answer] = run_tool
    find: Callable[[str], str | None] = _find
    units: Path = _UNITS
