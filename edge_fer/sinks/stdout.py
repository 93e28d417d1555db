"""Records as JSON lines on standard output, for another program to read."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from edge_fer.errors import DeviceError, EdgeFerError
from edge_fer.records import Record
from edge_fer.sinks.lines import append, as_lines

__all__ = ["StdoutWriter"]


class StdoutWriter:
    """One record a line, past every buffer of ours before ``write`` returns.

    Nothing here outlives a power cut: what reads the lines has to see to that.

    Raises:
        DeviceError: there is no standard output.
    """

    def __init__(self) -> None:
        self.name = "stdout"
        self.bytes_written = 0  # whatever the disk gets, it does not get from us
        self.backlog = 0
        self._closed = False
        try:
            sys.stdout.flush()
            # A handle of our own, past Python's buffer; None where stdout is no file (a notebook).
            self._handle: int | None = os.dup(sys.stdout.fileno())
        except io.UnsupportedOperation:
            self._handle = None
        except (OSError, ValueError, AttributeError) as err:
            raise DeviceError(
                f"There is no standard output to write to: {err}.", "Use jsonl:FILE."
            ) from err

    def write(self, records: Sequence[Record]) -> None:
        """Print some lines, whole or not at all where stdout is a file.

        Raises:
            DeviceError: the disk behind it is full or gone.
            BrokenPipeError: whoever read it has gone.
        """
        if self._closed:
            raise EdgeFerError("The sink stdout was closed.")
        data = as_lines(records)
        try:
            if self._handle is None:
                sys.stdout.write(data.decode())
                sys.stdout.flush()
            else:
                append(self._handle, data)
        except BrokenPipeError:
            raise
        except OSError as err:
            raise DeviceError(
                f"Records could not be written to standard output: {err.strerror or err}.",
                "Make room (df -h), or write to another disk with jsonl:FILE.",
            ) from err

    def sync(self) -> None:
        """Nothing is left to be done."""

    def close(self) -> None:
        """Let go of our handle; standard output itself stays open."""
        if not self._closed:
            self._closed = True
            if self._handle is not None:
                os.close(self._handle)
