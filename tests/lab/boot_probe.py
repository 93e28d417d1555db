"""Answers the host from inside the emulated machine that boot.sh builds; part of no card.

One line of JSON is a question, one line is an answer, on a virtual serial port of its own: the
console stays readable. ``{"id": 1, "sh": "systemctl is-active edge-fer"}`` runs a command;
``{"id": 2, "follow": "/run/edge-fer/status.json"}`` then tells, as often as the service writes its
status, which records its sinks have accepted. The host has read a line before it kills the machine.
Standard library only: it runs before anything was installed.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, BinaryIO

PORTS = Path("/sys/class/virtio-ports")
NAME = "edge-fer.lab"


class Line:
    """The port; threads write whole lines."""

    def __init__(self, port: BinaryIO) -> None:
        self._port, self._lock = port, threading.Lock()

    def say(self, document: dict[str, Any]) -> None:
        rest = json.dumps(document).encode() + b"\n"
        with self._lock:
            while rest:  # the port takes 32 KiB at once
                rest = rest[self._port.write(rest) or 0 :]


def opened() -> BinaryIO:
    """The port, by its name; it is there before the first process is."""
    for entry in PORTS.iterdir():
        if (entry / "name").read_text().strip() == NAME:
            return Path("/dev", entry.name).open("r+b", buffering=0)
    raise SystemExit(f"no port {NAME}")


def lines(port: BinaryIO) -> Any:
    rest = b""
    while True:
        got = port.read(4096)
        if not got:  # the host is not there at the moment
            time.sleep(0.2)
            continue
        *whole, rest = (rest + got).split(b"\n")
        yield from map(json.loads, whole)


def ran(question: dict[str, Any]) -> dict[str, Any]:
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", question["sh"]],
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=question.get("timeout", 120),
        )
    except subprocess.TimeoutExpired as err:
        said = (err.output or b"").decode(errors="replace")
        return {"rc": 124, "out": said, "up": time.clock_gettime(time.CLOCK_BOOTTIME)}
    return {
        "rc": done.returncode,
        "out": done.stdout.decode(errors="replace"),
        "up": time.clock_gettime(time.CLOCK_BOOTTIME),
    }


def follow(line: Line, path: Path) -> None:
    """What the sinks have accepted, each time that the service says so."""
    told = None
    while True:
        try:
            status = json.loads(path.read_bytes())
            sinks = {
                sink["name"].partition(":")[0]: [sink["accepted"], sink["last_seq"]]
                for sink in status["sinks"] or ()
            }
            accepted = {"boot": status["boot_id"], "pid": status["pid"], "sinks": sinks}
        except (OSError, ValueError, KeyError, TypeError):  # not there yet, or being replaced
            accepted = None
        if accepted and accepted != told:
            told = accepted
            line.say({"accepted": accepted})
        time.sleep(0.1)


def main() -> None:
    port = opened()
    line = Line(port)
    line.say(
        {
            "hello": Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
            "up": time.clock_gettime(time.CLOCK_BOOTTIME),
        }
    )
    for question in lines(port):
        if "follow" in question:
            place = Path(question["follow"])
            threading.Thread(target=follow, args=(line, place), daemon=True).start()
        else:
            line.say({"id": question["id"], **ran(question)})


if __name__ == "__main__":
    main()
