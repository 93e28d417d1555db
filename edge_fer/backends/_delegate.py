"""A delegate from a shared library, without holding up the rest of the process.

The runtimes' own ``load_delegate`` keeps Python's lock while the library opens its device: seconds
when it loads firmware, for ever when it hangs, and no other thread runs meanwhile. This one gives
the lock away. The two functions of such a library are TensorFlow Lite's public interface
(``tensorflow/lite/delegates/external/external_delegate_interface.h``).
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping

__all__ = ["ExternalDelegate"]

_Report = ctypes.CFUNCTYPE(None, ctypes.c_char_p)


class ExternalDelegate:
    """What an interpreter takes among its ``experimental_delegates``; it must outlive that.

    Args:
        library: what the loader finds, or a path.
        options: as the library knows them.

    Raises:
        OSError: it cannot be loaded, or is no delegate.
        ValueError: it gives no delegate; the text is what it says, often nothing.
    """

    def __init__(self, library: str, options: Mapping[str, str]) -> None:
        self._pointer: int | None = None
        self._library = ctypes.CDLL(library)
        try:
            create = self._library.tflite_plugin_create_delegate
            self._destroy = self._library.tflite_plugin_destroy_delegate
        except AttributeError as err:
            raise OSError(f"{library} is no delegate: {err}") from err
        strings = ctypes.c_char_p * len(options)
        create.argtypes = [
            ctypes.POINTER(ctypes.c_char_p),
            ctypes.POINTER(ctypes.c_char_p),
            ctypes.c_size_t,
            _Report,
        ]
        create.restype = ctypes.c_void_p
        self._destroy.argtypes = [ctypes.c_void_p]
        self._destroy.restype = None
        said: list[str] = []
        keys = strings(*(key.encode() for key in options))
        values = strings(*(value.encode() for value in options.values()))
        report = _Report(lambda text: said.append(text.decode(errors="replace")))
        self._pointer = create(keys, values, len(options), report)
        if self._pointer is None:
            raise ValueError(" ".join(said))

    def _get_native_delegate_pointer(self) -> int | None:
        # Interpreter asks for it by this name, of its own Delegate as of any other.
        return self._pointer

    def __del__(self) -> None:
        if self._pointer is not None:
            self._destroy(self._pointer)
            self._pointer = None
