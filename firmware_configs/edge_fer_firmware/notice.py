"""The notice to print and put up where the camera is, in every language of ``[deployment]``."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files as resources
from unicodedata import east_asian_width

from edge_fer_firmware.carded import CardFile
from edge_fer_firmware.plan import Plan
from edge_fer_firmware.templating import fill

__all__ = ["LANGUAGES_FALL_BACK_TO", "Part", "files", "parts"]

#: The fixed words of a language that we do not have.
LANGUAGES_FALL_BACK_TO = "en"

# Languages that are written from the right, by ISO 639.
_RIGHT_TO_LEFT = ("ar", "fa", "he", "ur", "ps", "yi", "dv", "ckb", "sd", "ug")
# Points of the notice's own text: as large as one sheet allows, and readable from a step away.
_LARGEST, _SMALLEST = 19.0, 6.5
# Of an A4 sheet within its margins, in square points, what is left for the languages; how much of
# it text fills; and what a letter takes of it, in squares of its size.
_ROOM, _FILLED, _LETTER = 527 * 560, {1: 0.62, 2: 0.54}, 0.55 * 1.38
_FACT = 0.8 * 0.8  # facts are smaller than the notice itself
_GAPS = 120  # letters that the spaces between paragraphs of one language are worth


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The notice in one language.

    Attributes:
        language: a BCP 47 tag, as the settings have it.
        direction: ``ltr`` or ``rtl``.
        text: the user's own.
        words: ours, by name; in English where we have none of this language.
        words_language: of those.
        words_direction: of those.
        facts: sentences on what is measured, kept and passed on.
    """

    language: str
    direction: str
    text: str
    words: dict[str, str]
    words_language: str
    words_direction: str
    facts: tuple[str, ...]


def files(plan: Plan) -> tuple[CardFile, ...]:
    """``notice.html``: one page without anything that it would have to fetch."""
    deployment, found = plan.settings.deployment, parts(plan)
    # Two columns from four languages on: short lines, and no half-empty ones.
    columns = 2 if len(found) > 3 else 1
    page = fill(
        "notice.html.j2",
        parts=found,
        operator=deployment.operator,
        purpose=deployment.purpose,
        size=_size(found, columns),
        columns=columns,
    )
    return (CardFile(path="notice.html", content=page.encode()),)


def parts(plan: Plan) -> tuple[Part, ...]:
    """All languages, the first of the settings first."""
    return tuple(
        _part(language, text, *_kept(plan))
        for language, text in plan.settings.deployment.notice.items()
    )


def _part(language: str, text: str, stored: str, sent: str) -> Part:
    known = _words()
    short = _short(language)
    ours = short if short in known else LANGUAGES_FALL_BACK_TO
    words = known[ours]
    said = (words[key] for key in ("measured", "picture", stored, sent))
    return Part(
        language=language,
        direction=_direction(language),
        text=" ".join(text.split()),
        words=words,
        words_language=ours if ours != short else language,
        words_direction=_direction(ours),
        facts=tuple(sentence for sentence in said if sentence),
    )


def _kept(plan: Plan) -> tuple[str, str]:
    """Which sentences are true of these sinks: what stays here, and what goes elsewhere.

    A page of ``sse://`` shows what is seen now and keeps nothing.
    """
    kinds = {sink.partition(":")[0] for sink in plan.sinks if sink.partition("?")[0] != "jsonl:-"}
    how = "counts" if plan.settings.run.get("aggregate") else "records"
    # Of what is sent, a part waits on this device while the broker is away.
    stored = how if kinds & {"jsonl", "sqlite", "mqtt", "mqtts"} else "nothing"
    sent = how if kinds & {"mqtt", "mqtts"} else "nothing"
    return f"stored_{stored}", f"sent_{sent}"


def _size(found: tuple[Part, ...], columns: int) -> float:
    """Points at which all languages stand on one sheet, as far as that can be told beforehand."""
    letters = sum(
        _width(part.text)
        + 1.3 * _width(part.words["title"])
        + _FACT * sum(map(_width, part.facts))
        + _GAPS
        for part in found
    )
    fitting = float((_ROOM * _FILLED[columns] / _LETTER / max(letters, 1.0)) ** 0.5)
    return round(min(_LARGEST, max(_SMALLEST, fitting)), 1)


def _width(text: str) -> int:
    """In letters; those of Chinese, Japanese and Korean take two."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def _direction(language: str) -> str:
    return "rtl" if _short(language) in _RIGHT_TO_LEFT else "ltr"


def _short(language: str) -> str:
    """Without region and script: ``de`` of ``de-AT``."""
    return re.split("[-_]", language.lower())[0]


@cache
def _words() -> dict[str, dict[str, str]]:
    text = (resources(__package__) / "notice.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)
