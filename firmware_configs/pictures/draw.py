"""Draws the README's picture of a card: what was rendered, and what the check says of it.

    python firmware_configs/pictures/draw.py SETTINGS [--wheels DIR]

writes card.svg beside this file.
"""

from __future__ import annotations

import argparse
import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

_EDGE_FER = [sys.executable, "-m", "edge_fer", "provision"]
# The picture asks no network for its font.
_FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def main() -> None:
    """Render, check, draw."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("settings", type=Path)
    reader.add_argument("--wheels", type=Path)
    words = reader.parse_args()
    console = Console(record=True, width=132, file=io.StringIO(), highlight=False)
    with tempfile.TemporaryDirectory() as scratch:
        card = Path(scratch) / "card"
        wheels = ["--wheels", str(words.wheels)] if words.wheels else []
        _run("render", str(words.settings), *wheels, "-o", str(card))
        root = Tree("[bold]$ edge-fer provision render kiosk.toml -o card")
        _grow(root.add("card"), card)
        console.print(root)
        console.print()
        console.print("[bold]$ edge-fer provision check card")
        for line in _run("check", str(card)).replace(str(card), "card").splitlines():
            state = line.partition(" ")[0]
            style = {"ok": "green", "warning": "yellow", "problem": "red"}.get(state, "dim")
            text = Text(line)
            text.stylize(style, 0, len(state) if style != "dim" else len(line))
            console.print(text)
    target = Path(__file__).with_name("card.svg")
    drawn = console.export_svg(title="edge-fer provision", unique_id="card")
    target.write_text(_FONT.sub("", drawn), encoding="utf-8")


def _run(*words: str) -> str:
    return subprocess.run([*_EDGE_FER, *words], capture_output=True, text=True, check=True).stdout


def _grow(tree: Tree, folder: Path) -> None:
    """Folders first by name; a folder with one folder in it is one line."""
    for path in sorted(folder.iterdir(), key=lambda p: (p.is_file(), p.name)):
        name, inner = path.name, path
        while inner.is_dir() and len(found := list(inner.iterdir())) == 1 and found[0].is_dir():
            inner = found[0]
            name += f"/{inner.name}"
        if path.name == "wheels":
            tree.add(f"wheels/ ({len(list(path.iterdir()))} wheels)")
        elif inner.is_dir():
            _grow(tree.add(f"{name}/"), inner)
        else:
            tree.add(Text(name))


if __name__ == "__main__":
    main()
