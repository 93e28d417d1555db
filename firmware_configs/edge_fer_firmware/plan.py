"""What all parts of a card are rendered from: the settings, and the facts that they chose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from edge_fer_firmware.facts import Board, System
from edge_fer_firmware.settings import CardSettings

__all__ = ["CONFIG", "CREDENTIALS", "DATA", "PREFIX", "Model", "Plan", "models_folder"]

#: The virtual environment on the device.
PREFIX = PurePosixPath("/opt/edge-fer")
#: State, durable sinks and models: the service's StateDirectory, and the data partition's place.
DATA = PurePosixPath("/var/lib/edge-fer")
#: What ``edge-fer run --config`` reads.
CONFIG = PurePosixPath("/etc/edge-fer/config.toml")
#: Secrets, root's alone; the unit hands them over by LoadCredential=.
CREDENTIALS = PurePosixPath("/etc/edge-fer/credentials")


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that goes with the card, because the package has it not.

    Attributes:
        name: of its file, ``mine.tflite``.
        content: the file.
        sha256: of it.
    """

    name: str
    content: bytes
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """One card.

    Attributes:
        settings: from the user's file, complete and judged.
        board: its facts.
        system: its facts.
        version: of edge-fer, the same that the wheels have.
        models: classifiers and detectors of the user's own, already named in ``settings.run`` by
            their paths on the device.
        credentials: name to secret, for LoadCredential=: ``mqtt-password``.
        wheels: for an installation with no network; empty: the first boot asks an index, or the
            image has edge-fer already.
        warnings: what a person should know who renders it, each with file and line.
    """

    settings: CardSettings
    board: Board
    system: System
    version: str
    models: tuple[Model, ...] = ()
    credentials: Mapping[str, str] = field(default_factory=dict, repr=False)
    wheels: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def sinks(self) -> tuple[str, ...]:
        """Addresses, as ``edge-fer run`` takes them."""
        return tuple(self.settings.run.get("sinks", ()))

    @property
    def source(self) -> str:
        """Where frames come from."""
        return str(self.settings.run["source"])


def models_folder(settings: CardSettings) -> PurePosixPath:
    """Where the user's own models stand on the device."""
    return (DATA if settings.model_updates else PREFIX) / "models"
