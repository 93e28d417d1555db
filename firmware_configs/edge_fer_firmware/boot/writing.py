"""Putting a card's files into a folder, or onto a boot partition that is there: all or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from edge_fer.errors import ConfigError, DeviceError
from edge_fer_firmware.boot import cmdline, config_txt
from edge_fer_firmware.boot.customised import refuse_customised
from edge_fer_firmware.boot.exchange import Item, exchange, found
from edge_fer_firmware.carded import PAYLOAD, Card, CardFile

__all__ = ["BOOT", "FRAGMENTS", "write_folder", "write_into"]

#: In a rendered folder: what is copied onto the boot partition, and what is merged into its files.
BOOT, FRAGMENTS = "bootfs", "fragments"

_CONFIG, _CMDLINE, _GONE = "config.txt", "cmdline.txt", "cmdline-gone.txt"
_CARD = f"{PAYLOAD}/card.json"
# What a rendering for another system has in bootfs/, beside our own folder.
_EITHER = {f"{BOOT}/{name}" for name in ("user-data", "network-config", "meta-data", "firstrun.sh")}
# Windows and the FAT drivers of all systems refuse these (Microsoft, "Naming Files").
_NOT_ON_FAT = frozenset('<>:"\\|?*')
_HINT = "Name the small FAT partition of a flashed card, bootfs: it has config.txt and cmdline.txt."


def write_folder(card: Card, folder: Path, *, force: bool = False) -> list[Path]:
    """A folder with all of the card: ``bootfs/``, ``fragments/`` and what is beside.

    An earlier rendering is replaced as a whole; other files in the folder stay. ``bootfs/`` and
    ``fragments/`` may hold nothing else, forced or not: what we did not make is never deleted.

    Args:
        card: what to write.
        folder: new, empty, or made by an earlier call. 0700 where the card holds a secret.
        force: also into a folder with other things in it; files of the same names are replaced.

    Returns:
        The files, in the order of the card.

    Raises:
        ConfigError: the folder holds something else, or a name cannot be on a FAT partition.
        DeviceError: it cannot be written, has no room, or cannot keep a secret from others. In
            every case the folder is as it was.
    """
    folder = folder.resolve()
    _names(card.boot)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"{folder} is a file.", "Name a folder: -o card.")
    ours = (folder / BOOT / _CARD).is_file()
    if folder.exists() and any(folder.iterdir()) and not ours and not force:
        into = f", or write onto this boot partition: --into {folder}" if _is_boot(folder) else ""
        raise ConfigError(
            f"{folder} is not empty, and nothing in it is a rendered card.",
            f"Name a new folder{into}, or say --force.",
        )
    items = [Item(path=f"{BOOT}/{file.path}", file=file) for file in card.boot]
    items += [
        _text(f"{FRAGMENTS}/{_CONFIG}", config_txt.merge("", card.config)),
        _text(f"{FRAGMENTS}/{_CMDLINE}", " ".join(card.cmdline) + "\n"),
        _text(f"{FRAGMENTS}/{_GONE}", " ".join(card.cmdline_gone) + "\n"),
    ]
    items += [Item(path=file.path, file=file) for file in card.beside]
    _refuse_strangers(folder, {item.path for item in items}, ours=ours)
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise DeviceError(
            f"{folder} cannot be made: {err.strerror}.", "Name a folder that you may write to."
        ) from err
    try:
        written = exchange(folder, items, private=True)
    except BaseException:
        for path in missing:
            with suppress(OSError):
                path.rmdir()
        raise
    return written


def write_into(card: Card, boot: Path, *, force: bool = False) -> list[Path]:
    """The card's files onto a boot partition, and its lines into config.txt and cmdline.txt.

    Doing it twice gives the same as once. Our folder on it is replaced as a whole; of the image's
    files only config.txt, cmdline.txt and what sets up the first boot change.

    Args:
        card: what to write.
        boot: where the partition is mounted, or a copy of it.
        force: over the customisation of somebody else, Raspberry Pi Imager for example.

    Returns:
        The files, config.txt and cmdline.txt last.

    Raises:
        ConfigError: it is no boot folder, its config.txt or cmdline.txt cannot be merged, what
            would be replaced is a link or a folder that we did not make, or somebody else's
            customisation is there; with file and line.
        DeviceError: it is read-only, full or fails. In every case the folder is as it was.
    """
    boot = boot.resolve()
    _names(card.boot)
    _refuse_links(boot, [_CONFIG, _CMDLINE, *(file.path.partition("/")[0] for file in card.boot)])
    texts = {name: _read(_required(boot, name)) for name in (_CONFIG, _CMDLINE)}
    payload = found(boot, PAYLOAD)
    ours = (payload / "card.json").is_file()
    if not force:
        refuse_customised(boot, [file.path for file in card.boot], texts[_CMDLINE], ours=ours)
    if payload.exists() and not ours:
        raise ConfigError(f"{payload} is there, and edge-fer did not make it.", "Move it away.")
    config = config_txt.merge(texts[_CONFIG], card.config, name=str(found(boot, _CONFIG)))
    line = cmdline.merge(
        texts[_CMDLINE], card.cmdline, card.cmdline_gone, name=str(found(boot, _CMDLINE))
    )
    items = [Item(path=file.path, file=file) for file in card.boot]
    # cmdline.txt comes last: without it a card that is pulled out too early boots as before.
    items += [_text(_CONFIG, config), _text(_CMDLINE, line)]
    return exchange(boot, items, private=False)


def _refuse_strangers(folder: Path, new: set[str], *, ours: bool) -> None:
    """Exchanging a folder deletes what was in it: let that be our own files."""
    known = new | _EITHER if ours else set()
    for top in (BOOT, FRAGMENTS):
        there = found(folder, top)
        if there.is_symlink() or there.is_file():
            strange = [there]
        else:
            strange = [
                path
                for path in sorted(there.rglob("*"))
                if (path.is_symlink() or not path.is_dir())
                and (name := f"{top}/{path.relative_to(there).as_posix()}") not in known
                and not (ours and name.startswith(f"{BOOT}/{PAYLOAD}/"))
            ]
        if strange:
            raise ConfigError(
                f"{strange[0]} is there, and edge-fer did not make it.",
                "Move it away, or name a new folder.",
            )


def _refuse_links(boot: Path, names: Sequence[str]) -> None:
    """FAT has none: this is no partition, and what they lead to is not ours to replace."""
    for name in dict.fromkeys(names):
        if (path := found(boot, name)).is_symlink():
            raise ConfigError(f"{path} is a link.", "Put the file or folder itself there.")


def _text(path: str, text: str) -> Item:
    content = text.encode(errors="surrogateescape")
    return Item(path=path, file=CardFile(path=path, content=content))


def _read(path: Path) -> str:
    try:
        # Neither line ends nor bytes that are no UTF-8 may change.
        return path.read_bytes().decode(errors="surrogateescape")
    except OSError as err:
        raise DeviceError(f"{path} cannot be read: {err.strerror}.", "Check the card.") from err


def _required(boot: Path, name: str) -> Path:
    if not boot.is_dir():
        raise ConfigError(f"{boot} is no folder.", _HINT)
    path = found(boot, name)
    if not path.is_file():
        inner = next((p for p in (boot / "firmware", boot / BOOT) if _is_boot(p)), None)
        remedy = f"Did you mean {inner}?" if inner else _HINT
        raise ConfigError(f"{boot} is no boot folder: it has no {name}.", remedy)
    return path


def _is_boot(folder: Path) -> bool:
    return folder.is_dir() and all(found(folder, n).is_file() for n in (_CONFIG, _CMDLINE))


def _names(files: Sequence[CardFile]) -> None:
    """FAT knows no difference between upper and lower case, and fewer characters than Linux."""
    seen: dict[str, str] = {}
    for file in files:
        parts = file.path.split("/")
        for part in parts:
            bad = _NOT_ON_FAT & set(part) or {c for c in part if c < " "}
            if bad or part in {"", ".", ".."} or part.endswith((".", " ")) or len(part) > 255:
                raise ConfigError(
                    f"{file.path!r} cannot be a name on a FAT partition.", "Rename the file."
                )
        if len(parts) > 1 and parts[0] != PAYLOAD:
            raise ConfigError(f"{file.path!r} is in a folder of the image's.", f"Use {PAYLOAD}/.")
        other = seen.setdefault(file.path.casefold(), file.path)
        if other != file.path or sum(f.path == file.path for f in files) > 1:
            raise ConfigError(
                f"{file.path!r} and {other!r} are one file on a FAT partition.", "Rename one."
            )
