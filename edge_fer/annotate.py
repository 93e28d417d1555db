"""Annotated frames in files: a video, or pictures in a folder."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Protocol, Self

import cv2
import numpy as np

from edge_fer.drawing import annotate
from edge_fer.errors import ConfigError, DeviceError
from edge_fer.pictures import write_picture
from edge_fer.quiet import hushed_opencv
from edge_fer.types import Expression, Face, Frame, Image

__all__ = ["AnnotatedPictures", "AnnotatedVideo", "Annotation", "annotate", "open_annotation"]

_USUAL_RATE = 25.0
# MPEG-4 counts time in 65,535ths of a second at most; OpenCV writes a rate as thousandths or whole.
_LEAST_RATE, _FINE_RATE, _MOST_RATE = 1.0, 60.0, 240.0
_CODECS = {".mp4": "mp4v", ".avi": "MJPG"}
_ROOM = 2**20  # bytes that a disk must have left: an encoder does not say that it is full
_PROBE = bytes(2**16)


class Annotation(Protocol):
    """Where annotated frames go: a context manager with one verb."""

    def __enter__(self) -> Self: ...

    def __exit__(self, kind: object, *rest: object) -> None: ...

    def add(self, frame: Frame, faces: Iterable[tuple[Face, Expression]]) -> None:
        """Draw one frame and keep the picture.

        Raises:
            DeviceError: the disk is full or the target went away.
        """
        ...


def open_annotation(path: Path, source: Path | None = None) -> Annotation:
    """A video for ``.mp4`` and ``.avi``; pictures for a folder, or a name without a suffix.

    Args:
        path: the target.
        source: what is looked at, where it is a file or a folder: nothing is written over it.

    Raises:
        ConfigError: another suffix, or the target is the source.
        DeviceError: it cannot be written.
    """
    if source is not None and _replaces(path, source):
        raise ConfigError(
            f"{path} is the source, which the annotated frames would replace.",
            f"Name another: {_beside(path)}",
        )
    if path.suffix in _CODECS or (path.suffix and not path.is_dir()):
        return AnnotatedVideo(path)
    return AnnotatedPictures(path)


class AnnotatedPictures:
    """Writes one JPEG for each frame that has faces, named by the frame's number.

    Args:
        folder: made where it is missing; pictures of the same number are replaced.

    Raises:
        DeviceError: it cannot be made or written to.
    """

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as err:
            raise DeviceError(
                f"{folder} cannot be made: {err.strerror}.", "Name a folder of yours."
            ) from err
        if not os.access(folder, os.W_OK):
            raise DeviceError(f"{folder} cannot be written.", "Name a folder of yours.")
        self._folder = folder

    def __enter__(self) -> Self:
        return self

    def add(self, frame: Frame, faces: Iterable[tuple[Face, Expression]]) -> None:
        """Draw one frame and write it, where there is a face in it."""
        shown = list(faces)
        if shown:
            write_picture(self._folder / f"{frame.sequence:06d}.jpg", annotate(frame, shown))

    def __exit__(self, kind: object, *rest: object) -> None:
        """Every picture is whole already."""


class AnnotatedVideo:
    """Writes annotated frames to a video file that gets its name only when it is whole.

    Its frame rate is that of the first two frames' times, 1 to 240, or 25 where these say nothing:
    pictures of a folder have the time at which they were read.

    Args:
        path: ``.mp4`` (MPEG-4) or ``.avi`` (Motion JPEG).

    Raises:
        ConfigError: another suffix.
        DeviceError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        if path.suffix not in _CODECS:
            raise ConfigError(
                f"{path} is no video that can be written.",
                f"Use {' or '.join(_CODECS)}, or a folder for pictures.",
            )
        if path.is_dir() or not os.access(path.parent, os.W_OK):
            raise DeviceError(f"{path} cannot be written.", "Name a file in a folder of yours.")
        self._path = path
        self._partial = path.with_name(f".{path.stem}.partial{path.suffix}")
        self._first: tuple[Image, Frame] | None = None
        self._writer: cv2.VideoWriter | None = None
        self._size = (0, 0)

    def __enter__(self) -> Self:
        return self

    def add(self, frame: Frame, faces: Iterable[tuple[Face, Expression]]) -> None:
        """Draw one frame and append it; a frame of another size is scaled to the first one's.

        Raises:
            DeviceError: the disk is full.
        """
        picture = annotate(frame, faces)
        if self._writer is None:
            if self._first is None:
                # Kept until the second frame tells the rate.
                self._first, self._size = (picture, frame), (frame.width, frame.height)
                return
            self._open(_rate(self._first[1], frame))
        self._write(picture)

    def __exit__(self, kind: object, *rest: object) -> None:
        if self._writer is None and self._first is not None and kind is None:
            self._open(_USUAL_RATE)
        if self._writer is not None:
            with hushed_opencv():
                self._writer.release()
        try:
            if self._writer is not None and kind is None:
                self._finish()
        finally:
            # A folder that went away took it along.
            with suppress(OSError):
                self._partial.unlink(missing_ok=True)

    def _finish(self) -> None:
        """Give the file its name, if it is whole."""
        with hushed_opencv():
            # Without its index, which is written last, no frame of it can be read.
            video = cv2.VideoCapture(str(self._partial.resolve()), cv2.CAP_FFMPEG)
            whole, _ = video.read()
            video.release()
        if not whole:
            raise self._failed(_obstacle(self._path.parent))
        try:
            self._partial.replace(self._path)
        except OSError as err:
            raise self._failed(err.strerror) from err

    def _failed(self, why: str | None) -> DeviceError:
        return DeviceError(
            f"{self._path} could not be written: {why or 'the encoder failed'}.",
            "Check the disk (df -h)." if why else "Try an .avi file.",
        )

    def _open(self, fps: float) -> None:
        code = cv2.VideoWriter.fourcc(*_CODECS[self._path.suffix])
        with hushed_opencv():
            # Absolute, so that FFMPEG takes a name with a colon for a file and not for a protocol.
            path = str(self._partial.absolute())
            self._writer = cv2.VideoWriter(path, cv2.CAP_FFMPEG, code, fps, self._size)
        if not self._writer.isOpened():
            raise self._failed(_obstacle(self._path.parent))
        if self._first is not None:
            self._write(self._first[0])

    def _write(self, picture: Image) -> None:
        if self._writer is not None:
            if picture.shape[1::-1] != self._size:
                picture = np.asarray(cv2.resize(picture, self._size), np.uint8)
            try:
                free = shutil.disk_usage(self._path.parent).free
            except OSError as err:
                raise self._failed(err.strerror) from err
            if free < _ROOM:
                raise self._failed(os.strerror(errno.ENOSPC))
            with hushed_opencv():
                self._writer.write(picture)


def _rate(first: Frame, second: Frame) -> float:
    """Frames per second that a file can say exactly."""
    apart_ns = second.t_ns - first.t_ns
    if apart_ns <= 0 or first.source != second.source:
        return _USUAL_RATE
    fps = min(max(1e9 / apart_ns, _LEAST_RATE), _MOST_RATE)
    return round(fps, 3) if fps <= _FINE_RATE else float(round(fps))


def _obstacle(folder: Path) -> str | None:
    """Why nothing can be written to a folder: found by trying, as encoders do not tell."""
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(_PROBE)
            probe.flush()
            os.fsync(probe.fileno())
    except OSError as err:
        return err.strerror
    return None


def _replaces(target: Path, source: Path) -> bool:
    """Whether writing the one would change the other, by whatever names."""
    try:
        if target.exists() and target.samefile(source):
            return True
        # A picture may be called as the annotated ones in its folder will be: 000000.jpg.
        return source.suffix == ".jpg" and (target / "000000.jpg").samefile(source)
    except OSError:  # not there: the camera or the writer says it better
        return False


def _beside(path: Path) -> str:
    return f"--annotate {path.with_name(f'{path.stem}-annotated{path.suffix}')}"
