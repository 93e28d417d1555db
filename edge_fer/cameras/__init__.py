"""Sources of frames, by address; each takes ``?rotate=0|90|180|270&mirror=0|1``.

Live ones, of which the newest frame counts: ``picamera2:0?size=640x480&fps=30&flicker=50``,
``/dev/video0`` or ``usb:NAME`` with ``?size=&fps=&format=mjpg|yuyv``, ``rtsp://`` and ``http://``
streams, and ``synthetic?fps=30``.

Recorded ones, of which every frame counts: a video file, a folder of pictures, one picture, and
``synthetic?faces=2``. A bare path is opened by what it is; ``video:PATH`` and ``images:PATH`` say
so outright. An address that exists as a path is that path, whatever ``?`` or ``:`` stand in its
name.

The query of a stream belongs to its server and is handed on as it was written, except for
``rotate`` and ``mirror``, which are taken out of it. A server that has such a parameter itself gets
it with a letter percent-encoded: ``?%6Dirror=1``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any
from urllib.parse import unquote

from edge_fer.cameras.orientation import Orientation
from edge_fer.errors import ConfigError, DataError
from edge_fer.pictures import PICTURE_SUFFIXES
from edge_fer.types import Camera
from edge_fer.uri import options, redacted, split_query, suggestion

__all__ = ["CAMERAS", "check_camera", "open_camera"]

_STREAMS = ("rtsp", "rtsps", "http", "https")
_LIVE = ("picamera2", "usb", *_STREAMS)
_REMEDY = (
    "SOURCE is picamera2:0, /dev/video0, usb:NAME, rtsp://HOST/PATH, http://HOST/PATH, synthetic, "
    "a video file, a folder of pictures or one picture."
)


def open_camera(uri: str, *, stall_after: float = 5.0, first_within: float | None = None) -> Camera:
    """Open a source. Live ones come as a :class:`~edge_fer.cameras.live.LiveCamera`.

    Args:
        uri: an address as above.
        stall_after: seconds without an answer after which a live camera has hung.
        first_within: seconds within which a live camera must open; None: as long as its kind may
            take; 0: it is not waited for, and is away until it can be opened.

    Raises:
        ConfigError: no such kind of source or parameter.
        DataError: the file is missing, or is no video or picture.
        DeviceError: the camera is not there, busy or not permitted, or the stream not reachable.
        MissingExtra: the camera needs a package that is not installed.
    """
    kind, target, chosen = _read(uri)
    place, shown = CAMERAS[kind][0], redacted(uri)
    orientation = Orientation(rotate=chosen.pop("rotate", 0), mirror=chosen.pop("mirror", False))
    if kind in _STREAMS:
        # Silence is a lost stream, which the reader itself notices; only hanging is not.
        chosen["read_timeout_s"] = 0.8 * stall_after
    make: Callable[[], Camera] = partial(
        resolve_name(place), *target, orientation=orientation, **chosen
    )
    if kind not in _LIVE and "fps" not in chosen:
        return make()
    from edge_fer.cameras.live import LiveCamera

    return LiveCamera(
        make,
        source=shown.partition("?")[0],
        stall_after_s=stall_after,
        first_within_s=first_within,
        # A name server that is away takes its time: no driver hangs then.
        open_within_s=60.0 if kind in _STREAMS else 15.0,
    )


def check_camera(uri: str) -> None:
    """Read the address of a source without opening anything.

    Args:
        uri: as :func:`open_camera` takes it.

    Raises:
        ConfigError: no such kind of source or parameter.
        DataError: a bare path that is not on this machine.
    """
    _read(uri)


def _read(uri: str) -> tuple[str, tuple[Path | str | int, ...], dict[str, Any]]:
    """As :func:`_parse`, with the options read: arguments of the camera's constructor."""
    kind, target, given = _parse(uri)
    known = {**CAMERAS[kind][1], "rotate": _turn, "mirror": _flag}
    chosen = options(redacted(uri), given, known)
    return kind, target, {_ARGUMENTS.get(key, key): value for key, value in chosen.items()}


def _parse(uri: str) -> tuple[str, tuple[Path | str | int, ...], dict[str, str]]:
    """Kind, what it is told (nothing for the synthetic source) and our options after the ``?``."""
    if uri not in CAMERAS and _exists(uri):
        return _kind_of(uri), (Path(uri),), {}
    scheme = uri.partition(":")[0].lower()
    if scheme in _STREAMS and uri[len(scheme) :].startswith("://"):
        url, given = _split_stream(uri)
        return scheme, (url,), given
    address, given = split_query(uri)
    scheme, colon, target = address.partition(":")
    if not address:
        raise ConfigError("The source is empty.", _REMEDY)
    if scheme == "synthetic":
        if target:
            raise ConfigError(
                f"The source {uri!r} has something after 'synthetic:'.",
                "Parameters follow a '?': synthetic?size=640x480&faces=2",
            )
        return scheme, (), given
    if address.startswith("/dev/") and not _exists(address):
        return "usb", (address,), given
    if scheme in CAMERAS and (colon or not _exists(address)):
        return scheme, (_target(uri, scheme, target),), given
    if _exists(address):
        return _kind_of(address), (Path(address),), given
    near = suggestion(scheme, CAMERAS)
    if near.startswith("Did") or (colon and re.fullmatch(r"[a-z][a-z0-9+-]+", scheme)):
        raise ConfigError(f"There is no kind of source {scheme!r}.", f"{near} {_REMEDY}")
    raise DataError(f"There is no file or folder {address}.", f"Check the path. {_REMEDY}")


