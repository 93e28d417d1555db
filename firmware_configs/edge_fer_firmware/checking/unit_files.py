"""Unit files of systemd, read with their line numbers: systemd.syntax(7)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from edge_fer_firmware.checking.folder import CardFolder

__all__ = ["Entry", "UnitFile", "unit_files"]

_SUFFIXES = (
    ".service", ".mount", ".automount", ".timer", ".path", ".socket", ".target", ".slice", ".swap",
)  # fmt: skip
# Drop-ins of the managers, and the one section that each has.
_CONFIGURED = ("system.conf.d", "journald.conf.d", "timesyncd.conf.d", "logind.conf.d")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One ``Key=value``; lines that end in a backslash are joined.

    Attributes:
        line: where it starts, from 1; also of a line that is none.
        section: that it stands in.
        key: empty where the line is neither a section nor an assignment.
        value: the rest of it.
    """

    line: int
    section: str
    key: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitFile:
    """One file.

    Attributes:
        path: of it.
        unit: that it belongs to, also for a drop-in; empty: a manager's own settings.
        entries: in their order.
    """

    path: Path
    unit: str
    entries: tuple[Entry, ...]

    def values(self, key: str) -> list[Entry]:
        """All assignments of a key."""
        return [entry for entry in self.entries if entry.key == key]


def unit_files(card: CardFolder) -> Iterator[UnitFile]:
    """All that the payload brings for systemd."""
    for path, text in card.texts():
        if not path.is_relative_to(card.root):
            continue
        folder = path.parent.name
        if path.suffix in _SUFFIXES:
            unit = path.name
        elif path.suffix == ".conf" and folder.endswith(tuple(f"{s}.d" for s in _SUFFIXES)):
            unit = folder.removesuffix(".d")
        elif path.suffix == ".conf" and folder in _CONFIGURED:
            unit = ""
        else:
            continue
        yield UnitFile(path=path, unit=unit, entries=tuple(_entries(text)))


def _entries(text: str) -> Iterator[Entry]:
    section, started, joined = "", 0, ""
    for number, raw in enumerate(text.replace("\r", "").split("\n"), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        if not joined:
            started = number
        if line.endswith("\\"):
            joined += line[:-1].rstrip() + " "
            continue
        line, joined = joined + line, ""
        if line.startswith("["):
            section = line.strip("[]")
            continue
        key, mark, value = line.partition("=")
        yield Entry(
            line=started, section=section, key=key.strip() if mark else "", value=value.strip()
        )
