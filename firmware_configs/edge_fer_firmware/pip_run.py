"""Running pip as a process of its own, and saying in a sentence what it could not do.

pip is not meant to be imported (pip.pypa.io, "Using pip from your program"). What it says is
shown without the addresses of indexes, which may hold a password or a token.
"""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from edge_fer.errors import DeviceError, EdgeFerError, MissingExtra
from edge_fer.uri import redacted

__all__ = ["pip", "shown"]

_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE)
_FILE = re.compile(r"([^/\s]+\.(?:whl|tar\.gz|zip)(?:\.metadata)?)\W*$")
_ENDS_IN_S = 5.0
_SHOWN_LINES = 3
_SHOWN_CHARACTERS = 200
_COPY = (
    "Connect this machine to the network and run it again, or name a folder that has the wheels: "
    "PIP_NO_INDEX=1 PIP_FIND_LINKS=FOLDER"
)
# What pip and urllib3 print, with what it means and what mends it; the first that is found counts.
_CAUSES: tuple[tuple[str, str, str], ...] = (
    (
        r"No space left on device|Disk quota exceeded",
        "The disk is full.",
        "Make room (df -h), or write the wheels to another folder.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|SSLError|SSLCertVerificationError",
        "The certificate of the package index is not accepted.",
        "Check this machine's clock (timedatectl) and its ca-certificates; for a certificate of "
        "your own: PIP_CERT=FILE",
    ),
    (
        r"\b40[137] (?:Client )?Error|\b407 Proxy Auth",
        "The package index refuses this user.",
        "Put the name and the password of the index into ~/.netrc, or see: pip config list",
    ),
    (
        r"no such option",
        "This pip is too old.",
        "python -m pip install --upgrade pip",
    ),
    (
        r"do not match the hashes",
        "A file of the index is not the one that it announces.",
        "Run it again without pip's cache: PIP_NO_CACHE_DIR=1",
    ),
    (
        r"ResolutionImpossible|conflicting dependencies",
        "pip finds no set of versions that go together.",
        "Look for versions that a setting of pip demands (pip config list, PIP_CONSTRAINT).",
    ),
    (
        r"NewConnectionError|NameResolutionError|Failed to establish a new connection"
        r"|Temporary failure in name resolution|Network is unreachable|Connection refused"
        r"|ConnectTimeout|ReadTimeout|Read timed out|ProxyError|Tunnel connection failed"
        r"|Connection aborted|RemoteDisconnected|Connection reset",
        "A package index cannot be reached.",
        _COPY,
    ),
    (
        r"No matching distribution|Could not find a version",
        "The package index has no wheel that fits.",
        "Name an index that has it: PIP_INDEX_URL=ADDRESS, or a folder: PIP_FIND_LINKS=FOLDER",
    ),
)


def pip(arguments: Sequence[str], *, work: Path, on_line: Callable[[str], None]) -> None:
    """Run ``pip ARGUMENTS``, with the indexes that this user has set up.

    Args:
        arguments: a command and its options.
        work: a folder for what pip leaves behind when it is stopped.
        on_line: told each line that it prints, without secrets.

    Raises:
        MissingExtra: there is no pip in this environment.
        DeviceError: pip failed: no network, no such wheel, no room.
        KeyboardInterrupt: pip was stopped too, with all that it had started.
    """
    if importlib.util.find_spec("pip") is None:
        raise MissingExtra(
            f"{sys.executable} has no pip, which downloads the wheels.",
            f"{sys.executable} -m ensurepip --upgrade",
        )
    command = [sys.executable, "-P", "-m", "pip", arguments[0], "--no-input"]
    log = work / "pip.log"  # pip prints that an index gave nothing; why, it only writes there
    command += ["--progress-bar=off", "--disable-pip-version-check", f"--log={log}"]
    command += arguments[1:]
    environment = {**os.environ, "TMPDIR": str(work), "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
    lines: list[str] = []
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        # Its own group: Ctrl-C comes to us, and all that pip started can be stopped at once.
        start_new_session=True,
    ) as process:
        assert process.stdout is not None  # noqa: S101
        try:
            for line in process.stdout:
                if line.strip():
                    lines.append(shown(line.strip()))
                    on_line(lines[-1])
            process.wait()
        except BaseException:
            _stop(process)
            raise
    if process.returncode:
        logged = log.read_text(errors="replace").splitlines() if log.exists() else []
        raise _failure(lines, [line for line in logged if "Could not fetch URL" in line])


def shown(line: str) -> str:
    """A line of pip for people: files by their names, indexes by their hosts, no secrets."""
    return _URL.sub(lambda found: _address(found[0]), line)


def _address(url: str) -> str:
    # A token may be any part of an index's address; the host is enough to know it.
    if found := _FILE.search(url):
        return found[1]
    scheme, _, rest = redacted(url).partition("://")
    host, slash, _ = rest.partition("/")
    return f"{scheme}://{host}/..." if slash else f"{scheme}://{host}"


def _stop(process: subprocess.Popen[str]) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_ENDS_IN_S)
            return


def _failure(lines: Sequence[str], reasons: Sequence[str]) -> EdgeFerError:
    errors = [line for line in lines if line.startswith("ERROR:")] or list(lines)
    said = " | ".join(_short(line) for line in errors[-_SHOWN_LINES:]) or "it said nothing"
    everything = "\n".join([*lines, *reasons])
    for pattern, message, remedy in _CAUSES:
        if re.search(pattern, everything):
            return DeviceError(f"{message} pip said: {said}", remedy)
    return DeviceError(
        f"pip gave up: {said}", "See whether it works by itself: python -m pip download edge-fer"
    )


def _short(line: str) -> str:
    text = line.removeprefix("ERROR:").strip()
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}..."
