"""tflite-runtime 2.14, LiteRT's predecessor, for machines that have nothing newer.

It lives in a virtual environment of its own (Python 3.11, numpy 1.26, OpenCV 4.11; see
``firmware_configs/constraints-tflite-runtime.txt``), never beside ai-edge-litert.
"""

from __future__ import annotations

from importlib.metadata import version

import numpy as np

from edge_fer.backends._interpreter import InterpreterBackend
from edge_fer.errors import MissingExtra

__all__ = ["TfliteRuntimeBackend"]

_REMEDY = (
    "Use ai-edge-litert, or install by the constraints file: "
    "pip install tflite-runtime -c firmware_configs/constraints-tflite-runtime.txt"
)


class TfliteRuntimeBackend(InterpreterBackend):
    """A flatbuffer in tflite-runtime's interpreter.

    Args:
        flatbuffer: the model's bytes.
        threads: CPU threads for one inference.

    Raises:
        MissingExtra: tflite-runtime is not installed, or numpy is too new for it.
        ModelError: the file is damaged, or uses an operator version that 2.14 lacks.
    """

    def __init__(self, flatbuffer: bytes, *, threads: int = 1) -> None:
        try:
            from tflite_runtime.interpreter import Interpreter
        except ImportError as err:
            raise MissingExtra(f"tflite-runtime cannot be loaded ({err}).", _REMEDY) from err
        if int(np.__version__.split(".")[0]) >= 2:
            # Its interpreter dies with a bare SystemError on numpy 2; its metadata does not say so.
            raise MissingExtra(f"tflite-runtime needs numpy 1, this is {np.__version__}.", _REMEDY)
        super().__init__(
            lambda: Interpreter(model_content=flatbuffer, num_threads=threads),
            f"tflite-runtime {version('tflite-runtime')}",
            threads=threads,
        )
