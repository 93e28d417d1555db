from dataclasses import replace

import numpy as np
import pytest

from edge_fer.assemble import open_classifier
from edge_fer.cameras.fake import FakeCamera
from edge_fer.detectors.fake import FakeDetector
from edge_fer.errors import DeviceError
from edge_fer.pipeline import STAGES, Pipeline
from edge_fer.sinks.fake import FakeSink
from edge_fer.tracking import Tracker
from edge_fer.types import Box, Face, Frame, Observation

FACE = Face(box=Box(x=10, y=10, w=60, h=60), score=0.8)


def frame(number: int) -> Frame:
    luma = np.random.default_rng(number).integers(0, 256, (120, 160), dtype=np.uint8)
    return Frame(luma=luma, colour=None, t_ns=number * 10, sequence=number, source="fake")


def pipeline(detector: FakeDetector, *sinks: FakeSink, frames: int = 3) -> Pipeline:
    return Pipeline(
        camera=FakeCamera([frame(i) for i in range(frames)]),
        detector=detector,
        classifier=open_classifier("expression"),
        sinks=sinks,
    )


def test_every_frame_is_observed_once_and_then_it_ends() -> None:
    sink = FakeSink()
    running = pipeline(FakeDetector(lambda f: (FACE,)), sink)
    seen = []
    while observation := running.step():
        seen.append(observation)
    assert [o.frame for o in seen] == [0, 1, 2]
    assert [o.frame for o in sink.observations] == [0, 1, 2]
    assert [o.t_ns for o in seen] == [0, 10, 20]
    assert running.step() is None


def test_faces_keep_their_expressions() -> None:
    other = Face(box=Box(x=80, y=40, w=50, h=50), score=0.9)
    running = pipeline(FakeDetector(lambda f: (FACE, other)))
    observation = running.step()
    assert observation is not None
    assert [f.face for f in observation.faces] == [other, FACE]
    for face in observation.faces:
        assert face.raw_expression == face.expression.label
        assert sum(face.expression.probabilities.values()) == pytest.approx(1)


def test_stages_that_ran_are_timed_and_add_up() -> None:
    observation = pipeline(FakeDetector(lambda f: (FACE,)), FakeSink()).step()
    assert observation is not None
    timings = dict(observation.timings_ms)
    assert set(timings) == {"capture", "detect", "preprocess", "classify", "emit", "total"}
    assert set(timings) <= set(STAGES)
    total = timings.pop("total")
    assert all(t >= 0 for t in timings.values())
    assert total >= sum(timings.values())


def test_without_a_face_nothing_is_cropped_or_classified() -> None:
    observation = pipeline(FakeDetector()).step()
    assert observation is not None
    assert observation.faces == ()
    assert set(observation.timings_ms) == {"capture", "detect", "total"}


def test_a_tracker_names_the_faces_and_both_stages_are_timed() -> None:
    detector = FakeDetector(lambda f: (FACE,))
    running = Pipeline(
        camera=FakeCamera([frame(i) for i in range(3)]),
        detector=detector,
        classifier=open_classifier("expression"),
        tracker=Tracker(detector),
    )
    seen = [running.step() for _ in range(3)]
    for observation in seen:
        assert observation is not None
        assert [f.face for f in observation.faces] == [replace(FACE, track=0)]
        timings = dict(observation.timings_ms)
        total = timings.pop("total")
        assert set(timings) == {"capture", "detect", "track", "preprocess", "classify"}
        assert all(t >= 0 for t in timings.values())
        assert total >= sum(timings.values())
    running.close()
    assert detector.closed


def test_without_a_tracker_nobody_has_a_number() -> None:
    observation = pipeline(FakeDetector(lambda f: (FACE,))).step()
    assert observation is not None
    assert [f.face.track for f in observation.faces] == [None]


def test_a_tracker_of_its_own_detectors_is_closed_too() -> None:
    detector, regions = FakeDetector(), FakeDetector()
    running = Pipeline(
        camera=FakeCamera([]),
        detector=detector,
        classifier=open_classifier("expression"),
        tracker=Tracker(detector, region_detector=regions),
    )
    running.close()
    assert regions.closed


def test_close_closes_everything_even_when_one_fails() -> None:
    detector, sink = FakeDetector(), FakeSink()
    running = pipeline(detector, sink)
    running.close()
    running.close()
    assert detector.closed
    assert sink.closed


class BrokenSink(FakeSink):
    def emit(self, observation: Observation) -> None:
        raise DeviceError("The disk is full.")


def test_a_sink_that_fails_stops_the_step_with_its_error() -> None:
    with pytest.raises(DeviceError, match="full"):
        pipeline(FakeDetector(), BrokenSink()).step()
