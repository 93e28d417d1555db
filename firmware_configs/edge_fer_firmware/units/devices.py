"""udev rules: who may use the Coral, the firmware's mailbox and the camera's buffers.

Without a Coral in the settings its rules are there as well: they name its identities alone, and a
stick that is plugged in later works.
"""

from __future__ import annotations

from edge_fer.backends.coral import UDEV_RULES
from edge_fer_firmware.carded import CardFile, root_file
from edge_fer_firmware.plan import Plan

__all__ = ["CORAL_RULES", "files"]

#: ``doctor`` looks for it under this name.
CORAL_RULES = "/etc/udev/rules.d/60-edge-fer-coral.rules"

_CORAL = """\
# A Coral on USB has another identity once its firmware is loaded; the third line is PCIe's.
# The service is in the group plugdev. (google-coral/libedgetpu, debian/edgetpu-udev.rules)
"""
_BOARD = """\
# The service is in the group video: the firmware's mailbox (vcgencmd), libcamera's buffers.
# Raspberry Pi OS has such rules of its own; not every release has had both.
KERNEL=="vcio", GROUP="video", MODE="0660"
SUBSYSTEM=="dma_heap", GROUP="video", MODE="0660"
"""


def files(plan: Plan) -> tuple[CardFile, ...]:  # noqa: ARG001 (every card has the same)
    """The rules; udev reads them at the next boot."""
    return (
        root_file(CORAL_RULES, _CORAL + "\n".join(UDEV_RULES) + "\n"),
        root_file("/etc/udev/rules.d/60-edge-fer-board.rules", _BOARD),
    )
