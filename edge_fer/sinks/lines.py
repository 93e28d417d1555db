"""Whole lines appended to an open file, or nothing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress

from edge_fer.records import Record

__all__ = ["append", "as_lines", "is_regular"]


def as_lines(records: Iterable[Record]) -> bytes:
    """One line of JSON for each record, in UTF-8."""
    return "".join(f"{record.line}\n" for record in records).encode()


def is_regular(handle: int) -> bool:
    """Whether this is a file on a disk, and no pipe, terminal or device."""
    return stat.S_ISREG(os.fstat(handle).st_mode)


def append(handle: int, data: bytes) -> None:
    """Write all of the data, or take back what was written of it.

    Only what stands at the end of a regular file can be taken back; what another process has
    appended behind it is never cut.

    Args:
        handle: opened for appending.
        data: whole lines.

    Raises:
        OSError: the disk is full, or gone.
    """
    before, written = os.fstat(handle).st_size, 0
    try:
        while written < len(data):
            written += os.write(handle, data[written:])
    except OSError:
        with suppress(OSError):
            if written and is_regular(handle) and os.fstat(handle).st_size == before + written:
                os.ftruncate(handle, before)
                os.lseek(handle, before, os.SEEK_SET)
        raise
