"""Around a pipeline, for months: pace, step, count, tell systemd and the status, reload, end.

One thread does it all, and it is the one that petted the watchdog last: a camera or a model that
hangs stops the petting, and systemd restarts the service. Durations are monotonic throughout; the
time of day is only shown.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol

from edge_fer.errors import CameraAway, EdgeFerError
from edge_fer.machine import boottime_ns
from edge_fer.notify import Notify
from edge_fer.pacing import Pacing
from edge_fer.state import State
from edge_fer.status import Latency, Phase, Status
from edge_fer.types import Observation

__all__ = ["Ended", "Parts", "Service", "Waiter"]

# Status and systemd are looked after at least so often while a slow beat is kept, and at most ...
_SLICE_S = 1.0
# ... so often while frames come fast: most turns only read the clock.
_LOOK_S = 0.25
# A camera that is away answers after about a second; one that answers at once must not spin.
_AWAY_S = 0.2
_LINE_NS = 5_000_000_000
# A frame this old still tells that camera and model work, while the camera is being waited for.
_RECENT_S = 10.0


class Parts(Protocol):
    """What a service runs: a :class:`edge_fer.pipeline.Pipeline`, or a fake."""

    def step(self) -> Observation | None:
        """One frame; None when the source has ended.

        Raises:
            CameraAway: the camera gives nothing at the moment; within about a second.
            EdgeFerError: it cannot go on.
        """
        ...

    def status(self) -> dict[str, Any]:
        """JSON-able: source, model, backend, detector, camera (with its ``state``), sinks."""
        ...


class Waiter(Protocol):
    """What asks for the end and for new settings: :class:`edge_fer.signals.Signals`."""

    @property
    def stopped_by(self) -> signal.Signals | None:
        """The signal that asked for the end."""
        ...

    @property
    def stop(self) -> bool:
        """Whether the end was asked for."""
        ...

    def take_reload(self) -> bool:
        """Whether new settings were asked for since the last time."""
        ...

    def wait(self, seconds: float) -> None:
        """Wait, but no longer than until a signal comes."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """How a run ended.

    Attributes:
        by: the end of the source, a signal, or an error.
        signal: which one.
        error: which one; its ``exit_code`` is the run's.
        frames: that went through the pipeline.
        faces: that were seen in them.
        away: how often the camera had gone away.
        uptime_s: seconds.
    """

    by: Literal["source", "signal", "error"]
    signal: signal.Signals | None = None
    error: EdgeFerError | None = None
    frames: int = 0
    faces: int = 0
    away: int = 0
    uptime_s: float = 0.0

    @property
    def words(self) -> str:
        """Why, in a few words."""
        if self.error is not None:
            return str(self.error)
        return f"told to, by {self.signal.name}" if self.signal else "its source has ended"


class Service:
    """Runs parts until their source ends, a signal asks for the end, or they fail.

    Args:
        parts: what is run; ``parts`` afterwards, too, and then what a reload made of it. Whoever
            made them closes them.
        signals: inside its block the service runs, and the closing after it.
        notify: tells systemd.
        status: tells everybody else.
        state: counters that outlive a restart.
        pacing: how soon the next frame is taken.
        reload: given the parts in use, returns those to use from now on (the same or others; it
            closes what it replaced), or raises EdgeFerError and leaves the old ones as they were.
        prove: runs the model once without a camera (golden vectors), for a service that is started
            while its camera is away; raises ModelError.
        on_observation: told of each, with the parts that made it.
        on_problem: told, once each, of what went wrong and did not end the run, and of its end.
        next_seq: the number of the next record, for ``state``.
        clock: monotonic nanoseconds.
        uptime: nanoseconds that go on while the machine sleeps.

    Attributes:
        phase: what the service is doing.
        problem: the last thing that went wrong.
    """

    def __init__(
        self,
        parts: Parts,
        *,
        signals: Waiter,
        notify: Notify,
        status: Status,
        state: State,
        pacing: Pacing,
        reload: Callable[[Parts], Parts] = lambda parts: parts,
        prove: Callable[[], None] = lambda: None,
        on_observation: Callable[[Parts, Observation], None] = lambda parts, seen: None,
        on_problem: Callable[[str], None] = lambda text: None,
        next_seq: Callable[[], int] = lambda: 0,
        clock: Callable[[], int] = time.monotonic_ns,
        uptime: Callable[[], int] = boottime_ns,
    ) -> None:
        self.parts, self.pacing, self.problem = parts, pacing, ""
        self.phase: Phase = "starting"
        self._signals, self._notify, self._status, self._state = signals, notify, status, state
        self._reload, self._prove = reload, prove
        self._on_observation, self._on_problem = on_observation, on_problem
        self._next_seq, self._clock, self._uptime = next_seq, clock, uptime
        self._began, self._latency = uptime(), Latency()
        self._frames = self._faces = self._away = self._away_ns = 0
        self._ready = False
        self._recent_ns: int | None = None
        self._next_look_ns = self._next_line_ns = 0
        self._away_why, self._told = "", dict[str, str]()
        quarter_s = (notify.watchdog_s or 3600.0) / 4  # petting comes due at half
        self._slice_s, self._look_ns = min(_SLICE_S, quarter_s), int(min(_LOOK_S, quarter_s) * 1e9)

    def run(self) -> Ended:
        """Run to the end; whatever it is, systemd, status and state have been told.

        An EdgeFerError of the parts comes back in ``error``; any other exception is a fault of ours
        and is raised.
        """
        why = "it failed"
        try:
            ended = self._loop()
            why = ended.words
        finally:
            self.phase = "stopping"
            self._notify.stopping(f"stopping: {why}")
            self._count()
            self._state.close()
            self._status.write(self._document(ended=why))
        return ended

    def _loop(self) -> Ended:
        self._look_after(force=True)
        try:
            while not self._signals.stop:
                if self._signals.take_reload():
                    self._reload_settings()
                wait_s = self.pacing.wait_s(self._clock())
                if wait_s > 0:
                    self._signals.wait(min(wait_s, self._slice_s))
                    self._look_after()
                elif not self._step():
                    return self._ended("source")
        except EdgeFerError as err:
            self._wrong(str(err))
            return self._ended("error", error=err)
        return self._ended("signal", signal=self._signals.stopped_by)

    def _step(self) -> bool:
        began = self._clock()
        try:
            seen = self.parts.step()
        except CameraAway as err:
            self._camera_away(err, began)
            return True
        if seen is None:
            return False
        now = self._clock()
        self.pacing.taken(began)
        timings = seen.timings_ms
        # Waiting for the camera is no work of ours.
        self._latency.add(now, timings.get("total", 0.0) - timings.get("capture", 0.0))
        self._recent_ns, self._frames = now, self._frames + 1
        self._faces += len(seen.faces)
        self.pacing.seen(len(seen.faces), now)
        if self.phase == "camera_away":
            away_s = (now - self._away_ns) / 1e9
            self._on_problem(f"{seen.source} is back after {away_s:.1f} s.")
        self.phase = "running"
        if not self._ready:
            self._ready = self._notify.ready(self._line())
        self._on_observation(self.parts, seen)
        self._look_after()
        return True

    def _camera_away(self, err: CameraAway, began: int) -> None:
        if self.phase != "camera_away" or str(err) != self._away_why:
            self._away_why = str(err)
            self._wrong(self._away_why)
        if self.phase != "camera_away":
            self._away += 1
            self.phase, self._away_ns = "camera_away", began
        if not self._ready:
            self._prove()
            self._ready = self._notify.ready(self._line())
        self._look_after()
        spent_s = (self._clock() - began) / 1e9
        if spent_s < _AWAY_S:
            self._signals.wait(_AWAY_S - spent_s)

    def _reload_settings(self) -> None:
        before, self.phase = self.phase, "reloading"
        self._look_after(force=True)
        if self._ready:
            self._notify.reloading()
        try:
            self.parts = self._reload(self.parts)
        except (EdgeFerError, OSError) as err:
            self._wrong(f"The new settings are not used, the old ones stay: {err}")
        self.phase = before
        if self._ready:  # else it was never said, and is still to be earned
            self._notify.ready(self._line())

    def _look_after(self, *, force: bool = False) -> None:
        """Watchdog, status, state and systemd's line: in most turns it is not time for any."""
        now = self._clock()
        if now < self._next_look_ns and not force:
            return
        self._next_look_ns = now + self._look_ns
        if self._well(now):
            self._notify.alive()
        self._count()
        if self._status.due():
            self._status.write(self._document())
        if now >= self._next_line_ns:
            self._next_line_ns = now + _LINE_NS
            self._notify.status(self._line())
        for who, problem in (
            ("status", self._status.problem),
            ("state", self._state.problem),
            ("notify", self._notify.failed),
        ):
            if problem != self._told.get(who, ""):
                self._told[who] = problem
                if problem:
                    self._wrong(problem)

    def _well(self, now: int) -> bool:
        """Whether camera and model can be vouched for: the watchdog is petted only then."""
        if not self._ready:
            return False
        if self.phase == "running":  # the last step had a frame, and waiting since was our choice
            return True
        if self._recent_ns is not None and now - self._recent_ns <= _RECENT_S * 1e9:
            return True
        camera = self.parts.status().get("camera")
        # "away": opening it fails, again and again, and says why. "stalled": it does not return.
        return isinstance(camera, Mapping) and camera.get("state") == "away"

    def _count(self) -> None:
        self._state.turn(
            frames=self._frames,
            faces=self._faces,
            observations=self._frames,
            uptime_s=self._uptime_s(),
            next_seq=self._next_seq(),
        )

    def _document(self, ended: str | None = None) -> dict[str, Any]:
        now = self._clock()
        return self._status.document(
            self.phase,
            self.parts.status(),
            **self._latency.summary(now),
            frames=self._frames,
            faces=self._faces,
            observations=self._frames,
            camera_away=self._away,
            uptime_s=round(self._uptime_s(), 3),
            restarts=self._state.total.starts - 1,
            total=asdict(self._state.total),
            pacing=self.pacing.status(now),
            systemd={"listening": self._notify.listening, "watchdog_s": self._notify.watchdog_s},
            ended=ended,
        )

    def _line(self) -> str:
        if self.phase == "camera_away":
            return f"camera away: {self._away_why}"
        summary = self._latency.summary(self._clock())
        p99 = summary["latency_p99_ms"]
        if p99 is None:
            return self.phase
        return f"{self.phase}: {summary['fps']} frames/s, p99 {p99} ms, {self._frames} frames"

    def _wrong(self, problem: str) -> None:
        self.problem = problem
        self._status.error(problem)
        self._on_problem(problem)

    def _uptime_s(self) -> float:
        return (self._uptime() - self._began) / 1e9

    def _ended(
        self,
        by: Literal["source", "signal", "error"],
        signal: signal.Signals | None = None,
        error: EdgeFerError | None = None,
    ) -> Ended:
        return Ended(
            by=by,
            signal=signal,
            error=error,
            frames=self._frames,
            faces=self._faces,
            away=self._away,
            uptime_s=self._uptime_s(),
        )
