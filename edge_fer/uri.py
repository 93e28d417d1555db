"""``NAME[?key=value&...]``: how sources, sinks and detectors are named on the command line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from typing import Any
from urllib.parse import parse_qsl

from edge_fer.errors import ConfigError

__all__ = ["options", "redacted", "split_query", "suggestion"]

_SECRET = re.compile(r"(?i)(pass|pwd|token|secret|key|auth)([a-z_]*=)[^/&]*")
_MASKED = r"\1\2***"


def split_query(uri: str) -> tuple[str, dict[str, str]]:
    """The part before ``?`` and the keys after it.

    Raises:
        ConfigError: a key stands twice, or a part is no ``key=value``.
    """
    head, mark, query = uri.partition("?")
    if not mark:
        return head, {}
    try:
        pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=True)
    except ValueError as err:
        raise ConfigError(f"{uri!r}: {err}.", "Write options as ?key=value&key=value.") from err
    keys = dict(pairs)
    if len(keys) != len(pairs):
        raise ConfigError(f"{uri!r} names an option twice.", "Give each option once.")
    return head, keys


def options(
    uri: str, given: Mapping[str, str], known: Mapping[str, Callable[[str], Any]]
) -> dict[str, Any]:
    """The given options, each through its reader.

    Args:
        uri: the whole text, for the error.
        given: key to text, from :func:`split_query`.
        known: key to a function that reads the text, raising ValueError when it cannot.

    Raises:
        ConfigError: an unknown key (with the nearest known one), or a value that cannot be read.
    """
    read: dict[str, Any] = {}
    for key, text in given.items():
        if key not in known:
            raise ConfigError(f"{uri!r} has no option {key!r}.", suggestion(key, known))
        try:
            read[key] = known[key](text)
        except ValueError as err:
            raise ConfigError(f"{uri!r}: {key} cannot be {text!r} ({err}).") from err
    return read


def suggestion(word: str, known: Iterable[str]) -> str:
    """``Did you mean X?`` where something known is near, else the list of what is known."""
    names = sorted(known)
    near = get_close_matches(word, names, n=1, cutoff=0.6)
    return f"Did you mean {near[0]}?" if near else f"Known: {', '.join(names)}."


def redacted(uri: str) -> str:
    """A network address for people to read: without user, password and query.

    Cameras take passwords in all three places (``/user=admin&password=...&channel=1`` as well);
    in doubt too much is hidden. Other addresses come back as they are.
    """
    scheme, mark, rest = uri.partition("://")
    if not mark:
        return uri
    address = re.split("[?#]", rest, maxsplit=1)[0]
    # The last @ counts: people forget to encode those in a password.
    _, at, address = address.rpartition("@")
    server, slash, path = address.partition("/")
    if not at and "@" in rest:
        server = "***"  # most likely a password that was cut at a ? or # of its own
    hidden = "***@" if at else ""
    return f"{scheme}://{hidden}{server}{slash}{_SECRET.sub(_MASKED, path)}"
