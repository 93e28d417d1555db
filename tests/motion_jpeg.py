"""A network camera of the standard library: motion JPEG over HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import cv2
import numpy as np


def jpeg(number: int, size: tuple[int, int] = (160, 120)) -> bytes:
    picture = np.full((size[1], size[0], 3), 40, np.uint8)
    cv2.circle(picture, (20 + number * 7 % (size[0] - 40), size[1] // 2), 15, (60, 200, 255), -1)
    return bytes(cv2.imencode(".jpg", picture)[1].tobytes())


class MotionJpeg:
    """A camera's web server. Each client gets what ``pictures`` yields, 60 a second.

    With credentials, only a client that shows them; FFMPEG does so when it is asked.
    """

    def __init__(
        self, pictures: Callable[[], Iterator[bytes]], credentials: str = "", port: int = 0
    ) -> None:
        self.requests: list[str] = []
        self.closing = threading.Event()
        owner = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                owner.requests.append(self.path)
                if credentials and self.headers.get("Authorization") != credentials:
                    self.send_response(401)
                    self.send_header("WWW-Authenticate", 'Basic realm="camera"')
                    self.end_headers()
                    return
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=part")
                self.end_headers()
                with suppress(OSError):
                    for data in pictures():
                        head = f"--part\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}"
                        self.wfile.write(head.encode() + b"\r\n\r\n" + data + b"\r\n")
                        if owner.closing.wait(1 / 60):
                            return

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.port = int(self._server.server_address[1])
        self.host = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> MotionJpeg:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def endless() -> Iterator[bytes]:
    number = 0
    while True:
        yield jpeg(number)
        number += 1
