"""The emulated machine that boot.sh makes a card for: started, asked, killed; nothing is mocked.

The card is one raw file. QEMU writes it through (``cache=writethrough``): what the guest has synced
is on this machine's disk when QEMU is killed, and what it has not synced is not made up for. The
kernel's command line is read from the card before each boot, as a Pi's firmware does it.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Answer", "Card", "Machine"]

# Of the lab: where the guest's kernel and systemd talk. On a Pi this is serial0 and the screen.
CONSOLE = "console=ttyAMA0,115200 systemd.show_status=no loglevel=4 panic=-1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a command in the guest said, and the seconds since its boot when it had."""

    rc: int
    out: str
    up: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A card image, and what boots it."""

    image: Path
    kernel: Path
    first: Path

    @property
    def boot(self) -> str:
        """The FAT partition, as mtools name it: boot.sh puts it at 4 MiB."""
        return f"{self.image}@@4M"

    def read(self, name: str) -> str:
        """A text file of the boot partition; empty where there is none."""
        ran = subprocess.run(
            ["mtype", "-i", self.boot, f"::{name}"], capture_output=True, check=False
        )
        return ran.stdout.decode()

    def names(self) -> str:
        """Everything on the boot partition, one path a line."""
        return subprocess.run(
            ["mdir", "-b", "-/", "-i", self.boot, "::"], capture_output=True, check=True, text=True
        ).stdout


@dataclass(slots=True)
class Machine:
    """One boot.

    Args:
        card: what is booted from.
        log: gets the console; begun anew.
        more: parameters for the kernel, beyond those on the card.
        cache: of QEMU's drive; ``writeback`` where nobody is killed.
    """

    card: Card
    log: Path
    more: str = ""
    cache: str = "writethrough"
    accepted: list[dict[str, Any]] = field(default_factory=list)
    hello: dict[str, Any] = field(default_factory=dict)
    began: float = 0.0
    _qemu: subprocess.Popen[bytes] | None = None
    _port: socket.socket | None = None
    _rest: bytes = b""
    _asked: int = 0

    def start(self, limit_s: int) -> None:
        """Switch it on; ``timeout`` ends QEMU after so many seconds whatever happens here."""
        meeting = self.log.parent / f"port-{os.getpid()}"
        meeting.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as server, self.log.open("wb") as console:
            server.bind(str(meeting))
            server.listen(1)
            cmdline = " ".join([self.card.read("cmdline.txt").strip(), CONSOLE, self.more])
            console.write(f"\n=== {cmdline}\n".encode())
            console.flush()
            self.began = time.monotonic()
            self._qemu = subprocess.Popen(
                ["timeout", "--kill-after=5", str(limit_s), *self._command(meeting, cmdline)],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            server.settimeout(30)
            self._port, _ = server.accept()
        meeting.unlink()

    def _command(self, meeting: Path, cmdline: str) -> list[str]:
        return [
            *("qemu-system-aarch64", "-M", "virt", "-accel", "tcg,thread=multi"),
            *("-cpu", "cortex-a72", "-smp", "2", "-m", "1024", "-nographic", "-monitor", "none"),
            *("-kernel", str(self.card.kernel), "-initrd", str(self.card.first)),
            *("-append", cmdline, "-no-reboot"),
            "-drive",
            f"file={self.card.image},if=none,id=card,format=raw,cache={self.cache}",
            *("-device", "virtio-blk-pci,drive=card"),
            # restrict=on: the guest has a network card, an address, and nobody behind it.
            *("-netdev", "user,id=net,restrict=on"),
            *("-device", "virtio-net-pci,netdev=net,romfile="),
            *("-device", "virtio-rng-pci"),
            *("-chardev", f"socket,id=lab,path={meeting}"),
            *(
                "-device",
                "virtio-serial-pci",
                "-device",
                "virtserialport,chardev=lab,name=edge-fer.lab",
            ),
        ]

    def wait(self, until: Callable[[dict[str, Any]], bool], limit_s: float) -> dict[str, Any]:
        """The first message of the guest that fits; what it accepted meanwhile is kept.

        Raises:
            TimeoutError: there was none; EOFError: the machine went off.
        """
        assert self._port is not None
        end = time.monotonic() + limit_s
        while True:
            while b"\n" in self._rest:
                line, _, self._rest = self._rest.partition(b"\n")
                message = json.loads(line)
                if "accepted" in message:
                    self.accepted.append(message["accepted"])
                elif "hello" in message:
                    self.hello = message
                if until(message):
                    return dict(message)
            self._port.settimeout(max(0.01, end - time.monotonic()))
            if time.monotonic() > end:
                raise TimeoutError(f"the machine did not answer in {limit_s:g} s")
            got = self._port.recv(65536)
            if not got:
                raise EOFError("the machine is off")
            self._rest += got

    def up(self, limit_s: float = 240) -> float:
        """Wait until the guest says hello; seconds of this machine since it was switched on."""
        if not self.hello:
            self.wait(lambda message: "hello" in message, limit_s)
        return time.monotonic() - self.began

    def ask(self, command: str, limit_s: float = 180) -> Answer:
        """Run a command as the guest's root."""
        assert self._port is not None
        self._asked += 1
        number = self._asked
        question = {"id": number, "sh": command, "timeout": limit_s - 5}
        self._port.sendall(json.dumps(question).encode() + b"\n")
        answer = self.wait(lambda message: message.get("id") == number, limit_s)
        return Answer(rc=answer["rc"], out=answer["out"], up=answer["up"])

    def follow(self, status: str) -> None:
        """Have the guest tell from now on which records its sinks have accepted."""
        assert self._port is not None
        self._port.sendall(json.dumps({"id": 0, "follow": status}).encode() + b"\n")

    def listen(self, seconds: float) -> None:
        """Read what the guest tells for so long."""
        with suppress(TimeoutError):
            self.wait(lambda message: False, seconds)

    def off(self, limit_s: float) -> int:
        """Wait until it switches itself off or reboots (which ends QEMU here); its exit status."""
        assert self._qemu is not None
        with suppress(EOFError, ConnectionError):
            self.wait(lambda message: False, limit_s)
        return self._qemu.wait(timeout=30)

    def kill(self) -> None:
        """SIGKILL, to ``timeout`` and QEMU at once: the closest there is to pulling the plug."""
        if self._qemu is not None and self._qemu.poll() is None:
            os.killpg(self._qemu.pid, signal.SIGKILL)
            self._qemu.wait(timeout=30)
        # What had reached us before counts; it is read to its end.
        if self._port is not None:
            with suppress(EOFError, TimeoutError, OSError):
                self.wait(lambda message: False, 2)
            self._port.close()
