"""What is said over one connection: hello, the backlog in its order, the small state, goodbye."""

from __future__ import annotations

import json
import queue
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from edge_fer.errors import DeviceError
from edge_fer.sinks.home_assistant import Device, State, config_topic, discovery
from edge_fer.sinks.mqtt_link import Acknowledged, Connected, Link, Lost
from edge_fer.sinks.spool import Spool, Spooled

__all__ = ["Session", "Tally", "Traffic"]

_ANSWER_S = 10.0
_GOODBYE_S = 0.5
_STATE_EVERY_S = 1.0
_MEASURED_EVERY_S = 10.0
# These move all the time; the state does not follow each of their steps.
_MEASURED = ("unknown_rate", "fps", "temperature")
_IDLE_S = 0.5


@dataclass(slots=True, kw_only=True)
class Tally:
    """What the connections have achieved so far."""

    connections: int = 0
    delivered: int = 0
    duplicates: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What goes over the connections, whichever is up.

    Attributes:
        spool: where the records wait.
        device: whose topics.
        state: for Home Assistant.
        prefix: of the discovery; None says nothing to Home Assistant.
        measure: gives the service's status, or nothing.
        qos: of the records.
        inflight: messages without an answer at most.
        events: (number of the link, event); number 0 only wakes.
        moved: is told "connected", and after every acknowledgement "" (nothing else changed).
        silence_s: seconds without an answer after which a connection is given up.
        draining: monotonic seconds when the session must end, None while it goes on.
        tally: is counted up.
    """

    spool: Spool
    device: Device
    state: State
    prefix: str | None
    measure: Callable[[], Mapping[str, Any]]
    qos: int
    inflight: int
    events: queue.SimpleQueue[tuple[int, Any]]
    moved: Callable[[str], None]
    draining: Callable[[], float | None]
    silence_s: float
    tally: Tally = field(default_factory=Tally)


class Session:
    """One connection from its first word to its last; used by one thread.

    Args:
        traffic: what to say.
        link: a fresh connection.
        number: of the link, as it stands with its events.
    """

    def __init__(self, traffic: Traffic, link: Link, number: int) -> None:
        self._traffic, self._link, self._number = traffic, link, number
        self._window = 0
        self._control: deque[tuple[str, str]] = deque()
        # Message number to the spool's id; 0 for what is not from the spool.
        self._open: dict[int, int] = {}
        self._after = 0
        self._heard_at = float("-inf")
        self._said: dict[str, Any] = {}
        self._taken_back = False
        self._said_at = self._measured_at = float("-inf")

    def run(self) -> str:
        """Until the connection is lost or everything is said; why it ended."""
        began = time.monotonic()
        while True:
            by = self._traffic.draining()
            now = time.monotonic()
            if by is not None and (now > by or (self._window and self._done())):
                return self._goodbye()
            if not self._window and now - began > _ANSWER_S:
                return f"it does not answer within {_ANSWER_S:g} s"
            if self._open and now - self._heard_at > self._traffic.silence_s:
                return f"it has acknowledged nothing for {self._traffic.silence_s:g} s"
            try:
                if self._window:
                    self._speak()
                if ended := self._listen(_IDLE_S):
                    return ended
            except DeviceError as err:  # of the spool: nothing can be sent, so start over
                return str(err)

    def _done(self) -> bool:
        return not self._open and not len(self._traffic.spool)

    def _goodbye(self) -> str:
        if self._window:
            self._publish(self._traffic.device.availability, "offline", 0, retain=True)
            by = time.monotonic() + _GOODBYE_S
            while 0 in self._open.values() and (left := by - time.monotonic()) > 0:
                if self._listen(left):
                    break
        return "closed"

    def _listen(self, timeout_s: float) -> str:
        """Take all events there are, waiting for the first one; why the connection ended, or ""."""
        heard = False
        try:
            number, event = self._traffic.events.get(timeout=timeout_s)
            while True:
                if number == self._number:
                    heard = True
                    if ended := self._take(event):
                        return ended
                number, event = self._traffic.events.get_nowait()
        except queue.Empty:
            if heard:
                self._traffic.moved("")
            return ""

    def _take(self, event: Connected | Acknowledged | Lost) -> str:
        if isinstance(event, Lost):
            return event.reason
        if isinstance(event, Connected):
            self._window = max(1, min(self._traffic.inflight, event.window))
            self._control.append((self._traffic.device.availability, "online"))
            self._traffic.tally.connections += 1
            self._traffic.moved("connected")
            return ""
        number = self._open.pop(event.mid, 0)
        self._heard_at = time.monotonic()
        if number and event.refused:
            return f"it does not take messages on {self._traffic.device.topic}: {event.refused}"
        if number:
            self._traffic.spool.delivered(number)
            self._traffic.tally.delivered += 1
        return ""

    def _speak(self) -> None:
        if self._traffic.state.counts_only and not self._taken_back:
            self._take_back()
        if self._traffic.prefix is not None and not self._control:
            self._tell_home_assistant(self._traffic.prefix)
        while self._control and len(self._open) < self._window:
            topic, payload = self._control.popleft()
            self._publish(topic, payload, 0, retain=True)
        room = self._window - len(self._open)
        # A read of the disk for several at once, not for each.
        if self._control or 2 * room < self._window:
            return
        for record in self._traffic.spool.take(self._after, room):
            self._after = record.id
            self._traffic.tally.duplicates += record.duplicate
            topic = f"{self._traffic.device.topic}/{record.kind}s"
            self._publish(topic, _payload(record), record.id, retain=False)

    def _publish(self, topic: str, payload: str, number: int, *, retain: bool) -> None:
        qos = 1 if retain else self._traffic.qos
        if not self._open:
            self._heard_at = time.monotonic()
        self._open[self._link.publish(topic, payload, qos=qos, retain=retain)] = number

    def _take_back(self) -> None:
        """Counts only: what the broker keeps about one face, perhaps of an earlier run, goes."""
        self._taken_back = True
        device, prefix = self._traffic.device, self._traffic.prefix
        if prefix is not None:
            self._control.append((config_topic(device, "expression", prefix), ""))
        self._control.append((device.state, ""))
        # The state is said anew, without it.
        self._said, self._said_at = {}, float("-inf")

    def _tell_home_assistant(self, prefix: str) -> None:
        now = time.monotonic()
        if now - self._said_at < _STATE_EVERY_S:
            return
        if now - self._measured_at >= _MEASURED_EVERY_S:
            self._traffic.state.measure(self._traffic.measure())
        state = self._traffic.state.document
        if not state or not self._news(state, now):
            return
        if state.keys() != self._said.keys():
            for topic, document in discovery(self._traffic.device, state, prefix).items():
                self._control.append((topic, json.dumps(document)))
        self._control.append((self._traffic.device.state, json.dumps(state)))
        self._said, self._said_at, self._measured_at = state, now, now

    def _news(self, state: Mapping[str, Any], now: float) -> bool:
        if now - self._measured_at >= _MEASURED_EVERY_S or state.keys() != self._said.keys():
            return state != self._said
        return any(state[key] != self._said[key] for key in state if key not in _MEASURED)


def _payload(record: Spooled) -> str:
    if not record.duplicate:
        return record.line
    return f'{record.line[:-1]},"duplicate":true}}'
