"""Is the input range right? The same labelled pictures under the ranges that are in use.

Preprocessing in the wrong range is the field's commonest fault: the model runs, and its accuracy
is gone. So the float model is run on a few hundred labelled pictures with black and white as 0 and
1, -1 and 1, 0 and 255, and as they were stated. Nothing is concluded from the graph: a Rescaling
layer inside the model shows in the figures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.backends import open_backend
from edge_fer.classifier import Classifier
from edge_fer.contract import InputSpec, ModelContract
from edge_fer.errors import ModelError
from edge_fer.evaluation.drop import AccuracyDrop, Probabilities, measure_drop
from edge_fer.evaluation.metrics import top1
from edge_fer.modelfile import ModelFile
from edge_fer.preprocess import fit
from edge_fer.types import Image
from edge_fer_convert.graph import Graph

__all__ = ["STANDARD_RANGES", "RangeCheck", "check_input_range", "stated_range"]

Range = tuple[float, float]

STANDARD_RANGES: tuple[Range, ...] = ((0.0, 1.0), (-1.0, 1.0), (0.0, 255.0))
ROWS = 300
_SURE = 0.001
_LIKELY = 0.05
_FAR = 10  # points
_LEAST_ROWS = 40
_MULTIPLICATIONS = 2e11  # of all runs together: about half a minute on one core


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeCheck:
    """What the float model makes of the pictures in each range.

    Attributes:
        chosen: black and white as they are converted; None where the channels differ, and then
            no other range was tried.
        n: how many pictures, classes as even as the data allow.
        accuracy: by range, a fraction; under ``stated`` where the channels differ.
        majority_share: what always naming the largest class would get.
        warning: the sentence for the user when another range is much better, else None.
        refused: the model is no better than naming the largest class, and far above it in
            another range: the stated range is wrong.
    """

    chosen: Range | None
    n: int
    accuracy: dict[str, float]
    majority_share: float
    warning: str | None
    refused: bool

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return {
            "chosen": None if self.chosen is None else list(self.chosen),
            "n": self.n,
            "accuracy": dict(self.accuracy),
            "majority_share": self.majority_share,
            "warning": self.warning,
        }

    def raise_if_refused(self) -> None:
        """Stop where the stated range is plainly wrong.

        Raises:
            ModelError: it is; the message is the warning.
        """
        if self.refused and self.warning is not None:
            said, _, remedy = self.warning.rpartition(" Say ")
            raise ModelError(said, f"Say {remedy}")


def stated_range(spec: InputSpec) -> Range | None:
    """What black and white are by a contract, or None where the channels differ."""
    if len(set(spec.scale)) > 1 or len(set(spec.offset)) > 1:
        return None
    low = spec.offset[0]
    return low, round(low + 255 * spec.scale[0], 9)


def check_input_range(
    flatbuffer: bytes,
    contract: ModelContract,
    images: Sequence[Image],
    truth: NDArray[np.int64],
    chosen: Range | None = None,
    *,
    on_done: Callable[[int], None] = lambda done: None,
) -> RangeCheck:
    """Compare the chosen range with the standard ones on the same labelled pictures.

    Another range is much better when it wins a paired test (McNemar 1947, exact, p < 0.001), or
    by 10 points with p < 0.05, which few pictures do not reach by luck.

    Args:
        flatbuffer: the float model, without a contract.
        contract: of it; its labels are the classes of ``truth``.
        images: ``uint8[H, W]`` or ``uint8[H, W, 3]`` each, of the split that choices are made by.
        truth: ``int64[N]``, index into the labels.
        chosen: black and white as they are converted; None: as the contract says.
        on_done: told how many inferences have been run.

    Raises:
        ModelError: the graph does not match the contract.
    """
    rows = _choose(images, truth, _affordable(flatbuffer))
    pixels = np.stack([fit(images[i], contract.input) for i in rows])
    labels = truth[rows]
    share = float(np.bincount(labels).max()) / len(rows)
    known = chosen or stated_range(contract.input)
    if known is None:
        alone = _probabilities(flatbuffer, contract, pixels)
        return RangeCheck(
            chosen=None,
            n=len(rows),
            accuracy={"stated": top1(alone, labels)},
            majority_share=share,
            warning=None,
            refused=False,
        )
    tried = [known, *(r for r in STANDARD_RANGES if not np.allclose(r, known, rtol=0, atol=1e-6))]
    found: dict[Range, Probabilities] = {}
    for done, (low, high) in enumerate(tried, 1):
        found[low, high] = _probabilities(flatbuffer, _with_range(contract, low, high), pixels)
        on_done(done * len(rows))
    gains = {r: measure_drop(found[known], found[r], labels, contract.labels) for r in tried[1:]}
    better = [r for r in gains if _much_better(gains[r])]
    best = min(better, key=lambda r: gains[r].drop_points, default=None)
    accuracy = {r: top1(found[r], labels) for r in sorted(tried)}
    return RangeCheck(
        chosen=known,
        n=len(rows),
        accuracy={_words(r): value for r, value in accuracy.items()},
        majority_share=share,
        warning=None if best is None else _sentence(known, best, accuracy, len(rows)),
        refused=(
            best is not None and accuracy[known] <= share and accuracy[best] >= share + _FAR / 100
        ),
    )


def _choose(images: Sequence[Image], truth: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Row numbers: classes as even as they can be, within a class by the pixels' sha256."""
    order = {
        int(label): sorted(
            np.flatnonzero(truth == label).tolist(),
            key=lambda i: hashlib.sha256(np.ascontiguousarray(images[i]).tobytes()).digest(),
        )
        for label in np.unique(truth)
    }
    # In turns: the first of every class, the second of every class, and so on.
    turns = [(place, label, i) for label, rows in order.items() for place, i in enumerate(rows)]
    return np.array(sorted(i for _, _, i in sorted(turns)[:count]), np.int64)


