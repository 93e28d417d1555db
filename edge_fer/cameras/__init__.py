"""Sources of frames, by address.

``synthetic?faces=2``, a video file, a folder of pictures or one picture; each takes
``?rotate=0|90|180|270&mirror=0|1``. A bare path is opened by what it is; ``video:PATH`` and
``images:PATH`` say so outright. An address that exists as a path is that path, whatever
``?`` or ``:`` stand in its name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from edge_fer.cameras.orientation import Orientation
from edge_fer.errors import ConfigError, DataError
from edge_fer.pictures import PICTURE_SUFFIXES
from edge_fer.types import Camera
from edge_fer.uri import options, split_query, suggestion

__all__ = ["CAMERAS", "open_camera"]

_LATER = ("picamera2", "usb", "rtsp", "rtsps", "http", "https")
_REMEDY = "SOURCE is synthetic, a video file, a folder of pictures or one picture."


def open_camera(uri: str) -> Camera:
    """Open a source.

    Args:
        uri: an address as above.

    Raises:
        ConfigError: no such kind of source or parameter.
        DataError: the file is missing, or is no video or picture.
    """
    kind, path, given = _parse(uri)
    place, known = CAMERAS[kind]
    chosen = options(uri, given, {**known, "rotate": _turn, "mirror": _flag})
    orientation = Orientation(rotate=chosen.pop("rotate", 0), mirror=chosen.pop("mirror", False))
    camera: Camera = resolve_name(place)(*path, orientation=orientation, **chosen)
    return camera


def _parse(uri: str) -> tuple[str, tuple[Path, ...], dict[str, str]]:
    """Kind, path (none for the synthetic source) and what stands after the ``?``."""
    if uri not in CAMERAS and _exists(uri):
        return _kind_of(uri), (Path(uri),), {}
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
    if scheme in CAMERAS and (colon or not _exists(address)):
        if not target:
            raise ConfigError(f"The source {uri!r} names no file.", f"Write {scheme}:PATH")
        return scheme, (Path(target),), given
    if _exists(address):
        return _kind_of(address), (Path(address),), given
    if scheme in _LATER or address.startswith("/dev/"):
        raise ConfigError(
            f"This version reads files and the synthetic source only, so it cannot open {uri!r}.",
            _REMEDY,
        )
    near = suggestion(scheme, CAMERAS)
    if near.startswith("Did") or (colon and re.fullmatch(r"[a-z][a-z0-9+-]+", scheme)):
        raise ConfigError(f"There is no kind of source {scheme!r}.", f"{near} {_REMEDY}")
    raise DataError(f"There is no file or folder {address}.", f"Check the path. {_REMEDY}")


def _exists(path: str) -> bool:
    if not path:
        return False
    try:
        Path(path).stat()
    except (OSError, ValueError):  # also: too long, not permitted, a NUL in it
        return False
    # A device is no file to play; reading it comes with its own source.
    return not path.startswith("/dev/")


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


# Kind to "module:Class" and the parameters of its own; loaded only when asked for.
CAMERAS: Mapping[str, tuple[str, Mapping[str, Callable[[str], Any]]]] = {
    "synthetic": (
        "edge_fer.cameras.synthetic:SyntheticCamera",
        {
            "size": _size,
            "faces": _whole(0, 64),
            "seed": _whole(0, 2**32 - 1),
            "frames": _whole(1, 10**12),
        },
    ),
    "video": ("edge_fer.cameras.video:VideoCamera", {"pace": _flag}),
    "images": ("edge_fer.cameras.images:ImageCamera", {}),
}
