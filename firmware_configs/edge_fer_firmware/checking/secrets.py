"""Secrets that were left in a file in plain text, and secret files that everybody may read."""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator
from pathlib import Path

from edge_fer_firmware.carded import ROOT
from edge_fer_firmware.checking.folder import CardFolder
from edge_fer_firmware.findings import Finding
from edge_fer_firmware.plan import CREDENTIALS

__all__ = ["check_secrets"]

_ADDRESS = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s/:@\"']+:[^\s/@\"'$*]+@")
_MARKS = (
    ("a private key", re.compile(r"-----BEGIN ([A-Z]+ )*PRIVATE KEY-----")),
    ("a GitHub token", re.compile(r"\b(gh[pousr]_[A-Za-z0-9]{30,}|github_pat_\w{30,})")),
    ("a GitLab token", re.compile(r"\bglpat-[\w-]{20,}")),
    ("a Slack token", re.compile(r"\bxox[abprs]-[\w-]{10,}")),
    ("an AWS key", re.compile(r"\bAKIA[0-9A-Z]{16}\b")),
    ("a Google key", re.compile(r"\bAIza[\w-]{35}")),
    ("a JSON web token", re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]+")),
    ("a password in an address", _ADDRESS),
)
_NAMED = re.compile(
    r"""(?ix) (?<![\w$-]) [\w-]*?
        (?<!no)  # NOPASSWD: of sudoers(5)
        (password|passwd|passphrase|passwort|psk|token|secret|api[_-]?key)
        ["']? \s* [:=] \s* (?P<value>"[^"]*"|'[^']*'|[^\s,;}\])]+)"""
)
# Not a secret: a hash, 64 digits of a WPA key, a variable, a path, a yes or no, nothing.
_HARMLESS = re.compile(
    r"""(?ix) (\$[0-9a-z]+\$.* | [0-9a-f]{64} | [$/<%{(\[*!|>&].* | -.* | ~.* | x
        | true | false | yes | no | on | off | null | none | \d{1,2} | \\.* | )"""
)
# Their own checks read these structures.
_STRUCTURED = ("user-data", "network-config", "card.json")
# May hold the hash of a password or the key of a wireless network.
_FOR_ONE = ("user-data", "network-config", "firstrun.sh", "config.toml")
_SECRET_FILES = f"{ROOT}{CREDENTIALS}/"
# File systems without permissions: a boot partition is FAT.
_NO_MODES = ("vfat", "msdos", "exfat", "fuseblk", "ntfs", "ntfs3")


def check_secrets(card: CardFolder) -> Iterator[Finding]:
    """Look into all our texts, and at the modes of files that hold a secret."""
    for path, text in card.texts():
        name = card.name(path)
        kept = path.relative_to(card.boot).as_posix().startswith(_SECRET_FILES)
        for number, line in enumerate(text.split("\n"), 1):
            what = "" if kept else _said(line, structured=path.name in _STRUCTURED)
            if what and path.name == "config.toml" and line.startswith("source"):
                yield _camera(name, number)
            elif what:
                yield Finding(
                    check="secrets",
                    state="problem",
                    message=f"There is {what} in plain text.",
                    file=name,
                    line=number,
                    remedy="Put it into a file: [service] credentials = {NAME = FILE}",
                )
        if kept or (path.name in _FOR_ONE and _holds_secret(text)):
            yield from _mode(card, path)


def _said(line: str, *, structured: bool) -> str:
    for what, mark in _MARKS:
        if mark.search(line):
            return what
    if structured or line.lstrip().startswith(("#", "//", ";")):
        return ""
    for found in _NAMED.finditer(line):
        value = found["value"].strip("\"'")
        # Shell and Python read their secrets from somewhere: password=$(cat ...), secret=read(...).
        if not _HARMLESS.fullmatch(value) and "(" not in value and "$" not in value:
            return f"a {found[1].lower()}"
    return ""


def _camera(name: str, line: int) -> Finding:
    # edge-fer run knows no other place for it: the file is for root and the service alone.
    return Finding(
        check="secrets",
        state="warning",
        message="The camera's password stands in its address.",
        file=name,
        line=line,
        remedy="Give the camera an account that may watch and nothing else.",
    )


def _holds_secret(text: str) -> bool:
    marked = re.search(r"\$(5|6|y|gy|2[aby]|7)\$\S{8}|\b[0-9a-fA-F]{64}\b", text)
    return bool(marked or _ADDRESS.search(text))


def _mode(card: CardFolder, path: Path) -> Iterator[Finding]:
    if _file_system(path) in _NO_MODES:
        return
    mode = stat.S_IMODE(path.stat().st_mode)
    if mode & 0o077:
        name = card.name(path)
        yield Finding(
            check="secrets",
            state="problem",
            message=f"It holds a secret, and others may read it (mode {mode:04o}).",
            file=name,
            remedy=f"chmod 600 {name}",
        )


def _file_system(path: Path) -> str:
    """The type of the file system that a path is on; empty where the kernel does not say."""
    try:
        mounts = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    best, kind = "", ""
    resolved = str(path.resolve())
    for line in mounts.splitlines():
        _, place, found, *_ = line.split(" ")
        # proc(5): spaces are written as \040.
        place = place.replace("\\040", " ")
        below = resolved == place or resolved.startswith(place.rstrip("/") + "/")
        if below and len(place) >= len(best):
            best, kind = place, found
    return kind
