"""Reading the settings of a card; what is wrong is said with file and line."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any
from zoneinfo import available_timezones

from pydantic import ValidationError

from edge_fer.config import Settings, load_settings
from edge_fer.detectors import check_detector
from edge_fer.errors import ConfigError
from edge_fer.uri import suggestion
from edge_fer_firmware.accounts import taken
from edge_fer_firmware.addresses import check_page, check_sink, check_source
from edge_fer_firmware.facts import board, boards, systems
from edge_fer_firmware.plain_words import explained, fields_of, plain
from edge_fer_firmware.settings import CardSettings
from edge_fer_firmware.settings_file import SettingsFile, line_of, read_secret, read_settings

__all__ = ["Loaded", "keys_of", "line_of", "load"]

# What [deployment] and the unit say; a second place would contradict them.
_NOT_IN_RUN = {
    "operator": "Write it in [deployment].",
    "purpose": "Write it in [deployment].",
    "notice": "Write it in [deployment], one text for each language.",
    "status_file": "Leave it out: the unit names a place.",
    "state_file": "Leave it out: the unit names a place.",
}
_CREDENTIALS = ("mqtt-password",)
_PASSPHRASE, _HEX = re.compile(r"[ -~]{8,63}"), re.compile(r"[0-9a-fA-F]{64}")
_HASH = re.compile(r"\$(5|6|y|gy|2[aby]|7)\$\S{20,}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """Settings that were read.

    Attributes:
        settings: complete; ``network.wifi.psk`` holds what ``psk_file`` held.
        folder: of the settings file: relative paths start there.
        credentials: name to secret.
        file: that they stand in, for errors about them.
    """

    settings: CardSettings
    folder: Path
    credentials: Mapping[str, str] = field(repr=False)
    file: SettingsFile


def load(path: Path, overrides: Mapping[str, str | None] | None = None) -> Loaded:
    """Read and check a settings file.

    Args:
        path: TOML, as :class:`edge_fer_firmware.settings.CardSettings` describes it.
        overrides: ``board`` and ``system`` of the command line; None: the file's.

    Raises:
        ConfigError: it cannot be read, a key is unknown or a value is wrong; with file and line.
    """
    given = {key: value for key, value in (overrides or {}).items() if value is not None}
    file, stated = read_settings(path, given)
    try:
        settings = CardSettings(**{**stated, **given})
    except ValidationError as err:
        raise file.wrong(*explained(err)) from err
    for key, known in (("board", boards()), ("system", systems())):
        name = getattr(settings, key)
        if name not in known:
            raise file.wrong((key,), f"{name!r} is no {key} that we know.", suggestion(name, known))
    settings = settings.model_copy(update={"run": _check_run(settings, file)})
    _checked(check_page, settings.kiosk.url, ("kiosk", "url"), file)
    psk = _check_network(settings, file)
    _check_account(settings, file)
    _check_time_zone(settings, file)
    credentials = _read_credentials(settings, file)
    if settings.network.wifi is not None:
        wifi = settings.network.wifi.model_copy(update={"psk": psk})
        network = settings.network.model_copy(update={"wifi": wifi})
        settings = settings.model_copy(update={"network": network})
    return Loaded(settings=settings, folder=path.parent, credentials=credentials, file=file)


def keys_of(message: str, run: Mapping[str, Any]) -> tuple[str, ...]:
    """The setting that a sentence is about; empty where it names none.

    Args:
        message: names ``[table] key``, or a path or host of an address in ``run``.
        run: the settings' table.
    """
    named = re.search(r"\[(\w+)\](?: (?:has )?(\w+))?", message)
    if named is not None and named[1] in CardSettings.model_fields:
        table, key = named.groups()
        known = Settings.model_fields if table == "run" else fields_of((table,))
        return (table, key) if key in known else (table,)
    paths = re.findall(r"/[^\s'\"]*[^\s'\":.,]", message)
    of = (key for key, value in run.items() if any(path in str(value) for path in paths))
    found = next(of, None)
    return () if found is None else ("run", found)


def _check_run(settings: CardSettings, file: SettingsFile) -> dict[str, Any]:
    """``[run]`` is what ``edge-fer run`` takes, judged by its own code; sinks come as a list."""
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
        read = load_settings(None, settings.run, usual_files=False)
    except ConfigError as err:
        named = re.match(r"Setting ([\w.-]+): (.*)", err.message, re.DOTALL)
        keys = ("run", named[1].partition(".")[0]) if named else ("run",)
        raise file.wrong(keys, plain(named[2] if named else err.message), err.remedy) from err
    _checked(check_source, read.source, ("run", "source"), file)
    run = dict(settings.run)
    if "sinks" in run:
        run["sinks"] = list(read.sinks)
        for sink in read.sinks:
            _checked(check_sink, sink, ("run", "sinks"), file)
    if "detector" in run:
        _checked(check_detector, read.detector, ("run", "detector"), file)
    return run


def _checked(
    check: Callable[[str], object], address: str, keys: tuple[str, ...], file: SettingsFile
) -> None:
    try:
        check(address)
    except ConfigError as err:
        raise file.placed(err, keys) from err


def _check_time_zone(settings: CardSettings, file: SettingsFile) -> None:
    zone, zones = settings.host.time_zone, available_timezones()
    if not zones or zone in zones:  # none where this machine has no tzdata
        return
    near = get_close_matches(zone, zones, n=3, cutoff=0.8)
    remedy = f"Did you mean {' or '.join(near)}?" if near else "Write it as in /usr/share/zoneinfo."
    raise file.wrong(("host", "time_zone"), f"{zone!r} is no time zone.", remedy)


def _check_network(settings: CardSettings, file: SettingsFile) -> str:
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
        psk = read_secret(file, wifi.psk_file, (*at, "psk_file"))
    if psk and not (_PASSPHRASE.fullmatch(psk) or _HEX.fullmatch(psk)):
        raise file.wrong(
            (*at, "psk_file" if wifi.psk_file else "psk"),
            "this is neither a passphrase of 8 to 63 characters nor 64 hexadecimal digits.",
            "Look at the router's label, or let wpa_passphrase make the digits.",
        )
    return psk


def _check_account(settings: CardSettings, file: SettingsFile) -> None:
    user, network = settings.user, settings.network
    if why := taken(user.name):
        raise file.wrong(("user", "name"), f"{user.name!r}: {why}.", 'Write name = "edge".')
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


def _read_credentials(settings: CardSettings, file: SettingsFile) -> dict[str, str]:
    read = {}
    for name, beside in settings.service.credentials.items():
        at = ("service", "credentials", name)
        if name not in _CREDENTIALS:
            raise file.wrong(at, "nothing asks for it.", suggestion(name, _CREDENTIALS))
        read[name] = read_secret(file, beside, at)
    return read
