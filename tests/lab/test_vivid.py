"""V4l2Camera on the kernel's vivid driver: what this camera does, and what every camera must."""

from __future__ import annotations

from pathlib import Path

from needs import GUEST, run_script, workplace


def test_v4l2_on_vivid(tmp_path: Path) -> None:
    work = workplace(tmp_path, GUEST, lane="device")
    code, said = run_script("guest.sh", work, "vivid.sh")
    assert code == 0, said[-8000:]
    assert "GUEST 0" in said, said[-8000:]
    assert said.count("PASS ") == 8
    # 6 cases and 8 ways to be turned.
    assert "14 passed" in said
