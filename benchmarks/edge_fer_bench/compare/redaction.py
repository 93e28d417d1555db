"""Taking out of a document what says whose machine it was made on.

By rule, so that it holds for fields that do not exist yet: every text is looked through, and also
the names of fields. In doubt too much is hidden.
"""

from __future__ import annotations

import getpass
import platform
import re
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

__all__ = ["own_names", "redact"]

HIDDEN = "***"
# A field of this name says who or where, whatever stands in it.
_PRIVATE = re.compile(
    r"(host|node|user|login)(_?name)?|home|cwd|executable|argv|environ|e?mail"
    r"|serial(_?number)?|(machine|boot)_id|(mac|ip)(_address)?",
    re.IGNORECASE,
)
# A field of this name holds a file or a folder, also where it is named from the working folder.
_FILE = re.compile(r"(.*_)?(path|file|folder|data|uri|source|reference|groups|detector|model)")
# Words of ours, which a machine may happen to be called too.
_VOCABULARY = ("schema", "kind")
_ADDRESS_OR_PATH = re.compile(
    r"\b(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,20})://(?:.*@)?\S*"
    # An absolute path. Folders may hold blanks, so all up to the last slash goes.
    r"|(?<![\w.)\]%])(?:~\w*[/\\]|[A-Za-z]:[/\\]|\.{1,2}[/\\]|\\\\|/(?=\S))(?:.*[/\\])?",
    re.DOTALL,
)
_RELATIVE = re.compile(
    r"""(?<![^\s"'=,;()])[^\s"'=,;()]*[/\\](?=[^\s/\\]*\.[A-Za-z]\w{0,6}(?:[?\s"',;:)]|$))"""
)
_ACCOUNT = re.compile(r"(?<!\S)\S+@\S+")
_RATE = re.compile(r"\d[\dx.]*@[\d.]+\w*")  # 640x480@30
_SECRET = re.compile(r"(?i)\b(\w{0,40}(?:pass|pwd|token|secret|auth|api_?key)\w{0,40}=)[^\s&]+")
_PLACE = re.compile(
    r"(?i)\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b"  # MAC
    # Private networks; others look like versions: OpenCV 4.10.0.84.
    r"|\b(?:10\.\d+|192\.168|169\.254|172\.(?:1[6-9]|2\d|3[01]))\.\d+\.\d+\b"
    r"|(?<![\w-])[\w-]+\.(?:local|lan|home|internal|intranet)\b"
)
# These tell nobody from anybody, and some are words of our own texts.
_ANYBODY = {"root", "localhost", "raspberrypi", "raspberry", "debian", "ubuntu", "admin", "user"}


def own_names() -> tuple[str, ...]:
    """What this machine and its user are called; without names that thousands have."""
    names = {platform.node(), platform.node().partition(".")[0]}
    with suppress(OSError, KeyError, ImportError):  # a user id without an entry has no name
        names.add(getpass.getuser())
    with suppress(RuntimeError):
        names.add(Path.home().name)
    return tuple(sorted(n for n in names if len(n) > 2 and n.lower() not in _ANYBODY))


def redact(value: Any, names: Iterable[str] = ()) -> Any:
    """A copy of a JSON value without paths, addresses, accounts, secrets and these names.

    Numbers stay as they are. Of a path the last part stays, of an address its scheme; fields that
    are called ``hostname``, ``user``, ``serial`` and the like become null. Applied twice it
    changes nothing more.

    Args:
        value: what :func:`json.loads` returns.
        names: words to hide wherever they stand in a text, in any case.
    """
    words = "|".join(re.escape(n) for n in sorted(names, key=len, reverse=True) if n)
    found = re.compile(rf"(?<!\w)(?:{words})(?!\w)", re.IGNORECASE) if words else None
    return _value(value, "", found)


def _value(value: Any, key: str, names: re.Pattern[str] | None) -> Any:
    if isinstance(value, dict):
        kept: dict[str, Any] = {}
        for name, inner in value.items():
            shown = _text(name)
            while shown in kept:  # two files of one name
                shown += "'"
            kept[shown] = None if _PRIVATE.fullmatch(shown) else _value(inner, shown, names)
        return kept
    if isinstance(value, list | tuple):
        return [_value(inner, key, names) for inner in value]
    if not isinstance(value, str) or key in _VOCABULARY:
        return value
    return _text(value, key, names)


def _text(text: str, key: str = "", names: re.Pattern[str] | None = None) -> str:
    # What one rule leaves may be for another one; none makes a text longer twice.
    while (left := _once(text, key, names)) != text:
        text = left
    return text


def _once(text: str, key: str, names: re.Pattern[str] | None) -> str:
    if "://" not in text:
        text = re.sub(r"(?<=[^\s/\\:])[/\\]+$", "", text)
    text = _ADDRESS_OR_PATH.sub(
        lambda found: f"{found['scheme']}://{HIDDEN}" if found["scheme"] else "", text
    )
    text = _SECRET.sub(rf"\1{HIDDEN}", text)
    text = _ACCOUNT.sub(lambda found: found[0] if _RATE.fullmatch(found[0]) else HIDDEN, text)
    text = _RELATIVE.sub("", _PLACE.sub(HIDDEN, text))
    if _FILE.fullmatch(key) and "://" not in text:
        head, mark, query = text.partition("?")
        text = re.split(r"[/\\]", head)[-1] + mark + query
    return names.sub(HIDDEN, text) if names else text
