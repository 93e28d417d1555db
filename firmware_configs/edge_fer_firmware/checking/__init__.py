"""Looking at a rendered folder, or at a boot partition: what is there, not what made it.

A card that somebody changed by hand afterwards is judged as it is now. Nothing is written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from edge_fer_firmware.checking.accounts import check_boot_files
from edge_fer_firmware.checking.application import check_application
from edge_fer_firmware.checking.cloud_init import check_cloud_init
from edge_fer_firmware.checking.cmdline import check_cmdline
from edge_fer_firmware.checking.config_txt import check_config
from edge_fer_firmware.checking.folder import CardFolder, open_folder
from edge_fer_firmware.checking.image import check_image
from edge_fer_firmware.checking.manifest import check_manifest
from edge_fer_firmware.checking.rules import check_rules
from edge_fer_firmware.checking.scripts import check_scripts
from edge_fer_firmware.checking.secrets import check_secrets
from edge_fer_firmware.checking.storage import check_clock, check_storage
from edge_fer_firmware.checking.tools import Answer, Validators
from edge_fer_firmware.checking.units import check_units
from edge_fer_firmware.checking.validators import validate
from edge_fer_firmware.findings import Finding
from edge_fer_firmware.passwords import CRYPT, Crypt

__all__ = ["Answer", "Validators", "check"]


def check(
    folder: Path, *, validators: Validators | None = None, crypt: Crypt | None = CRYPT
) -> list[Finding]:
    """Everything that is to be said about a folder.

    Args:
        folder: of ``provision render``, or a boot partition.
        validators: how tools are run; None: our own checks alone.
        crypt: to try default passwords with; None: that is said as skipped.

    Returns:
        Findings in the order of the checks; each check that saw nothing wrong says so once.

    Raises:
        ConfigError: it is neither kind of folder.
    """
    card = open_folder(folder)
    checks: dict[str, Callable[[], Iterator[Finding]]] = {
        "card": lambda: check_manifest(card),
        "boot files": lambda: check_boot_files(card),
        "cmdline": lambda: check_cmdline(card),
        "config.txt": lambda: check_config(card),
        "cloud-init": lambda: check_cloud_init(card, crypt),
        "scripts": lambda: check_scripts(card, crypt),
        "units": lambda: check_units(card),
        "udev rules": lambda: check_rules(card),
        "storage": lambda: check_storage(card),
        "clock": lambda: check_clock(card),
        "secrets": lambda: check_secrets(card),
        "application": lambda: check_application(card),
        "image": lambda: check_image(card),
    }
    found: list[Finding] = []
    for name, look in checks.items():
        seen = list(look())
        if not any(f.state in ("problem", "warning") for f in seen) and _applies(card, name):
            seen.append(Finding(check=name, state="ok", message="Nothing wrong was seen."))
        found += seen
    if validators is not None:
        found += validate(card, validators)
    return _once(found)


def _applies(card: CardFolder, name: str) -> bool:
    """There is something that this check could have looked at."""
    if name == "cloud-init":
        return (card.boot / "user-data").is_file()
    if name == "udev rules":
        return any(path.suffix == ".rules" for path in card.ours())
    # Of the image there is nothing to be seen, only to be said.
    return name != "image" and (name != "cmdline" or card.cmdline.is_file())


def _once(found: Iterable[Finding]) -> list[Finding]:
    """The settings and a file may say the same: the first place, a file's own line, is enough."""
    unique: dict[tuple[str, str, str], Finding] = {}
    for finding in found:
        place = "" if finding.check == "users" else finding.place
        unique.setdefault((finding.check, finding.message, place), finding)
    return list(unique.values())
