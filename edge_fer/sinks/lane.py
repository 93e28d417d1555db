"""One writer with its queue and its thread: what stands between a pipeline and a slow disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from threading import Condition, Thread
from time import monotonic
from typing import Any

from edge_fer.errors import DeviceError
from edge_fer.records import Record
from edge_fer.sinks.base import PacedWriter, TellingWriter, Writer

__all__ = ["Lane", "Patience"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long things are waited for, in seconds.

    Attributes:
        retry_s: before a batch that failed is tried again; doubled each time.
        longest_s: but no longer than this.
        give_up_s: how long a writer may have been failing when somebody waits for room.
    """

    retry_s: float = 1.0
    longest_s: float = 30.0
    give_up_s: float = 10.0


class Lane:
    """A bounded queue before a writer, and the thread that empties it.

    A record stays in the queue until a ``sync`` after its ``write`` has returned; only then is it
    *accepted*. So whatever fails, the same records are there to be given again.

    Attributes:
        accepted: records that are durable.
        last_seq: the number of the last of them, None before the first.
        dropped: records that a full queue has lost.
        thinned: records that were never offered, counted by whoever decides that.
        remedy: what the writer's last error says that mends it, while it lasts.
        commit_s: seconds from a first unsynced write to the sync; may be changed.
        paced: whether the writer's own address says how many.

    Args:
        writer: is used and closed by the lane's thread alone.
        limit: how many records may wait or be unsynced, 4 or more.
        lossy: a full queue loses its oldest waiting record; else ``offer`` waits for room.
        commit_s: seconds from a first unsynced write to the sync; 0 syncs every write. A writer
            may know better (:class:`~edge_fer.sinks.base.PacedWriter`).
        patience: with a writer that fails.
        on_accepted: is told the writer's name and the last accepted number, in the lane's thread.
    """

    def __init__(
        self,
        writer: Writer,
        *,
        limit: int,
        lossy: bool,
        commit_s: float,
        patience: Patience,
        on_accepted: Callable[[str, int], None] = lambda name, seq: None,
    ) -> None:
        if limit < 4:
            raise ValueError("a queue holds 4 records or more")
        self.writer, self.name = writer, writer.name
        own = writer.commit_interval_s if isinstance(writer, PacedWriter) else None
        self.commit_s, self.paced = commit_s if own is None else own, own is not None
        self._limit, self._lossy, self._patience = limit, lossy, patience
        self._on_accepted = on_accepted
        # Not accepted yet, oldest first: written and unsynced, then on their way, then waiting.
        self._records: deque[Record] = deque()
        self._written = self._on_their_way = 0
        self._commit_at = 0.0
        self._failing_since: float | None = None
        self._close_by: float | None = None
        self._last_error: str | None = None
        self.remedy, self._delay_s = "", patience.retry_s
        self._broken: BrokenPipeError | None = None
        self._ended = False
        self.accepted = self.dropped = self.thinned = 0
        self.last_seq: int | None = None
        self._changed = Condition()
        self._thread = Thread(target=self._run, name=f"sink {self.name}", daemon=True)
        self._thread.start()

    def offer(self, record: Record) -> None:
        """Queue a record.

        Raises:
            DeviceError: there is no room, and the writer has been failing for too long.
            BrokenPipeError: whoever read our standard output has gone; told once.
        """
        with self._changed:
            if len(self._records) >= self._limit and not self._ended:
                if self._lossy:
                    del self._records[self._written + self._on_their_way]
                    self.dropped += 1
                else:
                    self._wait_for_room()
            self._tell_broken()
            if self._ended:
                return
            self._records.append(record)
            self._changed.notify_all()

    def close(self, by: float) -> None:
        """Ask the thread to empty the queue and sync until then (monotonic s), and then to close.

        A write that has begun is not cut short.
        """
        with self._changed:
            self._close_by = by
            self._changed.notify_all()

    def join(self, by: float) -> str:
        """Wait for the thread until then (monotonic s); what went wrong, or an empty string.

        A thread that hangs in its writer is left behind; it ends with the process.

        Raises:
            BrokenPipeError: as :meth:`offer`.
        """
        self._thread.join(max(0.0, by - monotonic()))
        with self._changed:
            self._tell_broken()
            left = len(self._records)
            if not left:
                return ""
            why = self._last_error or "it did not answer in time"
            return f"{self.name}: {left} records were not accepted ({why.rstrip('.')})."

    def status(self) -> dict[str, Any]:
        """How it stands, JSON-able: counts of records, and the writer's own figures."""
        with self._changed:
            failing = self._failing_since is not None
            return {
                "name": self.name,
                "state": "ended" if self._ended else "failing" if failing else "ok",
                "queued": len(self._records),
                "accepted": self.accepted,
                "last_seq": self.last_seq,
                "dropped": self.dropped,
                "thinned": self.thinned,
                "commit_s": self.commit_s,
                "backlog": self.writer.backlog,
                "bytes_written": self.writer.bytes_written,
                "last_error": self._last_error,
                "detail": self.writer.status() if isinstance(self.writer, TellingWriter) else None,
            }

    def _tell_broken(self) -> None:
        if self._broken is not None:
            broken, self._broken = self._broken, None
            raise broken

    def _wait_for_room(self) -> None:
        patience = self._patience.give_up_s
        while len(self._records) >= self._limit and not self._ended:
            if self._failing_since is not None and monotonic() - self._failing_since >= patience:
                raise DeviceError(
                    f"The sink {self.name} has taken nothing for {patience:g} s: "
                    f"{self._last_error}",
                    self.remedy or "Mend that, or leave the sink out.",
                )
            self._changed.wait(min(0.5, patience))

    def _run(self) -> None:
        try:
            while (job := self._next()) is not None:
                failure = self._attempt(*job)
                if isinstance(failure, BrokenPipeError):
                    self._end(failure)
                    return
                if failure is not None and not self._rest(failure):
                    return
        finally:
            try:
                self.writer.close()
            except Exception as err:
                with self._changed:
                    self._last_error = self._last_error or _words(err)
            with self._changed:
                self._ended = True
                self._changed.notify_all()

    def _next(self) -> tuple[list[Record], bool] | None:
        """The next batch (perhaps empty) and whether to sync after it; None when all is done."""
        with self._changed:
            while True:
                closing = self._close_by is not None
                if closing and monotonic() > (self._close_by or 0.0):
                    return None
                waiting = len(self._records) - self._written
                if waiting:
                    size = min(waiting, max(1, self._limit // 4))
                    self._on_their_way = size
                    batch = list(islice(self._records, self._written, self._written + size))
                    # Unsynced records fill half of the queue at most: there is always room to wait.
                    full = self._written + size >= self._limit // 2
                    return batch, full or self.commit_s == 0 or self._due()
                if not self._written:
                    if closing:
                        return None
                    self._changed.wait()
                elif closing or self._due():
                    return [], True
                else:
                    self._changed.wait(self._commit_at - monotonic())

    def _due(self) -> bool:
        return bool(self._written) and monotonic() >= self._commit_at

    def _attempt(self, batch: list[Record], sync: bool) -> Exception | None:
        """Write and sync; the error where something failed."""
        failure: Exception | None = None
        try:
            if batch:
                self.writer.write(batch)
                with self._changed:
                    if not self._written:
                        self._commit_at = monotonic() + self.commit_s
                    self._written += len(batch)
        except Exception as err:  # also a fault of the writer's own: the others are to go on
            failure = err
            sync = self._written > 0  # what was written before is worth having
        with self._changed:
            self._on_their_way = 0
        if not sync:
            return failure
        try:
            self.writer.sync()
        except Exception as err:
            with self._changed:
                self._written = 0  # all of it is given again
            return failure or err
        self._accept()
        return failure

    def _accept(self) -> None:
        with self._changed:
            for _ in range(self._written):
                self.last_seq = self._records.popleft().seq
            self.accepted += self._written
            self._written = 0
            self._failing_since, self._last_error, self.remedy = None, None, ""
            self._changed.notify_all()
            seq = self.last_seq
        if seq is not None:
            self._on_accepted(self.name, seq)

    def _rest(self, failure: Exception) -> bool:
        """Wait after a failure; False when there is no time left to try again."""
        with self._changed:
            now = monotonic()
            if self._failing_since is None:
                self._failing_since, self._delay_s = now, self._patience.retry_s
            self._last_error = _words(failure)
            self.remedy = failure.remedy if isinstance(failure, DeviceError) else ""
            self._changed.notify_all()
            if self._close_by is None:
                self._changed.wait_for(lambda: self._close_by is not None, self._delay_s)
                self._delay_s = min(2 * self._delay_s, self._patience.longest_s)
                return True
            if now >= self._close_by:
                return False
            self._changed.wait(min(self._patience.retry_s, self._close_by - now))
            return True

    def _end(self, broken: BrokenPipeError) -> None:
        with self._changed:
            self._broken, self._ended = broken, True
            self._last_error = _words(broken)
            self._records.clear()
            self._written = self._on_their_way = 0
            self._changed.notify_all()


def _words(err: Exception) -> str:
    if isinstance(err, DeviceError):
        return err.message
    return f"{type(err).__name__}: {err}"
