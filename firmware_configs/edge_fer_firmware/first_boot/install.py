"""``edge-fer/install.sh``: the one installer that both kinds of first boot call."""

from __future__ import annotations

from edge_fer_firmware.carded import PAYLOAD, CardFile, root_file
from edge_fer_firmware.first_boot import storage
from edge_fer_firmware.first_boot.names import INSTALLER, NOTICE, REBOOT
from edge_fer_firmware.plan import CONFIG, CREDENTIALS, DATA, PREFIX, Plan, models_folder
from edge_fer_firmware.templating import fill
from edge_fer_firmware.units import kiosk
from edge_fer_firmware.units.configuration import has_secret
from edge_fer_firmware.units.network import source_kind

__all__ = ["files", "groups", "sudo"]

# Of Raspberry Pi Imager's list, what looking after a kiosk takes; each exists on both systems.
_GROUPS = ("users", "adm", "video", "plugdev", "render", "input", "netdev")
# What firstrun.sh makes, and a card without Wi-Fi must not find.
_CONNECTION = "/etc/NetworkManager/system-connections/edge-fer.nmconnection"
_ETHERNET_OFF = """
# NetworkManager would ask every cable for an address, with or without a connection of its own.
[keyfile]
unmanaged-devices=type:ethernet
"""


def files(plan: Plan) -> tuple[CardFile, ...]:
    """The installer, what finishes its work after a failure, and the secrets that it moves."""
    settings = plan.settings
    wifi = settings.network.wifi is not None
    script = fill(
        "first_boot/install.sh.j2",
        notice=NOTICE,
        installer=INSTALLER,
        reboot=REBOOT,
        boot=plan.system.boot,
        payload=PAYLOAD,
        prefix=PREFIX,
        data=DATA,
        config=CONFIG,
        config_secret=has_secret(plan),
        credentials=CREDENTIALS,
        models=models_folder(settings),
        models_owned=settings.model_updates,
        user=settings.user.name,
        wifi=wifi,
        made=[_CONNECTION] if wifi and plan.system.mechanism == "firstrun" else [],
        kiosk_packages=kiosk.PACKAGES if settings.kiosk.enabled else (),
        picamera=source_kind(plan.source) == "csi",
        storage=settings.storage,
        label=storage.LABEL,
        fstab=storage.FSTAB,
        final=storage.FINAL,
        version=plan.version,
        board=plan.board.title,
        system=plan.system.title,
        requirements=_requirements(plan),
    )
    retry = fill(
        "first_boot/edge-fer-install.service.j2",
        notice=NOTICE,
        installer=INSTALLER,
        reboot=REBOOT,
    )
    ethernet = f"# {NOTICE}\n" + ("" if settings.network.ethernet else _ETHERNET_OFF)
    return (
        CardFile(path=f"{PAYLOAD}/install.sh", content=script.encode(), executable=True),
        root_file("/etc/systemd/system/edge-fer-install.service", retry),
        # Always: one that allows it takes the place of one that did not.
        root_file("/etc/NetworkManager/conf.d/edge-fer.conf", ethernet),
        *(
            root_file(f"{CREDENTIALS}/{name}", secret, secret=True)
            for name, secret in plan.credentials.items()
        ),
    )


def groups(plan: Plan) -> list[str]:
    """Of the person who logs in: sudo only where there is a way to log in at all."""
    return [*_GROUPS, *(["sudo"] if sudo(plan) else [])]


def sudo(plan: Plan) -> str:
    """What that person may do as root, as in sudoers(5); empty: nothing.

    With their password, where they have one. A key alone gives no password to ask for.
    """
    user = plan.settings.user
    if user.password_hash:
        return "ALL=(ALL) ALL"
    return "ALL=(ALL) NOPASSWD:ALL" if user.ssh_keys else ""


def _requirements(plan: Plan) -> list[str]:
    mqtt = any(sink.startswith(("mqtt:", "mqtts:")) for sink in plan.sinks)
    name = "edge-fer[mqtt]" if mqtt else "edge-fer"
    # One list for both cases: an index must not bring what the system's own modules cannot stand.
    return [f"{name}=={plan.version}", *plan.system.constraints]
