"""The installer and firstrun.sh, run for real against a scratch root."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import scratch_card
from scratch_card import CMDLINE, FULL, Scratch

MODE = {
    "usr/lib/edge-fer/clock": 0o755,
    "etc/systemd/system/edge-fer-clock.service": 0o644,
    "etc/edge-fer/credentials/mqtt-password": 0o600,
    "etc/edge-fer/credentials": 0o700,
}


def with_wheels(card: Scratch) -> Scratch:
    return card.with_wheels()


def test_plain_card_is_installed(tmp_path: Path) -> None:
    plan = scratch_card.plan(
        storage="root", credentials={"mqtt-password": "hunter2"}, models=(scratch_card.model(),),
        run={"source": "/dev/video0", "sinks": ["mqtt://broker/x"]}, **FULL,
    )  # fmt: skip
    card = with_wheels(Scratch(tmp_path, plan))
    done = card.run("edge-fer/install.sh")
    assert done.returncode == 0, done.stdout + card.log
    assert "FAILED" not in card.log
    for path, mode in MODE.items():
        assert (card.root / path).stat().st_mode & 0o777 == mode, path
    assert (card.root / "etc/edge-fer/credentials/mqtt-password").read_text() == "hunter2"
    assert not (card.boot / "edge-fer/root/etc/edge-fer/credentials/mqtt-password").exists()
    assert (card.root / "opt/edge-fer/models/mine.tflite").read_bytes() == b"weights"
    wheels = card.boot / "edge-fer/wheels"
    assert (
        f"pip install --no-cache-dir --no-index --find-links {wheels} edge-fer[mqtt]==1.2.3"
        in card.called
    )
    for unit in ("edge-fer-clock.service", "edge-fer-clock-save.timer"):
        assert f"systemctl enable {unit}" in card.called
    assert "systemctl enable edge-fer-clock-save.service" not in card.called
    assert card.called.index("systemctl enable edge-fer-install.service") < card.called.index(
        "systemctl disable edge-fer-install.service"
    )
    assert (card.root / "usr/lib/edge-fer/installed").read_text() == "1.2.3\n"
    assert card.cmdline == f"{CMDLINE} cfg80211.ieee80211_regdom=DE\n"
    assert card.run_mark.exists()


def test_what_only_the_first_boot_needed_is_taken_off_the_card(tmp_path: Path) -> None:
    card = with_wheels(Scratch(tmp_path, scratch_card.plan(storage="root", **FULL)))
    assert card.run("edge-fer/install.sh").returncode == 0
    user_data, network = ((card.boot / n).read_text() for n in ("user-data", "network-config"))
    assert "$6$" not in user_data
    assert 'hashed_passwd: "!"' in user_data
    assert 'password: "taken-away-after-the-first-boot"' in network
    assert "ssh-ed25519" in user_data
    for file in card.boot.rglob("*"):
        assert not file.is_file() or b"$6$salt" not in file.read_bytes(), file


def test_read_only_card_asks_for_a_boot(tmp_path: Path) -> None:
    card = with_wheels(Scratch(tmp_path, scratch_card.plan(storage="overlay")))
    done = card.run("edge-fer/install.sh")
    assert done.returncode == 0, card.log
    final = "init=/usr/lib/edge-fer/overlay-init cloud-init=disabled"
    assert card.cmdline == f"{CMDLINE} {final}\n"
    assert card.run_mark.exists()
    assert (card.root / "usr/lib/edge-fer/overlay-init").stat().st_mode & 0o111
    assert "systemctl disable apt-daily.timer" in card.called
    again = card.run("edge-fer/install.sh")
    assert again.returncode == 0, card.log
    assert card.cmdline == f"{CMDLINE} {final}\n"


def storage_card(tmp_path: Path) -> Scratch:
    card = with_wheels(Scratch(tmp_path, scratch_card.plan()))
    prepare = card.boot / "edge-fer/root/usr/lib/edge-fer/prepare-storage"
    prepare.write_text('#!/bin/sh\necho prepare-storage >>"$CALLS"\n')
    card.fake("mountpoint", "exit 1")
    return card


def test_data_partition_is_mounted_by_fstab_once(tmp_path: Path) -> None:
    card = storage_card(tmp_path)
    (card.root / "etc/fstab").write_text("PARTUUID=aa-02 / ext4 defaults 0 1")  # no line break
    assert card.run("edge-fer/install.sh").returncode == 0, card.log
    assert card.run("edge-fer/install.sh").returncode == 0, card.log
    lines = (card.root / "etc/fstab").read_text().splitlines()
    assert lines[0].startswith("PARTUUID=aa-02 / ")
    (data,) = lines[1:]
    assert data.split()[:3] == ["LABEL=edge-fer-data", "/var/lib/edge-fer", "ext4"]
    # Given up after 30 seconds once, under emulation: the service then stays off for good.
    assert "x-systemd.device-timeout=5min" in data.split()[3].split(",")
    assert {"noatime", "nofail"} <= set(data.split()[3].split(","))
    assert data.split()[4:] == ["0", "2"]
    assert f"mount {card.root}/var/lib/edge-fer" in card.called
    assert card.called.index("prepare-storage") < card.called.index(
        f"mount {card.root}/var/lib/edge-fer"
    )


@pytest.mark.parametrize(
    ("broken", "words"),
    [
        ("systemd-sysusers", "making the account"),
        ("python3", "installing the program"),
        ("chown", "seeing to another try"),
        ("mount", "preparing the storage"),
    ],
)
def test_failure_is_said_leaves_the_card_writable_and_can_be_mended(
    tmp_path: Path, broken: str, words: str
) -> None:
    card = storage_card(tmp_path)
    works = (card.bin / broken).read_text()
    card.fake(broken, "exit 3")
    done = card.run("edge-fer/install.sh")
    assert done.returncode == 1
    assert not card.run_mark.exists()
    assert f"FAILED: {words}" in card.log
    assert "sudo sh /boot/firmware/edge-fer/install.sh" in card.log
    assert card.cmdline == f"{CMDLINE}\n"
    assert not (card.root / "usr/lib/edge-fer/installed").exists()
    assert "systemctl disable edge-fer-install.service" not in card.called
    (card.bin / broken).write_text(works)
    mended = card.run("edge-fer/install.sh")
    assert mended.returncode == 0, card.log
    assert "overlay-init" in card.cmdline
    assert "systemctl disable edge-fer-install.service" in card.called


def test_without_wheels_what_the_image_has_is_kept(tmp_path: Path) -> None:
    card = Scratch(tmp_path, scratch_card.plan(storage="root"))
    program = card.root / "opt/edge-fer/bin/edge-fer"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho the image has it\n")
    program.chmod(0o755)
    assert card.run("edge-fer/install.sh").returncode == 0, card.log
    assert "the image has it" in card.log
    assert not any(call.startswith("pip") for call in card.called)


def test_without_wheels_and_network_the_log_says_what_to_do(tmp_path: Path) -> None:
    card = Scratch(tmp_path, scratch_card.plan("bookworm", storage="root"))
    card.fake(
        "python3",
        '[ "$1" != -c ] || exit 0; for made; do :; done; mkdir -p "$made/bin"; pip=$made/bin/pip; '
        "printf '#!/bin/sh\\necho \"$@\"; exit 1\\n' >$pip; chmod +x $pip",
    )
    assert card.run("edge-fer/install.sh").returncode == 1
    assert "install --no-cache-dir edge-fer==1.2.3 numpy<2" in card.log
    assert "edge-fer provision wheels" in card.log


def test_under_an_overlay_nothing_is_begun(tmp_path: Path) -> None:
    card = Scratch(tmp_path, scratch_card.plan(storage="overlay"))
    card.fake("findmnt", "echo overlay")
    done = card.run("edge-fer/install.sh")
    assert done.returncode == 1
    assert "writable on" in done.stderr
    assert not (card.root / "usr/lib/edge-fer").exists()


def test_models_that_may_be_replaced_belong_to_the_service(tmp_path: Path) -> None:
    plan = scratch_card.plan(storage="root", model_updates=True, models=(scratch_card.model(),))
    card = with_wheels(Scratch(tmp_path, plan))
    assert card.run("edge-fer/install.sh").returncode == 0, card.log
    folder = card.root / "var/lib/edge-fer/models"
    assert (folder / "mine.tflite").exists()
    assert f"chown -R edge-fer:edge-fer {folder}" in card.called


def bookworm(tmp_path: Path, **settings: object) -> Scratch:
    return with_wheels(Scratch(tmp_path, scratch_card.plan("bookworm", storage="root", **settings)))


def test_first_run_sets_everything_up_and_takes_itself_away(tmp_path: Path) -> None:
    card = bookworm(tmp_path, host={"name": "kiosk-1", "time_zone": "Europe/Berlin"}, **FULL)
    card.fake("chpasswd", 'cat >"$ROOT/password"')
    done = card.run("firstrun.sh")
    assert done.returncode == 0
    assert "FAILED" not in card.log
    assert (card.root / "etc/hostname").read_text() == "kiosk-1\n"
    assert "127.0.1.1\tkiosk-1\n" in (card.root / "etc/hosts").read_text()
    assert (card.root / "etc/localtime").readlink() == Path("/usr/share/zoneinfo/Europe/Berlin")
    assert "usermod -l edge pi" in card.called
    assert (card.root / "password").read_text() == "edge:$6$salt$it/is.none\n"
    assert (card.root / "etc/sudoers.d/edge-fer-user").read_text() == "edge ALL=(ALL) ALL\n"
    keys = card.root / "home/edge/.ssh/authorized_keys"
    assert keys.read_text() == FULL["user"]["ssh_keys"][0] + "\n"
    assert keys.stat().st_mode & 0o777 == 0o600
    assert "systemctl enable ssh.service" in card.called
    connection = card.root / "etc/NetworkManager/system-connections/edge-fer.nmconnection"
    assert connection.stat().st_mode & 0o777 == 0o600
    assert "ssid=77;121;32;34;" in connection.read_text()
    assert "hidden=true" in connection.read_text()
    assert "raspi-config nonint do_wifi_country DE" in card.called
    assert card.cmdline == f"{CMDLINE} cfg80211.ieee80211_regdom=DE\n"
    assert not (card.boot / "firstrun.sh").exists()
    assert "$6$" not in done.stdout + done.stderr + card.log


def test_first_run_without_a_password_locks_the_account(tmp_path: Path) -> None:
    card = bookworm(tmp_path)
    (card.root / "etc/sudoers.d/010_pi-nopasswd").write_text("pi ALL=(ALL) NOPASSWD: ALL\n")
    assert card.run("firstrun.sh").returncode == 0
    assert "usermod -L edge" in card.called
    assert list((card.root / "etc/sudoers.d").iterdir()) == []
    assert "systemctl disable ssh.service" in card.called
    assert "chpasswd -e" not in card.called
    assert not (card.root / "etc/NetworkManager/system-connections").exists()


def test_first_run_goes_on_and_ends_whatever_fails(tmp_path: Path) -> None:
    card = bookworm(tmp_path)
    shutil.rmtree(card.root / "etc/default")
    card.fake("python3", "exit 1")
    done = card.run("firstrun.sh")
    assert done.returncode == 0  # or systemd would not boot again
    assert "FAILED: setting keyboard and time zone" in card.log
    assert "FAILED: installing the program" in card.log
    assert "the next boot tries again" in card.log
    assert card.cmdline == f"{CMDLINE}\n"
    assert "systemctl enable edge-fer-install.service" in card.called
