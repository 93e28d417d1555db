"""config.toml of the card: what the service will read."""

from __future__ import annotations

import tomllib
from typing import Any

from edge_fer_firmware.checking.folder import CardFolder
from edge_fer_firmware.plan import CONFIG

__all__ = ["read_run", "sinks_of"]


def read_run(card: CardFolder) -> tuple[dict[str, Any], str]:
    """The settings in it and its text; both empty where it cannot be read."""
    text = card.text(card.device_file(str(CONFIG))) or ""
    try:
        return tomllib.loads(text), text
    except tomllib.TOMLDecodeError:
        return {}, ""


def sinks_of(run: dict[str, Any]) -> tuple[str, ...]:
    """The addresses, whatever stands there: a wrong kind is load_settings' to say."""
    sinks = run.get("sinks", ())
    if isinstance(sinks, str):
        return (sinks,)
    return tuple(str(sink) for sink in sinks) if isinstance(sinks, list | tuple) else ()
