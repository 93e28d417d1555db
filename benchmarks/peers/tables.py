"""The document as tables: markdown for a README, rich for a terminal, from the same cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from edge_fer.errors import DataError

__all__ = ["BEGIN", "END", "inserted", "markdown", "render"]

BEGIN, END = "<!-- peers -->", "<!-- /peers -->"
_NOTHING = "\u2013"
_NARROWEST, _WIDE = 96, 132
_SPARED = ("clean, %", "network")
_SCHEMES = {
    "ferplus8": "FER+ majority labels, 8 classes",
    "fer2013-7": "FER2013's original labels, 7 classes",
}
_NUMBERS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six", 7: "seven", 8: "eight"}


def markdown(document: dict[str, Any]) -> str:
    """All tables and what to know when reading them, without the markers."""
    parts = []
    for table in document["tables"]:
        head, *body = _cells(document, table)
        lines = [
            "| " + " | ".join(head) + " |",
            "|---|" + "---:|" * (len(head) - 1),
            *("| " + " | ".join(cells) + " |" for cells in body),
        ]
        parts += [f"**{_title(document, table)}**", "\n".join(lines)]
    notes = _notes(document)
    parts.append("\n".join(f"- {note}" for note in notes))
    return "\n\n".join(parts) + "\n"


def inserted(text: str, table: str) -> str:
    """A README with the table between its markers.

    Raises:
        DataError: the markers are not there, once each and in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end) or BEGIN in rest or END in after:
        raise DataError(
            f"There is no place for the table: {BEGIN} and then {END}, once each.",
            "Put these two lines where the table shall be.",
        )
    return f"{before}{BEGIN}\n{table}{END}{after}"


def render(document: dict[str, Any], console: Console) -> None:
    """Print the same on a terminal; a narrow one gets fewer columns, --json has them all."""
    console.width = max(console.width, _NARROWEST)
    narrow = console.width < _WIDE
    for table in document["tables"]:
        head, *body = _cells(document, table)
        shown = Table(
            box=box.SIMPLE_HEAD,
            title=_title(document, table),
            title_justify="left",
            title_style="bold",
            header_style="dim",
            pad_edge=False,
            padding=(0, 1, 0, 0),
        )
        kept = [i for i, name in enumerate(head) if not (narrow and name in _SPARED)]
        for i in kept:
            lines = [line for cells in body for line in _stacked(cells[i]).split("\n")]
            shown.add_column(
                _plain(head[i]),
                justify="right" if i else "left",
                overflow="fold",
                min_width=max(map(len, lines)) if i else None,
            )
        for cells in body:
            ours = cells[0].startswith("**")
            texts = [_stacked(cells[i]) if i else _plain(cells[i]) for i in kept]
            shown.add_row(*texts, style="bold" if ours else "")
        console.print(shown)
    for note in _notes(document):
        console.print(f"\u2022 {_plain(note)}")


def _plain(cell: str) -> str:
    return cell.replace("`", "").replace("**", "")


def _stacked(cell: str) -> str:
    """A figure above what belongs to it, so that the table stays narrow."""
    return cell.replace(" (", "\n(").replace(", ", "\n")


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
        _NOTHING if score["clean"] is None else _share(score["clean"]),
        f"{100 * score['macro_recall']:.1f}",
        _NOTHING if score["mean_recall"] is None else f"{100 * score['mean_recall']:.1f}",
        _lead(score["difference"]),
        f"{time['answer']['median']:.2f}",
        f"{time['network']['median']:.2f}",
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


def _lead(difference: dict[str, Any] | None) -> str:
    if difference is None:
        return _NOTHING
    low, high = difference["ci95_points"]
    return f"{difference['points']:+.2f} ({low:+.2f} to {high:+.2f})"


def _notes(document: dict[str, Any]) -> list[str]:
    timing, tables = document["timing"], document["tables"]
    leaders = " or ".join(f"`{t['reference']}`" for t in tables if t["reference"])
    columns = " and ".join(f"{_count(t['judged'])}-class" for t in tables)
    notes = [
        "In brackets: 95 % intervals. Clean rows are no pixel copy of a Training picture.",
        f"Macro recall is over all classes that have rows, {columns} recall over those with at "
        "least 50.",
        *(
            [f"Lead: how far {leaders} is ahead, paired, on the same clean rows."]
            if leaders
            else []
        ),
        f"Time, as a multiple of `{timing['reference']}`'s, one thread: from a face crop to its "
        "probabilities as each project's own code goes it; network: without what is around it. "
        f"Median of {timing['rounds']} interleaved rounds. {document['device']}",
    ]
    lacks = sorted({name for t in tables for score in t["scores"] for name in score["lacks"]})
    if lacks:
        notes.append(
            f"A model without {', '.join(lacks)} was trained on FER2013's labels. FER+'s are "
            "another scheme, so its figures on them say as much about the labels as about it; "
            f"the rows of {', '.join(lacks)} are counted as missed, and left out."
        )
    notes += [f"Not measured: {one['name']}. {one['reason']}" for one in document["skipped"]]
    return notes


def _count(classes: Sequence[str]) -> str:
    return _NUMBERS.get(len(classes), str(len(classes)))
