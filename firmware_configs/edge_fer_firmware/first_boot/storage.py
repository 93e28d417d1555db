"""What of a card may change: a partition of its own, nothing, or everything.

The overlay is ours and needs no package, no network and no initramfs: the kernel starts
``overlay-init`` in place of init, which puts a tmpfs over the read-only root. To update such a
card::

    sudo /usr/lib/edge-fer/writable on && sudo reboot
    sudo apt upgrade                  # or what is to be changed
    sudo /usr/lib/edge-fer/writable off && sudo reboot

or, with a new rendering, ``edge-fer provision render --into`` its boot partition: the next boot is
writable, installs it, and is read-only again.
"""

from __future__ import annotations

from edge_fer_firmware.carded import CardFile, root_file
from edge_fer_firmware.first_boot.names import INSTALLER, NOTICE
from edge_fer_firmware.plan import DATA, Plan
from edge_fer_firmware.templating import fill

__all__ = ["FINAL", "FSTAB", "LABEL", "MOUNT", "OFF", "OVERLAY", "files"]

LABEL = "edge-fer-data"
#: As systemd calls it; never a file name on the card: FAT allows no backslash.
MOUNT = r"var-lib-edge\x2dfer.mount"
#: nofail: a card whose data partition broke still boots and says so; edge-fer.service requires it.
# Five minutes: what needs a mount that was given up is never started again, and 30 seconds were too
# few for a slow machine.
FSTAB = (
    f"LABEL={LABEL} {DATA} ext4 "
    "noatime,nodev,nosuid,nofail,errors=remount-ro,x-systemd.device-timeout=5min 0 2"
)
OVERLAY = "init=/usr/lib/edge-fer/overlay-init"
#: Boots writable.
OFF = "edge-fer.overlay=off"
#: What the kernel is told once the card is done; cloud-init would do all its work again at every
#: boot, in memory.
FINAL = (OVERLAY, "cloud-init=disabled")

_HERE = "/usr/lib/edge-fer"
# raspberrypi/rpi-swap, swap.conf(5): takes the place of bookworm's dphys-swapfile. Its default has
# a file behind the compressed memory, which an overlay would hold in memory as well.
_SWAP = "/etc/rpi/swap.conf.d/60-edge-fer.conf"
_SWAP_TEXT = f"# {NOTICE}\n[Main]\nMechanism=zram\n"


def files(plan: Plan) -> tuple[CardFile, ...]:
    """What this kind of storage needs; its scripts can edit cmdline.txt safely."""
    values = {
        "notice": NOTICE,
        "installer": INSTALLER,
        "boot": plan.system.boot,
        "off": OFF,
        "overlay": OVERLAY,
        "label": LABEL,
        "root_gb": plan.settings.root_gb,
        # Of the memory, which on the smallest boards the model needs more.
        "size": "25%",
    }
    names = {
        "data-partition": ("cmdline", "writable", "overlay-init", "prepare-storage"),
        "overlay": ("cmdline", "writable", "overlay-init"),
        "root": ("cmdline",),
    }[plan.settings.storage]
    scripts = tuple(
        root_file(f"{_HERE}/{name}", fill(f"first_boot/{name}.j2", **values), executable=True)
        for name in names
    )
    swaps = plan.settings.storage != "root" and plan.system.mechanism == "cloud-init"
    return (*scripts, root_file(_SWAP, _SWAP_TEXT)) if swaps else scripts
