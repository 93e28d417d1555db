"""The seam of the sinks: records in, batches of them, and a mark for "they will not be lost"."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from edge_fer.records import Record

__all__ = ["PacedWriter", "TellingWriter", "WatchingWriter", "Writer"]


class Writer(Protocol):
    """The far side of a sink: a file, a data base, a broker, a page. One thread uses it.

    A queue of its own stands before each (:mod:`edge_fer.sinks.delivery`), so a writer may block.
    What ``write`` was given is *accepted* when a later ``sync`` has returned: it then outlives a
    power cut. Between the two it must outlive nothing.
    """

    @property
    def name(self) -> str:
        """For people and the status, without secrets: ``jsonl:/var/lib/edge-fer/seen.jsonl``."""
        ...

    @property
    def bytes_written(self) -> int:
        """Handed to the disk so far; 0 for what never touches one."""
        ...

    @property
    def backlog(self) -> int:
        """Records that are safe here and not yet at their destination (a broker that is away)."""
        ...

    def write(self, records: Sequence[Record]) -> None:
        """Take some records, in their order: all of them, or none where it raises.

        Raises:
            DeviceError: not now (disk full, medium gone); the same records may be given again.
            BrokenPipeError: whoever read our standard output has gone, for good.
        """
        ...

    def sync(self) -> None:
        """Make everything written so far durable.

        Raises:
            DeviceError: it is not; what was written since the last success is given again.
        """
        ...

    def close(self) -> None:
        """Let go, after a last ``sync``. Calling it twice is fine."""
        ...


@runtime_checkable
class PacedWriter(Writer, Protocol):
    """A writer whose address says how often it is to be synced, whatever the settings say."""

    @property
    def commit_interval_s(self) -> float | None:
        """Seconds between syncs, 0 for after every write; None leaves it to the settings."""
        ...


@runtime_checkable
class TellingWriter(Writer, Protocol):
    """A writer that has more to tell the status than the figures that all have."""

    def status(self) -> dict[str, Any]:
        """JSON-able, without secrets; called from any thread."""
        ...


@runtime_checkable
class WatchingWriter(Writer, Protocol):
    """A writer that passes on how the service is."""

    def watch(self, status: Callable[[], Mapping[str, Any]]) -> None:
        """Ask this, from any thread, for the service's status document."""
        ...
