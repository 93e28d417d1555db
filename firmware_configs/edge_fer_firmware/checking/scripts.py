"""firstrun.sh and our other scripts: line ends and the first line; and what firstrun sets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from edge_fer_firmware.checking.folder import CardFolder
from edge_fer_firmware.findings import Finding
from edge_fer_firmware.judging import judge_hash, must_accept
from edge_fer_firmware.passwords import CRYPT, Crypt

__all__ = ["check_scripts", "scripts"]

_HASH = re.compile(r"\$(?:1|2[abxy]?|5|6|7|y|gy)\$[A-Za-z0-9./$=,]{8,}")
_SHEBANG = re.compile(r"#!\s*(/usr)?/bin/(env )?(ba|da)?sh\b")


def scripts(card: CardFolder) -> Iterator[tuple[Path, str]]:
    """Every shell script of the card, with its text."""
    for path, text in card.texts():
        if path.suffix == ".sh" or (text.startswith("#!") and _SHEBANG.match(text)):
            yield path, text


def check_scripts(card: CardFolder, crypt: Crypt | None = CRYPT) -> Iterator[Finding]:
    """Look at all scripts; at firstrun.sh as at user-data."""
    for path, text in scripts(card):
        name = card.name(path)
        if "\r" in text:
            yield Finding(
                check="scripts",
                state="problem",
                message="A Windows line end (CRLF): no shell starts such a script.",
                file=name,
                line=text[: text.index("\r")].count("\n") + 1,
                remedy=f"sed -i 's/\\r//' {name}",
            )
        # A library that others source has no first line, and no right to be run.
        if not _SHEBANG.match(text):
            yield Finding(
                check="scripts",
                state="problem",
                message="The first line names no shell.",
                file=name,
                line=1,
                remedy="Make #!/bin/sh its first line.",
            )
    path = card.boot / "firstrun.sh"
    text = card.text(path) or ""
    for number, line in enumerate(text.split("\n"), 1):
        yield from _firstrun(card, line, card.name(path), number, crypt)


def _firstrun(
    card: CardFolder, line: str, name: str, number: int, crypt: Crypt | None
) -> Iterator[Finding]:
    if line.lstrip().startswith("#"):
        return
    for found in _HASH.finditer(line):
        user = card.settings.user.name if card.settings else ""
        host = card.settings.host.name if card.settings else ""
        yield from judge_hash(found[0], (user, host), card.accepted, crypt, file=name, line=number)
    if re.search(r"(?i)\bPasswordAuthentication\s+yes\b", line):
        message = "SSH takes a password."
        yield must_accept(
            "ssh-password", card.accepted, message, check="users", file=name, line=number
        )
    if "NOPASSWD" in line:
        message = "A user becomes root without a password."
        yield must_accept(
            "passwordless-sudo", card.accepted, message, check="users", file=name, line=number
        )
