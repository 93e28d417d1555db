"""LiteRT on the CPU (``ai-edge-litert``), XNNPACK kernels."""

from __future__ import annotations

from importlib.metadata import version

from edge_fer.backends._interpreter import InterpreterBackend
from edge_fer.errors import MissingExtra

__all__ = ["LiteRtBackend"]


class LiteRtBackend(InterpreterBackend):
    """A flatbuffer in LiteRT's interpreter.

    Args:
        flatbuffer: the model's bytes.
        threads: CPU threads for one inference.

    Raises:
        MissingExtra: ai-edge-litert is not installed.
        ModelError: the file is damaged, or uses an operator that LiteRT lacks.
    """

    def __init__(self, flatbuffer: bytes, *, threads: int = 1) -> None:
        try:
            from ai_edge_litert.interpreter import Interpreter
        except ImportError as err:
            raise MissingExtra(
                f"LiteRT cannot be loaded ({err}).", "Install it with: pip install ai-edge-litert"
            ) from err
        super().__init__(
            lambda: Interpreter(model_content=flatbuffer, num_threads=threads),
            f"litert {version('ai-edge-litert')}",
            threads=threads,
        )
