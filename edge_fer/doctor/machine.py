"""The machine as the checks see it: every door to the outside in one place, each replaceable."""

from __future__ import annotations

import grp
import os
import platform
import pwd
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

from edge_fer.backends.probe import Probe, probe_delegate

__all__ = ["Answer", "Machine", "Space"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a program said: its exit code, stdout, and the last line of stderr."""

    code: int
    out: str
    err: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Of the file system that holds a path, in bytes."""

    free: int
    total: int
    read_only: bool


def _run(words: Sequence[str]) -> Answer | None:
    try:
        done = subprocess.run(
            words, capture_output=True, text=True, errors="replace", timeout=30, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    last = done.stderr.strip().rpartition("\n")[2]
    return Answer(code=done.returncode, out=done.stdout, err=last)


def _version(distribution: str) -> str | None:
    try:
        return installed(distribution)
    except PackageNotFoundError:
        return None


def _space(path: Path) -> Space:
    usage, flags = shutil.disk_usage(path), os.statvfs(path).f_flag
    return Space(free=usage.free, total=usage.total, read_only=bool(flags & os.ST_RDONLY))


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container's number without a name
        return str(os.geteuid())


def _groups() -> frozenset[str]:
    names = set()
    for number in {os.getegid(), *os.getgroups()}:
        try:
            names.add(grp.getgrgid(number).gr_name)
        except KeyError:
            names.add(str(number))
    return frozenset(names)


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Where the checks look; the defaults are this machine and this process.

    Attributes:
        root: what ``/dev``, ``/etc``, ``/proc``, ``/run``, ``/sys``, ``/usr`` and ``/var`` lie in.
        environment: of this process.
        architecture: as the kernel names it.
        bits: of the Python: a 64-bit kernel may carry a 32-bit system.
        python: its version.
        executable: the Python that runs.
        prefix: the folder of the virtual environment, or of the system's Python.
        page_size: bytes of one page of memory.
        user: who this process runs as.
        groups: of this process, which a running shell does not learn of when they change.
        load: imports a module.
        version: of an installed distribution; None when it is not.
        run: starts a program; None when there is no such, or it hangs.
        may: whether a path may be used so (``os.R_OK | os.W_OK``).
        space: of the file system around a path that exists.
        probe: tries the Edge TPU's delegate in a process of its own, with a compiled model or
            without.
        now: the wall clock.
    """

    root: Path = Path("/")
    environment: Mapping[str, str] = field(default_factory=lambda: dict(os.environ))
    architecture: str = field(default_factory=platform.machine)
    bits: int = 64 if sys.maxsize > 2**32 else 32
    python: tuple[int, int, int] = sys.version_info[:3]
    executable: str = sys.executable
    prefix: Path = Path(sys.prefix)
    page_size: int = field(default_factory=lambda: os.sysconf("SC_PAGE_SIZE"))
    user: str = field(default_factory=_user)
    groups: frozenset[str] = field(default_factory=_groups)
    load: Callable[[str], Any] = import_module
    version: Callable[[str], str | None] = _version
    run: Callable[[Sequence[str]], Answer | None] = _run
    may: Callable[[Path, int], bool] = os.access
    space: Callable[[Path], Space] = _space
    probe: Callable[[bytes | None], Probe] = lambda model: probe_delegate(model=model)
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def text(self, path: str) -> str | None:
        """A file's text without the white space and NULs around it; None where it cannot be read.

        Args:
            path: below the root, without a leading slash.
        """
        try:
            data = (self.root / path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        return data.strip("\0 \t\r\n")

    def usable(self, path: Path) -> bool:
        """Whether this process may read and write it."""
        return self.may(path, os.R_OK | os.W_OK)

    @property
    def board(self) -> str:
        """What the firmware calls the board; empty on other computers."""
        return self.text("proc/device-tree/model") or ""

    @property
    def is_pi(self) -> bool:
        """Whether it is a Raspberry Pi."""
        return "Raspberry Pi" in self.board
