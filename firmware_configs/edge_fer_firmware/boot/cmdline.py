"""cmdline.txt: the kernel's parameters, one line of words.

Read by the firmware and handed to the kernel as it is. A word with blanks in it is quoted
(Linux, ``Documentation/admin-guide/kernel-parameters.rst``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from io import StringIO

from edge_fer.errors import ConfigError

__all__ = ["LIMIT", "merge", "parse"]

#: Bytes that an arm64 kernel takes, less the final zero (Linux, COMMAND_LINE_SIZE in
#: arch/arm64/include/uapi/asm/setup.h).
LIMIT = 2047

# Several of one kind are meant to stand side by side.
_REPEATED = frozenset({"console", "earlycon", "video", "module_blacklist", "modprobe.blacklist"})
# Whose value is the image's or the user's own: another one is never written over it.
_THEIRS = frozenset({"root", "rootfstype", "rootflags", "rootwait", "init"})


def parse(text: str, *, name: str = "cmdline.txt") -> tuple[str, ...]:
    """The words of the line.

    Args:
        text: the file; empty lines after the first are no fault.
        name: of the file, for the error.

    Raises:
        ConfigError: it has a second line, is empty, has an open quote or no ``root=``.
    """
    rows = list(StringIO(text, newline="")) or [""]
    for number, row in enumerate(rows[1:], start=2):
        if row.strip():
            raise ConfigError(
                f"{name}:{number}: a second line; the kernel reads only the first.",
                "Join the lines with a blank.",
            )
    if rows[0].count('"') % 2:
        raise ConfigError(f"{name}:1: a quote is not closed.", 'Add the missing ".')
    words = tuple(re.findall(r'(?:[^\s"]|"[^"]*")+', rows[0]))
    if not any(word.startswith("root=") for word in words):
        raise ConfigError(
            f"{name}:1: no root=, so the kernel would not find its system.",
            "Take the file from the image again.",
        )
    return words


def merge(
    existing: str, add: Sequence[str], gone: Iterable[str] = (), *, name: str = "cmdline.txt"
) -> str:
    """One line that has what it had, less ``gone`` and with ``add``; the same when merged again.

    A word whose key is there with another value takes its place: ``systemd.run=`` and ``ds=`` that
    somebody's customisation left are replaced, not doubled.

    Args:
        existing: the file.
        add: words, in this order.
        gone: words to take out; one that ends with ``=`` stands for its key with any value.
        name: of the file, for the error.

    Raises:
        ConfigError: as :func:`parse`; or a word of ours that is none, that would change where the
            system comes from, or that makes the line too long.
    """
    away = set(gone)
    words = [w for w in parse(existing, name=name) if not {w, _key(w) + "="} & away or _root(w)]
    for word in add:
        if not word or not re.fullmatch(r'(?:[^\s"]|"[^"\n]*")+', word):
            raise ConfigError(f"{word!r} is no parameter of a kernel.", 'Quote it: key="a b".')
        words = _with(words, word, name)
    line = " ".join(words)
    if len(line.encode()) > LIMIT:
        raise ConfigError(
            f"{name}:1: {len(line.encode())} bytes; the kernel takes {LIMIT}.",
            "Take out parameters that are not needed.",
        )
    return line + "\n"


def _with(words: list[str], word: str, name: str) -> list[str]:
    key, mark, _ = word.partition("=")
    if word in words:
        return words
    same = [i for i, w in enumerate(words) if mark and _key(w) == key and "=" in w]
    if not same or key in _REPEATED:
        # What follows a lone -- is not the kernel's.
        at = words.index("--") if "--" in words else len(words)
        return [*words[:at], word, *words[at:]]
    if key in _THEIRS:
        raise ConfigError(
            f"{name}:1: {words[same[0]]!r} is there, and this card needs {word!r}.",
            "Use an image that nobody has changed.",
        )
    return [word if i == same[0] else w for i, w in enumerate(words) if i not in same[1:]]


def _key(word: str) -> str:
    return word.partition("=")[0]


def _root(word: str) -> bool:
    """Never taken out, whatever is asked."""
    return word.startswith("root=")
