"""One frame a step: camera -> detector or tracker -> crop -> classifier -> sinks, all timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from time import perf_counter_ns

import numpy as np

from edge_fer.classifier import Classifier
from edge_fer.preprocess import crop
from edge_fer.tracking import Tracker
from edge_fer.types import (
    Camera,
    Detector,
    Expression,
    Face,
    Frame,
    Observation,
    ObservedFace,
    Sink,
)

__all__ = ["STAGES", "Pipeline", "Sight", "look"]

STAGES = ("capture", "detect", "track", "preprocess", "classify", "smooth", "emit", "total")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sight:
    """What :func:`look` found in one frame: faces and expressions in the same order."""

    faces: tuple[Face, ...]
    expressions: tuple[Expression, ...]
    timings_ms: Mapping[str, float]


def look(
    frame: Frame,
    detector: Detector,
    classifier: Classifier,
    faces: tuple[Face, ...] | None = None,
) -> Sight:
    """Detect, crop and classify one frame: the one path of predict, run and benchmark.

    Args:
        frame: the picture.
        detector: finds the faces, and knows the squares around them.
        classifier: names the expressions.
        faces: of this detector, where a tracker has found them already.
    """
    timings = {}
    if faces is None:
        started = perf_counter_ns()
        faces = detector.detect(frame)
        timings["detect"] = _ms(started, perf_counter_ns())
    found = perf_counter_ns()
    spec = classifier.contract.input
    pixels = [crop(frame, detector.face_square(face), spec) for face in faces]
    cropped = perf_counter_ns()
    expressions = classifier.classify(np.stack(pixels)) if pixels else ()
    classified = perf_counter_ns()
    if faces:
        timings["preprocess"] = _ms(found, cropped)
        timings["classify"] = _ms(cropped, classified)
    return Sight(faces=faces, expressions=expressions, timings_ms=timings)


class Pipeline:
    """Joins a camera, a detector, a classifier and sinks, and owns them: ``close`` closes all.

    Smoothing is not built yet; its stage never runs.

    Args:
        camera: where the frames come from.
        detector: finds faces in each frame by itself, where there is no tracker.
        classifier: names the expressions.
        sinks: where observations go.
        tracker: asks the detector, and follows its faces from frame to frame.
    """

    def __init__(
        self,
        *,
        camera: Camera,
        detector: Detector,
        classifier: Classifier,
        sinks: Sequence[Sink] = (),
        tracker: Tracker | None = None,
    ) -> None:
        self.camera, self.detector, self.classifier = camera, detector, classifier
        self.tracker = tracker
        self.sinks = tuple(sinks)
        self.frame: Frame | None = None
        self._owned = ExitStack()
        for part in (camera, detector, classifier, *((tracker,) if tracker else ())):
            self._owned.callback(part.close)
        for sink in self.sinks:
            self._owned.callback(sink.close)

    def step(self) -> Observation | None:
        """Take one frame through all stages and emit what was seen; None when the source ended.

        ``frame`` keeps the picture until the next step, for whoever draws. The returned
        observation also has the time that the sinks took.

        Raises:
            DeviceError: the source or a sink failed.
            DataError: a file source holds something unreadable.
        """
        started = perf_counter_ns()
        frame = self.camera.read()
        captured = perf_counter_ns()
        self.frame = frame
        if frame is None:
            return None
        tracked, timings = self._track(frame)
        sight = look(frame, self.detector, self.classifier, tracked)
        faces = tuple(
            ObservedFace(face=face, expression=expression, raw_expression=expression.label)
            for face, expression in zip(sight.faces, sight.expressions, strict=True)
        )
        seen = perf_counter_ns()
        timings = {"capture": _ms(started, captured), **timings, **sight.timings_ms}
        observation = Observation(
            frame=frame.sequence,
            t_ns=frame.t_ns,
            source=frame.source,
            faces=faces,
            timings_ms={**timings, "total": _ms(started, seen)},
        )
        for sink in self.sinks:
            sink.emit(observation)
        if not self.sinks:
            return observation
        ended = perf_counter_ns()
        timings |= {"emit": _ms(seen, ended), "total": _ms(started, ended)}
        return replace(observation, timings_ms=timings)

    def close(self) -> None:
        """Close camera, detector, classifier and sinks, in reverse order; twice is fine."""
        self._owned.close()

    def _track(self, frame: Frame) -> tuple[tuple[Face, ...] | None, dict[str, float]]:
        """The faces that are followed, and the time it took in and around the detector."""
        if self.tracker is None:
            return None, {}
        started = perf_counter_ns()
        faces = self.tracker.update(frame)
        detect = self.tracker.search.detect_ms
        return faces, {"detect": detect, "track": _ms(started, perf_counter_ns()) - detect}


def _ms(begin_ns: int, end_ns: int) -> float:
    return (end_ns - begin_ns) / 1e6
