"""A camera that can be opened again, so that warming up uses up no frame of a recording."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, Self

from edge_fer.errors import CameraAway
from edge_fer.pipeline import Pipeline
from edge_fer.types import Box, Camera, Frame

__all__ = ["Source", "SourceKind", "kind_of"]

SourceKind = Literal["synthetic", "recording", "camera", "stream"]
_DEVICE_SCHEMES = ("/dev/", "picamera2:", "usb:")
_PATIENCE = 10  # times that a live camera may say, a second after each other, that it has nothing


def kind_of(uri: str) -> SourceKind:
    """``synthetic``, ``recording`` (a file or a folder), ``camera`` or ``stream``."""
    head = uri.partition("?")[0]
    if head == "synthetic":
        return "synthetic"
    if head.startswith(_DEVICE_SCHEMES):
        return "camera"
    if "://" in head:
        return "stream"
    return "recording"


class Source:
    """A :class:`~edge_fer.types.Camera` over another one that is opened by ``open_camera``.

    Args:
        uri: what the user called the source.
        open_camera: opens it; may raise.
        camera: what is open already; default: it is opened now.

    Attributes:
        size: width and height of the last frame in pixels, None before the first.
    """

    def __init__(
        self, uri: str, open_camera: Callable[[str], Camera], camera: Camera | None = None
    ) -> None:
        self.uri = uri
        self.kind = kind_of(uri)
        self.size: tuple[int, int] | None = None
        self._open = open_camera
        self._ahead: Frame | None = None
        self._camera = open_camera(uri) if camera is None else camera

    @classmethod
    def of(cls, pipeline: Pipeline, uri: str, open_camera: Callable[[str], Camera]) -> Self:
        """Takes the place of a pipeline's camera, which it reads on from.

        Args:
            pipeline: with a camera that is open.
            uri: what the user called the source.
            open_camera: opens it anew; may raise.
        """
        source = cls(uri, open_camera, pipeline.camera)
        pipeline.camera = source
        return source

    @property
    def live(self) -> bool:
        """Whether frames come at a rate of their own, which then limits the run."""
        paced = self.kind == "synthetic" and "fps=" in self.uri
        return paced or self.kind in ("camera", "stream")

    @property
    def dropped(self) -> int | None:
        """Frames that came and were not taken so far; None where the source does not count them."""
        status = getattr(self._camera, "status", None)
        return int(status()["dropped"]) if callable(status) else None

    def read(self) -> Frame | None:
        """The next frame, or None at the end.

        Raises:
            CameraAway: a live camera has given nothing for about ten seconds.
        """
        frame = self._next()
        if frame is not None:
            self.size = (frame.width, frame.height)
        return frame

    def _next(self) -> Frame | None:
        if self._ahead is not None:
            ahead, self._ahead = self._ahead, None
            return ahead
        for _ in range(_PATIENCE - 1):
            try:
                return self._camera.read()
            except CameraAway:  # it is being reopened
                continue
        return self._camera.read()

    def meter_on(self, box: Box | None) -> None:
        """Expose for this face, where the camera can do that, as in ``edge-fer run``."""
        meter = getattr(self._camera, "meter_on", None)
        if callable(meter):
            meter(box)

    def rewind(self) -> bool:
        """Start a recording from its first frame again, which is read at once.

        Returns:
            False for sources that have none.

        Raises:
            DataError: it cannot be opened or read any more.
        """
        if self.kind != "recording":
            return False
        self._camera.close()
        self._camera = self._open(self.uri)
        # A decoder starts with the first picture; of a short recording, gone through often, that
        # would make the 99th percentile.
        self._ahead = self._camera.read()
        return True

    def close(self) -> None:
        """Close what is open. Twice is fine."""
        self._camera.close()
