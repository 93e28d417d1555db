"""A sink and a writer that write nothing: they keep what they were given."""

from __future__ import annotations

from collections.abc import Sequence
from threading import Event

from edge_fer.errors import EdgeFerError
from edge_fer.records import Record
from edge_fer.types import Observation

__all__ = ["FakeSink", "FakeWriter"]


class FakeSink:
    """For tests, and for programs that want the observations themselves.

    Attributes:
        observations: everything emitted so far, oldest first.
        closed: whether ``close`` was called.
    """

    def __init__(self) -> None:
        self.observations: list[Observation] = []
        self.closed = False

    def emit(self, observation: Observation) -> None:
        """Keep one observation."""
        if self.closed:
            raise EdgeFerError("The fake sink was closed.")
        self.observations.append(observation)

    def close(self) -> None:
        """``emit`` fails from now on."""
        self.closed = True


class FakeWriter:
    """A far side that can be made to block and to fail.

    Attributes:
        written: given to ``write`` since the last sync, and not accepted yet.
        accepted: outlived a sync, oldest first.
        batches: how many records each ``write`` brought.
        attempts: how often ``write`` was called.
        syncs: how often ``sync`` has succeeded.
        write_error: is raised by ``write`` while it is set.
        sync_error: is raised by ``sync`` while it is set.
        open_gate: cleared, ``write`` blocks until it is set again.
        entered: is set when a ``write`` has begun.
        closed: whether ``close`` was called.
        bytes_written: counts the lines as they would stand in a file; stays 0 without ``on_disk``.
        backlog: whatever a test says.
    """

    def __init__(self, name: str = "fake", *, on_disk: bool = False) -> None:
        self.name = name
        self.written: list[Record] = []
        self.accepted: list[Record] = []
        self.batches: list[int] = []
        self.attempts = self.syncs = self.bytes_written = self.backlog = 0
        self.write_error: Exception | None = None
        self.sync_error: Exception | None = None
        self.open_gate, self.entered = Event(), Event()
        self.open_gate.set()
        self.closed = False
        self._on_disk = on_disk

    def write(self, records: Sequence[Record]) -> None:
        """Keep some records, or raise ``write_error``."""
        if self.closed:
            raise EdgeFerError(f"The sink {self.name} was closed.")
        self.attempts += 1
        self.entered.set()
        self.open_gate.wait()
        if self.write_error is not None:
            raise self.write_error
        self.batches.append(len(records))
        self.written += records
        if self._on_disk:
            self.bytes_written += sum(len(record.line) + 1 for record in records)

    def sync(self) -> None:
        """Accept what was written, or lose it and raise ``sync_error``."""
        if self.sync_error is not None:
            self.written.clear()
            raise self.sync_error
        if self.written:
            self.syncs += 1
        self.accepted += self.written
        self.written.clear()

    def close(self) -> None:
        """Sync; ``write`` fails from now on."""
        if not self.closed:
            self.closed = True
            self.sync()
