"""The part of a report about the whole way of a face: pasted into a scene, found, cropped, named.

A drop that is measured on crops says nothing of the crops that a detector leads to. Here float and
int8 name the same found crops, so that the cost of detection and that of int8 stand side by side.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.classifier import Classifier
from edge_fer.evaluation.composites import (
    SIDES,
    EndToEnd,
    drawn_faces,
    end_to_end_each,
)
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.evaluation.drop import wilson
from edge_fer.evaluation.robustness import REPORT_SEED
from edge_fer.types import Detector
from edge_fer_bench.accuracy.backdrops import Backdrops
from edge_fer_bench.accuracy.measured import check_comparable
from edge_fer_bench.drawing.section import Column, Figure, Grid, Row, points
from edge_fer_bench.limits import MAX_DROP
from edge_fer_bench.statistics.paired import Paired

__all__ = ["FACES", "MeasuredEndToEnd", "measure_end_to_end"]

FACES = 500
"""Faces that are pasted where there are more."""

_FOUND = 0.9  # of pasted faces: fewer is a finding
# Points that detection may cost before it is a finding; nobody sets a limit for it. A crop that is
# 5 % off, 8 % too large or small and rolled by 8 degrees costs the shipped models 0.7 to 1.2: four
# times that is no such crop any more, but a crop that does not keep to the contract's convention.
_DETECTION_POINTS = 5.0
_JUDGED = 2  # what detection costs, and what int8 does on found crops
_DETECTOR = "detector"
_REFERENCE, _QUANTISED = "reference", "quantised"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredEndToEnd:
    """What became of the pasted faces, as a part of the report.

    Attributes:
        faces: those that were pasted.
        of: how many there were to draw them from.
        behind: what they were pasted into.
        detector: its name.
        reference, quantised: what each model made of them; found are the same.
        max_drop: the limit of what int8 may cost, percentage points.
    """

    faces: LabelledFaces
    of: int
    behind: Backdrops
    detector: str
    reference: EndToEnd
    quantised: EndToEnd
    max_drop: float

    @property
    def key(self) -> str:
        """``end_to_end``."""
        return "end_to_end"

    @property
    def title(self) -> str:
        """Of the section."""
        return "Faces that are found first"

    @property
    def lead(self) -> str:
        """Which faces, where they were pasted, and what counts as found."""
        n = len(self.faces)
        rows = f"all {n:,} rows" if n == self.of else f"{n:,} of {self.of:,} rows, drawn by a seed"
        hint = (
            " Generated backgrounds are soft shapes and noise, in which less looks like a face "
            "than in a room: give pictures of yours with --scenes."
            if self.behind.path is None
            else ""
        )
        return (
            f"{PurePath(self.faces.path).name}, {self.faces.split}: {rows}. Each was pasted, "
            f"{SIDES[0]} to {SIDES[1]} pixels wide, into a frame of 640x480 made of "
            f"{self.behind.words} in turn, and found by {self.detector}; both models named the "
            f"crop that this led to. Tracker, quality gate and smoothing have no part in it.{hint}"
        )

    @property
    def found(self) -> tuple[float, tuple[float, float]]:
        """Share of the faces that were found, and its interval (Wilson)."""
        return _share(self.quantised.found_square)

    @property
    def findings(self) -> Sequence[str]:
        """Faces that are not found, and accuracy that detection or int8 clearly costs."""
        words = []
        share, (low, high) = self.found
        if high < _FOUND:
            words.append(
                f"{self.detector} finds {100 * share:.1f} % of the pasted faces (95 % interval "
                f"{100 * low:.1f} to {100 * high:.1f})."
            )
        for what, lost, limit in (
            ("Detection costs int8", self._detection(self.quantised), _DETECTION_POINTS),
            ("On found faces int8 costs", self._int8_costs["found"], self.max_drop),
        ):
            if lost.beyond(limit, _JUDGED):
                assert lost.lost_points is not None  # noqa: S101 - there are rows
                assert lost.ci95_points is not None  # noqa: S101
                low, high = lost.ci95_points
                words.append(
                    f"{what} {points(lost.lost_points, 1)} points of accuracy (95 % interval "
                    f"{points(low, 1)} to {points(high, 1)}), beyond {limit:g}."
                )
        return words

    @property
    def grids(self) -> Sequence[Grid]:
        """What int8 costs on each stretch of the way, what detection costs, and what is left."""
        return (self._int8(), self._detections())

    @property
    def figures(self) -> Sequence[Figure]:
        """None."""
        return ()

    def to_json(self) -> dict[str, Any]:
        """The field ``end_to_end``."""
        share, interval = self.found
        return {
            "data": self.faces.path,
            "data_sha256": self.faces.sha256,
            "split": self.faces.split,
            "n": len(self.faces),
            "of": self.of,
            "seed": REPORT_SEED,
            "scenes": {
                "path": self.behind.path,
                "sha256": self.behind.sha256,
                "n": len(self.behind.scenes),
                "generated": self.behind.path is None,
            },
            "detector": self.detector,
            "found": {"share": share, "ci95": list(interval), "extra": self.quantised.extra},
            "int8_cost": {
                name: paired.to_json((_REFERENCE, _QUANTISED))
                for name, paired in self._int8_costs.items()
            },
            "detection_cost": {
                name: self._detection(model).to_json(("given", "found"))
                for name, model in self._models.items()
            },
            "max_drop_points": self.max_drop,
            **{name: model.to_json() for name, model in self._models.items()},
        }

    @property
    def _models(self) -> Mapping[str, EndToEnd]:
        return {_REFERENCE: self.reference, _QUANTISED: self.quantised}

    @property
    def _int8_costs(self) -> Mapping[str, Paired]:
        """On each stretch of the way."""
        a, b, found = self.reference, self.quantised, self.quantised.found_square
        return {
            "given": Paired.of(a.right_given, b.right_given),
            "given_of_found": Paired.of(a.right_given[found], b.right_given[found]),
            "found": Paired.of(a.right_found[found], b.right_found[found]),
            "all": Paired.of(a.right_found, b.right_found),
        }

    @staticmethod
    def _detection(model: EndToEnd) -> Paired:
        """The same faces, as they were given and as they were found."""
        found = model.found_square
        return Paired.of(model.right_given[found], model.right_found[found])

    def _int8(self) -> Grid:
        words = {
            "given": "crops as given",
            "given_of_found": "the same, of found faces",
            "found": "the found crops",
            "all": "all faces (not found: wrong)",
        }
        return Grid(
            key="end_to_end_int8",
            title="What int8 costs before and after detection; 95 % interval, points",
            columns=(*_FACES, *_compared("float", "int8", "drop")),
            rows=tuple(
                Row(
                    cells=(words[name], paired.n, *paired.cells),
                    tone="bad"
                    if name == "found" and paired.beyond(self.max_drop, _JUDGED)
                    else "plain",
                )
                for name, paired in self._int8_costs.items()
            ),
            note=self._note(),
        )

    def _detections(self) -> Grid:
        rows = []
        for name, model in (("float", self.reference), ("int8", self.quantised)):
            cost = self._detection(model)
            rows.append(Row(cells=(f"{name}, of found faces", cost.n, *cost.cells)))
        return Grid(
            key="end_to_end_detection",
            detail=True,
            title="What detection costs: faces as given and as found; points",
            columns=(*_FACES, *_compared("given", "found", "cost")),
            rows=tuple(rows),
        )

    def _note(self) -> str:
        share, interval = self.found
        hits, n = int(self.quantised.found_square.sum()), len(self.faces)
        right, around = _share(self.quantised.right_found)
        return (
            f"{self.detector} finds {hits:,} of {n:,} faces, {_percent(share, interval)}, and "
            f"{self.quantised.extra:,} places more that are none of them. Of all faces int8 finds "
            f"and names rightly {_percent(right, around)}. Pasted into {self.behind.words}."
        )


_FACES = (Column(name="", kind="text"), Column(name="n", kind="count"))


def _compared(before: str, after: str, lost: str) -> tuple[Column, ...]:
    return (
        *(Column(name=name, kind="share", digits=1) for name in (before, after)),
        *(Column(name=name, kind="points", digits=1) for name in (lost, "from", "to")),
    )


def _share(hits: NDArray[np.bool_]) -> tuple[float, tuple[float, float]]:
    return float(hits.mean()), wilson(int(hits.sum()), len(hits))


def _percent(share: float, interval: tuple[float, float]) -> str:
    low, high = (100 * end for end in interval)
    return f"{100 * share:.1f} % (95 % interval {low:.1f} to {high:.1f})"


def measure_end_to_end(
    detector: Detector,
    quantised: Classifier,
    reference: Classifier,
    faces: LabelledFaces,
    behind: Backdrops,
    *,
    detector_name: str,
    count: int = FACES,
    max_drop: float = MAX_DROP,
    on_progress: Callable[[float, float], None] = lambda done, total: None,
) -> MeasuredEndToEnd:
    """Paste faces, find them once, and let both models name what was found.

    Ctrl-C passes through.

    Args:
        detector: looks at whole frames, without a tracker.
        quantised: the model that is benchmarked.
        reference: its float twin.
        faces: rows in the labels of both.
        behind: what they are pasted into.
        detector_name: what to call the detector.
        count: at most so many faces, drawn by a fixed seed.
        max_drop: limit of what int8 may cost, points.
        on_progress: told how many of how many faces are done.

    Raises:
        ConfigError: the two models cannot be compared.
        DataError: there are no rows, or a scene cannot be read.
    """
    check_comparable(quantised.model, reference.model)
    drawn = drawn_faces(faces, count, REPORT_SEED)
    found = end_to_end_each(
        {_DETECTOR: detector},
        {_REFERENCE: reference, _QUANTISED: quantised},
        drawn,
        behind.scenes,
        seed=REPORT_SEED,
        on_step=on_progress,
    )
    return MeasuredEndToEnd(
        faces=drawn,
        of=len(faces),
        behind=behind,
        detector=detector_name,
        reference=found[_REFERENCE][_DETECTOR],
        quantised=found[_QUANTISED][_DETECTOR],
        max_drop=max_drop,
    )
