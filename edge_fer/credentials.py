"""Secrets: from systemd credentials, a file or the environment, and never in what we show."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from edge_fer.errors import ConfigError

__all__ = ["secret", "without_password"]

_HOST_AND_PORT = re.compile(r"[^:@/?#]*(:[0-9]*)?([/?#]|$)")
# Up to the last @: rather hide too much where a password was not written as %XX.
_ACCOUNT = re.compile(r"([^:@/?#]*):.*@(.*)", re.DOTALL)


def secret(name: str, environ: Mapping[str, str] = os.environ) -> str | None:
    """A secret by its name, or None where nobody gave one.

    Looked for in this order, for ``mqtt-password``:

    1. ``$CREDENTIALS_DIRECTORY/mqtt-password``, which systemd makes from ``LoadCredential=`` or
       ``LoadCredentialEncrypted=`` (systemd.exec(5)); nobody else can read it;
    2. the file named by ``EDGE_FER_MQTT_PASSWORD_FILE``;
    3. ``EDGE_FER_MQTT_PASSWORD`` itself, which other processes of the same user can read.

    One line break at the end of a file is no part of the secret.

    Args:
        name: letters, digits, ``-`` and ``_``.
        environ: the environment.

    Raises:
        ConfigError: the name is none, or the file that holds the secret cannot be read.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ConfigError(f"{name!r} is no name of a credential.", "Use letters, digits, - and _.")
    variable = "EDGE_FER_" + name.upper().replace("-", "_")
    folder, file = environ.get("CREDENTIALS_DIRECTORY"), environ.get(f"{variable}_FILE")
    if folder and (Path(folder) / name).exists():
        return _read(Path(folder) / name, name)
    if file:
        return _read(Path(file), name)
    return environ.get(variable)


def without_password(uri: str) -> str:
    """The address with ``***`` in the place of a password: ``mqtt://user:***@host/topic``."""
    head, mark, tail = uri.partition("://")
    if not mark or _HOST_AND_PORT.match(tail):
        return uri
    found = _ACCOUNT.match(tail)
    return f"{head}://{found[1]}:***@{found[2]}" if found else uri


def _read(path: Path, name: str) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        reason = err.strerror if isinstance(err, OSError) else "it is no UTF-8 text"
        raise ConfigError(
            f"The credential {name} cannot be read from {path}: {reason}.",
            "Check the file, or LoadCredential= in the unit.",
        ) from err
    return text[:-1] if text.endswith("\n") else text
