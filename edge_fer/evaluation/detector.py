"""One detector on one set of labelled scenes: the figures of ``edge-fer evaluate --detector``.

A face's size is the longer side of its box, in pixels of the picture scaled to 480 lines: what a
camera of 640x480 sees. Recall, precision and extra faces are those of the detector as it is used;
average precision needs also what it doubts, and comes from a twin with a low threshold. (Filtering
the twin's faces would not do: a detector that averages overlapping boxes moves them.)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any
from urllib.parse import urlencode

import numpy as np
from numpy.typing import NDArray

from edge_fer.detectors import DETECTORS
from edge_fer.errors import DataError
from edge_fer.evaluation.boxes import LabelledBox, SceneSet, View
from edge_fer.evaluation.detection import (
    Ranking,
    Scored,
    greedy,
    one_to_one,
    overlaps,
)
from edge_fer.evaluation.drop import wilson
from edge_fer.types import Detector, Face
from edge_fer.uri import split_query

__all__ = [
    "LINES",
    "LOW_SCORE",
    "MATCH",
    "MIN_HEIGHT",
    "SIZES",
    "DetectorEvaluation",
    "Entrant",
    "Sight",
    "counts",
    "evaluate_detectors",
    "low_twin",
    "size_of",
    "views",
]

LINES = 480
MATCH = 0.3
"""Least overlap of a found face. Square boxes of a good Haar hit overlap a tight tall one by .5."""

MIN_HEIGHT = 1 / 12
"""Least size of a face that counts, in heights of the picture: 40 pixels of 480."""

SIZES = ((0, 40), (40, 60), (60, 100), (100, None))
"""Bins of a face's size, lower end included."""

LOW_SCORE = 0.05
"""Threshold at which a detector also says what it doubts, for average precision."""

_EYES = 2


def low_twin(uri: str) -> str | None:
    """The same detector with a threshold of 0.05; None where it knows no ``min_score`` (Haar)."""
    name, given = split_query(uri)
    if name in DETECTORS and "min_score" not in DETECTORS[name][1]:
        return None
    return f"{name}?{urlencode({**given, 'min_score': LOW_SCORE})}"


def size_of(face: LabelledBox, lines: int) -> float:
    """The longer side of its box, for a picture of so many lines scaled to 480 of them."""
    return max(face.box.w, face.box.h) * LINES / lines


