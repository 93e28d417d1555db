"""user-data, network-config and meta-data: what cloud-init reads on the first boot."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from edge_fer.uri import suggestion
from edge_fer_firmware.checking.accounts import enables_ssh, judge_root, judge_ssh
from edge_fer_firmware.checking.folder import CardFolder, known
from edge_fer_firmware.checking.yaml_lines import Document, NotYaml, read_yaml
from edge_fer_firmware.findings import Finding, State
from edge_fer_firmware.first_boot.names import INSTALLER
from edge_fer_firmware.judging import judge_hash, must_accept
from edge_fer_firmware.passwords import CRYPT, Crypt

__all__ = ["check_cloud_init"]

_RASPBERRY = {
    "enable_ssh": "cloud-init ignores enable_ssh: SSH would stay as it is.",
    "rpi": "Only Raspberry Pi OS's cloud-init knows rpi:; Debian's refuses the whole file.",
}
# 64 digits, or what the first boot leaves in their place.
_PSK = re.compile(r"[0-9a-fA-F]{64}|taken-away-after-the-first-boot")


def check_cloud_init(card: CardFolder, crypt: Crypt | None = CRYPT) -> Iterator[Finding]:
    """Look at the three files, where they are."""
    documents = {}
    for name in ("user-data", "network-config", "meta-data"):
        text = card.text(card.boot / name)
        if text is None:
            continue
        try:
            documents[name] = read_yaml(text)
        except ImportError:
            yield _finding(
                card, name, 0, "PyYAML is not installed.", "pip install pyyaml", state="skipped"
            )
            return
        except NotYaml as err:
            message = f"This is not YAML: {err.reason}."
            yield _finding(card, name, err.line, message, "Mend that line: indent with spaces.")
            continue
        if name == "user-data" and text.split("\n")[0].rstrip() != "#cloud-config":
            message = "The first line is not #cloud-config: cloud-init ignores the file."
            yield _finding(card, name, 1, message, "Make #cloud-config its first line.")
        for key, line in documents[name].doubled:
            message = f"The key {key!r} stands here a second time; only the last counts."
            yield _finding(card, name, line, message, "Join the two.")
    for name, document in documents.items():
        if document.data is not None and not isinstance(document.data, dict):
            yield _finding(card, name, 1, "There are no keys at its top.", "Write key: value.")
        elif name == "user-data":
            yield from _keys(card, document)
            yield from _users(card, document, crypt)
            yield from _commands(card, document)
        elif name == "network-config":
            yield from _network(card, document)
        else:
            yield from _meta(card, document)
    if "user-data" in documents and "meta-data" not in documents:
        message = "There is no meta-data: NoCloud needs it beside user-data."
        yield _finding(card, "user-data", 0, message, "Render the card again.")


def _keys(card: CardFolder, document: Document) -> Iterator[Finding]:
    lists = known("cloud_config")
    names = [*lists["known"], *lists["later"]]
    for key in document.data or {}:
        line = document.line(key)
        if key in _RASPBERRY:
            remedy = "Take it out, or keep it for Raspberry Pi OS alone."
            if key == "enable_ssh":
                wanted = card.settings is not None and card.settings.network.ssh
                remedy = (
                    "Write under runcmd: - [systemctl, enable, --now, ssh]"
                    if wanted
                    else ("Take it out: the settings say ssh = false.")
                )
            state: State = "problem" if key == "enable_ssh" else "warning"
            yield _finding(card, "user-data", line, _RASPBERRY[key], remedy, state=state)
        elif key not in names:
            message = f"cloud-init has no key {key!r} that we know."
            yield _finding(card, "user-data", line, message, suggestion(str(key), names))


def _commands(card: CardFolder, document: Document) -> Iterator[Finding]:
    """What is run, and who may have the rest of the card."""
    data: dict[str, Any] = document.data or {}
    file = card.name(card.boot / "user-data")
    installs = False
    for key in ("bootcmd", "runcmd"):
        for number, entry in enumerate(_list(data.get(key))):
            command = " ".join(map(str, entry)) if isinstance(entry, list) else str(entry)
            installs = installs or (key == "runcmd" and INSTALLER in command)
            if enables_ssh(command):
                yield from judge_ssh(card, file, document.line(key, number))
    if card.card and not installs:
        line = document.line("runcmd")
        message = f"runcmd does not run {INSTALLER}: nothing is installed."
        yield _finding(card, "user-data", line, message, f"Add: - [sh, {INSTALLER}]")
    mode = _dict(data.get("growpart")).get("mode")
    # YAML 1.1 reads off as false.
    if card.storage == "data-partition" and mode not in ("off", False):
        message = "growpart is not off: the root takes the data partition's place."
        line = document.line("growpart")
        yield _finding(card, "user-data", line, message, 'Write growpart: {mode: "off"}')


def _users(card: CardFolder, document: Document, crypt: Crypt | None) -> Iterator[Finding]:
    data: dict[str, Any] = document.data or {}
    if "password" in data:
        yield _plain(card, document.line("password"), "password")
    chpasswd = _dict(data.get("chpasswd"))
    if "list" in chpasswd:
        yield _plain(card, document.line("chpasswd", "list"), "chpasswd list")
    for number, entry in enumerate(_list(chpasswd.get("users"))):
        if "password" in _dict(entry):
            line = document.line("chpasswd", "users", number, "password")
            yield from _hash(card, line, entry, "password", crypt)
    for number, entry in enumerate(_list(data.get("users"))):
        yield from _user(card, document, ("users", number), _dict(entry), crypt)
    yield from _user(card, document, ("user",), _dict(data.get("user")), crypt)
    if data.get("ssh_pwauth") in (True, "yes", "true"):
        yield must_accept(
            "ssh-password",
            card.accepted,
            "SSH takes a password.",
            check="users",
            file=card.name(card.boot / "user-data"),
            line=document.line("ssh_pwauth"),
        )


def _user(
    card: CardFolder,
    document: Document,
    at: tuple[str | int, ...],
    entry: dict[str, Any],
    crypt: Crypt | None,
) -> Iterator[Finding]:
    if "plain_text_passwd" in entry:
        yield _plain(card, document.line(*at, "plain_text_passwd"), "plain_text_passwd")
    hashes = [key for key in ("passwd", "hashed_passwd") if key in entry]
    for key in hashes:
        yield from _hash(card, document.line(*at, key), entry, key, crypt)
    if "NOPASSWD" in str(entry.get("sudo", "")):
        has_password = bool(hashes) or "plain_text_passwd" in entry
        file, line = card.name(card.boot / "user-data"), document.line(*at, "sudo")
        yield judge_root(card, file, line, has_password=has_password)


def _hash(
    card: CardFolder, line: int, entry: dict[str, Any], key: str, crypt: Crypt | None
) -> list[Finding]:
    hashed = str(entry[key])
    if hashed in ("*", "!", "!!", "x"):
        return []
    names = (str(entry.get("name", "")), card.settings.host.name if card.settings else "")
    file = card.name(card.boot / "user-data")
    return judge_hash(hashed, names, card.accepted, crypt, file=file, line=line)


def _plain(card: CardFolder, line: int, what: str) -> Finding:
    return _finding(
        card,
        "user-data",
        line,
        f"A password in plain text ({what}).",
        "Write passwd: with a hash made by: openssl passwd -6",
        check="secrets",
    )


def _network(card: CardFolder, document: Document) -> Iterator[Finding]:
    data: dict[str, Any] = document.data or {}
    inner = ("network",) if isinstance(data.get("network"), dict) else ()
    config = data["network"] if inner else data
    name = "network-config"
    if config and config.get("version") not in (1, 2):
        message = "There is no version: 2: cloud-init ignores the file."
        yield _finding(card, name, document.line(*inner, "version"), message, "Add version: 2.")
    for radio, given in _dict(config.get("wifis")).items():
        at = (*inner, "wifis", radio)
        settings = _dict(given)
        if "regulatory-domain" not in settings:
            message = f"{radio} has no regulatory-domain: the radio may stay off."
            yield _finding(
                card,
                name,
                document.line(*at),
                message,
                "Add regulatory-domain: DE",
                state="warning",
            )
        for ssid, entry in _dict(settings.get("access-points")).items():
            here = (*at, "access-points", str(ssid))
            point = _dict(entry)
            auth = _dict(point.get("auth"))
            psk = point.get("password", auth.get("password"))
            path = (*here, "password") if "password" in point else (*here, "auth", "password")
            if psk is None or psk == "":
                yield must_accept(
                    "open-wifi", card.accepted, "The wireless network has no passphrase.",
                    check="wifi", file=card.name(card.boot / name), line=document.line(*here),
                )  # fmt: skip
            elif not _PSK.fullmatch(str(psk)):
                yield _finding(
                    card,
                    name,
                    document.line(*path),
                    "The Wi-Fi passphrase stands there in plain text.",
                    "Write the 64 digits that wpa_passphrase SSID prints after psk=.",
                    check="secrets",
                )


def _meta(card: CardFolder, document: Document) -> Iterator[Finding]:
    data: dict[str, Any] = document.data or {}
    # cloud-init reads instance-id; pi-gen's own file writes instance_id.
    if not (data.get("instance-id") or data.get("instance_id")):
        message = "There is no instance-id: a changed user-data would be ignored."
        yield _finding(card, "meta-data", 0, message, "Add instance-id: NAME, new for each card.")


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _finding(
    card: CardFolder,
    name: str,
    line: int,
    message: str,
    remedy: str,
    *,
    state: State = "problem",
    check: str = "cloud-init",
) -> Finding:
    return card.finding(check, card.boot / name, line, message, remedy, state=state)
