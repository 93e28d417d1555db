"""picamera2 without a camera: the part of its class that is used, and only in its legal order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from time import monotonic_ns
from typing import Any

import cv2
import numpy as np

from edge_fer.cameras.picamera import PicameraCamera
from edge_fer.types import Image

__all__ = ["FULL_RANGE", "FakePicamera2", "FakePicameras", "FakeRequest", "fake_picamera"]

#: Stands for ``libcamera.ColorSpace.Sycc()``.
FULL_RANGE = "Sycc"

_CONTROLS = frozenset(
    {
        "AeFlickerMode",
        "AeFlickerPeriod",
        "AfMode",
        "AnalogueGain",
        "ExposureTime",
        "ExposureValue",
        "FrameDurationLimits",
    }
)
# Rows of the Pi 5's ISP are padded to this.
_ALIGN = 64
# Of what is still missing, the automatic exposure makes up this part with each frame.
_SPEED = 0.2
_GAMMA = 2.2


class FakePicameras:
    """Stands for the class ``Picamera2``: what is connected, and the opening of it.

    Args:
        pictures: what the camera sees, ``uint8[H, W, 3]`` in BGR order; scaled to the streams.
        models: the names of the cameras that are there.
        controls: what this libcamera advertises.
        missing: of those, what it does not.
        light_us: the shutter time at gain 1 that the automatic exposure wants.
        unplug_after: how many pictures until the cable is pulled.
        forever: begins anew after the last picture; otherwise the cable is pulled.
        sizes: the sizes that the hardware can do; anything else gives the first. Any if None.
        pixels: the pixel format that it gives, whatever was asked for.
        scales: whether its small stream is smaller.
        clock_ns: the clock of the sensor's time stamps.
    """

    def __init__(
        self,
        pictures: Sequence[Image],
        *,
        models: Sequence[str] = ("imx708",),
        controls: Collection[str] = _CONTROLS,
        missing: Collection[str] = (),
        light_us: float = 10_000.0,
        unplug_after: int | None = None,
        forever: bool = False,
        sizes: Sequence[tuple[int, int]] | None = None,
        pixels: str = "YUV420",
        scales: bool = True,
        clock_ns: Callable[[], int] = monotonic_ns,
    ) -> None:
        self.pictures, self.models = tuple(pictures), tuple(models)
        self.controls = frozenset(controls) - frozenset(missing)
        self.light_us, self.clock_ns, self.sizes = light_us, clock_ns, sizes
        self.pixels, self.scales = pixels, scales
        self.unplug_after = len(self.pictures) if unplug_after is None else unplug_after
        self.forever = forever and unplug_after is None
        self.plugged = True
        self.open: set[int] = set()
        self.given = 0

    def global_camera_info(self) -> list[dict[str, Any]]:
        """What is connected."""
        if not self.plugged:
            return []
        return [{"Model": model, "Num": n} for n, model in enumerate(self.models)]

    def plug(self) -> None:
        """Put the cable back."""
        self.plugged, self.forever = True, True

    def unplug(self) -> None:
        """Pull the cable; reading times out."""
        self.plugged = False

    def __call__(self, camera_num: int) -> FakePicamera2:
        """Open one.

        Raises:
            RuntimeError: it is not there, or in use.
        """
        if not self.plugged or camera_num >= len(self.models):
            raise RuntimeError(f"No camera number {camera_num} found")
        if camera_num in self.open:
            raise RuntimeError("Camera __init__ sequence did not complete.")
        return FakePicamera2(self, camera_num)

    def picture(self) -> Image | None:
        """What the camera sees now; None once its cable is pulled."""
        if not self.forever and self.given == self.unplug_after:
            self.unplug()
        if not self.plugged:
            return None
        self.given += 1
        return self.pictures[(self.given - 1) % len(self.pictures)]


class FakePicamera2:
    """One opened camera. Whatever the real one forbids is a RuntimeError here as well."""

    def __init__(self, cameras: FakePicameras, number: int) -> None:
        self._cameras, self._number = cameras, number
        cameras.open.add(number)
        self.config: dict[str, Any] = {}
        self.values: dict[str, Any] = {}
        self.started = self.closed = False
        self.held = 0
        self._stops = 0.0

    def create_video_configuration(
        self,
        *,
        main: Mapping[str, Any],
        lores: Mapping[str, Any] | None = None,
        raw: Mapping[str, Any] | None = None,
        colour_space: Any = None,
        buffer_count: int = 6,
        controls: Mapping[str, Any] | None = None,
        queue: bool = True,
    ) -> dict[str, Any]:
        """A configuration, not checked yet."""
        self._must(not self.closed, "Camera not opened")
        return {
            "main": dict(main),
            "lores": None if lores is None else dict(lores),
            "raw": raw,
            "colour_space": colour_space,
            "buffer_count": buffer_count,
            "controls": dict(controls or {}),
            "queue": queue,
        }

    def configure(self, config: dict[str, Any]) -> None:
        """Check a configuration and fill in what the hardware makes of it.

        Raises:
            RuntimeError: a stream's format or size is not legal, or the camera runs.
        """
        self._must(not self.started, "Camera must be stopped before configuring")
        main, lores = config["main"], config["lores"]
        for name, stream in (("main", main), ("lores", lores)):
            if stream is not None:
                self._must(stream["format"] == "YUV420", f"Bad format in stream {name}")
                even = not any(side % 2 for side in stream["size"])
                self._must(even, "width and height should be even")
        sizes = self._cameras.sizes
        if sizes and main["size"] not in sizes:
            main["size"] = sizes[0]
        if lores is not None and not self._cameras.scales:
            lores["size"] = main["size"]
        if lores is not None:
            fits = all(a <= b for a, b in zip(lores["size"], main["size"], strict=True))
            self._must(fits, "lores stream dimensions may not exceed main stream")
        for stream in (main, lores):
            if stream is not None:
                stream["format"] = self._cameras.pixels
                stream["stride"] = -(-stream["size"][0] // _ALIGN) * _ALIGN
        self.config = config
        self.set_controls(config["controls"])

    def set_controls(self, controls: Mapping[str, Any]) -> None:
        """Set some controls; those before one that is not known stay set.

        Raises:
            RuntimeError: this libcamera does not have a control.
        """
        self._must(bool(self.config), "Camera has not been configured")
        for name, value in controls.items():
            self._must(
                name in self._cameras.controls, f"Control {name} is not advertised by libcamera"
            )
            self.values[name] = value

    def start(self) -> None:
        """Let it run."""
        self._must(bool(self.config), "Camera has not been configured")
        self.started = True

    def capture_request(self, wait: float) -> FakeRequest:
        """The next picture, which must be released; nothing is really waited for.

        Raises:
            TimeoutError: none came, or all buffers are held.
        """
        self._must(self.started, "Camera is not running")
        self._must(wait > 0, "a wait without end or none at all")
        picture = None
        if self.held < self.config["buffer_count"]:
            picture = self._cameras.picture()
        if picture is None:
            raise TimeoutError
        self._stops += _SPEED * (self.values.get("ExposureValue", 0.0) - self._stops)
        return FakeRequest(self, self._exposed(picture), self._metadata())

    def stop(self) -> None:
        """Stop it; a stopped one stays stopped."""
        self.started = False

    def close(self) -> None:
        """Let go of it."""
        self._must(not self.started, "closed while running")
        self.closed = True
        self._cameras.open.discard(self._number)

    def _exposed(self, picture: Image) -> Image:
        brighter = 2 ** (self._stops / _GAMMA)
        return np.asarray(np.clip(np.rint(picture * brighter), 0, 255), np.uint8)

    def _metadata(self) -> dict[str, Any]:
        wanted = self._cameras.light_us * 2**self._stops
        fixed = self.values.get("ExposureTime", 0)
        exposure = fixed or min(wanted, self.values.get("FrameDurationLimits", (0, 33_333))[1])
        return {
            "SensorTimestamp": self._cameras.clock_ns(),
            "ExposureTime": round(exposure),
            "AnalogueGain": max(1.0, wanted / exposure),
        }

    def _must(self, legal: bool, otherwise: str) -> None:
        if not legal:
            raise RuntimeError(otherwise)


class FakeRequest:
    """One picture in the camera's buffers; it has to be released, once."""

    def __init__(self, camera: FakePicamera2, picture: Image, metadata: dict[str, Any]) -> None:
        self._camera, self._picture, self._metadata = camera, picture, metadata
        self._open = True
        camera.held += 1

    def make_array(self, name: str) -> Image:
        """``uint8[H * 3 / 2, S]``: a copy of a stream's planes, padding included."""
        if not self._open:
            raise RuntimeError("the request was released")
        stream = self._camera.config[name]
        if stream is None:
            raise RuntimeError(f"Stream {name!r} is not defined")
        full = self._camera.config["colour_space"] == FULL_RANGE
        paired = stream["format"] == "NV12"
        return planes_of(
            self._picture, stream["size"], stream["stride"], full_range=full, paired=paired
        )

    def get_metadata(self) -> dict[str, Any]:
        """Exposure and time of the picture."""
        return dict(self._metadata)

    def release(self) -> None:
        """Give the buffers back."""
        if not self._open:
            raise RuntimeError("a request was released twice")
        self._open = False
        self._camera.held -= 1


