"""Exchanging files and folders of a folder at once, so that a failure leaves it as it was."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edge_fer.errors import ConfigError, DeviceError
from edge_fer.files import sync_folder
from edge_fer_firmware.carded import CardFile

__all__ = ["STAGE", "Item", "exchange", "found"]

#: Where files are gathered, in the folder itself: renaming works on one file system only. What a
#: run that was killed left there is taken away by the next one.
STAGE = ".edge-fer.partial"

_CHUNK = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A file, and where it goes.

    Attributes:
        path: relative to the folder, with ``/``; its first part is what is exchanged as a whole.
        file: content and modes.
    """

    path: str
    file: CardFile


def found(folder: Path, name: str) -> Path:
    """The path of that name, however it is written: FAT does not tell CONFIG.TXT from config.txt.

    On a copy of a partition on another file system the two would be different files.
    """
    exact = folder / name
    if exact.exists() or not folder.is_dir():
        return exact
    return next((p for p in folder.iterdir() if p.name.casefold() == name.casefold()), exact)


def exchange(folder: Path, items: Sequence[Item], *, private: bool) -> list[Path]:
    """Put all items into the folder, or none.

    All are written and synced beside their places first; then each first part of their paths is
    exchanged by renaming, in the order of the items. What was there under such a name is gone.

    Args:
        folder: an existing one.
        items: at least one.
        private: secrets must be readable by the owner alone, and the folder too if there are any;
            else as far as the file system knows modes.

    Returns:
        The files.

    Raises:
        ConfigError: a file that is to be copied cannot be read, or would replace a folder.
        DeviceError: no room, read-only, or any other failure of the folder's file system.
    """
    stage = folder / STAGE
    try:
        if not os.access(folder, os.W_OK):
            raise DeviceError(
                f"{folder} cannot be written to: it is read-only, or not yours.",
                "Mount it writable, or push the card's lock switch back.",
            )
        shutil.rmtree(stage, ignore_errors=True)
        _room(folder, items)
        tops = dict.fromkeys(item.path.partition("/")[0] for item in items)
        targets = {top: found(folder, top) for top in tops}
        for item in items:
            if item.path in targets and targets[item.path].is_dir():
                raise ConfigError(f"{targets[item.path]} is a folder.", "Move it away.")
        try:
            stage.mkdir(0o700)
            (stage / "old").mkdir()
            for item in items:
                _write(stage / "new" / item.path, item.file, private=private)
            _keep_old(stage, targets)
            _commit(stage, targets)
        finally:
            shutil.rmtree(stage, ignore_errors=True)
        if private and any(item.file.secret for item in items):
            folder.chmod(0o700)
    except OSError as err:
        if isinstance(err, DeviceError):
            raise
        raise DeviceError(
            f"{folder} could not be written: {err.strerror or err}. Nothing in it was changed.",
            "Check that it is writable and has room: df -h.",
        ) from err
    sync_folder(folder)
    return [found(folder, item.path) for item in items]


def _room(folder: Path, items: Sequence[Item]) -> None:
    # Every file and folder takes whole clusters.
    cluster = _cluster(folder)
    folders = {parent for item in items for parent in Path(item.path).parents}
    sizes = [_size(item.file) for item in items]
    need = sum(-(-size // cluster) for size in sizes) * cluster + len(folders) * cluster
    usage = shutil.disk_usage(folder)
    # Some file systems in user space do not tell their size; then writing itself will show.
    if usage.total and need > usage.free:
        raise DeviceError(
            f"{folder} has {usage.free / 1e6:.1f} MB free; "
            f"the card's files need {need / 1e6:.1f} MB.",
            "Use a card with a larger boot partition, or make room.",
        )


def _cluster(folder: Path) -> int:
    # Windows has no statvfs; there, as mkfs.fat(8) makes partitions from 260 MB to 8 GB.
    return max(os.statvfs(folder).f_frsize, 512) if hasattr(os, "statvfs") else 4096


def _size(file: CardFile) -> int:
    if isinstance(file.content, bytes):
        return len(file.content)
    try:
        return file.content.stat().st_size
    except OSError as err:
        raise _unreadable(file.content, err) from err


def _write(path: Path, file: CardFile, *, private: bool) -> None:
    mode = 0o600 if file.secret else 0o755 if file.executable else 0o644
    path.parent.mkdir(parents=True, exist_ok=True)
    # With its mode from the start: at no moment can others read a secret.
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags, mode)
    with os.fdopen(handle, "wb") as target:
        with suppress(OSError):  # FAT knows no modes, and says so or not
            path.chmod(mode)
        if private and file.secret and os.fstat(handle).st_mode & 0o077:
            raise DeviceError(
                f"The file system of {path.parents[-2]} lets everybody read {file.path}.",
                "Render into a folder in your home directory.",
            )
        if isinstance(file.content, bytes):
            target.write(file.content)
        else:
            _copy(file.content, target)
        target.flush()
        os.fsync(handle)


def _copy(source: Path, target: IO[bytes]) -> None:
    try:
        opened = source.open("rb")
    except OSError as err:
        raise _unreadable(source, err) from err
    with opened:
        shutil.copyfileobj(opened, target, _CHUNK)


def _unreadable(source: Path, err: OSError) -> ConfigError:
    return ConfigError(f"{source} cannot be read: {err.strerror}.", "Check that the file is there.")


def _keep_old(stage: Path, targets: Mapping[str, Path]) -> None:
    """Copies of the files that will be replaced; folders are moved when it comes to them."""
    for top, target in targets.items():
        if target.is_file():
            shutil.copyfile(target, stage / "old" / top)
            with suppress(OSError):  # FAT has nothing to copy
                shutil.copystat(target, stage / "old" / top)


def _commit(stage: Path, targets: Mapping[str, Path]) -> None:
    begun: list[str] = []
    try:
        for top, target in targets.items():
            begun.append(top)
            if target.is_dir():
                target.rename(stage / "old" / top)
            # A file is replaced in one step: there is always a config.txt.
            (stage / "new" / top).replace(target)
    except BaseException:
        for top in reversed(begun):
            _undo(targets[top], stage / "old" / top, stage / "new" / top)
        raise


def _undo(target: Path, old: Path, new: Path) -> None:
    if new.exists():  # it did not come to the exchange itself
        if old.is_dir():
            old.rename(target)
        return
    target.replace(new)
    if old.exists():
        old.replace(target)
