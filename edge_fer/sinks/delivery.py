"""From a pipeline to several sinks, none of which can slow the camera or another one down."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from time import monotonic, monotonic_ns
from typing import Any

from edge_fer.aggregate import Aggregator
from edge_fer.errors import DeviceError, EdgeFerError
from edge_fer.records import Record, Recorder
from edge_fer.sinks.base import WatchingWriter, Writer
from edge_fer.sinks.budget import DAY_NS, DailyBudget
from edge_fer.sinks.lane import Lane, Patience
from edge_fer.types import Observation

__all__ = ["Delivery"]

_MARK_NS = 60_000_000_000


class Delivery:
    """Makes one record of each observation and offers it to a queue and thread for each writer.

    *Accepted* means durable: a writer's ``sync`` has returned after the record was written. Syncs
    are grouped, ``commit_interval_s`` apart, so a power cut costs at most that much. With an
    aggregator nothing but its counts is handed out, each synced at once: a minute at most is lost.

    A writer that fails is tried again, after 1 to 30 s; what it was given waits. A live source
    never waits: a full queue loses its oldest waiting record, which is counted. A file source does,
    so that no line is lost, until the writer has been failing for 10 s.

    Args:
        recorder: numbers the records.
        writers: opened; they are the delivery's from now on, and closed with it.
        live: whether the source goes on whether we take its frames or not.
        commit_interval_s: seconds.
        queue: records that may wait for each writer.
        aggregate: counts each minute instead of handing observations out.
        max_bytes_per_day: of all writers together, for live sources: beyond it observations for
            writers on disk are thinned (:class:`~edge_fer.sinks.budget.DailyBudget`). None: no
            bound.
        clock: monotonic ns; days and rates are counted by it.
        warn: is told what a person must know.
        on_accepted: is told the writer's name and the last accepted number, in its thread.
        patience: with writers that fail.
    """

    def __init__(
        self,
        recorder: Recorder,
        writers: Sequence[Writer],
        *,
        live: bool,
        commit_interval_s: float = 5.0,
        queue: int = 2048,
        aggregate: Aggregator | None = None,
        max_bytes_per_day: int | None = None,
        clock: Callable[[], int] = monotonic_ns,
        warn: Callable[[str], None] = lambda text: None,
        on_accepted: Callable[[str, int], None] = lambda name, seq: None,
        patience: Patience = Patience(),  # noqa: B008 (frozen)
    ) -> None:
        self.recorder, self.aggregate = recorder, aggregate
        self._clock, self._closed = clock, False
        self._lanes = tuple(
            Lane(
                writer,
                limit=queue,
                lossy=live,
                # A minute's counts have waited long enough, and it is one sync a minute.
                commit_s=commit_interval_s if aggregate is None else 0.0,
                patience=patience,
                on_accepted=on_accepted,
            )
            for writer in writers
        )
        bounded = live and aggregate is None and max_bytes_per_day is not None
        self._budget = (
            DailyBudget(max_bytes_per_day or 0, now_ns=clock(), warn=warn) if bounded else None
        )
        self._marks: deque[tuple[int, tuple[int, ...]]] = deque(maxlen=61)
        self._mark(clock())

    def emit(self, observation: Observation) -> None:
        """Hand one observation to all writers.

        Raises:
            DeviceError: not live, no room, and a writer has been failing for too long.
            BrokenPipeError: whoever read our standard output has gone.
        """
        if self._closed:
            raise EdgeFerError("The delivery was closed.")
        now = self._clock()
        if now - self._marks[-1][0] >= _MARK_NS:
            self._mark(now)
        if self.aggregate is None:
            self._offer(self.recorder.record(observation), self._thinned(now))
        elif (counts := self.aggregate.add(observation)) is not None:
            self._offer(counts, False)

    def close(self, timeout_s: float = 5.0) -> None:
        """Empty the queues, sync and close everything; twice is fine.

        Args:
            timeout_s: what is not accepted by then is given up.

        Raises:
            DeviceError: says for each writer how many records it has not accepted, and why.
            BrokenPipeError: whoever read our standard output has gone.
        """
        if self._closed:
            return
        self._closed = True
        broken: BrokenPipeError | None = None
        by = monotonic() + timeout_s
        try:
            if self.aggregate is not None and (counts := self.aggregate.flush()) is not None:
                self._offer(counts, False)
        except BrokenPipeError as err:
            broken = err
        finally:
            for lane in self._lanes:
                lane.close(by)
            lost = []
            for lane in self._lanes:
                try:
                    lost.append(lane.join())
                except BrokenPipeError as err:
                    broken = err
        if words := " ".join(filter(None, lost)):
            raise DeviceError(
                f"{words} What was accepted before is safe.",
                next((lane.remedy for lane in self._lanes if lane.remedy), ""),
            )
        if broken is not None:
            raise broken

    def watch(self, status: Callable[[], Mapping[str, Any]]) -> None:
        """Let those writers that want it ask for the service's status document."""
        for lane in self._lanes:
            if isinstance(lane.writer, WatchingWriter):
                lane.writer.watch(status)

    def status(self) -> dict[str, Any]:
        """How each writer stands, JSON-able; ``bytes_per_day`` is the rate of the last hour."""
        now, (then, before) = self._clock(), self._marks[0]
        writers = [lane.status() for lane in self._lanes]
        for writer, start in zip(writers, before, strict=True):
            grown = writer["bytes_written"] - start
            writer["bytes_per_day"] = round(grown * DAY_NS / (now - then)) if now > then else 0
        return {
            "seq": self.recorder.seq,
            "sinks": writers,
            "bytes_per_day": sum(writer["bytes_per_day"] for writer in writers),
            "max_bytes_per_day": None if self._budget is None else self._budget.limit,
            "thinning": self._budget is not None and self._budget.thinning,
        }

    def _offer(self, record: Record, thinned: bool) -> None:
        broken: BrokenPipeError | None = None
        for lane in self._lanes:
            # What never touches a disk is not thinned.
            if thinned and lane.writer.bytes_written:
                lane.thinned += 1
                continue
            try:
                lane.offer(record)
            except BrokenPipeError as err:
                broken = err
        if broken is not None:
            raise broken

    def _thinned(self, now: int) -> bool:
        if self._budget is None:
            return False
        return not self._budget.admits(now, sum(lane.writer.bytes_written for lane in self._lanes))

    def _mark(self, now: int) -> None:
        self._marks.append((now, tuple(lane.writer.bytes_written for lane in self._lanes)))
