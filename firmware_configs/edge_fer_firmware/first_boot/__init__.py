"""The first boot: what makes a card ours, and what it leaves for every boot after it."""

from __future__ import annotations

from edge_fer_firmware.carded import CardFile
from edge_fer_firmware.first_boot import clock, cloud_init, firstrun, install, storage
from edge_fer_firmware.plan import Plan

__all__ = ["cmdline", "files"]

# Root grows over the whole card where one of these is on the kernel's line: trixie's initramfs
# (raspberrypi-sys-mods, scripts/local-premount/resize_early), bookworm's first init
# (raspberrypi-sys-mods, usr/lib/raspberrypi-sys-mods/firstboot), and the one before it.
_GROWING = (
    "resize",
    "init=/usr/lib/raspberrypi-sys-mods/firstboot",
    "init=/usr/lib/raspi-config/init_resize.sh",
)


def files(plan: Plan) -> tuple[CardFile, ...]:
    """What the first boot needs; the secrets among it are marked."""
    first = cloud_init if plan.system.mechanism == "cloud-init" else firstrun
    return (
        *first.files(plan),
        *install.files(plan),
        *storage.files(plan),
        *clock.files(plan),
    )


def cmdline(plan: Plan) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Parameters of the kernel for the first boot: to add, and to take away, as whole words.

    Those of the read-only system are taken away: a card that is provisioned again has to boot
    writable once; ``install.sh`` adds them at its end.
    """
    add: tuple[str, ...] = ()
    gone = [*storage.FINAL, storage.OFF]
    if plan.settings.storage == "data-partition":
        gone += _GROWING
    if plan.settings.network.wifi is not None:
        # As Raspberry Pi Imager does; the radio is off until it knows its country.
        add += (f"cfg80211.ieee80211_regdom={plan.settings.network.wifi.country}",)
    if plan.system.mechanism == "firstrun":
        add += firstrun.PARAMETERS
    else:
        # A card that was bookworm's before; and ds=nocloud;i=ID, which Imager writes, beats the
        # instance-id of our meta-data (cloudinit/sources/DataSourceNoCloud.py).
        gone += [*firstrun.PARAMETERS, "ds="]
    return add, tuple(gone)
