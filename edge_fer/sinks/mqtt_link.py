"""One connection to an MQTT broker, by paho: the only module that imports it.

A link is used once: a lost connection is replaced by a new link, so that paho never sends anything
again of its own accord. What is sent again is sent by the spool, and says so.
"""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from edge_fer.errors import DeviceError, MissingExtra
from edge_fer.records import clock_ok

__all__ = ["Acknowledged", "Broker", "Connected", "Link", "Lost", "require_paho"]

_CONNECT_TIMEOUT_S = 5.0
_GOODBYE_S = 1.0
# MQTT 5 and 3.1.1 name the same refusals differently; these are paho's names for them.
_REMEDIES = {
    "Bad user name or password": "the user name or password is wrong",
    "Not authorized": "the user name or password is wrong, or this user may not connect",
    "Unsupported protocol version": "the broker speaks no MQTT 5: add ?protocol=3.1.1",
    "Client identifier not valid": "the broker does not like the device's name: ?device=NAME",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Broker:
    """Where and how to connect.

    Attributes:
        host: name or address.
        port: TCP port.
        tls: encrypt, and check the broker's certificate.
        ca: certificates to trust (PEM), None for the system's.
        user: user name or None.
        password: password or None; never shown.
        client_id: the name that the broker knows us by.
        keepalive: seconds without a word after which either side calls the other dead.
        version: of MQTT: "5" or "3.1.1".
        will: topic and payload that the broker publishes, retained, when we vanish.
    """

    host: str
    port: int
    tls: bool
    ca: Path | None
    user: str | None
    password: str | None
    client_id: str
    keepalive: int
    version: str
    will: tuple[str, str]

    def __repr__(self) -> str:
        return f"Broker({self.host}:{self.port})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """The broker let us in; it takes so many unacknowledged messages at once."""

    window: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Acknowledged:
    """The broker answered message ``mid``; ``refused`` says why it does not take it, or None."""

    mid: int
    refused: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """The connection ended, or was not granted."""

    reason: str


class Link:
    """A connection that tells what happens to it by events; paho's own thread runs it.

    Args:
        broker: where to connect.
        tell: takes what happens, from another thread.
        now: the wall clock; certificates are checked against it.

    Raises:
        DeviceError: unknown host, refused, no answer, or the certificate is not good.
    """

    def __init__(
        self,
        broker: Broker,
        tell: Callable[[Connected | Acknowledged | Lost], None],
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        from paho.mqtt.client import Client, MQTTv5, MQTTv311
        from paho.mqtt.enums import CallbackAPIVersion

        self._tell, self._ended = tell, threading.Event()
        self._client = client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=broker.client_id,
            protocol=MQTTv5 if broker.version == "5" else MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = _CONNECT_TIMEOUT_S
        # We keep the window; paho must not hold anything back beyond it.
        client.max_inflight_messages = 65535
        client.will_set(*broker.will, qos=1, retain=True)
        if broker.user is not None:
            client.username_pw_set(broker.user, broker.password)
        client.on_connect = self._on_connect
        client.on_publish = self._on_publish
        client.on_disconnect = self._on_disconnect
        try:
            if broker.tls:
                client.tls_set_context(ssl.create_default_context(cafile=broker.ca))
            client.connect(broker.host, broker.port, keepalive=broker.keepalive)
        except (OSError, ValueError) as err:
            raise _unreachable(broker, err, now()) from err
        client.loop_start()

    def publish(self, topic: str, payload: str, *, qos: int = 1, retain: bool = False) -> int:
        """Hand a message over; its number comes back with :class:`Acknowledged`."""
        return self._client.publish(topic, payload, qos=qos, retain=retain).mid

    def close(self) -> None:
        """Say goodbye (so no last will) and end paho's thread, whatever the other side does."""
        self._client.disconnect()
        if not self._ended.wait(_GOODBYE_S):
            self.cut()
        self._client.loop_stop()

    def cut(self) -> None:
        """Drop the connection without a word, as a pulled cable would."""
        # A peer that reads nothing would keep the goodbye, and so the thread, waiting.
        connection: Any = self._client.socket()
        if connection is not None:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _on_connect(self, _client: Any, _data: Any, _flags: Any, code: Any, given: Any) -> None:
        if code.is_failure:
            text = str(code)
            self._tell(Lost(reason=f"it refuses us: {_REMEDIES.get(text, text)}"))
        else:
            self._tell(Connected(window=getattr(given, "ReceiveMaximum", 65535)))

    def _on_publish(self, _client: Any, _data: Any, mid: int, code: Any, _given: Any) -> None:
        self._tell(Acknowledged(mid=mid, refused=str(code) if code.is_failure else None))

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, code: Any, _given: Any) -> None:
        self._tell(Lost(reason=f"the connection was lost ({code})"))
        self._ended.set()


def require_paho() -> None:
    """Raise MissingExtra where paho-mqtt is not installed."""
    if find_spec("paho") is None or find_spec("paho.mqtt") is None:
        raise MissingExtra(
            "The mqtt sink needs paho-mqtt, which is not installed.",
            "pip install 'edge-fer[mqtt]'",
        )


def _unreachable(broker: Broker, err: Exception, now: datetime) -> DeviceError:
    place = f"the broker {broker.host}:{broker.port}"
    if isinstance(err, ssl.SSLError) and clock_ok(now) is False:
        return DeviceError(
            f"The clock is not set (it says {now:%Y-%m-%d}), so the certificate of {place} cannot "
            "be checked.",
            "Set the clock (timedatectl), or let the board reach a time server.",
        )
    if isinstance(err, ssl.SSLCertVerificationError):
        reason, remedy = err.verify_message, "Give the authority that signed it: ?ca=FILE"
        return DeviceError(f"The certificate of {place} is not good: {reason}.", remedy)
    if isinstance(err, ssl.SSLError):
        remedy = "Does it speak TLS on this port? mqtts:// is 8883 as a rule, mqtt:// 1883."
        return DeviceError(f"There is no TLS with {place}: {err.reason or err}.", remedy)
    if isinstance(err, socket.gaierror):
        remedy = "Check the name, and that the board has a name server."
        return DeviceError(f"The host of {place} is unknown: {err.strerror}.", remedy)
    if isinstance(err, ConnectionRefusedError):
        return DeviceError(
            f"Nothing listens at {place}: the connection was refused.", "Is the broker running?"
        )
    reason = getattr(err, "strerror", None) or str(err) or type(err).__name__
    return DeviceError(f"{place[0].upper()}{place[1:]} cannot be reached: {reason}.")