def counts(view: View, min_height: float) -> NDArray[np.bool_]:
    """``bool[M]``: which faces of a scene are to be found.

    Args:
        view: the scene.
        min_height: a face's least size as a fraction of the picture's height.
    """
    least = min_height * LINES
    sizes = [size_of(face, view.frame.height) for face in view.faces]
    wanted = [not face.ignore for face in view.faces]
    return np.array(wanted, bool) & (np.array(sizes) >= least)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What became of one scene.

    Attributes:
        counted: ``bool[M]`` faces that are to be found.
        sizes: ``float64[M]``, see :func:`size_of`.
        face_of: ``int64[N]``, see :func:`~edge_fer.evaluation.detection.one_to_one`.
        doubtful: ``bool[M]``, faces that the low threshold finds.
        scores: ``float64[K]`` at the low threshold.
        outcomes: ``int8[K]`` of those, by the overlap that makes a hit.
        eye_errors: of the found faces with labelled eyes, mean of both, over their distance.
        latency_ms: of the detector as it is used.
    """

    counted: NDArray[np.bool_]
    sizes: NDArray[np.float64]
    face_of: NDArray[np.int64]
    doubtful: NDArray[np.bool_]
    scores: NDArray[np.float64]
    outcomes: dict[float, NDArray[np.int8]]
    eye_errors: tuple[float, ...]
    latency_ms: float

    @property
    def found(self) -> NDArray[np.bool_]:
        """``bool[M]``: which faces were found."""
        return np.isin(np.arange(len(self.counted)), self.face_of)

    @property
    def extra(self) -> int:
        """How many detections are no face."""
        return int((self.face_of == -1).sum())

    @classmethod
    def of(
        cls,
        view: View,
        faces: tuple[Face, ...],
        doubted: tuple[Face, ...],
        *,
        min_height: float,
        latency_ms: float,
    ) -> Sight:
        """Judge one scene.

        Args:
            view: the scene.
            faces: what the detector found in it, as it is used.
            doubted: what it finds at a low threshold.
            min_height: least size of a face that counts, a fraction of the picture's height.
            latency_ms: what the first took.
        """
        truth = [face.box for face in view.faces]
        counted = counts(view, min_height)
        low = sorted(doubted, key=lambda face: -face.score)
        overlap = overlaps([face.box for face in low], truth)
        face_of = one_to_one(overlaps([face.box for face in faces], truth), counted, MATCH)
        pairs = ((faces[i], view.faces[j]) for i, j in enumerate(face_of.tolist()) if j >= 0)
        errors = (eye_error(face, label) for face, label in pairs)
        return cls(
            counted=counted,
            sizes=np.array([size_of(face, view.frame.height) for face in view.faces], np.float64),
            face_of=face_of,
            doubtful=np.isin(np.arange(len(truth)), one_to_one(overlap, counted, MATCH)),
            scores=np.array([face.score for face in low], np.float64),
            outcomes={least: greedy(overlap, counted, least) for least in (0.5, MATCH)},
            eye_errors=tuple(e for e in errors if e is not None),
            latency_ms=latency_ms,
        )


def eye_error(face: Face, label: LabelledBox) -> float | None:
    """Mean distance of both eyes from where they are, over the distance between them."""
    if face.keypoints is None or label.keypoints is None:
        return None
    said, true = np.array(face.keypoints[:_EYES]), np.array(label.keypoints[:_EYES])
    apart = float(np.hypot(*(true[1] - true[0]))) if len(true) == len(said) == _EYES else 0.0
    return float(np.hypot(*(said - true).T).mean()) / apart if apart > 0 else None


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorEvaluation:
    """What the detector said of every scene.

    Attributes:
        scenes: the data.
        min_height: least size of a face that counts, a fraction of the picture's height.
        sights: one for each scene that could be read.
        skipped: rows and pictures that were left out, each with the reason.
    """

    scenes: SceneSet
    min_height: float
    sights: tuple[Sight, ...]
    skipped: tuple[tuple[str, str], ...]

    def to_json(self, detector: dict[str, Any]) -> dict[str, Any]:
        """The document ``edge-fer/evaluate-detector/1``."""
        sights, faces = self.sights, [int(s.counted.sum()) for s in self.sights]
        found = [int(s.found.sum()) for s in sights]
        extra = [s.extra for s in sights]
        recall = Scored.share(found, faces)
        precision = Scored.share(found, [f + e for f, e in zip(found, extra, strict=True)])
        took = np.array([s.latency_ms for s in sights])
        return {
            "schema": "edge-fer/evaluate-detector/1",
            "detector": detector,
            "data": {
                "path": self.scenes.path,
                "sha256": self.scenes.sha256,
                "labelled": self.scenes.labelled,
                "n": len(sights),
                "skipped": [list(entry) for entry in self.skipped],
            },
            "min_height": self.min_height,
            "faces": sum(faces),
            "ignored": sum(int((~s.counted).sum()) for s in sights),
            **self._average_precision("ap50", 0.5),
            **self._average_precision("ap30", MATCH),
            "recall": recall.value,
            "recall_ci95": recall.ci95 and list(recall.ci95),
            "precision": precision.value,
            "precision_ci95": precision.ci95 and list(precision.ci95),
            "found": sum(found),
            "extra": sum(extra),
            "by_size": self._by_size(),
            "face_free": self._face_free(),
            "eyes": self._eyes(),
            "latency_ms": {
                "n": len(took),
                "p50": float(np.median(took)),
                "p90": float(np.percentile(took, 90)),
            },
        }

    def ranking(self, least: float) -> Ranking:
        """All detections of all scenes; ``least`` is the overlap that makes a hit: 0.5 or 0.3."""
        return Ranking.of(
            [s.scores for s in self.sights],
            [s.outcomes[least] for s in self.sights],
            [int(s.counted.sum()) for s in self.sights],
        )

    def _average_precision(self, name: str, least: float) -> dict[str, Any]:
        scored = Scored.precision_of(self.ranking(least))
        return {name: scored.value, f"{name}_ci95": scored.ci95 and list(scored.ci95)}

    def _by_size(self) -> dict[str, dict[str, float | int | None]]:
        """Recall at the detector's own threshold, and at the low one."""
        sizes = np.concatenate([s.sizes[s.counted] for s in self.sights])
        found = np.concatenate([s.found[s.counted] for s in self.sights])
        doubtful = np.concatenate([s.doubtful[s.counted] for s in self.sights])
        out: dict[str, dict[str, float | int | None]] = {}
        for low, high in SIZES:
            inside = (sizes >= low) & (sizes < (np.inf if high is None else high))
            n = int(inside.sum())
            out[f"{low}-{high}" if high else f"{low}+"] = {
                "n": n,
                "recall": float(found[inside].mean()) if n else None,
                "recall_low_threshold": float(doubtful[inside].mean()) if n else None,
            }
        return out

    def _face_free(self) -> dict[str, Any] | None:
        """Of the scenes without any face."""
        extra = [s.extra for s in self.sights if len(s.counted) == 0]
        if not extra:
            return None
        with_one = sum(e > 0 for e in extra)
        return {
            "n": len(extra),
            "false_positives": sum(extra),
            "scenes_with": with_one,
            "share": with_one / len(extra),
            "ci95": list(wilson(with_one, len(extra))),
        }

    def _eyes(self) -> dict[str, float | int] | None:
        errors = [e for s in self.sights for e in s.eye_errors]
        if not errors:
            return None
        median, p90 = np.percentile(errors, [50, 90])
        return {"n": len(errors), "median": float(median), "p90": float(p90)}


