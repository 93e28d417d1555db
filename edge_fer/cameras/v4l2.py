"""USB cameras, and whatever else speaks V4L2, read through OpenCV."""

from __future__ import annotations

import os
from collections.abc import Callable
from time import monotonic_ns
from typing import Any, Literal, Protocol

import cv2
import numpy as np

from edge_fer.cameras.lazy import LazyFrame
from edge_fer.cameras.orientation import UPRIGHT, Orientation
from edge_fer.cameras.v4l2_nodes import Claim, claim
from edge_fer.errors import DataError, DeviceError, EdgeFerError
from edge_fer.quiet import hushed_opencv
from edge_fer.types import Frame, Image

__all__ = ["Capture", "PixelFormat", "V4l2Camera"]

PixelFormat = Literal["mjpg", "yuyv"]

_SIZE, _FPS = (640, 480), 30.0
_CODES = {name: cv2.VideoWriter.fourcc(*name.upper()) for name in ("mjpg", "yuyv")}
# USB 2.0, 5.9.2: an isochronous endpoint has 3 x 1024 bytes in each of 8,000 microframes a second.
_USB2_BYTES = 3 * 1024 * 8000
# One is filled while another is read. With a single one the driver would have nowhere to put the
# next picture, or, under releases of OpenCV that hand the buffer back before they copy it, would
# write into this one. More would only let pictures age.
_BUFFERS = 2
# A driver's time that is further off is of another clock.
_OLDEST_NS = 2_000_000_000
# BT.601 and V4L2's default for YUYV: black is 16 and white 235. JPEG, files and models have 0..255.
_FULL_RANGE = np.clip(np.rint((np.arange(256) - 16) * (255 / 219)), 0, 255).astype(np.uint8)


class Capture(Protocol):
    """The part of ``cv2.VideoCapture`` that is used here."""

    def isOpened(self) -> bool:  # noqa: N802
        """Whether the device gave in."""
        ...

    def read(self) -> tuple[bool, Any]:
        """Whether there is a picture, and its data."""
        ...

    def get(self, propId: int) -> float:  # noqa: N803
        """A property of the stream."""
        ...

    def set(self, propId: int, value: float) -> bool:  # noqa: N803
        """Ask for a property; True where it was taken."""
        ...

    def release(self) -> None:
        """Let go of the device."""
        ...


def _capture(path: str, api: int) -> Capture:
    # OpenCV reads it once, at the first capture: a dead camera is told in 2 s and not in 10.
    os.environ.setdefault("OPENCV_VIDEOIO_V4L_SELECT_TIMEOUT", "2")
    return cv2.VideoCapture(path, api)


