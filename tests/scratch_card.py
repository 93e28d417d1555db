"""A rendered first boot in a scratch folder, and programs that only note that they were called."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from edge_fer_firmware import first_boot, units
from edge_fer_firmware.facts import board, system
from edge_fer_firmware.plan import Model, Plan
from edge_fer_firmware.settings import CardSettings

#: Of a user with everything; the hash is of no password.
FULL: dict[str, Any] = {
    "user": {
        "name": "edge",
        "password_hash": "$6$salt$it/is.none",
        "ssh_keys": ["ssh-ed25519 AAAAC3 it's $HOME `id`"],
    },
    "network": {
        "ethernet": True,
        "ssh": True,
        "wifi": {"ssid": 'My "net" é', "psk": "passphrase", "country": "DE", "hidden": True},
    },
}
_FAKES = (
    *("chown", "systemctl", "systemd-sysusers", "systemd-tmpfiles", "ssh-keygen", "rfkill"),
    *("mount", "findmnt", "mountpoint", "hostname", "setupcon", "sync"),
    *("chpasswd", "usermod", "groupmod", "useradd", "cancel-rename", "raspi-config"),
)
CMDLINE = "console=tty1 root=PARTUUID=aa-02 rootfstype=ext4 fsck.repair=yes rootwait"


def plan(system_name: str = "trixie", **settings: Any) -> Plan:
    """A plan; ``models`` and ``credentials`` are the plan's, all else is the settings'."""
    parts = {name: settings.pop(name) for name in ("models", "credentials") if name in settings}
    return Plan(
        settings=CardSettings.model_validate({"board": "pi4", "system": system_name, **settings}),
        board=board("pi4"),
        system=system(system_name),
        version="1.2.3",
        **parts,
    )


def text(card: Plan, path: str) -> str:
    """The content of one file of the first boot."""
    (found,) = (file.content for file in first_boot.files(card) if file.path == path)
    assert isinstance(found, bytes)
    return found.decode()


def root_text(card: Plan, path: str) -> str:
    """The same, of one that is copied over the root."""
    return text(card, f"edge-fer/root{path}")


class Scratch:
    """A root with a boot partition, and a folder of programs that come first on PATH."""

    def __init__(self, folder: Path, card: Plan) -> None:
        self.root, self.boot = folder / "root", folder / "root/boot/firmware"
        self.bin, self.calls, self.run_mark = (
            folder / "bin",
            folder / "calls",
            folder / "run/reboot",
        )
        self.bin.mkdir(parents=True)
        for made in ("etc/default", "etc/ssh", "etc/sudoers.d", "usr/bin", "var/lib", "home"):
            (self.root / made).mkdir(parents=True)
        self.boot.mkdir(parents=True)
        self.put(card)
        (self.root / "etc/fstab").write_text("PARTUUID=aa-02 / ext4 defaults,noatime 0 1\n")
        (self.root / "etc/hosts").write_text("127.0.0.1\tlocalhost\n127.0.1.1\traspberrypi\n")
        for name in _FAKES:
            self.fake(name)
        self.fake(
            "getent",
            'case "$1:$2" in passwd:1000) echo "pi:x:1000:1000::/home/pi:" ;; '
            "passwd:edge) [ -e $ROOT/renamed ] && echo edge:x:1000:1000::/home/edge: ;; esac",
        )
        self.fake("usermod", '[ "$1" != -l ] || : >$ROOT/renamed')
        self.fake(
            "python3", '[ "$1" != -c ] || exit 0; '
            '[ "$2" = venv ] && for made; do :; done; mkdir -p "$made/bin"; '
            "printf '#!/bin/sh\\necho pip \"$@\" >>\"$CALLS\"\\n' >\"$made/bin/pip\"; "
            "printf '#!/bin/sh\\necho edge-fer 1.2.3\\n' >\"$made/bin/edge-fer\"; "
            'chmod +x "$made/bin/pip" "$made/bin/edge-fer"',
        )  # fmt: skip

    def put(self, card: Plan) -> None:
        """The boot partition as a card leaves it, in place of an earlier one's."""
        shutil.rmtree(self.boot / "edge-fer", ignore_errors=True)
        for file in (*first_boot.files(card), *units.files(card)):
            target = self.boot / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            assert isinstance(file.content, bytes)
            target.write_bytes(file.content)
        for model in card.models:
            target = self.boot / "edge-fer/models" / model.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(model.content)
        add, _ = first_boot.cmdline(card)
        (self.boot / "cmdline.txt").write_text(" ".join((CMDLINE, *add)) + "\n")

    def with_wheels(self) -> Scratch:
        """The same with a wheel, as an installation without network has it."""
        (self.boot / "edge-fer/wheels").mkdir()
        (self.boot / "edge-fer/wheels/edge_fer-1.2.3-py3-none-any.whl").write_bytes(b"")
        return self

    def fake(self, name: str, body: str = ":") -> None:
        """Put a program first on PATH that notes its arguments and then does ``body``."""
        script = f'#!/bin/sh\necho {name} "$@" >>"$CALLS"\n{body}\n'
        (self.bin / name).write_text(script)
        (self.bin / name).chmod(0o755)

    def run(self, path: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a script of the boot partition."""
        return self.sh(self.boot / path, *arguments)

    def sh(self, script: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run any script with the fakes before all else."""
        return subprocess.run(
            ["sh", str(script), *arguments],
            env={
                "PATH": f"{self.bin}:{os.environ['PATH']}",
                "CALLS": str(self.calls),
                "ROOT": str(self.root),
                "EDGE_FER_ROOT": str(self.root),
                "EDGE_FER_BOOT": str(self.boot),
                "EDGE_FER_REBOOT_MARK": str(self.run_mark),
                "EDGE_FER_CONSOLE": str(self.root.parent / "console"),
            },
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    @property
    def called(self) -> list[str]:
        """What the fakes noted, in order."""
        return self.calls.read_text().splitlines() if self.calls.exists() else []

    @property
    def log(self) -> str:
        """What the installer wrote onto the boot partition."""
        return (self.boot / "edge-fer/install.log").read_text()

    @property
    def cmdline(self) -> str:
        """The kernel's line."""
        return (self.boot / "cmdline.txt").read_text()


def model(name: str = "mine.tflite") -> Model:
    """A file of the user's own; nothing here looks into it."""
    return Model(name=name, content=b"weights", sha256="00" * 32)
