"""A Coral's two USB identities under our udev rules; runs inside the guest that guest.sh boots.

The kernel's dummy_hcd is host and device at once, and g_serial a device with whatever identity it
is told. It is an identity, not an accelerator: no model can run.
"""

from __future__ import annotations

import grp
import json
import pwd
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from edge_fer.backends.coral import find_corals

DEVICES = Path("/sys/bus/usb/devices")
DRIVER = next(Path("/mods").glob("g_serial.ko*"))
NOBODY, PLUGDEV = pwd.getpwnam("nobody"), grp.getgrnam("plugdev")
# Before its firmware is loaded, and after.
CORALS = {("1a6e", "089a"): False, ("18d1", "9302"): True}
STRANGER = ("1d6b", "0104")


def plug_in(vendor: str, product: str) -> Path:
    """The node of a device that has just been plugged in."""
    subprocess.run(["insmod", DRIVER, f"idVendor=0x{vendor}", f"idProduct=0x{product}"], check=True)
    for _ in range(100):
        for device in DEVICES.iterdir():
            path = device / "idProduct"
            # A root hub has identities of its own.
            if not device.name.startswith("usb") and path.exists():
                if path.read_text().strip() != product:
                    continue
                subprocess.run(["udevadm", "settle"], check=True)
                bus, number = (int((device / n).read_text()) for n in ("busnum", "devnum"))
                return Path(f"/dev/bus/usb/{bus:03}/{number:03}")
        time.sleep(0.1)
    raise AssertionError(f"{vendor}:{product} has not come within 10 s")


def unplug(node: Path) -> None:
    subprocess.run(["rmmod", "g_serial"], check=True)
    for _ in range(100):
        if not node.exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"{node} is still there")


def doctor(groups: list[int]) -> dict[str, Any]:
    """What ``edge-fer doctor`` says to somebody who is not root, by the names of its checks."""
    ran = subprocess.run(
        [sys.executable, "-m", "edge_fer", "doctor", "--json"],
        user=NOBODY.pw_uid,
        group=NOBODY.pw_gid,
        extra_groups=groups,
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(ran.stdout)["groups"].values()
    return {finding["name"]: finding for group in found for finding in group}


def shown(node: Path) -> tuple[int, str]:
    about = node.stat()
    return about.st_mode & 0o777, grp.getgrgid(about.st_gid).gr_name


def coral(vendor: str, product: str, firmware: bool) -> str:
    node = plug_in(vendor, product)
    assert shown(node) == (0o660, "plugdev"), shown(node)
    (found,) = find_corals()
    assert (found.identity, found.node, found.firmware) == (f"{vendor}:{product}", node, firmware)
    member, stranger = doctor([PLUGDEV.gr_gid]), doctor([])
    assert member["Coral"]["state"] == "ok", member["Coral"]
    assert found.words in member["Coral"]["message"]
    assert member["udev rules"]["state"] == "ok", member["udev rules"]
    assert stranger["Coral"]["state"] == "problem", stranger["Coral"]
    assert "usermod -aG plugdev" in stranger["Coral"]["remedy"]
    unplug(node)
    return f"{node} is 0660 plugdev; doctor: {member['Coral']['message']}"


def stranger() -> str:
    node = plug_in(*STRANGER)
    assert shown(node) == (0o664, "root"), shown(node)
    assert find_corals() == ()
    unplug(node)
    return f"{node} is nobody else's"


def main() -> None:
    for (vendor, product), firmware in CORALS.items():
        say(f"PASS {vendor}:{product}: {coral(vendor, product, firmware)}")
    say(f"PASS {':'.join(STRANGER)}: {stranger()}")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    main()
