"""The Edge TPU's own file of a model, beside the plain one.

``edge-fer convert --target coral -o NAME.tflite`` writes ``NAME.edgetpu.tflite`` next to it, with
the same contract inside: that says which belong together.
"""

from __future__ import annotations

from collections.abc import Callable

from edge_fer.errors import ModelError
from edge_fer.modelfile import ModelFile, read_model

__all__ = ["SUFFIX", "compiled_beside", "is_compiled"]

SUFFIX = ".edgetpu.tflite"
_CUSTOM_OP = b"edgetpu-custom-op"


def is_compiled(flatbuffer: bytes) -> bool:
    """Whether ``edgetpu_compiler`` made it: it uses an operator that only the delegate knows."""
    return _CUSTOM_OP in flatbuffer


def compiled_beside(
    model: ModelFile, on_skip: Callable[[str], None] = lambda why: None
) -> bytes | None:
    """The flatbuffer that is to run on an Edge TPU in a model's stead, or None.

    Args:
        model: the plain int8 model.
        on_skip: told of a file that is there and is not used, and why.
    """
    path = model.path.with_name(f"{model.name}{SUFFIX}")
    if is_compiled(model.flatbuffer) or not path.is_file():
        return None
    try:
        twin = read_model(path)
    except ModelError as err:
        on_skip(f"edgetpu: {err.message}")
        return None
    if not is_compiled(twin.flatbuffer):
        on_skip(f"edgetpu: {path} is not compiled for an Edge TPU.")
        return None
    if twin.contract != model.contract:
        on_skip(f"edgetpu: {path} is of another conversion than {model.path.name}.")
        return None
    return twin.flatbuffer
