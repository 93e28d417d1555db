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
from edge_fer.contract import InputSpec, ModelContract
from edge_fer.loaded import LoadedModel
from edge_fer.modelfile import ModelFile
from edge_fer.types import Image
from edge_fer_convert.graph import Graph

__all__ = ["allowed_steps", "golden_pixels", "steady_pixels", "stored"]

# Squares across each picture: smooth blobs of several sizes, at the end noise of single pixels.
# Four, because each costs a 48x48 model 3 KB, and the smallest models have 100.
_GRIDS = (2, 4, 9, 0)
_SEED = 20_260_131
_VARIANTS = 24  # how many pictures of each kind are tried
_DETECTOR_VARIANTS = 3  # none of them is steady, and each takes seconds
_MOST_VALUES = 1 << 14  # of the heads of a detector, likewise
_MOST_BYTES = 1 << 18  # keeps the contract of a large-input model small


def steady_pixels(model: ModelFile) -> Image:
    """Golden pictures for one model: ``uint8[n, height, width, channels]``.

    Of each kind the first variant on which all kernels agree within one step of the int8 output;
    where there is none, the one on which they differ least. A float model takes the first.
    """
    best = _variant(model, 0)
    if model.contract.quantisation.scheme != "int8":
        return best
    spread = _spread(model, best)
    tried = _VARIANTS if model.contract.detection is None else _DETECTOR_VARIANTS
    for variant in range(1, tried):
        if spread.max() <= 1:
            break
        others = _variant(model, variant)
        theirs = _spread(model, others)
        better = np.maximum(theirs, 1) < np.maximum(spread, 1)
        best[better], spread[better] = others[better], theirs[better]
    return best


def allowed_steps(model: ModelFile, pixels: Image) -> int:
    """How far a device may be from the outputs of these pictures, in steps of int8.

    One for a classifier. Over the fifty layers of a detector correct kernels drift apart by more,
    whatever the picture (measured on blazeface-full: 13 to 24 steps): twice what LiteRT's own
    do here. What is computed in another way altogether is off by far more.
    """
    contract = model.contract
    if contract.detection is None or contract.quantisation.scheme != "int8":
        return 1
    return max(1, 2 * int(_spread(model, pixels).max()))


def stored(pixels: Image, contract: ModelContract) -> Image:
    """Golden pictures as they stand in a contract: of blocks of equal pixels, one of each."""
    block = _block(contract)
    return np.ascontiguousarray(pixels[:, ::block, ::block])


def _variant(model: ModelFile, variant: int) -> Image:
    """Pictures of each kind; for a detector fewer, and of blocks.

    Its input and its heads are some ten times as large as a classifier's, and in base64 they would
    outgrow its weights.
    """
    contract, block = model.contract, _block(model.contract)
    if contract.detection is None:
        return golden_pixels(contract.input, variant)
    spec = contract.input.model_copy(
        update={"height": contract.input.height // block, "width": contract.input.width // block}
    )
    heads = Graph.read(model.flatbuffer)
    values = sum(int(np.prod(heads.tensors[i].shape)) for i in heads.outputs)
    pixels = golden_pixels(spec, variant)[: max(1, _MOST_VALUES // values)]
    return pixels.repeat(block, axis=1).repeat(block, axis=2)


def _block(contract: ModelContract) -> int:
    """Across, in pixels."""
    if contract.detection is None:
        return 1
    sides = contract.input.height, contract.input.width
    return next(b for b in (8, 4, 2, 1) if all(side % b == 0 for side in sides))


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
        with closing(LoadedModel(model, InterpreterBackend(make, kernels.name))) as opened:
            answers.append(opened.raw(pixels).astype(np.int64))
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
