"""Runtimes for ``.tflite`` models, by name, in the order in which ``auto`` tries them."""

from __future__ import annotations

from collections.abc import Callable
from pkgutil import resolve_name

from edge_fer.backends.base import Backend
from edge_fer.backends.compiled import is_compiled
from edge_fer.backends.coral import find_corals
from edge_fer.errors import ConfigError, DeviceError, MissingExtra, ModelError

__all__ = ["BACKENDS", "open_backend"]

# What runs a plain model. An Edge TPU takes another file, and stands before them: see below.
BACKENDS = {
    "litert": "edge_fer.backends.litert:LiteRtBackend",
    "tflite-runtime": "edge_fer.backends.tflite_runtime:TfliteRuntimeBackend",
}
_EDGE_TPU = "edgetpu"
_COMPILE = "Compile it on the build host: edge-fer convert --target coral"


def open_backend(
    name: str,
    flatbuffer: bytes,
    *,
    threads: int = 1,
    on_skip: Callable[[str], None] = lambda why: None,
    compiled: bytes | None = None,
    library: str = "",
) -> Backend:
    """Load a model into a runtime.

    With ``compiled``, ``auto`` tries an Edge TPU first, in a process of its own; where there is
    one, the result is a :class:`~edge_fer.backends.fallback.FallbackBackend`, which goes on with
    the plain model whenever the accelerator is lost, and also while it is not there yet.

    Args:
        name: one of :data:`BACKENDS`, ``edgetpu``, or ``auto`` for the first that can be used.
        flatbuffer: the model's bytes.
        threads: CPU threads for one inference.
        on_skip: told of each runtime that ``auto`` passed over, and why; afterwards of each fall
            to the CPU and each return.
        compiled: the same model for an Edge TPU, from
            :func:`edge_fer.backends.compiled.compiled_beside`.
        library: libedgetpu where the loader does not find it by itself.

    Raises:
        ConfigError: no such backend.
        MissingExtra: it is not installed, or with ``auto`` none is.
        ModelError: the runtime does not take the model.
        DeviceError: ``edgetpu`` was asked for by name, and cannot be used.
    """
    if name not in ("auto", _EDGE_TPU, *BACKENDS):
        known = ("auto", _EDGE_TPU, *BACKENDS)
        raise ConfigError(f"There is no backend {name!r}.", f"Known: {', '.join(known)}.")
    if is_compiled(flatbuffer):
        if name not in ("auto", _EDGE_TPU):
            raise ModelError(
                f"The model is compiled for an Edge TPU, and {name} cannot run it.",
                "Name the plain file, without .edgetpu in its name.",
            )
        return _edgetpu(flatbuffer, None, threads, on_skip, library, asked=True)
    if compiled is not None and name in ("auto", _EDGE_TPU):
        return _edgetpu(compiled, flatbuffer, threads, on_skip, library, asked=name == _EDGE_TPU)
    if name == _EDGE_TPU:
        raise ModelError("The model is not compiled for an Edge TPU.", _COMPILE)
    if name == "auto":
        if corals := find_corals():
            on_skip(f"edgetpu: there is a {corals[0].words}, and no model compiled for it.")
        return _on_cpu(flatbuffer, threads, on_skip)
    backend: Backend = resolve_name(BACKENDS[name])(flatbuffer, threads=threads)
    return backend


def _on_cpu(flatbuffer: bytes, threads: int, on_skip: Callable[[str], None]) -> Backend:
    """The first runtime that is installed."""
    reasons = []
    for candidate, place in BACKENDS.items():
        try:
            backend: Backend = resolve_name(place)(flatbuffer, threads=threads)
        except MissingExtra as err:
            reasons.append(f"{candidate}: {err.message}")
            on_skip(reasons[-1])
        else:
            return backend
    raise MissingExtra(
        f"No runtime for models is installed ({' '.join(reasons)})",
        "Install one with: pip install ai-edge-litert",
    )


def _edgetpu(
    compiled: bytes,
    plain: bytes | None,
    threads: int,
    on_skip: Callable[[str], None],
    library: str,
    *,
    asked: bool,
) -> Backend:
    """The accelerator, with the CPU behind it where there is a plain model."""
    from edge_fer.backends.edgetpu import EdgeTpuBackend
    from edge_fer.backends.fallback import FallbackBackend
    from edge_fer.backends.probe import LIBRARY, probe_delegate

    library = library or LIBRARY

    def preferred() -> Backend:
        return EdgeTpuBackend(compiled, library=library, threads=threads)

    # Another model of this process holds the accelerator already: a second process cannot have it.
    found = EdgeTpuBackend.known(library) or probe_delegate(library, model=compiled)
    if not found.ok and (asked or plain is None):
        raise DeviceError(found.reason, found.remedy)
    if plain is None:
        return preferred()
    fallback = _on_cpu(plain, threads, on_skip)
    if not found.ok:
        on_skip(f"edgetpu: {found.reason} {found.remedy}".strip())
        if not found.passing:
            return fallback
    return FallbackBackend(
        preferred,
        fallback,
        probe=lambda: EdgeTpuBackend.known(library) or probe_delegate(library, model=compiled),
        on_change=on_skip,
        why=found.reason,
        required=asked,
    )
