"""Face detectors, by name or file: ``haar?cascade=alt2``, ``face``, ``mine.tflite?min_score=0.6``.

A name of :data:`DETECTORS` is a class of its own; every other is a model for face detection, which
:class:`~edge_fer.detectors.network.NetworkDetector` runs by its contract.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from edge_fer.errors import ConfigError
from edge_fer.types import Detector
from edge_fer.uri import options, split_query, suggestion

__all__ = ["DETECTORS", "check_detector", "open_detector"]

# Name to "module:Class" and the class's options; loaded only when asked for.
DETECTORS: Mapping[str, tuple[str, Mapping[str, Callable[[str], Any]]]] = {
    "haar": (
        "edge_fer.detectors.haar:HaarDetector",
        {"cascade": str, "scale_factor": float, "min_neighbours": int, "min_size": int},
    ),
    "yunet": (
        "edge_fer.detectors.yunet:YuNetDetector",
        {"file": str, "min_score": float, "max_overlap": float, "size": str},
    ),
}
_NETWORK: Mapping[str, Callable[[str], Any]] = {"min_score": float, "max_overlap": float}


def open_detector(
    uri: str,
    *,
    backend: str = "auto",
    threads: int = 1,
    on_skip: Callable[[str], None] = lambda why: None,
) -> Detector:
    """A detector by name or file, with options after ``?``.

    Args:
        uri: ``haar``, ``yunet``, the name of a shipped or pulled model for face detection, or a
            ``.tflite`` file.
        backend: what runs a model, as :func:`edge_fer.backends.open_backend` takes it. Haar and
            YuNet are OpenCV's own and take neither this nor what follows.
        threads: CPU threads for one inference.
        on_skip: told of each runtime that ``auto`` passed over, and why.

    Raises:
        ConfigError: no such detector, option or backend.
        MissingExtra: what it needs is not installed.
        ModelError: the model is not on this machine, damaged, breaks its contract, or is none that
            finds faces.
    """
    settings = check_detector(uri)
    name = split_query(uri)[0]
    if name in DETECTORS:
        detector: Detector = resolve_name(DETECTORS[name][0])(**settings)
        return detector
    from edge_fer.backends import open_backend
    from edge_fer.detectors.network import NetworkDetector
    from edge_fer.models import load

    model = load(name)
    loaded = open_backend(backend, model.flatbuffer, threads=threads, on_skip=on_skip)
    return NetworkDetector(model, loaded, **settings)


def check_detector(uri: str) -> dict[str, Any]:
    """Read a detector's address without opening anything.

    Args:
        uri: as :func:`open_detector` takes it.

    Returns:
        Its options.

    Raises:
        ConfigError: no such detector or option.
    """
    name, given = split_query(uri)
    if name in DETECTORS:
        return options(uri, given, DETECTORS[name][1])
    from edge_fer.models import pulled, shipped
    from edge_fer.models.catalogue import CATALOGUE

    models = {*shipped(), *pulled(), *CATALOGUE}
    if not (name in models or name.endswith(".tflite") or Path(name).is_file()):
        # Of the shipped ones, those that find faces are called so.
        detectors = [n for n in models if n not in shipped() or n.startswith("face")]
        raise ConfigError(
            f"There is no detector {name!r}.", suggestion(name, {*DETECTORS, *detectors})
        )
    return options(uri, given, _NETWORK)
