"""One file over HTTP into an open part file: resumed, retried, and never taken for granted.

A connection that ends too early is noticed and gone on with by a range request (RFC 9110, section
14), which a server may ignore. Whether the bytes are the right ones is for the caller to check.
"""

from __future__ import annotations

import os
import re
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse, InvalidURL
from io import FileIO
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from edge_fer import __version__
from edge_fer.errors import ConfigError, DeviceError, EdgeFerError, ModelError

__all__ = ["NotServedError", "Patience", "SafeRedirects", "append", "download"]

_CHUNK = 1 << 16
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_RANGE = re.compile(r"bytes (\d+)-")
_COPY = "Check the network and the address, or pull from a copy: --mirror DIR"
_GO_ON = "Pull again: it goes on from there."


class NotServedError(DeviceError):
    """The server answered, and does not have the file."""


class _LostError(Exception):
    """An attempt that failed; ``connected``: on a connection that had been made."""

    def __init__(self, why: str, *, connected: bool) -> None:
        super().__init__(why)
        self.connected = connected


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a server is waited for.

    Attributes:
        timeout_s: of silence, while connecting and while reading.
        attempts: how many in all, where a connection is lost that had been made.
        backoff_s: before the second attempt; doubled before each further one.
    """

    timeout_s: float = 30.0
    attempts: int = 5
    backoff_s: float = 0.5


class SafeRedirects(HTTPRedirectHandler):
    """Follows redirects, but never from https to anything else."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        scheme = urlsplit(newurl).scheme
        if scheme != "https" and (req.type == "https" or scheme != "http"):
            fp.close()
            raise DeviceError(
                f"{req.full_url} leads to {newurl}, which is not safe: no https.", _COPY
            )
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def download(
    url: str,
    part: FileIO,
    *,
    size: int,
    patience: Patience,
    on_bytes: Callable[[int], None] = lambda have: None,
    on_lost: Callable[[str], None] = lambda why: None,
) -> None:
    """Fetch ``url`` into ``part``, going on behind the bytes that it holds.

    Args:
        url: ``http`` or ``https``.
        part: open for reading and writing. Afterwards it holds what the server sent, which may be
            more or less than ``size``, or something else.
        size: bytes that the file should have; much more than that is not read.
        patience: timeouts and attempts.
        on_bytes: told how many bytes there are, as they arrive.
        on_lost: told why another attempt is made.

    Raises:
        NotServedError: the server does not have it.
        DeviceError: no connection, one that was lost in the last attempt too, a certificate that
            is not valid, or no room on the disk (the part is then emptied).
        ModelError: a web page or a Git LFS pointer instead of a file, or far too much.
        ConfigError: an address that is none.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise ConfigError(f"{url} is no http or https address.", _COPY)
    met = False
    for attempt in range(1, patience.attempts + 1):
        have = part.seek(0, os.SEEK_END)
        if have > size:  # not the beginning of this file
            have = 0
        if have == size:
            return
        try:
            _receive(url, part, have, size, patience.timeout_s, on_bytes)
        except _LostError as err:
            met |= err.connected
            have = part.seek(0, os.SEEK_END)
            if not met:
                raise DeviceError(f"{url} cannot be reached: {err}.", _COPY) from err
            if attempt == patience.attempts:
                raise DeviceError(
                    f"{url} broke off after {have:,} of {size:,} bytes: {err}.",
                    _GO_ON if have else _COPY,
                ) from err
            on_lost(f"The connection was lost after {have:,} of {size:,} bytes ({err}).")
            time.sleep(patience.backoff_s * 2 ** (attempt - 1))
        else:
            return


def append(part: FileIO, data: bytes) -> None:
    """Write all of ``data`` at the part's position.

    Raises:
        DeviceError: the disk is full; the part is emptied, so that it does not stay so.
    """
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[part.write(rest) :]
    except OSError as err:
        part.truncate(0)
        raise DeviceError(
            f"{part.name!s} could not be written: {err.strerror or err}.",
            "Make room (df -h), or pull to another folder: --to DIR",
        ) from err


def _receive(
    url: str,
    part: FileIO,
    have: int,
    size: int,
    timeout_s: float,
    on_bytes: Callable[[int], None],
) -> None:
    with _opened(url, part, have, timeout_s) as response:
        if response.status == 206:
            start = _RANGE.match(response.headers.get("Content-Range", ""))
            if start is None or int(start[1]) != have:
                part.truncate(0)
                raise _LostError("the server sent another range than asked for", connected=True)
        else:
            have = 0  # the whole file, asked for or not
        # Where no length is stated, a connection that ends early was cut.
        end = size if response.length is None else have + response.length
        while chunk := _read(response, timeout_s):
            if have == 0:
                _refuse_text(url, chunk)
            part.truncate(have)
            part.seek(have)
            append(part, chunk)
            have += len(chunk)
            on_bytes(have)
            if have > 2 * size + _CHUNK:
                part.truncate(0)
                raise ModelError(
                    f"{url} sends more than {have:,} bytes; the model has {size:,}.", _COPY
                )
    if have < end:
        raise _LostError("the server closed the connection", connected=True)


def _opened(url: str, part: FileIO, have: int, timeout_s: float) -> HTTPResponse:
    headers = {"User-Agent": f"edge-fer/{__version__}"}
    if have:
        headers["Range"] = f"bytes={have}-"
    try:
        request = Request(url, headers=headers)  # noqa: S310  (http or https: see download)
        response: HTTPResponse = build_opener(SafeRedirects()).open(request, timeout=timeout_s)
    except HTTPError as err:
        err.close()
        if err.code == 416:
            part.truncate(0)
            raise _LostError("the server has no such range", connected=True) from err
        answer = f"HTTP {err.code} {err.reason}"
        if err.code in _PASSING:
            raise _LostError(answer, connected=True) from err
        raise NotServedError(f"{url} is not served: {answer}.", _COPY) from err
    except EdgeFerError:
        raise
    except (InvalidURL, ValueError) as err:
        raise ConfigError(f"{url} is no address ({err}).", _COPY) from err
    except URLError as err:
        if isinstance(err.reason, ssl.SSLCertVerificationError):
            raise DeviceError(
                f"The certificate of {url} is not valid: {err.reason.verify_message}.",
                "Check this machine's clock (timedatectl) and its ca-certificates.",
            ) from err
        raise _lost(err.reason, timeout_s, connected=False) from err
    except TimeoutError as err:  # it accepts connections and says nothing
        raise _lost(err, timeout_s, connected=False) from err
    except (OSError, HTTPException) as err:
        raise _lost(err, timeout_s, connected=True) from err
    return response


def _read(response: HTTPResponse, timeout_s: float) -> bytes:
    try:
        return response.read1(_CHUNK)
    except (OSError, HTTPException, ValueError) as err:
        raise _lost(err, timeout_s, connected=True) from err


def _lost(err: BaseException | str, timeout_s: float, *, connected: bool) -> _LostError:
    if isinstance(err, TimeoutError):
        return _LostError(f"it said nothing for {timeout_s:g} s (--timeout)", connected=connected)
    why = err.strerror if isinstance(err, OSError) else None
    return _LostError(why or str(err) or type(err).__name__, connected=connected)


def _refuse_text(url: str, head: bytes) -> None:
    """No model begins so: a page of a proxy or a log-in, or what Git LFS leaves in a raw tree."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for start, what in ((b"<", "a web page"), (b"version https://git-lfs", "a Git LFS pointer")):
        if text.startswith(start):
            raise ModelError(f"{url} gives {what} instead of a model.", _COPY)
