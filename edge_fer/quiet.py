"""Keeping other people's C++ off the user's terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["hushed_opencv", "hushed_stderr"]


@contextmanager
def hushed_stderr() -> Iterator[None]:
    """Send file descriptor 2 to nowhere for a moment ("Created XNNPACK delegate for CPU").

    What is wrong comes as an exception and is said by us. Does nothing where stderr is closed.
    """
    try:
        saved = os.dup(2)
    except OSError:
        yield
        return
    if sys.stderr is not None:
        sys.stderr.flush()
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(null)


@contextmanager
def hushed_opencv() -> Iterator[None]:
    """Keep OpenCV and FFMPEG from writing to stderr; what is wrong, we say ourselves."""
    import cv2  # costs a tenth of a second, which commands without pictures do not spend

    # OpenCV reads it once, when it first uses FFMPEG; it has no call for it. -8 is AV_LOG_QUIET.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    # OpenCV 4.13 moved it from cv2 into cv2.utils.logging.
    set_level: Any = getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel
    before = set_level(0)  # LOG_LEVEL_SILENT
    try:
        yield
    finally:
        set_level(before)
