"""One frame a step: camera, detector or tracker, crop, gate, classifier, smoother, sinks; timed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from time import perf_counter_ns
from types import MappingProxyType
from typing import Any

import numpy as np

from edge_fer.classifier import Classifier
from edge_fer.gate import QualityGate
from edge_fer.preprocess import crop
from edge_fer.smoothing import Smoother
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
# A face that waits for its turn keeps its last answer for so many steps, not the camera's frames:
# most of those may be left out.
_REMEMBERED = 100


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
    gate: QualityGate | None = None,
) -> Sight:
    """Detect, crop and classify one frame: the one path of predict, run and benchmark.

    Args:
        frame: the picture.
        detector: finds the faces, and knows the squares around them.
        classifier: names the expressions.
        faces: of this detector, where a tracker has found them already.
        gate: says which crops are not worth an answer; those are ``unknown`` with its reason.
    """
    timings = {}
    if faces is None:
        started = perf_counter_ns()
        faces = detector.detect(frame)
        timings["detect"] = _ms(started, perf_counter_ns())
    found = perf_counter_ns()
    spec = classifier.contract.input
    squares = [detector.face_square(face) for face in faces]
    crops = [crop(frame, square, spec) for square in squares]
    reasons = [
        gate.check(frame, face, square, pixels) if gate else None
        for face, square, pixels in zip(faces, squares, crops, strict=True)
    ]
    cropped = perf_counter_ns()
    clear = [pixels for pixels, reason in zip(crops, reasons, strict=True) if reason is None]
    answers = iter(classifier.classify(np.stack(clear)) if clear else ())
    expressions = tuple(
        next(answers) if reason is None else classifier.unclear(reason) for reason in reasons
    )
    classified = perf_counter_ns()
    if faces:
        timings["preprocess"] = _ms(found, cropped)
        timings["classify"] = _ms(cropped, classified)
    return Sight(faces=faces, expressions=expressions, timings_ms=timings)


class Pipeline:
    """Joins a camera, a detector, a classifier and sinks, and owns them: ``close`` closes all.

    Args:
        camera: where the frames come from.
        detector: finds faces in each frame by itself, where there is no tracker.
        classifier: names the expressions.
        sinks: where observations go.
        tracker: asks the detector, and follows its faces from frame to frame.
        gate: judges a face's picture before the classifier does.
        smoother: joins the answers of a followed face over time.
        faces_per_frame: so many followed faces are classified in one frame, those first that have
            waited longest; the others keep their last answer. None: all of them.
        about: what the user called things, for :meth:`status`.
    """

    def __init__(
        self,
        *,
        camera: Camera,
        detector: Detector,
        classifier: Classifier,
        sinks: Sequence[Sink] = (),
        tracker: Tracker | None = None,
        gate: QualityGate | None = None,
        smoother: Smoother | None = None,
        faces_per_frame: int | None = None,
        about: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self.camera, self.detector, self.classifier = camera, detector, classifier
        self.tracker, self.gate, self.smoother = tracker, gate, smoother
        self.sinks = tuple(sinks)
        self.faces_per_frame, self._about = faces_per_frame, about
        self.frame: Frame | None = None
        self._answers: dict[int, _Answer] = {}
        self._steps = 0

    def step(self) -> Observation | None:
        """Take one frame through all stages and emit what was seen; None when the source ended.

        ``frame`` keeps the picture until the next step, for whoever draws. The returned
        observation also has the time that the sinks took.

        Raises:
            CameraAway: a live source gives nothing at the moment; step again.
            DeviceError: the source or a sink failed.
            DataError: a file source holds something unreadable.
        """
        started = perf_counter_ns()
        frame = self.camera.read()
        captured = perf_counter_ns()
        self.frame = frame
        if frame is None:
            return None
        self._steps += 1
        tracked, timings = self._track(frame)
        due = None if tracked is None else self._due(tracked)
        sight = look(frame, self.detector, self.classifier, due, self.gate)
        classified = perf_counter_ns()
        there = sight.faces if tracked is None else tracked
        self._meter(there)
        faces = self._smooth(frame, sight, there)
        seen = perf_counter_ns()
        timings = {"capture": _ms(started, captured), **timings, **sight.timings_ms}
        if self.smoother is not None and faces:
            timings["smooth"] = _ms(classified, seen)
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

    @property
    def parts(self) -> tuple[Camera | Detector | Classifier | Tracker | Sink, ...]:
        """Everything that is open, in the order in which it was opened."""
        # A tracker closes its detector.
        finder = self.tracker or self.detector
        return (*self.sinks, self.classifier, finder, self.camera)

    def status(self) -> dict[str, Any]:
        """What the parts say of themselves: source, model, backend, detector, camera, sinks."""
        return {
            **self._about,
            "model": {
                "path": str(self.classifier.model.path),
                "sha256": self.classifier.model.sha256,
                "contract": self.classifier.contract.schema_,
            },
            "backend": _told(self.classifier.backend) or {"name": self.classifier.backend.name},
            "camera": _told(self.camera),
            "sinks": [writer for sink in self.sinks for writer in _told(sink).get("sinks", ())],
        }

    def close(self, *, but: Pipeline | None = None) -> None:
        """Close the camera first and the sinks last, so that they get everything; twice is fine.

        Args:
            but: what this one has too stays open.
        """
        kept = set() if but is None else {id(part) for part in but.parts}
        with ExitStack() as owned:
            for part in self.parts:
                if id(part) not in kept:
                    owned.callback(part.close)

    def _track(self, frame: Frame) -> tuple[tuple[Face, ...] | None, dict[str, float]]:
        """The faces that are followed, and the time it took in and around the detector."""
        if self.tracker is None:
            return None, {}
        started = perf_counter_ns()
        faces = self.tracker.update(frame)
        detect = self.tracker.search.detect_ms
        return faces, {"detect": detect, "track": _ms(started, perf_counter_ns()) - detect}

    def _meter(self, faces: tuple[Face, ...]) -> None:
        """Have a camera that can expose for the largest face, against a bright background."""
        meter_on = getattr(self.camera, "meter_on", None)
        if callable(meter_on):
            meter_on(max((face.box for face in faces), key=lambda box: box.area, default=None))

    def _due(self, faces: tuple[Face, ...]) -> tuple[Face, ...]:
        """Who is classified in this frame."""
        if self.faces_per_frame is None or len(faces) <= self.faces_per_frame:
            return faces
        waiting = sorted(faces, key=self._classified_at)[: self.faces_per_frame]
        return tuple(face for face in faces if face in waiting)

    def _classified_at(self, face: Face) -> int:
        answer = None if face.track is None else self._answers.get(face.track)
        return 0 if answer is None else answer.step

    def _smooth(
        self, frame: Frame, sight: Sight, faces: tuple[Face, ...]
    ) -> tuple[ObservedFace, ...]:
        """The answer for every face: what was classified now, smoothed, or what was last said."""
        now = {
            id(face): expression
            for face, expression in zip(sight.faces, sight.expressions, strict=True)
        }
        observed = []
        for face in faces:
            raw = now.get(id(face))
            if raw is not None:
                answer = _Answer(self._steps, self._smoothed(face, raw, frame), raw.label)
                if face.track is not None:
                    self._answers[face.track] = answer
            elif face.track is not None and face.track in self._answers:
                answer = self._answers[face.track]
            else:  # a newcomer whose turn has not come
                unclear = self.classifier.unclear("low_confidence")
                answer = _Answer(0, unclear, unclear.label)
            observed.append(
                ObservedFace(face=face, expression=answer.expression, raw_expression=answer.raw)
            )
        for track, answer in list(self._answers.items()):
            if self._steps - answer.step > _REMEMBERED:
                del self._answers[track]
        return tuple(observed)

    def _smoothed(self, face: Face, raw: Expression, frame: Frame) -> Expression:
        if self.smoother is None or face.track is None:
            return raw
        return self.smoother.update(face.track, raw, frame.t_ns)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What was last said of a followed face, and in which step, from 1, it was classified."""

    step: int
    expression: Expression
    raw: str


def _told(part: object) -> dict[str, Any]:
    """The status of a part that has one."""
    status = getattr(part, "status", None)
    return dict(status()) if callable(status) else {}


def _ms(begin_ns: int, end_ns: int) -> float:
    return (end_ns - begin_ns) / 1e6
