"""Sources, sinks and pages of a card: read by those who will open them, on another machine."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from edge_fer.cameras import check_camera
from edge_fer.credentials import without_password
from edge_fer.errors import ConfigError, DataError
from edge_fer.sinks import check_writer
from edge_fer.uri import redacted
from edge_fer_firmware.units.network import network_of

__all__ = ["check_page", "check_sink", "check_source", "without_secrets"]

_KEYS = (
    r"(?:[\w-]*[_-])?(?:pass|passwd|password|passphrase|pwd|pw|(?:access|auth|id)?token|secret"
    r"|(?:api|access)?key|auth|authorization|sig|signature)"
)
_SECRET_KEY = re.compile(_KEYS, re.IGNORECASE)
_SECRET_VALUE = re.compile(rf"([?&#;]{_KEYS}=)[^&#;]*", re.IGNORECASE)


def check_source(uri: str) -> None:
    """Where frames come from; nothing is opened.

    A path from the root is one of the device's, and is not looked for here.

    Raises:
        ConfigError: ``edge-fer run`` would refuse the address, or a path is relative.
    """
    try:
        check_camera(uri)
    except DataError as err:
        if not uri.startswith("/"):
            raise ConfigError(err.message, f"{err.remedy} A path begins with /.") from err
    network_of(uri, ())


def check_sink(uri: str) -> None:
    """Where records go; nothing is opened.

    Raises:
        ConfigError: ``edge-fer run`` would refuse the address, or a password stands in it: the
            configuration and card.json are no place for one.
    """
    if _has_secret(uri):
        raise ConfigError(
            f"the sink {without_secrets(uri)} has a password in its address.",
            'Put it into a file: [service] credentials = {mqtt-password = "FILE"}',
        )
    check_writer(uri)
    network_of("synthetic", (uri,))


def check_page(url: str) -> None:
    """The page of a kiosk.

    Raises:
        ConfigError: a password stands in it.
    """
    if _has_secret(url):
        raise ConfigError(
            f"{without_secrets(url)} has a password in it, and the unit is for everybody to read.",
            "Show a page that asks for none, or leave url out: the page of the sink sse:// is "
            "shown then. Other passwords belong into [service.credentials].",
        )


def without_secrets(value: Any) -> Any:
    """Text, or lists and tables of it, with ``***`` for passwords in addresses."""
    if isinstance(value, dict):
        return {key: without_secrets(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(each) for each in value]
    if not isinstance(value, str):
        return value
    if re.match(r"(?i)(rtsps?|https?):", value):
        return redacted(value)
    return _SECRET_VALUE.sub(r"\1***", without_password(value))


def _has_secret(uri: str) -> bool:
    if without_password(uri) != uri:
        return True
    try:
        parts = urlsplit(uri)
    except ValueError:  # its reader says what is wrong with it
        return False
    if parts.scheme in ("http", "https") and "@" in parts.netloc:
        return True
    pairs = parse_qsl(parts.query) + parse_qsl(parts.fragment)
    return any(_SECRET_KEY.fullmatch(key) for key, _ in pairs)
