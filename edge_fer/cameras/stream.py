"""A camera on the network: RTSP, or motion JPEG over HTTP, decoded by OpenCV's FFMPEG."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from time import monotonic_ns
from typing import Any
from urllib.parse import urlsplit

import cv2
import numpy as np

from edge_fer.cameras.orientation import UPRIGHT, Orientation
from edge_fer.errors import ConfigError, DeviceError, EdgeFerError
from edge_fer.types import Frame, Image
from edge_fer.uri import redacted

__all__ = ["StreamCamera"]

_PORTS = {"rtsp": 554, "rtsps": 322, "http": 80, "https": 443}
_PROBE_S = 2.0
_MOST_CORRUPT = 30  # pictures in a row that cannot be decoded, then the stream has ended


class StreamCamera:
    """Frames of a network stream as they come, stamped on arrival, all of the first one's size.

    RTSP runs over TCP (OpenCV asks for it by itself, and takes UDP from a server that has nothing
    else). No capture options are put into the process's environment, where every other camera
    would find them too. Certificates of ``rtsps`` and ``https`` are not checked by FFMPEG.
    OpenCV's own messages are off from the first stream on: they name addresses with passwords.

    Args:
        url: ``rtsp://``, ``rtsps://``, ``http://`` or ``https://``; a user and password in it are
            percent-encoded.
        orientation: how to turn the frames.
        open_timeout_s: for the connection and the first pictures, from which the format is told.
        read_timeout_s: for each further frame; then the stream is lost.
        clock_ns: stamps the frames; a monotonic clock in ns.

    Attributes:
        source: the address without user, password and query.

    Raises:
        ConfigError: not such an address.
        DeviceError: nobody answers there, or no pictures come.
    """

    def __init__(
        self,
        url: str,
        *,
        orientation: Orientation = UPRIGHT,
        open_timeout_s: float = 10.0,
        read_timeout_s: float = 4.0,
        clock_ns: Callable[[], int] = monotonic_ns,
    ) -> None:
        self.source = redacted(url)
        host, port = _server(url, self.source)
        self._orientation, self._clock_ns = orientation, clock_ns
        self._read_timeout_s = read_timeout_s
        self._number, self._closed = 0, False
        _silence()
        # One thread: FFMPEG's frame threads each hold a picture back.
        how = [
            *(cv2.CAP_PROP_OPEN_TIMEOUT_MSEC, round(open_timeout_s * 1000)),
            *(cv2.CAP_PROP_READ_TIMEOUT_MSEC, round(read_timeout_s * 1000)),
            *(cv2.CAP_PROP_N_THREADS, 1),
        ]
        self._stream = cv2.VideoCapture(url, cv2.CAP_FFMPEG, how)
        if not self._stream.isOpened():
            raise self._refused(host, port)

    def read(self) -> Frame | None:
        """The next frame; never None, because a camera has no end.

        Pictures that cannot be decoded are passed over, and count in ``sequence``.

        Raises:
            DeviceError: the stream ended, or no picture came within ``read_timeout_s``.
        """
        if self._closed:
            raise EdgeFerError(f"The stream {self.source} was closed.")
        picture = self._picture()
        number = self._number
        self._number += 1
        return self._orientation.frame(
            picture, t_ns=self._clock_ns(), sequence=number, source=self.source
        )

    def close(self) -> None:
        """Hang up. Calling it twice is fine."""
        self._closed = True
        self._stream.release()

    def _picture(self) -> Image:
        asked_ns = self._clock_ns()
        for _ in range(_MOST_CORRUPT):
            there, picture = self._stream.read()
            if there:
                return np.asarray(picture, np.uint8)
            # Nothing tells a picture that cannot be decoded from the end: but after the end, it
            # is asked in vain again and again, and at once.
            self._number += 1
            if self._clock_ns() - asked_ns >= self._read_timeout_s * 0.9e9:
                raise DeviceError(
                    f"The stream {self.source} gave no picture for {self._read_timeout_s:g} s.",
                    "Check the camera and its network.",
                )
        raise DeviceError(f"The stream {self.source} ended.", "Check the camera and its network.")

    def _refused(self, host: str, port: int) -> DeviceError:
        """OpenCV does not say why; whether anybody listens there can be asked."""
        try:
            socket.create_connection((host, port), _PROBE_S).close()
        except OSError as err:
            reason = err.strerror or str(err)
            return DeviceError(
                f"The stream {self.source} cannot be reached: {host} port {port}: {reason}.",
                f"Check that the camera is on and on this network: ping {host}",
            )
        return DeviceError(
            f"{host} port {port} answers, but gives no pictures at {self.source}.",
            "Check path, user and password (special characters percent-encoded): ffprobe URL",
        )


def _server(url: str, shown: str) -> tuple[str, int]:
    remedy = "Write rtsp://HOST[:PORT]/PATH or http://HOST[:PORT]/PATH"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as err:
        raise ConfigError(f"{shown} is no address of a stream.", remedy) from err
    if parts.scheme.lower() not in _PORTS or not parts.hostname:
        raise ConfigError(f"{shown} is no address of a stream.", remedy)
    return parts.hostname, port or _PORTS[parts.scheme.lower()]


def _silence() -> None:
    # OpenCV reads it once, when it first uses FFMPEG; it has no call for it. -8 is AV_LOG_QUIET.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # OpenCV 4.13 moved it from cv2 into cv2.utils.logging.
    set_level: Any = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
    set_level(0)  # LOG_LEVEL_SILENT
