"""Golden vectors: generated pictures that belong to nobody; the outputs go into the contract.

A device that computes the same, within one step of int8, runs the same model in the same way.
Correct kernels may round differently, and over ten layers that can add up to two steps (measured
on the shipped model: XNNPACK against the plain kernels, 6 % of pictures). So pictures are
taken on which LiteRT's three sets of kernels stay within one step: there, two steps are a fault.
"""

from __future__ import annotations

from contextlib import closing
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edge_fer.backends._interpreter import InterpreterBackend
from edge_fer.classifier import Classifier
from edge_fer.contract import InputSpec
from edge_fer.modelfile import ModelFile
from edge_fer.types import Image

__all__ = ["golden_pixels", "steady_pixels"]

# Squares across each picture: smooth blobs of several sizes, at the end noise of single pixels.
# Four, because each costs a 48x48 model 3 KB, and the smallest models have 100.
_GRIDS = (2, 4, 9, 0)
_SEED = 20_260_131
_VARIANTS = 24  # how many pictures of each kind are tried
_MOST_BYTES = 1 << 18  # keeps the contract of a large-input model small


def steady_pixels(model: ModelFile) -> Image:
    """Golden pictures for one model: ``uint8[n, height, width, channels]``.

    Of each kind the first variant on which all kernels agree within one step of the int8 output;
    where there is none, the one on which they differ least. A float model takes the first.
    """
    spec = model.contract.input
    best = golden_pixels(spec)
    if model.contract.quantisation.scheme != "int8":
        return best
    spread = _spread(model, best)
    for variant in range(1, _VARIANTS):
        if spread.max() <= 1:
            break
        others = golden_pixels(spec, variant)
        theirs = _spread(model, others)
        better = np.maximum(theirs, 1) < np.maximum(spread, 1)
        best[better], spread[better] = others[better], theirs[better]
    return best


def _spread(model: ModelFile, pixels: Image) -> NDArray[np.int64]:
    """``int64[n]``: the largest difference between any two sets of kernels, in steps."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    answers = []
    for kernels in (
        OpResolverType.AUTO,
        OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        OpResolverType.BUILTIN_REF,
    ):
        make = partial(
            Interpreter,
            model_content=model.flatbuffer,
            num_threads=1,
            experimental_op_resolver_type=kernels,
        )
        with closing(Classifier(model, InterpreterBackend(make, kernels.name))) as classifier:
            answers.append(classifier.raw(pixels).astype(np.int64))
    together = np.stack(answers)
    return np.asarray((together.max(axis=0) - together.min(axis=0)).max(axis=1), np.int64)


def golden_pixels(spec: InputSpec, variant: int = 0) -> Image:
    """``uint8[n, height, width, channels]``, the same on every machine; 4, or fewer large ones.

    Integers throughout, from the raw 64-bit words of PCG64 (whose stream numpy guarantees), so
    that no library's rounding can change a pixel.

    Args:
        spec: the model's input.
        variant: another number gives other pictures of the same kinds.
    """
    size = spec.height * spec.width * spec.channels
    count = max(2, min(len(_GRIDS), _MOST_BYTES // size))
    source = np.random.PCG64(_SEED + variant)
    # The finest and the coarsest first, where not all fit.
    grids = _GRIDS if count == len(_GRIDS) else (_GRIDS[-1], *_GRIDS[: count - 1])
    return np.stack([_picture(spec, grid, source) for grid in grids])


def _picture(spec: InputSpec, grid: int, source: np.random.PCG64) -> Image:
    if grid == 0:
        return _words(source, (spec.height, spec.width, spec.channels)).astype(np.uint8)
    corners = _words(source, (grid + 1, grid + 1, spec.channels))
    down = _blend(corners, spec.height)
    across = _blend(down.transpose(1, 0, 2), spec.width).transpose(1, 0, 2)
    return across.astype(np.uint8)


def _words(source: np.random.PCG64, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Numbers 0 to 255 from the high bits of raw words."""
    raw = source.random_raw(int(np.prod(shape)))
    return (np.asarray(raw, np.uint64) >> np.uint64(56)).astype(np.int64).reshape(shape)


def _blend(values: NDArray[np.int64], length: int) -> NDArray[np.int64]:
    """Linear interpolation along the first axis to ``length`` samples, in whole numbers."""
    position = np.arange(length, dtype=np.int64) * (len(values) - 1)
    cell, part = position // length, (position % length)[:, None, None]
    return (values[cell] * (length - part) + values[cell + 1] * part) // length
