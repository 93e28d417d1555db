"""Home Assistant: what its MQTT discovery wants to know, and a small state for its sensors.

After https://www.home-assistant.io/integrations/mqtt/ (MQTT discovery, one retained document per
sensor on ``PREFIX/sensor/DEVICE/SENSOR/config``).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edge_fer import __version__
from edge_fer.records import AGGREGATE
from edge_fer.types import UNKNOWN

__all__ = ["NO_FACE", "Device", "State", "config_topic", "discovery"]

NO_FACE = "nobody"
_RECENT_FACES = 200
_SENSORS: dict[str, dict[str, str]] = {
    "expression": {"name": "Expression", "icon": "mdi:emoticon-outline"},
    "faces": {"name": "Faces", "icon": "mdi:account-multiple", "state_class": "measurement"},
    "unknown_rate": {
        "name": "Unknown rate",
        "icon": "mdi:help-circle-outline",
        "unit_of_measurement": "%",
        "state_class": "measurement",
        "entity_category": "diagnostic",
    },
    "fps": {
        "name": "Frame rate",
        "icon": "mdi:speedometer",
        "unit_of_measurement": "fps",
        "state_class": "measurement",
        "entity_category": "diagnostic",
    },
    "temperature": {
        "name": "Temperature",
        "device_class": "temperature",
        "unit_of_measurement": "°C",
        "state_class": "measurement",
        "entity_category": "diagnostic",
    },
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """Who speaks.

    Attributes:
        name: for people: ``Lobby kiosk``.
        topic: the root of its topics: ``edge-fer/lobby-kiosk``.
    """

    name: str
    topic: str

    @property
    def id(self) -> str:
        """The name as Home Assistant and MQTT take it: letters, digits, ``_`` and ``-``."""
        return re.sub(r"[^A-Za-z0-9_-]+", "-", self.name).strip("-").lower() or "edge-fer"

    @property
    def availability(self) -> str:
        """The topic that says ``online`` or ``offline``."""
        return f"{self.topic}/availability"

    @property
    def state(self) -> str:
        """The topic of the small state."""
        return f"{self.topic}/state"


class State:
    """The newest of everything that a sensor shows, gathered from records and the status.

    Attributes:
        counts_only: the last record told counts of a minute: nothing about one face is said.
    """

    def __init__(self) -> None:
        self.counts_only = False
        self._now: dict[str, Any] = {}
        self._recent: deque[bool] = deque(maxlen=_RECENT_FACES)

    def see(self, document: Mapping[str, Any]) -> None:
        """Take one record, an observation or a minute's counts; another changes nothing."""
        schema, faces = document.get("schema"), document.get("faces")
        if schema == AGGREGATE:
            self._see_counts(document)
            return
        if not isinstance(faces, list):
            return
        self.counts_only = False
        self._recent.extend(face["expression"] == UNKNOWN for face in faces)
        # The most prominent face is the biggest one.
        biggest = max(faces, key=lambda face: face["box"][2] * face["box"][3], default=None)
        self._now["expression"] = biggest["expression"] if biggest else NO_FACE
        self._now["faces"] = len(faces)
        if self._recent:
            self._now["unknown_rate"] = round(100 * sum(self._recent) / len(self._recent))

    def _see_counts(self, counts: Mapping[str, Any]) -> None:
        self.counts_only = True
        self._recent.clear()
        for key in ("expression", "faces", "unknown_rate"):
            self._now.pop(key, None)
        self._now["faces"] = round(counts["mean_faces"], 1)
        if counts["faces"]:
            unknown = counts["expressions"].get(UNKNOWN, 0)
            self._now["unknown_rate"] = round(100 * unknown / counts["faces"])

    def measure(self, status: Mapping[str, Any]) -> None:
        """Take ``fps`` and ``thermal.celsius`` from a service's status, where they are numbers."""
        thermal = status.get("thermal")
        celsius = thermal.get("celsius") if isinstance(thermal, Mapping) else None
        for key, value, digits in (("fps", status.get("fps"), 1), ("temperature", celsius, 0)):
            if isinstance(value, int | float):
                self._now[key] = round(value, digits)

    @property
    def document(self) -> dict[str, Any]:
        """What the state topic says: a subset of expression, faces, unknown_rate, fps, temperature.

        ``unknown_rate`` is the percentage of the last 200 faces that were unknown; ``expression``
        is :data:`NO_FACE` where nobody is seen. Of a minute's counts: the mean number of faces, the
        percentage of the minute, and no expression.
        """
        return dict(self._now)


def config_topic(device: Device, sensor: str, prefix: str) -> str:
    """Where a sensor is announced; an empty retained message there takes it back."""
    return f"{prefix}/sensor/{device.id}/{sensor}/config"


def discovery(device: Device, sensors: Mapping[str, Any], prefix: str) -> dict[str, dict[str, Any]]:
    """Topic to document: one for each sensor that the state has a value for.

    Args:
        device: whose sensors they are.
        sensors: the state's document.
        prefix: Home Assistant's discovery prefix, ``homeassistant`` unless it was changed there.
    """
    return {
        config_topic(device, key, prefix): {
            **_SENSORS[key],
            "unique_id": f"edge-fer-{device.id}-{key}",
            "state_topic": device.state,
            "value_template": f"{{{{ value_json.{key} }}}}",
            "availability_topic": device.availability,
            "device": {
                "identifiers": [f"edge-fer-{device.id}"],
                "name": device.name,
                "manufacturer": "edge-fer",
                "model": "expression recognition",
                "sw_version": __version__,
            },
            "origin": {"name": "edge-fer", "sw_version": __version__},
        }
        for key in sensors
        if key in _SENSORS
    }
