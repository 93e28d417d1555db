"""What this card's cmdline.txt has to say, and what must not stay in it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edge_fer.uri import suggestion
from edge_fer_firmware import first_boot, units
from edge_fer_firmware.checking.folder import CardFolder
from edge_fer_firmware.findings import Finding, State
from edge_fer_firmware.first_boot.storage import FINAL, OFF, OVERLAY

__all__ = ["check_parameters"]

# Of Raspberry Pi OS's images, of Raspberry Pi Imager, of common guides, and ours; not all that a
# kernel knows (Linux, Documentation/admin-guide/kernel-parameters.rst).
_WELL_KNOWN = (
    "root", "rootfstype", "rootwait", "rootflags", "rootdelay", "console", "consoleblank", "init",
    "fsck.repair", "fsck.mode", "quiet", "splash", "resize", "ro", "rw", "loglevel", "net.ifnames",
    "plymouth.ignore-serial-consoles", "vt.global_cursor_default", "logo.nologo", "ds", "panic",
    "cloud-init", "network-config", "cfg80211.ieee80211_regdom", "cgroup_enable", "cgroup_disable",
    "cgroup_memory", "systemd.run", "systemd.run_success_action", "systemd.run_failure_action",
    "systemd.unit", "systemd.mask", "edge-fer.overlay", "video", "ip", "nfsroot", "isolcpus",
    "modules-load", "elevator", "psi", "boot", "overlayroot", "earlycon", "maxcpus",
    "coherent_pool",
)  # fmt: skip
# Without a data partition the image's own may grow the root.
_INITS = (
    "=/sbin/init", "=/usr/sbin/init", "=/lib/systemd/systemd", "=/usr/lib/systemd/systemd",
    "=/usr/lib/raspberrypi-sys-mods/firstboot", "=/usr/lib/raspi-config/init_resize.sh",
)  # fmt: skip
# As FINAL, they are looked at elsewhere, with what belongs to them.
_ELSEWHERE = ("systemd.run=", OFF)


def check_parameters(card: CardFolder, words: Sequence[str]) -> Iterator[Finding]:
    """Look at the words of the line: misspelt, missing, and such as the card cannot stand."""
    for word in words:
        key = word.partition("=")[0]
        # A module's parameter can have any name, and so can what is near to nothing.
        remedy = suggestion(key, _WELL_KNOWN)
        if key not in _WELL_KNOWN and _near(key, remedy):
            message = f"{word}: the kernel knows no {key}."
            yield _finding(card, message, remedy, state="warning")
    if "root=" in words:
        yield _finding(
            card,
            "root= names nothing: the kernel would not find its system.",
            "Copy root=PARTUUID=... back from the system's image.",
        )
    plan = card.plan
    if plan is None:
        return
    add, gone = first_boot.cmdline(plan)
    for word in words:
        key = f"{word.partition('=')[0]}="
        if not word.startswith(_ELSEWHERE) and {word, key} & set(gone):
            yield from _unwanted(card, word)
        elif key == "init=" and not word.endswith(_INITS):
            message = f"{word} starts something else than the system."
            yield _finding(card, message, "Take it out.")
    wanted = [*units.CMDLINE, *(add if not card.booted else ())]
    missing = [w for w in wanted if w not in words and not w.startswith("systemd.run=")]
    if missing:
        message = f"This card needs {' '.join(missing)}, which is missing."
        yield _finding(card, message, f"Add to the line: {' '.join(missing)}")


def _unwanted(card: CardFolder, word: str) -> Iterator[Finding]:
    if word in FINAL:
        if not card.booted:
            what = "would be read-only" if word == OVERLAY else "would not be set up"
            message = f"{word} before the first boot: the card {what}."
            yield _finding(card, message, f"Take {word} out: install.sh adds it at its end.")
    elif word == "resize" or word.startswith("init="):
        # After it the image has taken these out itself.
        message = f"{word} lets the root grow over the card: no room is left for the data."
        yield _finding(card, message, f"Take {word} out.")
    else:
        message = f"{word} belongs to another kind of card."
        yield _finding(card, message, f"Take {word} out.")


def _near(key: str, remedy: str) -> bool:
    """Near enough to be a slip of the finger: two letters at most."""
    near = remedy.removeprefix("Did you mean ").removesuffix("?")
    if not remedy.startswith("Did you mean") or len(key) < 4:
        return False
    common = sum(a == b for a, b in zip(key, near, strict=False))
    common += sum(a == b for a, b in zip(key[::-1], near[::-1], strict=False))
    return abs(len(key) - len(near)) <= 2 and common >= max(len(key), len(near)) - 2


def _finding(card: CardFolder, message: str, remedy: str, *, state: State = "problem") -> Finding:
    return card.finding("cmdline", card.cmdline, 1, message, remedy, state=state)
