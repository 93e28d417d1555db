"""What a card is made of: files, edits of what its boot partition has, and what lies beside it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

__all__ = ["PAYLOAD", "ROOT", "Card", "CardFile", "root_file"]

#: Our folder on the boot partition.
PAYLOAD = "edge-fer"
#: In it, a tree that the first boot copies over ``/``.
ROOT = f"{PAYLOAD}/root"


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFile:
    """One file.

    Attributes:
        path: relative to the boot partition (or to the folder of what lies beside it), with ``/``.
        content: bytes as they are written (text: UTF-8, Unix line ends), or a file to copy.
        secret: holds one. Written with mode 0600, never shown, and taken off the card once it was
            used: FAT knows no permissions.
        executable: is run; 0755 below :data:`ROOT` and here.
    """

    path: str
    content: bytes | Path
    secret: bool = False
    executable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """All that ``provision render`` makes.

    Attributes:
        boot: files of the boot partition; of these, stock images may have cloud-init's, empty.
        config: lines for the end of config.txt, without the section ``[all]`` that precedes them.
        cmdline: parameters that cmdline.txt has to have, in this order.
        cmdline_gone: parameters of the image that must not stay, as whole words.
        beside: for people: the notice, the Imager's manifest. Nothing of it goes onto the card.
    """

    boot: tuple[CardFile, ...]
    config: tuple[str, ...]
    cmdline: tuple[str, ...] = ()
    cmdline_gone: tuple[str, ...] = ()
    beside: tuple[CardFile, ...] = ()


def root_file(path: str, text: str, *, secret: bool = False, executable: bool = False) -> CardFile:
    """A file that the first boot puts under ``/``.

    Args:
        path: absolute, as on the device: ``/etc/systemd/system/edge-fer.service``.
        text: its content.
        secret: as in :class:`CardFile`.
        executable: as in :class:`CardFile`.
    """
    return CardFile(
        path=f"{ROOT}/{path.lstrip('/')}",
        content=text.encode(),
        secret=secret,
        executable=executable,
    )
