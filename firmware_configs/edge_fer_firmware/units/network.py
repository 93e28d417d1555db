"""What of the network a card's settings need, read by those who use the addresses themselves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from types import MappingProxyType
from typing import Literal
from urllib.parse import SplitResult, urlsplit

from edge_fer.errors import ConfigError
from edge_fer.sinks.mqtt_address import broker_of, device_of
from edge_fer.uri import redacted, split_query

__all__ = [
    "Network",
    "SourceKind",
    "host_allowed",
    "is_local",
    "network_of",
    "page_of",
    "source_kind",
]

SourceKind = Literal["csi", "v4l2", "stream", "synthetic", "file"]

_STREAMS = ("rtsp", "rtsps", "http", "https")
_NO_SECRETS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """What a unit may reach.

    Attributes:
        why: in a few words, for the unit's comment; never a secret.
        inet: of ``AF_INET`` and ``AF_INET6``, those that are needed.
        allow: for ``IPAddressAllow=``; empty: nothing; None: any address, because a name server
            has to be asked.
        private: nothing outside has to reach it, and it has to reach nothing.
    """

    why: str
    inet: tuple[str, ...] = ()
    allow: tuple[str, ...] | None = ()
    private: bool = True


def source_kind(source: str) -> SourceKind:
    """What a source is, from its address alone: the files are on another machine."""
    scheme, _, rest = source.partition("?")[0].partition(":")
    if scheme.lower() in _STREAMS and rest.startswith("//"):
        return "stream"
    if scheme == "picamera2":
        return "csi"
    if scheme == "usb" or source.startswith("/dev/v"):
        return "v4l2"
    return "synthetic" if scheme == "synthetic" else "file"


def network_of(source: str, sinks: tuple[str, ...]) -> Network:
    """What these need of the network.

    Raises:
        ConfigError: an address that cannot be read.
    """
    hosts = [host for address in (source, *sinks) if (host := _host(address))]
    if not hosts:
        return Network(why="none. No source and no sink needs it.")
    allowed = {host: host_allowed(host) for host in hosts}
    names = sorted(host for host, address in allowed.items() if address is None)
    if names:
        return Network(
            why=f"any address, because a name server has to be asked for {', '.join(names)}.",
            inet=("AF_INET", "AF_INET6"),
            allow=None,
            private=False,
        )
    addresses = tuple(sorted({address for address in allowed.values() if address}))
    return Network(
        why="only what is listed.",
        inet=_families(hosts),
        allow=addresses,
        private=False,
    )


def host_allowed(host: str) -> str | None:
    """How ``IPAddressAllow=`` names it; None for a name that a server has to be asked for."""
    if host == "localhost":
        return host
    try:
        address = ip_address(host)
    except ValueError:
        return None
    return "localhost" if address.is_loopback else str(address)


def is_local(url: str) -> bool:
    """Whether a page is on this machine: a file, or a server on loopback."""
    parts = urlsplit(url)
    return parts.scheme == "file" or host_allowed(parts.hostname or "") == "localhost"


def page_of(sinks: tuple[str, ...]) -> str | None:
    """The address of the page that a sink ``sse://`` serves; None where there is none.

    Raises:
        ConfigError: its port is 0, which is another one at every start.
    """
    for sink in sinks:
        address = sink.partition("?")[0]
        if address.startswith("sse://"):
            parts = _parts(address)
            if not parts.port:
                raise ConfigError(
                    f"{address} has no port that a page could be found at.",
                    'Write sinks = ["sse://127.0.0.1:8765"]',
                )
            return f"http://{parts.netloc}/"
    return None


def _host(address: str) -> str:
    """The host that a source or a sink needs; empty where it needs none."""
    scheme = address.partition(":")[0].lower()
    if scheme in ("mqtt", "mqtts"):
        plain = split_query(address)[0]
        broker, _ = broker_of(
            plain,
            device_of(plain, "edge-fer"),
            ca=None,  # a file of the device
            keepalive=30,
            protocol="5",
            credential="mqtt-password",
            environ=_NO_SECRETS,
        )
        return broker.host
    if scheme == "sse" or source_kind(address) == "stream":
        return _parts(address).hostname or ""
    return ""


def _families(hosts: list[str]) -> tuple[str, ...]:
    versions: set[int] = set()
    for host in hosts:
        # The name stands for both in /etc/hosts.
        versions |= {4, 6} if host == "localhost" else {ip_address(host).version}
    return tuple(name for version, name in ((4, "AF_INET"), (6, "AF_INET6")) if version in versions)


def _parts(address: str) -> SplitResult:
    try:
        parts = urlsplit(address)
        usable = bool(parts.hostname) and (parts.port is None or parts.port >= 0)
    except ValueError:  # a port that is no number, half an IPv6 address
        usable = False
    if not usable:
        raise ConfigError(
            f"{redacted(address)!r} is no network address.", "Write SCHEME://HOST[:PORT][/PATH]"
        )
    return parts
