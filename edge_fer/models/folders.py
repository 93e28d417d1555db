"""Where pulled models lie: a folder of the user, and one of the whole machine."""

from __future__ import annotations

import os
from pathlib import Path

from edge_fer.errors import ConfigError

__all__ = ["SUFFIXES", "SYSTEM", "folders", "own_folder", "pulled"]

#: Where a service of its own user finds what an administrator pulled for it.
SYSTEM = Path("/var/lib/edge-fer/models")
SUFFIXES = (".tflite", ".onnx")


def own_folder() -> Path:
    """``$EDGE_FER_MODELS``, else ``$XDG_DATA_HOME/edge-fer/models`` (XDG Base Directories 0.8).

    Raises:
        ConfigError: neither is set, and this user has no home.
    """
    if stated := os.environ.get("EDGE_FER_MODELS"):
        return Path(stated)
    data = os.environ.get("XDG_DATA_HOME", "")
    if Path(data).is_absolute():  # the specification: ignore others
        return Path(data) / "edge-fer" / "models"
    try:
        return Path.home() / ".local" / "share" / "edge-fer" / "models"
    except RuntimeError as err:
        raise ConfigError(
            "This user has no home, so there is no folder for pulled models.",
            f"Name one: export EDGE_FER_MODELS={SYSTEM}",
        ) from err


def folders() -> tuple[Path, ...]:
    """Where models are looked for by name, the user's own folder first."""
    try:
        return (own_folder(), SYSTEM)
    except ConfigError:  # a service without a home reads what the machine has
        return (SYSTEM,)


def pulled() -> dict[str, Path]:
    """Name to file of every model in the folders: ``NAME.tflite`` or ``NAME.onnx``."""
    found: dict[str, Path] = {}
    for folder in folders():
        try:
            paths = sorted(p for p in folder.iterdir() if p.suffix in SUFFIXES and p.is_file())
        except OSError:  # not there, or not for this user
            continue
        for path in paths:
            found.setdefault(path.stem, path)
    return found
