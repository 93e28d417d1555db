"""From a pipeline to several sinks, none of which can slow the camera or another one down."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from threading import Event, Lock, Thread
from time import monotonic, monotonic_ns
from typing import Any

from edge_fer.aggregate import Aggregator
from edge_fer.errors import DeviceError, EdgeFerError
from edge_fer.records import Record, Recorder
from edge_fer.sinks.base import WatchingWriter, Writer
from edge_fer.sinks.budget import DAY_NS, LONGEST_COMMIT_S, MINUTE_NS, DailyBudget, DiskUser
from edge_fer.sinks.lane import Lane, Patience
from edge_fer.types import Observation

__all__ = ["Delivery"]

# Of the time for closing, what emptying the queues may take; the rest is the writers' goodbye.
_EMPTYING = 0.6
_TICK_S = 1.0
_RARER = 2.0
# Rates are looked at for so many minutes before commits come more often again.
_CALM = 5


class Delivery:
    """Makes one record of each observation and offers it to a queue and thread for each writer.

    *Accepted* means durable: a writer's ``sync`` has returned after the record was written. Syncs
    are grouped, ``commit_interval_s`` apart, so a power cut costs at most that much; further apart,
    60 s at most, while more would be written than the day's bound allows. With an aggregator
    nothing but its counts is handed out, each synced at once: a minute at most is lost, also while
    no frames come.

    A writer that fails is tried again, after 1 to 30 s; what it was given waits. A live source
    never waits: a full queue loses its oldest waiting record, which is counted. A file source does,
    so that no line is lost, until the writer has been failing for 10 s.

    Args:
        recorder: numbers the records.
        writers: opened; they are the delivery's from now on, and closed with it.
        live: whether the source goes on whether we take its frames or not.
        commit_interval_s: seconds, 0 for after every write (then it never becomes rarer).
        queue: records that may wait for each writer.
        aggregate: counts each minute instead of handing observations out.
        max_bytes_per_day: of all writers together, for live sources: beyond it observations for
            writers on disk are thinned (:class:`~edge_fer.sinks.budget.DailyBudget`). None: no
            bound.
        budget: what :meth:`budget_state` of an earlier delivery has returned: its day goes on.
        also_written: bytes that others write to the same disk, so far.
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
        budget: Mapping[str, Any] | None = None,
        also_written: Callable[[], int] = lambda: 0,
        clock: Callable[[], int] = monotonic_ns,
        warn: Callable[[str], None] = lambda text: None,
        on_accepted: Callable[[str, int], None] = lambda name, seq: None,
        patience: Patience = Patience(),  # noqa: B008 (frozen)
    ) -> None:
        self.recorder, self.aggregate = recorder, aggregate
        self._clock, self._closed = clock, Event()
        # What is numbered and offered: by the pipeline's thread, and by the one that ticks.
        self._numbering = Lock()
        self._broken: BrokenPipeError | None = None
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
        now = clock()
        self._before, self._budget = dict(budget or {}), None
        if live and max_bytes_per_day is not None:
            self._budget = DailyBudget(max_bytes_per_day, now_ns=now, kept=budget, warn=warn)
        self._bounded = self._budget is not None and aggregate is None
        self._also, self._also_before = also_written, also_written()
        self._users = tuple(DiskUser(now, lane.writer.bytes_written) for lane in self._lanes)
        self._shortest = tuple(lane.commit_s for lane in self._lanes)
        self._calm = 0
        self._marks: deque[tuple[int, int, tuple[int, ...]]] = deque(maxlen=61)
        self._mark(now)
        self._ticking: Thread | None = None
        if live and aggregate is not None:
            self._ticking = Thread(target=self._tick, name="edge-fer-minutes", daemon=True)
            self._ticking.start()

    def emit(self, observation: Observation) -> None:
        """Hand one observation to all writers.

        Raises:
            DeviceError: not live, no room, and a writer has been failing for too long.
            BrokenPipeError: whoever read our standard output has gone.
        """
        if self._closed.is_set():
            raise EdgeFerError("The delivery was closed.")
        now = self._clock()
        with self._numbering:
            if now - self._marks[-1][0] >= MINUTE_NS:
                self._mark(now)
                if self._bounded:
                    self._pace()
            if self.aggregate is None:
                self._offer(self.recorder.record(observation), now, self._thinned(now))
            elif (counts := self.aggregate.add(observation)) is not None:
                self._offer(counts, now, False)
        self._tell_broken()

    def close(self, timeout_s: float = 3.5) -> None:
        """Empty the queues, sync and close everything; twice is fine.

        Args:
            timeout_s: for all of it. What is not accepted by then is given up, and a writer that
                hangs is left behind in its thread.

        Raises:
            DeviceError: says for each writer how many records it has not accepted, and why.
            BrokenPipeError: whoever read our standard output has gone.
        """
        if self._closed.is_set():
            return
        self._closed.set()
        now = monotonic()
        try:
            with self._numbering:
                if self.aggregate is not None and (counts := self.aggregate.flush()) is not None:
                    self._offer(counts, self._clock(), False)
        finally:
            for lane in self._lanes:
                lane.close(now + _EMPTYING * timeout_s)
            lost = []
            for lane in self._lanes:
                try:
                    lost.append(lane.join(now + timeout_s))
                except BrokenPipeError as err:
                    self._broken = err
            if self._ticking is not None:
                self._ticking.join(max(0.0, now + timeout_s - monotonic()))
        if words := " ".join(filter(None, lost)):
            raise DeviceError(
                f"{words} What was accepted before is safe.",
                next((lane.remedy for lane in self._lanes if lane.remedy), ""),
            )
        self._tell_broken()

    def budget_state(self) -> dict[str, Any]:
        """What of the day's bytes is used up, JSON-able, for the next delivery's ``budget``."""
        if self._budget is None:
            return dict(self._before)
        return self._budget.kept(self._clock(), self._written())

    def watch(self, status: Callable[[], Mapping[str, Any]]) -> None:
        """Let those writers that want it ask for the service's status document."""
        for lane in self._lanes:
            if isinstance(lane.writer, WatchingWriter):
                lane.writer.watch(status)

    def status(self) -> dict[str, Any]:
        """How each writer stands, JSON-able; ``bytes_per_day`` is the rate of the last hour."""
        now, (then, _, before) = self._clock(), self._marks[0]
        writers = [lane.status() for lane in self._lanes]
        for writer, start in zip(writers, before, strict=True):
            grown = writer["bytes_written"] - start
            writer["bytes_per_day"] = round(grown * DAY_NS / (now - then)) if now > then else 0
        return {
            "seq": self.recorder.seq,
            "sinks": writers,
            "bytes_per_day": sum(writer["bytes_per_day"] for writer in writers),
            "max_bytes_per_day": self._budget.limit if self._budget and self._bounded else None,
            "thinning": self._budget is not None and self._budget.thinning,
        }

    def _offer(self, record: Record, now: int, thinned: bool) -> None:
        for lane, user in zip(self._lanes, self._users, strict=True):
            # What does not touch a disk now is not thinned.
            if user.look(lane.writer.bytes_written) and thinned:
                lane.thinned += 1
                continue
            user.given(now)
            try:
                lane.offer(record)
            except BrokenPipeError as err:
                self._broken = err

    def _tell_broken(self) -> None:
        if self._broken is not None:
            broken, self._broken = self._broken, None
            raise broken

    def _tick(self) -> None:
        """End minutes by the clock: nobody emits while the camera is away."""
        while not self._closed.wait(_TICK_S):
            with self._numbering:
                now = self._clock()
                # A broken pipe is told to whoever emits next.
                if self.aggregate is not None and (counts := self.aggregate.tick(now)) is not None:
                    self._offer(counts, now, False)

    def _thinned(self, now: int) -> bool:
        if self._budget is None:
            return False
        return not self._budget.admits(now, self._written())

    def _written(self) -> int:
        ours = sum(lane.writer.bytes_written for lane in self._lanes)
        return ours + self._also() - self._also_before

    def _mark(self, now: int) -> None:
        each = tuple(lane.writer.bytes_written for lane in self._lanes)
        self._marks.append((now, self._written(), each))

    def _pace(self) -> None:
        """Commits become rarer while the last minute was beyond the bound, and return after it."""
        (then, before, _), (now, written, _) = self._marks[-2], self._marks[-1]
        if self._budget is None or self._budget.thinning:
            return
        share = (written - before) * DAY_NS / (now - then) / self._budget.limit
        # Twice as many commits cost twice as much at most.
        self._calm = self._calm + 1 if share * _RARER < 1 else 0
        for lane, shortest in zip(self._lanes, self._shortest, strict=True):
            # Its address says how often, or somebody wants every record synced, or it has no disk.
            if lane.paced or not shortest or not lane.writer.bytes_written:
                continue
            if share > 1:
                lane.commit_s = max(shortest, min(LONGEST_COMMIT_S, _RARER * lane.commit_s))
            elif self._calm >= _CALM:
                lane.commit_s = max(shortest, lane.commit_s / _RARER)
        if self._calm >= _CALM:
            self._calm = 0
