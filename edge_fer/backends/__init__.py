"""Runtimes for ``.tflite`` models, by name, in the order in which ``auto`` tries them."""

from __future__ import annotations

from collections.abc import Callable
from pkgutil import resolve_name

from edge_fer.backends.base import Backend
from edge_fer.errors import ConfigError, MissingExtra

__all__ = ["BACKENDS", "open_backend"]

BACKENDS = {
    "litert": "edge_fer.backends.litert:LiteRtBackend",
    "tflite-runtime": "edge_fer.backends.tflite_runtime:TfliteRuntimeBackend",
}


def open_backend(
    name: str,
    flatbuffer: bytes,
    *,
    threads: int = 1,
    on_skip: Callable[[str], None] = lambda why: None,
) -> Backend:
    """Load a model into a runtime.

    Args:
        name: one of :data:`BACKENDS`, or ``auto`` for the first that is installed.
        flatbuffer: the model's bytes.
        threads: CPU threads for one inference.
        on_skip: told of each runtime that ``auto`` passed over, and why.

    Raises:
        ConfigError: no such backend.
        MissingExtra: it is not installed, or with ``auto`` none is.
        ModelError: the runtime does not take the model.
    """
    if name == "auto":
        reasons = []
        for candidate in BACKENDS:
            try:
                return open_backend(candidate, flatbuffer, threads=threads)
            except MissingExtra as err:
                reasons.append(f"{candidate}: {err.message}")
                on_skip(reasons[-1])
        raise MissingExtra(
            f"No runtime for models is installed ({' '.join(reasons)})",
            "Install one with: pip install ai-edge-litert",
        )
    if name not in BACKENDS:
        raise ConfigError(f"There is no backend {name!r}.", f"Known: auto, {', '.join(BACKENDS)}.")
    backend: Backend = resolve_name(BACKENDS[name])(flatbuffer, threads=threads)
    return backend
