"""Sources of frames, by address.

``synthetic?faces=2``, a video file, a folder of pictures or one picture; each takes
``?rotate=0|90|180|270&mirror=0|1``. A bare path is opened by what it is; ``video:PATH`` and
``images:PATH`` say so outright. An address that exists as a path is that path, whatever
``?`` or ``:`` stand in its name.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from edge_fer.cameras.options import Options, did_you_mean
from edge_fer.cameras.orientation import Orientation
from edge_fer.errors import ConfigError, DataError
from edge_fer.pictures import PICTURE_SUFFIXES
from edge_fer.types import Camera

__all__ = ["CAMERAS", "open_camera"]

CAMERAS = {
    "synthetic": "edge_fer.cameras.synthetic:SyntheticCamera",
    "video": "edge_fer.cameras.video:VideoCamera",
    "images": "edge_fer.cameras.images:ImageCamera",
}
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
    kind, target, options = _parse(uri)
    orientation = Orientation.take(options)
    module, _, attribute = CAMERAS[kind].partition(":")
    camera: Camera = getattr(import_module(module), attribute).from_options(
        target, options, orientation
    )
    return camera


def _parse(uri: str) -> tuple[str, str, Options]:
    if uri not in CAMERAS and _exists(uri):
        return _kind_of(uri), uri, Options("", uri)
    address, _, query = uri.partition("?")
    options = Options(query, uri)
    scheme, colon, target = address.partition(":")
    if not address:
        raise ConfigError("The source is empty.", _REMEDY)
    if address in CAMERAS or (colon and scheme in CAMERAS):
        if scheme == "synthetic" and target:
            raise ConfigError(
                f"The source {uri!r} has something after 'synthetic:'.",
                "Parameters follow a '?': synthetic?size=640x480&faces=2",
            )
        if scheme != "synthetic" and not target:
            raise ConfigError(f"The source {uri!r} names no file.", f"Write {scheme}:PATH")
        return scheme, target, options
    if (colon and scheme in _LATER) or address in _LATER or address.startswith("/dev/"):
        raise ConfigError(
            f"This version reads files and the synthetic source only, so it cannot open {uri!r}.",
            _REMEDY,
        )
    if not _exists(address):
        near = did_you_mean(scheme, tuple(CAMERAS))
        if near or (colon and re.fullmatch(r"[a-z][a-z0-9+-]+", scheme)):
            raise ConfigError(f"There is no kind of source {scheme!r}.", near + _REMEDY)
        raise DataError(f"There is no file or folder {address}.", f"Check the path. {_REMEDY}")
    return _kind_of(address), address, options


def _exists(path: str) -> bool:
    if not path:
        return False
    try:
        Path(path).stat()
    except (OSError, ValueError):  # also: too long, not permitted, a NUL in it
        return False
    return True


def _kind_of(path: str) -> str:
    picture = Path(path).suffix.lower() in PICTURE_SUFFIXES
    return "images" if picture or Path(path).is_dir() else "video"
