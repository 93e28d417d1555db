"""The best of today's parts in a plain loop: OpenCV's YuNet, then vicksam's float ``.tflite``.

Runs in an environment with OpenCV, LiteRT and numpy, nothing else (see ``serve.py``).
"""

from __future__ import annotations

import platform
from importlib import import_module
from importlib.metadata import version
from typing import Any

_SIZE = (320, 240)
_LEAST_SCORE = 0.6


class Worker:
    """Shrink, YuNet, crop each box, the classifier; on one thread.

    Args:
        peer: vicksam's ``.tflite``: gray 48x48 in [0, 1].
        yunet: the ONNX file.
    """

    def __init__(self, *, peer: str, yunet: str) -> None:
        self._cv2: Any = import_module("cv2")
        self._cv2.setNumThreads(1)
        self._files = [peer, yunet]
        self._finder: Any = self._cv2.FaceDetectorYN.create(yunet, "", _SIZE, _LEAST_SCORE)
        litert: Any = import_module("ai_edge_litert.interpreter")
        self._network: Any = litert.Interpreter(model_path=peer, num_threads=1)
        self._network.allocate_tensors()
        self._input = self._network.get_input_details()[0]
        self._output = self._network.get_output_details()[0]["index"]

    def about(self) -> dict[str, Any]:
        """Files, versions."""
        return {
            "name": "vicksam/fer-model",
            "files": self._files,
            "runtime": f"LiteRT {version('ai-edge-litert')}, OpenCV {self._cv2.__version__}, its "
            f"own Python {platform.python_version()}",
        }

    def begin(self) -> None:
        """It follows nobody."""

    def look(self, picture: Any) -> int:
        """Every face by itself."""
        cv2, network = self._cv2, self._network
        _, found = self._finder.detect(cv2.resize(picture, _SIZE))
        gray = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        scale = picture.shape[1] / _SIZE[0]
        boxes = [] if found is None else (found[:, :4] * scale).astype(int).tolist()
        for x, y, w, h in boxes:
            face = cv2.resize(gray[max(0, y) : y + h, max(0, x) : x + w], (48, 48))
            pixels = face.astype("float32") / 255
            network.set_tensor(self._input["index"], pixels.reshape(self._input["shape"]))
            network.invoke()
            network.get_tensor(self._output).argmax()
        return len(boxes)
