"""A small web server for this machine alone: ``/``, ``/events``, ``/health``, and nothing else.

Who may ask: requests whose Host is a loopback name with our port (a page of a stranger's site that
points its own name at 127.0.0.1 has another one: DNS rebinding), and that come from our own page,
from no page, or from the one origin that was allowed.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from edge_fer import __version__
from edge_fer.sinks.sse_ring import Follower, Ring

__all__ = ["Content", "PageServer"]

_MAX_CONNECTIONS = 64
_REQUEST_S = 10.0
_HEARTBEAT_S = 10.0
_GOODBYE_S = 2.0
_HOSTS = ("127.0.0.1", "localhost", "[::1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """What is served.

    Attributes:
        page: HTML, UTF-8.
        policy: its Content-Security-Policy.
        ring: the events.
        health: whether all is well, and a JSON-able document.
        allow_origin: another origin that may read, or None.
        max_clients: followers of ``/events`` at once.
    """

    page: bytes
    policy: str
    ring: Ring
    health: Callable[[], tuple[bool, Mapping[str, Any]]]
    allow_origin: str | None
    max_clients: int


class PageServer(ThreadingHTTPServer):
    """Serves until ``stop``; one thread for each connection.

    Args:
        address: loopback address and port (0: a free one).
        content: what is served.

    Raises:
        OSError: the port is taken or not permitted.
    """

    # A program that ends without closing us must not hang on a visitor.
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], content: Content) -> None:
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.content, self.missed = content, 0
        self._open: set[Any] = set()
        self._followers = 0
        self._lock = threading.Condition()
        super().__init__(address, _Handler)
        self.port = int(self.server_address[1])
        self._thread = threading.Thread(
            target=self.serve_forever, args=(0.1,), name="sse", daemon=True
        )
        self._thread.start()

    @property
    def clients(self) -> int:
        """Followers of ``/events`` now."""
        return self._followers

    def stop(self) -> None:
        """End all connections and threads."""
        self.content.ring.close()
        self.shutdown()
        with self._lock:
            # A reader that takes nothing keeps its thread in send() until its socket goes.
            for connection in self._open:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            self._lock.wait_for(lambda: not self._open, _GOODBYE_S)
        self.server_close()
        self._thread.join()

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ARG002
        with self._lock:
            return len(self._open) < _MAX_CONNECTIONS

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.discard(request)
            self._lock.notify_all()
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A visitor who hangs up is no news."""

    def server_bind(self) -> None:
        # HTTPServer asks the name server for our name here; a kiosk may have none.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

    def admit(self, last_seq: int | None) -> Follower | None:
        """A place for one more follower, or None."""
        with self._lock:
            if self._followers >= self.content.max_clients:
                return None
            self._followers += 1
        return self.content.ring.follow(last_seq)

    def leave(self, follower: Follower) -> None:
        """A follower has gone."""
        with self._lock:
            self._followers -= 1
            self.missed += follower.missed


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    protocol_version = "HTTP/1.1"
    timeout = _REQUEST_S

    def do_GET(self) -> None:
        self.close_connection = True
        path = self.path.split("?")[0]
        if refused := self._refused(path):
            self._answer(HTTPStatus.FORBIDDEN, {"error": refused})
        elif path == "/":
            self._send(HTTPStatus.OK, "text/html; charset=utf-8", self.server.content.page)
        elif path == "/health":
            well, document = self.server.content.health()
            self._answer(HTTPStatus.OK if well else HTTPStatus.SERVICE_UNAVAILABLE, document)
        elif path == "/events":
            self._follow()
        else:
            self._answer(HTTPStatus.NOT_FOUND, {"error": "There are /, /events and /health."})

    do_HEAD = do_GET  # noqa: N815 (the name that http.server calls)

    def version_string(self) -> str:
        return f"edge-fer/{__version__}"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Visits are nobody's business."""

    def _refused(self, path: str) -> str:
        """Why this request is not answered, or an empty string."""
        port, content = self.server.port, self.server.content
        ours = {f"{name}:{port}" for name in _HOSTS} | (set(_HOSTS) if port == 80 else set())
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1 or hosts[0].lower() not in ours:
            return "Host is not this machine's loopback name with this port."
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site", "none")
        if origin is not None:
            known = origin == content.allow_origin or origin in {f"http://{host}" for host in ours}
            return "" if known else "This origin is not allowed; see ?allow_origin=."
        # A picture or script tag of a strange page sends no Origin. Following a link is fine.
        if site in ("none", "same-origin") or (
            path == "/" and self.headers.get("Sec-Fetch-Mode") == "navigate"
        ):
            return ""
        return "Requests from other sites are not allowed."

    def _headers(self, status: HTTPStatus, kind: str, length: int | None) -> None:
        content = self.server.content
        self.send_response(status)
        self.send_header("Content-Type", kind)
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.send_header("Connection", "close")
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", content.policy)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        if content.allow_origin:
            self.send_header("Access-Control-Allow-Origin", content.allow_origin)
            self.send_header("Vary", "Origin")
        else:
            self.send_header("Cross-Origin-Resource-Policy", "same-origin")
        self.end_headers()

    def _send(self, status: HTTPStatus, kind: str, body: bytes) -> None:
        self._headers(status, kind, len(body))
        if self.command != "HEAD":
            self.wfile.write(body)

    def _answer(self, status: HTTPStatus, document: Mapping[str, Any]) -> None:
        self._send(status, "application/json", json.dumps(document).encode() + b"\n")

    def _follow(self) -> None:
        last = self.headers.get("Last-Event-ID", "")
        follower = self.server.admit(int(last) if last.isdecimal() and len(last) < 19 else None)
        if follower is None:
            self._answer(
                HTTPStatus.SERVICE_UNAVAILABLE,
                {"error": f"{self.server.content.max_clients} readers are the most."},
            )
            return
        try:
            self._headers(HTTPStatus.OK, "text/event-stream", None)
            # For as long as they like; who reads nothing for this long is gone.
            self.connection.settimeout(3 * _HEARTBEAT_S)
            if self.command != "HEAD":
                self.wfile.write(b"retry: 1000\n\n")
                while (events := follower.next(_HEARTBEAT_S)) is not None:
                    self.wfile.write(b"".join(events) or b": still here\n\n")
        finally:
            self.server.leave(follower)
