"""Taking out of a document what says whose machine it was made on.

By rule, so that it holds for fields that do not exist yet: every text is looked through, and also
the names of fields. In doubt too much is hidden.

Where a path with blanks begins cannot be told from a sentence around it. So the folders and servers
that stand in fields of their own, and in the arguments of the command, are looked for by name.
"""

from __future__ import annotations

import getpass
import platform
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

__all__ = ["own_arguments", "own_names", "redact"]

HIDDEN = "***"
# A field of this name says who or where, whatever stands in it.
_PRIVATE = re.compile(
    r"(host|node|user|login)(_?name)?|home|cwd|executable|argv|environ|e?mail"
    r"|serial(_?number)?|(machine|boot)_id|(mac|ip)(_address)?",
    re.IGNORECASE,
)
# A field of this name holds a file or a folder, also where it is named from the working folder.
# Not mhz_source, a sentence on where a frequency is read.
_FILE = re.compile(
    r"(?!mhz_)(.*_)?(path|file|folder|data|uri|source|reference|groups|detector|model|sink|image|video"
    r"|cascade|baseline|report)s?"
)
# A field that is called like a file: results by file.
_FILE_AS_KEY = re.compile(r"[/\\][^/\\]*\.[A-Za-z]\w{0,6}$")
_OPTION = re.compile(r"[?&](?=[\w-]+=)")
_SINK = re.compile(r"(?:jsonl|sqlite):(?=.)")
_SEPARATORS = re.compile(r"[/\\]+")
# Words of ours, which a machine may happen to be called too.
_VOCABULARY = ("schema", "kind")
_ADDRESS_OR_PATH = re.compile(
    # An address. Paths and passwords may hold blanks, so all up to the last of these goes.
    r"\b(?P<scheme>[A-Za-z][A-Za-z0-9+.-]{0,20})://(?:.*[@/\\])?\S*"
    # An absolute path. Folders may hold blanks, so all up to the last slash goes.
    r"|(?<![\w.)\]%])(?:~\w*[/\\]|[A-Za-z]:[/\\]|\.{1,2}[/\\]|\\\\|/(?=\S))(?:.*[/\\])?",
    re.DOTALL,
)
# Also up to four words before it that are capital or not English: names of people have blanks.
_RELATIVE = re.compile(
    r"""(?<![^\s"'=,;()])(?:(?=[^\s"'=,;:()]*[^\x00-@\[-\x7f])[^\s"'=,;:()]+[ ]){0,4}"""
    r"""[^\s"'=,;()]*[/\\](?=[^\s/\\]*\.[A-Za-z]\w{0,6}(?:[?\s"',;:)]|$))"""
)
_ACCOUNT = re.compile(r"(?<!\S)\S+@\S+")
_RATE = re.compile(r"\d[\dx.]*@[\d.]+\w*")  # 640x480@30
_SECRET = re.compile(r"(?i)\b(\w{0,40}(?:pass|pwd|token|secret|auth|api_?key)\w{0,40}=)[^\s&]+")
_PLACE = re.compile(
    r"(?i)\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b"  # MAC
    # Private networks, with a port, or from 20 on; others look like versions: OpenCV 4.10.0.84.
    r"|\b(?:10\.\d+|192\.168|169\.254|172\.(?:1[6-9]|2\d|3[01]))\.\d+\.\d+\b"
    r"|(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}:\d+"
    r"|(?<![\w.])(?:[2-9]\d|1\d\d|2[0-5]\d)(?:\.\d{1,3}){3}(?!\w|\.\d)"
    r"|(?<![\w-])[\w-]+\.(?:local|lan|home|internal|intranet)\b"
    r"|(?<![\w.-])(?:[\w-]+\.)+(?:com|net|org|edu|gov|mil)(?![\w-]|\.\w)"
)
_PERHAPS_IPV6 = re.compile(
    r"(?<![\w:])(?=[0-9A-Fa-f.]{0,45}:[0-9A-Fa-f.]{0,45}:)[0-9A-Fa-f:.]{3,45}(?:%[\w-]{1,20})?"
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


def own_arguments() -> tuple[str, ...]:
    """What the command was called with, by which its texts may go."""
    return tuple(sys.argv[1:])


def redact(value: Any, names: Iterable[str] = (), arguments: Iterable[str] = ()) -> Any:
    """A copy of a JSON value without paths, addresses, accounts, secrets and these names.

    Numbers stay as they are. Of a path the last part stays, of an address its scheme; fields that
    are called ``hostname``, ``user``, ``serial`` and the like become null. Applied twice it
    changes nothing more.

    Args:
        value: what :func:`json.loads` returns.
        names: words to hide wherever they stand in a text, in any case.
        arguments: more texts like those of fields that hold a file: their folders and servers are
            hidden as well, wherever they stand.
    """
    known = _Known.of([*_files_in(value, ""), *arguments], names)
    return _value(value, "", known)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What is to be hidden by name: folders before a file, and words."""

    folders: re.Pattern[str] | None = None
    words: re.Pattern[str] | None = None

    @classmethod
    def of(cls, texts: Iterable[str], names: Iterable[str]) -> _Known:
        folders: set[str] = set()
        words = {re.escape(name) for name in names if name}
        for text in texts:
            words |= {re.escape(word) for word in _server(text)}
            for parts in _folders(text):
                for end in range(1, len(parts) + 1):
                    folders.add(r"[/\\]+".join(map(re.escape, parts[:end])))
                # A plain word is also one of ours: models, data.
                odd = (part for part in parts if " " in part or not part.isascii())
                words |= {re.escape(part) for part in odd}
        # A folder that is named without a file in it.
        words |= {folder for folder in folders if r"[/\\]+" in folder}
        return cls(
            folders=_any_of(folders, r"(?<!\w)(?:{})[/\\]+"),
            words=_any_of(words, r"(?<!\w)(?:{})(?!\w)"),
        )

    def hidden(self, text: str) -> str:
        """A text without them."""
        if self.folders is not None:
            text = self.folders.sub("", text)
        return text if self.words is None else self.words.sub(HIDDEN, text)


def _any_of(patterns: set[str], around: str) -> re.Pattern[str] | None:
    if not patterns:
        return None
    longest_first = sorted(patterns, key=lambda one: (-len(one), one))
    return re.compile(around.format("|".join(longest_first)), re.IGNORECASE)


def _files_in(value: Any, key: str) -> Iterator[str]:
    """Texts of fields that hold a file, and names of fields that are one."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if _FILE_AS_KEY.search(name):
                yield name
            yield from _files_in(inner, _key(name, _Known()))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _files_in(inner, key)
    elif isinstance(value, str) and _FILE.fullmatch(key):
        yield value


def _folders(text: str) -> Iterator[list[str]]:
    """The parts of each folder in a text: of a file, of options, of a list with commas."""
    if "://" in text:
        return
    for option in _OPTION.split(text):
        path = _SINK.sub("", re.sub(r"^-*[\w-]+=", "", option))
        for one in {path, *path.split(",")}:
            parts = [part for part in _SEPARATORS.split(one) if part.strip(". ~")]
            if _SEPARATORS.search(one) and len(parts) > 1:
                yield parts[:-1]


def _server(text: str) -> Iterator[str]:
    """Host, user and password of an address."""
    rest = text.partition("://")[2]
    account, _, place = re.split(r"[/?#]", rest, maxsplit=1)[0].rpartition("@")
    host = re.sub(r":\d+$", "", place).strip("[]")
    for word in (host, *account.split(":")):
        if len(word) > 2 and word.lower() not in _ANYBODY and word.strip("*"):
            yield word


def _value(value: Any, key: str, known: _Known) -> Any:
    if isinstance(value, dict):
        kept: dict[str, Any] = {}
        for name, inner in value.items():
            shown = _key(name, known)
            while shown in kept:  # two files of one name
                shown += "'"
            kept[shown] = None if _PRIVATE.fullmatch(shown) else _value(inner, shown, known)
        return kept
    if isinstance(value, list | tuple):
        return [_value(inner, key, known) for inner in value]
    if not isinstance(value, str) or key in _VOCABULARY:
        return value
    return _text(value, bool(_FILE.fullmatch(key)), known)


def _key(name: str, known: _Known) -> str:
    # Names of fields are no names of people, however a person is called.
    known = _Known(folders=known.folders)
    return _text(name, bool(_FILE_AS_KEY.search(name)), known)


def _text(text: str, is_file: bool, known: _Known) -> str:
    # What one rule leaves may be for another one; none makes a text longer twice.
    while (left := _once(text, is_file, known)) != text:
        text = left
    return text


def _once(text: str, is_file: bool, known: _Known) -> str:
    # Before all else: what is left of a folder with blanks is no path any more.
    text = known.hidden(_last_part(text) if is_file else text)
    if "://" not in text:
        text = re.sub(r"(?<=[^\s/\\:])[/\\]+$", "", text)
    text = _ADDRESS_OR_PATH.sub(
        lambda found: f"{found['scheme']}://{HIDDEN}" if found["scheme"] else "", text
    )
    text = _SECRET.sub(rf"\1{HIDDEN}", text)
    text = _ACCOUNT.sub(lambda found: found[0] if _RATE.fullmatch(found[0]) else HIDDEN, text)
    text = _PERHAPS_IPV6.sub(_without_ipv6, _PLACE.sub(HIDDEN, text))
    return _RELATIVE.sub("", text)


def _last_part(text: str) -> str:
    """Of a file its name, of its options and of a sink likewise; of an address its scheme."""
    before, mark, _ = text.partition("://")
    if mark:
        scheme = re.search(r"[A-Za-z][A-Za-z0-9+.-]{0,20}$", before)
        return f"{scheme[0]}://{HIDDEN}" if scheme else HIDDEN
    head, *options = re.split(r"([?&][\w-]+=)", text)
    sink = _SINK.match(head)
    shown = sink[0] if sink else ""
    values = (head[len(shown) :], *options)
    return shown + "".join(
        one if i % 2 else _SEPARATORS.split(one.rstrip("/\\"))[-1] for i, one in enumerate(values)
    )


def _without_ipv6(found: re.Match[str]) -> str:
    for end in ("", ".", ".:"):
        address = found[0].rstrip(end) if end else found[0]
        with suppress(ValueError):
            ip_address(address)
            return HIDDEN + found[0][len(address) :]
    return found[0]
