"""A card as ``provision render`` leaves it, made by hand: the check has no word for it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from edge_fer_firmware.checking import check
from edge_fer_firmware.findings import Finding
from edge_fer_firmware.settings import CardSettings

USER_DATA = """\
#cloud-config
hostname: kiosk
users:
  - name: edge
    lock_passwd: true
runcmd: [[sh, /boot/firmware/edge-fer/install.sh]]
growpart: {mode: "off"}
"""
META_DATA = "instance-id: edge-fer-1\n"
NETWORK = "version: 2\n"
INSTALL = "#!/bin/sh\nset -eu\necho ready\n"
CONFIG = """\
source = "usb:0"
sinks = ["sqlite:/var/lib/edge-fer/counts.db"]
operator = "Museum, museum@example.org"
purpose = "Counts smiles in the hall"
notice = "A camera counts smiles."
"""
SERVICE = """\
[Unit]
Description=edge-fer
After=local-fs.target

[Service]
Type=notify
WatchdogSec=20
ExecStart=/opt/edge-fer/bin/edge-fer run --config /etc/edge-fer/config.toml
DynamicUser=yes

[Install]
WantedBy=multi-user.target
"""
SANDBOX = """\
[Service]
User=edge-fer
NoNewPrivileges=yes
ProtectSystem=strict
DevicePolicy=closed
RestrictAddressFamilies=AF_UNIX
MemoryMax=400M
"""
CLOCK = """\
[Unit]
Description=Time of day

[Service]
Type=oneshot
ExecStart=/usr/lib/edge-fer/clock restore
"""
UNITS = "edge-fer/root/etc/systemd/system"
FIRSTRUN = "#!/bin/sh\nset -eu\nsh /boot/firmware/edge-fer/install.sh\n"
RUN = (
    " systemd.run=/boot/firmware/firstrun.sh systemd.run_success_action=reboot"
    " systemd.unit=kernel-command-line.target"
)
PI_CMDLINE = "console=tty1 root=PARTUUID=12-02 rootfstype=ext4 rootwait\n"
PI_CONFIG = "dtparam=audio=on\n[cm4]\notg_mode=1\n[all]\n"
MERGED = "# edge-fer: begin\n[all]\ndtparam=watchdog=on\n# edge-fer: end\n"


class Folder:
    """A folder to make mistakes in.

    Attributes:
        top: what is checked.
        boot: where the boot partition's files are.
    """

    def __init__(self, top: Path, *, merged: bool = False, **settings: Any) -> None:
        self.top, self.merged = top, merged
        self.boot = top if merged else top / "bootfs"
        self.settings = self._settings(settings)
        system = self.settings["system"]
        self.write("edge-fer/install.sh", INSTALL)
        self.write("edge-fer/root/etc/edge-fer/config.toml", CONFIG)
        self.write("edge-fer/root/usr/lib/edge-fer/clock", INSTALL)
        self.write(f"{UNITS}/edge-fer.service", SERVICE)
        self.write(f"{UNITS}/edge-fer.service.d/sandbox.conf", SANDBOX)
        self.write(f"{UNITS}/edge-fer-clock.service", CLOCK)
        if system == "trixie":
            self.write("user-data", USER_DATA)
            self.write("meta-data", META_DATA)
            self.write("network-config", NETWORK)
        else:
            self.write("firstrun.sh", FIRSTRUN)
        run = " cgroup_enable=memory" + (RUN if system == "bookworm" else "")
        if self.settings["network"]["wifi"]:
            run += " cfg80211.ieee80211_regdom=DE"
        if merged:
            self.write("config.txt", PI_CONFIG + MERGED)
            self.write("cmdline.txt", PI_CMDLINE.strip() + run + "\n")
        else:
            (top / "notice.html").write_text("<p>A camera</p>", encoding="utf-8")
            self.beside("config.txt", "dtparam=watchdog=on\n")
            self.beside("cmdline.txt", f"quiet{run}\n")
        self.sign()

    @staticmethod
    def _settings(changes: dict[str, Any]) -> dict[str, Any]:
        told = {
            "operator": "Museum, museum@example.org",
            "purpose": "Counts smiles in the hall",
            "area": "exhibition",
            "notice": {"en": "A camera counts smiles."},
        }
        stated = {"board": "pi4", "system": "trixie", "deployment": told}
        stated |= {"run": {"source": "usb:0"}, **changes}
        shown: dict[str, Any] = CardSettings(**stated).model_dump(mode="json")
        shown["user"]["password_hash"] = bool(shown["user"]["password_hash"])
        return shown

    def write(self, name: str, text: str, mode: int = 0o644) -> None:
        path = self.boot / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
        path.chmod(mode)

    def beside(self, name: str, text: str) -> None:
        """config.txt or cmdline.txt, wherever this kind of folder has it."""
        folder = self.boot if self.merged else self.top / "fragments"
        folder.mkdir(exist_ok=True)
        (folder / name).write_bytes(text.encode())

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.boot / name
        text = path.read_bytes().decode()
        assert old in text
        path.write_bytes(text.replace(old, new).encode())

    def sign(self) -> None:
        """card.json, for the files as they are now."""
        skipped = ("config.txt", "cmdline.txt", "edge-fer/card.json")
        files = sorted(p for p in self.boot.rglob("*") if p.is_file())
        names = {p.relative_to(self.boot).as_posix(): p for p in files}
        card = {
            "schema": "edge-fer/card/1",
            "version": "1.0",
            "board": self.settings["board"],
            "system": self.settings["system"],
            "settings": self.settings,
            "sha256": {
                name: hashlib.sha256(path.read_bytes()).hexdigest()
                for name, path in names.items()
                if name not in skipped and "credentials" not in name
            },
        }
        self.write("edge-fer/card.json", json.dumps(card, indent=2) + "\n")

    def said(self, name: str = "") -> list[Finding]:
        """Problems and warnings, those about one file where one is named."""
        found = check(self.top)
        return [
            f
            for f in found
            if f.state in ("problem", "warning") and f.file.endswith(name) and f.check != "wheels"
        ]

    def problem(self, name: str, words: str) -> Finding:
        """The one problem about a file that has these words."""
        found = [f for f in self.said(name) if f.state == "problem" and words in f.message]
        assert len(found) == 1, self.said()
        assert found[0].remedy
        return found[0]
