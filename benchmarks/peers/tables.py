"""The document as tables: markdown for a README, rich for a terminal, from the same cells.

``summary.py`` makes the cells of the one table that says who is ahead; here are those of the rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from edge_fer.errors import DataError
from peers.summary import NOTHING, as_ratio, lead, notes, summary

__all__ = ["MARKERS", "check_places", "filled_in", "markdown", "places", "render"]

MARKERS = {
    "summary": ("<!-- peers -->", "<!-- /peers -->"),
    "rows": ("<!-- peers-rows -->", "<!-- /peers-rows -->"),
}
_WIDE = 140
_SCHEMES = {
    "ferplus8": "FER+ majority labels, 8 classes",
    "fer2013-7": "FER2013's original labels, 7 classes",
}
_NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight"}


def markdown(document: dict[str, Any], which: str) -> str:
    """The ``summary`` or the tables of the ``rows``, and what to know when reading, unmarked."""
    if which == "summary":
        parts, words = [_markdown(summary(document))], notes(document)
    else:
        parts, words = [], _notes(document)
        for table in document["tables"]:
            parts += [f"**{_title(document, table)}**", _markdown(_cells(document, table))]
    return "\n\n".join([*parts, "\n".join(f"- {note}" for note in words)]) + "\n"


def places() -> str:
    """A new file: markers only."""
    return "\n".join(f"{begin}\n{end}\n" for begin, end in MARKERS.values())


def check_places(text: str) -> None:
    """Whether a text says where tables go.

    Raises:
        DataError: it has no markers, or one without its partner, or twice.
    """
    present = [pair for pair in MARKERS.values() if any(marker in text for marker in pair)]
    ordered = all(text.find(begin) < text.find(end) for begin, end in present)
    if not (present and ordered and all(text.count(m) == 1 for pair in present for m in pair)):
        raise DataError("There is no place for the tables, or it is not clear.", _REMEDY)


def filled_in(text: str, document: dict[str, Any]) -> str:
    """A text with whatever its markers ask for between them.

    Raises:
        DataError: see :func:`check_places`.
    """
    check_places(text)
    for which, (begin, end) in MARKERS.items():
        if begin in text:
            before, _, rest = text.partition(begin)
            after = rest.partition(end)[2]
            text = f"{before}{begin}\n{markdown(document, which)}{end}{after}"
    return text


def render(document: dict[str, Any], console: Console) -> None:
    """Print the same on a terminal; a narrow one gets a paragraph instead of each row."""
    for table in document["tables"]:
        _show(console, _title(document, table), _cells(document, table))
    _say(console, _notes(document))
    _show(console, "Ours over theirs", summary(document))
    _say(console, notes(document))


def _markdown(cells: list[list[str]]) -> str:
    head, *body = cells
    lines = [
        f"| {' | '.join(head)} |".replace("|  |", "| |"),
        "|---|" + "---:|" * (len(head) - 1),
        *(f"| {' | '.join(row)} |" for row in body),
    ]
    return "\n".join(lines)


def _show(console: Console, title: str, cells: list[list[str]]) -> None:
    head, *body = [[_plain(cell) for cell in row] for row in cells]
    styles = ["bold" if row[0].startswith("**") else "" for row in cells[1:]]
    if console.width < _WIDE:
        console.print(f"\n{title}", style="bold")
        for (name, *figures), style in zip(body, styles, strict=True):
            said = (f"{a} {b}" for a, b in zip(head[1:], figures, strict=True) if b != NOTHING)
            console.print(f"{name}: {'; '.join(said)}", style=style)
        return
    shown = Table(
        box=box.SIMPLE_HEAD,
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="dim",
        pad_edge=False,
        padding=(0, 1, 0, 0),
    )
    for i, name in enumerate(head):
        lines = [line for row in body for line in _stacked(row[i]).split("\n")]
        shown.add_column(
            name,
            justify="right" if i else "left",
            overflow="fold",
            min_width=max(map(len, lines)) if i else None,
        )
    for row, style in zip(body, styles, strict=True):
        shown.add_row(row[0], *map(_stacked, row[1:]), style=style)
    console.print(shown)


def _say(console: Console, lines: Sequence[str]) -> None:
    for line in lines:
        console.print(f"\u2022 {_plain(line)}")


def _plain(cell: str) -> str:
    return cell.replace("`", "").replace("**", "")


def _stacked(cell: str) -> str:
    """A figure above what belongs to it, so that the table stays narrow."""
    return cell.replace(" (", "\n(").replace(", ", "\n").replace(" of ", "\nof ")


def _title(document: dict[str, Any], table: dict[str, Any]) -> str:
    clean = "" if table["n_clean"] is None else f", {table['n_clean']:,} of them clean"
    trial = "" if document["sample"] is None else "A trial on few rows, no result. "
    return f"{trial}{_SCHEMES[table['scheme']]}: {table['n']:,} rows of {table['split']}{clean}"


def _cells(document: dict[str, Any], table: dict[str, Any]) -> list[list[str]]:
    cards = {card["name"]: card for card in document["entrants"]}
    head = [
        "model",
        "accuracy, %",
        "clean, %",
        "macro recall, %",
        f"{_count(table['judged'])}-class recall, %",
        "lead, points",
        "time",
        "network",
        "file",
    ]
    return [head, *(_row(score, cards[score["entrant"]]) for score in table["scores"])]


def _row(score: dict[str, Any], card: dict[str, Any]) -> list[str]:
    time = card["time"]
    return [
        _name(score, card),
        _share(score),
        NOTHING if score["clean"] is None else _share(score["clean"]),
        f"{100 * score['macro_recall']:.1f}",
        NOTHING if score["mean_recall"] is None else f"{100 * score['mean_recall']:.1f}",
        lead(score["difference"]),
        *(as_ratio(time[part]["median"]) if time else NOTHING for part in ("answer", "network")),
        f"{card['numbers']}, {card['size_bytes'] / 1e3:.0f} kB",
    ]


def _name(score: dict[str, Any], card: dict[str, Any]) -> str:
    name = f"**`{card['name']}`**" if card["ours"] else card["name"]
    how = {None: "", "missed": "missed", "left_out": f"left out (n {score['n']:,})"}
    way = how[score["rows_of_lacking"]]
    return f"{name}; {', '.join(score['lacks'])} {way}" if way else str(name)


def _share(score: dict[str, Any]) -> str:
    low, high = score["ci95"]
    return f"{100 * score['accuracy']:.2f} ({100 * low:.1f} to {100 * high:.1f})"


def _notes(document: dict[str, Any]) -> list[str]:
    timing, tables = document["timing"], document["tables"]
    leaders = " or ".join(f"`{t['reference']}`" for t in tables if t["reference"])
    columns = " and ".join(f"{_count(t['judged'])}-class" for t in tables)
    words = [
        "In brackets: 95 % intervals. Clean rows are no pixel copy of a Training picture.",
        f"Macro recall is over all classes that have rows, {columns} recall over those with at "
        "least 50.",
        *(
            [f"Lead: how far {leaders} is ahead, paired, on the same clean rows."]
            if leaders
            else []
        ),
        f"Time: `{timing['reference']}`'s over theirs, one thread: from a face crop to its "
        "probabilities as each project's own code goes it; network: without what is around it. "
        f"Median of {timing['rounds']} interleaved rounds. {document['device']}",
    ]
    lacks = sorted({name for t in tables for score in t["scores"] for name in score["lacks"]})
    if lacks:
        words.append(
            f"A model without {', '.join(lacks)} was trained on FER2013's labels. FER+'s are "
            "another scheme, so its figures on them say as much about the labels as about it; "
            f"the rows of {', '.join(lacks)} are counted as missed, and left out."
        )
    return words


def _count(classes: Sequence[str]) -> str:
    return _NUMBERS.get(len(classes), str(len(classes)))


_REMEDY = "Put these lines, once each, where a table shall be: " + "; or ".join(
    f"{begin} and {end}" for begin, end in MARKERS.values()
)
