"""Candidates of a detector, and how those that mean one face become one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST", "Candidates", "merged"]

# Each face has several candidates, hundreds where the threshold is low. The bound is there because
# the cost of what follows grows with its square.
MOST = 1000


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
    left = np.arange(len(order))
    groups = []
    while len(left):
        same = _overlaps(boxes[left]) > max_overlap
        same[0] = True  # a box without area overlaps not even itself
        groups.append(left[same])
        left = left[~same]
    best = [group[0] for group in groups]
    members = np.concatenate(groups)
    starts = np.cumsum([0, *map(len, groups[:-1])])
    weights = scores[members, None]
    faces = np.add.reduceat(weights * values[members], starts) / np.add.reduceat(weights, starts)
    return Candidates(
        boxes=faces[:, :4],
        scores=scores[best],
        keypoints=faces[:, 4:].reshape(len(faces), *points.shape[1:]),
    )


def _overlaps(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """``float64[N]`` intersection over union of the first of ``float64[N, 4]`` boxes with each."""
    low, high = np.maximum(boxes[0, :2], boxes[:, :2]), np.minimum(boxes[0, 2:], boxes[:, 2:])
    inside, sides = np.maximum(high - low, 0), boxes[:, 2:] - boxes[:, :2]
    shared, areas = inside[:, 0] * inside[:, 1], sides[:, 0] * sides[:, 1]
    union = areas[0] + areas - shared
    return np.asarray(shared / np.maximum(union, np.finfo(np.float64).tiny))
