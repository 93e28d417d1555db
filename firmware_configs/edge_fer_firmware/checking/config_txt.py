"""config.txt: sections, keys, and lines that only make sense together.

The format: raspberrypi/documentation, config_txt/what_is_config_txt.adoc and conditional.adoc.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from edge_fer.uri import suggestion
from edge_fer_firmware.boot.config_txt import BEGIN, END
from edge_fer_firmware.checking.config_effect import check_effect
from edge_fer_firmware.checking.folder import CardFolder, known
from edge_fer_firmware.findings import Finding, State

__all__ = ["check_config"]

_VALUED = re.compile(
    r"(EDID|HDMI|gpio\d+|board-type|partition|boot_arg\d+|bootvar\d+|boot_count)[=:<>!&].*|0x[0-9a-fA-F]+"
)
# The kernels of the firmware's own choice: config_txt/boot.adoc.
_32_BIT = ("kernel.img", "kernel7.img", "kernel7l.img")
_KERNELS = (*_32_BIT, "kernel8.img", "kernel_2712.img")
# Read in public threads about M.2 Corals; nobody of ours has tried them.
_CORAL_PCIE = ("dtparam=pciex1", "kernel=kernel8.img", "dtoverlay=pcie-32bit-dma-pi5")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    number: int
    text: str
    section: str  # "[pi5]" or "" for all
    section_line: int
    ours: bool


def check_config(card: CardFolder) -> Iterator[Finding]:
    """Look at the file, and at pairs that the card's board needs."""
    text = card.text(card.config)
    if text is None:
        remedy = "Copy it back from the image." if card.merged else "Render the card again."
        yield _finding(card, 0, "There is no config.txt.", remedy)
        return
    if "\r" in text:
        number = text[: text.index("\r")].count("\n") + 1
        yield _finding(
            card, number, "A Windows line end (CRLF).", f"sed -i 's/\\r//' {card.name(card.config)}"
        )
    lines = list(_lines(text.replace("\r", ""), ours=not card.merged))
    yield from _markers(card, text)
    yield from _sections(card, lines)
    active = [line for line in lines if not line.text.startswith("[")]
    for line in active:
        yield from _key(card, line)
    # Lines that cannot be seen by this board count for nothing.
    said = {_squeezed(line.text): line.number for line in active if not line.section}
    if card.merged or (card.board and card.board.needs):
        yield from _pairs(card, said)
    yield from _kernel(card, active)
    if not card.merged or any(line.ours for line in lines):
        yield from check_effect(card, text)


def _lines(text: str, *, ours: bool) -> Iterator[_Line]:
    section, section_line, inside = "", 0, ours
    for number, raw in enumerate(text.split("\n"), 1):
        line = raw.strip()
        if line in (BEGIN, END):
            inside = line == BEGIN
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            section = "" if line == "[all]" else line
            section_line = number
        yield _Line(
            number=number, text=line, section=section, section_line=section_line, ours=inside
        )


def _markers(card: CardFolder, text: str) -> Iterator[Finding]:
    begin, end = ([row.strip() for row in text.split("\n")].count(mark) for mark in (BEGIN, END))
    if (begin, end) == (0, 0) and card.merged and card.card:
        yield _finding(
            card, 0, "Our lines are not in it.", "Render again with --into this boot partition."
        )
    if (begin, end) not in ((0, 0), (1, 1)):
        mark = BEGIN if begin else END
        number = text[: text.index(mark)].count("\n") + 1
        yield _finding(
            card,
            number,
            f"{begin} times {BEGIN!r} and {end} times {END!r}: our block is not whole.",
            "Take these lines and what is between them out, then render again with --into.",
        )


def _sections(card: CardFolder, lines: list[_Line]) -> Iterator[Finding]:
    filters = known("config_txt")["filters"]
    told = set()
    for line in lines:
        if line.text.startswith("["):
            name = line.text.removeprefix("[").removesuffix("]")
            if not line.text.endswith("]"):
                message = f"The section {line.text} is not closed with ]."
                yield _finding(card, line.number, message, f"Write [{name}]")
            elif name not in filters and not _VALUED.fullmatch(name):
                message = f"The filter [{name}] is none that we know."
                yield _finding(
                    card, line.number, message, suggestion(name, filters), state="warning"
                )
        elif line.ours and line.section and line.section_line not in told:
            told.add(line.section_line)
            message = (
                f"This line of ours is only read by {line.section}, which line "
                f"{line.section_line} opened."
            )
            yield _finding(card, line.number, message, "Put [all] on a line before it.")
    last = lines[-1] if lines else None
    if last and last.section and card.merged:
        yield _finding(
            card,
            last.section_line,
            f"The last section, {last.section}, is still open: what is added goes into it.",
            "Put [all] on a line at the end.",
            state="warning",
        )


