"""The folder that is looked at: what ``render`` wrote, or a boot partition."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edge_fer.errors import ConfigError
from edge_fer_firmware.carded import PAYLOAD, ROOT
from edge_fer_firmware.facts import Board, System, board, boards, system, systems
from edge_fer_firmware.findings import Finding, State
from edge_fer_firmware.plan import Plan
from edge_fer_firmware.settings import CardSettings

__all__ = ["CARD", "CardFolder", "known", "open_folder"]

#: What a card says of itself.
CARD = f"{PAYLOAD}/card.json"
_LARGEST_TEXT = 1 << 20
_NO_TEXT = (".whl", ".tflite", ".img", ".dtb", ".dtbo", ".elf", ".dat", ".bin", ".gz")


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFolder:
    """A folder, and what its ``card.json`` says.

    Attributes:
        top: what the user named; paths of findings are relative to it.
        boot: what goes onto the boot partition.
        config: the file with lines of config.txt.
        cmdline: the file with parameters.
        merged: a boot partition; False: a rendered folder with fragments beside it.
        card: ``card.json``; empty where it is missing or cannot be read.
        settings: in it; None where they cannot be read.
    """

    top: Path
    boot: Path
    config: Path
    cmdline: Path
    merged: bool
    card: Mapping[str, Any] = field(default_factory=dict)
    settings: CardSettings | None = None

    @property
    def root(self) -> Path:
        """The tree that the first boot copies over ``/``."""
        return self.boot / ROOT

    @property
    def board(self) -> Board | None:
        """The card's, where it is known."""
        name = self.card.get("board")
        return board(name) if name in boards() else None

    @property
    def system(self) -> System | None:
        """The card's, where it is known."""
        name = self.card.get("system")
        return system(name) if name in systems() else None

    @property
    def plan(self) -> Plan | None:
        """What the card would be rendered from now, without secrets; None: not all is known."""
        parts = self.settings, self.board, self.system
        if parts[0] is None or parts[1] is None or parts[2] is None:
            return None
        if "source" not in parts[0].run:
            return None
        return Plan(settings=parts[0], board=parts[1], system=parts[2], version="")

    @property
    def booted(self) -> bool:
        """Its first boot was: ``install.sh`` leaves a log beside itself."""
        return (self.boot / PAYLOAD / "install.log").is_file()

    @property
    def taken(self) -> frozenset[str]:
        """Secrets that ``install.sh`` took off the boot partition: their paths on the device."""
        return frozenset((self.text(self.boot / PAYLOAD / "taken") or "").split("\n")) - {""}

    @property
    def storage(self) -> str:
        """The card's, or empty."""
        return self.settings.storage if self.settings else ""

    @property
    def accepted(self) -> tuple[str, ...]:
        """Weak choices that were said twice."""
        return self.settings.accept if self.settings else ()

    @property
    def offline(self) -> bool:
        """No cable, no radio."""
        if self.settings is None:
            return False
        return not self.settings.network.ethernet and self.settings.network.wifi is None

    def name(self, path: Path) -> str:
        """Of a file, for people."""
        return path.relative_to(self.top).as_posix()

    def finding(
        self,
        check: str,
        path: Path,
        line: int,
        message: str,
        remedy: str,
        *,
        state: State = "problem",
    ) -> Finding:
        """Something about one of its files."""
        return Finding(
            check=check,
            state=state,
            message=message,
            file=self.name(path),
            line=line,
            remedy=remedy,
        )

    def text(self, path: Path) -> str | None:
        """Of a file with its line ends as they are; None: it is not there, too large, no text."""
        try:
            if path.stat().st_size > _LARGEST_TEXT:
                return None
            data = path.read_bytes()
        except OSError:
            return None
        return None if b"\0" in data else data.decode("utf-8", "replace")

    def device_file(self, path: str) -> Path:
        """Where the payload has a file of the device: ``/etc/x`` is ``edge-fer/root/etc/x``."""
        return self.root / path.lstrip("/")

    def ours(self) -> Iterator[Path]:
        """All files that can be ours: of the payload, and what the mechanisms read."""
        names = ("user-data", "network-config", "meta-data", "firstrun.sh")
        yield from (p for n in names if (p := self.boot / n).is_file())
        yield from sorted(p for p in (self.boot / PAYLOAD).rglob("*") if p.is_file())

    def texts(self) -> Iterator[tuple[Path, str]]:
        """Of :meth:`ours`, those that are text."""
        for path in self.ours():
            text = None if path.suffix in _NO_TEXT else self.text(path)
            if text is not None:
                yield path, text


def open_folder(folder: Path) -> CardFolder:
    """Tell which kind of folder it is, and read its card.

    Raises:
        ConfigError: it is neither a rendered folder nor a boot partition.
    """
    bootfs = folder / "bootfs"
    merged = not bootfs.is_dir()
    boot = folder if merged else bootfs
    if merged and not any(
        (folder / name).is_file() for name in ("config.txt", "cmdline.txt", CARD)
    ):
        raise ConfigError(
            f"{folder} is neither a folder of provision render nor a boot partition.",
            "Name a folder that holds bootfs/, or one with config.txt and cmdline.txt.",
        )
    beside = boot if merged else folder / "fragments"
    card = _card(boot / CARD)
    return CardFolder(
        top=folder,
        boot=boot,
        config=beside / "config.txt",
        cmdline=beside / "cmdline.txt",
        merged=merged,
        card=card,
        settings=_settings(card),
    )


@cache
def known(name: str) -> dict[str, Any]:
    """A list of what is known: ``config_txt``, ``cloud_config`` or ``systemd``."""
    text = (files(__package__) / "known" / f"{name}.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def _card(path: Path) -> dict[str, Any]:
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return card if isinstance(card, dict) else {}


def _settings(card: Mapping[str, Any]) -> CardSettings | None:
    """A card says of a secret whether there was one: that is not the secret."""
    try:
        said = json.loads(json.dumps(card["settings"]))
        for table, key in (("user", "password_hash"), ("wifi", "psk")):
            inner = said.get("network", {}) if table == "wifi" else said
            if isinstance(inner.get(table), dict) and isinstance(inner[table].get(key), bool):
                inner[table][key] = ""
        return CardSettings(**said)
    except (KeyError, TypeError, AttributeError, ValidationError):
        return None
