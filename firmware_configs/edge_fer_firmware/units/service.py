"""``edge-fer.service``: a watched, bounded service that may do only what its settings need.

Every key is of systemd 252 (bookworm) and later; systemd only warns of a key that it does not
know, so that a newer one would be no protection there. See systemd.exec(5), systemd.service(5),
systemd.resource-control(5).
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import PurePosixPath
from urllib.parse import unquote

from edge_fer.credentials import without_password
from edge_fer.errors import ConfigError
from edge_fer.uri import redacted, split_query
from edge_fer_firmware.carded import CardFile, root_file
from edge_fer_firmware.plan import CONFIG, CREDENTIALS, DATA, PREFIX, Plan, models_folder
from edge_fer_firmware.templating import fill
from edge_fer_firmware.units.network import SourceKind, network_of, source_kind

__all__ = ["CMDLINE", "NAME", "USER", "files"]

NAME = "edge-fer.service"
#: Made by sysusers.d; the data partition belongs to it, so that its number must not change.
USER = "edge-fer"

#: A Pi's firmware says ``cgroup_disable=memory`` (raspberrypi/linux #1950, #6980), and MemoryMax=
#: is then ignored without a word: cmdline.txt has to say the opposite.
CMDLINE = ("cgroup_enable=memory",)

_UNIT = f"/etc/systemd/system/{NAME}"
_CAMERA = ("char-video4linux", "The camera.")
# An ioctl on it is how vcgencmd asks the firmware for under-voltage and throttling.
_FIRMWARE = ("/dev/vcio", "The firmware: under-voltage and throttling (vcgencmd).")
_DEVICES: dict[SourceKind, tuple[tuple[str, str], ...]] = {
    "csi": (
        _CAMERA,
        ("char-media", "libcamera finds the camera's parts by it."),
        ("char-dma_heap", "libcamera's buffers; not tried on a board by us."),
        _FIRMWARE,
    ),
    "v4l2": (_CAMERA, _FIRMWARE),
    "stream": (_FIRMWARE,),
    "synthetic": (),
    "file": (),
}
_USB = ("char-usb_device", "The Coral on USB, under either of its identities.")
_APEX = ("/dev/apex_0", "The Coral on PCIe.")
# Of a path, systemd reads blanks as the end, % as a specifier and : as a separator.
_AWKWARD = set(" \t\"'%:\\\n$")
_HIDDEN = ("/home", "/root", "/tmp", "/var/tmp", "/run/user")  # noqa: S108 (ProtectHome, PrivateTmp)


def files(plan: Plan) -> tuple[CardFile, ...]:
    """The unit.

    Raises:
        ConfigError: an address that cannot be read, or a path that the sandbox hides.
    """
    for name in plan.credentials:
        if not re.fullmatch("[A-Za-z0-9_-]+", name):
            raise ConfigError(f"{name!r} is no name of a credential.", "Write mqtt-password.")
    kind, apex = source_kind(plan.source), _has_apex(plan)
    network = network_of(plan.source, plan.sinks)
    devices = (
        *_DEVICES[kind],
        *((_USB,) if plan.settings.coral.usb else ()),
        *((_APEX,) if apex else ()),
    )
    coral = apex or plan.settings.coral.usb
    if coral:
        # libusb and libedgetpu hear of the stick's second identity from udev, by netlink.
        network = replace(network, private=False)
    if kind == "file":
        _visible(plan.source.partition("?")[0].removeprefix("video:").removeprefix("images:"))
    families = (
        "AF_UNIX",
        *(("AF_NETLINK",) if coral or kind == "csi" or network.inet else ()),
        *network.inet,
    )
    groups = (*(("video",) if _FIRMWARE in devices else ()), *(("plugdev",) if coral else ()))
    return (
        root_file(
            _UNIT,
            fill(
                "units/edge-fer.service.j2",
                version=plan.version,
                source=_one_line(redacted(plan.source)),
                sinks=_one_line(", ".join(map(_shown, plan.sinks))) or "the journal",
                state=DATA,
                prefix=PREFIX,
                config=CONFIG,
                user=USER,
                groups=" ".join(groups),
                data_partition=plan.settings.storage == "data-partition",
                watchdog=plan.settings.service.watchdog,
                # A recording ends; a camera does not, and its service is to be there.
                restart="on-failure" if _ends(plan.source) else "always",
                credentials=sorted(plan.credentials),
                credentials_folder=CREDENTIALS,
                memory_mb=plan.settings.service.memory_max_mb,
                cpu_quota=plan.settings.service.cpu_quota,
                models=models_folder(plan.settings) if plan.models else "",
                writable=_writable(plan),
                devices=devices,
                network=network,
                families=" ".join(families),
            ),
        ),
    )


def _has_apex(plan: Plan) -> bool:
    return any("pcie" in line for line in plan.board.config)


def _ends(source: str) -> bool:
    kind = source_kind(source)
    endless = kind == "synthetic" and "frames" not in split_query(source)[1]
    return kind in ("file", "synthetic") and not endless


def _one_line(text: str) -> str:
    """For a comment: a line break in an address must not begin a line of the unit."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _shown(sink: str) -> str:
    return without_password(sink).partition("?")[0]


def _writable(plan: Plan) -> tuple[str, ...]:
    """Folders beside the state that sinks and files of the settings write to."""
    found = set()
    for sink in plan.sinks:
        kind, _, target = sink.partition(":")
        path, options = split_query(target)
        if kind in ("jsonl", "sqlite") and path != "-":
            found.add(_visible(path).parent)
        if spool := options.get("spool") if kind in ("mqtt", "mqtts") else None:
            found.add(_visible(unquote(spool)))
    for key in ("status_file", "state_file"):
        if path := str(plan.settings.run.get(key, "")):
            found.add(_visible(path).parent)
    own = (DATA, PurePosixPath("/run/edge-fer"))
    return tuple(
        sorted(str(folder) for folder in found if not any(folder.is_relative_to(o) for o in own))
    )


def _visible(path: str) -> PurePosixPath:
    """A path as the service sees it; a relative one is in its state."""
    full = DATA / path
    if ".." in full.parts or _AWKWARD & set(path):
        raise ConfigError(
            f"The path {path!r} cannot stand in a unit.",
            f"Use letters, digits, '-', '_' and '.', for example {DATA}/seen.jsonl",
        )
    if any(full.is_relative_to(folder) for folder in _HIDDEN):
        raise ConfigError(
            f"The service does not see {path}: homes and temporary folders are closed to it.",
            f"Use {DATA}/{full.name}",
        )
    return full
