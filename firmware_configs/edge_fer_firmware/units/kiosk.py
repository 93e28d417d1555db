"""``edge-fer-kiosk.service``: cage and Chromium, one page over the whole screen.

Written for the Lite image: a desktop's own session would fight for the screen. cage gets the
screen from seatd and not from logind, because a logind session is no part of the unit, and no
limit of the unit would hold in it. Nobody has tried it on a board's screen.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from edge_fer.errors import ConfigError
from edge_fer_firmware.carded import CardFile, root_file
from edge_fer_firmware.plan import CREDENTIALS, DATA, Plan
from edge_fer_firmware.templating import fill
from edge_fer_firmware.units.network import is_local, network_of, page_of

__all__ = ["NAME", "PACKAGES", "USER", "files", "page"]

NAME = "edge-fer-kiosk.service"
USER = "edge-fer-kiosk"
#: What the image needs for it. Without Xwayland cage 0.1.4 ends; its package does not ask for it.
PACKAGES = ("cage", "chromium", "seatd", "wlr-randr", "xwayland", "fonts-noto-core")

_UNIT = f"/etc/systemd/system/{NAME}"
_START = "/usr/lib/edge-fer/kiosk"
# With its own Python: an image need not have curl. The page may only answer later.
_ASK = (
    '/usr/bin/python3 -c "import os, urllib.request as r; '
    "r.urlopen(os.environ[\\'PAGE\\'], timeout=2)\" 2>/dev/null"
)
# chromium --help, and the switches of its source; the last ones keep it from its maker's servers.
_FLAGS = (
    "--kiosk",
    "--incognito",
    f"--user-data-dir=/run/{USER}/profile",
    "--ozone-platform=wayland",
    "--no-first-run",
    "--no-default-browser-check",
    "--noerrdialogs",
    "--disable-session-crashed-bubble",
    "--disable-breakpad",
    "--disable-features=Translate,MediaRouter",
    "--disable-pinch",
    "--overscroll-history-navigation=0",
    "--password-store=basic",
    "--autoplay-policy=no-user-gesture-required",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-domain-reliability",
    "--disable-sync",
    "--disable-extensions",
)


def page(plan: Plan) -> str:
    """The page that is shown.

    Raises:
        ConfigError: there is none, or its address is no page's.
    """
    url = plan.settings.kiosk.url or page_of(plan.sinks)
    if not url:
        raise ConfigError(
            "The kiosk has nothing to show: [kiosk] url is empty, and no sink serves a page.",
            'Add to [run]: sinks = ["sse://127.0.0.1:8765"]',
        )
    if urlsplit(url).scheme not in ("http", "https", "file") or not _plain(url):
        raise ConfigError(
            f"[kiosk] url {url!r} is no address of a page.",
            "Write http://127.0.0.1:PORT/ or file:///PATH, blanks as %20.",
        )
    return url


def files(plan: Plan) -> tuple[CardFile, ...]:
    """The unit and what it starts; nothing where the kiosk is off.

    Raises:
        ConfigError: as :func:`page`.
    """
    kiosk = plan.settings.kiosk
    if not kiosk.enabled:
        return ()
    url = page(plan)
    unit = fill(
        "units/edge-fer-kiosk.service.j2",
        version=plan.version,
        packages=" ".join(PACKAGES),
        url=_specified(url),
        page=_specified(url),
        local_page=is_local(url) and not url.startswith("file:"),
        ask=_ASK,
        start=_START,
        user=USER,
        rotate=kiosk.rotate,
        state=DATA,
        credentials=CREDENTIALS,
        network=network_of(url, ()),
    )
    return (
        root_file(_UNIT, unit),
        root_file(_START, fill("units/kiosk.j2", flags=_FLAGS), executable=True),
    )


def _plain(url: str) -> bool:
    return url.isprintable() and not set(url) & set(" \"'\\")


def _specified(text: str) -> str:
    """As a unit writes it: a single % begins a specifier (systemd.unit(5))."""
    return text.replace("%", "%%")
