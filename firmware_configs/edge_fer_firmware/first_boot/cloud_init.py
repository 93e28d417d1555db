"""Raspberry Pi OS trixie: user-data, network-config and meta-data on the boot partition.

The image's cloud-init reads them there (``seedfrom: file:///boot/firmware``, RPi-Distro/pi-gen,
stage2/04-cloud-init). They are valid for cloud-init 25.1 of Debian trixie as well: nothing in them
is Raspberry Pi's own (``rpi:``).
"""

from __future__ import annotations

import hashlib

from edge_fer_firmware.carded import CardFile
from edge_fer_firmware.first_boot.install import groups, sudo
from edge_fer_firmware.first_boot.names import INSTALLER, NOTICE, REBOOT
from edge_fer_firmware.first_boot.wifi import key_of
from edge_fer_firmware.plan import Plan
from edge_fer_firmware.templating import fill

__all__ = ["files"]


def files(plan: Plan) -> tuple[CardFile, ...]:
    """``user-data`` and ``network-config``, which may hold secrets, and ``meta-data``."""
    settings = plan.settings
    wifi = settings.network.wifi
    psk = key_of(wifi) if wifi is not None else ""
    user = fill(
        "first_boot/user-data.j2",
        settings=settings,
        notice=NOTICE,
        groups=groups(plan),
        sudo=sudo(plan),
        ssh_password=settings.network.ssh and settings.network.ssh_password,
        installer=INSTALLER,
        reboot=REBOOT,
    )
    network = fill(
        "first_boot/network-config.j2", settings=settings, notice=NOTICE, wifi=wifi, psk=psk
    )
    # NoCloud reads instance-id; pi-gen's own file says instance_id, which is not looked at
    # (cloudinit/sources/DataSourceNoCloud.py, and its documentation).
    meta = fill("first_boot/meta-data.j2", notice=NOTICE, id=_id(plan, user, network))
    return (
        CardFile(path="user-data", content=user.encode(), secret=bool(settings.user.password_hash)),
        CardFile(path="network-config", content=network.encode(), secret=bool(psk)),
        CardFile(path="meta-data", content=meta.encode()),
    )


def _id(plan: Plan, *texts: str) -> str:
    """A new one for everything that differs, so that the card is provisioned again."""
    settings = plan.settings
    seen = [*texts, plan.version, plan.board.name, settings.model_dump_json()]
    seen += [model.sha256 for model in plan.models] + [wheel.name for wheel in plan.wheels]
    seen += [f"{name} {secret}" for name, secret in sorted(plan.credentials.items())]
    # Secrets are among it and the id stays on the card: trying them out has to take its time.
    digest = hashlib.pbkdf2_hmac("sha256", "\0".join(seen).encode(), b"edge-fer", 50_000)
    return f"edge-fer-{digest.hex()[:16]}"
