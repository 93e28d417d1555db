"""What int8 cost in average precision, on labelled scenes and paired by scene."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edge_fer.contract import Metric
from edge_fer.evaluation.boxes import SceneSet
from edge_fer.evaluation.detection import bootstrap, interval
from edge_fer.evaluation.detector import LOW_SCORE, Entrant, evaluate_detectors
from edge_fer_convert.int8.candidate import Candidate, open_detector

__all__ = ["PrecisionDrop", "measure_precision"]

_KINDS = ("float", "int8")
_AP50 = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class PrecisionDrop:
    """Both detectors on the same scenes.

    Attributes:
        scenes: the data.
        float32, int8: documents ``edge-fer/evaluate-detector/1``.
        drop_points: of AP50; below 0 where int8 is better.
        ci95_points: a paired percentile bootstrap over scenes.
    """

    scenes: SceneSet = field(repr=False)
    float32: dict[str, Any]
    int8: dict[str, Any]
    drop_points: float
    ci95_points: tuple[float, float]

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return {
            "float": self.float32,
            "int8": self.int8,
            "ap50_drop_points": self.drop_points,
            "ap50_ci95_points": list(self.ci95_points),
            "ap30_drop_points": 100 * (self.float32["ap30"] - self.int8["ap30"]),
        }

    def metric(self, agreement: float) -> Metric:
        """For the contract: AP50 where a classifier has its accuracy.

        Args:
            agreement: panoptic quality of the int8 faces against the float ones.
        """
        return Metric(
            data=Path(self.scenes.path).name,
            data_sha256=self.scenes.sha256,
            split="AP50",
            n=self.float32["faces"],
            float_accuracy=self.float32["ap50"],
            int8_accuracy=self.int8["ap50"],
            drop_points=self.drop_points,
            ci95_points=self.ci95_points,
            agreement=agreement,
        )


def measure_precision(
    original: Candidate,
    int8: Candidate,
    scenes: SceneSet,
    *,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> PrecisionDrop:
    """Evaluate both detectors.

    Args:
        original: the float one.
        int8: the other.
        scenes: with at least one labelled face.
        on_step: called with scenes done and scenes in all.

    Raises:
        DataError: not one picture could be read.
    """
    with ExitStack() as stack:

        def entrant(candidate: Candidate) -> Entrant:
            model = candidate.bare(Path("the detector"))
            return Entrant(
                detector=stack.enter_context(open_detector(model)),
                low=stack.enter_context(open_detector(model, min_score=LOW_SCORE)),
            )

        entrants = {"float": entrant(original), "int8": entrant(int8)}
        found = evaluate_detectors(entrants, scenes, on_step=on_step)
    rankings = [found[kind].ranking(_AP50) for kind in _KINDS]
    before, after = (ranking.average_precision() for ranking in rankings)
    draws = bootstrap(len(found["float"].sights))
    drops = [
        rankings[0].average_precision(times) - rankings[1].average_precision(times)
        for times in draws
    ]
    low, high = interval(100 * np.array([d for d in drops if np.isfinite(d)]))
    documents = {
        kind: _untimed(found[kind].to_json({"model": kind, "min_score": _score(original)}))
        for kind in _KINDS
    }
    return PrecisionDrop(
        scenes=scenes,
        float32=documents["float"],
        int8=documents["int8"],
        drop_points=100 * (before - after),
        ci95_points=(low, high),
    )


def _score(candidate: Candidate) -> float | None:
    detection = candidate.contract.detection
    return None if detection is None else detection.min_score


def _untimed(document: dict[str, Any]) -> dict[str, Any]:
    """Without what differs from run to run."""
    return {key: value for key, value in document.items() if key != "latency_ms"}
