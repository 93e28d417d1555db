"""Cameras on a Pi's ribbon cable, through picamera2.

Of picamera2 only these are used: ``global_camera_info``, ``create_video_configuration``,
``configure``, ``start``, ``capture_request``, ``set_controls``, ``stop``, ``close``, and of a
request ``make_array``, ``get_metadata``, ``release``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from importlib import import_module
from typing import Any, Literal, Protocol

import numpy as np

from edge_fer.cameras.exposure import FaceMeter, ShutterCap
from edge_fer.cameras.lazy import LazyFrame
from edge_fer.cameras.orientation import UPRIGHT, Orientation
from edge_fer.errors import ConfigError, DeviceError, EdgeFerError, MissingExtra
from edge_fer.pictures import bgr_of_planes
from edge_fer.types import Box, Frame, Image

__all__ = ["Picamera2Class", "PicameraCamera"]

# The shipped detector's input: the camera scales to it for nothing.
_LORES = (256, 192)
_BUFFERS = 4
# Half a lamp's mains period: it flickers twice in one.
_FLICKER_US = {50: 10_000, 60: 8_333}
_SHORTEST_MS = 0.1
_MANUAL_FLICKER, _CONTINUOUS_FOCUS = 1, 2  # libcamera's AeFlickerModeEnum, AfModeEnum
# The middle of a box is face; its corners are what stands behind.
_MIDDLE = 0.6


class Picamera2Class(Protocol):
    """The class ``picamera2.Picamera2``, as far as it is used."""

    def __call__(self, camera_num: int) -> Any:
        """Open a camera."""
        ...

    def global_camera_info(self) -> list[Any]:
        """The cameras that are there."""
        ...


class PicameraCamera:
    """A camera that libcamera knows: blocks until the next picture.

    The camera gives YUV 4:2:0 in full range; its Y plane is the luma, without conversion and with
    no copy but that out of the camera's buffer. Colour is made when somebody looks at it. A
    second, small stream at the detector's size comes from the camera's own scaler (``lores``).
    ``t_ns`` is when the sensor began to expose. A camera with autofocus focuses continuously.

    Args:
        index: 0 is the first camera of ``rpicam-hello --list-cameras``.
        size: width and height, before any turn; both even.
        fps: frames a second; the shutter cannot be longer than one of them.
        flicker: the mains frequency in Hz, to expose in whole periods of the lamps' light. A
            libcamera without that control (before 2023-08) runs without; :attr:`notes` says so.
        shutter_cap_ms: the longest shutter time, against blur; see
            :class:`~edge_fer.cameras.exposure.ShutterCap`.
        meter: ``"face"`` exposes for the face that :meth:`meter_on` names.
        orientation: how to turn the pictures.
        picamera2: the class, where it is not ``picamera2.Picamera2``.
        colour_space: libcamera's ``ColorSpace.Sycc()``, for such a class.
        clock_ns: CLOCK_MONOTONIC in ns.
        boottime_ns: CLOCK_BOOTTIME in ns.

    Attributes:
        size: width and height that the camera gives.
        notes: what was asked for and is not to be had here.

    Raises:
        MissingExtra: picamera2 is not installed, or not visible in this environment.
        DeviceError: no such camera, or it is in use.
        ConfigError: a setting that the camera cannot take.
    """

    def __init__(
        self,
        index: int = 0,
        *,
        size: tuple[int, int] = (640, 480),
        fps: float = 30.0,
        flicker: Literal[50, 60] | None = None,
        shutter_cap_ms: float | None = None,
        meter: Literal["frame", "face"] = "frame",
        orientation: Orientation = UPRIGHT,
        picamera2: Picamera2Class | None = None,
        colour_space: Any = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        boottime_ns: Callable[[], int] = lambda: time.clock_gettime_ns(time.CLOCK_BOOTTIME),
    ) -> None:
        _check(size, fps, flicker, shutter_cap_ms)
        self.source = f"picamera2:{index}"
        self.notes: tuple[str, ...] = ()
        self._fps, self._orientation = fps, orientation
        self._clock_ns, self._boottime_ns = clock_ns, boottime_ns
        self._shutter = ShutterCap(round(shutter_cap_ms * 1000)) if shutter_cap_ms else None
        self._meter = FaceMeter() if meter == "face" else None
        self._face: Box | None = None
        self._sequence = self._t_ns = 0
        self._closed = False
        if picamera2 is None:
            picamera2, colour_space = _installed()
        self._camera = _opened(picamera2, index)
        try:
            self._start(size, flicker, colour_space)
        except BaseException:
            self.close()
            raise

    def describe(self) -> str:
        """What the camera gives, in one line, and what it cannot do of what was asked for."""
        width, height = self.size
        text = f"{self.source}: {width}x{height} {self._format} at {self._fps:g} frames a second"
        if self._lores is not None:
            text += f", detection at {self._lores[0]}x{self._lores[1]}"
        return " ".join((text, *self.notes))

    def read(self) -> Frame:
        """The next picture.

        Raises:
            DeviceError: the camera gives nothing for 2 s, or five frames' time.
        """
        if self._closed:
            raise EdgeFerError(f"The camera {self.source} was closed.")
        try:
            # Releases before 2023 take any number for "as long as it takes".
            request = self._camera.capture_request(wait=max(2.0, 5 / self._fps))
            try:
                planes: Image = request.make_array("main")
                small: Image | None = request.make_array("lores") if self._lores else None
                metadata = request.get_metadata()
            finally:
                request.release()
        except (RuntimeError, OSError, CancelledError) as err:
            raise DeviceError(
                f"{self.source} gives no pictures ({str(err) or type(err).__name__}).",
                "Check the ribbon cable at both ends; see: dmesg | tail",
            ) from err
        frame = self._frame(planes, small, metadata)
        self._control(frame, metadata)
        return frame

    def meter_on(self, box: Box | None) -> None:
        """Expose for this face from now on, or for none; without ``meter="face"`` a no-op.

        Args:
            box: the face, in pixels of the frames as they are given out.
        """
        self._face = box

    def close(self) -> None:
        """Stop the camera and let go of it. Calling it twice is fine."""
        if not self._closed:
            self._closed = True
            try:
                self._camera.stop()
            finally:
                self._camera.close()

    def _start(self, size: tuple[int, int], flicker: int | None, colour_space: Any) -> None:
        period = round(1e6 / self._fps)
        lores = _lores_size(size, self._orientation)
        config = self._camera.create_video_configuration(
            main={"format": "YUV420", "size": size},
            # The older ISP makes its small stream in YUV only, and never larger than the other.
            lores=None if lores is None else {"format": "YUV420", "size": lores},
            raw=None,
            # Video is 16..235 if nothing is said; models and JPEG have 0..255.
            colour_space=colour_space,
            buffer_count=_BUFFERS,
            # A picture that was waiting is an old one.
            queue=False,
        )
        try:
            self._camera.configure(config)
        except RuntimeError as err:
            raise ConfigError(
                f"{self.source} does not take {size[0]}x{size[1]} ({err}).",
                "Leave size out, or look at the modes: rpicam-hello --list-cameras",
            ) from err
        # Adjusted in place where the hardware gives something else.
        self.size: tuple[int, int] = config["main"]["size"]
        self._format: str = config["main"]["format"]
        if self._format not in ("YUV420", "NV12"):
            raise ConfigError(
                f"{self.source} gives {self._format} only.",
                "A USB camera is read without libcamera: usb:NAME or /dev/video0.",
            )
        self._lores: tuple[int, int] | None = config["lores"]["size"] if lores else None
        if self._lores == self.size:  # hardware without a scaler of its own
            self._lores = None
        if not self._takes(FrameDurationLimits=(period, period)):
            self.notes += ("This camera chooses its frame rate itself.",)
        if flicker and not self._takes(
            AeFlickerMode=_MANUAL_FLICKER, AeFlickerPeriod=_FLICKER_US[flicker]
        ):
            self.notes += (
                f"This libcamera cannot avoid the flicker of {flicker} Hz lamps (update it).",
            )
        self._takes(AfMode=_CONTINUOUS_FOCUS)
        if self._shutter and not self._takes(ExposureTime=0):
            raise ConfigError(
                f"{self.source} has no control of its shutter.", "Leave shutter_cap out."
            )
        if self._meter and not self._takes(ExposureValue=0.0):
            raise ConfigError(f"{self.source} cannot correct its exposure.", "Leave meter out.")
        try:
            self._camera.start()
        except (RuntimeError, OSError) as err:
            raise _in_use(self.source, err) from err

    def _takes(self, **controls: float | tuple[int, int]) -> bool:
        try:
            self._camera.set_controls(controls)
        except RuntimeError:  # "Control ... is not advertised by libcamera"
            return False
        return True

    def _frame(self, planes: Image, small: Image | None, metadata: Mapping[str, Any]) -> Frame:
        width, height = self.size
        if planes.shape[0] != height * 3 // 2 or planes.shape[1] < width:
            raise DeviceError(
                f"{self.source} gives {planes.shape} bytes where {width}x{height} was agreed.",
                "Update picamera2 and libcamera together: sudo apt full-upgrade",
            )
        turn, paired = self._orientation.apply, self._format == "NV12"
        lores = None
        if small is not None and self._lores is not None:
            lores = turn(small[: self._lores[1], : self._lores[0]])
        self._t_ns = max(self._t_ns, self._monotonic(metadata.get("SensorTimestamp")))
        self._sequence += 1
        return LazyFrame(
            luma=turn(planes[:height, :width]),
            colour=lambda: turn(bgr_of_planes(planes, width, height, paired=paired)),
            t_ns=self._t_ns,
            sequence=self._sequence - 1,
            source=self.source,
            lores=lores,
        )

    def _control(self, frame: Frame, metadata: Mapping[str, Any]) -> None:
        controls: dict[str, float] = {}
        if self._shutter and "ExposureTime" in metadata:
            gain = metadata.get("AnalogueGain", 1.0)
            exposure = self._shutter.update(metadata["ExposureTime"], gain)
            controls |= {} if exposure is None else {"ExposureTime": exposure}
        if self._meter:
            stops = self._meter.update(_brightness(frame.luma, self._face))
            controls |= {} if stops is None else {"ExposureValue": stops}
        if controls:
            self._takes(**controls)

    def _monotonic(self, sensor_ns: int | None) -> int:
        # libcamera's documentation says CLOCK_BOOTTIME, the Pi's kernel stamps CLOCK_MONOTONIC
        # (libcamera bug 254). They differ by the time spent suspended: a stamp ahead of the one
        # clock is of the other.
        now = self._clock_ns()
        if sensor_ns is None:
            return now
        if sensor_ns > now:
            sensor_ns -= self._boottime_ns() - now
        return min(sensor_ns, now)


def _check(
    size: tuple[int, int], fps: float, flicker: int | None, shutter_cap_ms: float | None
) -> None:
    if size[0] % 2 or size[1] % 2 or min(size) < 32:
        raise ConfigError(
            f"A size of {size[0]}x{size[1]} is not even, or too small.", "Try 640x480."
        )
    if not 0 < fps <= 1000:
        raise ConfigError(f"{fps:g} frames a second make no sense.", "Try 30.")
    if flicker not in (None, *_FLICKER_US):
        raise ConfigError(f"Lamps do not flicker at {flicker} Hz mains.", "It is 50 or 60.")
    if shutter_cap_ms is None:
        return
    if shutter_cap_ms < _SHORTEST_MS:
        raise ConfigError(
            f"A shutter of {shutter_cap_ms:g} ms is shorter than sensors can.",
            "Use shutter_cap=2 for people who move, shutter_cap=10 for a kiosk.",
        )
    if flicker and shutter_cap_ms * 1000 < _FLICKER_US[flicker]:
        least = math.ceil(_FLICKER_US[flicker] / 100) / 10
        raise ConfigError(
            f"A shutter of {shutter_cap_ms:g} ms cannot span the flicker of {flicker} Hz mains.",
            f"Use shutter_cap={least:g} or more, or leave flicker out.",
        )


def _installed() -> tuple[Picamera2Class, Any]:
    try:
        libcamera, picamera2 = import_module("libcamera"), import_module("picamera2")
    except ImportError as err:
        raise MissingExtra(
            f"picamera2 cannot be imported ({err}).",
            "sudo apt install -y python3-picamera2 --no-install-recommends; an environment must "
            "see it: python3 -m venv --system-site-packages DIR",
        ) from err
    return picamera2.Picamera2, libcamera.ColorSpace.Sycc()


def _opened(picamera2: Picamera2Class, index: int) -> Any:
    names = [str(info.get("Model", info.get("Id", "?"))) for info in picamera2.global_camera_info()]
    if not 0 <= index < len(names):
        there = "; ".join(f"picamera2:{n} {name}" for n, name in enumerate(names))
        raise DeviceError(
            f"There is no camera picamera2:{index}.",
            f"There: {there}."
            if there
            else "Check the ribbon cable and camera_auto_detect=1 in config.txt, then: "
            "rpicam-hello --list-cameras",
        )
    try:
        return picamera2(index)
    except (RuntimeError, OSError) as err:
        raise _in_use(f"picamera2:{index}", err) from err


def _in_use(source: str, err: Exception) -> DeviceError:
    cause = err.__cause__ or err
    return DeviceError(
        f"{source} cannot be started ({cause}); most likely another program uses it.",
        "See which, and stop it: sudo fuser -v /dev/media*",
    )


def _lores_size(size: tuple[int, int], orientation: Orientation) -> tuple[int, int] | None:
    """The detector's input, before the turn; None where the picture is hardly larger itself."""
    sideways = orientation.rotate in (90, 270)
    room = _LORES[::-1] if sideways else _LORES
    scale = min(room[0] / size[0], room[1] / size[1])
    if scale > 0.75:
        return None
    return round(size[0] * scale / 2) * 2, round(size[1] * scale / 2) * 2


def _brightness(luma: Image, box: Box | None) -> float | None:
    """Mean of the middle of a box; None where nothing of it lies in the picture."""
    if box is None:
        return None
    margin = (1 - _MIDDLE) / 2
    left, top = max(0, round(box.x + margin * box.w)), max(0, round(box.y + margin * box.h))
    right, below = round(box.x + (1 - margin) * box.w), round(box.y + (1 - margin) * box.h)
    face = luma[top : max(below, 0), left : max(right, 0)]
    return float(np.mean(face)) if face.size else None
