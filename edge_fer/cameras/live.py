"""Live cameras: a thread beside the worker keeps the newest frame and brings a lost camera back.

The thread opens, reads and closes its camera all by itself, because hardly any driver allows two
threads in one device. A thread that hangs in the driver cannot be ended from outside: it is left
behind, another one is started, and whatever the old one brings later is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Condition, Event, Thread
from time import monotonic_ns
from typing import Any, Literal

from edge_fer.cameras.tally import Tally
from edge_fer.errors import CameraAway, DataError, DeviceError, EdgeFerError
from edge_fer.types import Box, Camera, Frame

__all__ = ["LiveCamera"]

# Seconds between two attempts to reopen: doubled from the first to the last.
_FIRST_DELAY_S, _LAST_DELAY_S = 0.5, 15.0
_MOST_CORRUPT = 30  # unreadable frames in a row, then the camera is reopened
_MOST_ABANDONED = 3  # threads that hang; a new process is the only cure for more
# A thread that hangs may hold the device, so that it can never be reopened from this process.
_HELD_S = 60.0
_CLOSE_S = 0.8


class _Capture:
    """One thread at work, and what it is doing since when."""

    def __init__(self) -> None:
        self.stop = Event()
        self.thread = Thread()
        self.camera: Camera | None = None
        # Replaced as a whole, so that other threads never see half of it.
        self.busy: tuple[Literal["open", "read", "close", "wait"], int] = ("wait", 0)
        self.fruitful = False  # whether this opening gave a frame


class LiveCamera:
    """The newest frame of a camera that never stands still, and never an old one.

    ``sequence`` rises for ever, over reopenings too; frames dropped here or missed by the source
    leave gaps in it. ``t_ns`` is the source's; where that goes backwards, the time of arrival
    stands in. None from the source is its true end (network sources raise instead).

    Args:
        open_camera: opens the plain, blocking camera; called again after every loss.
        source: what people call it, without secrets.
        stall_after_s: a ``read`` or ``close`` of the camera that takes longer has hung.
        open_within_s: an opening that takes longer has hung (at least ``stall_after_s``).
        patience_s: :meth:`read` waits so long for a frame.
        first_within_s: so long the first opening is waited for, and must succeed; default:
            ``open_within_s``. 0: it is not waited for, and a camera that is not there yet is away:
            after a power cut a service may be up before its network camera.
        clock_ns: a monotonic clock in ns, to tell hanging and the age of frames.
        wait: waits for an event or so many seconds, between attempts to reopen.

    Raises:
        EdgeFerError: whatever the first opening raises; later failures are recovered from.
        DeviceError: the first opening hangs; neither where it is not waited for.
    """

    def __init__(
        self,
        open_camera: Callable[[], Camera],
        *,
        source: str,
        stall_after_s: float = 5.0,
        open_within_s: float = 15.0,
        patience_s: float = 1.0,
        first_within_s: float | None = None,
        clock_ns: Callable[[], int] = monotonic_ns,
        wait: Callable[[Event, float], object] = Event.wait,
    ) -> None:
        self.source = source
        self._open, self._clock_ns, self._wait = open_camera, clock_ns, wait
        self._patience_s = patience_s
        opening_s = max(open_within_s, stall_after_s)
        first_s = opening_s if first_within_s is None else first_within_s
        self._first_must = first_s > 0
        self._limit_s = {"open": opening_s, "read": stall_after_s, "close": stall_after_s}
        self._changed = Condition()  # guards all that follows
        self._slot: Frame | None = None
        self._fault: BaseException | None = None
        self._ended = self._closed = self._stalled = False
        self._openings = self._abandonments = 0
        self._tally = Tally(clock_ns())
        self._reason: EdgeFerError | None = None  # why there is no frame now
        self._last_error: str | None = None
        self._description: str | None = None
        self._abandoned: list[Thread] = []
        with self._changed:
            self._capture = self._start()
        if not self._first_must:
            return
        try:
            self._await_first_opening(first_s)
        except BaseException:
            self.close()
            raise

    def read(self) -> Frame | None:
        """A frame newer than the last one, or None once the source has truly ended.

        Raises:
            CameraAway: none came within ``patience_s``; the message says why. Ask again.
            DeviceError: too many threads hang in the driver; only a new process helps.
            EdgeFerError: the camera was closed.
        """
        with self._changed:
            self._changed.wait_for(
                lambda: self._slot or self._ended or self._fault or self._closed, self._patience_s
            )
            if self._closed:
                raise EdgeFerError(f"The camera {self.source} was closed.")
            frame, self._slot = self._slot, None
            if frame is not None:
                return frame
            if self._fault is not None:
                raise self._fault
            if self._ended:
                return None
            self._look_after_the_thread()
            raise self._away()

    def meter_on(self, box: Box | None) -> None:
        """Expose for this face from now on, where the camera can do that.

        Args:
            box: the face in pixels of the frames, or None.
        """
        meter: Callable[[Box | None], None] | None
        meter = getattr(self._capture.camera, "meter_on", None)
        if meter is not None:
            meter(box)

    def close(self) -> None:
        """Let go within a second, even of a camera that hangs. Calling it twice is fine."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._slot = None
            self._capture.stop.set()
            self._changed.notify_all()
        self._capture.thread.join(_CLOSE_S)

    def status(self) -> dict[str, Any]:
        """How it goes, as JSON-able values.

        ``camera`` is what the camera says it gives. ``state`` is ``streaming``, ``away`` (no frame
        within ``patience_s``), ``stalled`` (the driver hangs), ``ended`` or ``closed``. ``dropped``
        frames came while the worker was busy, ``missed`` ones are gaps in the source's own numbers,
        ``corrupt`` ones could not be decoded. ``black_for_s`` is 0 unless the newest frames are
        black.
        """
        with self._changed:
            now = self._clock_ns()
            return {
                "source": self.source,
                "camera": self._description,
                "state": self._state(now),
                **self._tally.status(now),
                "reopened": max(0, self._openings - 1),
                "abandoned": self._abandonments,
                "last_error": self._last_error,
            }

    # The worker's side, all but the waiting for the first opening under the lock.

    def _start(self) -> _Capture:
        capture = _Capture()
        capture.busy = ("open", self._clock_ns())
        name = f"camera {self.source}"
        capture.thread = Thread(target=self._run, args=(capture,), name=name, daemon=True)
        capture.thread.start()
        return capture

    def _await_first_opening(self, within_s: float) -> None:
        with self._changed:
            done = self._changed.wait_for(lambda: self._openings or self._fault, within_s)
            if self._fault is not None and not self._openings:
                raise self._fault
            if not done:
                raise DeviceError(
                    f"{self.source} did not open within {within_s:g} s.",
                    "Unplug it and plug it in again, or restart what serves it.",
                )

    def _look_after_the_thread(self) -> None:
        self._abandoned = [thread for thread in self._abandoned if thread.is_alive()]
        now = self._clock_ns()
        stuck = self._stuck(now)
        held = self._abandoned and self._tally.silent_s(now) > _HELD_S
        if held or (stuck and len(self._abandoned) >= _MOST_ABANDONED):
            raise DeviceError(
                f"{self.source} has hung {self._abandonments + bool(stuck)} times, and its driver "
                "does not let go.",
                "Start the program again (a service manager does that); if it stays so, unplug "
                "the camera or restart the machine.",
            )
        if not stuck:
            return
        self._note(DeviceError(f"{self.source} hangs: {stuck}."))
        self._stalled = True
        self._abandoned.append(self._capture.thread)
        self._abandonments += 1
        self._capture.stop.set()
        self._capture = self._start()

    def _stuck(self, now: int) -> str:
        """What the thread hangs in, or nothing."""
        doing, since = self._capture.busy
        taken_s = (now - since) / 1e9
        if doing == "wait" or taken_s < self._limit_s[doing]:
            return ""
        return f"{doing} has not returned for {taken_s:.1f} s"

    def _away(self) -> CameraAway:
        if self._reason is not None:
            return CameraAway(self._reason.message, self._reason.remedy)
        for_s = self._tally.silent_s(self._clock_ns())
        return CameraAway(f"{self.source} has given no frame for {for_s:.1f} s.")

    def _state(self, now: int) -> str:
        if self._closed:
            return "closed"
        if self._ended:
            return "ended"
        if self._stalled or self._stuck(now):
            return "stalled"
        away = not self._tally.captured or self._tally.silent_s(now) > self._patience_s
        return "away" if away or self._reason is not None else "streaming"

    def _note(self, err: Exception) -> None:
        known = err if isinstance(err, EdgeFerError) else DeviceError(f"{self.source}: {err}")
        self._reason, self._last_error = known, str(known)

    # The thread's side; what an abandoned thread brings is thrown away.

    def _run(self, capture: _Capture) -> None:
        delay_s = _FIRST_DELAY_S
        try:
            while not capture.stop.is_set():
                try:
                    self._session(capture)
                except (EdgeFerError, OSError) as err:
                    if not self._lost(capture, err):
                        return
                    if capture.fruitful:
                        delay_s = _FIRST_DELAY_S
                    capture.busy, capture.fruitful = ("wait", 0), False
                    self._wait(capture.stop, delay_s)
                    delay_s = min(2 * delay_s, _LAST_DELAY_S)
        except BaseException as err:  # a fault in the program: the worker has to raise it
            with self._changed:
                if capture is self._capture:
                    self._fault = err
                    self._changed.notify_all()

    def _session(self, capture: _Capture) -> None:
        """Open the camera and read it until it fails, ends or is no longer wanted."""
        capture.busy = ("open", self._clock_ns())
        camera = self._open()
        try:
            self._welcome(capture, camera)
            corrupt = 0
            while not capture.stop.is_set():
                capture.busy = ("read", self._clock_ns())
                try:
                    self._take(capture, camera.read())
                    corrupt = 0
                except DataError as err:
                    corrupt += 1
                    self._spoilt(capture, err)
                    if corrupt == _MOST_CORRUPT:
                        raise DeviceError(
                            f"{self.source}: {corrupt} frames in a row cannot be decoded."
                        ) from err
        finally:
            capture.busy, capture.camera = ("close", self._clock_ns()), None
            camera.close()

    def _welcome(self, capture: _Capture, camera: Camera) -> None:
        describe: Callable[[], str] | None = getattr(camera, "describe", None)
        with self._changed:
            if capture is self._capture:
                self._openings += 1
                self._tally.reopened()
                self._description = describe() if describe else None
                capture.camera = camera
                self._changed.notify_all()

    def _spoilt(self, capture: _Capture, err: DataError) -> None:
        with self._changed:
            if capture is self._capture:
                self._tally.corrupt += 1
                self._last_error = str(err)

    def _lost(self, capture: _Capture, err: Exception) -> bool:
        """Whether to go on and reopen."""
        with self._changed:
            if capture is not self._capture or capture.stop.is_set():
                return False
            # What waiting does not mend (a wrong option, a missing package) is said in any case.
            if not self._openings and (self._first_must or not isinstance(err, DeviceError)):
                self._fault = err
                self._changed.notify_all()
                return False
            self._note(err)
            return True

    def _take(self, capture: _Capture, frame: Frame | None) -> None:
        """Put the frame into the place of the one before; None is the end."""
        if frame is None:
            capture.stop.set()
        with self._changed:
            if capture is not self._capture or self._closed:
                return
            if frame is None:
                self._ended = True
            else:
                self._tally.dropped += self._slot is not None
                self._slot = self._tally.take(frame, self._clock_ns())
                self._reason, self._stalled, capture.fruitful = None, False, True
            self._changed.notify_all()
