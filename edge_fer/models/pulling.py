"""Pulling a model of the catalogue: found, fetched into a part file, verified, moved into place.

What stands under the model's name is always the whole, right file: the part file lies beside it,
is checked by size and sha256, synced and renamed. One process at a time works on a part file; a
second one waits, and then finds the model there.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from difflib import get_close_matches
from io import FileIO
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from edge_fer.errors import ConfigError, DeviceError, EdgeFerError, Interrupted, ModelError
from edge_fer.files import sync_folder
from edge_fer.models.catalogue import CATALOGUE, Entry
from edge_fer.models.download import NotServedError, Patience, append, download
from edge_fer.models.folders import folders, own_folder

__all__ = ["Pulled", "Watcher", "entries", "pull"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What came of one model.

    Attributes:
        entry: which one.
        path: the file, whole and right.
        source: the address or file it came from; None where it was there already.
        resumed_at: how many of its bytes an earlier pull had left.
    """

    entry: Entry
    path: Path
    source: str | None
    resumed_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Who wants to know: ``bytes`` is told how many there are, ``say`` gets a line for people."""

    bytes: Callable[[int], None] = lambda have: None
    say: Callable[[str], None] = lambda line: None


def entries(names: list[str]) -> list[Entry]:
    """The entries of these names, each once.

    Raises:
        ConfigError: a name that the catalogue does not have.
    """
    for name in names:
        if name not in CATALOGUE:
            near = get_close_matches(name, CATALOGUE, n=1, cutoff=0.6)
            raise ConfigError(
                f"There is no model {name!r} to pull.",
                f"Did you mean {near[0]}?" if near else f"Known: {', '.join(CATALOGUE)}.",
            )
    return [CATALOGUE[name] for name in dict.fromkeys(names)]


def pull(
    entry: Entry,
    *,
    mirror: str | None = None,
    to: Path | None = None,
    force: bool = False,
    patience: Patience | None = None,
    watcher: Watcher | None = None,
) -> Pulled:
    """Have the model in the folder, from its official address or a mirror.

    Args:
        entry: which one.
        mirror: a folder, or an ``http(s)`` address that its names are put behind.
        to: the folder; without it, the user's own, and one that is there for the whole machine
            is as good.
        force: pull it even where it is, and replace a file that is another.
        patience: timeouts and attempts.
        watcher: who is told of the progress.

    Raises:
        DeviceError: network or disk.
        ModelError: what came is not the published file, or something else has its name here.
        ConfigError: a mirror that is neither, or no folder to pull to.
        Interrupted: Ctrl-C; what had come is kept beside the target and gone on with.
    """
    watcher = watcher or Watcher()
    folder = to or own_folder()
    target = folder / entry.file_name
    there = () if force else (target,) if to else tuple(f / entry.file_name for f in folders())
    for path in there:
        if _is(entry, path):
            return Pulled(entry=entry, path=path, source=None)
    if not force:
        _keep_another(entry, target)
    kept = target.with_name(f"{target.name}.part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _locked(kept, entry, watcher) as part:
            if not force and _is(entry, target):  # while we waited
                return Pulled(entry=entry, path=target, source=None)
            begun = part.seek(0, os.SEEK_END)
            source = _fetch(entry, mirror, part, patience or Patience(), watcher)
            os.fsync(part.fileno())
            kept.replace(target)
            sync_folder(folder)
    except KeyboardInterrupt as err:
        have = kept.stat().st_size if kept.exists() else 0
        words = ["edge-fer", "models", "pull", entry.name]
        words += [*(["--mirror", mirror] if mirror else []), *(["--to", str(to)] if to else [])]
        raise Interrupted(
            f"Stopped: {have:,} of {entry.size:,} bytes of {entry.name} are kept.",
            f"Pulling again goes on from there: {shlex.join(words)}",
        ) from err
    except EdgeFerError:
        raise
    except OSError as err:
        raise DeviceError(
            f"{target} could not be written: {err.strerror or err}.",
            "Check that you may write there and that there is room (df -h), or pull to another "
            "folder: --to DIR",
        ) from err
    return Pulled(entry=entry, path=target, source=source, resumed_at=begun)


def _keep_another(entry: Entry, target: Path) -> None:
    """Refuse to write over a file that is not the published one: somebody put it there."""
    if not target.exists():
        return
    if not target.is_file():
        raise DeviceError(f"{target} is not a file.", "Pull to another folder: --to DIR")
    raise ModelError(
        f"{target} is there and is not the published {entry.name}: its sha256 is "
        f"{_sha256(target)}, not {entry.sha256}.",
        f"Replace it with: edge-fer models pull {entry.name} --force",
    )


@contextmanager
def _locked(path: Path, entry: Entry, watcher: Watcher) -> Iterator[FileIO]:
    """The part file, ours alone; an empty one does not stay."""
    said = False
    while True:
        with FileIO(str(path), "a+") as part:
            try:
                fcntl.flock(part, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not said:
                    watcher.say(f"{entry.name} is being pulled already; waiting for that.")
                said = True
                fcntl.flock(part, fcntl.LOCK_EX)
            except OSError:  # a file system without locks: the hash still tells right from wrong
                pass
            if not _stands(path, part):
                continue
            try:
                yield part
            finally:
                if os.fstat(part.fileno()).st_size == 0:
                    path.unlink(missing_ok=True)
            return


def _stands(path: Path, part: FileIO) -> bool:
    """Whether the open file still has this name: who had it before may have moved it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(part.fileno()))
    except FileNotFoundError:
        return False


