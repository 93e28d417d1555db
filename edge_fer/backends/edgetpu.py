"""A Coral Edge TPU, through libedgetpu as the interpreter's delegate. No pycoral.

Nobody has run this on a Coral yet: a stub library written for the tests is all that it has met.
"""

from __future__ import annotations

from collections import Counter
from importlib.metadata import version
from pkgutil import resolve_name
from threading import Lock
from typing import Any, ClassVar

from edge_fer.backends._delegate import ExternalDelegate
from edge_fer.backends._interpreter import InterpreterBackend
from edge_fer.backends.base import Array
from edge_fer.backends.compiled import is_compiled
from edge_fer.backends.probe import LIBRARY, Probe
from edge_fer.errors import DeviceError, MissingExtra, ModelError

__all__ = ["EdgeTpuBackend"]

# Distribution and module, in the order in which they are tried.
_RUNTIMES = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}


class EdgeTpuBackend(InterpreterBackend):
    """A compiled flatbuffer on an Edge TPU; what the compiler left over runs on the CPU.

    A library that does not fit the runtime crashes the process: see first with
    :func:`edge_fer.backends.probe.probe_delegate`.

    Args:
        flatbuffer: the bytes of a model that ``edgetpu_compiler`` made.
        library: what the loader finds, or a path.
        device: as libedgetpu takes it: ``usb``, ``pci``, ``usb:0``; None for the first there is.
        threads: CPU threads for what runs beside it.

    Raises:
        ModelError: a model that is not compiled, or cannot be run.
        DeviceError: no library, or no accelerator.
        MissingExtra: no runtime is installed.
    """

    _held: ClassVar[Counter[str]] = Counter()
    _lock: ClassVar[Lock] = Lock()

    def __init__(
        self,
        flatbuffer: bytes,
        *,
        library: str = LIBRARY,
        device: str | None = None,
        threads: int = 1,
    ) -> None:
        if not is_compiled(flatbuffer):
            raise ModelError(
                "The model is not compiled for an Edge TPU.",
                "Compile it on the build host: edge-fer convert --target coral",
            )
        name, runtime = _runtime()
        options = {"device": device} if device else {}
        try:
            delegate = ExternalDelegate(library, options)
        except OSError as err:
            raise DeviceError(
                f"{library} cannot be loaded ({err}).", "See: edge-fer doctor"
            ) from err
        except ValueError as err:
            raise DeviceError(
                f"{library} found no Edge TPU that it may use{f' ({err})' if str(err) else ''}.",
                "See: edge-fer doctor",
            ) from err
        super().__init__(
            lambda: runtime.Interpreter(
                model_content=flatbuffer, num_threads=threads, experimental_delegates=[delegate]
            ),
            f"edgetpu ({library}) on {name}",
        )
        self._library = library
        with self._lock:
            self._held[library] += 1

    @classmethod
    def known(cls, library: str) -> Probe | None:
        """A good probe while a model of this process runs on the accelerator, else None.

        One process at a time can use an accelerator, with as many models as it likes: another
        process would be told that there is none.
        """
        with cls._lock:
            return Probe(ok=True) if cls._held[library] else None

    def run(self, array: Array) -> tuple[Array, ...]:
        try:
            return super().run(array)
        except DeviceError:
            self._release()  # it is no proof of a working accelerator any more
            raise

    def close(self) -> None:
        super().close()
        self._release()

    def _release(self) -> None:
        with self._lock:
            if self._library:
                self._held[self._library] -= 1
                self._library = ""


def _runtime() -> tuple[str, Any]:
    """Name with version, and the interpreter module, of the first runtime that is installed."""
    reasons = []
    for distribution, module in _RUNTIMES.items():
        try:
            loaded = resolve_name(module)
        except ImportError as err:
            reasons.append(f"{distribution}: {err}")
            continue
        return f"{distribution.removeprefix('ai-edge-')} {version(distribution)}", loaded
    raise MissingExtra(
        f"No runtime for models is installed ({'; '.join(reasons)}).",
        "Install one with: pip install ai-edge-litert",
    )
