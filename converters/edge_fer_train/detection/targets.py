"""Which cell learns which face, and what a detector loses by its answers.

Cells near the middle of a face are responsible for it, on the grid whose stride suits its size,
as in FCOS (Tian et al., arXiv:1904.01355). The score learns the overlap that its box reaches
(quality focal loss: Li et al., arXiv:2006.04388), so that one number ranks faces by certainty
and fit; boxes learn by 1 - GIoU (Rezatofighi et al., arXiv:1902.09630).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer_train.detection.network import KEYPOINTS, STRIDES

__all__ = ["COLUMNS", "Truth", "assign", "detection_loss", "pack"]

# Face sizes (square root of the box's area) in strides that a grid is responsible for.
_SIZES = (1.0, 5.5)
_FINEST, _COARSEST = 0.0, float("inf")
_RADIUS = 1.25  # strides from the face's centre
_FOCUS = 2.0
COLUMNS = 1 + 4 + 3 * len(KEYPOINTS)
"""What a cell is told: face (1), none (0) or anything (-1); x1, y1, x2, y2; x, y, known each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """The faces of one picture, in its pixels.

    Attributes:
        boxes: ``float32[N, 4]``: x1, y1, x2, y2.
        keypoints: ``float32[N, K, 2]``; NaN where they are not known.
        ignored: ``bool[N]``: perhaps a face; neither right nor wrong.
    """

    boxes: NDArray[np.float32]
    keypoints: NDArray[np.float32]
    ignored: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.boxes)


