"""The time of day over a power cut, for boards without a clock, or with one without a battery.

Saved hourly and at shutdown on the data partition, set forward at boot, never back. A restored
clock is late by the time without power. It never counts as synchronised: records ask
systemd-timesyncd's mark (:func:`edge_fer.records.clock_ok`), which nothing here touches.
"""

from __future__ import annotations

from edge_fer_firmware.carded import CardFile, root_file
from edge_fer_firmware.first_boot.names import NOTICE
from edge_fer_firmware.first_boot.storage import MOUNT
from edge_fer_firmware.plan import DATA, Plan
from edge_fer_firmware.templating import fill

__all__ = ["files"]

_UNITS = "/etc/systemd/system"


def files(plan: Plan) -> tuple[CardFile, ...]:
    """The script and its units; with nothing kept, only the lower bound: when it was written."""
    saved = plan.settings.storage != "overlay"
    values = {"notice": NOTICE, "data": DATA, "mount": MOUNT, "saved": saved}
    units = ["edge-fer-clock.service"]
    if saved:
        units += ["edge-fer-clock-save.service", "edge-fer-clock-save.timer"]
    return (
        root_file(
            "/usr/lib/edge-fer/clock", fill("first_boot/clock.j2", **values), executable=True
        ),
        *(root_file(f"{_UNITS}/{unit}", fill(f"first_boot/{unit}.j2", **values)) for unit in units),
    )
