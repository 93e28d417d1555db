"""Where observations go, by address: ``jsonl:FILE`` appends lines, ``jsonl:-`` prints them."""

from __future__ import annotations

from pkgutil import resolve_name

from edge_fer.errors import ConfigError
from edge_fer.types import Sink
from edge_fer.uri import suggestion

__all__ = ["SINKS", "open_sink"]

SINKS = {"jsonl": "edge_fer.sinks.jsonl:JsonlSink"}
_LATER = ("sqlite", "mqtt", "mqtts", "prometheus")
_REMEDY = "Write jsonl:FILE, or jsonl:- for standard output."


def open_sink(uri: str, model_sha256: str) -> Sink:
    """Open a sink.

    Args:
        uri: an address as above; what follows the first ``:`` is a path, as it is.
        model_sha256: of the model that classifies; its first 12 digits go into every record.

    Raises:
        ConfigError: no such kind of sink, or no file named.
        DeviceError: the file cannot be opened for writing.
    """
    kind, colon, target = uri.partition(":")
    if kind in _LATER:
        raise ConfigError(f"This version writes JSON lines only, so not {uri!r}.", _REMEDY)
    if kind not in SINKS or not colon:
        raise ConfigError(f"There is no sink {uri!r}.", f"{suggestion(kind, SINKS)} {_REMEDY}")
    if not target:
        raise ConfigError(f"The sink {uri!r} names no file.", _REMEDY)
    sink: Sink = resolve_name(SINKS[kind]).open(target, model_sha256)
    return sink
