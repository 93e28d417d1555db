"""A worker in a Python of its own, asked line by line (``serve.py`` is its other end)."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import Any

from edge_fer.errors import DeviceError, EdgeFerError, MissingExtra
from peers.timing import core

__all__ = ["Process", "command", "last_line"]

_SERVE = Path(__file__).with_name("serve.py")
_PATIENCE_S = 600.0
_TAIL = 400
_REMEDY = "Make the environments afresh with --make-venvs."
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
_SINGLE = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}


def command(python: Path, module: str, **arguments: Any) -> list[str]:
    """What starts one of this package's worker modules on the core that everything is timed on.

    Args:
        python: of the environment that has what the module needs.
        module: its name in this package.
        **arguments: of its ``Worker``; JSON.
    """
    return [str(python), "-I", str(_SERVE), module, str(core()), json.dumps(arguments)]


class Process:
    """A running worker.

    Attributes:
        about: what it said of itself.
        folder: for files that it reads and writes; goes when it is closed.

    Args:
        name: for people.
        words: the command, as from :func:`command`.
        patience_s: how long one answer may take.

    Raises:
        MissingExtra: the environment lacks something.
        DeviceError: it does not answer.
    """

    def __init__(self, name: str, words: Sequence[str], *, patience_s: float = _PATIENCE_S) -> None:
        self._name, self._patience_s = name, patience_s
        self._folder = TemporaryDirectory(prefix="edge-fer-peer-")
        self.folder = Path(self._folder.name)
        self._log = self.folder / "stderr.txt"
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    list(words),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    env=os.environ | _QUIET | _SINGLE,
                )
        except OSError as err:
            self._folder.cleanup()
            raise MissingExtra(f"{words[0]} cannot be run ({err.strerror}).", _REMEDY) from err
        try:
            self.about = self._receive()
        except EdgeFerError:
            self.close()
            raise

    def ask(self, what: str, **words: Any) -> dict[str, Any]:
        """One request, and its answer.

        Raises:
            MissingExtra: the environment lacks something.
            DeviceError: it does not answer.
        """
        try:
            if self._process.stdin is None:
                raise BrokenPipeError
            self._process.stdin.write(json.dumps({"do": what, **words}) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError) as err:
            raise self._died() from err
        return self._receive()

    def close(self) -> None:
        """End it. Calling it twice is fine."""
        if self._process.stdin is not None:
            with suppress(OSError):
                self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._folder.cleanup()

    def _receive(self) -> dict[str, Any]:
        watch = Timer(self._patience_s, self._process.kill)
        watch.daemon = True
        watch.start()
        try:
            line = self._process.stdout.readline() if self._process.stdout else ""
        finally:
            watch.cancel()
        if not line.endswith("\n"):
            raise self._died()
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _died(self) -> MissingExtra | DeviceError:
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        said = last_line(self._log.read_text(errors="replace") if self._log.exists() else "")
        if "ModuleNotFoundError" in said or "ImportError" in said:
            return MissingExtra(f"The environment of {self._name} lacks something: {said}", _REMEDY)
        return DeviceError(f"The process that runs {self._name} ended: {said}", _REMEDY)


def last_line(text: str) -> str:
    """The last line of what a program said, shortened."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:_TAIL] if lines else "it said nothing"
