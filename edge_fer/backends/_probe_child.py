"""A program, not a module: load a delegate, run a model on it once, say in JSON what came of it.

Started by :mod:`edge_fer.backends.probe` in a process of its own, because a delegate that was
built for another TensorFlow crashes or hangs instead of raising. Imports nothing of the package:
it must start fast.

Arguments: the library, then ``key=value`` options of the delegate. Standard input: a model, or
nothing.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def _runtime() -> Any:
    try:
        from ai_edge_litert import interpreter
    except ImportError:
        from tflite_runtime import interpreter
    return interpreter


def _probe(words: list[str], model: bytes) -> str:
    """The step that failed, or an empty text.

    Steps: ``runtime``, ``library``, ``delegate``, ``model``.
    """
    import numpy as np

    try:
        runtime = _runtime()
    except ImportError as err:
        return f"runtime: {err}"
    options = dict(word.split("=", 1) for word in words[1:])
    try:
        delegate = runtime.load_delegate(words[0], options)
    except (OSError, AttributeError) as err:  # not there, or without the functions of a delegate
        return f"library: {err}"
    except (ValueError, RuntimeError) as err:
        return f"delegate: {err}"
    if not model:
        return ""
    try:
        loaded = runtime.Interpreter(model_content=model, experimental_delegates=[delegate])
        loaded.allocate_tensors()
        for tensor in loaded.get_input_details():
            loaded.set_tensor(tensor["index"], np.zeros(tensor["shape"], tensor["dtype"]))
        loaded.invoke()
    except (ValueError, RuntimeError) as err:
        return f"model: {err}"
    return ""


if __name__ == "__main__":
    failed = _probe(sys.argv[1:], sys.stdin.buffer.read())
    sys.stdout.write(json.dumps({"failed": failed}) + "\n")
    sys.stdout.flush()
    # Not through the delegate's own tidying up: what it does there proves nothing.
    os._exit(0)
