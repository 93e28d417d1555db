"""A real Mosquitto on loopback, a cable to it that can be pulled, and somebody who listens."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import pytest

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
needs_mosquitto = pytest.mark.skipif(
    MOSQUITTO is None, reason="no mosquitto here: apt-get install mosquitto"
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 20.0) -> None:
    by = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < by, f"never: {what}"
        time.sleep(0.01)


class Mosquitto:
    """``with Mosquitto(tmp_path) as broker``; ``kill`` and ``start`` as often as one likes."""

    def __init__(self, folder: Path, *lines: str) -> None:
        self.port = free_port()
        self._config = folder / "mosquitto.conf"
        given = lines or ("allow_anonymous true",)
        # Nothing is queued away from the listener: what it gets is what was forwarded.
        text = ("persistence false", "max_queued_messages 0", f"listener {self.port} 127.0.0.1")
        self._config.write_text("\n".join((*text, *given)) + "\n")
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self) -> None:
        assert MOSQUITTO is not None
        self._process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self._config)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for(self._answers, "Mosquitto listens")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True


class Listener:
    """Subscribes to everything; ``records`` are the JSON documents on ``.../observations``."""

    def __init__(self, port: int) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.messages: list[tuple[str, bytes, bool]] = []
        ready = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, reconnect_on_failure=False)
        self._client.on_message = lambda c, d, m: self.messages.append(
            (m.topic, m.payload, m.retain)
        )
        self._client.on_connect = lambda *_: self._client.subscribe("#", 1)
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert ready.wait(20)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def records(self) -> list[dict[str, Any]]:
        return [
            json.loads(p) for topic, p, _ in list(self.messages) if topic.endswith("observations")
        ]

    def last(self, ending: str) -> bytes | None:
        found = [payload for topic, payload, _ in list(self.messages) if topic.endswith(ending)]
        return found[-1] if found else None


class Cable:
    """Forwards TCP to a port of this machine, until it is pulled.

    ``deaf``: what the far side answers is swallowed. ``plugged`` False refuses new connections.
    """

    def __init__(self, target: int, *, plugged: bool = True) -> None:
        self._target, self.plugged, self.deaf = target, plugged, False
        self.carried = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._server.getsockname()[1])
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.plugged = False
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        self.pull()
        for thread in self._threads:
            thread.join()

    def pull(self) -> None:
        """Cut what is connected now, and let nobody in."""
        self.plugged = False
        for end in self._sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._server.accept()
            except OSError:
                return
            far = self._reach() if self.plugged else None
            if far is None:
                near.close()
                continue
            self._sockets += [near, far]
            for pair in ((near, far, True), (far, near, False)):
                thread = threading.Thread(target=self._carry, args=pair)
                self._threads.append(thread)
                thread.start()

    def _reach(self) -> socket.socket | None:
        try:
            return socket.create_connection(("127.0.0.1", self._target))
        except OSError:
            return None

    def _carry(self, source: socket.socket, sink: socket.socket, outward: bool) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if outward:
                    self.carried += len(data)
                if outward or not self.deaf:
                    sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()
