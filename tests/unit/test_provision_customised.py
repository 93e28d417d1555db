"""What is refused to keep what others have put onto a card or into a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
from boot_folders import STOCK_USER_DATA, boot_folder, card, tree

from edge_fer.errors import ConfigError
from edge_fer_firmware.boot.writing import write_folder, write_into
from edge_fer_firmware.carded import CardFile


@pytest.mark.parametrize(
    "theirs", ["bootfs/photo.jpg", "bootfs/sub/a", "BOOTFS/photo.jpg", "fragments/a", "bootfs"]
)
def test_what_edge_fer_did_not_make_is_not_deleted_forced_or_not(
    tmp_path: Path, theirs: str
) -> None:
    (tmp_path / theirs).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / theirs).write_text("mine")
    before = tree(tmp_path)
    with pytest.raises(ConfigError, match="edge-fer did not make it"):
        write_folder(card(), tmp_path, force=True)
    assert tree(tmp_path) == before


def test_a_folder_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    out, boot = tmp_path / "out", boot_folder(tmp_path / "boot")
    (out / "notice.html").mkdir(parents=True)
    (out / "notice.html/mine").write_text("mine")
    (boot / "user-data").unlink()
    (boot / "user-data").mkdir()
    before = tree(tmp_path)
    with pytest.raises(ConfigError, match=r"notice.html is a folder"):
        write_folder(card(), out, force=True)
    with pytest.raises(ConfigError, match=r"user-data is a folder"):
        write_into(card(), boot, force=True)
    assert tree(tmp_path) == before


def test_what_was_put_into_a_rendered_folder_is_not_deleted(tmp_path: Path) -> None:
    write_folder(card(), tmp_path)
    (tmp_path / "bootfs/kernel8.img").write_bytes(b"kernel")
    before = tree(tmp_path)
    for force in (False, True):
        with pytest.raises(ConfigError, match=r"bootfs/kernel8.img is there, and edge-fer did not"):
            write_folder(card(), tmp_path, force=force)
    assert tree(tmp_path) == before


@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("firstrun.sh", "#!/bin/bash\nset +e\n", 1),
        ("user-data", "#cloud-config\nhostname: theirs\n", 2),
        ("network-config", "network:\n  version: 2\n  wifis:\n", 3),
        ("USER-DATA", STOCK_USER_DATA + "runcmd: [[reboot]]\n", 6),
    ],
)
def test_somebody_elses_customisation_is_refused_unless_forced(
    tmp_path: Path, name: str, text: str, line: int
) -> None:
    boot = boot_folder(tmp_path / "boot")
    (boot / name.lower()).unlink(missing_ok=True)
    (boot / name).write_text(text)
    before = tree(boot)
    with pytest.raises(ConfigError, match=f"{name}:{line}: somebody else's") as caught:
        write_into(card(), boot)
    assert "theirs" not in caught.value.message, "a line may be a password"
    assert tree(boot) == before
    write_into(card(), boot, force=True)
    assert (boot / "edge-fer/install.sh").is_file()


def test_what_the_image_brings_is_nobodys_customisation(tmp_path: Path) -> None:
    boot = boot_folder(tmp_path / "boot")
    (boot / "network-config").write_text("#network:\n#  version: 2\n")
    write_into(card(), boot)
    assert b"hostname: a" in (boot / "user-data").read_bytes()


def test_a_card_for_firstrun_is_not_written_onto_an_image_with_cloud_init(tmp_path: Path) -> None:
    boot = boot_folder(tmp_path / "boot")
    first = CardFile(path="firstrun.sh", content=b"#!/bin/sh\n", executable=True)
    with pytest.raises(ConfigError, match="set up by cloud-init") as caught:
        write_into(card(boot=(first,)), boot)
    assert "trixie" in caught.value.remedy


@pytest.mark.parametrize("name", ["edge-fer", "Edge-FER"])
def test_a_folder_of_our_name_that_is_not_ours_is_refused(tmp_path: Path, name: str) -> None:
    boot = boot_folder(tmp_path / "boot")
    (boot / name).mkdir()
    (boot / name / "diary.txt").write_text("dear")
    for force in (False, True):
        with pytest.raises(ConfigError, match="edge-fer did not make it"):
            write_into(card(), boot, force=force)
    assert (boot / name / "diary.txt").read_text() == "dear"


@pytest.mark.parametrize("missing", ["user-data", "meta-data"])
def test_a_card_for_cloud_init_is_not_written_onto_an_image_without(
    tmp_path: Path, missing: str
) -> None:
    boot = boot_folder(tmp_path / "boot")
    (boot / missing).unlink()
    before = tree(boot)
    with pytest.raises(ConfigError, match=f"has no {missing}: cloud-init") as caught:
        write_into(card(), boot)
    assert "--system bookworm" in caught.value.remedy
    assert tree(boot) == before
    write_into(card(), boot, force=True)
    assert (boot / missing).exists() is (missing == "user-data")


def test_a_card_for_cloud_init_is_not_written_onto_bookworm(tmp_path: Path) -> None:
    boot = boot_folder(tmp_path / "boot")
    init = "init=/usr/lib/raspberrypi-sys-mods/firstboot"
    (boot / "cmdline.txt").write_text(f"root=x quiet {init}\n")
    before = tree(boot)
    with pytest.raises(ConfigError, match=f"cmdline.txt:1: {init} is bookworm's") as caught:
        write_into(card(), boot)
    assert "--system bookworm" in caught.value.remedy
    assert tree(boot) == before
    # Bookworm's own card goes there.
    first = CardFile(path="firstrun.sh", content=b"#!/bin/sh\n", executable=True)
    for name in ("user-data", "meta-data"):
        (boot / name).unlink()
    write_into(card(boot=(first,)), boot)
    assert (boot / "firstrun.sh").is_file()


@pytest.mark.parametrize(
    "name", ["ssh", "SSH.txt", "userconf", "userconf.txt", "wpa_supplicant.conf", "custom.toml"]
)
def test_other_files_that_the_first_boot_reads_are_refused_unless_forced(
    tmp_path: Path, name: str
) -> None:
    boot = boot_folder(tmp_path / "boot")
    write_into(card(), boot)
    (boot / name).write_text("pi:hunter2")
    before = tree(boot)
    with pytest.raises(ConfigError, match=f"{name}: somebody else's") as caught:
        write_into(card(), boot)
    assert "hunter2" not in caught.value.message
    assert tree(boot) == before
    write_into(card(), boot, force=True)
    assert (boot / name).read_text() == "pi:hunter2"


@pytest.mark.parametrize("name", ["edge-fer", "cmdline.txt", "config.txt", "user-data"])
@pytest.mark.parametrize("dangling", [False, True])
def test_a_link_is_refused_and_what_it_leads_to_stays(
    tmp_path: Path, name: str, dangling: bool
) -> None:
    boot = boot_folder(tmp_path / "boot")
    elsewhere = tmp_path / "elsewhere"
    if (boot / name).exists():
        (boot / name).rename(elsewhere)
    else:
        elsewhere.mkdir()
        (elsewhere / "card.json").write_text("{}")
    if dangling:
        elsewhere.rename(tmp_path / "moved")
    (boot / name).symlink_to(elsewhere)
    before = tree(tmp_path)
    for force in (False, True):
        with pytest.raises(ConfigError, match=f"{name} is a link"):
            write_into(card(), boot, force=force)
    assert tree(tmp_path) == before
