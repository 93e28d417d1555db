"""Cells of the one table: everybody's burden and accuracy beside ours, as ratios and leads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from peers.vicksam import NAME as ALONE

__all__ = ["NOTHING", "as_ratio", "lead", "notes", "summary"]

NOTHING = "\u2013"
_HEAD = ["", "a frame", "face found, %", "a face", "memory", "model files", "installed"]
_SCHEMES = {"ferplus8": "FER+", "fer2013-7": "FER2013"}


def as_ratio(value: float) -> str:
    """``1/3.49``, or ``1.23`` where ours is more."""
    inverse = f"{1 / value:.3g}"
    return f"1/{inverse}" if value < 1 and inverse != "1" else f"{value:.3g}"


def lead(difference: dict[str, Any] | None) -> str:
    """Percentage points, with their 95 % interval."""
    if difference is None:
        return NOTHING
    low, high = difference["ci95_points"]
    return f"{difference['points']:+.2f} ({low:+.2f} to {high:+.2f})"


def summary(document: dict[str, Any]) -> list[list[str]]:
    """The head and a row for each program and for each classifier without one; ours first."""
    schemes = [table["scheme"] for table in document["tables"]]
    head = [*_HEAD, *(f"{_SCHEMES[scheme]}, % / our lead" for scheme in schemes)]
    cards = {card["name"]: card for card in document["entrants"]}
    programs = document["frames"]["entrants"] if document["frames"] else []
    rows = [_program(document, cards, program) for program in programs]
    own = cards[document["timing"]["reference"]]
    for card in _alone(document, programs):
        file = _of(own["size_bytes"], card["size_bytes"], 1e3, "kB")
        rows.append(
            [
                f"{card['name']}, the classifier alone",
                *[NOTHING] * 2,
                _face(card),
                NOTHING,
                file,
                NOTHING,
                *_accuracy(document, card["name"]),
            ]
        )
    return [head, *rows]


def notes(document: dict[str, Any]) -> list[str]:
    """What to know when reading it."""
    timing, frames = document["timing"], document["frames"]
    judged = " and ".join(
        f"`{table['reference']}` on {_SCHEMES[table['scheme']]}"
        for table in document["tables"]
        if table["reference"]
    )
    words = [
        "Ours over theirs: 1/4 is a quarter of theirs. In **bold**: theirs is ahead, by the "
        "whole interval where there is one.",
        f"A face: `{timing['reference']}` from a face crop to its probabilities, median of "
        f"{timing['rounds']} rounds in turns. % / our lead: in our row the share of the clean rows "
        f"that {judged or 'ours'} names rightly, in the others how many points ours is ahead "
        "there, with 95 % interval; FER+ without contempt for those that do not know it.",
        f"One thread and core. {document['device']}",
    ]
    if frames:
        width, height = frames["size"]
        words.insert(
            1,
            f"A frame: from pixels to named faces, {frames['frames']} frames of a clip with one "
            f"face at {width}x{height}, median and quartiles of {frames['rounds']} rounds in "
            "turns. Memory: the process's peak. Model files: all that it loads. Installed: its "
            "environment without pip and setuptools; the two with TensorFlow share one. A "
            "classifier alone finds no faces.",
        )
    if document["sample"] is not None:
        words.insert(0, "A trial on few rows, no result.")
    return words + [f"Not measured: {one['name']}. {one['reason']}" for one in document["skipped"]]


def _program(
    document: dict[str, Any], cards: dict[str, dict[str, Any]], program: dict[str, Any]
) -> list[str]:
    first = document["frames"]["entrants"][0]
    same = program["classifier"] == first["classifier"]
    card = cards.get(program["classifier"])
    found = f"{100 * program['frames_with_faces']:.0f}"
    if program is first:
        return [
            f"**`{program['name']}`**",
            f"{program['ms']:.2f} ms",
            found,
            NOTHING,
            _size(program["peak_mb"], 1, "MB"),
            _size(program["model_bytes"], 1e3, "kB"),
            _size(program["installed_bytes"], 1e6, "MB"),
            *(
                f"{100 * score['clean']['accuracy']:.2f} %" if score else NOTHING
                for score in _references(document)
            ),
        ]
    over = program["ours_over_theirs"]
    frame = as_ratio(over["median"])
    if over["low"] > 1 and not same:
        frame = f"**{frame}**"
    return [
        f"`{program['name']}`" if same else program["name"],
        f"{frame} ({as_ratio(over['low'])} to {as_ratio(over['high'])})",
        found,
        NOTHING if same or card is None else _face(card),
        _of(first["peak_mb"], program["peak_mb"], 1, "MB", same),
        _of(first["model_bytes"], program["model_bytes"], 1e3, "kB", same),
        _of(first["installed_bytes"], program["installed_bytes"], 1e6, "MB", same),
        *_accuracy(document, program["classifier"]),
    ]


def _alone(document: dict[str, Any], programs: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Peers' classifiers that are no program of the table; vicksam's is published without one."""
    shown = {program["classifier"] for program in programs} - {ALONE}
    for card in document["entrants"]:
        if not card["ours"] and card["name"] not in shown:
            yield card


def _references(document: dict[str, Any]) -> Iterator[dict[str, Any] | None]:
    """Our score in each table, where its clean rows are known."""
    for table in document["tables"]:
        found = [score for score in table["scores"] if score["entrant"] == table["reference"]]
        yield found[0] if found and found[0]["clean"] else None


def _accuracy(document: dict[str, Any], classifier: str) -> Iterator[str]:
    for table in document["tables"]:
        ways = [
            score["difference"]
            for score in table["scores"]
            if score["entrant"] == classifier and score["rows_of_lacking"] != "missed"
        ]
        found = ways[0] if ways else None
        text = lead(found)
        yield f"**{text}**" if found and found["ci95_points"][1] < 0 else text


def _face(card: dict[str, Any]) -> str:
    return _marked(card["time"]["answer"]["median"]) if card["time"] else NOTHING


def _of(ours: float | None, theirs: float | None, unit: float, name: str, own: bool = False) -> str:
    if ours is None or theirs is None:
        return NOTHING
    return f"{_marked(ours / theirs, own)} of {_size(theirs, unit, name)}"


def _marked(value: float, own: bool = False) -> str:
    """Bold where theirs is ahead; our own other way is no rival."""
    text = as_ratio(value)
    return f"**{text}**" if float(f"{value:.3g}") > 1 and not own else text


def _size(value: float | None, unit: float, name: str) -> str:
    return NOTHING if value is None else f"{value / unit:,.0f} {name}"
