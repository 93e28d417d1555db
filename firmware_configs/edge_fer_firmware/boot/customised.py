"""Whether somebody else has set up the first boot of a card already."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_fer.errors import ConfigError
from edge_fer_firmware.boot import cmdline
from edge_fer_firmware.boot.exchange import found

__all__ = ["refuse_customised"]

_FIRSTRUN, _USER_DATA, _META_DATA = "firstrun.sh", "user-data", "meta-data"
# A stock image that cloud-init sets up has both: RPi-Distro/pi-gen, stage2/04-cloud-init/01-run.sh.
_CLOUD_INIT = (_USER_DATA, _META_DATA)
# Of bookworm: its first init (raspberrypi-sys-mods, usr/lib/raspberrypi-sys-mods/firstboot).
_BOOKWORM = "init=/usr/lib/raspberrypi-sys-mods/firstboot"
# Read at the first boot, and in no image: ssh and wpa_supplicant.conf by raspberrypi-sys-mods and
# raspberrypi-net-mods, userconf by userconf-pi, custom.toml by raspberrypi-sys-mods' init_config.
_OTHERS = ("ssh", "ssh.txt", "userconf", "userconf.txt", "wpa_supplicant.conf", "custom.toml")
# What the image itself has in them, apart from comments: RPi-Distro/pi-gen,
# stage2/04-cloud-init/files. firstrun.sh is in no image.
_STOCK = {
    _FIRSTRUN: frozenset[str](),
    _USER_DATA: frozenset({"ssh_pwauth: false"}),
    "network-config": frozenset(
        {"network:", "version: 2", "ethernets:", "eth0:", "dhcp4: true", "optional: true"}
    ),
    _META_DATA: frozenset(
        {"dsmode: local", "instance_id: rpios-image", "instance-id: rpios-image"}
    ),
}
_AGAIN = "Flash the card again and skip the Imager's customisation, or say --force to replace it."


def refuse_customised(boot: Path, names: Sequence[str], words: str, *, ours: bool) -> None:
    """Let nothing of somebody else's be overwritten, and no card be set up by two hands.

    Args:
        boot: the boot partition.
        names: of the files that are to be written.
        words: cmdline.txt as it is.
        ours: what is there was written by us before.

    Raises:
        ConfigError: there is a firstrun.sh or user-data that the image did not bring, with its
            first line of the kind; another file that the first boot reads; or the image is one
            that cloud-init sets up and the card is for firstrun.sh, or the other way round.
    """
    if _FIRSTRUN in names and found(boot, _USER_DATA).exists():
        raise ConfigError(
            f"{found(boot, _USER_DATA)}: this image is set up by cloud-init, and the card is for "
            "one that is set up by firstrun.sh.",
            'Say system = "trixie" in the settings, or flash bookworm.',
        )
    if _USER_DATA in names:
        _refuse_bookworm(boot, words)
    for name in _OTHERS:
        if (path := found(boot, name)).exists():
            raise ConfigError(
                f"{path}: somebody else's customisation; the first boot reads it.",
                "Delete it and say the same in the settings, or say --force to leave it there.",
            )
    if ours:
        return
    for name, stock in _STOCK.items():
        path = found(boot, name)
        if path.exists() and (line := _first_of_theirs(path, stock)):
            # Not what stands there: it may be a password.
            raise ConfigError(f"{path}:{line}: somebody else's customisation.", _AGAIN)


def _refuse_bookworm(boot: Path, words: str) -> None:
    remedy = "Say --system bookworm, or flash trixie."
    if _BOOKWORM in cmdline.parse(words, name=str(found(boot, "cmdline.txt"))):
        raise ConfigError(
            f"{found(boot, 'cmdline.txt')}:1: {_BOOKWORM} is bookworm's, and the card is for an "
            "image that cloud-init sets up.",
            remedy,
        )
    missing = [name for name in _CLOUD_INIT if not found(boot, name).exists()]
    if missing:
        raise ConfigError(
            f"{boot} has no {' and no '.join(missing)}: cloud-init does not set up this image, "
            "and the card is for one that it does.",
            remedy,
        )


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
