"""Candidates of a detector, and how those that mean one face become one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST", "Candidates", "merged"]

# More than the faces of any frame; the cost of what follows grows with its square.
MOST = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """Boxes with scores and keypoints, in pixels of the model's input.

    Attributes:
        boxes: ``float64[N, 4]``: x1, y1, x2, y2.
        scores: ``float64[N]``, 0 to 1.
        keypoints: ``float64[N, K, 2]``: x, y; K may be 0.
    """

    boxes: NDArray[np.float64]
    scores: NDArray[np.float64]
    keypoints: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.scores)


def merged(candidates: Candidates, max_overlap: float, most: int = MOST) -> Candidates:
    """One candidate per face, best score first: weighted non-maximum suppression.

    The best candidate and all that overlap it by more than ``max_overlap`` become one, whose box
    and keypoints are their mean, weighted by the scores, and whose score is the best one's; then
    the same for what is left (Bazarevsky et al., BlazeFace, arXiv:1907.05047, section 3.2: it
    steadies the boxes of a video).

    Args:
        candidates: of one picture. Equal scores keep their order, so that equal input gives equal
            output.
        max_overlap: intersection over union.
        most: candidates beyond so many are left out, worst first.
    """
    if not len(candidates):
        return candidates
    order = np.argsort(-candidates.scores, kind="stable")[:most]
    boxes, scores = candidates.boxes[order], candidates.scores[order]
    points = candidates.keypoints[order]
    values = np.concatenate([boxes, points.reshape(len(boxes), 2 * points.shape[1])], axis=1)
    overlaps = _overlaps(boxes) > max_overlap
    np.fill_diagonal(overlaps, True)  # a box without area overlaps not even itself
    left = np.ones(len(order), np.bool_)
    best, members = [], []
    for i in range(len(order)):
        if left[i]:
            best.append(i)
            members.append(overlaps[i] & left)
            left ^= members[-1]
    weights = np.array(members, np.float64).reshape(-1, len(order)) * scores
    faces = weights @ values / weights.sum(axis=1, keepdims=True)
    return Candidates(
        boxes=faces[:, :4],
        scores=scores[best],
        keypoints=faces[:, 4:].reshape(len(faces), *points.shape[1:]),
    )


def _overlaps(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """``float64[N, N]`` intersection over union of ``float64[N, 4]`` boxes."""
    low = np.maximum(boxes[:, None, :2], boxes[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], boxes[None, :, 2:])
    across, down = np.moveaxis(np.maximum(high - low, 0), 2, 0)
    shared = across * down
    areas = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1)
    union = areas[:, None] + areas[None, :] - shared
    return np.asarray(shared / np.maximum(union, np.finfo(np.float64).tiny))
