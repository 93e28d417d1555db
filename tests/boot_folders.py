"""A small card, and boot folders to write it into."""

from __future__ import annotations

from pathlib import Path

from edge_fer_firmware.carded import Card, CardFile, root_file

CONFIG = "camera_auto_detect=1\n[pi5]\ndtoverlay=nospi10\n"
CMDLINE = "console=tty1 root=PARTUUID=8a43 rootwait resize\n"
# RPi-Distro/pi-gen, stage2/04-cloud-init/files, shortened.
STOCK_USER_DATA = "#cloud-config\n\n## hostname\n#hostname: raspberrypi\nssh_pwauth: false\n"


def card(**changes: object) -> Card:
    """A card for cloud-init; ``changes`` are its attributes."""
    values: dict[str, object] = {
        "boot": (
            CardFile(path="user-data", content=b"#cloud-config\nhostname: a\n", secret=True),
            CardFile(path="edge-fer/card.json", content=b"{}\n"),
            CardFile(path="edge-fer/install.sh", content=b"#!/bin/sh\n", executable=True),
            root_file("/etc/systemd/system/edge-fer.service", "[Service]\n"),
        ),
        "config": ("dtparam=watchdog=on",),
        "cmdline": ("quiet",),
        "cmdline_gone": ("resize",),
        "beside": (CardFile(path="notice.html", content=b"<p>"),),
    }
    return Card(**{**values, **changes})  # type: ignore[arg-type]


def boot_folder(path: Path) -> Path:
    """As a stock image of trixie has it, as far as we look at it."""
    path.mkdir(exist_ok=True)
    (path / "config.txt").write_text(CONFIG)
    (path / "cmdline.txt").write_text(CMDLINE)
    (path / "kernel8.img").write_bytes(b"kernel")
    (path / "user-data").write_text(STOCK_USER_DATA)
    (path / "meta-data").write_text("# about\ndsmode: local\ninstance_id: rpios-image\n")
    return path


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below, with its content: equal before and after means that nothing changed."""
    return {
        str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None
        for p in sorted(folder.rglob("*"))
    }
