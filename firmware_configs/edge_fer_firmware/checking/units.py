"""Units: keys that systemd knows, and paths that are really there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch

from edge_fer.uri import suggestion
from edge_fer_firmware.carded import PAYLOAD
from edge_fer_firmware.checking.folder import CardFolder, known
from edge_fer_firmware.checking.service_unit import check_minimum, check_values
from edge_fer_firmware.checking.unit_files import Entry, UnitFile, unit_files
from edge_fer_firmware.findings import Finding, State
from edge_fer_firmware.plan import CONFIG, CREDENTIALS, DATA, PREFIX

__all__ = ["check_units", "is_provided"]

_COMMANDS = (
    "ExecStart", "ExecStartPre", "ExecStartPost", "ExecReload", "ExecStop", "ExecStopPost",
    "ExecCondition",
)  # fmt: skip
_PATHS = (
    "ConditionPathExists", "AssertPathExists", "ConditionFileNotEmpty", "RequiresMountsFor",
    "EnvironmentFile", "ConditionFileIsExecutable", "ConditionPathIsDirectory",
)  # fmt: skip
_ORDER = ("After", "Wants", "Requires", "Requisite", "BindsTo", "Upholds")
_WAITS = ("network-online.target", "time-sync.target", "time-set.target")
# What any Raspberry Pi OS has, or makes while it runs: file-hierarchy(7).
_IMAGE = (
    "/bin/", "/sbin/", "/usr/bin/", "/usr/sbin/", "/usr/libexec/", "/lib/", "/usr/share/",
    "/usr/lib/", "/dev/", "/proc/", "/sys/", "/run/", "/home/", "/root/", "/boot/", "/var/",
    "/etc/",
)  # fmt: skip
_OURS = ("/usr/lib/edge-fer/", "/usr/share/edge-fer/", "/etc/edge-fer/", "/boot/firmware/edge-fer/")
# Made by pip in the virtual environment.
_VENV = re.compile(rf"{re.escape(str(PREFIX))}/bin/(edge-fer|python[0-9.]*|pip)")


def check_units(card: CardFolder) -> Iterator[Finding]:
    """Look at every unit and drop-in of the payload."""
    files = list(unit_files(card))
    names = {file.unit for file in files}
    for file in files:
        for entry in file.entries:
            yield from _key(card, file, entry)
            yield from _path(card, file, entry)
            yield from _order(card, file, entry, names)
        yield from check_values(card, file)
        if file.path.suffix == ".service":
            yield from _watched(card, file, files)
            yield from _started(card, file)
    yield from check_minimum(card, files)


def is_provided(card: CardFolder, path: str) -> bool:
    """The payload brings it, or the image has it.

    Args:
        card: the folder.
        path: absolute, on the device.
    """
    if card.device_file(path).exists() or path in card.taken or _VENV.fullmatch(path):
        return True
    if path.startswith("/boot/firmware/"):
        local = card.boot / path.removeprefix("/boot/firmware/")
        return local.exists() or not path.startswith(f"/boot/firmware/{PAYLOAD}/")
    if path in (str(PREFIX), str(DATA), "/boot/firmware", "/") or path.startswith(f"{DATA}/"):
        return True
    return path.startswith(_IMAGE) and not path.startswith(_OURS)


def _key(card: CardFolder, file: UnitFile, entry: Entry) -> Iterator[Finding]:
    lists = known("systemd")
    if not entry.key:
        yield _finding(card, file, entry, "This line is no Key=value.", "Mend or remove it.")
    elif entry.section.startswith("X-") or entry.key.startswith("X-"):  # systemd.unit(5): ignored
        return
    elif entry.section not in lists or entry.section == "later_than_252":
        sections = [s for s in lists if s != "later_than_252"]
        message = f"systemd has no section [{entry.section}] that we know."
        yield _finding(card, file, entry, message, suggestion(entry.section, sections))
    else:
        later = lists["later_than_252"].get(entry.section, ())
        names = [*lists[entry.section], *later]
        if entry.key not in names:
            message = f"systemd ignores {entry.key}= in [{entry.section}]: there is no such key."
            yield _finding(card, file, entry, message, suggestion(entry.key, names))
        elif entry.key in later and card.card.get("system") == "bookworm":
            message = f"bookworm's systemd 252 does not know {entry.key}= yet, and ignores it."
            yield _finding(card, file, entry, message, "Take it out for bookworm.")


def _path(card: CardFolder, file: UnitFile, entry: Entry) -> Iterator[Finding]:
    paths: Sequence[str] = ()
    if entry.key in _COMMANDS:
        # systemd.service(5): prefixes; a ":" or "-" before the path is none of it.
        command = entry.value.lstrip("@-:+!|")
        paths = [word for word in command.split()[:1] if word.startswith("/")]
        # Our own files among the arguments: --config /etc/edge-fer/config.toml.
        paths += [w for w in command.split()[1:] if w.startswith(_OURS)]
    elif entry.key in _PATHS:
        # A path with ! must not be there; with - it need not.
        paths = [
            w.lstrip("|") for w in entry.value.split() if not w.lstrip("|").startswith(("!", "-"))
        ]
    elif entry.key in ("LoadCredential", "LoadCredentialEncrypted"):
        paths = [entry.value.partition(":")[2]]
    for path in paths:
        # %i, %t and the like are only known when it runs: systemd.unit(5).
        if "%" in path or not path.startswith("/") or is_provided(card, path):
            continue
        if path.startswith(f"{CREDENTIALS}/"):
            remedy = f'Give it: [service] credentials = {{{path.rpartition("/")[2]} = "FILE"}}'
        elif path == str(CONFIG):
            remedy = "Render the card again."
        else:
            remedy = f"Put it at {card.name(card.device_file(path))}, or name one that is there."
        message = f"{entry.key}= names {path}, which neither the card nor the image brings."
        yield _finding(card, file, entry, message, remedy)


def _order(card: CardFolder, file: UnitFile, entry: Entry, names: set[str]) -> Iterator[Finding]:
    if entry.key not in (*_ORDER, "Before"):
        return
    for unit in entry.value.split():
        if entry.key in _ORDER and unit in _WAITS:
            state: State = "problem" if card.offline else "warning"
            message = f"{entry.key}={unit}: a card with no network never reaches it."
            yield _finding(card, file, entry, message, f"Take {unit} out.", state=state)
        ours = fnmatch(unit, "edge-fer*") or unit == "var-lib-edge\\x2dfer.mount"
        # A mount unit of our partition can also come from fstab.
        if ours and unit not in names and not unit.endswith(".mount"):
            message = f"{entry.key}={unit}: the card brings no such unit."
            near = [n for n in names if n.startswith("edge-fer")] or [unit]
            yield _finding(card, file, entry, message, suggestion(unit, near))


def _watched(card: CardFolder, file: UnitFile, files: list[UnitFile]) -> Iterator[Finding]:
    kinds = file.values("Type")
    if not kinds or kinds[-1].value not in ("notify", "notify-reload"):
        return
    watchdog = [e for f in files if f.unit == file.unit for e in f.values("WatchdogSec")]
    if not watchdog or watchdog[-1].value in ("", "0"):
        message = f"Type={kinds[-1].value} without WatchdogSec=: a hung service is never noticed."
        yield _finding(card, file, kinds[-1], message, "Add WatchdogSec=20.")


def _started(card: CardFolder, file: UnitFile) -> Iterator[Finding]:
    if "@" in file.unit or file.values("ExecStart") or not file.entries:
        return
    kinds = [entry.value for entry in file.values("Type")]
    # systemd.service(5): a oneshot may only have ExecStop=.
    if "oneshot" in kinds and file.values("ExecStop"):
        return
    message = f"{file.unit} has no ExecStart=: systemd refuses it."
    yield _finding(card, file, file.entries[0], message, "Add ExecStart=.")


def _finding(
    card: CardFolder,
    file: UnitFile,
    entry: Entry,
    message: str,
    remedy: str,
    *,
    state: State = "problem",
) -> Finding:
    return card.finding("units", file.path, entry.line, message, remedy, state=state)
