"""What the card does not bring and the image must have."""

from __future__ import annotations

from collections.abc import Iterator

from edge_fer_firmware.carded import PAYLOAD
from edge_fer_firmware.checking.folder import CardFolder
from edge_fer_firmware.findings import Finding
from edge_fer_firmware.planning import uses_picamera
from edge_fer_firmware.units.kiosk import PACKAGES

__all__ = ["check_image"]


def check_image(card: CardFolder) -> Iterator[Finding]:
    """Say which packages the card counts on."""
    settings = card.settings
    if settings is None:
        return
    wanted = ["python3-venv", *(["python3-picamera2"] if uses_picamera(settings) else [])]
    yield Finding(
        check="image",
        state="ok",
        # RPi-Distro/pi-gen's package lists of these releases were not at hand.
        message=f"The image must have {' and '.join(wanted)}: Raspberry Pi OS has; that its Lite "
        "image has is unconfirmed.",
    )
    if not settings.kiosk.enabled:
        return
    script = card.text(card.boot / PAYLOAD / "install.sh") or ""
    fetched = not card.offline and any(
        "apt-get" in line and "install" in line and "cage" in script for line in script.split("\n")
    )
    packages = " ".join(PACKAGES)
    if fetched:
        yield Finding(
            check="image",
            state="ok",
            message=f"The kiosk's packages come over the network, at the first boot: {packages}.",
        )
    else:
        yield Finding(
            check="image",
            state="warning",
            message=f"The image must have {packages}: the kiosk's screen stays dark without.",
            remedy=f"sudo apt install {packages} in the image, before it is made read-only.",
        )