def _fetch(
    entry: Entry, mirror: str | None, part: FileIO, patience: Patience, watcher: Watcher
) -> str:
    """Fill the part with the right bytes; says where they came from."""
    if mirror is not None and "://" not in mirror:
        return _copy(entry, Path(mirror), part)
    urls = (entry.url,) if mirror is None else _addresses(entry, mirror)
    for url in urls:
        try:
            _download(entry, url, part, patience, watcher)
        except NotServedError:
            if mirror is None:
                raise
        else:
            return url
    raise DeviceError(
        f"{mirror} serves {entry.name} under none of its names: {', '.join(entry.mirror_names)}.",
        f"Put it there as {entry.file_name}, from {entry.url}",
    )


def _download(entry: Entry, url: str, part: FileIO, patience: Patience, watcher: Watcher) -> None:
    resumed = part.seek(0, os.SEEK_END) > 0
    download(
        url, part, size=entry.size, patience=patience, on_bytes=watcher.bytes, on_lost=watcher.say
    )
    try:
        _verify(entry, url, part)
    except ModelError:
        if not resumed:
            raise
    else:
        return
    # The beginning may be at fault, which came from elsewhere or long ago: once more, without it.
    watcher.say(f"What was left of {entry.name} is of another file; starting over.")
    _download(entry, url, part, patience, watcher)


def _addresses(entry: Entry, mirror: str) -> tuple[str, ...]:
    at = urlsplit(mirror)
    if at.scheme not in ("http", "https") or not at.netloc or "@" in at.netloc:
        raise ConfigError(
            f"--mirror {mirror} is neither a folder nor a plain http or https address.",
            "For example: --mirror /media/usb or --mirror https://mirror.example/models",
        )
    return tuple(
        urlunsplit((at.scheme, at.netloc, f"{at.path.rstrip('/')}/{quote(name)}", at.query, ""))
        for name in entry.mirror_names
    )


def _copy(entry: Entry, folder: Path, part: FileIO) -> str:
    """From a folder: by name, else whatever file in it is the right one."""
    try:
        files = [p for p in sorted(folder.iterdir()) if p.is_file()]
        named = [p for name in entry.mirror_names for p in files if p.name == name]
        sized = [p for p in files if p.stat().st_size == entry.size]
        source = next((p for p in (*named, *sized) if _is(entry, p)), None)
        data = b"" if source is None else source.read_bytes()
    except OSError as err:
        raise DeviceError(
            f"The mirror {folder} could not be read: {err.strerror or err}.",
            "Name a folder that holds the models: --mirror DIR",
        ) from err
    if source is None and named:
        raise _wrong(entry, str(named[0]), named[0].stat().st_size, _sha256(named[0]))
    if source is None:
        raise DeviceError(
            f"The folder {folder} does not hold {entry.name} "
            f"({entry.size:,} bytes, sha256 {entry.sha256}).",
            f"Put it there as {entry.file_name}, from {entry.url}",
        )
    part.truncate(0)
    append(part, data)
    _verify(entry, str(source), part)
    return str(source)


def _verify(entry: Entry, source: str, part: FileIO) -> None:
    """Size and sha256 of the part, which is emptied where they are wrong."""
    part.seek(0)
    found = hashlib.file_digest(part, "sha256").hexdigest()
    if found != entry.sha256:
        size = part.tell()
        part.truncate(0)
        raise _wrong(entry, source, size, found)


def _wrong(entry: Entry, source: str, size: int, sha256: str) -> ModelError:
    return ModelError(
        f"{source} is not the published {entry.name}: {size:,} bytes with sha256 {sha256}, "
        f"not {entry.size:,} with {entry.sha256}.",
        "Nothing was changed. Pull it from another place: --mirror DIR, or an address",
    )


def _is(entry: Entry, path: Path) -> bool:
    try:
        return path.stat().st_size == entry.size and _sha256(path) == entry.sha256
    except OSError:
        return False


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
