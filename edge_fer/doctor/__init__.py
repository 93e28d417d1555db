"""``edge-fer doctor``: what this machine can do, what is missing, and the line that mends it.

Each check is a function of a :class:`~edge_fer.doctor.machine.Machine`, which is a view of this
machine or of a made-up one, and gives a :class:`~edge_fer.doctor.findings.Finding`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from edge_fer.config import Settings
from edge_fer.doctor import board, cameras, coral, models, rights, service, software, storage
from edge_fer.doctor.findings import Finding, problem
from edge_fer.doctor.machine import Machine

__all__ = ["examine"]

Check = Callable[[Machine], Finding]
_Bound = partial[Finding] | partial[list[Finding]]
_BEFORE: dict[str, tuple[Check, ...]] = {
    "software": (software.check_python, software.check_runtime, software.check_opencv),
    "board": (
        board.check_memory,
        board.check_heat,
        board.check_power,
        coral.check_page_size,
        board.check_clock,
        board.check_time_zone,
    ),
    "cameras": (
        cameras.check_usb_cameras,
        cameras.check_camera_module,
        cameras.check_venv,
        rights.check_groups,
    ),
}


def examine(
    machine: Machine, on_group: Callable[[str], None] = lambda name: None
) -> tuple[dict[str, list[Finding]], Settings | None]:
    """Run every check; one that fails itself is a finding, and stops no other.

    Args:
        machine: where to look.
        on_group: told the name of each group before it is looked at.

    Returns:
        Findings by group, and the settings where they can be read.
    """
    groups: dict[str, list[Finding]] = {}

    def look(group: str, checks: Sequence[_Bound]) -> None:
        on_group(group)
        groups[group] = [finding for check in checks for finding in _safely(check)]

    read, settings = service.check_settings()
    for name, checks in _BEFORE.items():
        look(name, [partial(check, machine) for check in checks])
    look(
        "edge tpu",
        [
            partial(coral.check_coral, machine),
            partial(coral.check_udev, machine),
            partial(coral.check_delegate, machine, settings),
        ],
    )
    look(
        "storage",
        [
            partial(storage.check_state_folder, machine, settings),
            partial(storage.check_card, machine, settings),
        ],
    )
    look("models", [partial(models.check_models, None if settings is None else settings.model)])
    look("service", [partial(service.check_service, machine)])
    groups["service"].insert(0, read)
    return groups, settings


def _safely(check: _Bound) -> list[Finding]:
    try:
        found = check()
    except Exception as err:
        name = check.func.__name__.removeprefix("check_").replace("_", " ")
        return [
            problem(
                name,
                f"The check itself failed: {type(err).__name__}: {err}.",
                "Please report this, with the output of: edge-fer doctor --json",
            )
        ]
    return found if isinstance(found, list) else [found]
