"""firstrun.sh and our other scripts: line ends and the first line; and what firstrun sets."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from edge_fer_firmware.carded import PAYLOAD
from edge_fer_firmware.checking.accounts import enables_ssh, judge_root, judge_ssh
from edge_fer_firmware.checking.folder import CardFolder
from edge_fer_firmware.findings import Finding
from edge_fer_firmware.judging import judge_hash, must_accept
from edge_fer_firmware.passwords import CRYPT, Crypt

__all__ = ["check_scripts", "scripts"]

_HASH = re.compile(r"\$(?:1|2[abxy]?|5|6|7|y|gy)\$[A-Za-z0-9./$=,]{8,}")
_INSTALLS = re.compile(rf"\bsh\b.*/{PAYLOAD}/install\.sh\b")
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
    first = card.text(path)
    if first is None:
        return
    lines = first.split("\n")
    if not any(_INSTALLS.search(line) for line in lines if not line.lstrip().startswith("#")):
        yield Finding(
            check="scripts",
            state="problem",
            message=f"It does not run {PAYLOAD}/install.sh: nothing is installed.",
            file=card.name(path),
            remedy="Render the card again.",
        )
    has_password = _HASH.search(first) is not None
    for number, line in enumerate(lines, 1):
        if not line.lstrip().startswith("#"):
            yield from _firstrun(card, line, number, crypt, has_password=has_password)


def _firstrun(
    card: CardFolder, line: str, number: int, crypt: Crypt | None, *, has_password: bool
) -> Iterator[Finding]:
    name = card.name(card.boot / "firstrun.sh")
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
        yield judge_root(card, name, number, has_password=has_password)
    if enables_ssh(line):
        yield from judge_ssh(card, name, number)
