"""Telling systemd how we are: the protocol of sd_notify(3), on a datagram socket."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping

__all__ = ["Notify"]

# The manager reads at once; where its queue (ten datagrams) is full, a frame is not to wait for it.
_SOON_S = 0.1
_URGENT_S = 2.0


class Notify:
    """What a ``Type=notify`` service says; without an address it says nothing.

    Nothing here fails: a service runs on where nobody listens. ``failed`` says what went wrong.

    Args:
        address: of the socket, ``$NOTIFY_SOCKET``: a path, or ``@`` and an abstract name.
        watchdog_s: how often at least the manager wants to hear :meth:`alive`; None: never.
        clock: the monotonic clock, in nanoseconds.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        watchdog_s: float | None = None,
        clock: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.watchdog_s, self.failed = watchdog_s, ""
        self._clock, self._next_alive, self._said = clock, 0, ""
        self._socket: socket.socket | None = None
        if address:
            self._connect(address)

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str] = os.environ, pid: int | None = None
    ) -> Notify:
        """As the service manager asked for it (sd_notify(3), sd_watchdog_enabled(3)).

        Args:
            environ: with ``NOTIFY_SOCKET``, ``WATCHDOG_USEC`` and ``WATCHDOG_PID``, or without.
            pid: of this process; the watchdog may be meant for another.
        """
        micros = environ.get("WATCHDOG_USEC", "")
        meant = environ.get("WATCHDOG_PID") or str(pid or os.getpid())
        wanted = micros.isascii() and micros.isdigit() and int(micros) > 0
        mine = wanted and meant == str(pid or os.getpid())
        return cls(environ.get("NOTIFY_SOCKET"), watchdog_s=int(micros) / 1e6 if mine else None)

    @property
    def listening(self) -> bool:
        """Whether anybody is told."""
        return self._socket is not None

    def ready(self, status: str) -> bool:
        """Started, or done with reloading; False: its queue is full, say it again."""
        self._said = status
        return self._send("READY=1", f"STATUS={status}", timeout_s=_URGENT_S)

    def reloading(self) -> None:
        """About to read the settings anew; ``ready`` must follow, whatever comes of it."""
        usec = self._clock() // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={usec}", timeout_s=_URGENT_S)

    def stopping(self, status: str) -> None:
        """About to end."""
        self._said = status
        self._send("STOPPING=1", f"STATUS={status}", timeout_s=_URGENT_S)

    def status(self, status: str) -> None:
        """The line that ``systemctl status`` shows; sent only when it is another than before."""
        if status != self._said and self._send(f"STATUS={status}"):
            self._said = status

    def alive(self) -> bool:
        """Pet the watchdog, when half of its time has passed; whether it was."""
        now = self._clock()
        if self.watchdog_s is None or now < self._next_alive:
            return False
        if not self._send("WATCHDOG=1"):
            return False
        self._next_alive = now + int(self.watchdog_s / 2 * 1e9)
        return True

    def close(self) -> None:
        """Let go of the socket. Calling it twice is fine."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _connect(self, address: str) -> None:
        if address[0] not in "/@":  # vsock: a virtual machine's own manager, nothing for us
            self.failed = f"NOTIFY_SOCKET={address} is no Unix socket."
            return
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            made.connect("\0" + address[1:] if address[0] == "@" else address)
        except OSError as err:
            made.close()
            self.failed = f"NOTIFY_SOCKET={address}: {err.strerror or err}."
            return
        self._socket = made

    def _send(self, *lines: str, timeout_s: float = _SOON_S) -> bool:
        """Whether there is no use in saying it again: it was heard, or nobody is there."""
        if self._socket is None:
            return True
        # A line break in a status would begin another assignment.
        text = "\n".join(" ".join(line.splitlines()) for line in lines)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.send(text.encode())
        except OSError as err:
            self.failed = f"The service manager was not told {lines[0]}: {err.strerror or err}."
            return not isinstance(err, TimeoutError)
        self.failed = ""
        return True
