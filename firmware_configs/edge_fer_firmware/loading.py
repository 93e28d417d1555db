"""Reading the settings of a card; what is wrong is said with file and line."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

from pydantic import BaseModel, ValidationError

from edge_fer.config import Settings, load_settings
from edge_fer.errors import ConfigError
from edge_fer.uri import suggestion
from edge_fer_firmware.facts import board, boards, systems
from edge_fer_firmware.settings import CardSettings

__all__ = ["Loaded", "line_of", "load"]

# What [deployment] and the unit say; a second place would contradict them.
_NOT_IN_RUN = {
    "operator": "Write it in [deployment].",
    "purpose": "Write it in [deployment].",
    "notice": "Write it in [deployment], one text for each language.",
    "status_file": "Leave it out: the unit names a place.",
    "state_file": "Leave it out: the unit names a place.",
}
_CREDENTIALS = ("mqtt-password",)
_TABLE = re.compile(r"\s*\[\[?\s*([^\]]+?)\s*\]")
_KEY = re.compile(r"\s*((?:[\w-]+|\"[^\"]*\"|'[^']*')(?:\s*\.\s*(?:[\w-]+|\"[^\"]*\"))*)\s*=")
_PASSPHRASE, _HEX = re.compile(r"[ -~]{8,63}"), re.compile(r"[0-9a-fA-F]{64}")
_HASH = re.compile(r"\$(5|6|y|gy|2[aby]|7)\$\S{20,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Settings that were read.

    Attributes:
        settings: complete; ``network.wifi.psk`` holds what ``psk_file`` held.
        folder: of the settings file: relative paths start there.
        credentials: name to secret.
    """

    settings: CardSettings
    folder: Path
    credentials: Mapping[str, str] = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """The text that was read, to say where in it something is wrong.

    Attributes:
        path: of the file.
        text: of it.
        elsewhere: keys that the command line said instead.
    """

    path: Path
    text: str
    elsewhere: frozenset[str]

    def wrong(self, keys: tuple[str, ...], message: str, remedy: str) -> ConfigError:
        """The error about a key, with its place."""
        line = 0 if keys and keys[0] in self.elsewhere else line_of(self.text, keys)
        place = f"{self.path}:{line}" if line else str(self.path)
        return ConfigError(f"{place}: {'.'.join(keys)}: {message}", remedy)


