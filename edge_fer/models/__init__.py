"""The shipped models, by name: each an int8 ``.tflite`` and its float twin, contract inside."""

from __future__ import annotations

from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

from edge_fer.errors import ModelError

__all__ = ["find", "shipped"]


def shipped() -> dict[str, Path]:
    """Name to file: ``expression``, ``expression.float``, ..."""
    folder = Path(str(files(__name__)))
    # By name, not by file: "expression" before "expression-nano", although "-" sorts before ".".
    return dict(sorted((p.name.removesuffix(".tflite"), p) for p in folder.glob("*.tflite")))


def find(model: str) -> Path:
    """The file of a shipped model's name, or the path itself.

    Raises:
        ModelError: neither a shipped name nor a file.
    """
    known = shipped()
    if model in known:
        return known[model]
    path = Path(model)
    if path.exists():
        return path
    near = get_close_matches(model, known, n=1, cutoff=0.6)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise ModelError(f"There is no model {model!r}.", f"{hint}See: edge-fer models list")
