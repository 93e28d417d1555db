"""A V4L2 camera without a device: what ``cv2.VideoCapture`` and the kernel would say of one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from time import monotonic_ns
from typing import Any

import cv2
import numpy as np

from edge_fer.cameras.v4l2 import V4l2Camera
from edge_fer.cameras.v4l2_nodes import VideoNode
from edge_fer.errors import DeviceError
from edge_fer.types import Image

__all__ = ["FakeClaim", "FakeV4l2Device", "FakeVideoCapture", "fake_v4l2_camera"]


class FakeV4l2Device:
    """The camera itself: one stick, that one program at a time may open.

    Unplugged after its last picture, unless ``forever``.

    Args:
        pictures: ``uint8[H, W, 3]`` in BGR order, all of one size.
        formats: the pixel formats that it offers, as four letters; the first is what OpenCV takes
            where it lacks the one that was asked for.
        sizes: the sizes that it offers; anything else gives the first. The pictures' own if None.
        fps: the rate that it gives, whatever was asked for.
        corrupt: numbers of the pictures that arrive damaged.
        empty: numbers of the pictures that arrive without data.
        unplug_after: how many pictures until it is pulled out; plug() puts it back.
        silent: it opens, and never gives a picture.
        forever: begins anew after the last picture.
        clock_ns: its driver's clock.
        path: the node that it has.
    """

    def __init__(
        self,
        pictures: Sequence[Image],
        *,
        formats: Sequence[str] = ("YUYV", "MJPG"),
        sizes: Sequence[tuple[int, int]] | None = None,
        fps: float = 30.0,
        corrupt: Iterable[int] = (),
        empty: Iterable[int] = (),
        unplug_after: int | None = None,
        silent: bool = False,
        forever: bool = False,
        clock_ns: Callable[[], int] = monotonic_ns,
        path: str = "/dev/video0",
    ) -> None:
        self.pictures = tuple(pictures)
        height, width = self.pictures[0].shape[:2]
        self.formats, self.sizes = tuple(formats), tuple(sizes or [(width, height)])
        self.fps, self.clock_ns, self.silent = fps, clock_ns, silent
        self.corrupt, self.empty = frozenset(corrupt), frozenset(empty)
        self.forever, self.unplug_after = forever, unplug_after
        self.node = VideoNode(path=Path(path), name="Fake Camera", serial="FAKE01")
        self.plugged = True
        self.busy = self.streaming = False
        self.given = 0

    def plug(self) -> None:
        """Put it back in; it has not to be claimed anew, but opened."""
        self.plugged, self.unplug_after = True, None

    def unplug(self) -> None:
        """Pull it out; whoever reads it is told at the next picture."""
        self.plugged = False

    def claim(self, device: str) -> FakeClaim:
        """What :func:`edge_fer.cameras.v4l2_nodes.claim` would say.

        Raises:
            DeviceError: it is unplugged, or in use.
        """
        if not self.plugged:
            raise DeviceError(f"There is no camera {device}.", "No camera is there.")
        if self.busy:
            raise DeviceError(f"{self.node.path} is in use by another process.", "Stop it first.")
        return FakeClaim(self)

    def capture(self, path: str, api: int) -> FakeVideoCapture:
        """What ``cv2.VideoCapture(path, api)`` would return."""
        if (path, api) != (str(self.node.path), cv2.CAP_V4L2):
            raise AssertionError(f"opened {path!r} by backend {api}")
        return FakeVideoCapture(self)

    def picture(self) -> tuple[int, Image] | None:
        """The next picture and its number; None once there is none."""
        if self.given == self.unplug_after or (
            not self.forever and self.given == len(self.pictures)
        ):
            self.unplug()
        if not self.plugged or self.silent:
            return None
        self.given += 1
        return self.given - 1, self.pictures[(self.given - 1) % len(self.pictures)]


class FakeClaim:
    """The right to use a fake camera."""

    def __init__(self, device: FakeV4l2Device) -> None:
        self.node = device.node
        self._device = device
        self._open = True
        device.busy = True

    def present(self) -> bool:
        """Whether the camera is still plugged in."""
        return self._device.plugged

    def close(self) -> None:
        """Let somebody else have it. Calling it twice is fine."""
        if self._open:
            self._open = self._device.busy = False


class FakeVideoCapture:
    """The part of ``cv2.VideoCapture`` that a V4L2 camera needs, with the ways of the real one.

    Formats and sizes can be asked for until the first picture. Without conversion it gives the
    buffer: ``uint8[1, N]`` JPEG with zeros behind, or ``uint8[H, W, 2]`` Y0 U Y1 V. Some releases
    of OpenCV give that as ``uint8[1, 2 * H * W]``, as damaged pictures come here.
    """

    def __init__(self, device: FakeV4l2Device) -> None:
        self._device = device
        self._fourcc = device.formats[0]
        self._size = device.sizes[0]
        self._asked: dict[int, float] = {}
        self._convert = True
        self._t_ns = 0
        self._opened = device.plugged and not device.streaming
        self._streams = False
        device.streaming |= self._opened

    def isOpened(self) -> bool:  # noqa: N802
        """Whether the device could be opened, and was not released since."""
        return self._opened

    def set(self, propId: int, value: float) -> bool:  # noqa: N803
        """Ask for a property, as OpenCV takes it: sizes in pairs, formats never refused."""
        if self._streams:
            raise AssertionError(f"property {propId} was set while streaming")
        if propId == cv2.CAP_PROP_FOURCC:
            name = int(value).to_bytes(4, "little").decode()
            self._fourcc = name if name in self._device.formats else self._device.formats[0]
            return True
        if propId == cv2.CAP_PROP_CONVERT_RGB:
            self._convert = bool(value)
            return True
        self._asked[propId] = value
        wide, high = (
            self._asked.get(p) for p in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
        if wide and high:
            size = (int(wide), int(high))
            self._size = size if size in self._device.sizes else self._device.sizes[0]
        return True

    def get(self, propId: int) -> float:  # noqa: N803
        """What the driver gives."""
        if propId == cv2.CAP_PROP_FOURCC:
            return float(int.from_bytes(self._fourcc.encode(), "little"))
        known: dict[int, float] = {
            cv2.CAP_PROP_FRAME_WIDTH: self._size[0],
            cv2.CAP_PROP_FRAME_HEIGHT: self._size[1],
            cv2.CAP_PROP_FPS: self._device.fps,
            cv2.CAP_PROP_CONVERT_RGB: self._convert,
            cv2.CAP_PROP_BUFFERSIZE: self._asked.get(cv2.CAP_PROP_BUFFERSIZE, 4),
            cv2.CAP_PROP_POS_MSEC: self._t_ns / 1e6,
        }
        return float(known[propId])

    def read(self) -> tuple[bool, Any]:
        """The next buffer; (False, None) when the camera is gone or gives nothing."""
        self._streams = True
        found = self._device.picture() if self._opened else None
        if found is None:
            return False, None
        number, picture = found
        self._t_ns = self._device.clock_ns()
        if number in self._device.empty:
            return True, np.zeros((1, 0), np.uint8)
        if picture.shape[1::-1] != self._size:
            picture = np.asarray(cv2.resize(picture, self._size), np.uint8)
        if self._convert:
            return True, picture.copy()
        data = jpeg(picture) if self._fourcc == "MJPG" else yuyv(picture)
        if number in self._device.corrupt:
            return True, data[:, : data.shape[1] // 2]
        return True, data if self._fourcc == "MJPG" else data.reshape(*picture.shape[:2], 2)

    def release(self) -> None:
        """Close it."""
        if self._opened:
            self._opened = self._device.streaming = False


def jpeg(picture: Image) -> Image:
    """``uint8[1, N]``: a picture as JPEG, with zeros behind, as USB cameras pad it."""
    coded = np.asarray(cv2.imencode(".jpg", picture)[1], np.uint8).reshape(1, -1)
    return np.pad(coded, ((0, 0), (0, 16)))


def yuyv(picture: Image) -> Image:
    """``uint8[1, 2 * H * W]``: a picture as Y0 U Y1 V, BT.601 in 16..235; its width is even."""
    blue, green, red = (picture[:, :, n].astype(np.float32) for n in range(3))
    luma = 16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255
    pairs = np.empty((*picture.shape[:2], 2), np.uint8)
    pairs[:, :, 0] = np.rint(luma)
    u = 128 + (-37.797 * red - 74.203 * green + 112.0 * blue) / 255
    v = 128 + (112.0 * red - 93.786 * green - 18.214 * blue) / 255
    pairs[:, ::2, 1] = np.rint((u[:, ::2] + u[:, 1::2]) / 2)
    pairs[:, 1::2, 1] = np.rint((v[:, ::2] + v[:, 1::2]) / 2)
    return pairs.reshape(1, -1)


def fake_v4l2_camera(device: FakeV4l2Device, **options: Any) -> V4l2Camera:
    """A :class:`~edge_fer.cameras.v4l2.V4l2Camera` on a fake device.

    Args:
        device: what it opens; opening it twice at a time fails as with a real one.
        options: of the camera.
    """
    return V4l2Camera(str(device.node.path), claim=device.claim, capture=device.capture, **options)