def _affordable(flatbuffer: bytes) -> int:
    """How many pictures a model of this size is run on: 300, fewer for a very large one."""
    graph = Graph.read(flatbuffer)
    work = 0.0
    for operator in graph.operators:
        if operator.name in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            weights = graph.tensors[operator.inputs[1]].shape
            out = graph.tensors[operator.outputs[0]].shape
            positions = np.prod(out[1:-1]) if len(out) == 4 else 1
            work += float(np.prod(weights) * positions)
    runs = _MULTIPLICATIONS / max(work, 1.0) / (1 + len(STANDARD_RANGES))
    return int(min(ROWS, max(_LEAST_ROWS, runs)))


def _probabilities(flatbuffer: bytes, contract: ModelContract, pixels: Image) -> Probabilities:
    """``float64[N, C]``, by the runtime that is deployed."""
    bare = ModelFile(path=Path("the model"), flatbuffer=flatbuffer, contract=contract, sha256="")
    with closing(Classifier(bare, open_backend("litert", flatbuffer))) as classifier:
        return classifier.probabilities(pixels)


def _with_range(contract: ModelContract, low: float, high: float) -> ModelContract:
    channels = contract.input.channels
    spec = contract.input.model_copy(
        update={"scale": ((high - low) / 255,) * channels, "offset": (low,) * channels}
    )
    return contract.with_(input=spec)


def _much_better(gain: AccuracyDrop) -> bool:
    far = gain.drop_points <= -_FAR and gain.mcnemar_p < _LIKELY
    return gain.drop_points < 0 and (gain.mcnemar_p < _SURE or far)


def _sentence(known: Range, best: Range, accuracy: dict[Range, float], n: int) -> str:
    return (
        f"With black {known[0]:g} and white {known[1]:g} the model is right in "
        f"{100 * accuracy[known]:.1f} % of {n} labelled pictures, with {best[0]:g} and "
        f"{best[1]:g} in {100 * accuracy[best]:.1f} %: it was probably trained on these. "
        f"Say --input-range={_words(best)}"
    )


def _words(values: Range) -> str:
    return f"{values[0]:g},{values[1]:g}"
