"""Runs inside a peer's environment and answers requests, of ``process.py``, to one worker module.

Usage: serve.py MODULE CORE JSON. The module of this package has a class ``Worker``, which gets
the keywords of the JSON object. Every request is one JSON line on stdin, every answer one on
stdout; the first answer comes unasked and is what ``Worker.about()`` says. Nothing of edge-fer is
imported, and numpy is all that an environment must have for it.

``{"do": "frames", "file": F, "count": N, "shape": [H, W, 3]}`` takes every ``uint8`` BGR picture of
a raw file from pixels to named faces: ``ns`` and ``faces`` of each.
``{"do": "classify", "rows": IN.npz, "out": OUT.npz}`` reads ``images uint8[N,H,W(,3)]`` (luma or
RGB) and writes ``probabilities float32[N,C]``.
``{"do": "time", "part": "answer" or "network", "calls": K}`` times calls on the rows read last.
``{"do": "memory"}`` answers with this process's peak so far, ``peak_mb``.
"""

from __future__ import annotations

import json
import os
import re
import sys
from importlib import import_module
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Protocol


class Program(Protocol):
    """What looks at whole pictures; a module's ``Worker``."""

    def about(self) -> dict[str, Any]:
        """``name`` of the classifier, ``files``: the paths of all models, ``runtime`` in words.

        One that also names single faces adds ``numbers``, ``labels``, ``model`` (the classifier's
        path) and ``terms``, as in :class:`peers.entrant.Card`.
        """
        ...

    def begin(self) -> None:
        """What comes is another scene: nobody is known any more."""
        ...

    def look(self, picture: Any) -> int:
        """Find and name all faces of ``uint8[H, W, 3]`` BGR; how many."""
        ...


class Namer(Program, Protocol):
    """One that can be given a face without its finding it."""

    def row(self, image: Any) -> Any:
        """A face crop in the form that it takes from a camera."""
        ...

    def name(self, row: Any) -> Any:
        """Probabilities of one face crop, by its own preprocessing."""
        ...

    def names(self, rows: list[Any]) -> Any:
        """The same of many, as quickly as it can."""
        ...

    def again(self) -> None:
        """Its network alone, on what the last :meth:`name` gave it."""
        ...


class Server:
    """A worker's answers."""

    def __init__(self, worker: Any) -> None:
        self._worker: Namer = worker
        self._rows: list[Any] = []

    def frames(self, file: str, count: int, shape: list[int]) -> dict[str, Any]:
        """One picture in memory at a time, so that its peak is not the clip's size."""
        import numpy as np

        spent, faces, size = [], [], int(np.prod(shape))
        self._worker.begin()
        for place in range(count):
            flat = np.fromfile(file, np.uint8, size, offset=place * size)
            picture = flat.reshape(shape)
            began = perf_counter_ns()
            found = self._worker.look(picture)
            spent.append(perf_counter_ns() - began)
            faces.append(found)
        return {"ns": spent, "faces": faces}

    def classify(self, rows: str, out: str) -> dict[str, Any]:
        """Every row of a file."""
        import numpy as np

        with np.load(rows) as stored:
            self._rows = [self._worker.row(image) for image in stored["images"]]
        found = np.asarray(self._worker.names(self._rows), np.float32)
        np.savez(out, probabilities=found)
        return {"n": len(found)}

    def time(self, part: str, calls: int) -> dict[str, Any]:
        """Nanoseconds of each call."""
        spent = []
        self._worker.name(self._rows[0])
        for call in range(calls):
            row = self._rows[call % len(self._rows)]
            began = perf_counter_ns()
            if part == "network":
                self._worker.again()
            else:
                self._worker.name(row)
            spent.append(perf_counter_ns() - began)
        return {"ns": spent}

    def memory(self) -> dict[str, Any]:
        """Peak resident memory of this process, in 10^6 bytes; None where the kernel has no word.

        ``ru_maxrss`` would also count what a parent had before exec.
        """
        status = Path("/proc/self/status")
        told = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text() if status.exists() else "", re.M)
        return {"peak_mb": int(told[1]) * 1024 / 1e6 if told else None}


def main() -> None:
    """Serve until stdin is closed."""
    module, core, arguments = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not come between the answers
    if core >= 0:
        os.sched_setaffinity(0, {core})  # before a library counts the cores for its threads
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    worker = import_module(f"peers.{module}").Worker(**arguments)
    server = Server(worker)

    def answer(document: dict[str, Any]) -> None:
        answers.write(json.dumps(document) + "\n")
        answers.flush()

    answer(worker.about() | server.memory())
    for line in sys.stdin:
        request = json.loads(line)
        what = request.pop("do")  # frames, classify, time or memory
        answer(getattr(server, what)(**request))


if __name__ == "__main__":
    main()
