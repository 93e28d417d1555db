"""A content repository for Raspberry Pi Imager 2: flashes one checked image, and changes nothing.

The format is raspberrypi/rpi-imager's ``doc/json-schema/os-list-schema.json``; ``devices`` and
``imager.devices`` are described in ``doc/schema-notes.md`` and made so by
``doc/local_json/create_local_json.py``, where a local image is a ``file://`` address.

``init_format`` is ``none``. The Imager's own customisation would write a firstrun.sh or user-data
of its own, and one boot partition has room for one of them. Nobody has loaded such a file into an
Imager yet.
"""

from __future__ import annotations

import json
import lzma
import re
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from edge_fer.errors import ConfigError
from edge_fer_firmware.carded import CardFile
from edge_fer_firmware.plan import Plan

__all__ = ["NAME", "files"]

#: Of the file, beside the card's folder.
NAME = "imager.json"

_CHUNK = 1 << 20
# Shown in its lists; in the file, because there may be no network.
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 40 40"><circle cx="20" cy="20" r="18" '
    'fill="#c7dbe6"/><circle cx="14" cy="16" r="2"/><circle cx="26" cy="16" r="2"/>'
    '<path d="M12 25q8 7 16 0" fill="none" stroke="#000" stroke-width="2"/></svg>'
)


def files(plan: Plan, image: Path | None = None) -> tuple[CardFile, ...]:
    """The repository's one file.

    Without an image it is a form: its address, sizes and hash are to be filled in, and its
    description says how. The Imager refuses an image whose hash is another.

    Args:
        plan: the card.
        image: a stock image of the card's system, ``.img`` or ``.img.xz``. Read as a whole, which
            takes a minute for a compressed one.

    Raises:
        ConfigError: the image cannot be read, or is of another kind.
    """
    about = f"For {plan.settings.host.name}. Flash it, then put the card's files onto it: "
    about += "edge-fer provision render SETTINGS --into THE_BOOT_PARTITION"
    entry: dict[str, Any] = {
        "name": f"{plan.system.title}, for edge-fer",
        "description": about,
        "icon": _icon(),
        **(_form(plan) if image is None else _described(image)),
        "devices": list(plan.board.tags),
        "init_format": "none",
    }
    if image is None:
        entry["description"] += (
            ". TO BE FILLED IN: url is the image's file:// address; extract_size and "
            "extract_sha256 are those of the .img: xz -dc IMAGE | tee >(wc -c >&2) | sha256sum; "
            "image_download_size is the file's own: stat -c %s IMAGE"
        )
    device = {
        "name": plan.board.title,
        "description": plan.board.soc,
        "icon": _icon(),
        "tags": list(plan.board.tags),
        "default": True,
        "matching_type": "exclusive",
    }
    document = {"imager": {"devices": [device]}, "os_list": [entry]}
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    return (CardFile(path=NAME, content=text.encode()),)


def _form(plan: Plan) -> dict[str, Any]:
    return {
        "url": f"file:///path/to/raspios-{plan.system.name}-arm64-lite.img.xz",
        "extract_size": 0,
        "extract_sha256": "0" * 64,
        "image_download_size": 0,
        "release_date": "1970-01-01",
    }


def _described(image: Path) -> dict[str, Any]:
    if not image.name.endswith((".img", ".img.xz")):
        raise ConfigError(f"{image} is no .img or .img.xz.", "Unpack it first, or name another.")
    try:
        stat = image.stat()
        hashed, size = sha256(), 0
        for chunk in _unpacked(image):
            hashed.update(chunk)
            size += len(chunk)
    except (OSError, EOFError, lzma.LZMAError) as err:
        reason = err.strerror if isinstance(err, OSError) and err.strerror else str(err)
        raise ConfigError(f"{image} cannot be read: {reason}.", "Download it again.") from err
    # Raspberry Pi OS has its release in the name: 2025-12-04-raspios-trixie-arm64-lite.img.xz
    named = re.match(r"\d{4}-\d{2}-\d{2}", image.name)
    written = datetime.fromtimestamp(stat.st_mtime, UTC).date().isoformat()
    return {
        "url": image.resolve().as_uri(),
        "extract_size": size,
        "extract_sha256": hashed.hexdigest(),
        "image_download_size": stat.st_size,
        "release_date": named[0] if named else written,
    }


def _unpacked(image: Path) -> Iterator[bytes]:
    with ExitStack() as stack:
        file: Any = stack.enter_context(image.open("rb"))
        if image.name.endswith(".xz"):
            file = stack.enter_context(lzma.LZMAFile(file))
        while chunk := file.read(_CHUNK):
            yield chunk


def _icon() -> str:
    return f"data:image/svg+xml;base64,{b64encode(_ICON.encode()).decode()}"
