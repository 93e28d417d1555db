"""The text of a settings file, to say where in it something is wrong."""

from __future__ import annotations

import codecs
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_fer.errors import ConfigError, EdgeFerError, ModelError

__all__ = ["SettingsFile", "line_of", "read_secret", "read_settings"]

_TABLE = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]")
_KEY = re.compile(r"\s*((?:[\w-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[\w-]+|\"[^\"]*\"))*)\s*=")
# A person writes a hundred lines; a device or a card's image has no end in sight.
_MOST = 1_000_000
_MARKS = {
    codecs.BOM_UTF8: "UTF-8 with a BOM",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsFile:
    """A file that was read.

    Attributes:
        path: of the file.
        text: of it; it may hold secrets.
        elsewhere: keys that the command line said instead.
    """

    path: Path
    text: str = field(repr=False)
    elsewhere: frozenset[str] = frozenset()

    def place(self, keys: tuple[str, ...]) -> str:
        """``FILE:LINE`` of a key, or of the table that it would stand in; else ``FILE``."""
        line = 0 if keys and keys[0] in self.elsewhere else line_of(self.text, keys)
        return f"{self.path}:{line}" if line else str(self.path)

    def wrong(self, keys: tuple[str, ...], message: str, remedy: str) -> ConfigError:
        """The error about a key, with its place."""
        return ConfigError(f"{self.place(keys)}: {'.'.join(keys)}: {message}", remedy)

    def placed(self, err: EdgeFerError, keys: tuple[str, ...] = ()) -> ConfigError | ModelError:
        """An error of another part, with the place in the settings that led to it."""
        kind = ModelError if isinstance(err, ModelError) else ConfigError
        name = f"{'.'.join(keys)}: " if keys else ""
        return kind(f"{self.place(keys)}: {name}{err.message}", err.remedy)


def read_settings(path: Path, elsewhere: Iterable[str] = ()) -> tuple[SettingsFile, dict[str, Any]]:
    """A file and what its TOML says.

    Raises:
        ConfigError: no regular file of at most 1 MB, no UTF-8, or no TOML.
    """
    try:
        data = _read(path)
    except OSError as err:
        raise ConfigError(
            f"{path} cannot be read ({err.strerror}).", "Start from examples/kiosk.toml."
        ) from err
    for mark, name in _MARKS.items():
        if data.startswith(mark):
            raise ConfigError(f"{path}:1: the text is {name}.", "Save it as UTF-8 without BOM.")
    try:
        text = data.decode()
    except UnicodeDecodeError as err:
        line = data[: err.start].count(b"\n") + 1
        raise ConfigError(
            f"{path}:{line}: the text is no UTF-8.", "Save it as UTF-8 without BOM."
        ) from err
    try:
        stated = tomllib.loads(text)
    except tomllib.TOMLDecodeError as err:
        found = re.search(r"at line (\d+)", str(err))
        # At the end of the document there is no number.
        line = int(found[1]) if found else text.count("\n") + 1
        raise ConfigError(f"{path}:{line}: this is not TOML: {err}.", "Mend that line.") from err
    return SettingsFile(path=path, text=text, elsewhere=frozenset(elsewhere)), stated


def read_secret(file: SettingsFile, beside: str, keys: tuple[str, ...]) -> str:
    """What a file beside the settings holds, without the line break at its end.

    Raises:
        ConfigError: no regular file of at most 1 MB, or no UTF-8.
    """
    path = file.path.parent / beside
    try:
        text = _read(path).decode()
    except (OSError, UnicodeDecodeError) as err:
        reason = err.strerror if isinstance(err, OSError) else "it is no UTF-8 text"
        raise file.wrong(keys, f"{path} cannot be read ({reason}).", f"ls -l {path}") from err
    return text.removesuffix("\n").removesuffix("\r")


def line_of(text: str, keys: tuple[str, ...]) -> int:
    """The line of a key in a TOML text, or of the nearest table above it, from 1; else 0.

    Args:
        text: valid TOML.
        keys: from the outermost table to the key.
    """
    table: tuple[str, ...] = ()
    best, depth = 0, 0
    for number, line in enumerate(text.splitlines(), 1):
        if header := _TABLE.match(line):
            table = here = _parts(header[1])
        elif key := _KEY.match(line):
            here = table + _parts(key[1])
        else:
            continue
        if len(here) > depth and here == keys[: len(here)]:
            best, depth = number, len(here)
    return best


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def _read(path: Path) -> bytes:
    # Before it is opened: a pipe would wait for its other end.
    path.stat()
    if not path.is_file():
        raise OSError(0, "it is no regular file")
    with path.open("rb") as file:
        data = file.read(_MOST + 1)
    if len(data) > _MOST:
        raise OSError(0, "it is larger than 1 MB")
    return data
