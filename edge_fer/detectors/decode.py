"""The raw heads of a detector as candidates, by the rule that its contract names.

``anchors`` is BlazeFace's (Bazarevsky et al., arXiv:1907.05047, and the published graphs and model
cards of MediaPipe's face detection): each cell of a grid has some anchors of one fixed size, and
for each of them the net gives 4 + 2 K numbers in pixels of the input: the offset of the box's
centre from the cell's, the box's width and height, and the offset of each keypoint from the cell's
centre. The heads stand apart for each grid, ``[1, gh, gw, A * (4 + 2 K)]`` and ``[1, gh, gw, A]``,
or, as in the published files, joined over all: ``[1, N, 4 + 2 K]`` and ``[1, N, 1]``. Converted to
int8, centre, size and keypoints have a head and so a scale each, in this order:
``[1, gh, gw, A * 2]`` twice and ``[1, gh, gw, A * 2 K]``.

``grid`` is ours: one prediction a cell, in strides: ``[1, gh, gw, 1]`` scores, ``[1, gh, gw, 4]``
offset of the centre (x, y) and logarithm of width and height, ``[1, gh, gw, 2 K]`` offsets of
the keypoints.

A grid of stride s has ``gh = ceil(height / s)`` rows; the centre of a cell is at (column + 0.5) s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_fer.backends.base import Array, TensorSpec
from edge_fer.contract import ModelContract
from edge_fer.detectors.nms import MOST, Candidates
from edge_fer.errors import ModelError

__all__ = ["Decoder"]

# MediaPipe's own bound on logits: the exponential stays finite, the scores do not change.
_LOGIT_LIMIT = 100.0
# e^10 strides: larger than any picture. A raw int8 head may say anything.
_LOG_SIZE_LIMIT = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Level:
    """Heads that share their rows.

    Attributes:
        score: its number among the outputs.
        values: the numbers of the others: box before keypoints.
        centres: ``float64[N, 2]``: x, y of each row's cell.
        stride: of the grid; the decoder ``grid`` speaks in it.
    """

    score: int
    values: tuple[int, ...]
    centres: NDArray[np.float64]
    stride: int


class Decoder:
    """Raw heads to candidates.

    Args:
        contract: of a model for face detection.
        outputs: the graph's heads, in its order.
        min_score: what a candidate must score, 0 to 1; default: the contract's.
        name: the model's, for errors.

    Raises:
        ModelError: the heads are not those that the contract speaks of.
    """

    def __init__(
        self,
        contract: ModelContract,
        outputs: Sequence[TensorSpec],
        *,
        min_score: float | None = None,
        name: str = "the model",
    ) -> None:
        if contract.detection is None:
            raise ModelError(
                f"{name} is a model for {contract.task}, not one that finds faces.",
                "See: edge-fer models list",
            )
        self._spec = contract.detection
        self._logits = contract.output.kind == "logits"
        self._outputs = tuple(outputs)
        self._least = self._spec.min_score if min_score is None else min_score
        self._levels = _matched(contract, self._outputs, name)
        self._thresholds = [self._threshold(level.score) for level in self._levels]
        # One row a level: ``real = (raw - zero) * scale`` of its values, side by side.
        self._zeros, self._scales = self._quantisations()
        self._tables = [self._table(level.score) for level in self._levels]
        self._real_numbers = any(tensor.dtype.kind == "f" for tensor in self._outputs)
        strides = [level.stride for level in self._levels]
        self._strides = np.array(strides, np.float64)[:, None, None]

    def candidates(self, heads: Sequence[Array]) -> Candidates:
        """Everything that scores enough, in pixels of the input; at most :data:`MOST`, the best.

        Scores are compared as they come, quantised; only what passes is made real numbers.

        Args:
            heads: what the backend gave, in the graph's order.
        """
        passed = [
            np.flatnonzero(heads[level.score] >= threshold)
            for level, threshold in zip(self._levels, self._thresholds, strict=True)
        ]
        found = [i for i, rows in enumerate(passed) if len(rows)]
        if not found:
            return Candidates(
                boxes=np.empty((0, 4)),
                scores=np.empty(0),
                keypoints=np.empty((0, len(self._spec.keypoints), 2)),
            )
        scores = np.concatenate([self._scores(heads, i, passed[i]) for i in found])
        values = self._values(heads, passed, found)
        sound = (values[:, 1] > 0).all(axis=1)
        if self._real_numbers:
            sound &= np.isfinite(values).all(axis=(1, 2))
        if not sound.all():
            scores, values = scores[sound], values[sound]
        if len(scores) > MOST:
            best = np.argsort(-scores, kind="stable")[:MOST]
            scores, values = scores[best], values[best]
        centre, half = values[:, 0], values[:, 1] / 2
        return Candidates(
            boxes=np.concatenate([centre - half, centre + half], axis=1),
            scores=scores,
            keypoints=values[:, 2:],
        )

    def _scores(
        self, heads: Sequence[Array], level: int, rows: NDArray[np.intp]
    ) -> NDArray[np.float64]:
        output = self._levels[level].score
        raw, table = heads[output].reshape(-1)[rows], self._tables[level]
        # A negative number counts from the end, where a table of signed numbers has it.
        return self._score(output, raw) if table is None else np.asarray(table[raw])

    def _values(
        self, heads: Sequence[Array], passed: Sequence[NDArray[np.intp]], found: Sequence[int]
    ) -> NDArray[np.float64]:
        """``float64[n, 2 + K, 2]`` of the rows that passed: centre, size, keypoints.

        Picked level by level and reckoned with all at once: most calls have a handful of rows.
        """
        picked, centres = [], []
        for i in found:
            level, rows = self._levels[i], passed[i]
            total = len(level.centres)
            parts = [heads[head].reshape(total, -1)[rows] for head in level.values]
            picked.append(np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0])
            centres.append(level.centres[rows])
        of = np.repeat(found, [len(rows) for rows in centres])
        raw = np.concatenate(picked).astype(np.float64)
        values = ((raw - self._zeros[of]) * self._scales[of]).reshape(len(of), -1, 2)
        if self._spec.decoder == "grid":
            values[:, 1] = np.exp(np.minimum(values[:, 1], _LOG_SIZE_LIMIT))
            values *= self._strides[of]
        centre = np.concatenate(centres)
        values[:, 0] += centre
        values[:, 2:] += centre[:, None]
        return np.asarray(values)

    def _score(self, output: int, raw: Array) -> NDArray[np.float64]:
        real = self._real(output, raw)
        if self._logits:
            return np.asarray(1 / (1 + np.exp(-np.clip(real, -_LOGIT_LIMIT, _LOGIT_LIMIT))))
        return np.clip(real, 0.0, 1.0)

    def _real(self, output: int, raw: Array) -> NDArray[np.float64]:
        tensor = self._outputs[output].quantisation
        values = raw.astype(np.float64)
        return values if tensor is None else (values - tensor.zero_point) * tensor.scale

    def _quantisations(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Zero points and scales, ``float64[levels, values]`` each; 0 and 1 for real numbers."""
        zeros, scales = [], []
        for level in self._levels:
            tensors = [self._outputs[head] for head in level.values]
            widths = [int(np.prod(t.shape)) // len(level.centres) for t in tensors]
            told = [t.quantisation for t in tensors]
            zeros.append(np.repeat([q.zero_point if q else 0.0 for q in told], widths))
            scales.append(np.repeat([q.scale if q else 1.0 for q in told], widths))
        return np.array(zeros, np.float64), np.array(scales, np.float64)

    def _table(self, output: int) -> NDArray[np.float64] | None:
        """The score of every value that a head of bytes can have; None for another head."""
        dtype = self._outputs[output].dtype
        if dtype.kind not in "iu" or dtype.itemsize > 1:
            return None
        return self._score(output, np.arange(256).astype(np.uint8).view(dtype))

    def _threshold(self, output: int) -> float | int:
        """The smallest value of a score head that is enough."""
        dtype = self._outputs[output].dtype
        if dtype.kind == "f":
            return float(np.log(self._least / (1 - self._least))) if self._logits else self._least
        levels = np.arange(np.iinfo(dtype).min, np.iinfo(dtype).max + 1)
        enough = levels[self._score(output, levels) >= self._least]
        return int(enough[0]) if len(enough) else int(levels[-1]) + 1


def _matched(contract: ModelContract, outputs: Sequence[TensorSpec], name: str) -> list[_Level]:
    """The heads that the contract speaks of, found among the outputs by their shapes.

    Raises:
        ModelError: one is missing, left over, or cannot be told from another.
    """
    wanted = _wanted(contract, {tensor.shape for tensor in outputs})
    shapes = [shape for _, _, level in wanted for shape in level]
    have = [tensor.shape for tensor in outputs]
    # Centre and size of one grid have one shape, and their order tells them apart.
    ordered = contract.detection is not None and contract.detection.decoder == "anchors"
    kinds = [s for _, _, level in wanted for s in (set(level) if ordered else level)]
    alike = {shape for shape in shapes if kinds.count(shape) > 1}
    wrong = [
        *(f"two heads of shape {_text(shape)} cannot be told apart" for shape in sorted(alike)),
        *(
            f"no head {_text(shape)}"
            for shape in dict.fromkeys(shapes)
            if have.count(shape) < shapes.count(shape)
        ),
        *(
            f"{tensor.name} {_text(tensor.shape)} is none of its heads"
            for i, tensor in enumerate(outputs)
            if have[:i].count(tensor.shape) >= shapes.count(tensor.shape)
        ),
        *(
            f"{tensor.name} is {tensor.dtype} without a scale"
            for tensor in outputs
            if tensor.dtype.kind in "iu" and tensor.quantisation is None
        ),
    ]
    if (
        contract.detection
        and contract.detection.decoder == "grid"
        and max(contract.detection.anchors) > 1
    ):
        wrong.insert(0, "the decoder grid has 1 anchor a cell")
    if wrong:
        raise ModelError(
            f"{name} breaks its contract: {'; '.join(wrong)}.",
            "Get a fresh copy of the file, or convert the model again.",
        )
    found = []
    for centres, stride, level in wanted:
        places = [
            [i for i, shape in enumerate(have) if shape == head][level[:n].count(head)]
            for n, head in enumerate(level)
        ]
        score, *values = places
        found.append(_Level(score=score, values=tuple(values), centres=centres, stride=stride))
    return found


def _wanted(
    contract: ModelContract, have: set[tuple[int, ...]]
) -> list[tuple[NDArray[np.float64], int, list[tuple[int, ...]]]]:
    """Of each level: its cells' centres, its stride, and its heads' shapes, the score's first."""
    spec, picture = contract.detection, contract.input
    if spec is None:
        return []
    points = 2 * len(spec.keypoints)
    levels: list[tuple[NDArray[np.float64], int, list[tuple[int, ...]]]] = []
    for stride, anchors in zip(spec.strides, spec.anchors, strict=True):
        rows, columns = -(-picture.height // stride), -(-picture.width // stride)
        y, x = np.mgrid[:rows, :columns].reshape(2, -1)
        centres = np.repeat(np.stack([x + 0.5, y + 0.5], axis=1) * stride, anchors, axis=0)
        each = [anchors, 4 * anchors, points * anchors]
        if spec.decoder == "anchors":
            each = [anchors, (4 + points) * anchors]
            if (1, rows, columns, 2 * anchors) in have:
                each = [anchors, 2 * anchors, 2 * anchors, points * anchors]
        levels.append((centres, stride, [(1, rows, columns, n) for n in each if n]))
    joined = np.concatenate([centres for centres, _, _ in levels])
    shapes: list[tuple[int, ...]] = [(1, len(joined), 1), (1, len(joined), 4 + points)]
    if spec.decoder == "anchors" and have.intersection(shapes):
        return [(joined, 1, shapes)]
    return levels


def _text(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))
