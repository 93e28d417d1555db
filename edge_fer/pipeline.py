"""One frame a step: camera -> detector -> crop -> classifier -> sinks, every stage timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from time import perf_counter_ns

import numpy as np

from edge_fer.classifier import Classifier
from edge_fer.preprocess import crop
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


def look(frame: Frame, detector: Detector, classifier: Classifier) -> Sight:
    """Detect, crop and classify one frame: the one path of predict, run and benchmark."""
    started = perf_counter_ns()
    faces = detector.detect(frame)
    detected = perf_counter_ns()
    spec = classifier.contract.input
    pixels = [crop(frame, detector.face_square(face), spec) for face in faces]
    cropped = perf_counter_ns()
    expressions = classifier.classify(np.stack(pixels)) if pixels else ()
    classified = perf_counter_ns()
    timings = {"detect": _ms(started, detected)}
    if faces:
        timings["preprocess"] = _ms(detected, cropped)
        timings["classify"] = _ms(cropped, classified)
    return Sight(faces=faces, expressions=expressions, timings_ms=timings)


class Pipeline:
    """Joins a camera, a detector, a classifier and sinks, and owns them: ``close`` closes all.

    Tracking and smoothing are not built yet; their stages never run.
    """

    def __init__(
        self,
        *,
        camera: Camera,
        detector: Detector,
        classifier: Classifier,
        sinks: Sequence[Sink] = (),
    ) -> None:
        self.camera, self.detector, self.classifier = camera, detector, classifier
        self.sinks = tuple(sinks)
        self.frame: Frame | None = None
        self._owned = ExitStack()
        for close in (camera.close, detector.close, classifier.close):
            self._owned.callback(close)
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
        sight = look(frame, self.detector, self.classifier)
        faces = tuple(
            ObservedFace(face=face, expression=expression, raw_expression=expression.label)
            for face, expression in zip(sight.faces, sight.expressions, strict=True)
        )
        seen = perf_counter_ns()
        timings = {"capture": _ms(started, captured), **sight.timings_ms}
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


def _ms(begin_ns: int, end_ns: int) -> float:
    return (end_ns - begin_ns) / 1e6
