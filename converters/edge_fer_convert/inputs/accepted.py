"""Which models are converted: single float pictures of one size in, one score per class out.

Everything else is refused here, each cause in its own words, for Keras and for ``.tflite`` alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edge_fer.errors import ModelError
from edge_fer_convert.graph import FLOAT_TYPES, Graph, builtin_name

__all__ = [
    "check_float",
    "check_operators",
    "check_picture",
    "check_scores",
    "check_values",
    "read_graph",
]

_CLASSIFIER = "edge-fer converts classifiers: one picture in, one score per class out."
_FIXED = "Build it with a fixed input, keras.Input((48, 48, 1)), and save it again."
_ONE_PICTURE = 4  # dimensions: batch, height, width, channels


def read_graph(flatbuffer: bytes, name: str) -> Graph:
    """Read a flatbuffer that somebody else wrote.

    Raises:
        ModelError: it is cut off or damaged, or has operators that this runtime has no name for.
    """
    try:
        return Graph.read(flatbuffer)
    except KeyError as err:
        raise ModelError(
            f"{name} has an operator or a type that this ai-edge-litert does not know ({err}).",
            "Update it: pip install -U ai-edge-litert",
        ) from err
    except (ModelError, AttributeError, OverflowError) as err:
        raise ModelError(
            f"{name} is cut off or damaged ({err}).", "Copy it again from where it was made."
        ) from err


def check_float(graph: Graph, name: str, *, detector: bool = False) -> None:
    """See that a graph has one float32 input and output and nothing in it was quantised.

    Args:
        graph: of the file.
        name: of the file.
        detector: it may have several outputs.

    Raises:
        ModelError: not so.
    """
    ends = [graph.tensors[i] for i in graph.inputs]
    if any(t.dtype == "STRING" for t in ends):
        raise ModelError(f"{name} takes text, not pictures.", _CLASSIFIER)
    quantised = [t for t in graph.tensors if t.scales and t.dtype.startswith(("INT", "UINT"))]
    if quantised:
        raise ModelError(
            f"{name} is quantised already: {len(quantised)} tensors are stored as integers, "
            f"for example {quantised[0].name} as {quantised[0].dtype}.",
            "Convert the float file that it was made of.",
        )
    if graph.subgraphs != 1:
        raise ModelError(
            f"{name} has {graph.subgraphs} subgraphs: loops, branches or several signatures.",
            "Export one signature without control flow; recurrent layers need unroll=True.",
        )
    if len(graph.inputs) != 1 or not (len(graph.outputs) == 1 or (detector and graph.outputs)):
        raise ModelError(
            f"{name} has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs.", _CLASSIFIER
        )
    for tensor in (*ends, *(graph.tensors[i] for i in graph.outputs)):
        if tensor.dtype != "FLOAT32":
            raise ModelError(
                f"{name} has {tensor.dtype} at {tensor.name}, where FLOAT32 is needed.",
                "Export the float model, with float32 input and output.",
            )


def check_picture(shape: Sequence[int | None], name: str) -> None:
    """See that an input is a picture of one size.

    Args:
        shape: with the batch; None or -1 where a size is free.
        name: of the file.

    Raises:
        ModelError: a sequence, a free height or width, channels first, a fixed batch, or no
            picture at all.
    """
    sizes = [None if size is None or size < 0 else int(size) for size in shape]
    if len(sizes) == _ONE_PICTURE + 1:
        raise ModelError(
            f"{name} takes sequences of pictures {sizes}; only models of single pictures are "
            "converted.",
            "Convert the network that looks at one picture, and smooth over time on the device.",
        )
    if len(sizes) == _ONE_PICTURE and sizes[1] in (1, 3) and sizes[3] not in (1, 3):
        raise ModelError(
            f"{name} takes {sizes}: its channels come first.",
            "Export it with channels last, [N, height, width, 1 or 3].",
        )
    if len(sizes) != _ONE_PICTURE or sizes[3] not in (1, 3, None):
        raise ModelError(
            f"{name} takes {sizes}, which is no picture [N, height, width, 1 or 3].", _CLASSIFIER
        )
    if None in sizes[1:]:
        raise ModelError(
            f"{name} takes pictures of any size {sizes}; an int8 model needs one size.", _FIXED
        )
    if sizes[0] not in (None, 1):
        raise ModelError(
            f"{name} takes {sizes[0]} pictures at once, always.",
            "Save it with a free batch or a batch of 1.",
        )


def check_scores(shape: Sequence[int | None], name: str) -> None:
    """See that an output is one score for each of at least two classes.

    Raises:
        ModelError: not so.
    """
    if len(shape) != 2 or shape[1] is None or shape[1] < 2:
        raise ModelError(
            f"{name} gives {list(shape)}, which is not a score for each of several classes.",
            f"{_CLASSIFIER} A single output must be a Dense(1) that ends in a sigmoid.",
        )


def check_operators(model: Any, name: str) -> None:
    """See that every operator of a ``ModelT`` is one of TFLite's own.

    Raises:
        ModelError: not so; the message names them.
    """
    foreign = {
        bytes(code.customCode or b"").decode(errors="replace") or builtin_name(code)
        for code in model.operatorCodes
        if builtin_name(code) in ("CUSTOM", "DELEGATE")
    }
    if foreign:
        raise ModelError(
            f"{name} has operators that TFLite does not know: {', '.join(sorted(foreign))}.",
            "Replace the layers behind them by standard ones: convolution, dense, pooling, ReLU.",
        )


def check_values(graph: Graph, name: str) -> None:
    """See that a graph computes in float32 and that its weights are finite numbers.

    Raises:
        ModelError: not so; the message names the tensor.
    """
    used = {i for o in graph.operators for i in (*o.inputs, *o.outputs) if i >= 0}
    for tensor in (graph.tensors[i] for i in sorted(used)):
        if tensor.dtype in FLOAT_TYPES - {"FLOAT32"}:
            raise ModelError(
                f"{name} computes in {tensor.dtype} at {tensor.name}.", "Export it in float32."
            )
        if tensor.dtype != "FLOAT32" or tensor.data is None:
            continue
        wrong = int((~np.isfinite(np.frombuffer(tensor.data, "<f4"))).sum())
        if wrong:
            raise ModelError(
                f"{name} has {wrong} weights that are NaN or infinite, in {tensor.name}.",
                "Training diverged or the file is damaged: take an earlier checkpoint.",
            )
