"""Whether somebody else has set up the first boot of a card already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_fer.errors import ConfigError
from edge_fer_firmware.boot.exchange import found

__all__ = ["refuse_customised"]

_FIRSTRUN, _USER_DATA = "firstrun.sh", "user-data"
# What the image itself has in them, apart from comments: RPi-Distro/pi-gen,
# stage2/04-cloud-init/files. firstrun.sh is in no image.
_STOCK = {
    _FIRSTRUN: frozenset[str](),
    _USER_DATA: frozenset({"ssh_pwauth: false"}),
    "network-config": frozenset(
        {"network:", "version: 2", "ethernets:", "eth0:", "dhcp4: true", "optional: true"}
    ),
    "meta-data": frozenset(
        {"dsmode: local", "instance_id: rpios-image", "instance-id: rpios-image"}
    ),
}
_AGAIN = "Flash the card again and skip the Imager's customisation, or say --force to replace it."


def refuse_customised(boot: Path, names: Sequence[str], *, ours: bool) -> None:
    """Let nothing of somebody else's be overwritten, and no card be set up by two hands.

    Args:
        boot: the boot partition.
        names: of the files that are to be written.
        ours: what is there was written by us before.

    Raises:
        ConfigError: there is a firstrun.sh or user-data that the image did not bring, with its
            first line of the kind; or the image is one that cloud-init sets up, and the card is
            for one that is set up by firstrun.sh.
    """
    if _FIRSTRUN in names and found(boot, _USER_DATA).exists():
        raise ConfigError(
            f"{found(boot, _USER_DATA)}: this image is set up by cloud-init, and the card is for "
            "one that is set up by firstrun.sh.",
            'Say system = "trixie" in the settings, or flash bookworm.',
        )
    if ours:
        return
    for name, stock in _STOCK.items():
        path = found(boot, name)
        if path.exists() and (line := _first_of_theirs(path, stock)):
            # Not what stands there: it may be a password.
            raise ConfigError(f"{path}:{line}: somebody else's customisation.", _AGAIN)


def _first_of_theirs(path: Path, stock: frozenset[str]) -> int:
    """The number of the first line that is no comment and not the image's; 0 where all are."""
    if not path.is_file():
        return 1
    rows = path.read_text(encoding="utf-8", errors="replace").splitlines()
    for number, row in enumerate(rows, start=1):
        text = row.strip()
        if text and text not in stock and (not text.startswith("#") or text.startswith("#!")):
            return number
    return 0
