"""What the service will read: its settings, models and wheels; and what people are told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any, Literal

from edge_fer.config import load_settings
from edge_fer.errors import ConfigError, MissingExtra, ModelError
from edge_fer.models import load, shipped
from edge_fer_firmware.carded import PAYLOAD
from edge_fer_firmware.checking.folder import CARD, CardFolder
from edge_fer_firmware.checking.toml_lines import read_run, sinks_of
from edge_fer_firmware.findings import Finding, State
from edge_fer_firmware.judging import judge
from edge_fer_firmware.loading import line_of
from edge_fer_firmware.plan import CONFIG
from edge_fer_firmware.planning import judge_wheels, load_model
from edge_fer_firmware.settings import CardSettings

__all__ = ["check_application"]

_TASKS: tuple[Literal["model", "detector"], ...] = ("model", "detector")
_TOLD = ("operator", "purpose", "notice")


def check_application(card: CardFolder) -> Iterator[Finding]:
    """Look at config.toml, the models, the wheels and the weak choices."""
    yield from _config(card)
    yield from _choices(card)
    yield from _models(card)
    yield from _wheels(card)


def _config(card: CardFolder) -> Iterator[Finding]:
    path = card.device_file(str(CONFIG))
    name = card.name(path)
    text = card.text(path)
    if text is None:
        # One with a password in it is on the device alone, once that was started.
        if card.card and str(CONFIG) not in card.taken:
            yield _finding("config.toml", name, 0, "It is missing.", "Render the card again.")
        return
    try:
        load_settings(path, usual_files=False)
    except ConfigError as err:
        message = err.message.replace(str(path), "it")
        found = re.search(r"at line (\d+)", message)
        key = re.search(r"^(?:it: |Setting )(\w+)", message)
        line = int(found[1]) if found else line_of(text, (key[1],)) if key else 0
        yield _finding("config.toml", name, line, message, err.remedy or "Mend that line.")


def _choices(card: CardFolder) -> Iterator[Finding]:
    """The settings are judged as the service will see them, not as they were once written."""
    settings = card.settings
    if settings is None:
        return
    run, text = read_run(card)
    name = card.name(card.device_file(str(CONFIG)))
    for found in judge(_as_it_is(settings, run), secrets=False):
        file, line = name, _line(text, found.message)
        if not line or not run:
            file, line = card.name(card.boot / CARD), _line_in_card(card, found)
        yield replace(found, file=file, line=line)
    if run and not card.merged and not (card.top / "notice.html").is_file():
        message = "notice.html, the card for people to read, is missing."
        yield _finding("deployment", "", 0, message, "Render the card again.", state="warning")


def _as_it_is(settings: CardSettings, run: dict[str, Any]) -> CardSettings:
    if not run:
        return settings
    deployment = settings.deployment
    told: dict[str, Any] = {key: str(run.get(key, "")) for key in _TOLD}
    # The device shows the first language alone; the others are on the printed card.
    first = next(iter(deployment.notice), "")
    told["notice"] = {**deployment.notice, first: told["notice"]} if told["notice"] else {}
    return settings.model_copy(
        update={
            "deployment": deployment.model_copy(update=told),
            "run": {**settings.run, "sinks": sinks_of(run)},
        }
    )


def _line(text: str, message: str) -> int:
    """The line of config.toml that a judgement is about: of the sink or the text that it names."""
    quoted = re.search(r"The sink ([^\s?]+)|says '([^']+)'|has no (\w+):", message)
    if quoted is None:
        return 0
    if quoted[3]:
        return line_of(text, (quoted[3],))
    # Addresses are shown without their user and password.
    word = quoted[2] or quoted[1].rpartition("@")[2]
    for number, line in enumerate(text.split("\n"), 1):
        if word in line and not line.startswith("#"):
            return number
    return line_of(text, ("sinks",)) if quoted[1] else 0


def _line_in_card(card: CardFolder, found: Finding) -> int:
    keys = {"accept": "accept", "deployment": "deployment", "users": "ssh_password"}
    key = "area" if found.message.startswith("The area") else keys.get(found.check, found.check)
    key = "model_updates" if found.message.startswith("model_updates") else key
    text = card.text(card.boot / CARD) or ""
    for number, line in enumerate(text.split("\n"), 1):
        if f'"{key}"' in line:
            return number
    return 0


def _models(card: CardFolder) -> Iterator[Finding]:
    folder = card.boot / PAYLOAD / "models"
    run, text = read_run(card)
    used = {PurePosixPath(str(run.get(key, "")).partition("?")[0]).name: key for key in _TASKS}
    for path in sorted(folder.glob("*")) if folder.is_dir() else ():
        name = card.name(path)
        if path.suffix != ".tflite":  # a detector of OpenCV's has no contract
            continue
        key = used.get(path.name) or used.get(path.stem)
        try:
            found = load_model(path, key) if key else load(str(path))
        except ModelError as err:
            message = err.message.replace(str(path), path.name)
            yield _finding("models", name, 0, message, err.remedy or "Convert it again.")
        else:
            yield Finding(
                check="models",
                state="ok",
                message=f"{found.name}: its contract is whole, sha256 {found.sha256[:12]}.",
                file=name,
            )
    file = card.name(card.device_file(str(CONFIG)))
    for key in _TASKS:
        named = str(run.get(key, "")).partition("?")[0]
        line = line_of(text, (key,))
        if named.startswith("/") and not (folder / PurePosixPath(named).name).is_file():
            message = f"{named} is not among the card's models."
            remedy = f"Put it into {card.name(folder)}, or render the card again."
            yield _finding("models", file, line, message, remedy)
        elif key == "model" and named and not named.startswith("/") and named not in shipped():
            there = folder.is_dir() and any(p.name.startswith(named) for p in folder.iterdir())
            if not there:
                message = f"The model {named} comes neither with edge-fer nor with the card."
                yield _finding("models", file, line, message, f"Known: {', '.join(shipped())}.")


def _wheels(card: CardFolder) -> Iterator[Finding]:
    if not card.card:
        return
    folder = card.boot / PAYLOAD / "wheels"
    wheels = sorted(folder.glob("*.whl")) if folder.is_dir() else []
    name = f"{card.name(card.boot)}/{PAYLOAD}/wheels".removeprefix("./")
    remedy = f"edge-fer provision wheels --system {card.card.get('system')} -o wheels"
    if not wheels:
        message = (
            "There are no wheels, and the card has no network: the image must bring edge-fer."
            if card.offline
            else "There are no wheels: the first boot asks a package index."
        )
        yield _finding("wheels", "", 0, message, remedy, state="warning")
        return
    if card.settings is None or card.system is None:
        return
    facts = card.system
    try:
        lacking = judge_wheels(wheels, card.settings, str(card.card.get("version", ""))).missing
    except MissingExtra as err:
        yield _finding("wheels", name, 0, err.message, err.remedy, state="skipped")
        return
    for message in lacking:
        yield _finding("wheels", name, 0, message, remedy)
    if not lacking:
        yield Finding(
            check="wheels",
            state="ok",
            message=f"{len(wheels)} wheels are all that Python {facts.python} needs.",
            file=name,
        )


def _finding(
    check: str, file: str, line: int, message: str, remedy: str, *, state: State = "problem"
) -> Finding:
    return Finding(check=check, state=state, message=message, file=file, line=line, remedy=remedy)
