"""What the check says about a card that somebody changed: cmdline, config.txt, card.json."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from card_folders import MERGED, PI_CMDLINE, PI_CONFIG, UNITS, USER_DATA, Folder

from edge_fer.errors import ConfigError
from edge_fer_firmware.checking import check


@pytest.mark.parametrize("merged", [False, True])
@pytest.mark.parametrize("system", ["trixie", "bookworm"])
def test_nothing_is_said_about_a_good_card(tmp_path: Path, system: str, merged: bool) -> None:
    assert Folder(tmp_path, merged=merged, system=system).said() == []


def test_what_was_looked_at_is_said(tmp_path: Path) -> None:
    Folder(tmp_path)
    ok = [f.check for f in check(tmp_path) if f.state == "ok"]
    assert {"card", "cmdline", "config.txt", "cloud-init", "units", "secrets"} <= set(ok)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="neither a folder"):
        check(tmp_path)


# cmdline.txt


def test_two_lines_in_cmdline(tmp_path: Path) -> None:
    card = Folder(tmp_path, merged=True)
    card.beside("cmdline.txt", PI_CMDLINE + "quiet\n")
    assert card.problem("cmdline.txt", "second line").line == 2


def test_no_root_in_cmdline(tmp_path: Path) -> None:
    card = Folder(tmp_path, merged=True)
    card.beside("cmdline.txt", "console=tty1 rootwait\n")
    assert card.problem("cmdline.txt", "no root=").place == "cmdline.txt:1"


def test_a_fragment_needs_no_root(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    card.beside("cmdline.txt", "quiet splash cgroup_enable=memory\n")
    assert card.said() == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("root=a quiet quiet", "Doubled: quiet"),
        ("root=a root=b", "Doubled: root=a and root=b"),
        ("root=a init=/x init=/x", "Doubled: init=/x"),
    ],
)
def test_doubled_parameters(tmp_path: Path, line: str, words: str) -> None:
    card = Folder(tmp_path, merged=True)
    card.beside("cmdline.txt", f"{line}\n")
    assert card.problem("cmdline.txt", words).line == 1


def test_two_consoles_are_as_they_should_be(tmp_path: Path) -> None:
    card = Folder(tmp_path, merged=True)
    card.beside("cmdline.txt", f"console=serial0,115200 cgroup_enable=memory {PI_CMDLINE}")
    assert card.said() == []


def test_a_windows_line_end_in_cmdline(tmp_path: Path) -> None:
    card = Folder(tmp_path, merged=True)
    card.beside("cmdline.txt", PI_CMDLINE.replace("\n", "\r\n"))
    assert card.problem("cmdline.txt", "CRLF").line == 1


def test_no_cmdline_at_all(tmp_path: Path) -> None:
    card = Folder(tmp_path, merged=True)
    (tmp_path / "cmdline.txt").unlink()
    assert card.problem("cmdline.txt", "no cmdline.txt").line == 0


def test_firstrun_that_nothing_starts(tmp_path: Path) -> None:
    card = Folder(tmp_path, merged=True, system="bookworm")
    card.beside("cmdline.txt", PI_CMDLINE)
    assert card.problem("cmdline.txt", "no systemd.run=").line == 1


def test_systemd_run_without_its_script(tmp_path: Path) -> None:
    card = Folder(tmp_path, merged=True)
    card.beside("cmdline.txt", f"{PI_CMDLINE.strip()} systemd.run=/boot/firstrun.sh\n")
    assert card.problem("cmdline.txt", "not there").line == 1


# config.txt


def test_our_lines_in_somebody_elses_section(tmp_path: Path) -> None:
    card = Folder(tmp_path, merged=True)
    card.beside("config.txt", "[pi5]\n" + MERGED.replace("[all]\n", ""))
    found = card.problem("config.txt", "only read by [pi5]")
    assert found.line == 3
    assert "line 1" in found.message


def test_directives_after_a_section_that_is_not_closed(tmp_path: Path) -> None:
    card = Folder(tmp_path, merged=True)
    card.beside("config.txt", PI_CONFIG + MERGED + "[pi5\ndtparam=pciex1\n")
    assert card.problem("config.txt", "not closed with ]").line == 9


def test_a_section_that_is_still_open_at_the_end(tmp_path: Path) -> None:
    card = Folder(tmp_path, merged=True)
    card.beside("config.txt", MERGED + "[cm4]\notg_mode=1\n")
    (found,) = card.said("config.txt")
    assert (found.state, found.line) == ("warning", 5)


def test_a_misspelt_filter(tmp_path: Path) -> None:
    card = Folder(tmp_path, merged=True)
    card.beside("config.txt", MERGED + "[pie5]\narm_boost=1\n[all]\n")
    (found,) = card.said("config.txt")
    assert (found.line, found.remedy) == (5, "Did you mean pi5?")


def test_a_misspelt_key_of_ours_is_a_problem_with_the_near_one(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    card.beside("config.txt", "dtparam=watchdog=on\ncamera_autodetect=1\n")
    found = card.problem("config.txt", "camera_autodetect")
    assert (found.line, found.remedy) == (2, "Did you mean camera_auto_detect?")


def test_an_unknown_key_of_others_is_a_warning(tmp_path: Path) -> None:
    card = Folder(tmp_path, merged=True)
    card.beside("config.txt", "zzqqxx=1\n" + MERGED)
    (found,) = card.said("config.txt")
    assert (found.state, found.line) == ("warning", 1)


def test_a_line_that_is_too_long(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    card.beside("config.txt", f"dtoverlay={'x' * 100}\n")
    assert card.problem("config.txt", "110 characters").line == 1


def test_a_line_without_a_value(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    card.beside("config.txt", "# words\nwatchdog on\n")
    assert card.problem("config.txt", "no key=value").line == 2


def test_the_image_own_bare_words_are_known(tmp_path: Path) -> None:
    card = Folder(tmp_path, merged=True)
    card.beside("config.txt", "initramfs a.gz followkernel\ninclude more.txt\n" + MERGED)
    assert card.said() == []


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("arm_64bit=0", "32-bit kernel"),
        ("kernel=kernel7l.img", "32-bit kernel"),
        ("kernel=kernel_2712.img", "Pi 5's kernel"),
    ],
)
def test_kernels_that_the_board_cannot_start(tmp_path: Path, line: str, words: str) -> None:
    card = Folder(tmp_path)
    card.beside("config.txt", f"dtparam=watchdog=on\n{line}\n")
    assert card.problem("config.txt", words).line == 2


def test_a_kernel_that_is_not_on_the_partition(tmp_path: Path) -> None:
    card = Folder(tmp_path, merged=True)
    card.beside("config.txt", MERGED + "kernel=mine.img\n")
    assert card.problem("config.txt", "no mine.img").line == 5


def test_a_kernel_without_its_other_half(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    card.beside("config.txt", "kernel=mine.img\ndtparam=watchdog=on\n")
    (found,) = card.said("config.txt")
    assert (found.state, found.line) == ("warning", 1)
    card.beside(
        "config.txt", "dtparam=watchdog=on\nkernel=mine.img\ninitramfs mine.gz followkernel\n"
    )
    assert card.said("config.txt") == []


CORAL = ("dtparam=pciex1", "kernel=kernel8.img", "dtoverlay=pcie-32bit-dma-pi5")


def test_half_of_a_coral_pcie_pair(tmp_path: Path) -> None:
    card = Folder(tmp_path, board="pi5-coral-pcie")
    card.beside("config.txt", "dtparam=watchdog=on\n" + "\n".join(CORAL) + "\n")
    assert card.said() == []
    card.beside("config.txt", f"dtparam=watchdog=on\n{CORAL[0]}\n{CORAL[2]}\n")
    found = card.problem("config.txt", "half of a pair")
    assert found.line == 2
    assert CORAL[1] in found.remedy


def test_half_of_it_in_a_section_of_another_board_counts_for_nothing(tmp_path: Path) -> None:
    card = Folder(tmp_path, merged=True, board="pi5-coral-pcie")
    (tmp_path / "kernel8.img").write_bytes(b"kernel")
    card.beside("config.txt", f"{MERGED}{CORAL[0]}\n{CORAL[2]}\n[pi4]\n{CORAL[1]}\n[all]\n")
    assert card.problem("config.txt", "half of a pair").line == 5


def test_a_config_without_our_lines(tmp_path: Path) -> None:
    card = Folder(tmp_path, merged=True)
    card.beside("config.txt", PI_CONFIG)
    assert card.problem("config.txt", "Our lines are not in it").line == 0


def test_a_block_without_its_end(tmp_path: Path) -> None:
    card = Folder(tmp_path, merged=True)
    card.beside("config.txt", PI_CONFIG + MERGED.replace("# edge-fer: end\n", ""))
    assert card.problem("config.txt", "not whole").line == 5


# card.json


def test_a_file_that_was_changed_by_hand(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    card.write("meta-data", "instance-id: other\n")
    (found,) = card.said()
    assert (found.state, found.file) == ("warning", "bootfs/meta-data")
    assert "changed by hand" in found.message


@pytest.mark.parametrize(
    ("name", "old"),
    [
        ("edge-fer/install.sh", "ready"),
        ("edge-fer/root/usr/lib/edge-fer/clock", "ready"),
        (f"{UNITS}/edge-fer-clock.service", "Time of day"),
        (f"{UNITS}/edge-fer.service.d/sandbox.conf", "400M"),
        ("edge-fer/root/etc/udev/rules.d/60-a.rules", "vcio"),
    ],
)
def test_what_root_starts_was_changed_by_hand(tmp_path: Path, name: str, old: str) -> None:
    card = Folder(tmp_path)
    card.write("edge-fer/root/etc/udev/rules.d/60-a.rules", 'KERNEL=="vcio", MODE="0660"\n')
    card.sign()
    assert card.said() == []
    card.edit(name, old, old[::-1].replace("M", "9"))
    assert card.problem(name, "changed by hand").line == 0


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    (card.boot / "edge-fer/install.sh").unlink()
    found = card.problem("card.json", "install.sh was rendered")
    lines = (card.boot / "edge-fer/card.json").read_text().splitlines()
    assert "install.sh" in lines[found.line - 1]


@pytest.mark.parametrize(
    ("key", "name", "near"), [("board", "pi44", "pi4"), ("system", "trixy", "trixie")]
)
def test_an_unknown_board_or_system(tmp_path: Path, key: str, name: str, near: str) -> None:
    card = Folder(tmp_path)
    card.edit("edge-fer/card.json", f'"{card.settings[key]}"', f'"{name}"')
    found = card.problem("card.json", f"no {key}")
    assert found.remedy == f"Did you mean {near}?"
    assert found.line == {"board": 4, "system": 5}[key]


@pytest.mark.parametrize("key", ["board", "system"])
def test_a_board_that_is_not_the_settings(tmp_path: Path, key: str) -> None:
    card = Folder(tmp_path)
    path = card.boot / "edge-fer/card.json"
    stated = json.loads(path.read_text())
    path.write_text(json.dumps({**stated, key: {"board": "pi3", "system": "bookworm"}[key]}))
    assert card.problem("card.json", f"The card's {key} is")


def test_an_installer_of_another_board(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    said = "say 'edge-fer 1.0 for Raspberry Pi 5, Raspberry Pi OS (64-bit), trixie, storage root'\n"
    card.write("edge-fer/install.sh", f"#!/bin/sh\n{said}")
    card.sign()
    assert card.problem("card.json", "was made for Raspberry Pi 5,").line == 4
    card.edit("edge-fer/install.sh", "Raspberry Pi 5", "Raspberry Pi 4 Model B")
    card.sign()
    assert card.said() == []


@pytest.mark.parametrize("name", ["cmdline.txt", "config.txt"])
def test_fragments_that_are_gone(tmp_path: Path, name: str) -> None:
    card = Folder(tmp_path)
    (tmp_path / "fragments" / name).unlink()
    assert card.problem(name, f"no {name}").remedy == "Render the card again."


@pytest.mark.parametrize(
    "name", ["ssh", "SSH.txt", "userconf", "userconf.txt", "wpa_supplicant.conf", "custom.toml"]
)
def test_files_that_the_system_acts_on_by_itself(tmp_path: Path, name: str) -> None:
    card = Folder(tmp_path, merged=True)
    card.write(name, "")
    assert card.problem(name, "Not of this card").place == name


def test_firstrun_and_user_data_in_one_folder(tmp_path: Path) -> None:
    card = Folder(tmp_path, system="bookworm")
    card.write("user-data", USER_DATA)
    card.write("meta-data", "instance-id: a\n")
    assert card.problem("firstrun.sh", "two first boots").line == 1


def test_the_other_systems_mechanism(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    for name in ("user-data", "meta-data", "network-config"):
        (card.boot / name).unlink()
    card.write("firstrun.sh", "#!/bin/sh\n")
    card.beside("cmdline.txt", "systemd.run=/boot/firstrun.sh\n")
    card.sign()
    assert card.problem("card.json", "set up by user-data").line == 5
    assert card.problem("firstrun.sh", "does not read").line == 1


def test_no_card_at_all(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    (card.boot / "edge-fer/card.json").unlink()
    assert card.problem("card.json", "is missing")


def test_a_card_that_lists_no_files(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    path = card.boot / "edge-fer/card.json"
    stated = json.loads(path.read_text())
    path.write_text(json.dumps({**stated, "sha256": {}}))
    assert card.problem("card.json", "lists no files")


def test_a_path_that_leads_out_of_the_folder(tmp_path: Path) -> None:
    card = Folder(tmp_path)
    path = card.boot / "edge-fer/card.json"
    stated = json.loads(path.read_text())
    path.write_text(json.dumps({**stated, "sha256": {"../../x": "0"}}))
    assert card.problem("card.json", "outside the folder")
