"""Which Coral accelerators the kernel shows, and whether this process may use them.

A delegate that finds no device says nothing of why. The reasons are told apart here: by the USB
identity (it changes when the firmware is loaded), the mode of the node, and the PCIe driver's node.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

__all__ = ["UDEV_RULES", "Coral", "find_corals", "may_use"]

# USB and PCI identities, vendor and product (google-coral/libedgetpu, debian/edgetpu-udev.rules).
_USB = {("1a6e", "089a"): False, ("18d1", "9302"): True}
_PCI = ("0x1ac1", "0x089a")

#: What ``/etc/udev/rules.d/60-edge-fer-coral.rules`` holds: both identities, and PCIe.
UDEV_RULES = (
    'SUBSYSTEM=="usb", ATTRS{idVendor}=="1a6e", ATTRS{idProduct}=="089a", '
    'MODE="0660", GROUP="plugdev", TAG+="uaccess"',
    'SUBSYSTEM=="usb", ATTRS{idVendor}=="18d1", ATTRS{idProduct}=="9302", '
    'MODE="0660", GROUP="plugdev", TAG+="uaccess"',
    'SUBSYSTEM=="apex", MODE="0660", GROUP="plugdev"',
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Coral:
    """One accelerator.

    Attributes:
        bus: how it is connected.
        identity: ``vendor:product`` as the kernel writes them.
        node: the file that a process opens; it need not exist.
        present: whether the node is there.
        permitted: whether this process may read and write it.
        firmware: whether it is loaded (a USB stick gets it by the first use after power-up).
    """

    bus: Literal["usb", "pcie"]
    identity: str
    node: Path
    present: bool
    permitted: bool
    firmware: bool

    @property
    def words(self) -> str:
        """``Coral on USB (18d1:9302, /dev/bus/usb/001/004)``."""
        where = "USB" if self.bus == "usb" else "PCIe"
        return f"Coral on {where} ({self.identity}, {self.node})"


def may_use(node: Path) -> bool:
    """Whether this process may read and write a file, access lists included."""
    return os.access(node, os.R_OK | os.W_OK)


def find_corals(root: Path = Path("/"), may: Callable[[Path], bool] = may_use) -> tuple[Coral, ...]:
    """The accelerators on USB and PCIe.

    Args:
        root: where ``sys`` and ``dev`` lie.
        may: whether a node may be read and written.
    """
    found = []
    for device in _entries(root / "sys/bus/usb/devices"):
        pair = (_text(device / "idVendor"), _text(device / "idProduct"))
        if pair not in _USB:
            continue
        bus, number = _text(device / "busnum"), _text(device / "devnum")
        node = root / f"dev/bus/usb/{bus:0>3}/{number:0>3}"
        found.append(_coral("usb", ":".join(pair), node, may, firmware=_USB[pair]))
    cards = [
        device
        for device in _entries(root / "sys/bus/pci/devices")
        if (_text(device / "vendor"), _text(device / "device")) == _PCI
    ]
    # The driver numbers its nodes by itself, in the order in which it met the cards.
    for index in range(len(cards)):
        identity = ":".join(part.removeprefix("0x") for part in _PCI)
        found.append(_coral("pcie", identity, root / f"dev/apex_{index}", may, firmware=True))
    return tuple(found)


def _coral(
    bus: Literal["usb", "pcie"],
    identity: str,
    node: Path,
    may: Callable[[Path], bool],
    *,
    firmware: bool,
) -> Coral:
    present = node.exists()
    return Coral(
        bus=bus,
        identity=identity,
        node=node,
        present=present,
        permitted=present and may(node),
        firmware=firmware,
    )


def _entries(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:  # no such bus, or hidden from this process
        return []


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
