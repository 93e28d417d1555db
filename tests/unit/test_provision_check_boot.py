"""What the check says about parameters and settings that somebody changed on a card."""

from __future__ import annotations

from pathlib import Path

import pytest
from card_folders import MERGED, PI_CMDLINE, PI_CONFIG, RUN, Folder

GROWING = "init=/usr/lib/raspberrypi-sys-mods/firstboot"
CORAL = ("dtparam=pciex1", "kernel=kernel8.img", "dtoverlay=pcie-32bit-dma-pi5")
END = "# edge-fer: end"
OURS = "init=/usr/lib/edge-fer/overlay-init"


def with_words(folder: Path, words: str, **settings: str) -> Folder:
    card = Folder(folder, merged=True, **settings)
    run = RUN if settings.get("system") == "bookworm" else ""
    card.beside("cmdline.txt", f"{PI_CMDLINE.strip()} cgroup_enable=memory {words}{run}\n")
    return card


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("resize", "resize lets the root grow"),
        (GROWING, "lets the root grow"),
        (OURS, "before the first boot: the card would be read-only"),
        ("cloud-init=disabled", "would not be set up"),
        ("init=/bin/bash", "starts something else"),
    ],
)
def test_words_that_a_card_cannot_stand(tmp_path: Path, words: str, said: str) -> None:
    assert with_words(tmp_path, words).problem("cmdline.txt", said).line == 1


@pytest.mark.parametrize("words", ["resize", GROWING, "init=/sbin/init"])
def test_an_image_may_grow_where_nothing_else_is_to_be(tmp_path: Path, words: str) -> None:
    for system in ("trixie", "bookworm"):
        folder = tmp_path / system
        folder.mkdir()
        assert with_words(folder, words, storage="root", system=system).said() == []


def test_after_the_first_boot_it_is_read_only(tmp_path: Path) -> None:
    card = with_words(tmp_path, f"{OURS} cloud-init=disabled")
    assert len(card.said("cmdline.txt")) == 2
    card.write("edge-fer/install.log", "done\n")
    assert card.said("cmdline.txt") == []


@pytest.mark.parametrize("merged", [False, True])
def test_a_parameter_of_ours_is_missing(tmp_path: Path, merged: bool) -> None:
    card = Folder(tmp_path, merged=merged, system="bookworm")
    gone = " systemd.unit=kernel-command-line.target"
    card.beside("cmdline.txt", (PI_CMDLINE.strip() if merged else "quiet") + RUN.replace(gone, ""))
    found = card.problem("cmdline.txt", "needs")
    assert found.message.count("=") == 2
    assert "cgroup_enable=memory" in found.remedy
    assert gone.strip() in found.remedy or gone.strip() in found.message


def test_a_root_that_is_empty(tmp_path: Path) -> None:
    card = with_words(tmp_path, "")
    card.beside("cmdline.txt", "root= rootwait cgroup_enable=memory\n")
    assert card.problem("cmdline.txt", "names nothing").line == 1


@pytest.mark.parametrize(
    ("word", "near"),
    [
        ("rootwiat", "rootwait"),
        ("rootfstpye=ext4", "rootfstype"),
        ("consol=tty1", "console"),
        ("cgroup_enabel=memory", "cgroup_enable"),
    ],
)
def test_a_misspelt_word(tmp_path: Path, word: str, near: str) -> None:
    (found,) = with_words(tmp_path, word).said("cmdline.txt")
    assert (found.state, found.remedy) == ("warning", f"Did you mean {near}?")


def test_words_of_others_are_theirs(tmp_path: Path) -> None:
    words = "usbhid.mousepoll=1 dwc_otg.lpm_enable=0 nvme.shutdown=1 mitigations=off"
    assert with_words(tmp_path, words).said() == []


@pytest.mark.parametrize("line", ["dtparam=watchdog=off", "dtparam=i2c=on,watchdog=off"])
def test_the_last_word_counts(tmp_path: Path, line: str) -> None:
    card = Folder(tmp_path, merged=True)
    card.beside("config.txt", f"{line}\n{PI_CONFIG}{MERGED}")
    assert card.said() == []
    card.beside("config.txt", f"{PI_CONFIG}{MERGED}{line}\n")
    assert card.problem("config.txt", "watchdog=off is the last word").line == 9


def test_the_last_word_under_a_filter(tmp_path: Path) -> None:
    card = Folder(tmp_path, merged=True)
    card.beside("config.txt", f"{PI_CONFIG}{MERGED}[pi4]\ndtparam=watchdog=off\n[all]\n")
    (found,) = card.said("config.txt")
    assert (found.state, found.line) == ("warning", 10)


def test_a_camera_that_is_not_looked_for(tmp_path: Path) -> None:
    card = Folder(tmp_path, merged=True, run={"source": "picamera2:0"})
    assert card.problem("config.txt", "camera_auto_detect=1, which is missing")
    text = f"{PI_CONFIG}{MERGED}camera_auto_detect=1\n"
    card.beside("config.txt", text)
    assert card.said() == []
    card.beside("config.txt", f"{text}camera_auto_detect=0\n")
    assert card.problem("config.txt", "camera_auto_detect=0 is the last").line == 10


def test_an_overlay_that_is_not_there(tmp_path: Path) -> None:
    card = Folder(tmp_path, merged=True)
    card.beside("config.txt", f"dtoverlay=imx708,cam0\n{MERGED}")
    assert card.said() == []
    card.write("overlays/vc4-kms-v3d.dtbo", "overlay")
    (found,) = card.said()
    assert (found.state, found.place) == ("warning", "config.txt:1")
    assert "no overlays/imx708.dtbo" in found.message
    card.write("overlays/imx708.dtbo", "overlay")
    assert card.said() == []


def test_an_overlay_of_ours_that_is_not_there(tmp_path: Path) -> None:
    card = Folder(tmp_path, merged=True, board="pi5-coral-pcie")
    card.beside("config.txt", MERGED.replace("# edge-fer: end", "\n".join((*CORAL, END))))
    card.write("kernel8.img", "kernel")
    assert card.said() == []
    card.write("overlays/vc4-kms-v3d.dtbo", "overlay")
    assert card.problem("config.txt", "no overlays/pcie-32bit").line == 6


@pytest.mark.parametrize(
    ("board", "kernel"), [("pi4", "kernel_2712.img"), ("pi5", "kernel7l.img"), ("zero2w", "")]
)
def test_a_partition_without_the_boards_kernel(tmp_path: Path, board: str, kernel: str) -> None:
    card = Folder(tmp_path, merged=True, board=board)
    assert card.said() == []
    card.write(kernel or "start.elf", "kernel")
    assert card.problem("config.txt", "kernel8.img").line == 0
    card.write("kernel8.img", "kernel")
    assert card.said() == []
