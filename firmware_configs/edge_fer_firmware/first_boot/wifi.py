"""The key of a wireless network, so that its passphrase need not stand on a card."""

from __future__ import annotations

import hashlib
import re

from edge_fer_firmware.settings import Wifi

__all__ = ["key_of", "keyfile_ssid"]

_KEY = re.compile("[0-9a-fA-F]{64}")


def key_of(wifi: Wifi) -> str:
    """64 hexadecimal digits; empty for an open network.

    PBKDF2-HMAC-SHA1 of passphrase and name, 4096 rounds, 32 bytes (IEEE 802.11i, H.4.1), as
    ``wpa_passphrase`` prints it. Whoever reads it can join this network, and no other.
    """
    if not wifi.psk or _KEY.fullmatch(wifi.psk):
        return wifi.psk.lower()
    return hashlib.pbkdf2_hmac(
        "sha1", wifi.psk.encode(), wifi.ssid.encode(), iterations=4096, dklen=32
    ).hex()


def keyfile_ssid(ssid: str) -> str:
    """A network's name as NetworkManager's keyfiles take any: decimal bytes, each with ``;``.

    Source: nm-settings-keyfile(5).
    """
    return "".join(f"{byte};" for byte in ssid.encode())
