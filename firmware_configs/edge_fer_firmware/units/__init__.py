"""What runs on the device, and what is set up around it."""

from __future__ import annotations

from edge_fer_firmware.carded import CardFile
from edge_fer_firmware.plan import Plan
from edge_fer_firmware.units import (
    account,
    configuration,
    devices,
    journal,
    kiosk,
    service,
    watchdog,
)

__all__ = ["CMDLINE", "files"]

#: What cmdline.txt has to say for the limits of memory to hold.
CMDLINE = service.CMDLINE


def files(plan: Plan) -> tuple[CardFile, ...]:
    """All of them.

    Raises:
        ConfigError: settings that cannot work; each part says which.
    """
    parts = (account, configuration, service, kiosk, devices, journal, watchdog)
    return tuple(file for part in parts for file in part.files(plan))