class V4l2Camera:
    """A V4L2 camera: blocks until the next picture.

    YUYV where USB 2 can carry it at the wanted size and rate, for it needs no decoding; above that
    Motion JPEG, or the camera would drop to a few frames a second. Both come undecoded: luma is
    the Y of YUYV, or the JPEG decoded as gray; colour is made when somebody looks at it. Other
    formats are left to OpenCV.

    ``t_ns`` is the driver's time of the buffer (CLOCK_MONOTONIC, as UVC stamps it), or the time of
    reading where the driver's is of another clock. Damaged pictures count in ``sequence``.

    Args:
        device: a path (``/dev/video0``), or ``usb:NAME``, found anew under whatever number the
            camera has; see :func:`edge_fer.cameras.v4l2_nodes.find_node`.
        size: width and height to ask for, before any turn; the driver may give another.
        fps: pictures a second to ask for; the driver may give another.
        format: the pixel format; by size and rate if not given.
        orientation: how to turn the pictures.
        claim: finds the camera and makes sure that it is free.
        capture: opens it: ``cv2.VideoCapture``.
        clock_ns: CLOCK_MONOTONIC in ns.

    Attributes:
        size: width and height that the driver gives.
        fps: pictures a second that it promises.
        fourcc: its pixel format: ``"MJPG"``, ``"YUYV"`` or another.

    Raises:
        DeviceError: no such camera, not permitted, in use, not a camera, or not in that format.
        ConfigError: the name fits several.
    """

    def __init__(
        self,
        device: str,
        *,
        size: tuple[int, int] | None = None,
        fps: float | None = None,
        format: PixelFormat | None = None,  # noqa: A002
        orientation: Orientation = UPRIGHT,
        claim: Callable[[str], Claim] = claim,
        capture: Callable[[str, int], Capture] = _capture,
        clock_ns: Callable[[], int] = monotonic_ns,
    ) -> None:
        self.source = device
        self._asked = (size or _SIZE, fps or _FPS)
        self._orientation, self._clock_ns = orientation, clock_ns
        self._read = 0
        self._t_ns = 0
        self._closed = False
        self._video: Capture | None = None
        self._claim = claim(device)
        self._node = self._claim.node
        try:
            with hushed_opencv():
                self._video = capture(str(self._node.path), cv2.CAP_V4L2)
                self._negotiate(self._video, format)
        except BaseException:
            self.close()
            raise

    def describe(self) -> str:
        """What the camera is and gives, in one line, and what it was asked for where it differs."""
        (width, height), fps = self.size, self.fps
        text = f"{self._node}: {width}x{height} {self.fourcc} at {fps:g} frames a second"
        size, rate = self._asked
        if self.size != size or abs(fps - rate) > 0.5:
            text += f" (asked for {size[0]}x{size[1]} at {rate:g})"
        return text

    def read(self) -> Frame:
        """The next picture.

        Raises:
            DeviceError: the camera was unplugged, or gives nothing for 2 s.
            DataError: this picture is damaged; the next one may be whole.
        """
        if self._closed or self._video is None:
            raise EdgeFerError(f"The camera {self.source} was closed.")
        try:
            with hushed_opencv():
                there, data = self._video.read()
        except cv2.error as err:
            raise self._lost() from err
        if not there:
            raise self._lost()
        number = self._read
        self._read += 1
        self._t_ns = max(self._t_ns, self._stamp(self._video))
        if data is None or not data.size:
            raise self._damaged(number, "is empty")
        kwargs: dict[str, Any] = {
            "t_ns": self._t_ns,
            "sequence": number,
            "source": self.source,
        }
        if self.fourcc == "MJPG":
            return self._of_jpeg(data, kwargs)
        if self.fourcc == "YUYV":
            return self._of_yuyv(data, kwargs)
        return self._orientation.frame(np.asarray(data, np.uint8), **kwargs)

    def close(self) -> None:
        """Let go of the camera. Calling it twice is fine."""
        self._closed = True
        if self._video is not None:
            with hushed_opencv():
                self._video.release()
        self._claim.close()

    def _negotiate(self, video: Capture, wanted: PixelFormat | None) -> None:
        if not video.isOpened():
            raise DeviceError(
                f"{self._node.path} cannot be opened as a camera.",
                f"Look what it offers: v4l2-ctl --device {self._node.path} --list-formats-ext",
            )
        (width, height), fps = self._asked
        heavy = width * height * 2 * fps > _USB2_BYTES
        order = ("mjpg", "yuyv") if heavy else ("yuyv", "mjpg")
        for name in (wanted,) if wanted else order:
            # Where the camera lacks it, OpenCV takes what it likes and still says yes.
            video.set(cv2.CAP_PROP_FOURCC, _CODES[name])
            if video.get(cv2.CAP_PROP_FOURCC) == _CODES[name]:
                break
        video.set(cv2.CAP_PROP_FRAME_WIDTH, width)
        video.set(cv2.CAP_PROP_FRAME_HEIGHT, height)
        video.set(cv2.CAP_PROP_FPS, fps)
        video.set(cv2.CAP_PROP_BUFFERSIZE, _BUFFERS)
        self.fourcc = int(video.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little").decode("latin-1")
        if wanted and self.fourcc != wanted.upper():
            raise DeviceError(
                f"{self._node.path} does not offer {wanted}; it gives {self.fourcc}.",
                f"Leave the format out: {self.source}?size={width}x{height}",
            )
        self.size = (
            int(video.get(cv2.CAP_PROP_FRAME_WIDTH)),
            int(video.get(cv2.CAP_PROP_FRAME_HEIGHT)),
        )
        self.fps = video.get(cv2.CAP_PROP_FPS)
        if self.fourcc in ("MJPG", "YUYV"):
            video.set(cv2.CAP_PROP_CONVERT_RGB, 0)

    def _of_jpeg(self, data: Any, kwargs: dict[str, Any]) -> Frame:
        coded = np.ascontiguousarray(data, np.uint8).reshape(-1)
        # What is missing of a padded picture, decoders fill with gray and say nothing; the end
        # marker tells. OpenCV takes no picture without one.
        if coded[:2].tobytes() != b"\xff\xd8" or coded.tobytes().rfind(b"\xff\xd9") < 0:
            raise self._damaged(kwargs["sequence"], "is cut off")
        luma = _decoded(coded, cv2.IMREAD_GRAYSCALE)
        if luma is None:
            raise self._damaged(kwargs["sequence"], "cannot be decoded")
        turn = self._orientation.apply

        def colour() -> Image:
            picture = _decoded(coded, cv2.IMREAD_COLOR)
            return turn(np.repeat(luma[:, :, None], 3, axis=2) if picture is None else picture)

        return LazyFrame(luma=turn(luma), colour=colour, **kwargs)

    def _of_yuyv(self, data: Any, kwargs: dict[str, Any]) -> Frame:
        width, height = self.size
        flat = np.asarray(data, np.uint8).reshape(-1)
        # Releases of OpenCV differ in the shape; rows may be padded.
        row = flat.size // height
        if row < 2 * width:
            raise self._damaged(kwargs["sequence"], "is cut off")
        pairs = flat[: row * height].reshape(height, row)[:, : 2 * width].reshape(height, width, 2)
        luma = np.asarray(cv2.LUT(cv2.extractChannel(pairs, 0), _FULL_RANGE), np.uint8)
        turn = self._orientation.apply

        def colour() -> Image:
            return turn(np.asarray(cv2.cvtColor(pairs, cv2.COLOR_YUV2BGR_YUYV), np.uint8))

        return LazyFrame(luma=turn(luma), colour=colour, **kwargs)

    def _stamp(self, video: Capture) -> int:
        now = self._clock_ns()
        stamp = round(video.get(cv2.CAP_PROP_POS_MSEC) * 1e6)
        return stamp if now - _OLDEST_NS < stamp <= now else now

    def _damaged(self, number: int, how: str) -> DataError:
        return DataError(
            f"Picture {number} of {self.source} {how}.",
            "If it happens often, use another cable or USB port, or a smaller size.",
        )

    def _lost(self) -> DeviceError:
        if not self._claim.present():
            return DeviceError(
                f"{self.source} was unplugged.",
                "Plug it in again; named usb:NAME it is found under any number.",
            )
        if self._read == 0:
            return DeviceError(
                f"{self.source} opens but gives no picture.",
                "Try another USB port, no hub between, or a smaller size: "
                f"{self.source}?size=320x240",
            )
        return DeviceError(
            f"{self.source} stopped giving pictures.", "Plug it out and in again; see: dmesg | tail"
        )


def _decoded(coded: Image, flags: int) -> Image | None:
    try:
        picture = cv2.imdecode(coded, flags)
    except cv2.error:
        return None
    return None if picture is None else np.asarray(picture, np.uint8)
