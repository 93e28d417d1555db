"""A card's udev rules on a fake Coral: the group of its node, under both of its identities."""

from __future__ import annotations

from pathlib import Path

from needs import GUEST, rendered, run_script, workplace


def test_both_identities_of_a_coral(tmp_path: Path) -> None:
    work = workplace(tmp_path, GUEST, lane="device")
    rules = rendered(tmp_path / "card") / "edge-fer/root/etc/udev/rules.d"
    code, said = run_script("guest.sh", work, "coral.sh", *sorted(rules.glob("*.rules")))
    assert code == 0, said[-8000:]
    assert "GUEST 0" in said, said[-8000:]
    for identity in ("1a6e:089a", "18d1:9302", "1d6b:0104"):
        assert f"PASS {identity}" in said
