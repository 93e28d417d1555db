"""Figures of a face detector on one set of scenes, each with one definition.

Average precision is PASCAL VOC's since 2010 (Everingham et al., "The PASCAL Visual Object Classes
(VOC) challenge: a retrospective", IJCV 111, 2015), which WIDER FACE takes over (Yang et al.,
arXiv:1511.06523): detections of all scenes by falling score, each takes the face that it overlaps
most and that none has taken; precision is made to fall, and the whole area under it is summed.
Faces that do not count may be found without gain or loss, as VOC's "difficult" ones; however badly
a detection fits one, it is not held against the detector. (With the overlap of a hit asked of those
too, BlazeFace full-range, which knows tiny faces but boxes them loosely, falls from .67 to .63.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_fer.types import Box

__all__ = [
    "FALSE",
    "HIT",
    "NEITHER",
    "Ranking",
    "Scored",
    "bootstrap",
    "greedy",
    "interval",
    "one_to_one",
    "overlaps",
]

Floats = NDArray[np.float64]
HIT, NEITHER, FALSE = 1, 0, -1
_RESAMPLES = 1000
_SEED = 1


def overlaps(found: Sequence[Box], faces: Sequence[Box]) -> Floats:
    """Intersection over union of every detection with every face: ``float64[N, M]``."""
    a, b = _corners(found)[:, None], _corners(faces)[None]
    across = np.minimum(a[..., 2], b[..., 2]) - np.maximum(a[..., 0], b[..., 0])
    down = np.minimum(a[..., 3], b[..., 3]) - np.maximum(a[..., 1], b[..., 1])
    shared = np.clip(across, 0, None) * np.clip(down, 0, None)
    both = _areas(a) + _areas(b) - shared
    # A detector may give an empty box; it overlaps nothing.
    return np.asarray(np.divide(shared, both, out=np.zeros_like(shared), where=both > 0))


def _corners(boxes: Sequence[Box]) -> Floats:
    rows = [(box.x, box.y, box.x + box.w, box.y + box.h) for box in boxes]
    return np.array(rows, np.float64).reshape(-1, 4)


def _areas(corners: Floats) -> Floats:
    return np.asarray((corners[..., 2] - corners[..., 0]) * (corners[..., 3] - corners[..., 1]))


def greedy(overlap: Floats, counted: NDArray[np.bool_], least: float) -> NDArray[np.int8]:
    """What becomes of each detection of a scene: ``int8[N]`` of HIT, NEITHER and FALSE.

    Args:
        overlap: ``float64[N, M]``, detections by falling score.
        counted: ``bool[M]``; what overlaps one of the other faces most is neither hit nor false.
        least: overlap that makes a hit.
    """
    free = counted.copy()
    outcome = np.full(len(overlap), FALSE, np.int8)
    for i, row in enumerate(overlap):
        near = np.where(free, row, 0.0)
        best = int(near.argmax()) if len(near) else -1
        if best >= 0 and near[best] >= least:
            outcome[i], free[best] = HIT, False
        elif _elsewhere(row, counted):
            outcome[i] = NEITHER
    return outcome


def _elsewhere(row: Floats, counted: NDArray[np.bool_]) -> bool:
    """Whether the face that a detection overlaps most is one that does not count."""
    return bool(len(row) and row.max() > 0 and not counted[row.argmax()])


def one_to_one(overlap: Floats, counted: NDArray[np.bool_], least: float) -> NDArray[np.int64]:
    """The face of each detection: ``int64[N]``, -1 for an extra, -2 where it does not count.

    Pairs are taken by falling overlap, whatever the scores: what a person who looks at a photo
    would pair. Ties go to the first detection and face.
    """
    face = np.full(len(overlap), -1)
    near = np.where(counted, overlap, 0.0)
    for flat in np.argsort(-near, axis=None, kind="stable").tolist():
        i, j = divmod(flat, near.shape[1])
        if near[i, j] < least:
            break
        if face[i] < 0 and not (face == j).any():
            face[i] = j
    elsewhere = np.array([_elsewhere(row, counted) for row in overlap], bool)
    face[(face < 0) & elsewhere] = -2
    return face


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """All detections of a set by falling score, for average precision.

    Attributes:
        score: ``float64[N]``.
        hit: ``bool[N]``.
        scene: ``int64[N]`` which scene each is in.
        faces: ``int64[S]`` faces that count, per scene.
    """

    score: Floats
    hit: NDArray[np.bool_]
    scene: NDArray[np.int64]
    faces: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        scores: Sequence[Floats],
        outcomes: Sequence[NDArray[np.int8]],
        faces: Sequence[int],
    ) -> Ranking:
        """Of each scene: the scores, what :func:`greedy` made of them, and the faces that count."""
        score = np.concatenate([np.empty(0), *scores])
        outcome = np.concatenate([np.empty(0, np.int8), *outcomes])
        scene = np.repeat(np.arange(len(scores)), [len(s) for s in scores])
        order = np.argsort(-score, kind="stable")
        order = order[outcome[order] != NEITHER]
        return cls(
            score=score[order],
            hit=outcome[order] == HIT,
            scene=scene[order],
            faces=np.asarray(faces, np.int64),
        )

    def average_precision(self, times: NDArray[np.int64] | None = None) -> float:
        """Area under precision over recall, 0 to 1; NaN without faces.

        Detections of one score are one step: their order is chance, and Haar has many such.

        Args:
            times: ``int64[S]`` how often each scene is counted (a bootstrap sample); else once.
        """
        weight = np.ones_like(self.faces) if times is None else times
        total = int((weight * self.faces).sum())
        if total == 0:
            return float("nan")
        each = weight[self.scene]
        hits, said = np.cumsum(each * self.hit), np.cumsum(each)
        last = np.flatnonzero(np.append(np.diff(self.score) < 0, True)[: len(said)])
        last = last[said[last] > 0]
        recall, precision = hits[last] / total, hits[last] / said[last]
        falling = np.maximum.accumulate(precision[::-1])[::-1]
        return float((np.diff(recall, prepend=0.0) * falling).sum())


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A figure and its 95 % interval, by a percentile bootstrap over scenes; None without data."""

    value: float | None
    ci95: tuple[float, float] | None

    @classmethod
    def share(cls, hits: Sequence[int], total: Sequence[int]) -> Scored:
        """Hits of a total, each per scene."""
        above, below = np.asarray(hits, np.int64), np.asarray(total, np.int64)
        if below.sum() == 0:
            return cls(value=None, ci95=None)
        drawn = bootstrap(len(below))
        sums = drawn @ below
        shares = (drawn @ above)[sums > 0] / sums[sums > 0]
        return cls(value=float(above.sum() / below.sum()), ci95=interval(shares))

    @classmethod
    def precision_of(cls, ranking: Ranking) -> Scored:
        """Average precision."""
        if ranking.faces.sum() == 0:
            return cls(value=None, ci95=None)
        drawn = np.array([ranking.average_precision(t) for t in bootstrap(len(ranking.faces))])
        return cls(value=ranking.average_precision(), ci95=interval(drawn[np.isfinite(drawn)]))


def bootstrap(scenes: int) -> NDArray[np.int64]:
    """How often each scene is drawn, in each of 1,000 samples: ``int64[1000, scenes]``.

    Faces of one scene stand and fall together, so scenes are drawn, not faces (Efron and
    Tibshirani, "An Introduction to the Bootstrap", 1993). The same draws every time, so that
    two detectors are compared on the same samples.
    """
    random = np.random.default_rng(_SEED)
    return random.multinomial(scenes, np.full(scenes, 1 / scenes), size=_RESAMPLES)


def interval(values: Floats) -> tuple[float, float]:
    """2.5th and 97.5th percentile."""
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
