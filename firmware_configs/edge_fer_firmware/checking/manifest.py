"""card.json: is it there, does it fit the files, and has anybody changed one by hand?"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from edge_fer.uri import suggestion
from edge_fer_firmware.carded import PAYLOAD
from edge_fer_firmware.checking.folder import CARD, CardFolder
from edge_fer_firmware.checking.unit_files import unit_files
from edge_fer_firmware.facts import boards, systems
from edge_fer_firmware.findings import Finding, State

__all__ = ["check_manifest"]

_SCHEMA = "edge-fer/card/1"
_AGAIN = "Render the card again."
# The line of install.sh that the log on the card begins with.
_MADE_FOR = re.compile(r"edge-fer [^\s']+ for ([^'\n]+), storage [a-z-]+")


def check_manifest(card: CardFolder) -> Iterator[Finding]:
    """Look at the card's own description, and at the two mechanisms of a first boot."""
    user_data, script = card.boot / "user-data", card.boot / "firstrun.sh"
    both = user_data.is_file() and script.is_file()
    if both:
        message = "firstrun.sh and user-data in one folder: two first boots fight."
        yield _finding(
            card, "firstrun.sh", 1, message, "Take out the one that is not the system's."
        )
    path = card.boot / CARD
    if not card.card:
        what = "cannot be read" if path.is_file() else "is missing"
        message = f"card.json {what}: board, system and settings are not known."
        # A boot partition may never have been rendered; a rendered folder always has it.
        state: State = "warning" if card.merged and not path.is_file() else "problem"
        yield _finding(card, CARD, 0, message, _AGAIN, state=state)
        return
    if card.card.get("schema") != _SCHEMA:
        message = f"The schema is {card.card.get('schema')!r}, not {_SCHEMA!r}."
        yield _finding(card, CARD, _line(card, "schema"), message, "Use the edge-fer that made it.")
    for key, names in (("board", boards()), ("system", systems())):
        name = card.card.get(key)
        if name not in names:
            message = f"{name!r} is no {key} that we know."
            yield _finding(card, CARD, _line(card, key), message, suggestion(str(name), names))
    yield from _board(card)
    if card.settings is None:
        message = "Its settings cannot be read: weak choices cannot be judged."
        yield _finding(card, CARD, _line(card, "settings"), message, _AGAIN)
    if card.system and not both:
        wanted = "firstrun.sh" if card.system.mechanism == "firstrun" else "user-data"
        other = script if wanted == "user-data" else user_data
        if not _is_there(card, wanted):
            message = f"{card.system.title} is set up by {wanted}, which is missing."
            yield _finding(card, CARD, _line(card, "system"), message, _AGAIN)
        if other.is_file():
            message = f"{card.system.title} does not read {other.name}."
            yield _finding(card, other.name, 1, message, f"Take {other.name} out.")
    yield from _hashes(card)


def _board(card: CardFolder) -> Iterator[Finding]:
    """Nobody hashes card.json itself; what was made from the board tells of an edit."""
    for key in ("board", "system"):
        name, inner = card.card.get(key), card.card.get("settings")
        said = inner.get(key) if isinstance(inner, Mapping) else None
        if said is not None and said != name:
            message = f"The card's {key} is {name}, and its settings say {said}."
            yield _finding(card, CARD, _line(card, key), message, _AGAIN)
    made = _MADE_FOR.search(card.text(card.boot / PAYLOAD / "install.sh") or "")
    if made and card.board and card.system:
        wanted = f"{card.board.title}, {card.system.title}"
        if made[1] != wanted:
            message = f"install.sh was made for {made[1]}, and the card is for {wanted}."
            yield _finding(card, CARD, _line(card, "board"), message, _AGAIN)


def _is_there(card: CardFolder, name: str) -> bool:
    """It is, or was until the first boot: firstrun.sh takes itself away."""
    return (card.boot / name).is_file() or (card.booted and name == "firstrun.sh")


def _hashes(card: CardFolder) -> Iterator[Finding]:
    listed = card.card.get("sha256")
    if not isinstance(listed, Mapping) or not listed:
        yield _finding(card, CARD, 0, "card.json lists no files: edits cannot be seen.", _AGAIN)
        return
    for name, digest in listed.items():
        path = card.boot / str(name)
        line = _line(card, str(name))
        if not path.resolve().is_relative_to(card.boot.resolve()):
            yield _finding(card, CARD, line, f"{name!r} lies outside the folder.", _AGAIN)
        elif not _is_there(card, str(name)):
            message = f"{name} was rendered and is missing."
            yield _finding(card, CARD, line, message, _AGAIN)
        elif path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            message = f"{name} was changed by hand after it was rendered."
            remedy = "Change the settings and render again."
            state: State = "problem" if _runs(card, path) else "warning"
            yield _finding(card, str(name), 0, message, remedy, state=state)


def _runs(card: CardFolder, path: Path) -> bool:
    """What root starts, or what says what root starts."""
    if path.suffix in (".rules", ".sh") or any(unit.path == path for unit in unit_files(card)):
        return True
    with path.open("rb") as stream:
        return stream.read(2) == b"#!"


def _line(card: CardFolder, key: str) -> int:
    text = card.text(card.boot / CARD) or ""
    found = re.search(rf'"{re.escape(key)}"\s*:', text)
    return text[: found.start()].count("\n") + 1 if found else 0


def _finding(
    card: CardFolder, name: str, line: int, message: str, remedy: str, *, state: State = "problem"
) -> Finding:
    return card.finding("card", card.boot / name, line, message, remedy, state=state)
