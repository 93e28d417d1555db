"""The real validators, where they are installed; each result with file and line.

Traps, measured: bookworm's cloud-init 22.4.2 passes an unknown key; ``systemd-analyze verify`` only
warns about one, on standard error; ``udevadm verify`` came with systemd 254.
"""

from __future__ import annotations

import re
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from edge_fer_firmware.checking.fat import check_fat
from edge_fer_firmware.checking.folder import CardFolder
from edge_fer_firmware.checking.scripts import scripts
from edge_fer_firmware.checking.tools import Answer, Validators
from edge_fer_firmware.checking.unit_files import unit_files
from edge_fer_firmware.checking.units import is_provided
from edge_fer_firmware.findings import Finding, State

__all__ = ["THRESHOLD", "Validators", "validate"]

#: The exposure that is still good, in tenths: systemd-analyze(1), --threshold=.
THRESHOLD = 20


def validate(card: CardFolder, tools: Validators) -> Iterator[Finding]:
    """Run all that are installed; say of the others how to install them."""
    yield from _shell(card, tools)
    yield from _shellcheck(card, tools)
    yield from _cloud_init(card, tools)
    yield from _systemd(card, tools)
    yield from _udev(card, tools)
    yield from check_fat(card, tools)


def _shell(card: CardFolder, tools: Validators) -> Iterator[Finding]:
    for path, text in scripts(card):
        shell = "bash" if "bash" in text.split("\n", maxsplit=1)[0] else "sh"
        if not tools.find(shell):
            yield _skipped(f"{shell} -n", shell)
            continue
        answer = tools.run([shell, "-n", str(path)])
        lines = answer.err.strip().splitlines()
        if answer.code == 0 and not lines:
            yield _ok(f"{shell} -n", card.name(path), "The shell can read it.")
            continue
        found = re.search(r": (?:line )?(\d+): (.*)", lines[0] if lines else "")
        yield Finding(
            check=f"{shell} -n",
            state="problem",
            message=found[2] if found else " ".join(lines) or f"Exit status {answer.code}.",
            file=card.name(path),
            line=int(found[1]) if found else 0,
            remedy="Mend that line.",
        )


def _shellcheck(card: CardFolder, tools: Validators) -> Iterator[Finding]:
    found = [path for path, _ in scripts(card)]
    if not found:
        return
    if not tools.find("shellcheck"):
        yield _skipped("shellcheck", "shellcheck")
        return
    for path in found:
        answer = tools.run(["shellcheck", "--format=gcc", "--severity=warning", str(path)])
        said = list(re.finditer(r":(\d+):\d+: (error|warning|note): (.*)", answer.out))
        if answer.code == 0 and not said:
            yield _ok("shellcheck", card.name(path), "Nothing to say.")
        elif not said:
            yield _failed("shellcheck", answer, card.name(path))
        for line in said:
            state: State = "problem" if line[2] == "error" else "warning"
            yield Finding(
                check="shellcheck",
                state=state,
                message=line[3],
                file=card.name(path),
                line=int(line[1]),
                remedy="Mend that line.",
            )


def _cloud_init(card: CardFolder, tools: Validators) -> Iterator[Finding]:
    files = [n for n in ("user-data", "network-config") if (card.boot / n).is_file()]
    if not files:
        return
    if not tools.find("cloud-init"):
        yield _skipped("cloud-init schema", "cloud-init")
        return
    version = _version(tools.run(["cloud-init", "--version"]))
    for name in files:
        path = card.boot / name
        if name == "network-config" and version < (24, 1):
            yield Finding(
                check="cloud-init schema",
                state="skipped",
                message=f"cloud-init {_dotted(version)} cannot check network-config; 25.1 can.",
                file=card.name(path),
                remedy="Check on trixie: apt install cloud-init",
            )
            continue
        command = ["cloud-init", "schema", "--config-file", str(path)]
        if name == "network-config":
            command += ["--schema-type", "network-config"]
        answer = tools.run(command)
        # Measured with 25.1: without netplan's own reader it takes an older schema, of wires alone.
        blind = "wifis" in f"{answer.out}{answer.err}" and not tools.find("netplan")
        if answer.code and name == "network-config" and blind:
            message = "cloud-init cannot check wifis: where netplan is not installed."
            remedy = "apt install netplan.io"
            yield card.finding("cloud-init schema", path, 0, message, remedy, state="skipped")
            continue
        yield from _schema(card, path, answer, version)


