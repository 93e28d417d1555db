"""Names that several parts of the first boot share."""

from __future__ import annotations

from edge_fer_firmware.carded import PAYLOAD

__all__ = ["INSTALLER", "NOTICE", "REBOOT"]

NOTICE = "Made by edge-fer provision render: change the settings, not this file."
#: On the device.
INSTALLER = f"/boot/firmware/{PAYLOAD}/install.sh"
#: There once the installer is done and a boot has to follow; in memory, so that no boot finds it.
REBOOT = "/run/edge-fer-install/reboot"