def load(path: Path, overrides: Mapping[str, str | None] | None = None) -> Loaded:
    """Read and check a settings file.

    Args:
        path: TOML, as :class:`edge_fer_firmware.settings.CardSettings` describes it.
        overrides: ``board`` and ``system`` of the command line; None: the file's.

    Raises:
        ConfigError: it cannot be read, a key is unknown or a value is wrong; with file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        stated = tomllib.loads(text)
    except OSError as err:
        raise ConfigError(
            f"{path} cannot be read ({err.strerror}).", "Start from examples/kiosk.toml."
        ) from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        found = re.search(r"at line (\d+)", str(err))
        place = f"{path}:{found[1]}" if found else str(path)
        raise ConfigError(f"{place}: this is not TOML: {err}.", "Mend that line.") from err
    given = {key: value for key, value in (overrides or {}).items() if value is not None}

    file = _File(path=path, text=text, elsewhere=frozenset(given))
    try:
        settings = CardSettings(**{**stated, **given})
    except ValidationError as err:
        raise file.wrong(*_explained(err)) from err
    for key, known in (("board", boards()), ("system", systems())):
        name = getattr(settings, key)
        if name not in known:
            raise file.wrong((key,), f"{name!r} is no {key} that we know.", suggestion(name, known))
    _check_run(settings, file)
    psk = _check_network(settings, file)
    _check_account(settings, file)
    zones = available_timezones()  # none where this machine has no tzdata
    if zones and settings.host.time_zone not in zones:
        raise file.wrong(
            ("host", "time_zone"),
            f"{settings.host.time_zone!r} is no time zone.",
            suggestion(settings.host.time_zone, zones),
        )
    credentials = _read_credentials(settings, file)
    if settings.network.wifi is not None:
        wifi = settings.network.wifi.model_copy(update={"psk": psk})
        network = settings.network.model_copy(update={"wifi": wifi})
        settings = settings.model_copy(update={"network": network})
    return Loaded(settings=settings, folder=path.parent, credentials=credentials)


def line_of(text: str, keys: tuple[str, ...]) -> int:
    """The line of a key in a TOML text, or of the nearest table above it, from 1; else 0.

    Args:
        text: valid TOML.
        keys: from the outermost table to the key.
    """
    table: tuple[str, ...] = ()
    best, depth = 0, 0
    for number, line in enumerate(text.splitlines(), 1):
        if header := _TABLE.match(line):
            table = here = _parts(header[1])
        elif key := _KEY.match(line):
            here = table + _parts(key[1])
        else:
            continue
        if len(here) > depth and here == keys[: len(here)]:
            best, depth = number, len(here)
    return best


def _parts(dotted: str) -> tuple[str, ...]:
    return tuple(part.strip().strip("\"'") for part in dotted.split("."))


def _explained(err: ValidationError) -> tuple[tuple[str, ...], str, str]:
    """Where, what, and what mends it, of the first error."""
    # A misspelt key is missing as well: its own line says more.
    found = err.errors()
    first = next((e for e in found if e["type"] == "extra_forbidden"), found[0])
    keys = tuple(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return keys, "this is no setting.", suggestion(keys[-1], _fields(keys[:-1]))
    if first["type"] == "missing":
        return keys, "this must be set.", _described(keys) or "See examples/kiosk.toml."
    message = first["msg"].removeprefix("Value error, ")
    return keys, f"{message}.", _described(keys) or "See examples/kiosk.toml."


def _fields(keys: tuple[str, ...]) -> list[str]:
    """The settings of one table."""
    model: type[BaseModel] = CardSettings
    for key in keys:
        found = model.model_fields[key].annotation if key in model.model_fields else None
        inner = [t for t in (found, *getattr(found, "__args__", ())) if isinstance(t, type)]
        model = next((t for t in inner if issubclass(t, BaseModel)), model)
    return list(model.model_fields)


def _described(keys: tuple[str, ...]) -> str:
    model: Any = CardSettings
    info = None
    for key in keys:
        fields = getattr(model, "model_fields", {})
        if key not in fields:
            break
        info = fields[key]
        model = info.annotation
    return f"{keys[-1]} is: {info.description}." if info is not None and info.description else ""


def _check_run(settings: CardSettings, file: _File) -> None:
    """``[run]`` is what ``edge-fer run`` takes, judged by its own code."""
    for key in settings.run:
        if key in _NOT_IN_RUN:
            raise file.wrong(("run", key), "this is not set here.", _NOT_IN_RUN[key])
        if key not in Settings.model_fields:
            near = suggestion(key, Settings.model_fields)
            raise file.wrong(("run", key), "this is no setting of edge-fer run.", near)
    if "source" not in settings.run:
        raise file.wrong(
            ("run",), "source must be set.", 'The Pi\'s camera is source = "picamera2:0".'
        )
    try:
        load_settings(None, settings.run, usual_files=False)
    except ConfigError as err:
        named = re.match(r"Setting (\w+)", err.message)
        keys = ("run", named[1]) if named else ("run",)
        raise file.wrong(keys, err.message, err.remedy) from err


def _check_network(settings: CardSettings, file: _File) -> str:
    """The key of the wireless network, read where it is in a file."""
    wifi = settings.network.wifi
    if wifi is None:
        return ""
    at = ("network", "wifi")
    if not board(settings.board).wifi:
        raise file.wrong(
            at, f"{board(settings.board).title} has no Wi-Fi.", "Take [network.wifi] out."
        )
    if wifi.psk and wifi.psk_file:
        raise file.wrong((*at, "psk_file"), "psk is set as well.", "Keep one of them.")
    psk = wifi.psk
    if wifi.psk_file:
        psk = _secret(file, wifi.psk_file, (*at, "psk_file"))
    if psk and not (_PASSPHRASE.fullmatch(psk) or _HEX.fullmatch(psk)):
        raise file.wrong(
            (*at, "psk_file" if wifi.psk_file else "psk"),
            "this is neither a passphrase of 8 to 63 characters nor 64 hexadecimal digits.",
            "Look at the router's label, or let wpa_passphrase make the digits.",
        )
    return psk


def _check_account(settings: CardSettings, file: _File) -> None:
    user, network = settings.user, settings.network
    if user.password_hash and not _HASH.fullmatch(user.password_hash):
        raise file.wrong(
            ("user", "password_hash"),
            "this is no hash of a password (a password itself never stands here).",
            "Make one with: openssl passwd -6",
        )
    for number, key in enumerate(user.ssh_keys):
        if not re.match(r"(ssh-|ecdsa-|sk-)\S+ [A-Za-z0-9+/=]{40,}", key) or "\n" in key:
            raise file.wrong(
                ("user", "ssh_keys"),
                f"entry {number + 1} is no public key.",
                "Paste the line of ~/.ssh/id_ed25519.pub.",
            )
    if network.ssh and not user.ssh_keys and not network.ssh_password:
        raise file.wrong(
            ("network", "ssh"),
            "nobody could log in: user.ssh_keys is empty.",
            "Add a public key to user.ssh_keys.",
        )
    if network.ssh_password and not user.password_hash:
        raise file.wrong(
            ("network", "ssh_password"),
            "the user has no password.",
            "Set user.password_hash, or use user.ssh_keys.",
        )


def _read_credentials(settings: CardSettings, file: _File) -> dict[str, str]:
    read = {}
    for name, beside in settings.service.credentials.items():
        at = ("service", "credentials", name)
        if name not in _CREDENTIALS:
            raise file.wrong(at, "nothing asks for it.", suggestion(name, _CREDENTIALS))
        read[name] = _secret(file, beside, at)
    return read


def _secret(file: _File, beside: str, keys: tuple[str, ...]) -> str:
    path = file.path.parent / beside
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as err:
        reason = err.strerror if isinstance(err, OSError) else "it is no UTF-8 text"
        raise file.wrong(keys, f"{path} cannot be read ({reason}).", f"ls -l {path}") from err
    return text.removesuffix("\n").removesuffix("\r")
