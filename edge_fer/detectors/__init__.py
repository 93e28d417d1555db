"""Face detectors, by name: ``haar``, ``haar?cascade=alt2&min_size=60``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pkgutil import resolve_name
from typing import Any

from edge_fer.errors import ConfigError
from edge_fer.types import Detector
from edge_fer.uri import options, split_query, suggestion

__all__ = ["DETECTORS", "open_detector"]

# Name to "module:Class" and the class's options; loaded only when asked for.
DETECTORS: Mapping[str, tuple[str, Mapping[str, Callable[[str], Any]]]] = {
    "haar": (
        "edge_fer.detectors.haar:HaarDetector",
        {"cascade": str, "scale_factor": float, "min_neighbours": int, "min_size": int},
    ),
}


def open_detector(uri: str) -> Detector:
    """A detector by name, with options after ``?``.

    Raises:
        ConfigError: no such detector or option.
        MissingExtra: what it needs is not installed.
    """
    name, given = split_query(uri)
    if name not in DETECTORS:
        raise ConfigError(f"There is no detector {name!r}.", suggestion(name, DETECTORS))
    place, known = DETECTORS[name]
    detector: Detector = resolve_name(place)(**options(uri, given, known))
    return detector
