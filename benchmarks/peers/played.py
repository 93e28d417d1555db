"""The pipeline of ``edge-fer run`` on pictures that somebody hands it one by one."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import cv2
import numpy as np

from edge_fer.assemble import build
from edge_fer.cameras.orientation import UPRIGHT
from edge_fer.config import load_settings
from edge_fer.pipeline import Pipeline
from edge_fer.types import Frame, Image

__all__ = ["Shown", "pipeline_on"]

_FRAME_NS = 33_333_333
_CUT = 100  # frames: long enough for a tracker to forget everybody


class Shown:
    """A camera that makes a frame of each picture as the real ones do, 30 a second."""

    def __init__(self) -> None:
        self._next: Image | None = None
        self._shown = 0

    def show(self, picture: Image) -> None:
        """What :meth:`read` gives next, once."""
        self._next = picture

    def cut(self) -> None:
        """What comes next comes much later."""
        self._shown += _CUT

    def read(self) -> Frame | None:
        picture, self._next = self._next, None
        if picture is None:
            return None
        self._shown += 1
        return UPRIGHT.frame(
            picture, t_ns=self._shown * _FRAME_NS, sequence=self._shown, source="clip"
        )

    def close(self) -> None:
        self._next = None


def pipeline_on(camera: Shown, *, track: bool) -> Pipeline:
    """What ``edge-fer run`` builds by default, on one thread, with this camera.

    Raises:
        EdgeFerError: whatever the parts raise.
    """
    with TemporaryDirectory(prefix="edge-fer-") as folder:
        # A source that takes no memory; nobody ever looks at it.
        source = Path(folder) / "dot.png"
        cv2.imwrite(str(source), np.zeros((1, 1, 3), np.uint8))
        settings = load_settings(None, {"source": str(source), "threads": 1, "track": track})
        pipeline = build(settings)
        pipeline.camera.close()
    pipeline.camera = camera
    return pipeline
