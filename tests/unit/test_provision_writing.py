import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from boot_folders import CONFIG, boot_folder, card, tree

from edge_fer.errors import ConfigError, DeviceError
from edge_fer_firmware.boot.config_txt import BEGIN
from edge_fer_firmware.boot.exchange import STAGE
from edge_fer_firmware.boot.writing import write_folder, write_into
from edge_fer_firmware.carded import CardFile

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@contextmanager
def small_disk(path: Path, options: str) -> Iterator[Path]:
    """A real file system of its own, of a few hundred kilobytes."""
    path.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "edge-fer-test", path],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if made.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {made.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


# A folder of its own


def test_a_card_is_written_with_its_modes(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    written = write_folder(card(), out)
    assert [str(p.relative_to(out)) for p in written] == [
        "bootfs/user-data",
        "bootfs/edge-fer/card.json",
        "bootfs/edge-fer/install.sh",
        "bootfs/edge-fer/root/etc/systemd/system/edge-fer.service",
        "fragments/config.txt",
        "fragments/cmdline.txt",
        "fragments/cmdline-gone.txt",
        "notice.html",
    ]
    assert all(p.is_file() for p in written)
    assert (out / "fragments/config.txt").read_text().splitlines()[1:3] == [
        "[all]",
        "dtparam=watchdog=on",
    ]
    assert (out / "fragments/cmdline.txt").read_text() == "quiet\n"
    assert mode(out) == 0o700
    assert mode(out / "bootfs/user-data") == 0o600
    assert mode(out / "bootfs/edge-fer/install.sh") == 0o755
    assert mode(out / "bootfs/edge-fer/card.json") == 0o644
    assert not (out / STAGE).exists()


def test_a_folder_without_secrets_is_nobodys_secret(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir(mode=0o755)
    write_folder(card(boot=(CardFile(path="edge-fer/card.json", content=b"{}"),)), out)
    assert mode(out) == 0o755


def test_rendering_again_leaves_nothing_of_the_last_time_and_keeps_the_rest(tmp_path: Path) -> None:
    out = tmp_path / "out"
    write_folder(card(), out)
    (out / "mine.txt").write_text("mine")
    less = card(boot=(CardFile(path="edge-fer/card.json", content=b"{2}"),))
    write_folder(less, out)
    assert sorted(tree(out / "bootfs")) == ["edge-fer", "edge-fer/card.json"]
    assert (out / "mine.txt").read_text() == "mine"
    before = tree(out)
    write_folder(less, out)
    assert tree(out) == before


def test_somebody_elses_folder_is_left_alone_unless_forced(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years")
    with pytest.raises(ConfigError, match="not empty"):
        write_folder(card(), tmp_path)
    assert tree(tmp_path) == {"thesis.txt": b"years"}
    write_folder(card(), tmp_path, force=True)
    assert (tmp_path / "thesis.txt").read_text() == "years"
    assert (tmp_path / "bootfs/user-data").is_file()


def test_a_boot_partition_is_no_output_folder(tmp_path: Path) -> None:
    boot = boot_folder(tmp_path / "bootfs")
    with pytest.raises(ConfigError, match="not empty") as caught:
        write_folder(card(), boot)
    assert f"--into {boot}" in caught.value.remedy


def test_a_file_is_no_output_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(ConfigError, match="is a file"):
        write_folder(card(), tmp_path / "out")


@pytest.mark.parametrize("name", ["a:b.tflite", "a\\x2db.mount", "a.", "../a", "a//b", "x" * 256])
def test_a_name_that_fat_does_not_know_is_refused(tmp_path: Path, name: str) -> None:
    bad = card(boot=(CardFile(path=f"edge-fer/{name}", content=b""),))
    with pytest.raises(ConfigError, match="FAT"):
        write_folder(bad, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_names_that_differ_in_case_alone_are_refused(tmp_path: Path) -> None:
    files = (CardFile(path="edge-fer/A", content=b""), CardFile(path="edge-fer/a", content=b""))
    with pytest.raises(ConfigError, match="one file on a FAT"):
        write_folder(card(boot=files), tmp_path / "out")


def test_a_folder_of_the_images_is_never_replaced(tmp_path: Path) -> None:
    boot = boot_folder(tmp_path / "boot")
    with pytest.raises(ConfigError, match="folder of the image"):
        write_into(card(boot=(CardFile(path="overlays/a.dtbo", content=b""),)), boot)


# Into a boot partition


def test_a_boot_partition_gets_the_files_and_keeps_its_own(tmp_path: Path) -> None:
    boot = boot_folder(tmp_path / "boot")
    written = write_into(card(), boot)
    assert [p.name for p in written[-2:]] == ["config.txt", "cmdline.txt"]
    assert (boot / "config.txt").read_text().startswith(CONFIG + BEGIN)
    assert (boot / "cmdline.txt").read_text() == "console=tty1 root=PARTUUID=8a43 rootwait quiet\n"
    assert (boot / "kernel8.img").read_bytes() == b"kernel"
    assert (boot / "user-data").read_bytes().startswith(b"#cloud-config")
    assert mode(boot / "user-data") == 0o600
    assert not (boot / "notice.html").exists()
    assert not (boot / STAGE).exists()


def test_twice_is_once_and_what_is_no_longer_wanted_goes(tmp_path: Path) -> None:
    boot = boot_folder(tmp_path / "boot")
    write_into(card(), boot)
    before = tree(boot)
    write_into(card(), boot)
    assert tree(boot) == before
    first, second, *_ = card().boot
    write_into(card(boot=(first, second)), boot)
    assert [p.name for p in (boot / "edge-fer").iterdir()] == ["card.json"]


def test_what_a_killed_run_left_is_taken_away(tmp_path: Path) -> None:
    boot = boot_folder(tmp_path / "boot")
    (boot / STAGE / "new").mkdir(parents=True)
    (boot / STAGE / "new" / "user-data").write_text("half")
    write_into(card(), boot)
    assert not (boot / STAGE).exists()
    assert b"half" not in (boot / "user-data").read_bytes()


def test_bytes_that_are_no_utf8_stay(tmp_path: Path) -> None:
    boot = boot_folder(tmp_path / "boot")
    text = b"# Gr\xfc\xdfe\r\n[pi4]\r\narm_boost=1"
    (boot / "config.txt").write_bytes(text)
    write_into(card(), boot)
    assert (boot / "config.txt").read_bytes().startswith(text + b"\r\n# edge-fer: begin\r\n[all]")


def test_a_copy_with_names_in_capitals_does_not_get_second_files(tmp_path: Path) -> None:
    boot = boot_folder(tmp_path / "boot")
    (boot / "config.txt").rename(boot / "CONFIG.TXT")
    (boot / "user-data").rename(boot / "User-Data")
    write_into(card(), boot)
    assert BEGIN in (boot / "CONFIG.TXT").read_text()
    assert b"hostname: a" in (boot / "User-Data").read_bytes()
    assert not (boot / "config.txt").exists()
    assert not (boot / "user-data").exists()


def test_a_file_is_copied_onto_the_card(tmp_path: Path) -> None:
    boot = boot_folder(tmp_path / "boot")
    wheel = tmp_path / "a.whl"
    wheel.write_bytes(b"wheel" * 1000)
    write_into(card(boot=(CardFile(path="edge-fer/wheels/a.whl", content=wheel),)), boot)
    assert (boot / "edge-fer/wheels/a.whl").read_bytes() == wheel.read_bytes()


def test_a_file_that_is_gone_changes_nothing(tmp_path: Path) -> None:
    boot = boot_folder(tmp_path / "boot")
    before = tree(boot)
    gone = CardFile(path="edge-fer/a.whl", content=tmp_path / "gone.whl")
    with pytest.raises(ConfigError, match=r"gone.whl cannot be read"):
        write_into(card(boot=(*card().boot, gone)), boot)
    assert tree(boot) == before


@pytest.mark.parametrize("missing", ["config.txt", "cmdline.txt"])
def test_a_folder_that_is_no_boot_partition_is_refused(tmp_path: Path, missing: str) -> None:
    boot = boot_folder(tmp_path / "boot")
    (boot / missing).unlink()
    before = tree(boot)
    with pytest.raises(ConfigError, match=f"no boot folder: it has no {missing}") as caught:
        write_into(card(), boot, force=True)
    assert "bootfs" in caught.value.remedy
    assert tree(boot) == before
    with pytest.raises(ConfigError, match="is no folder"):
        write_into(card(), tmp_path / "nowhere")


def test_the_folder_above_the_boot_partition_gets_a_hint(tmp_path: Path) -> None:
    boot_folder(tmp_path / "firmware")
    with pytest.raises(ConfigError, match=r"Did you mean .*/firmware\?"):
        write_into(card(), tmp_path)


@pytest.mark.parametrize(
    ("name", "text", "reason"),
    [
        ("cmdline.txt", "root=x\nquiet\n", "cmdline.txt:2: a second line"),
        ("config.txt", "a=1\ndtparam=watchdog=off\n", "config.txt:2: "),
    ],
)
def test_a_file_that_cannot_be_merged_is_named_and_nothing_changes(
    tmp_path: Path, name: str, text: str, reason: str
) -> None:
    boot = boot_folder(tmp_path / "boot")
    (boot / name).write_text(text)
    before = tree(boot)
    with pytest.raises(ConfigError, match=f"{boot}/{reason}"):
        write_into(card(), boot)
    assert tree(boot) == before


# Failures while writing


class Interrupting(type(Path())):  # type: ignore[misc]
    """A file during whose copying somebody presses Ctrl-C."""

    def open(self, *args: object, **kwargs: object) -> object:
        raise KeyboardInterrupt


def test_ctrl_c_changes_nothing(tmp_path: Path) -> None:
    boot = boot_folder(tmp_path / "boot")
    write_into(card(), boot)
    before = tree(boot)
    (tmp_path / "a.whl").write_bytes(b"wheel")
    last = CardFile(path="edge-fer/a.whl", content=Interrupting(tmp_path / "a.whl"))
    changed = card(boot=(*card().boot, last), cmdline=("other",))
    with pytest.raises(KeyboardInterrupt):
        write_into(changed, boot)
    assert tree(boot) == before
    with pytest.raises(KeyboardInterrupt):
        write_folder(changed, tmp_path / "a" / "b")
    assert not (tmp_path / "a").exists()


@needs_root
def test_a_partition_that_is_too_small_is_refused_before_anything_is_written(
    tmp_path: Path,
) -> None:
    with small_disk(tmp_path / "boot", "size=128k") as boot:
        before = tree(boot_folder(boot))
        big = CardFile(path="edge-fer/a.whl", content=bytes(200_000))
        with pytest.raises(DeviceError, match=r"has 0.1 MB free; the card's files need 0.2 MB"):
            write_into(card(boot=(big,)), boot)
        assert tree(boot) == before


@needs_root
def test_a_partition_that_fills_up_while_it_is_written_is_as_it_was(tmp_path: Path) -> None:
    # Room for the bytes, and not for so many files: the check before cannot see it.
    with small_disk(tmp_path / "boot", "size=1m,nr_inodes=12") as boot:
        before = tree(boot_folder(boot))
        with pytest.raises(DeviceError, match=r"No space left .* Nothing in it was changed") as err:
            write_into(card(), boot)
        assert err.value.exit_code == 4
        assert tree(boot) == before


@needs_root
def test_a_read_only_partition_is_refused(tmp_path: Path) -> None:
    with small_disk(tmp_path / "boot", "size=128k") as boot:
        before = tree(boot_folder(boot))
        subprocess.run(["mount", "-o", "remount,ro", boot], check=True)
        with pytest.raises(DeviceError, match="read-only"):
            write_into(card(), boot)
        assert tree(boot) == before


@needs_root
def test_a_failure_between_the_exchanges_puts_everything_back(tmp_path: Path) -> None:
    boot = boot_folder(tmp_path / "boot")
    write_into(card(), boot)
    first, second, *_ = card().boot
    before, modes = tree(boot), mode(boot / "user-data")
    # A file that something is mounted on cannot be replaced: cmdline.txt, which comes last.
    held = boot / "cmdline.txt"
    if subprocess.run(["mount", "--bind", held, held], check=False).returncode:
        pytest.skip("nothing can be mounted here")
    try:
        changed = card(boot=(first, second), config=("dtparam=watchdog=on", "disable_splash=1"))
        with pytest.raises(DeviceError, match="busy"):
            write_into(changed, boot)
    finally:
        subprocess.run(["umount", held], check=True)
    assert tree(boot) == before
    assert mode(boot / "user-data") == modes
