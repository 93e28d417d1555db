"""cmdline.txt: one line, each parameter once, and the root file system named."""

from __future__ import annotations

from collections.abc import Iterator

from edge_fer_firmware.checking.folder import CardFolder
from edge_fer_firmware.checking.parameters import check_parameters
from edge_fer_firmware.findings import Finding

__all__ = ["check_cmdline"]

# Given twice, the last one wins, or both do: never what was meant. console= may repeat.
_ONCE = ("root", "rootfstype", "init", "ds", "systemd.run", "systemd.unit", "edge-fer.overlay")
# arch/arm64/include/uapi/asm/setup.h: COMMAND_LINE_SIZE.
_LONGEST = 2048


def check_cmdline(card: CardFolder) -> Iterator[Finding]:
    """Look at the parameters.

    A fragment needs no ``root=``: the image's file has it.
    """
    text = card.text(card.cmdline)
    if text is None:
        remedy = (
            "Copy it back from the system's image." if card.merged else "Render the card again."
        )
        yield _problem(card, 0, "There is no cmdline.txt.", remedy)
        return
    lines = text.split("\n")
    for number, line in enumerate(lines, 1):
        if number > 1 and line.strip():
            yield _problem(
                card,
                number,
                "A second line: the kernel reads the first alone.",
                "Join all parameters with spaces into one line.",
            )
    if "\r" in text:
        number = text[: text.index("\r")].count("\n") + 1
        yield _problem(
            card,
            number,
            "A Windows line end (CRLF): it becomes part of the last parameter.",
            f"sed -i 's/\\r//' {card.name(card.cmdline)}",
        )
    words = lines[0].replace("\r", "").split()
    if lines[0].lstrip().startswith("#"):
        yield _problem(card, 1, "cmdline.txt has no comments.", "Take the comment out.")
    if card.merged and not any(word.startswith("root=") for word in words):
        yield _problem(
            card,
            1,
            "There is no root=: the kernel would not find its system.",
            "Copy root=PARTUUID=... back from the system's image.",
        )
    yield from _doubled(card, words)
    if len(lines[0].encode()) >= _LONGEST:
        yield _problem(card, 1, f"The line has {_LONGEST} bytes or more.", "Shorten it.")
    yield from _mechanism(card, words)
    yield from check_parameters(card, words)


def _doubled(card: CardFolder, words: list[str]) -> Iterator[Finding]:
    seen: dict[str, str] = {}
    for word in words:
        key, mark, _ = word.partition("=")
        name = key if mark and key in _ONCE else word
        if name in seen:
            what = word if seen[name] == word else f"{seen[name]} and {word}"
            yield _problem(card, 1, f"Doubled: {what}.", "Leave one of them.")
        seen[name] = word


def _mechanism(card: CardFolder, words: list[str]) -> Iterator[Finding]:
    runs = [w for w in words if w.startswith("systemd.run=")]
    script = (card.boot / "firstrun.sh").is_file()
    if runs and not script:
        yield _problem(
            card,
            1,
            f"{runs[0]} names a script that is not there.",
            "Take systemd.run and what belongs to it out, or render the card again.",
        )
    if script and not any(r.endswith("/firstrun.sh") for r in runs):
        yield _problem(
            card,
            1,
            "firstrun.sh is there, and no systemd.run= starts it.",
            "Render the card again, with --into.",
        )
    if "edge-fer.overlay=off" in words and card.storage != "root":
        yield Finding(
            check="cmdline",
            state="warning",
            message="edge-fer.overlay=off: the system stays writable at every boot.",
            file=card.name(card.cmdline),
            line=1,
            remedy="Take it out before the card goes into the field.",
        )


def _problem(card: CardFolder, line: int, message: str, remedy: str) -> Finding:
    return card.finding("cmdline", card.cmdline, line, message, remedy)
