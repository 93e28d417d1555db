"""A server of a few files that can be told to misbehave, one answer at a time."""

from __future__ import annotations

import re
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How one request is answered; the default is what a good server does.

    ``cut`` closes the connection after so many bytes of the body, ``stall`` says nothing more after
    them until the server is closed; ``shift`` moves the range that is sent.
    """

    status: int = 0
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()
    ranges: bool = True
    length: bool = True
    cut: int | None = None
    stall: int | None = None
    shift: int = 0
    keep_open: bool = False
    pace_s: float = 0.0


class FileServer:
    """``with FileServer({"name": data}) as server``; ``server.script`` holds the next answers."""

    def __init__(self, files: dict[str, bytes], *, certificate: Path | None = None) -> None:
        self.files, self.script, self.otherwise = files, list[Answer](), Answer()
        self.requests: list[tuple[str, str | None]] = []
        self.closing = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        scheme = "https" if certificate else "http"
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def ranges(self) -> list[str | None]:
        """The Range of each request."""
        return [wanted for _, wanted in self.requests]

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _handler(owner: FileServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path, wanted = self.path.lstrip("/"), self.headers.get("Range")
            owner.requests.append((path, wanted))
            answer = owner.script.pop(0) if owner.script else owner.otherwise
            with suppress(OSError):
                self._answer(answer, path, wanted)
            self.close_connection = True

        def _answer(self, answer: Answer, path: str, wanted: str | None) -> None:
            body = owner.files.get(path) if answer.body is None else answer.body
            status, headers = answer.status or (404 if body is None else 200), answer.headers
            body = body or b""
            if status == 200 and wanted and answer.ranges:
                start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) + answer.shift  # type: ignore[index]
                headers += (("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}"),)
                status, body = 206, body[start:]
            if answer.stall == -1:
                owner.closing.wait()
                return
            self.send_response(status)
            if answer.length:
                self.send_header("Content-Length", str(len(body)))
            if not answer.keep_open:
                self.send_header("Connection", "close")
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            sent = body[: answer.cut if answer.stall is None else answer.stall]
            for i in range(0, len(sent), 4096):
                self.wfile.write(sent[i : i + 4096])
                time.sleep(answer.pace_s)
            self.wfile.flush()
            if answer.stall is not None or answer.keep_open:
                owner.closing.wait()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    return Handler
