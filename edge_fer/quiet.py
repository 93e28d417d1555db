"""Keeping other people's C++ off the user's terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["hushed_stderr"]


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
