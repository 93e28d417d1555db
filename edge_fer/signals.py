"""Signals of a service: SIGTERM and SIGINT ask for the end, SIGHUP for new settings."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

__all__ = ["Signals"]

_STOP = (signal.SIGTERM, signal.SIGINT)
# timeout(1) and process groups deliver one wish twice; a person needs longer for the second.
_SAME_WISH_S = 0.5


class Signals:
    """While the block runs, signals set flags, and one that asks for the end starts a clock.

    The clock also covers what comes after the loop: closing, draining. When ``grace_s`` have
    passed, or a second signal asks for the end, the process ends at once with exit code 7, because
    something hangs. A thread sees to that, so that it works while native code blocks the main one.

    Only the main thread can enter the block.

    Args:
        grace_s: seconds from the first signal to the hard end.
        give_up: ends the process, after the reason was printed.

    Attributes:
        stopped_by: the signal that asked for the end; None: none yet.
    """

    def __init__(
        self, *, grace_s: float = 5.0, give_up: Callable[[int], object] = os._exit
    ) -> None:
        self.stopped_by: signal.Signals | None = None
        self._grace_s, self._give_up = grace_s, give_up
        self._wake, self._reload = threading.Event(), threading.Event()

    @property
    def stop(self) -> bool:
        """Whether the end was asked for."""
        return self.stopped_by is not None

    def take_reload(self) -> bool:
        """Whether new settings were asked for since the last time."""
        if not self._reload.is_set():
            return False
        self._reload.clear()
        return True

    def wait(self, seconds: float) -> None:
        """Wait, but no longer than until a signal comes."""
        if not self.stop and not self._reload.is_set():
            self._wake.wait(seconds)
        self._wake.clear()

    def __enter__(self) -> Self:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # The interpreter itself writes the number, at once, whatever the main thread is doing.
        self._wakeup_before = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._before = {
            number: signal.signal(number, _ignore) for number in (*_STOP, signal.SIGHUP)
        }
        self._thread = threading.Thread(target=self._watch, name="edge-fer-signals", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # As it came from C, a handler reads as None, and cannot be put back.
        for number, handler in self._before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._wakeup_before)
        os.write(self._write, b"\0")  # no signal has this number: the end of the thread
        self._thread.join()
        os.close(self._read)
        os.close(self._write)

    def _watch(self) -> None:
        first = None
        while True:
            left = None if first is None else max(0.0, first + self._grace_s - time.monotonic())
            ready, _, _ = select.select([self._read], [], [], left)
            if not ready and first is not None:
                self._end(f"did not end within {self._grace_s:g} s")
                return
            for number in os.read(self._read, 512):
                if number == 0:
                    return
                if number == signal.SIGHUP:
                    self._reload.set()
                elif number in _STOP and first is None:
                    first, self.stopped_by = time.monotonic(), signal.Signals(number)
                elif number in _STOP and time.monotonic() - (first or 0.0) > _SAME_WISH_S:
                    self._end("was told twice to end")
                    return
                self._wake.set()

    def _end(self, why: str) -> None:
        text = f"edge-fer: {why}; ended at once, what was not yet accepted by a sink is lost.\n"
        with suppress(OSError):  # nobody reads it
            os.write(2, text.encode())
        self._give_up(7)


def _ignore(number: int, frame: object) -> None:
    """The pipe has told the thread."""
