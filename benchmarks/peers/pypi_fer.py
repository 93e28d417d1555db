"""PyPI's ``fer``, the package that most users get, in a virtual environment of its own.

It needs TensorFlow, an OpenCV below 5 and a setuptools that still has ``pkg_resources``, so it
runs as a process of its own (``fer_worker.py``) that is asked line by line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Timer
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.errors import DataError, DeviceError, EdgeFerError, MissingExtra
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.evaluation.labels import canonical
from edge_fer.types import Image
from peers.entrant import Card, Part, Step
from peers.timing import core

__all__ = ["NAME", "VENV", "FerEntrant", "find_python", "make_venv"]

NAME = "fer"
VENV = Path(__file__).resolve().parents[2] / ".venv-peer-fer"
# Its own requirements ask for moviepy, pandas and torch, which classifying does not touch.
_INSTALL = (
    ("--no-deps", "fer==25.10.3"),
    ("tensorflow", "opencv-contrib-python<5", "setuptools<81", "requests", "pillow"),
)
_WORKER = Path(__file__).with_name("fer_worker.py")
_PATIENCE_S = 600.0
_TAIL = 400
_TERMS = "MIT; derived from oarriaga/face_classification (MIT), trained on FER2013"


def make_venv(folder: Path = VENV, *, on_step: Callable[[str], None] = lambda line: None) -> Path:
    """Make the environment afresh (about 2 GB, from PyPI) and give its Python.

    Raises:
        MissingExtra: venv or pip failed.
    """
    python = folder / "bin" / "python"
    commands = [[sys.executable, "-m", "venv", "--clear", str(folder)]]
    for words in _INSTALL:
        commands.append([str(python), "-m", "pip", "install", "--quiet", *words])
    for command in commands:
        on_step(" ".join(command))
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise MissingExtra(
                f"The environment for fer could not be made: {_last(done.stderr or done.stdout)}",
                f"Mend that and try again; the command was: {' '.join(command)}",
            )
    return python


def find_python(stated: Path | None, folder: Path = VENV) -> Path:
    """The Python that has ``fer``: what was stated, or that of :func:`make_venv`.

    Raises:
        MissingExtra: there is none.
    """
    python = stated or folder / "bin" / "python"
    if not python.exists():
        raise MissingExtra(
            f"There is no Python with the package fer at {stated or folder.name}.",
            "Make one with --make-venv, or name one with --fer-python.",
        )
    return python


class FerEntrant:
    """``fer.fer.FER()`` with its defaults, each row given as one face box (no padding around it).

    Args:
        python: of the environment that has it.
        worker: the script that it runs.
        patience_s: how long one answer may take.

    Raises:
        MissingExtra: the environment lacks something.
        DeviceError: it does not answer.
    """

    def __init__(
        self, python: Path, *, worker: Path = _WORKER, patience_s: float = _PATIENCE_S
    ) -> None:
        self._patience_s = patience_s
        self._folder = TemporaryDirectory(prefix="edge-fer-peer-")
        self._log = Path(self._folder.name) / "stderr.txt"
        quiet = {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
        single = {"OMP_NUM_THREADS": "1", "TF_NUM_INTRAOP_THREADS": "1"}
        try:
            with self._log.open("wb") as log:
                self._process = subprocess.Popen(
                    [str(python), "-I", str(worker), str(core())],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    env=os.environ | quiet | single,
                )
        except OSError as err:
            self._folder.cleanup()
            raise MissingExtra(f"{python} cannot be run ({err.strerror}).", _REMEDY) from err
        try:
            self.card = _card(self._receive())
        except EdgeFerError:
            self.close()
            raise

    def probabilities(
        self, faces: LabelledFaces, on_step: Step = lambda done, total: None
    ) -> NDArray[np.float64]:
        rows, out = (Path(self._folder.name) / name for name in ("rows.npz", "answer.npz"))
        np.savez(rows, images=_stacked(faces.images))
        self._ask({"do": "classify", "rows": str(rows), "out": str(out)})
        with np.load(out) as stored:
            found = stored["probabilities"].astype(np.float64)
        on_step(len(faces), len(faces))
        return np.asarray(found)

    def prepare(self, images: Sequence[Image]) -> None:
        rows, out = (Path(self._folder.name) / name for name in ("timed.npz", "unused.npz"))
        np.savez(rows, images=_stacked(images))
        self._ask({"do": "classify", "rows": str(rows), "out": str(out)})

    def time(self, part: Part, calls: int) -> list[int]:
        return [int(ns) for ns in self._ask({"do": "time", "part": part, "calls": calls})["ns"]]

    def frames(self, path: Path) -> tuple[list[int], list[int]]:
        """Nanoseconds and number of faces of each ``uint8[N, H, W, 3]`` BGR picture of a .npy."""
        answer = self._ask({"do": "frames", "frames": str(path)})
        return [int(ns) for ns in answer["ns"]], [int(n) for n in answer["faces"]]

    def close(self) -> None:
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

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        try:
            if self._process.stdin is None:
                raise BrokenPipeError
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        except (OSError, ValueError) as err:
            raise self._died() from err
        return self._receive()

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
        said = _last(self._log.read_text(errors="replace") if self._log.exists() else "")
        if "ModuleNotFoundError" in said or "ImportError" in said:
            return MissingExtra(f"The environment of fer lacks something: {said}", _REMEDY)
        return DeviceError(f"The process that runs fer ended: {said}", _REMEDY)


def _card(about: dict[str, Any]) -> Card:
    return Card(
        name=f"{NAME} {about['fer']}",
        ours=False,
        numbers="int8 weights",
        labels=tuple(canonical(name) for name in about["labels"]),
        size_bytes=about["size_bytes"],
        sha256=about["sha256"],
        runtime=f"TensorFlow {about['tensorflow']}, OpenCV {about['opencv']}, its own Python "
        f"{about['python']}, held to one core",
        terms=_TERMS,
    )


def _stacked(images: Sequence[Image]) -> Image:
    if len({image.shape for image in images}) != 1:
        raise DataError("fer is measured on rows of one size only.", "Give --data of one size.")
    return np.stack(list(images))


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:_TAIL] if lines else "it said nothing"


_REMEDY = "Make the environment afresh with --make-venv."
