"""A video file as a source, decoded by OpenCV's FFMPEG."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from time import monotonic_ns, sleep

import cv2
import numpy as np

from edge_fer.cameras.orientation import UPRIGHT, Orientation
from edge_fer.errors import DataError, EdgeFerError
from edge_fer.quiet import hushed_opencv
from edge_fer.types import Frame, Image

__all__ = ["VideoCamera"]

# Healthy files show up to this many frames less than they promise (measured: MPEG's estimate).
_COUNT_TOLERANCE = 3
_FALLBACK_FPS = 25.0


class VideoCamera:
    """Every frame of a video, in order, upright by its own orientation mark.

    As fast as they decode, or with ``pace`` as they would be shown; none is ever dropped.
    ``t_ns`` is the video's own clock: the presentation time of the frame, 0 for the first, which
    at a constant rate is ``sequence / fps``.

    A file that is cut off gives the frames that decode, then one :class:`DataError`, then None.
    An mp4 or mov is known to be whole when its boxes end with the file (ISO/IEC 14496-12, 4.2):
    its frame count may exceed what its edit list shows. In other files, less frames than the
    container promises is the sign; MPEG streams promise nothing.

    Args:
        path: the file.
        orientation: how to turn the frames, after the video's own mark.
        pace: wait until each frame is due.
        clock_ns: a monotonic clock in ns, for pacing.
        wait: sleeps for so many seconds.

    Raises:
        DataError: no such file, or not a video that FFMPEG opens.
    """

    def __init__(
        self,
        path: Path,
        *,
        orientation: Orientation = UPRIGHT,
        pace: bool = False,
        clock_ns: Callable[[], int] = monotonic_ns,
        wait: Callable[[float], None] = sleep,
    ) -> None:
        if not path.is_file():
            raise DataError(f"There is no video {path}.", "Check the path.")
        self._path, self.source = path, str(path)
        self._orientation, self._pace = orientation, pace
        self._clock_ns, self._wait = clock_ns, wait
        with hushed_opencv():
            # Absolute, so that FFMPEG takes a name with a colon for a file and not for a protocol.
            self._video = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
        if not self._video.isOpened():
            raise DataError(
                f"{path} is not a video that can be read.",
                "If it should be one, it may be cut off: an mp4 or mov often ends in its index. "
                "Copy it again.",
            )
        fps = self._video.get(cv2.CAP_PROP_FPS)
        self.fps = fps if np.isfinite(fps) and fps > 0 else _FALLBACK_FPS
        self._promised = max(0, int(self._video.get(cv2.CAP_PROP_FRAME_COUNT)))
        self._read = 0
        self._first_ms = 0.0
        self._t_ns = 0
        self._started_ns: int | None = None
        self._ended = self._closed = False

    def read(self) -> Frame | None:
        """The next frame, or None after the last.

        Raises:
            DataError: the file ended early; raised once, after the frames that decode.
        """
        if self._closed:
            raise EdgeFerError(f"The video {self.source} was closed.")
        if self._ended:
            return None
        picture = self._decode()
        if picture is None:
            self._ended = True
            self._check_end()
            return None
        number = self._read
        self._read += 1
        self._t_ns = self._position_ns(number)
        if self._pace:
            self._wait_until_due()
        return self._orientation.frame(
            picture, t_ns=self._t_ns, sequence=number, source=self.source
        )

    def close(self) -> None:
        """Close the file. Calling it twice is fine."""
        self._closed = True
        self._video.release()

    def _decode(self) -> Image | None:
        with hushed_opencv():
            there, picture = self._video.read()
        return np.asarray(picture, np.uint8) if there else None

    def _position_ns(self, number: int) -> int:
        milliseconds = self._video.get(cv2.CAP_PROP_POS_MSEC)
        if number == 0:
            # OpenCV releases differ in whether the first frame lies at 0 or at 1 / fps.
            self._first_ms = milliseconds
            return 0
        position = round((milliseconds - self._first_ms) * 1e6)
        if position > self._t_ns:
            return position
        return self._t_ns + round(1e9 / self.fps)

    def _wait_until_due(self) -> None:
        now = self._clock_ns()
        if self._started_ns is None:
            self._started_ns = now
        early_ns = self._started_ns + self._t_ns - now
        if early_ns > 0:
            self._wait(early_ns / 1e9)

    def _check_end(self) -> None:
        if self._read == 0:
            raise DataError(f"No frame of {self.source} can be decoded.", "Copy the file again.")
        whole = _boxes_end_with_file(self._path)
        short = self._promised - self._read
        if whole is None:
            cut_off = short > _COUNT_TOLERANCE
        else:
            cut_off = not whole and (short > 0 or self._promised == 0)
        if cut_off:
            promised = f" of {self._promised}" if self._promised else ""
            raise DataError(
                f"{self.source} is cut off: it ended after {self._read}{promised} frames. "
                "All of those were used.",
                "Copy the file again if you need the rest.",
            )


def _boxes_end_with_file(path: Path) -> bool | None:
    """Whether an mp4 or mov is all there; None for a file of another kind."""
    try:
        size, at = path.stat().st_size, 0
        with path.open("rb") as file:
            while at < size:
                file.seek(at)
                head = file.read(16)
                if at == 0 and head[4:8] != b"ftyp":
                    return None
                length = int.from_bytes(head[:4], "big")
                if length == 1:
                    length = int.from_bytes(head[8:16], "big")
                elif length == 0:  # reaches to the end of the file, however long that is
                    return True
                if length < 8:
                    return False
                at += length
    except OSError:  # moved away while it was played
        return None
    return at == size
