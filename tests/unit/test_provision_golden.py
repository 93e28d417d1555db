"""The rendered files of every board and system, as they stand in tests/golden/provision.

What most cards share is in ``common``, what most cards of a system have otherwise in a folder of
its name, and what one card has otherwise in BOARD-SYSTEM. After a change that is meant:

    EDGE_FER_UPDATE_GOLDEN=1 python -m pytest tests/unit/test_provision_golden.py
"""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest

from edge_fer_firmware import facts
from edge_fer_firmware.boot.writing import write_folder
from edge_fer_firmware.facts import boards, systems
from edge_fer_firmware.loading import load
from edge_fer_firmware.planning import make_plan
from edge_fer_firmware.rendering import render

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "provision"
# Stands in them for the board's title.
TITLE = "@BOARD@"
CARDS = [(board, system) for board in boards() for system in systems()]
Tree = dict[str, bytes]


def rendered(board: str, system: str, folder: Path) -> Tree:
    settings = load(ROOT / "examples" / "kiosk.toml", {"board": board, "system": system})
    card = render(make_plan(settings))
    write_folder(card, folder, force=False)
    return tree(folder)


def tree(folder: Path) -> Tree:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def named(files: Tree, was: str, now: str) -> Tree:
    """The same files with another text in the place of the board's title."""
    return {path: content.replace(was.encode(), now.encode()) for path, content in files.items()}


def usual(trees: list[Tree]) -> Tree:
    """Of the files that all have, the content that most have."""
    paths = [path for path in trees[0] if all(path in files for files in trees)]
    return {path: Counter(t[path] for t in trees).most_common(1)[0][0] for path in paths}


def parted(cards: Mapping[tuple[str, str], Tree]) -> dict[str, Tree]:
    """Which files go into which folder of the golden ones."""
    plain = {card: named(files, facts.board(card[0]).title, TITLE) for card, files in cards.items()}
    common = usual(list(plain.values()))
    folders = {"common": common}
    for name in systems():
        of = usual([files for (_, system), files in plain.items() if system == name])
        folders[name] = {k: v for k, v in of.items() if common.get(k) != v}
    for (name, system), files in plain.items():
        below = common | folders[system]
        folders[f"{name}-{system}"] = {k: v for k, v in files.items() if below.get(k) != v}
    return folders


@pytest.fixture(scope="module")
def cards(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Tree]:
    folder = tmp_path_factory.mktemp("cards")
    made = {card: rendered(*card, folder / "-".join(card)) for card in CARDS}
    if os.environ.get("EDGE_FER_UPDATE_GOLDEN") == "1":
        shutil.rmtree(GOLDEN, ignore_errors=True)
        for name, files in parted(made).items():
            for path, content in files.items():
                (GOLDEN / name / path).parent.mkdir(parents=True, exist_ok=True)
                (GOLDEN / name / path).write_bytes(content)
    return made


@pytest.mark.parametrize(("board", "system"), CARDS)
def test_a_card_is_what_it_was(board: str, system: str, cards: dict[tuple[str, str], Tree]) -> None:
    expected: Tree = {}
    for name in ("common", system, f"{board}-{system}"):
        expected |= tree(GOLDEN / name)
    expected = named(expected, TITLE, facts.board(board).title)
    made = cards[board, system]
    assert sorted(made) == sorted(expected)
    for path, content in expected.items():
        assert made[path].decode() == content.decode(), path


def test_nothing_lies_around_among_the_golden_files(
    cards: dict[tuple[str, str], Tree],
) -> None:
    kept = {name: set(files) for name, files in parted(cards).items() if files}
    assert {f.name: set(tree(f)) for f in GOLDEN.iterdir()} == kept
