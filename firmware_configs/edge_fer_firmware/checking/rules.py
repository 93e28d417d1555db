"""udev's rules, read as udev(7) says, for machines whose ``udevadm`` cannot verify them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edge_fer.uri import suggestion
from edge_fer_firmware.checking.folder import CardFolder
from edge_fer_firmware.findings import Finding

__all__ = ["check_rules", "fault"]

_PAIR = re.compile(
    r'\s*(?P<key>[A-Z_]+)(\{[^}"]*\})?\s*(?P<op>==|!=|\+=|-=|:=|=)\s*[ei]*"(?:[^"\\]|\\.)*"\s*'
)
# udev(7): those that are compared, those that are set, and those that are both.
_MATCHED = (
    "ACTION", "DEVPATH", "KERNEL", "KERNELS", "SUBSYSTEM", "SUBSYSTEMS", "DRIVER", "DRIVERS",
    "ATTRS", "CONST", "TAGS", "TEST", "RESULT", "PROGRAM", "IMPORT",
)  # fmt: skip
_SET = ("OWNER", "GROUP", "MODE", "SECLABEL", "RUN", "LABEL", "GOTO", "OPTIONS")
_BOTH = ("NAME", "SYMLINK", "ATTR", "SYSCTL", "ENV", "TAG")
_COMPARES = ("==", "!=")


def check_rules(card: CardFolder) -> Iterator[Finding]:
    """Look at every rule of the payload."""
    for path, text in card.texts():
        if path.suffix != ".rules":
            continue
        for number, rule in _rules(text):
            message, remedy = fault(rule)
            if message:
                yield Finding(
                    check="udev rules",
                    state="problem",
                    message=message,
                    file=card.name(path),
                    line=number,
                    remedy=remedy,
                )


def fault(rule: str) -> tuple[str, str]:
    """What is wrong with one rule, and what mends it; empty: nothing that we see."""
    rest = rule.strip()
    while rest:
        found = _PAIR.match(rest)
        if found is None:
            return f'{rest[:40]!r} is no KEY=="VALUE".', 'Write KEY=="VALUE", with a comma between.'
        key, compares = found["key"], found["op"] in _COMPARES
        if key not in (*_MATCHED, *_SET, *_BOTH):
            return f"udev has no key {key}.", suggestion(key, (*_MATCHED, *_SET, *_BOTH))
        if key in _SET and compares:
            return f"{key} is set, and cannot be compared.", f'Write {key}="...".'
        if key in _MATCHED and not compares and key not in ("PROGRAM", "IMPORT"):
            return f"{key} is compared, and cannot be set.", f'Write {key}=="...".'
        rest = rest[found.end() :]
        if rest and not rest.startswith(","):
            return f"There is no comma before {rest[:40]!r}.", "Put one there."
        rest = rest[1:].strip()
    return "", ""


def _rules(text: str) -> Iterator[tuple[int, str]]:
    """Each rule with the number of its first line; a backslash at the end joins lines."""
    started, joined = 0, ""
    for number, raw in enumerate(text.replace("\r", "").split("\n"), 1):
        if not joined:
            if not raw.strip() or raw.lstrip().startswith("#"):
                continue
            started = number
        if raw.endswith("\\"):
            joined += raw[:-1] + " "
            continue
        yield started, joined + raw
        joined = ""
    if joined:
        yield started, joined
