"""The least that ``edge-fer.service`` must have, and values that systemd can read.

For machines without ``systemd-analyze``, which sees more. Sources: systemd.exec(5),
systemd.resource-control(5), systemd.time(7), systemd-system.conf(5).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from edge_fer_firmware.checking.folder import CardFolder
from edge_fer_firmware.checking.unit_files import Entry, UnitFile
from edge_fer_firmware.findings import Finding

__all__ = ["check_minimum", "check_values", "is_size", "is_span"]

_SERVICE = "edge-fer.service"
_YES = ("yes", "true", "on", "1", "y", "t")
_ROOT = ("", "root", "0")
_UNITS = (
    "usec|us|µs|μs|msec|ms|seconds|second|sec|s|minutes|minute|min|m|hours|hour|hr|h|days|day|d"
    "|weeks|week|w|months|month|M|years|year|y|nsec|ns"
)
_SPAN = re.compile(rf"(\d+(\.\d+)?\s*({_UNITS})?\s*)+")
_SIZE = re.compile(r"\d+(\.\d+)?\s*[KMGTPE]?|\d+B|\d+(\.\d+)?%")
_WORDS = ("", "infinity", "default", "off")
_SIZES = re.compile(
    r"(Memory|StartupMemory)(Min|Low|High|Max|SwapMax|ZSwapMax)|(System|Runtime)(MaxUse|KeepFree"
    r"|MaxFileSize)|Limit(CORE|DATA|STACK|AS|MEMLOCK|FSIZE|RSS)"
)


def is_span(value: str) -> bool:
    """Whether systemd reads it as a time: ``20``, ``1min 30s``, ``infinity``."""
    return value in _WORDS or _SPAN.fullmatch(value) is not None


def is_size(value: str) -> bool:
    """Whether systemd reads it as a size: ``400M``, ``55%``, ``infinity``."""
    return value in _WORDS[:2] or _SIZE.fullmatch(value) is not None


def check_values(card: CardFolder, file: UnitFile) -> Iterator[Finding]:
    """Times and sizes of one file: what systemd cannot read, it leaves out."""
    for entry in file.entries:
        if entry.key.endswith("Sec") and "%" not in entry.value and not is_span(entry.value):
            message = f"{entry.key}={entry.value} is no time: systemd ignores it."
            yield _finding(card, file, entry.line, message, "Write seconds: 20, or 1min 30s.")
        elif _SIZES.fullmatch(entry.key):
            # A limit may be SOFT:HARD.
            if not all(is_size(part) for part in entry.value.split(":")):
                message = f"{entry.key}={entry.value} is no size: systemd ignores it."
                yield _finding(card, file, entry.line, message, "Write 400M: K, M or G.")
        elif entry.key == "CPUQuota" and not re.fullmatch(r"\d+(\.\d+)?%|", entry.value):
            message = f"CPUQuota={entry.value} is no share: systemd ignores it."
            yield _finding(card, file, entry.line, message, "Write CPUQuota=80%.")


def check_minimum(card: CardFolder, files: Sequence[UnitFile]) -> Iterator[Finding]:
    """What shuts the service in, whoever wrote the unit."""
    own = [file for file in files if file.unit == _SERVICE]
    unit = next((file for file in own if file.path.name == _SERVICE), None)
    if unit is None:
        return
    last: dict[str, tuple[UnitFile, Entry]] = {
        entry.key: (file, entry) for file in own for entry in file.entries
    }
    said = {key: entry.value.strip() for key, (_, entry) in last.items()}
    dynamic = said.get("DynamicUser", "").lower() in _YES
    devices = said.get("DevicePolicy") in ("closed", "strict")
    devices = devices or said.get("PrivateDevices", "").lower() in _YES
    rules = (
        ("User", dynamic or said.get("User", "") not in _ROOT, "it runs as root", "User=edge-fer"),
        (
            "NoNewPrivileges",
            said.get("NoNewPrivileges", "").lower() in _YES,
            "it may get more rights",
            "NoNewPrivileges=yes",
        ),
        (
            "ProtectSystem",
            said.get("ProtectSystem") == "strict",
            "it may write to the system",
            "ProtectSystem=strict",
        ),
        ("DevicePolicy", devices, "every device is open to it", "DevicePolicy=closed"),
        (
            "RestrictAddressFamilies",
            bool(said.get("RestrictAddressFamilies")),
            "every kind of network is open to it",
            "RestrictAddressFamilies=AF_UNIX",
        ),
        (
            "MemoryMax",
            said.get("MemoryMax", "") not in _WORDS,
            "it may take all of the memory",
            "MemoryMax=400M",
        ),
        (
            "WatchdogSec",
            # Type=notify without one is said elsewhere, at its line.
            said.get("Type", "").startswith("notify") or said.get("WatchdogSec", "0") != "0",
            "nobody notices when it hangs",
            "Type=notify and WatchdogSec=20",
        ),
    )
    service = [e.line for e in unit.entries if e.section == "Service"]
    for key, good, what, remedy in rules:
        if not good:
            file, line = unit, service[0] if service else 1
            if key in last:
                file, line = last[key][0], last[key][1].line
            yield _finding(card, file, line, f"Without {remedy} {what}.", f"Write {remedy}.")


def _finding(card: CardFolder, file: UnitFile, line: int, message: str, remedy: str) -> Finding:
    return card.finding("units", file.path, line, message, remedy)