def _target(uri: str, scheme: str, target: str) -> Path | str | int:
    """What stands after the colon, as the camera of that scheme takes it."""
    if scheme in _STREAMS:
        raise ConfigError(f"{redacted(uri)!r} has no host.", f"Write {scheme}://HOST[:PORT]/PATH")
    if scheme == "picamera2":
        if not re.fullmatch("[0-9]{0,2}", target):
            raise ConfigError(
                f"The source {uri!r} has no number after 'picamera2:'.",
                "Write picamera2:0; rpicam-hello --list-cameras shows the numbers.",
            )
        return int(target or 0)
    if not target:
        what = "device" if scheme == "usb" else "file"
        name = "NAME, for example a part of what v4l2-ctl --list-devices shows"
        raise ConfigError(
            f"The source {uri!r} names no {what}.",
            f"Write {scheme}:{name if scheme == 'usb' else 'PATH'}",
        )
    return f"usb:{target}" if scheme == "usb" else Path(target)


def _split_stream(url: str) -> tuple[str, dict[str, str]]:
    """The server's own address, byte for byte, and our options that stood in its query."""
    head, _, query = url.partition("?")
    theirs: list[str] = []
    ours: dict[str, str] = {}
    for part in query.split("&"):
        key, _, value = part.partition("=")
        if key not in ("rotate", "mirror"):
            theirs.append(part)
        elif key in ours:
            raise ConfigError(f"{redacted(url)!r} names {key!r} twice.", "Give each option once.")
        else:
            ours[key] = unquote(value)
    kept = "&".join(theirs)
    return f"{head}?{kept}" if kept else head, ours


def _exists(path: str) -> bool:
    if not path:
        return False
    try:
        Path(path).stat()
    except (OSError, ValueError):  # also: too long, not permitted, a NUL in it
        return False
    # A device is no file to play, but this folder of /dev holds files.
    return not path.startswith("/dev/") or path.startswith("/dev/shm/")  # noqa: S108


def _kind_of(path: str) -> str:
    picture = Path(path).suffix.lower() in PICTURE_SUFFIXES
    return "images" if picture or Path(path).is_dir() else "video"


def _flag(text: str) -> bool:
    if text not in ("0", "1"):
        raise ValueError("it is 0 or 1")
    return text == "1"


def _turn(text: str) -> int:
    if text not in ("0", "90", "180", "270"):
        raise ValueError("it is 0, 90, 180 or 270")
    return int(text)


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or not low <= int(text) <= high:
            raise ValueError(f"it is a whole number from {low} to {high}")
        return int(text)

    return read


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"([0-9]{1,5})x([0-9]{1,5})", text)
    if not found or not all(32 <= int(side) <= 4096 for side in found.groups()):
        raise ValueError("it is WIDTHxHEIGHT, each from 32 to 4096")
    return int(found[1]), int(found[2])


def _number(low: float, high: float) -> Callable[[str], float]:
    def read(text: str) -> float:
        if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6})?", text) or not low <= float(text) <= high:
            raise ValueError(f"it is a number from {low:g} to {high:g}")
        return float(text)

    return read


def _one_of(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in words:
            raise ValueError(f"it is {' or '.join(words)}")
        return text

    return read


_STREAM = ("edge_fer.cameras.stream:StreamCamera", dict[str, Callable[[str], Any]]())
# Kind to "module:Class" and the parameters of its own; loaded only when asked for.
CAMERAS: Mapping[str, tuple[str, Mapping[str, Callable[[str], Any]]]] = {
    "picamera2": (
        "edge_fer.cameras.picamera:PicameraCamera",
        {
            "size": _size,
            "fps": _whole(1, 240),
            "flicker": lambda text: int(_one_of("50", "60")(text)),
            "shutter_cap": _number(0.05, 1000),
            "meter": _one_of("frame", "face"),
        },
    ),
    "usb": (
        "edge_fer.cameras.v4l2:V4l2Camera",
        {"size": _size, "fps": _whole(1, 240), "format": _one_of("mjpg", "yuyv")},
    ),
    **dict.fromkeys(_STREAMS, _STREAM),
    "synthetic": (
        "edge_fer.cameras.synthetic:SyntheticCamera",
        {
            "size": _size,
            "faces": _whole(0, 64),
            "seed": _whole(0, 2**32 - 1),
            "frames": _whole(1, 10**12),
            "fps": _whole(1, 240),
        },
    ),
    "video": ("edge_fer.cameras.video:VideoCamera", {"pace": _flag}),
    "images": ("edge_fer.cameras.images:ImageCamera", {}),
}
# Parameters whose constructor argument has another name.
_ARGUMENTS = {"shutter_cap": "shutter_cap_ms"}
