"""A pipeline, a clock and signals that do as a test says, and a systemd that listens."""

from __future__ import annotations

import queue
import signal
import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from edge_fer.errors import CameraAway
from edge_fer.types import Box, Expression, Face, Observation, ObservedFace

FACE = ObservedFace(
    face=Face(box=Box(x=1, y=2, w=30, h=30), score=0.9),
    expression=Expression(label="neutral", probabilities={"neutral": 1.0}, entropy=0.0),
    raw_expression="neutral",
)


class Clock:
    """Monotonic nanoseconds that pass only when told."""

    def __init__(self, s: float = 1000.0) -> None:
        self.ns = int(s * 1e9)

    def __call__(self) -> int:
        return self.ns

    def pass_s(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)


class FakeParts:
    """Steps from a script: a number of faces, an error, None for the end, or a call.

    Each step takes ``step_s`` of the clock; CameraAway takes a second.
    """

    def __init__(self, clock: Clock, script: Iterable[Any], step_s: float = 0.05) -> None:
        self.clock, self.step_s = clock, step_s
        self.script: Iterator[Any] = iter(script)
        self.told: dict[str, Any] = {"camera": {"state": "streaming"}, "source": "fake"}
        self.steps = self.closed = 0

    def step(self) -> Observation | None:
        self.steps += 1
        now = next(self.script, None)
        if callable(now):
            now = now()
        self.clock.pass_s(1.0 if isinstance(now, CameraAway) else self.step_s)
        if isinstance(now, Exception):
            raise now
        if now is None:
            return None
        return Observation(
            frame=self.steps - 1,
            t_ns=self.clock(),
            source="fake",
            faces=(FACE,) * now,
            timings_ms={"capture": 30.0, "total": 30.0 + 1000 * self.step_s},
        )

    def status(self) -> dict[str, Any]:
        return dict(self.told)

    def close(self) -> None:
        self.closed += 1


class FakeSignals:
    """Flags that a test sets; waiting lets the clock pass."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.stopped_by: signal.Signals | None = None
        self.reload = False
        self.waits: list[float] = []
        self.on_wait: Callable[[], None] = lambda: None

    @property
    def stop(self) -> bool:
        return self.stopped_by is not None

    def take_reload(self) -> bool:
        asked, self.reload = self.reload, False
        return asked

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.pass_s(seconds)
        self.on_wait()


class FakeSystemd:
    """A real datagram socket and a thread that keeps what it is told, as a manager would."""

    def __init__(self, folder: Path, *, abstract: bool = False) -> None:
        self.address = f"@edge-fer-test-{folder.name}" if abstract else str(folder / "notify")
        self._bound = "\0" + self.address[1:] if abstract else self.address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self._bound)
        self._heard: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def read(self) -> list[str]:
        """What was said since the last time."""
        self._tell(b"MARK")
        found = []
        while (said := self._heard.get(timeout=20)) != "MARK":
            found.append(said)
        return found

    def close(self) -> None:
        """Nobody listens any more. Calling it twice is fine."""
        if self._socket.fileno() >= 0:
            self._tell(b"END")
            self._thread.join()
            self._socket.close()

    def _tell(self, word: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as own:
            own.sendto(word, self._bound)

    def _listen(self) -> None:
        while (said := self._socket.recv(65536)) != b"END":
            self._heard.put(said.decode())
