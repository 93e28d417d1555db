"""Whether a card's service and its browser fit into the memory of its board."""

from __future__ import annotations

from collections.abc import Iterator

from edge_fer_firmware.facts import board, boards
from edge_fer_firmware.findings import Finding
from edge_fer_firmware.settings import CardSettings

__all__ = ["judge_memory"]

# The kernel, the system's services and the file cache need the rest.
_SHARE = 0.8
_BROWSER_MB = 1024


def judge_memory(settings: CardSettings) -> Iterator[Finding]:
    """Warnings: the limits may be meant for a larger variant of the board.

    Sizes are the board's smallest variant's, in MB of 2**20 bytes (boards/*.toml).
    """
    if settings.board not in boards():
        return
    facts = board(settings.board)
    most = int(_SHARE * facts.memory_mb)
    if settings.service.memory_max_mb > most:
        yield Finding(
            check="memory",
            state="warning",
            message=f"memory_max_mb = {settings.service.memory_max_mb} is more than 80 % of the "
            f"{facts.memory_mb} MB of the smallest {facts.title}.",
            remedy=f"Write memory_max_mb = {most} or less, unless the board has more memory.",
            keys=("service", "memory_max_mb"),
        )
    if settings.kiosk.enabled and facts.memory_mb < _BROWSER_MB:
        yield Finding(
            check="memory",
            state="warning",
            message=f"The kiosk's browser beside the service on {facts.memory_mb} MB: nobody has "
            f"tried it on a {facts.title}.",
            remedy="Use a board with 1 GB or more, or write enabled = false under [kiosk].",
            keys=("kiosk", "enabled"),
        )
