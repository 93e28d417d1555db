"""What both kinds of first boot may do to accounts, judged alike."""

from __future__ import annotations

import re
from collections.abc import Iterator

from edge_fer_firmware.checking.folder import CardFolder
from edge_fer_firmware.findings import Finding
from edge_fer_firmware.judging import must_accept

__all__ = ["check_boot_files", "enables_ssh", "judge_root", "judge_ssh"]

# Files that Raspberry Pi OS acts on when it finds them on the boot partition, whatever our settings
# say (raspberrypi/documentation, configuration/headless.adoc; RPi-Distro/raspberrypi-sys-mods and
# userconf-pi). Whether each release still reads each of them was not tried.
_ACTED_ON = {
    "ssh": "it switches SSH on",
    "ssh.txt": "it switches SSH on",
    "userconf": "it sets a user and their password",
    "userconf.txt": "it sets a user and their password",
    "wpa_supplicant.conf": "older systems join the wireless network in it",
    "custom.toml": "it sets user, network and SSH on the first boot",
}
_ENABLED = re.compile(
    r"(?i)\bsystemctl\b.*\b(enable|start|unmask)\b.*\bsshd?(\.service|\.socket)?\b"
    r"|\bdo_ssh\s+0\b|\benable_ssh\b(?!.*-d)|\bssh_enabled\b"
)


def judge_root(card: CardFolder, file: str, line: int, *, has_password: bool) -> Finding:
    """A user becomes root without a password: weak only where they have one to be asked for."""
    if has_password:
        message = "A user with a password becomes root without it."
        return must_accept(
            "passwordless-sudo", card.accepted, message, check="users", file=file, line=line
        )
    # With a key alone there is no password that sudo could ask for.
    return Finding(
        check="users",
        state="warning",
        message="Who has this user's key is root: there is no password to ask for.",
        file=file,
        line=line,
        remedy="Give the user a password_hash, or keep the key safe.",
    )


def enables_ssh(command: str) -> bool:
    """Whether a command switches SSH on: of systemd, of raspi-config."""
    return bool(_ENABLED.search(command))


def judge_ssh(card: CardFolder, file: str, line: int) -> Iterator[Finding]:
    """SSH is switched on here: against the settings, unless they say so too."""
    if card.settings is not None and not card.settings.network.ssh:
        yield Finding(
            check="users",
            state="problem",
            message="SSH is switched on here, and the settings say ssh = false.",
            file=file,
            line=line,
            remedy="Take it out, or write [network] ssh = true and render the card again.",
        )


def check_boot_files(card: CardFolder) -> Iterator[Finding]:
    """Files beside ours that set up a card by themselves."""
    for path in sorted(card.boot.iterdir()):
        # FAT knows no difference between upper and lower case.
        what = _ACTED_ON.get(path.name.lower())
        if what and path.is_file():
            yield Finding(
                check="boot files",
                state="problem",
                message=f"Not of this card: {what}.",
                file=card.name(path),
                remedy=f"Remove {path.name}; the settings say what the card is to have.",
            )
