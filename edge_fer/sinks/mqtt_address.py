"""``mqtt://[user@]host[:port][/topic]?...``: read, checked, and shown without its password."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import unquote, urlsplit

from edge_fer.credentials import secret, without_password
from edge_fer.errors import ConfigError
from edge_fer.files import service_folder
from edge_fer.sinks.home_assistant import Device
from edge_fer.sinks.mqtt_link import Broker
from edge_fer.uri import options, split_query

__all__ = ["OPTIONS", "broker_of", "check_address", "device_of", "options_of", "spool_folder"]

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_EXAMPLE = "Write mqtt://HOST, mqtt://USER@HOST:PORT/TOPIC or mqtts://HOST."


def _one_of(*choices: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in choices:
            raise ValueError(f"it is {' or '.join(choices)}")
        return text

    return read


def _number(low: float, high: float, kind: type[Any] = int) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text) or not low <= float(text) <= high:
            raise ValueError(f"it is a number from {low:g} to {high:g}")
        return kind(text)

    return read


def _text(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise ValueError("it is empty or holds control characters")
    return text.strip()


OPTIONS: Mapping[str, Callable[[str], Any]] = {
    "device": _text,
    "qos": _number(0, 1),
    "spool": lambda text: Path(_text(text)),
    "discovery": _one_of("homeassistant", "none"),
    "discovery_prefix": _text,
    "ca": lambda text: Path(_text(text)),
    "keepalive": _number(2, 65535),
    "max_mb": _number(1, 100_000, float),
    "max_days": _number(0, 3650, float),
    "inflight": _number(1, 1000),
    "protocol": _one_of("5", "3.1.1"),
    "credential": _text,
}
"""What may stand after the ``?``, and how each is read: keyword arguments of ``MqttWriter``."""


def options_of(address: str) -> dict[str, Any]:
    """What stands after the ``?``: keyword arguments of ``MqttWriter``.

    Raises:
        ConfigError: an unknown option, or a value that cannot be read.
    """
    # What is echoed in an error must not hold the password.
    shown = without_password(address)
    return options(shown, split_query(shown)[1], OPTIONS)


def check_address(address: str) -> None:
    """Read an address with its options; neither files nor credentials are looked for.

    Raises:
        ConfigError: no broker, topic or option that there could be.
    """
    chosen = options_of(address)
    plain = address.partition("?")[0]
    broker_of(
        plain,
        device_of(plain, "edge-fer"),
        ca=None,
        keepalive=30,
        protocol="5",
        credential="mqtt-password",
        environ=MappingProxyType({}),
    )
    if "ca" in chosen and not plain.startswith("mqtts:"):
        raise ConfigError(f"{without_password(plain)!r} has a ?ca= and no TLS.", "Write mqtts://")


def device_of(address: str, name: str) -> Device:
    """Who we are: the name (the host's where none is given) and the root of the topics.

    Raises:
        ConfigError: the topic is none that one may publish to.
    """
    name = name or socket.gethostname()
    topic = unquote(urlsplit(address).path).strip("/")
    device = Device(name=name, topic=topic)
    if not topic:
        device = Device(name=name, topic=f"edge-fer/{device.id}")
    if re.search(r"[+#\x00-\x1f]", topic) or topic.startswith("$") or len(topic) > 1000:
        raise ConfigError(
            f"{without_password(address)!r}: one cannot publish to the topic {topic!r}.",
            "A topic holds no +, # or control characters and starts with no $.",
        )
    return device


def broker_of(
    address: str,
    device: Device,
    *,
    ca: Path | None,
    keepalive: int,
    protocol: str,
    credential: str,
    environ: Mapping[str, str],
) -> tuple[Broker, bool]:
    """Where to connect, and whether the password stood in the address.

    Raises:
        ConfigError: no host, no port that exists, or a password without a user.
    """
    shown = without_password(address)
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError as err:
        raise ConfigError(f"{shown!r} is no address of a broker: {err}.", _EXAMPLE) from None
    if parts.scheme not in _PORTS or not parts.hostname or port == 0:
        raise ConfigError(f"{shown!r} is no address of a broker.", _EXAMPLE)
    if ca is not None and parts.scheme != "mqtts":
        raise ConfigError(f"{shown!r} has a ?ca= and no TLS.", "Write mqtts://")
    if ca is not None and not ca.is_file():
        raise ConfigError(f"There is no file {ca} with certificates.", "Check ?ca=FILE.")
    user = unquote(parts.username) if parts.username else None
    inside = unquote(parts.password) if parts.password is not None else None
    password = inside if inside is not None else secret(credential, environ)
    if inside is not None and user is None:
        raise ConfigError(f"{shown!r} has a password and no user.", _EXAMPLE)
    broker = Broker(
        host=parts.hostname,
        port=port or _PORTS[parts.scheme],
        tls=parts.scheme == "mqtts",
        ca=ca,
        user=user,
        password=password,
        client_id=f"edge-fer-{device.id}",
        keepalive=keepalive,
        version=protocol,
        will=(device.availability, "offline"),
    )
    return broker, inside is not None


def spool_folder(address: str, spool: Path | None, environ: Mapping[str, str]) -> Path:
    """Where records wait: ``?spool=``, else a folder of the service's or the user's state.

    The service's is systemd's ``$STATE_DIRECTORY``, the user's ``$XDG_STATE_HOME/edge-fer`` or
    ``~/.local/state/edge-fer`` (XDG base directory specification).

    Raises:
        ConfigError: neither is given, and there is no home.
    """
    if spool is not None:
        return spool
    state = service_folder("STATE_DIRECTORY", environ) or _state_of_the_user(environ)
    if state is None:
        raise ConfigError(
            f"{without_password(address)!r} names no folder where records wait while the broker is "
            "away.",
            f"Add ?spool=FOLDER: {without_password(address)}?spool=/var/lib/edge-fer/mqtt",
        )
    parts = urlsplit(address)
    place = re.sub(r"[^A-Za-z0-9.-]+", "-", f"{parts.hostname}-{parts.port or ''}{parts.path}")
    return state / f"mqtt-{place.strip('-')}"


def _state_of_the_user(environ: Mapping[str, str]) -> Path | None:
    given, home = Path(environ.get("XDG_STATE_HOME", "")), environ.get("HOME")
    if given.is_absolute():  # the specification: ignore others
        return given / "edge-fer"
    return Path(home) / ".local" / "state" / "edge-fer" if home else None
