"""The settings of a card: one small TOML file, every key with a default that is safe."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from unicodedata import category

from pydantic import BaseModel, ConfigDict, Field, field_validator

__all__ = [
    "CardSettings",
    "Coral",
    "Deployment",
    "Host",
    "Kiosk",
    "Network",
    "Service",
    "User",
    "Wifi",
]

# RFC 1123, one label.
_HOST_NAME = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"
# useradd(8) on Debian.
_USER_NAME = r"^[a-z_][a-z0-9_-]{0,31}$"


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Host(_Table):
    """The machine."""

    name: str = Field("edge-fer", pattern=_HOST_NAME, description="host name, one label")
    time_zone: str = Field("Etc/UTC", description="as in /usr/share/zoneinfo: Europe/Berlin")
    keyboard: str = Field("us", pattern="^[a-z]{2,3}$", description="layout: us, gb, de")


class User(_Table):
    """The one person who may log in; the service has a user of its own."""

    name: str = Field("edge", pattern=_USER_NAME)
    password_hash: str = Field(
        "", repr=False, description="made by: openssl passwd -6; empty: no password"
    )
    ssh_keys: tuple[str, ...] = Field((), description="public keys, as in authorized_keys")


class Wifi(_Table):
    """The wireless network."""

    ssid: str = Field(description="name of the network, 1 to 32 bytes in UTF-8")
    psk: str = Field(
        "", repr=False, description="passphrase of 8 to 63 characters, or 64 hexadecimal digits"
    )
    psk_file: str = Field("", description="a file that holds it, beside the settings")
    country: str = Field(pattern="^[A-Z]{2}$", description="ISO 3166, for the radio's rules")
    hidden: bool = False

    @field_validator("ssid")
    @classmethod
    def _fits(cls, ssid: str) -> str:
        """IEEE 802.11: 32 octets at most; the files that it is written to are lines of text."""
        length = len(ssid.encode(errors="surrogatepass"))
        if not 1 <= length <= 32:
            raise ValueError(f"this has {length} bytes in UTF-8, and 1 to 32 are allowed")
        if any(category(letter) == "Cc" for letter in ssid):
            raise ValueError("this has control characters in it")
        return ssid


class Network(_Table):
    """What the card connects to; by default nothing, and nobody connects to it."""

    ethernet: bool = Field(False, description="DHCP where a cable is plugged in")
    wifi: Wifi | None = None
    ssh: bool = False
    ssh_password: bool = Field(False, description="log in with a password, not only with a key")


class Service(_Table):
    """Limits of ``edge-fer.service``."""

    memory_max_mb: int = Field(400, ge=150, le=8192)
    cpu_quota: int = Field(0, ge=0, le=800, description="per cent of one core; 0: all there are")
    watchdog: int = Field(20, ge=10, le=600, description="seconds without a frame until a restart")
    credentials: dict[str, str] = Field(
        default_factory=dict, description="name = file beside the settings; mqtt-password"
    )


class Kiosk(_Table):
    """A full-screen page on the card's own screen."""

    enabled: bool = False
    url: str = Field("", description="empty: the page of the sink sse://")
    rotate: Literal[0, 90, 180, 270] = 0


class Coral(_Table):
    """An Edge TPU."""

    usb: bool = False


class Deployment(_Table):
    """Who runs it, what for, and what the people in front of it are told."""

    operator: str = Field("", description="name and how to reach them")
    purpose: str = Field("", description="in a sentence, for everybody to read")
    area: Literal[
        "exhibition", "retail", "hospitality", "research", "art", "home", "health-or-safety",
        "other", "workplace", "education",
    ] = Field("other", description="where it stands")  # fmt: skip
    notice: dict[str, str] = Field(
        default_factory=dict, description="language = text; the first is the page's banner"
    )


class CardSettings(_Table):
    """One card."""

    board: str = Field(description="zero2w, pi4, pi5; more: edge-fer provision render --help")
    system: str = Field(description="trixie or bookworm, 64-bit")
    storage: Literal["data-partition", "overlay", "root"] = Field(
        "data-partition", description="what is writable: a partition, nothing, everything"
    )
    root_gb: Annotated[int, Field(ge=4, le=64)] = Field(
        6, description="of the system's partition, where there is a data partition"
    )
    model_updates: bool = Field(
        False, description="models may be replaced on the device, without a new card"
    )
    accept: tuple[str, ...] = Field((), description="weak choices that are meant; see check")
    host: Host = Host()
    user: User = User()
    network: Network = Network()
    service: Service = Service()
    kiosk: Kiosk = Kiosk()
    coral: Coral = Coral()
    deployment: Deployment = Deployment()
    run: dict[str, Any] = Field(
        default_factory=lambda: {"source": "picamera2:0"},
        description="settings of edge-fer run; edge_fer/defaults.toml lists them",
    )
