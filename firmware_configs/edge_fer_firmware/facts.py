"""Facts about boards and systems: one TOML each, with their sources."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from edge_fer.errors import ConfigError
from edge_fer.uri import suggestion

__all__ = ["Board", "System", "board", "boards", "system", "systems"]


class _Facts(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    title: str
    sources: tuple[str, ...]
    unconfirmed: tuple[str, ...] = ()


class Board(_Facts):
    """A board, or a board with an accelerator.

    Attributes:
        name: as in the settings.
        title: as people call it.
        sources: where the facts stand.
        status: ``supported``, or ``community``: nobody of ours has verified it.
        soc: the chip.
        memory_mb: the smallest variant's.
        page_kb: of the kernel that the image starts by default.
        kernel: the kernel's file in config.txt; empty: the firmware's choice.
        clock: has a clock that runs on (with a battery).
        wifi: has a radio.
        ethernet: has a socket.
        config: lines that config.txt has to have under ``[all]``, of this board alone.
        needs: lines that only make sense together, for the linter.
        unconfirmed: what nobody has tried, in whole sentences.
        tags: how Raspberry Pi Imager calls such a device.
    """

    status: Literal["supported", "community"]
    soc: str
    memory_mb: int
    page_kb: Literal[4, 16]
    kernel: str = ""
    clock: bool = False
    wifi: bool = True
    ethernet: bool = True
    config: tuple[str, ...] = ()
    needs: tuple[tuple[str, ...], ...] = ()
    tags: tuple[str, ...]


class System(_Facts):
    """A release of 64-bit Raspberry Pi OS.

    Attributes:
        name: as in the settings.
        title: as people call it.
        sources: where the facts stand.
        python: of the system, ``3.13``.
        glibc: minor version: wheels up to manylinux_2_N are usable.
        mechanism: what makes the first boot ours.
        boot: where the boot partition is mounted.
        constraints: for pip, where the system's own packages are used (picamera2).
        unconfirmed: what nobody has tried, in whole sentences.
    """

    python: str
    glibc: int
    mechanism: Literal["cloud-init", "firstrun"]
    boot: str
    constraints: tuple[str, ...] = ()


def boards() -> tuple[str, ...]:
    """All known names."""
    return _names("boards")


def systems() -> tuple[str, ...]:
    """All known names."""
    return _names("systems")


@cache
def board(name: str) -> Board:
    """The facts of one board.

    Raises:
        ConfigError: there is none of that name.
    """
    return Board(**_read("boards", name, "board"))


@cache
def system(name: str) -> System:
    """The facts of one system.

    Raises:
        ConfigError: there is none of that name.
    """
    return System(**_read("systems", name, "system"))


def _names(folder: str) -> tuple[str, ...]:
    found = (files(__package__) / folder).iterdir()
    return tuple(sorted(f.name.removesuffix(".toml") for f in found if f.name.endswith(".toml")))


def _read(folder: str, name: str, kind: str) -> dict[str, Any]:
    if name not in _names(folder):
        raise ConfigError(f"{name!r} is no {kind} that we know.", suggestion(name, _names(folder)))
    text = (files(__package__) / folder / f"{name}.toml").read_text(encoding="utf-8")
    return {"name": name, **tomllib.loads(text)}
