"""The users of the units and the folders that nobody else makes (sysusers.d(5), tmpfiles.d(5))."""

from __future__ import annotations

from edge_fer_firmware.carded import CardFile, root_file
from edge_fer_firmware.plan import CONFIG, CREDENTIALS, DATA, Plan, models_folder
from edge_fer_firmware.units import kiosk, service

__all__ = ["files"]


def files(plan: Plan) -> tuple[CardFile, ...]:
    """Both lists."""
    users = [
        "# A fixed user and no dynamic one: what is kept on the data partition belongs to it.",
        f'u {service.USER} - "edge-fer" {DATA} /usr/sbin/nologin',
        f"m {service.USER} video",
        f"m {service.USER} plugdev",
    ]
    if plan.settings.kiosk.enabled:
        users += [
            f'u {kiosk.USER} - "edge-fer screen" /run/{kiosk.USER} /usr/sbin/nologin',
            f"m {kiosk.USER} video",
            f"m {kiosk.USER} render",
        ]
    folders = [
        f"d {CREDENTIALS.parent} 0755 root root -",
        f"d {CREDENTIALS} 0700 root root -",
        # The service reads it and cannot change it; the installer copies it for root alone.
        f"z {CONFIG} 0640 root {service.USER} -",
    ]
    if plan.settings.model_updates:
        folders += [
            f"d {DATA} 0750 {service.USER} {service.USER} -",
            f"d {models_folder(plan.settings)} 0755 {service.USER} {service.USER} -",
        ]
    return (
        root_file("/usr/lib/sysusers.d/edge-fer.conf", _lines(users)),
        root_file("/usr/lib/tmpfiles.d/edge-fer.conf", _lines(folders)),
    )


def _lines(lines: list[str]) -> str:
    return "\n".join(lines) + "\n"