def _key(card: CardFolder, line: _Line) -> Iterator[Finding]:
    lists = known("config_txt")
    if len(line.text) > lists["line"]:
        message = f"{len(line.text)} characters: what is after {lists['line']} is not read."
        yield _finding(card, line.number, message, "Split it, for example with dtparam= lines.")
    key, mark, _ = line.text.partition("=")
    if not mark:
        if line.text.split()[0] not in lists["bare"]:
            yield _finding(card, line.number, f"{line.text!r} is no key=value.", "Write key=value.")
        return
    # Port-specific keys: hdmi_mode:1=82.
    name = key.strip().partition(":")[0]
    if name not in lists["known"]:
        remedy = suggestion(name, lists["known"])
        near = remedy.startswith("Did you mean")
        yield _finding(
            card,
            line.number,
            f"config.txt has no key {name!r} that we know.",
            remedy
            if near
            else "Check it in raspberrypi.com/documentation/computers/config_txt.html",
            state="problem" if near and line.ours else "warning",
        )


def _pairs(card: CardFolder, said: dict[str, int]) -> Iterator[Finding]:
    groups = list(card.board.needs) if card.board else []
    # A 32-bit window is for an M.2 Coral: then the whole set belongs together.
    if any(_squeezed(half) in said for half in _CORAL_PCIE[2:]) and _CORAL_PCIE not in groups:
        groups.append(_CORAL_PCIE)
    for group in groups:
        there = [line for line in group if _squeezed(line) in said]
        gone = [line for line in group if _squeezed(line) not in said]
        if gone and (there or (card.board and group in card.board.needs)):
            number = said[_squeezed(there[0])] if there else 0
            half = f"{there[0]} is half of a pair" if there else "The board needs a set of lines"
            yield _finding(
                card,
                number,
                f"{half}: {' and '.join(gone)} missing.",
                f"Add under [all]: {' '.join(gone)}",
            )


def _kernel(card: CardFolder, lines: list[_Line]) -> Iterator[Finding]:
    initramfs = any(
        line.text.startswith("initramfs ") or _squeezed(line.text) == "auto_initramfs=1"
        for line in lines
    )
    board = card.board
    for line in lines:
        key, _, value = _squeezed(line.text).partition("=")
        if key == "arm_64bit" and value == "0":
            message = "arm_64bit=0 starts a 32-bit kernel; edge-fer needs the 64-bit system."
            yield _finding(card, line.number, message, "Write arm_64bit=1.")
        if key != "kernel":
            continue
        if value in _32_BIT:
            message = f"{value} is a 32-bit kernel; edge-fer needs the 64-bit system."
            yield _finding(card, line.number, message, "Take the line out, or kernel8.img.")
        elif value == "kernel_2712.img" and board and board.page_kb == 4 and not board.kernel:
            message = f"{value} is the Pi 5's kernel; {board.title} does not start with it."
            yield _finding(card, line.number, message, "Take the line out, or kernel8.img.")
        elif card.merged and not (card.boot / value.lstrip("/")).is_file():
            message = f"There is no {value} on this boot partition."
            yield _finding(card, line.number, message, "Copy it here, or take the line out.")
        elif value not in _KERNELS and not initramfs:
            message = f"The kernel {value} has no initramfs: its other half."
            yield _finding(
                card,
                line.number,
                message,
                "Add: initramfs FILE followkernel, or auto_initramfs=1.",
                state="warning",
            )


def _squeezed(line: str) -> str:
    key, mark, value = line.partition("=")
    return f"{key.strip()}{mark}{value.strip()}"


def _finding(
    card: CardFolder, line: int, message: str, remedy: str, *, state: State = "problem"
) -> Finding:
    return card.finding("config.txt", card.config, line, message, remedy, state=state)
