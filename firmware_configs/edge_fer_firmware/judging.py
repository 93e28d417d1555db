"""Weak choices of a card: refused unless the settings say them twice, in ``accept``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import ip_address
from types import MappingProxyType
from urllib.parse import urlsplit

from edge_fer.credentials import without_password
from edge_fer.uri import redacted, suggestion
from edge_fer_firmware.findings import Finding
from edge_fer_firmware.memory import judge_memory
from edge_fer_firmware.passwords import CRYPT, Crypt, guessed, is_hash, weak_scheme
from edge_fer_firmware.settings import CardSettings, Deployment

__all__ = ["WORDS", "is_near", "judge", "judge_hash", "judge_sinks", "must_accept"]

#: A word of ``accept`` and what it allows.
WORDS: Mapping[str, str] = MappingProxyType(
    {
        "default-password": "a password that everybody tries first",
        "ssh-password": "SSH with a password",
        "passwordless-sudo": "root without a password for a user who has one",
        "plain-mqtt": "MQTT without TLS to an address that is not private",
        "open-wifi": "a wireless network without a passphrase",
        "workplace": "a camera that looks at people at work",
        "education": "a camera that looks at people who learn",
    }
)

_ARTICLE = (
    "EU AI Act (Regulation 2024/1689), Article 5(1)(f), prohibits inferring emotions of people at "
    "work and in education, except for medical or safety reasons; ask a lawyer"
)
_AREAS = {
    "workplace": re.compile(
        r"(?i)\b(employ(ee|ees|er|ment)|staff|worker|workers|workforce|colleagues?"
        r"|workplace|call cent(re|er)|productivity|recruit\w*|job interviews?|applicants?"
        r"|mitarbeit\w*|angestellte\w*|beschäftigte\w*|belegschaft|bewerber\w*|arbeitsplatz"
        r"|employés?|salariés?|lieu de travail|empleados?|trabajadores|dipendenti)\b"
    ),
    "education": re.compile(
        r"(?i)\b(pupils?|students?|exams?|examinations?|class ?rooms?|lessons?|lectures?|schools?"
        r"|school ?children|kindergarten|trainees?|schüler\w*|studierende\w*"
        r"|studenten|unterricht|prüfung\w*|schule|klassenzimmer|élèves?|étudiants?"
        r"|examens?|école|alumnos?|estudiantes|escuela|studenti|scuola)\b"
    ),
}
_SINKS = ("run", "sinks")
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_LOCAL_NAMES = (".local", ".lan", ".home", ".internal", ".home.arpa")


def judge(
    settings: CardSettings, *, secrets: bool = True, crypt: Crypt | None = CRYPT
) -> list[Finding]:
    """What ``render`` refuses and ``check`` reports about the settings themselves.

    Args:
        settings: complete.
        secrets: they are in the settings; False where these come from a card, which has them
            elsewhere.
        crypt: to try default passwords with; None: that is said as skipped.

    Returns:
        One finding for each weak choice: a problem, or a warning where it was accepted; and
        warnings about memory. Each names its setting; files and lines are the caller's to say.
    """
    found = [*_unknown_words(settings.accept), *_deployment(settings), *_log_in(settings)]
    if secrets:
        found += [*_secrets(settings, crypt)]
    sinks = tuple(settings.run.get("sinks", ()))
    found += judge_sinks(sinks, settings.accept)
    found += _kept(settings, sinks)
    found += judge_memory(settings)
    return found


def must_accept(
    word: str,
    accepted: tuple[str, ...],
    message: str,
    *,
    check: str,
    file: str = "",
    line: int = 0,
    keys: tuple[str, ...] = (),
) -> Finding:
    """A weak choice: a problem, or a warning where its word stands in ``accept``.

    Args:
        word: of :data:`WORDS`.
        accepted: the settings' list.
        message: one sentence.
        check: as in :class:`Finding`.
        file: as in :class:`Finding`.
        line: as in :class:`Finding`.
        keys: as in :class:`Finding`.
    """
    if word in accepted:
        return Finding(
            check=check,
            state="warning",
            message=f"{message} It was accepted.",
            file=file,
            line=line,
            remedy=f'To refuse it again, take "{word}" out of accept.',
            keys=keys,
        )
    return Finding(
        check=check,
        state="problem",
        message=message,
        file=file,
        line=line,
        remedy=f'Change it, or say it twice: accept = ["{word}"] ({WORDS[word]}).',
        keys=keys,
    )


def judge_sinks(sinks: tuple[str, ...], accepted: tuple[str, ...]) -> list[Finding]:
    """MQTT without TLS to others, passwords in addresses, a page for the whole network."""
    found = []
    for sink in sinks:
        kind, shown = sink.partition(":")[0], redacted(sink)
        host = _host(sink)
        if kind == "mqtt" and host and not is_near(host):
            message = (
                f"The sink {shown} sends in plain text to {host}, which is no private address."
            )
            found.append(must_accept("plain-mqtt", accepted, message, check="sinks", keys=_SINKS))
        if kind == "sse" and host not in _LOOPBACK:
            found.append(
                Finding(
                    check="sinks",
                    state="problem",
                    message=f"The sink {shown} would serve the page to a network.",
                    remedy="Write sse://127.0.0.1:8765",
                    keys=_SINKS,
                )
            )
        if without_password(sink) != sink:
            found.append(
                Finding(
                    check="sinks",
                    state="problem",
                    message=f"The sink {shown} has a password in its address.",
                    remedy='Put it into a file: [service] credentials = {mqtt-password = "FILE"}',
                    keys=_SINKS,
                )
            )
    return found


def is_near(host: str) -> bool:
    """A private, local or loopback address, or a name that only a local network resolves.

    Any other name counts as public: nobody asks a name server here.
    """
    try:
        address = ip_address(host)
    except ValueError:
        return "." not in host or host.endswith(_LOCAL_NAMES)
    return address.is_private or address.is_loopback or address.is_link_local


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or ""
    except ValueError:  # edge_fer's own readers name what is wrong with it
        return ""


def _unknown_words(accept: tuple[str, ...]) -> Iterator[Finding]:
    for word in accept:
        if word not in WORDS:
            yield Finding(
                check="accept",
                state="problem",
                message=f"accept has {word!r}, which is no weak choice that we know.",
                remedy=suggestion(word, WORDS),
                keys=("accept",),
            )


def _deployment(settings: CardSettings) -> Iterator[Finding]:
    deployment = settings.deployment
    notice = any(text.strip() for text in deployment.notice.values())
    missing = {
        "operator": not deployment.operator.strip(),
        "purpose": not deployment.purpose.strip(),
        "notice": not notice,
    }
    for key, gone in missing.items():
        if gone:
            example = '{en = "A camera here ..."}' if key == "notice" else '"..."'
            yield Finding(
                check="deployment",
                state="problem",
                message=f"[deployment] has no {key}: people in front of the camera must be told.",
                remedy=f"Write {key} = {example} under [deployment].",
                keys=("deployment", key),
            )
    for area, words in _AREAS.items():
        text = " ".join((deployment.purpose, *deployment.notice.values()))
        said = words.search(text)
        if said or deployment.area == area:
            why = f"The text says {said[0]!r}" if said else f"The area is {area}"
            at = ("deployment", _said_in(deployment, words) if said else "area")
            message = f"{why}: {_ARTICLE}."
            yield must_accept(area, settings.accept, message, check="deployment", keys=at)


def _said_in(deployment: Deployment, words: re.Pattern[str]) -> str:
    return "purpose" if words.search(deployment.purpose) else "notice"


def _log_in(settings: CardSettings) -> Iterator[Finding]:
    network, user = settings.network, settings.user
    if network.ssh and network.ssh_password:
        yield must_accept(
            "ssh-password",
            settings.accept,
            "SSH takes a password.",
            check="users",
            keys=("network", "ssh_password"),
        )
    elif network.ssh and not user.ssh_keys:
        yield Finding(
            check="users",
            state="problem",
            message="SSH is on, and nobody can log in: there is no key.",
            remedy="Add your public key to [user] ssh_keys, or turn SSH off.",
            keys=("network", "ssh"),
        )


def _secrets(settings: CardSettings, crypt: Crypt | None) -> Iterator[Finding]:
    wifi = settings.network.wifi
    if wifi is not None and not wifi.psk and not wifi.psk_file:
        message = "The wireless network has no passphrase."
        at = ("network", "wifi")
        yield must_accept("open-wifi", settings.accept, message, check="wifi", keys=at)
    if settings.user.password_hash:
        hashed = settings.user.password_hash
        names = (settings.user.name, settings.host.name)
        for found in judge_hash(hashed, names, settings.accept, crypt):
            yield replace(found, keys=("user", "password_hash"))


def judge_hash(
    hashed: str,
    names: tuple[str, ...],
    accepted: tuple[str, ...],
    crypt: Crypt | None,
    *,
    file: str = "",
    line: int = 0,
) -> list[Finding]:
    """A password hash: is it one, and is it that of a password that everybody tries first?

    Args:
        hashed: as in shadow(5).
        names: of the user and the host, tried too.
        accepted: the settings' list.
        crypt: None: said as skipped.
        file: as in :class:`Finding`.
        line: as in :class:`Finding`.
    """
    again = "Make one with: openssl passwd -6"
    if not is_hash(hashed):
        message = "The password stands there in plain text, not as a hash."
    elif scheme := weak_scheme(hashed):
        message = f"The password's hash is {scheme}: guessed in hours."
    else:
        if crypt is None:
            return [_untried("this machine has no libcrypt", file, line)]
        try:
            word = guessed(hashed, crypt, also=names)
        except ValueError as err:
            return [_untried(f"{err}", file, line)]
        if word is None:
            return []
        message = "The password is one of those that everybody tries first."
        return [
            must_accept("default-password", accepted, message, check="users", file=file, line=line)
        ]
    return [
        Finding(check="users", state="problem", message=message, file=file, line=line, remedy=again)
    ]


def _untried(why: str, file: str, line: int) -> Finding:
    return Finding(
        check="users",
        state="skipped",
        message=f"Default passwords were not tried: {why}.",
        file=file,
        line=line,
    )


def _kept(settings: CardSettings, sinks: tuple[str, ...]) -> Iterator[Finding]:
    """Nothing outlives a power cut on an overlay without a data partition."""
    if settings.storage != "overlay":
        return
    remedy = 'Write storage = "data-partition".'
    for sink in sinks:
        kind = sink.partition(":")[0]
        if kind in ("sqlite", "mqtt", "mqtts") or (kind == "jsonl" and sink[6:7] != "-"):
            yield Finding(
                check="storage",
                state="problem",
                message=f"The sink {redacted(sink)} writes to an overlay, which forgets it.",
                remedy=remedy,
                keys=_SINKS,
            )
    if settings.model_updates:
        yield Finding(
            check="storage",
            state="problem",
            message="model_updates on an overlay: a new model is gone after the next start.",
            remedy=remedy,
            keys=("model_updates",),
        )
