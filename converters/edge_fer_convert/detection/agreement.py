"""Do two detectors say the same? Float and int8 on the same pictures, face by face.

No labels are needed. The one figure that recipes are ranked by is the panoptic quality of the int8
faces with the float ones as the truth (Kirillov et al., Panoptic Segmentation, arXiv:1801.00868):
the sum of the overlaps of matched faces over the mean number of faces, so that a face lost, a face
too many and a box moved all cost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge_fer.evaluation.detection import overlaps
from edge_fer.types import Detector, Face, Frame

__all__ = ["Agreement", "Pair", "compare_detectors"]

_SAME = 0.3  # least overlap of two boxes around one face


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """One face, found by both.

    Attributes:
        overlap: intersection over union of the two boxes.
        keypoints: mean distance of the keypoints, over the width of the float box; None without.
        score: int8 less float.
    """

    overlap: float
    keypoints: float | None
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """What two detectors said of the same pictures.

    Attributes:
        pictures: how many.
        pairs: the faces that both found.
        only_float, only_int8: how many faces one of them found.
    """

    pictures: int
    pairs: tuple[Pair, ...]
    only_float: int
    only_int8: int

    @property
    def median_overlap(self) -> float | None:
        """Of the two boxes of a face; None where no face was found by both."""
        return float(np.median([p.overlap for p in self.pairs])) if self.pairs else None

    @property
    def quality(self) -> float:
        """Panoptic quality, 0 to 1; 1 also where neither found a face."""
        faces = len(self.pairs) + (self.only_float + self.only_int8) / 2
        return sum(p.overlap for p in self.pairs) / faces if faces else 1.0

    def to_json(self) -> dict[str, Any]:
        """For the report; ``*_points`` and overlaps as everywhere, keypoints in % of the width."""
        overlap = [p.overlap for p in self.pairs]
        points = [100 * p.keypoints for p in self.pairs if p.keypoints is not None]
        score = [abs(p.score) for p in self.pairs]
        return {
            "pictures": self.pictures,
            "faces": len(self.pairs),
            "only_float": self.only_float,
            "only_int8": self.only_int8,
            "quality": self.quality,
            "box_iou": _spread(overlap, 10),
            "keypoints_percent_of_width": _spread(points, 90),
            "score_difference": _spread(score, 90),
        }


def compare_detectors(
    reference: Detector,
    other: Detector,
    frames: Iterable[Frame],
    *,
    on_done: Callable[[int], None] = lambda done: None,
) -> Agreement:
    """Show both every picture.

    Args:
        reference: the float detector.
        other: the int8 one.
        frames: the pictures.
        on_done: told how many pictures both have seen.
    """
    pairs: list[Pair] = []
    only_float = only_int8 = done = 0
    for done, frame in enumerate(frames, 1):
        ours, theirs = reference.detect(frame), other.detect(frame)
        matched = _matched(ours, theirs)
        pairs += [_pair(ours[i], theirs[j], overlap) for i, j, overlap in matched]
        only_float += len(ours) - len(matched)
        only_int8 += len(theirs) - len(matched)
        on_done(done)
    return Agreement(pictures=done, pairs=tuple(pairs), only_float=only_float, only_int8=only_int8)


def _matched(ours: Sequence[Face], theirs: Sequence[Face]) -> list[tuple[int, int, float]]:
    """One to one, the largest overlap first; of equals the first."""
    if not ours or not theirs:
        return []
    overlap = overlaps([f.box for f in ours], [f.box for f in theirs])
    matched = []
    while overlap.max() >= _SAME:
        i, j = (int(n) for n in np.unravel_index(overlap.argmax(), overlap.shape))
        matched.append((i, j, float(overlap[i, j])))
        overlap[i, :] = overlap[:, j] = -1
    return matched


def _pair(ours: Face, theirs: Face, overlap: float) -> Pair:
    moved = None
    if ours.keypoints is not None and theirs.keypoints is not None:
        apart = np.subtract(ours.keypoints, theirs.keypoints)
        moved = float(np.hypot(apart[:, 0], apart[:, 1]).mean() / ours.box.w)
    return Pair(overlap=overlap, keypoints=moved, score=theirs.score - ours.score)


def _spread(values: Sequence[float], percent: int) -> dict[str, float] | None:
    """Median, and the percentile of the worse end."""
    if not values:
        return None
    return {
        "median": float(np.median(values)),
        f"p{percent}": float(np.percentile(values, percent)),
    }
