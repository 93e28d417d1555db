"""Plans to render in tests: a Pi 4 with trixie, and whatever the test changes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edge_fer_firmware.facts import board as board_facts
from edge_fer_firmware.facts import system as system_facts
from edge_fer_firmware.plan import Model, Plan
from edge_fer_firmware.settings import CardSettings

NOTICE = {"en": "A camera here reads facial expressions. No picture is kept."}
DEPLOYMENT: Mapping[str, Any] = {
    "operator": "Museum of Faces, +49 30 1234567, privacy@faces.example",
    "purpose": "Shows visitors how a machine reads an expression",
    "area": "exhibition",
    "notice": NOTICE,
}


def plan(
    *,
    board: str = "pi4",
    system: str = "trixie",
    models: tuple[Model, ...] = (),
    credentials: Mapping[str, str] | None = None,
    wheels: tuple[Path, ...] = (),
    version: str = "1.2.3",
    **settings: Any,
) -> Plan:
    """A plan.

    Args:
        board: name of its facts.
        system: name of its facts.
        models: the user's own.
        credentials: name to secret.
        wheels: files.
        version: of edge-fer.
        settings: tables and keys of the settings: ``run={...}``, ``storage="root"``. A table that
            is given replaces the default one; ``deployment`` has all of its keys otherwise.
    """
    values: dict[str, Any] = {"board": board, "system": system, "deployment": dict(DEPLOYMENT)}
    return Plan(
        settings=CardSettings(**{**values, **settings}),
        board=board_facts(board),
        system=system_facts(system),
        version=version,
        models=models,
        credentials=credentials or {},
        wheels=wheels,
    )