def views(
    scenes: SceneSet, fit: tuple[int, int] | None, skipped: list[tuple[str, str]]
) -> Iterator[View]:
    """Every scene that can be read, one at a time; the others are added to ``skipped``."""
    for scene in scenes.scenes:
        try:
            yield scene.view(fit)
        except DataError as err:
            skipped.append((scene.name, err.message))


@dataclass(frozen=True, slots=True, kw_only=True)
class Entrant:
    """A detector as it is used, and its twin with a low threshold; None where it has no other."""

    detector: Detector
    low: Detector | None = None


def evaluate_detectors(
    entrants: Mapping[str, Entrant],
    scenes: SceneSet,
    *,
    fit: tuple[int, int] | None = None,
    min_height: float = MIN_HEIGHT,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, DetectorEvaluation]:
    """Show every scene to each of some detectors, frame by frame in turns.

    So they are timed in the same minutes; who is first changes with each frame.

    Args:
        entrants: by name, one or more.
        scenes: the data.
        fit: frame to fit every picture into, see ``LabelledScene.view``.
        min_height: least size of a face that counts, a fraction of the picture's height.
        on_step: called with scenes done and scenes in all.

    Raises:
        DataError: not one picture could be read.
    """
    skipped = list(scenes.skipped)
    sights: dict[str, list[Sight]] = {name: [] for name in entrants}
    for number, view in enumerate(views(scenes, fit, skipped)):
        order = list(entrants)[number % len(entrants) :] + list(entrants)[: number % len(entrants)]
        for name in order:
            detector, low = entrants[name].detector, entrants[name].low
            if number == 0:
                detector.detect(view.frame)  # the first call is slower than any other
            began = perf_counter_ns()
            faces = detector.detect(view.frame)
            took = (perf_counter_ns() - began) / 1e6
            doubted = faces if low is None else low.detect(view.frame)
            sights[name].append(
                Sight.of(view, faces, doubted, min_height=min_height, latency_ms=took)
            )
        on_step(number + 1, len(scenes.scenes))
    if not any(sights.values()):
        name, why = skipped[-1]
        raise DataError(
            f"No picture of {scenes.path} could be read. The last was {name}: {why}",
            "Use whole PNG, JPEG, WebP, BMP or PGM files.",
        )
    return {
        name: DetectorEvaluation(
            scenes=scenes, min_height=min_height, sights=tuple(each), skipped=tuple(skipped)
        )
        for name, each in sights.items()
    }
