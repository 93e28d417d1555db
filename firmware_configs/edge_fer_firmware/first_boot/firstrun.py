"""Raspberry Pi OS bookworm: ``firstrun.sh`` on the boot partition, and what makes systemd run it.

The way of Raspberry Pi Imager (raspberrypi/rpi-imager, src/customization_generator.cpp), without
the image's helpers (raspberrypi-sys-mods, imager_custom): the files are the same, and an image that
lacks the helpers or has other ones is no other case.
"""

from __future__ import annotations

import uuid

from edge_fer_firmware.carded import PAYLOAD, CardFile
from edge_fer_firmware.first_boot.install import groups, sudo
from edge_fer_firmware.first_boot.names import INSTALLER, NOTICE
from edge_fer_firmware.first_boot.wifi import key_of, keyfile_ssid
from edge_fer_firmware.plan import Plan
from edge_fer_firmware.templating import fill

__all__ = ["FILE", "PARAMETERS", "files"]

FILE = "firstrun.sh"
#: Imager writes /boot/firstrun.sh, which bookworm's initramfs changes to this and reboots
#: (raspberrypi-sys-mods, scripts/local-bottom/imager_fixup); it leaves the true place alone.
PARAMETERS = (
    f"systemd.run=/boot/firmware/{FILE}",
    "systemd.run_success_action=reboot",
    "systemd.unit=kernel-command-line.target",
)


def files(plan: Plan) -> tuple[CardFile, ...]:
    """The script. It may hold a password's hash and the key of the wireless network."""
    settings = plan.settings
    wifi = settings.network.wifi
    text = fill(
        "first_boot/firstrun.sh.j2",
        settings=settings,
        notice=NOTICE,
        installer=INSTALLER,
        boot=plan.system.boot,
        payload=PAYLOAD,
        groups=groups(plan),
        sudo=sudo(plan),
        ssh_password=settings.network.ssh and settings.network.ssh_password,
        wifi=wifi,
        psk=key_of(wifi) if wifi is not None else "",
        ssid_bytes=keyfile_ssid(wifi.ssid) if wifi is not None else "",
        # The same for the same network: provisioning again replaces the connection.
        uuid=uuid.uuid5(uuid.NAMESPACE_DNS, f"{wifi.ssid}.edge-fer") if wifi is not None else "",
        own=[parameter.replace(".", "\\.") for parameter in PARAMETERS],
    )
    secret = bool(settings.user.password_hash) or (wifi is not None and bool(wifi.psk))
    return (CardFile(path=FILE, content=text.encode(), secret=secret, executable=True),)
