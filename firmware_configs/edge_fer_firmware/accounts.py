"""Names of users that a card's system has already, or that are ours."""

from __future__ import annotations

__all__ = ["taken"]

# Of Debian's base-passwd (passwd.master, group.master: useradd refuses a user named as a group that
# exists), and of packages on Raspberry Pi OS.
_SYSTEM = frozenset(
    {
        "root", "daemon", "bin", "sys", "sync", "games", "man", "lp", "mail", "news", "uucp",
        "proxy", "www-data", "backup", "list", "irc", "_apt", "nobody", "adm", "tty", "disk",
        "kmem", "dialout", "fax", "voice", "cdrom", "floppy", "tape", "sudo", "audio", "dip",
        "operator", "src", "shadow", "utmp", "video", "sasl", "plugdev", "staff", "users",
        "nogroup", "input", "sgx", "kvm", "render", "crontab", "netdev", "gpio", "i2c", "spi",
        "lpadmin", "messagebus", "sshd", "_ssh", "avahi", "polkitd", "rtkit", "dnsmasq", "_rpc",
        "statd", "lightdm", "colord", "pulse", "saned", "tss", "uuidd", "usbmux", "gnats",
        "_chrony", "ntpsec",
    }
)  # fmt: skip
_OURS = frozenset({"edge-fer", "edge-fer-kiosk"})


def taken(name: str) -> str:
    """Why nobody may log in by this name; empty: they may."""
    if name in _OURS:
        return "a service of edge-fer has this name"
    if name in _SYSTEM or name.startswith("systemd-"):
        return "the system has an account or a group of this name"
    return ""
