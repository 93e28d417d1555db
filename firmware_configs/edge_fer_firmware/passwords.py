"""Whether a password hash is that of a password that everybody tries first."""

from __future__ import annotations

import ctypes
import ctypes.util
import re
from collections.abc import Callable, Iterable

__all__ = ["CRYPT", "DEFAULTS", "Crypt", "guessed", "is_hash", "weak_scheme"]

Crypt = Callable[[str, str], str | None]

#: What Raspberry Pi OS had until 2022, what our own examples would suggest, and the first that
#: worms try.
DEFAULTS = (
    "raspberry", "pi", "raspberrypi", "password", "passwort", "edge", "edge-fer", "edgefer",
    "kiosk", "admin", "root", "user", "test", "changeme", "secret", "guest", "debian", "qwerty",
    "1234", "12345", "123456", "12345678", "123456789", "0000", "1111", "toor",
)  # fmt: skip

_HASH = re.compile(r"\$(1|2[abxy]?|5|6|7|y|gy|sha1|md5)\$\S+")
_WEAK = {"1": "MD5", "md5": "MD5", "sha1": "SHA-1"}
# crypt(5): more rounds than this take minutes for a list of guesses.
_MOST_ROUNDS = 200_000


def is_hash(text: str) -> bool:
    """Looks like what crypt(5) makes; a plain password does not."""
    return _HASH.fullmatch(text) is not None


def weak_scheme(text: str) -> str:
    """The name of a scheme that is too cheap to guess (crypt(5)); empty: it is none of those."""
    found = _HASH.fullmatch(text)
    return _WEAK.get(found[1], "") if found else ""


def guessed(text: str, crypt: Crypt, *, also: Iterable[str] = ()) -> str | None:
    """The password that this is the hash of, if it is one of the usual; None: it is none of them.

    Args:
        text: a hash.
        crypt: libcrypt's function; :data:`CRYPT`.
        also: names that people use as a password: of the user, of the host.

    Raises:
        ValueError: the library does not know the scheme, or it would take minutes.
    """
    rounds = re.search(r"\$rounds=(\d+)\$", text)
    if rounds and int(rounds[1]) > _MOST_ROUNDS:
        raise ValueError(f"it has {rounds[1]} rounds, which take too long to guess with")
    for word in dict.fromkeys((*also, *DEFAULTS)):
        made = crypt(word, text)
        if made is None or made.startswith("*"):
            raise ValueError("this machine's libcrypt does not know its scheme")
        if made == text:
            return word
    return None


def _libcrypt() -> Crypt | None:
    """crypt(3) of the system's library; None where there is none."""
    name = ctypes.util.find_library("crypt")
    if name is None:
        return None
    try:
        function = ctypes.CDLL(name).crypt
    except (OSError, AttributeError):
        return None
    function.restype = ctypes.c_char_p
    function.argtypes = (ctypes.c_char_p, ctypes.c_char_p)

    def crypt(word: str, setting: str) -> str | None:
        made = function(word.encode(), setting.encode())
        return None if made is None else str(made, "ascii", "replace")

    return crypt


#: None on a machine without libcrypt (macOS, Windows).
CRYPT = _libcrypt()