def assign(truth: Truth, height: int, width: int) -> NDArray[np.float32]:
    """What every cell of every grid is told: ``float32[cells, COLUMNS]``, finest grid first.

    Where two faces claim a cell, the smaller has it. A face between two sizes is taught on both
    grids. Cells inside of an ignored box are told nothing.
    """
    parts = []
    sizes = np.sqrt(np.prod(truth.boxes[:, 2:] - truth.boxes[:, :2], axis=1))
    order = np.argsort(-sizes, kind="stable")
    for number, stride in enumerate(STRIDES):
        rows, columns = -(-height // stride), -(-width // stride)
        told = np.zeros((rows, columns, COLUMNS), np.float32)
        x, y = (np.arange(columns) + 0.5) * stride, (np.arange(rows) + 0.5) * stride
        least = _FINEST if number == 0 else _SIZES[0] * stride * 1.5
        most = _COARSEST if number == len(STRIDES) - 1 else _SIZES[1] * stride
        for i in order:
            x1, y1, x2, y2 = truth.boxes[i]
            across, down = (x >= x1) & (x <= x2), (y >= y1) & (y <= y2)
            if truth.ignored[i]:
                inside = np.ix_(down, across)
                told[inside] = np.where(told[inside][..., :1] == 1, told[inside], -1)
                continue
            if not least <= sizes[i] <= most:
                # Another grid's face: whether this one sees it, too, is left open.
                middle = np.ix_(_near(y, y1, y2, stride), _near(x, x1, x2, stride))
                told[middle] = np.where(told[middle][..., :1] == 1, told[middle], -1)
                continue
            cells = np.ix_(_near(y, y1, y2, stride), _near(x, x1, x2, stride))
            told[cells] = pack(truth, int(i))
        parts.append(told.reshape(-1, COLUMNS))
    return np.concatenate(parts)


def pack(truth: Truth, i: int) -> NDArray[np.float32]:
    """One face as a cell is told of it, ``float32[COLUMNS]``."""
    points = truth.keypoints[i]
    known = np.isfinite(points).all(axis=1, keepdims=True)
    named = np.concatenate([np.where(known, points, 0), known], axis=1).ravel()
    return np.concatenate([[1.0], truth.boxes[i], named]).astype(np.float32)


def _near(centres: NDArray[np.floating], low: float, high: float, stride: int) -> NDArray[np.bool_]:
    """The cells within the radius of the middle and inside the face; always the nearest one."""
    far = np.abs(centres - (low + high) / 2)
    near = (far <= min(_RADIUS * stride, (high - low) / 2)) & (far <= (high - low) / 2)
    near[far.argmin()] = True
    return np.asarray(near)


def detection_loss(heads: Sequence[Any], told: Any) -> dict[str, Any]:
    """The parts of the loss, in Keras operations on any backend.

    Args:
        heads: the net's outputs: score, box and keypoints of each stride.
        told: ``float32[N, cells, COLUMNS]``, from :func:`assign`.

    Returns:
        ``score``, ``box`` and ``keypoints``, each a number; their sum is to be minimised.
    """
    from keras import ops

    flat = {k: [] for k in ("score", "box", "keypoints")}  # type: dict[str, list[Any]]
    places = []
    for number, stride in enumerate(STRIDES):
        score, box, points = heads[3 * number : 3 * number + 3]
        rows, columns = score.shape[1], score.shape[2]
        y, x = np.mgrid[:rows, :columns].reshape(2, -1).astype(np.float32) + 0.5
        places.append(np.stack([x * stride, y * stride, np.full_like(x, stride)], axis=1))
        for name, head in (("score", score), ("box", box), ("keypoints", points)):
            flat[name].append(ops.reshape(head, (-1, rows * columns, head.shape[-1])))
    score, box, points = (ops.concatenate(flat[name], axis=1) for name in flat)
    place = np.concatenate(places)[None]
    at, stride_of = place[..., :2], place[..., 2:3]

    is_face = ops.cast(told[..., :1] == 1, "float32")
    counts = ops.cast(told[..., :1] >= 0, "float32")
    many = ops.maximum(ops.sum(is_face), 1.0)

    centre = at + box[..., :2] * stride_of
    half = ops.exp(ops.clip(box[..., 2:], -4.0, 6.0)) * stride_of / 2
    x1, y1 = (centre - half)[..., :1], (centre - half)[..., 1:]
    x2, y2 = (centre + half)[..., :1], (centre + half)[..., 1:]
    gx1, gy1, gx2, gy2 = (told[..., i : i + 1] for i in range(1, 5))
    shared = ops.relu(ops.minimum(x2, gx2) - ops.maximum(x1, gx1)) * ops.relu(
        ops.minimum(y2, gy2) - ops.maximum(y1, gy1)
    )
    union = (x2 - x1) * (y2 - y1) + (gx2 - gx1) * (gy2 - gy1) - shared
    iou = shared / ops.maximum(union, 1e-6)
    hull = (ops.maximum(x2, gx2) - ops.minimum(x1, gx1)) * (
        ops.maximum(y2, gy2) - ops.minimum(y1, gy1)
    )
    giou = iou - (hull - union) / ops.maximum(hull, 1e-6)

    target = is_face * ops.stop_gradient(ops.clip(iou, 0.0, 1.0))
    p = ops.clip(score, 1e-6, 1 - 1e-6)
    entropy = -(target * ops.log(p) + (1 - target) * ops.log(1 - p))
    score_loss = ops.sum(counts * ops.abs(target - p) ** _FOCUS * entropy) / many

    # Log sizes beside GIoU: it says little of the shape once the boxes lie inside each other.
    sizes = ops.concatenate([gx2 - gx1, gy2 - gy1], axis=-1)
    shape = ops.abs(box[..., 2:] - ops.log(ops.maximum(sizes, 1.0) / stride_of))
    off_centre = ops.abs(centre - ops.concatenate([gx1 + gx2, gy1 + gy2], axis=-1) / 2)
    tight = ops.mean(shape + off_centre / ops.maximum(sizes, 1.0), axis=-1, keepdims=True)
    box_loss = ops.sum(is_face * (1 - giou + tight)) / many

    told_points = ops.reshape(told[..., 5:], (*told.shape[:2], len(KEYPOINTS), 3))
    ours = ops.reshape(points, (*points.shape[:2], len(KEYPOINTS), 2)) * stride_of[..., None]
    off = ops.abs(ours + at[..., None, :] - told_points[..., :2]) / ops.maximum(
        sizes[..., 1:][..., None], 1.0
    )
    known = told_points[..., 2:] * is_face[..., None]
    keypoint_loss = ops.sum(known * off) / ops.maximum(ops.sum(known), 1.0)
    return {"score": 3 * score_loss, "box": 2 * box_loss, "keypoints": 2 * keypoint_loss}
