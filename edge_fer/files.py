"""Writing files so that a crash, a full disk or Ctrl-C leaves the old file or the new one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from edge_fer.errors import DeviceError

__all__ = [
    "atomic_write",
    "service_file",
    "service_folder",
    "sync_folder",
    "write_bytes",
    "write_text",
]


@contextmanager
def atomic_write(path: Path) -> Iterator[IO[bytes]]:
    """A binary file that appears under its name only when the block ends well.

    Written beside the target, flushed, synced, then renamed over it; the folder is synced too.

    Raises:
        DeviceError: the folder is missing, not writable or full.
    """
    path = path.resolve()  # a link stays a link: what it points to is replaced
    if path.exists() and not path.is_file():
        raise DeviceError(f"{path} is not a file.", "Name a file to write to.")
    try:
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as err:
        raise _not_written(path, err) from err
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        mode = path.stat().st_mode & 0o777 if path.exists() else 0o666 & ~_umask()
        temporary.chmod(mode)
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as err:
        raise _not_written(path, err) from err
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def write_bytes(path: Path, data: bytes) -> None:
    """Write all of a file atomically."""
    with atomic_write(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Write all of a UTF-8 file atomically."""
    write_bytes(path, text.encode())


def sync_folder(folder: Path) -> None:
    """Have a rename in this folder outlive a power cut."""
    with suppress(OSError):  # some file systems cannot sync a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def service_folder(variable: str, environ: Mapping[str, str] = os.environ) -> Path | None:
    """The folder that systemd made for this service; None where it made none.

    Args:
        variable: ``STATE_DIRECTORY``, ``RUNTIME_DIRECTORY`` and the like (systemd.exec(5)).
        environ: with them, or without.
    """
    # Several are separated by colons; the first is ours.
    first = environ.get(variable, "").partition(":")[0]
    return Path(first) if first else None


def service_file(
    setting: str, variable: str, name: str, environ: Mapping[str, str] = os.environ
) -> Path | None:
    """A file that a service keeps: where the setting says, else in its own folder, else nowhere.

    Args:
        setting: a path; empty: not set.
        variable: as for :func:`service_folder`.
        name: of the file in that folder.
        environ: as for :func:`service_folder`.
    """
    if setting:
        return Path(setting)
    folder = service_folder(variable, environ)
    return None if folder is None else folder / name


def _not_written(path: Path, err: OSError) -> DeviceError:
    return DeviceError(
        f"{path} could not be written: {err.strerror or err}.",
        "Check that the folder exists, is writable and has room (df -h).",
    )


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
