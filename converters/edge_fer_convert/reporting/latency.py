"""How long one inference takes on the machine that converts: a figure to compare files by.

It says which of two files is faster here. It says nothing of the device, whose processor, memory
and kernels are others: for that there is ``edge-fer benchmark``, run on the device.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack, closing
from statistics import median
from time import perf_counter_ns

import numpy as np

from edge_fer.backends import open_backend
from edge_fer.backends.base import Array, TensorSpec

__all__ = ["latencies_ms"]

_WARM_UP = 3
_LEAST_RUNS = 5
_SEED = 0


def latencies_ms(
    files: Mapping[str, bytes], *, threads: int = 1, runs: int = 50, limit_s: float = 5.0
) -> dict[str, float]:
    """The median time of one inference in LiteRT, in ms: of several models, taken in turns.

    Copying the input in and the output out counts. Each round runs every model once, so that what
    else the machine does falls on all alike.

    Args:
        files: name to model, any with one input of static shape.
        threads: CPU threads.
        runs: rounds that are timed, after a warm-up.
        limit_s: seconds per model on average after which no further round is begun, but 5 are
            always timed.

    Returns:
        Name to milliseconds.

    Raises:
        ModelError: the runtime does not take one of the models.
    """
    with ExitStack() as opened:
        backends = {
            name: opened.enter_context(closing(open_backend("litert", data, threads=threads)))
            for name, data in files.items()
        }
        inputs = {name: _input(backend.input) for name, backend in backends.items()}
        took: dict[str, list[int]] = {name: [] for name in backends}
        started = perf_counter_ns()
        for done in range(-_WARM_UP, runs):
            spent = (perf_counter_ns() - started) / 1e9
            if done >= _LEAST_RUNS and spent > limit_s * len(backends):
                break
            for name, backend in backends.items():
                before = perf_counter_ns()
                backend.run(inputs[name])
                if done >= 0:
                    took[name].append(perf_counter_ns() - before)
    return {name: median(times) / 1e6 for name, times in took.items()}


def _input(tensor: TensorSpec) -> Array:
    """The same noise every time; zeros would let a float kernel run on easy numbers."""
    rng = np.random.default_rng(_SEED)
    if tensor.dtype.kind == "f":
        return rng.random(tensor.shape, np.float32).astype(tensor.dtype)
    limits = np.iinfo(tensor.dtype)
    return rng.integers(limits.min, limits.max, tensor.shape, tensor.dtype, endpoint=True)