def _schema(
    card: CardFolder, path: Path, answer: Answer, version: tuple[int, ...]
) -> Iterator[Finding]:
    name, said = card.name(path), f"{answer.out}\n{answer.err}"
    if answer.code == 0:
        # Measured: 22.4.2 says "Valid" to a misspelt key.
        blind = version < (23, 1)
        message = f"cloud-init {_dotted(version)} accepts it" + (
            ", but this release also accepts unknown keys." if blind else "."
        )
        state: State = "warning" if blind else "ok"
        remedy = "Check with trixie's 25.1 before you rely on it." if blind else ""
        yield Finding(
            check="cloud-init schema", state=state, message=message, file=name, remedy=remedy
        )
        return
    joined = _without_secrets(" ".join(said.split()), card.text(path) or "")
    # The card's own system has a newer one; its schema allows more.
    old = version < (23, 1) and card.card.get("system") == "trixie"
    found = re.search(r"format-l(\d+)\.c\d+|line (\d+), column", said)
    line = int(found[1] or found[2]) if found else _line_of_key(card, path, joined)
    yield Finding(
        check="cloud-init schema",
        state="warning" if old else "problem",
        message=f"cloud-init {_dotted(version)}: {joined[:400] or answer.code}",
        file=name,
        line=line,
        remedy="Mend that key: cloudinit.readthedocs.io/en/latest/reference/modules.html",
    )


def _without_secrets(said: str, text: str) -> str:
    """It prints whole values, with the hash of a password in them."""
    said = re.sub(r"\{.*\}", "{...}", said)
    for found in re.finditer(
        r"""(?im)^[ -]*\w*(?:passw|psk|list)\w*:\s*["']?(\S.*?)["']?\s*$""", text
    ):
        if found[1] not in ("true", "false"):
            said = said.replace(found[1], "***")
    return re.sub(r"\$\w+\$\S{8,}", "***", said)


def _line_of_key(card: CardFolder, path: Path, said: str) -> int:
    """22.4.2 names the key and no line: ``schema errors: hostname: 3 is not of type``."""
    found = re.search(r"(?:errors:|,) ([a-z_]+)[.:\d]*: ", said) or re.search(r"\('(\w+)' ", said)
    text = card.text(path) or ""
    for number, line in enumerate(text.split("\n"), 1):
        if found and line.startswith(f"{found[1]}:"):
            return number
    return 0


def _systemd(card: CardFolder, tools: Validators) -> Iterator[Finding]:
    units = [file for file in unit_files(card) if file.unit == file.path.name]
    if not units:
        return
    if not tools.find("systemd-analyze"):
        yield _skipped("systemd-analyze verify", "systemd")
        yield _skipped("systemd-analyze security", "systemd")
        return
    with tempfile.TemporaryDirectory(prefix="edge-fer-check-") as name:
        scratch = Path(name).resolve()
        _stand_ins(card, tools, scratch)
        where = {file.unit: scratch / file.path.relative_to(card.root) for file in units}
        command = ["systemd-analyze", "verify", "--man=no", f"--root={scratch}", *sorted(where)]
        yield from _verified(card, tools.run(command), scratch, sorted(where))
        for unit, path in sorted(where.items()):
            # Others of ours run once, as root, to prepare the machine.
            if unit not in ("edge-fer.service", "edge-fer-kiosk.service"):
                continue
            offline = ["systemd-analyze", "security", "--offline=true", "--no-pager"]
            answer = tools.run([*offline, f"--threshold={THRESHOLD}", str(path)])
            yield _exposure(card, answer, unit, card.root / path.relative_to(scratch))