def planes_of(
    picture: Image,
    size: tuple[int, int],
    stride: int,
    *,
    full_range: bool = True,
    paired: bool = False,
) -> Image:
    """``uint8[H * 3 / 2, S]``: a BGR picture as YUV 4:2:0, rows padded with 255.

    U stands before V, or with ``paired`` they alternate, and the padding is cut off as picamera2
    does with NV12.
    """
    width, height = size
    if picture.shape[1::-1] != size:
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    luma, v, u = cv2.split(cv2.cvtColor(picture, cv2.COLOR_BGR2YCrCb))
    planes = np.full((height * 3 // 2, stride), 255, np.uint8)
    planes[:height, :width] = luma if full_range else np.rint(16 + luma * (219 / 255))
    if paired:
        planes = np.ascontiguousarray(planes[:, :width])
        halves = planes[height:].reshape(height // 2, width // 2, 2).transpose(2, 0, 1)
    else:
        halves = planes[height:].reshape(2, height // 2, stride // 2)
    for half, chroma in zip(halves, (u, v), strict=True):
        small = cv2.resize(chroma, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
        half[:, : width // 2] = small
    return planes


def fake_picamera(cameras: FakePicameras, index: int = 0, **options: Any) -> PicameraCamera:
    """A :class:`~edge_fer.cameras.picamera.PicameraCamera` on a fake picamera2.

    Args:
        cameras: what it opens; opening one twice at a time fails as with the real one.
        index: which of them.
        options: of the camera.
    """
    return PicameraCamera(index, picamera2=cameras, colour_space=FULL_RANGE, **options)
