"""Records to an MQTT broker, through a spool on disk: the broker may be away for days.

Topics below ``edge-fer/DEVICE`` (or the one in the address): ``observations`` and ``aggregates``,
one JSON record a message; ``availability``, retained, ``online`` or ``offline``; and with
``?discovery=homeassistant`` a small retained ``state``, announced to Home Assistant.
"""

from __future__ import annotations

import logging
import os
import queue
import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edge_fer.credentials import without_password
from edge_fer.errors import DeviceError
from edge_fer.records import Record
from edge_fer.sinks.home_assistant import State
from edge_fer.sinks.mqtt_address import (
    broker_of,
    check_address,
    device_of,
    options_of,
    spool_folder,
)
from edge_fer.sinks.mqtt_link import Link, require_paho
from edge_fer.sinks.mqtt_session import Session, Traffic
from edge_fer.sinks.spool import Spool

__all__ = ["MqttWriter"]

_LOG = logging.getLogger(__name__)
# A record that the broker takes within this time is never written to the disk.
_GRACE_S = 0.5
_DRAIN_S = 1.0
# For saying offline, and for the goodbye to the broker.
_PARTING_S = 1.7


class MqttWriter:
    """Forwards records in their order and forgets each when the broker has acknowledged it.

    A record is *accepted* (``sync``) when it is on the disk or acknowledged. What may have been
    delivered before, because the connection or the process died before the acknowledgement,
    carries ``"duplicate": true``. With ``qos=0`` nobody acknowledges: what was sent counts as
    delivered. A broker that is away, or refuses us, changes nothing for the caller: ``status``
    says why, records wait, and the oldest go when the spool is full.

    Args:
        address: ``mqtt://[user[:password]@]host[:port][/topic]``, or ``mqtts://`` for TLS. A
            password there is seen by everybody on the machine; use a credential.
        device: the device's name; the host's where none is given.
        qos: 0 or 1.
        spool: folder of the queue; where none is given it is in ``$STATE_DIRECTORY``, or else in
            the user's own ``~/.local/state/edge-fer``.
        discovery: ``homeassistant`` or ``none``.
        discovery_prefix: Home Assistant's.
        ca: PEM file of the authorities to trust, instead of the system's.
        keepalive: seconds.
        max_mb: bound of the spool, megabytes.
        max_days: bound of the spool, days of running time.
        inflight: messages under way at most.
        protocol: "5" or "3.1.1".
        credential: name of the password (:func:`edge_fer.credentials.secret`).
        environ: the environment.
        now: wall clock, for certificates.
        retry_s: first and longest pause between attempts to connect, seconds.
        warn: is told what a person must know.

    Raises:
        ConfigError: the address or an option makes no sense, or there is no place for a spool.
        MissingExtra: paho-mqtt is not installed.
        DeviceError: the spool cannot be opened.
    """

    def __init__(
        self,
        address: str,
        *,
        device: str = "",
        qos: int = 1,
        spool: Path | None = None,
        discovery: str = "none",
        discovery_prefix: str = "homeassistant",
        ca: Path | None = None,
        keepalive: int = 30,
        max_mb: float = 200.0,
        max_days: float = 7.0,
        inflight: int = 20,
        protocol: str = "5",
        credential: str = "mqtt-password",
        environ: Mapping[str, str] = os.environ,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        retry_s: tuple[float, float] = (1.0, 30.0),
        warn: Callable[[str], None] = _LOG.warning,
    ) -> None:
        self.name = without_password(address)
        self._device = device_of(address, device)
        self._broker, exposed = broker_of(
            address,
            self._device,
            ca=ca,
            keepalive=keepalive,
            protocol=protocol,
            credential=credential,
            environ=environ,
        )
        folder = spool_folder(address, spool, environ)
        require_paho()
        self._now, self._retry_s, self._warn = now, retry_s, warn
        self._spool = Spool(folder, max_bytes=int(max_mb * 1e6), max_age_s=max_days * 86400)
        self._measure: Callable[[], Mapping[str, Any]] = dict
        self._changed, self._stop = threading.Condition(), threading.Event()
        self._state, self._told_dropped = "connecting", 0
        self._last_error = self._warned = ""
        self._stop_by: float | None = None
        self._closed = False
        self._traffic = Traffic(
            spool=self._spool,
            device=self._device,
            state=State(),
            prefix=discovery_prefix if discovery == "homeassistant" else None,
            measure=self._measured,
            qos=qos,
            inflight=inflight,
            events=queue.SimpleQueue(),
            moved=self._moved,
            draining=lambda: self._stop_by,
            silence_s=max(10.0, 2.0 * keepalive),
        )
        if exposed:
            warn(
                f"{self.name}: the password in the address is seen by everybody on this machine; "
                f"put it into the credential {credential} instead."
            )
        if self._spool.set_aside:
            self._trouble(f"the spool was damaged and was moved to {self._spool.set_aside}")
        # A daemon: looking up a name can hang beyond every time-out of ours.
        self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
        self._thread.start()

    @classmethod
    def open(
        cls,
        uri: str,
        *,
        device: str = "",
        texts: Mapping[str, str] = MappingProxyType({}),  # noqa: ARG003 (a page's, not ours)
        warn: Callable[[str], None] = _LOG.warning,
    ) -> MqttWriter:
        """Open from an address with its options; ``?device=`` goes before ``device``.

        Raises:
            ConfigError, MissingExtra, DeviceError: as the class.
        """
        return cls(uri.partition("?")[0], warn=warn, **{"device": device, **options_of(uri)})

    @staticmethod
    def check(uri: str) -> None:
        """Read an address with its options, and open nothing.

        Raises:
            ConfigError: as the class; files that it names are not looked for.
        """
        check_address(uri)

    @property
    def bytes_written(self) -> int:
        """Handed to the disk by the spool so far."""
        return self._spool.bytes_written

    @property
    def backlog(self) -> int:
        """Records that the broker has not acknowledged yet."""
        return len(self._spool)

    def watch(self, status: Callable[[], Mapping[str, Any]]) -> None:
        """Ask this now and then for the service's status: its fps and temperature are published."""
        self._measure = status

    def write(self, records: Sequence[Record]) -> None:
        self._spool.append([(record.schema.split("/")[1], record.line) for record in records])
        for record in records:
            self._traffic.state.see(record.document)
        self._traffic.events.put((0, None))

    def sync(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._worth_waiting(), _GRACE_S)
        self._spool.commit()
        if self._spool.dropped > self._told_dropped:
            self._told_dropped = self._spool.dropped
            self._trouble(f"the spool is full: {self._told_dropped} of the oldest records are gone")

    def close(self) -> None:
        """Forward what can be forwarded within a second, keep the rest, say ``offline``."""
        if self._closed:
            return
        self._closed = True
        self._stop_by = time.monotonic() + _DRAIN_S
        self._stop.set()
        self._traffic.events.put((0, None))
        self._thread.join(_DRAIN_S + _PARTING_S)
        self._spool.close()

    def status(self) -> dict[str, Any]:
        """For the service's status: JSON-able, without secrets."""
        tally = self._traffic.tally
        return {
            "state": self._state,
            "broker": f"{self._broker.host}:{self._broker.port}",
            "topic": self._device.topic,
            "backlog": len(self._spool),
            "delivered": tally.delivered,
            "duplicates": tally.duplicates,
            "dropped": self._spool.dropped,
            "connections": tally.connections,
            "spool_bytes": self._spool.size,
            "last_error": self._last_error or None,
        }

    def _measured(self) -> Mapping[str, Any]:
        return self._measure()

    def _worth_waiting(self) -> bool:
        return self._state == "connected" and self._spool.unstored > 0 and not self._spool.stored

    def _trouble(self, reason: str) -> None:
        if reason != self._warned:
            self._warn(f"{self.name}: {reason}")
        self._last_error = self._warned = reason

    def _moved(self, state: str) -> None:
        with self._changed:
            self._state = state or self._state
            self._changed.notify_all()

    def _run(self) -> None:
        """The network thread: one link after the other."""
        pause, number = self._retry_s[0], 0
        while not self._stop.is_set():
            number += 1
            before = self._traffic.tally.delivered
            try:
                reason = self._converse(number)
            except DeviceError as err:
                reason = str(err)
            except Exception as err:  # of paho's, or ours: records wait, and the next link is new
                reason = f"{type(err).__name__}: {err}"
            # Being let in proves nothing: a broker may refuse every record after that.
            if self._traffic.tally.delivered > before:
                pause, self._warned = self._retry_s[0], ""
            self._moved("away")
            if self._stop.is_set():
                return
            self._trouble(reason)
            # Not all devices of a fleet at once when the broker comes back.
            self._stop.wait(pause * random.uniform(0.5, 1.0))  # noqa: S311
            pause = min(2 * pause, self._retry_s[1])

    def _converse(self, number: int) -> str:
        link = Link(self._broker, self._post(number), now=self._now)
        try:
            return Session(self._traffic, link, number).run()
        finally:
            if self._stop_by is None:
                # No goodbye: the broker is to tell everybody that we are offline.
                link.cut()
            link.close()

    def _post(self, number: int) -> Callable[[Any], None]:
        return lambda event: self._traffic.events.put((number, event))
