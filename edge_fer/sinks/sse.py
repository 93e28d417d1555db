"""Records for pages on this machine: server-sent events, a health check, and one static page.

``sse://127.0.0.1:PORT`` answers on loopback only and never sends a picture:

* ``/events``: each record as an event (``id`` is its ``seq``, ``data`` the JSON document); a reader
  that comes back with ``Last-Event-ID`` gets what it missed, as far as it is kept;
* ``/health``: JSON, 200 or 503;
* ``/``: expression, probabilities, and the operator's texts, for a kiosk's screen.
"""

from __future__ import annotations

import base64
import hashlib
import html
import math
import re
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from edge_fer.errors import ConfigError, DeviceError
from edge_fer.records import Record
from edge_fer.sinks.sse_ring import Ring
from edge_fer.sinks.sse_server import Content, PageServer
from edge_fer.uri import options, split_query

__all__ = ["HEALTH", "OPTIONS", "SseWriter"]

HEALTH = "edge-fer/health/1"
_LOOPBACK = {"127.0.0.1": "127.0.0.1", "localhost": "127.0.0.1", "::1": "::1"}
_TEXTS = ("operator", "purpose", "notice")
# Without a status to ask, an observation this young is a sign of life.
_FRESH_S = 10.0


def _origin(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or text != f"{parts.scheme}://{parts.netloc}":
        raise ValueError("it is http://HOST[:PORT] or https://HOST[:PORT]")
    if not re.fullmatch(r"[a-z0-9.\-\[\]:]+", parts.netloc):
        raise ValueError("its host is written in small letters, without user or path")
    return text


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,4}", text) or int(text) < 1:
        raise ValueError("it is a whole number from 1 to 9999")
    return int(text)


OPTIONS: Mapping[str, Callable[[str], Any]] = {"allow_origin": _origin, "replay": _count}
"""What may stand after the ``?``: keyword arguments of :class:`SseWriter`."""


class SseWriter:
    """Hands records to whoever listens now. Nothing is stored, so nothing is ever accepted.

    ``write`` never waits: a reader that is too slow loses the oldest events, and ``sync`` does
    nothing.

    Args:
        address: ``sse://127.0.0.1:PORT``; also localhost and [::1]. Port 0 takes a free one.
        device: the name of the device, shown on the page.
        texts: ``operator``, ``purpose`` and ``notice``, always shown on the page.
        allow_origin: another page's origin that may read events and health.
        replay: events kept for readers that come back.
        max_clients: readers of events at once.

    Attributes:
        port: the port that it answers on.

    Raises:
        ConfigError: no address of this machine alone.
        DeviceError: the port is taken or not permitted.
    """

    bytes_written = 0
    backlog = 0

    def __init__(
        self,
        address: str,
        *,
        device: str = "",
        texts: Mapping[str, str] = MappingProxyType({}),
        allow_origin: str | None = None,
        replay: int = 256,
        max_clients: int = 16,
    ) -> None:
        host, port = _place(address)
        self._ring, self._closed = Ring(replay), False
        self._status: Callable[[], Mapping[str, Any]] | None = None
        page, policy = _page(device, texts, allow_origin)
        content = Content(
            page=page,
            policy=policy,
            ring=self._ring,
            health=self.health,
            allow_origin=allow_origin,
            max_clients=max_clients,
        )
        try:
            self._server = PageServer((host, port), content)
        except OSError as err:
            raise DeviceError(
                f"{address} cannot be opened: {err.strerror or err}.",
                f"Choose another port, or see who has it: ss -ltnp sport = :{port}",
            ) from err
        self.port = self._server.port
        self.name = f"sse://{f'[{host}]' if ':' in host else host}:{self.port}"

    @classmethod
    def open(
        cls,
        uri: str,
        *,
        device: str = "",
        texts: Mapping[str, str] = MappingProxyType({}),
        warn: Callable[[str], None] = lambda text: None,  # noqa: ARG003 (there is nothing to say)
    ) -> SseWriter:
        """Open from an address with its options.

        Raises:
            ConfigError, DeviceError: as the class.
        """
        address, given = split_query(uri)
        return cls(address, device=device, texts=texts, **options(uri, given, OPTIONS))

    @staticmethod
    def check(uri: str) -> None:
        """Read an address with its options, and open nothing.

        Raises:
            ConfigError: as the class.
        """
        address, given = split_query(uri)
        _place(address)
        options(uri, given, OPTIONS)

    def watch(self, status: Callable[[], Mapping[str, Any]]) -> None:
        """Ask this, from any thread, for the service's status when somebody asks for ours."""
        self._status = status

    def write(self, records: Sequence[Record]) -> None:
        self._ring.add(
            (record.seq, f"id: {record.seq}\ndata: {record.line}\n\n".encode())
            for record in records
        )

    def sync(self) -> None:
        """Nothing is stored here, so there is nothing to make durable."""

    def close(self) -> None:
        """End all connections. Calling it twice is fine."""
        if not self._closed:
            self._closed = True
            self._server.stop()

    def status(self) -> dict[str, Any]:
        """For the service's status: readers now, and events that slow ones have missed."""
        return {"clients": self._server.clients, "missed": self._server.missed}

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether all is well, and what ``/health`` says: state, camera, fps, age of the records.

        ``state`` is the service's (``running``, ``camera_away``...); where nobody gave a status it
        is ``running`` while records come, else ``silent``.
        """
        age = self._ring.age_s
        status = {"state": "running" if age < _FRESH_S else "silent"}
        if self._status is not None:
            status = dict(self._status())
        camera = status.get("camera")
        where = camera.get("state") if isinstance(camera, Mapping) else None
        well = status.get("state") == "running" and where in (None, "streaming")
        return well, {
            "schema": HEALTH,
            "ok": well,
            "state": status.get("state"),
            "camera": where,
            "fps": status.get("fps"),
            "record_age_s": round(age, 1) if math.isfinite(age) else None,
            "clients": self._server.clients,
        }


def _place(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as err:
        raise _no_place(address, f"{err}") from err
    if parts.scheme != "sse" or port is None or parts.path.strip("/") or "@" in parts.netloc:
        raise _no_place(address, "it is not sse://127.0.0.1:PORT")
    if parts.hostname not in _LOOPBACK:
        raise _no_place(address, "it is served to this machine alone, never to a network")
    return _LOOPBACK[parts.hostname], port


def _no_place(address: str, why: str) -> ConfigError:
    return ConfigError(f"{address!r} cannot be served: {why}.", "Write sse://127.0.0.1:8765")


def _page(device: str, texts: Mapping[str, str], allow_origin: str | None) -> tuple[bytes, str]:
    """The page with its texts, and the policy under which nothing but it runs in it."""
    page = (files("edge_fer.sinks") / "page.html").read_text(encoding="utf-8")
    page = page.replace("{{device}}", html.escape(device or "edge-fer"))
    for key in _TEXTS:
        page = page.replace(f"{{{{{key}}}}}", html.escape(texts.get(key, "")))
    script, style = (
        base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        for inner in (
            page.split("<script>")[1].split("</script>")[0],
            page.split("<style>")[1].split("</style>")[0],
        )
    )
    return page.encode(), (
        f"default-src 'none'; script-src 'sha256-{script}'; style-src 'sha256-{style}'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; "
        f"frame-ancestors {allow_origin or chr(39) + 'none' + chr(39)}"
    )
