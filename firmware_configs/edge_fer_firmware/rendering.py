"""From a plan to a card: the one place that joins the rooms."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from edge_fer_firmware import first_boot, notice, units
from edge_fer_firmware.addresses import without_secrets
from edge_fer_firmware.boot import config_txt, imager
from edge_fer_firmware.carded import PAYLOAD, Card, CardFile
from edge_fer_firmware.plan import Plan
from edge_fer_firmware.settings import CardSettings
from edge_fer_firmware.templating import fill

__all__ = ["CARD", "SCHEMA", "render", "shown"]

CARD = f"{PAYLOAD}/card.json"
SCHEMA = "edge-fer/card/1"


def render(plan: Plan, image: Path | None = None) -> Card:
    """All files of a card, in memory; the same plan gives the same bytes.

    Args:
        plan: the card.
        image: of the system, for Raspberry Pi Imager's manifest; None: there is none.

    Raises:
        ConfigError: settings that contradict each other, or an image that cannot be read.
    """
    boot = [*first_boot.files(plan), *units.files(plan), *_models(plan), *_wheels(plan)]
    boot.append(_about(plan, boot))
    manifest = () if image is None else imager.files(plan, image)
    add, gone = first_boot.cmdline(plan)
    words = fill("README.txt.j2", board=plan.board, system=plan.system, imager=image is not None)
    read_me = CardFile(path="README.txt", content=words.encode())
    return Card(
        boot=tuple(sorted(boot, key=lambda file: file.path)),
        config=config_txt.lines(plan),
        cmdline=(*add, *units.CMDLINE),
        cmdline_gone=gone,
        beside=(*notice.files(plan), *manifest, read_me),
    )


def shown(settings: CardSettings) -> dict[str, Any]:
    """The settings without their secrets, as JSON has them."""
    document = settings.model_dump(mode="json")
    document["user"]["password_hash"] = bool(settings.user.password_hash)
    if settings.network.wifi is not None:
        document["network"]["wifi"]["psk"] = bool(settings.network.wifi.psk)
    # They were refused when they were read; a second net, because everybody can read card.json.
    for table in ("run", "kiosk"):
        document[table] = without_secrets(document[table])
    return document


def _about(plan: Plan, files: list[CardFile]) -> CardFile:
    """``card.json``: what ``check`` and people compare the card with."""
    document = {
        "schema": SCHEMA,
        "version": plan.version,
        "board": plan.board.name,
        "system": plan.system.name,
        "settings": shown(plan.settings),
        "sha256": {
            file.path: hashlib.sha256(content).hexdigest()
            for file in sorted(files, key=lambda file: file.path)
            # A hash would let one try out short secrets.
            if not file.secret and isinstance(content := file.content, bytes)
        },
    }
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    return CardFile(path=CARD, content=text.encode())


def _models(plan: Plan) -> list[CardFile]:
    return [CardFile(path=f"{PAYLOAD}/models/{m.name}", content=m.content) for m in plan.models]


def _wheels(plan: Plan) -> list[CardFile]:
    return [CardFile(path=f"{PAYLOAD}/wheels/{w.name}", content=w) for w in plan.wheels]
