"""Where observations go, by address: one writer for each.

``jsonl:FILE`` appends lines and ``jsonl:-`` (or ``stdout``) prints them; ``sqlite:FILE`` fills a
database; ``mqtt://BROKER`` and ``mqtts://BROKER`` publish; ``sse://127.0.0.1:PORT`` feeds a page
on this machine. Options follow a ``?``: ``jsonl:seen.jsonl?rotate=10MB&keep=5``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pkgutil import resolve_name
from types import MappingProxyType
from typing import Any

from edge_fer.credentials import without_password
from edge_fer.errors import ConfigError
from edge_fer.sinks.base import Writer
from edge_fer.uri import options, split_query, suggestion

__all__ = ["WRITERS", "check_writer", "open_writer"]

_TELLING = ("sqlite", "mqtt", "mqtts")
_REMEDY = "Write jsonl:FILE, jsonl:- for standard output, sqlite:FILE, mqtt://BROKER or sse://."


def open_writer(
    uri: str,
    *,
    device: str = "edge-fer",
    texts: Mapping[str, str] = MappingProxyType({}),
    warn: Callable[[str], None] = lambda text: None,
) -> Writer:
    """Open the far side of a sink.

    Args:
        uri: an address as above.
        device: the name of this device, for the kinds that show or publish one.
        texts: operator, purpose and notice, for the kinds that show them.
        warn: is told what a person must know, for example that a damaged file was set aside.

    Raises:
        ConfigError: no such kind of sink or option, or no file named.
        DeviceError: it cannot be opened for writing.
        MissingExtra: the kind needs a package that is not installed.
    """
    kind, path, chosen = _read(uri)
    place, known = WRITERS[kind]
    told = {"warn": warn} if kind in _TELLING else {}
    if known is None:
        served: Writer = resolve_name(place).open(uri, device=device, texts=texts, **told)
        return served
    return _made(place, *path, **chosen, **told)


def check_writer(uri: str) -> None:
    """Read the address of a sink without opening anything.

    Args:
        uri: as :func:`open_writer` takes it.

    Raises:
        ConfigError: no such kind of sink or option, or no file or host named.
    """
    kind, _, _ = _read(uri)
    place, known = WRITERS[kind]
    if known is None:
        resolve_name(place).check(uri)


def _read(uri: str) -> tuple[str, tuple[str, ...], dict[str, Any]]:
    """Kind, file and options; the last two are empty where the class reads its address itself."""
    kind, colon, target = uri.partition(":")
    if kind == "stdout" or uri.partition("?")[0] == "jsonl:-":
        kind, target = "stdout", uri.removeprefix("jsonl:-").removeprefix("stdout").lstrip(":")
    elif kind not in WRITERS or not colon:
        raise ConfigError(
            f"There is no sink {without_password(uri)!r}.", f"{suggestion(kind, WRITERS)} {_REMEDY}"
        )
    known = WRITERS[kind][1]
    if known is None:
        return kind, (), {}
    path, given = split_query(target)
    chosen = options(uri, given, known)
    if kind == "stdout":
        if path:
            raise ConfigError(f"The sink {uri!r} has something after 'stdout'.", "Write stdout")
        return kind, (), chosen
    if not path:
        raise ConfigError(f"The sink {uri!r} names no file.", _REMEDY)
    return kind, (path,), chosen


def _made(place: str, *path: str, **chosen: Any) -> Writer:
    writer: Writer = resolve_name(place)(*path, **chosen)
    return writer


def _bytes(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,9})(|kB|KB|MB|GB)", text)
    size = (
        int(found[1]) * {"": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9}[found[2]]
        if found
        else 0
    )
    if size < 1000:
        raise ValueError("it is a size from 1kB: 500kB, 10MB, 1GB")
    return size


def _duration(text: str) -> int:
    found = re.fullmatch(r"([0-9]{1,6})(s|min|h|d)", text)
    if not found or int(found[1]) < 1:
        raise ValueError("it is a time: 90s, 30min, 12h, 30d")
    return int(found[1]) * {"s": 1, "min": 60, "h": 3600, "d": 86_400}[found[2]]


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", text):
        raise ValueError("it is a number of seconds, 0 for after every write")
    return float(text)


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text) or int(text) < 1:
        raise ValueError("it is a whole number from 1 to 999")
    return int(text)


# Kind to "module:Class" and the options of its own. None: the class reads its address itself, by
# ``open(uri, device=, texts=)``, those in _TELLING with ``warn=`` too, and only reads it by
# ``check(uri)``. Loaded only when asked for.
WRITERS: Mapping[str, tuple[str, Mapping[str, Callable[[str], Any]] | None]] = {
    "jsonl": (
        "edge_fer.sinks.jsonl:JsonlWriter",
        {"rotate": _bytes, "keep": _count, "fsync": _seconds},
    ),
    "stdout": ("edge_fer.sinks.stdout:StdoutWriter", {}),
    "sqlite": (
        "edge_fer.sinks.sqlite:SqliteWriter",
        {"retention": _duration, "minutes": _duration, "fsync": _seconds},
    ),
    "mqtt": ("edge_fer.sinks.mqtt:MqttWriter", None),
    "mqtts": ("edge_fer.sinks.mqtt:MqttWriter", None),
    "sse": ("edge_fer.sinks.sse:SseWriter", None),
}