def _stand_ins(card: CardFolder, tools: Validators, scratch: Path) -> None:
    """A copy of the payload's tree with empty programs where the image or pip brings real ones.

    Nothing stands in for a file that the payload itself has to bring: that has to fail.
    """
    shutil.copytree(card.root, scratch, dirs_exist_ok=True, symlinks=True)
    system = scratch / "usr/lib/systemd/system"
    system.mkdir(parents=True, exist_ok=True)
    for kind in ("*.target", "*.slice"):
        for unit in tools.units.glob(kind) if tools.units.is_dir() else ():
            if not (system / unit.name).exists():
                shutil.copy2(unit, system / unit.name, follow_symlinks=False)
    for file in unit_files(card):
        for entry in file.entries:
            command = entry.value.lstrip("@-:+!|").split()
            if not entry.key.startswith("Exec") or not command or not command[0].startswith("/"):
                continue
            program = scratch / command[0].lstrip("/")
            provided = is_provided(card, command[0])
            if provided and not program.exists():
                program.parent.mkdir(parents=True, exist_ok=True)
                program.write_text("#!/bin/sh\n", encoding="ascii")
            # FAT keeps no mode; install.sh sets it.
            if program.is_file():
                program.chmod(program.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def _verified(
    card: CardFolder, answer: Answer, scratch: Path, units: list[str]
) -> Iterator[Finding]:
    check = "systemd-analyze verify"
    lines = [line for line in answer.err.splitlines() if line.strip()]
    for line in lines:
        found = re.match(rf"{re.escape(str(scratch))}/([^:]+):(\d+): (.*)", line)
        unit = re.match(r"([\w@.\\-]+\.[a-z]+): (.*)", line)
        if found:
            file, number, message = card.name(card.root / found[1]), int(found[2]), found[3]
        elif unit and unit[1] in units:
            paths = [f.path for f in unit_files(card) if f.path.name == unit[1]]
            file, number, message = card.name(paths[0]), 0, unit[2]
        else:
            file, number, message = "", 0, line.replace(str(scratch), "")
        yield Finding(
            check=check,
            state="problem",
            message=message.replace(str(scratch), ""),
            file=file,
            line=number,
            remedy="Mend that line: systemd only warns, and goes on without it.",
        )
    if not lines and answer.code:
        yield _failed(check, answer, "")
    elif not lines:
        yield _ok(check, "", f"{len(units)} units, and not a word about them.")


def _exposure(card: CardFolder, answer: Answer, unit: str, path: Path) -> Finding:
    check, file = "systemd-analyze security", card.name(path)
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", answer.out)
    if not found:
        return _failed(check, answer, file)
    good = float(found[1]) * 10 <= THRESHOLD
    # The kiosk's browser needs a screen, and has a sandbox of its own.
    state: State = "ok" if good else "problem" if unit == "edge-fer.service" else "warning"
    return Finding(
        check=check,
        state=state,
        message=f"Exposure {found[1]} of 10; {THRESHOLD / 10:.1f} is the limit.",
        file=file,
        remedy="" if good else f"systemd-analyze security --offline=true {file}",
    )


def _udev(card: CardFolder, tools: Validators) -> Iterator[Finding]:
    rules = sorted(path for path in card.ours() if path.suffix == ".rules")
    if not rules:
        return
    if not tools.find("udevadm"):
        yield _skipped("udevadm verify", "udev")
        return
    for path in rules:
        answer = tools.run(["udevadm", "verify", "--no-summary", str(path)])
        said = f"{answer.out}\n{answer.err}"
        if "Unknown command" in said or "unrecognized option" in said:
            message = "This udevadm cannot verify; systemd 254 and later can."
            remedy = "Check on trixie: apt install udev"
            yield card.finding("udevadm verify", path, 0, message, remedy, state="skipped")
            return
        lines = list(re.finditer(r"^(?:.*?\.rules):(\d+):? (.*)$", said, re.MULTILINE))
        for line in lines:
            yield Finding(
                check="udevadm verify",
                state="problem",
                message=line[2],
                file=card.name(path),
                line=int(line[1]),
                remedy="Mend that line.",
            )
        if not lines and answer.code:
            yield _failed("udevadm verify", answer, card.name(path))
        elif not lines:
            yield _ok("udevadm verify", card.name(path), "All rules can be read.")


def _version(answer: Answer) -> tuple[int, ...]:
    found = re.search(r"(\d+)\.(\d+)(?:\.(\d+))?", f"{answer.out} {answer.err}")
    return tuple(int(part) for part in found.groups("0")) if found else (0, 0, 0)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(part) for part in version)


def _ok(check: str, file: str, message: str) -> Finding:
    return Finding(check=check, state="ok", message=message, file=file)


def _failed(check: str, answer: Answer, file: str) -> Finding:
    said = " ".join(f"{answer.err} {answer.out}".split())[:400]
    return Finding(
        check=check,
        state="problem",
        message=said or f"It ended with {answer.code} and said nothing.",
        file=file,
        remedy=f"Run it by hand: {check}",
    )


def _skipped(check: str, package: str) -> Finding:
    return Finding(
        check=check,
        state="skipped",
        message=f"{check.split(maxsplit=1)[0]} is not installed.",
        remedy=f"apt install {package}",
    )
