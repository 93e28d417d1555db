"""``edge-fer run`` by its defaults, in an environment of its own (see ``serve.py``)."""

from __future__ import annotations

import platform
from importlib.metadata import version
from typing import Any

import cv2

from peers.played import Shown, pipeline_on


class Worker:
    """The whole pipeline on one thread: tracking, gate, classifier, smoothing.

    Args:
        track: False for ``--no-track``: every frame afresh, as the peers do it.
    """

    def __init__(self, *, track: bool) -> None:
        self._camera = Shown()
        self._pipeline = pipeline_on(self._camera, track=track)

    def about(self) -> dict[str, Any]:
        """Files, versions."""
        from edge_fer_bench.roofline.networks import networks

        files = dict.fromkeys(str(part.model.path) for part in networks(self._pipeline))
        return {
            "name": self._pipeline.classifier.model.name,
            "files": list(files),
            "runtime": f"edge-fer {version('edge-fer')}, LiteRT {version('ai-edge-litert')}, "
            f"OpenCV {cv2.__version__}, its own Python {platform.python_version()}",
        }

    def begin(self) -> None:
        """A cut."""
        self._camera.cut()

    def look(self, picture: Any) -> int:
        """What one turn of the service does, its camera apart."""
        self._camera.show(picture)
        observation = self._pipeline.step()
        return 0 if observation is None else len(observation.faces)
