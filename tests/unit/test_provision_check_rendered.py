"""What we render passes our own check: every board and system, beside an image and merged."""

from __future__ import annotations

from pathlib import Path

import pytest
from card_folders import PI_CMDLINE, PI_CONFIG

from edge_fer_firmware.boot.writing import write_folder, write_into
from edge_fer_firmware.checking import check
from edge_fer_firmware.facts import boards, systems
from edge_fer_firmware.loading import load
from edge_fer_firmware.planning import make_plan
from edge_fer_firmware.rendering import render

KIOSK = Path(__file__).resolve().parents[2] / "examples" / "kiosk.toml"


@pytest.mark.parametrize("system", systems())
@pytest.mark.parametrize("board", boards())
def test_nothing_is_wrong_with_what_we_render(tmp_path: Path, board: str, system: str) -> None:
    card = render(make_plan(load(KIOSK, {"board": board, "system": system})))
    out, boot = tmp_path / "out", tmp_path / "boot"
    write_folder(card, out)
    (boot / "overlays").mkdir(parents=True)
    (boot / "kernel8.img").write_bytes(b"kernel")
    (boot / "start4.elf").write_bytes(b"firmware")
    (boot / "config.txt").write_text(PI_CONFIG)
    (boot / "cmdline.txt").write_text(PI_CMDLINE)
    write_into(card, boot)
    for folder in (out, boot):
        said = [f for f in check(folder) if f.state in ("problem", "warning")]
        assert [f.check for f in said] == ["wheels"], said
