"""What config.txt comes to: the last word on each of our settings, overlays and kernels."""

from __future__ import annotations

from collections.abc import Iterator

from edge_fer_firmware.boot import config_txt
from edge_fer_firmware.boot.config_txt import Setting
from edge_fer_firmware.checking.folder import CardFolder
from edge_fer_firmware.findings import Finding, State

__all__ = ["check_effect"]

_OVERLAY = "dtoverlay"
# What a boot partition of a Raspberry Pi has beside its kernels.
_FIRMWARE = ("start*.elf", "bootcode.bin", "bcm27*.dtb", "kernel*.img")


def check_effect(card: CardFolder, text: str) -> Iterator[Finding]:
    """Look at the settings in the order in which the firmware reads them."""
    said = list(config_txt.settings(text.replace("\r", "").split("\n")))
    plan = card.plan
    wanted = list(config_txt.settings(config_txt.lines(plan))) if plan is not None else []
    for ours in wanted:
        yield from _last_word(card, ours, said)
    if card.merged:
        yield from _overlays(card, said, [s.text for s in wanted])
        yield from _kernel(card, said)


def _last_word(card: CardFolder, ours: Setting, said: list[Setting]) -> Iterator[Finding]:
    same = [s for s in said if s.key == ours.key and not s.filters]
    if ours.key == _OVERLAY:
        # Each loads another one.
        names = [s.value.partition(",")[0] for s in same]
        if ours.value.partition(",")[0] not in names:
            yield _missing(card, ours)
    elif not same:
        yield _missing(card, ours)
    elif same[-1].value.strip() != ours.value:
        message = f"{same[-1].text} is the last word, and this card needs {ours.text}."
        yield _finding(card, same[-1].line, message, "Take that line out.")
    else:
        # Which filters hold on a board is the firmware's to say.
        for found in said:
            if found.key == ours.key and found.filters and found.value != ours.value:
                message = f"{found.text} under {' '.join(found.filters)}, not {ours.text}."
                remedy = "Take that line out."
                yield _finding(card, found.line, message, remedy, state="warning")


def _missing(card: CardFolder, ours: Setting) -> Finding:
    message = f"This card needs {ours.text}, which is missing."
    return _finding(card, 0, message, "Render the card again.")


def _overlays(card: CardFolder, said: list[Setting], ours: list[str]) -> Iterator[Finding]:
    folder = card.boot / "overlays"
    there = {path.stem for path in folder.glob("*.dtbo")} if folder.is_dir() else set()
    for setting in said:
        name = setting.value.partition(",")[0].strip()
        if there and setting.key == _OVERLAY and name and name not in there:
            # overlay_map.dtb may know an older name of somebody else's.
            yield _finding(
                card,
                setting.line,
                f"There is no overlays/{name}.dtbo.",
                "Use a newer image, or take the line out.",
                state="problem" if setting.text in ours else "warning",
            )


def _kernel(card: CardFolder, said: list[Setting]) -> Iterator[Finding]:
    """The firmware's own choice; a kernel that config.txt names is looked at with its line."""
    real = any(True for pattern in _FIRMWARE for _ in card.boot.glob(pattern))
    if not real or card.board is None or any(s.key == "kernel" for s in said):
        return
    # config_txt/boot.adoc: a Pi 5 without its own kernel takes kernel8.img.
    names = ["kernel8.img", *(["kernel_2712.img"] if card.board.page_kb == 16 else [])]
    if not any((card.boot / name).is_file() for name in names):
        message = f"{card.board.title} would start {' or '.join(names)}, which is not here."
        yield _finding(card, 0, message, "Flash a 64-bit image that is for this board.")


def _finding(
    card: CardFolder, line: int, message: str, remedy: str, *, state: State = "problem"
) -> Finding:
    return card.finding("config.txt", card.config, line, message, remedy, state=state)
