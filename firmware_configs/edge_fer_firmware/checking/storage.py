"""Storage and the clock: what is lost at power off, and what never becomes right."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from edge_fer_firmware.checking.folder import CardFolder
from edge_fer_firmware.checking.toml_lines import read_run, sinks_of
from edge_fer_firmware.checking.unit_files import unit_files
from edge_fer_firmware.findings import Finding
from edge_fer_firmware.loading import line_of
from edge_fer_firmware.plan import CONFIG, DATA

__all__ = ["check_clock", "check_storage"]


def check_storage(card: CardFolder) -> Iterator[Finding]:
    """Where the sinks of config.toml write."""
    run, text = read_run(card)
    name = card.name(card.device_file(str(CONFIG)))
    for sink in sinks_of(run):
        kind, _, rest = sink.partition(":")
        line = _line(text, sink) or line_of(text, ("sinks",))
        place = rest.partition("?")[0]
        if kind in ("mqtt", "mqtts"):
            found = re.search(r"[?&]spool=([^&]*)", rest)
            place = found[1] if found else str(DATA)  # systemd's StateDirectory
        elif kind not in ("jsonl", "sqlite") or place == "-":
            continue
        # A relative path starts in the service's working directory.
        if place.startswith("/") and not PurePosixPath(place).is_relative_to(DATA):
            state = "problem" if card.storage == "data-partition" else "warning"
            yield Finding(
                check="storage",
                state="problem" if state == "problem" else "warning",
                message=f"{place} lies outside {DATA}: the service may not write there.",
                file=name,
                line=line,
                remedy=f"Write {kind}:{DATA}/{PurePosixPath(place).name}",
            )
    for key in ("state_file", "status_file"):
        value = str(run.get(key, ""))
        near = PurePosixPath(value).is_relative_to(DATA) or value.startswith("/run/")
        if value and not near:
            yield Finding(
                check="storage",
                state="problem",
                message=f"{key} = {value} lies outside {DATA}.",
                file=name,
                line=line_of(text, (key,)),
                remedy=f"Take {key} out: the unit names a place.",
            )


def check_clock(card: CardFolder) -> Iterator[Finding]:
    """A board without a clock of its own, and tools that cannot work on a read-only root."""
    for path, text in card.texts():
        if path.name not in ("user-data", "firstrun.sh", "install.sh") or card.storage == "root":
            continue
        for number, line in enumerate(text.split("\n"), 1):
            if "fake-hwclock" in line.partition("#")[0]:
                yield Finding(
                    check="clock",
                    state="problem",
                    message="fake-hwclock saves the time under /etc, which an overlay forgets.",
                    file=card.name(path),
                    line=number,
                    remedy="Take it out: the card keeps the time on the data partition.",
                )
    board = card.board
    if board is None or board.clock or card.storage not in ("overlay", "data-partition"):
        return
    if card.storage == "overlay":
        yield Finding(
            check="clock",
            state="warning",
            message=f"{board.title} has no clock, and an overlay keeps no time over a restart.",
            remedy='Write storage = "data-partition", or add a clock module.',
        )
    elif not any("clock" in file.unit for file in unit_files(card)):
        yield Finding(
            check="clock",
            state="warning",
            message=f"{board.title} has no clock, and no unit of the card restores the time.",
            remedy="Render the card again.",
        )


def _line(text: str, value: str) -> int:
    for number, line in enumerate(text.split("\n"), 1):
        if value in line:
            return number
    return 0
