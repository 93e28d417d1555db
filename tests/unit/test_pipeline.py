import json
from dataclasses import replace
from itertools import pairwise

import cv2
import numpy as np
import pytest

from edge_fer.assemble import open_classifier
from edge_fer.backends import open_backend
from edge_fer.cameras.fake import FakeCamera
from edge_fer.classifier import Classifier
from edge_fer.detectors.fake import FakeDetector
from edge_fer.errors import DeviceError
from edge_fer.gate import QualityGate
from edge_fer.modelfile import read_model
from edge_fer.models import find
from edge_fer.pipeline import STAGES, Pipeline
from edge_fer.sinks.fake import FakeSink
from edge_fer.smoothing import Smoother
from edge_fer.tracking import Tracker
from edge_fer.types import Box, Expression, Face, Frame, Observation

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


def faces_in_a_row(count: int) -> tuple[Face, ...]:
    return tuple(
        Face(box=Box(x=10 + 70 * i, y=20, w=60, h=60), score=0.9 - 0.01 * i) for i in range(count)
    )


def followed(
    count: int, frames: int, skipped: int = 0, period_ns: int = 33_000_000, **parts: object
) -> Pipeline:
    """Still faces beside each other, each frame a different picture; some are left out between."""

    def wide(number: int) -> Frame:
        coarse = np.random.default_rng(number).integers(0, 256, (9, 5 * count), np.uint8)
        luma = cv2.resize(coarse, (70 * count + 20, 120), interpolation=cv2.INTER_CUBIC)
        t_ns, sequence = number * period_ns, number * (1 + skipped)
        return Frame(luma=luma, colour=None, t_ns=t_ns, sequence=sequence, source="fake")

    detector = FakeDetector(lambda f: faces_in_a_row(count))
    return Pipeline(
        camera=FakeCamera([wide(i) for i in range(frames)]),
        detector=detector,
        classifier=open_classifier("expression"),
        tracker=Tracker(detector, interval=1),
        **parts,  # type: ignore[arg-type]
    )


def test_with_many_faces_they_take_turns_and_keep_their_last_answer() -> None:
    running = followed(5, 8, faces_per_frame=2)
    seen: list[dict[int, dict[str, float]]] = []
    while observation := running.step():
        assert len(observation.faces) == 5
        seen.append(
            {f.face.track or 0: dict(f.expression.probabilities) for f in observation.faces}
        )
    # Three of them have not had their turn in the first frame, one in the second.
    uniform = [sum(len(set(p.values())) == 1 for p in faces.values()) for faces in seen]
    assert uniform == [3, 1, 0, 0, 0, 0, 0, 0]
    changed = [
        {track for track in now if before[track] != now[track]} for before, now in pairwise(seen)
    ]
    assert [len(tracks) for tracks in changed] == [2] * 7
    for turn in range(4):
        assert set.union(*changed[turn : turn + 3]) == set(range(5))


@pytest.mark.parametrize(("skipped", "period_ns"), [(119, 10**9), (59, 2 * 10**9)])
def test_turns_are_taken_also_where_most_frames_are_left_out(skipped: int, period_ns: int) -> None:
    running = followed(5, 6, skipped, period_ns, faces_per_frame=2)
    unjudged = []
    while observation := running.step():
        assert [f.face.track for f in observation.faces] == [0, 1, 2, 3, 4]
        spread = [f.expression.probabilities.values() for f in observation.faces]
        unjudged.append(sum(len(set(p)) == 1 for p in spread))
    assert unjudged == [3, 1, 0, 0, 0, 0]


def test_faces_that_are_gone_are_not_remembered_for_ever() -> None:
    number = iter(range(10**6))
    moving = FakeDetector(lambda f: faces_in_a_row(4)[next(number) % 4 :][:1])
    running = Pipeline(
        camera=FakeCamera([frame(i) for i in range(300)]),
        detector=moving,
        classifier=open_classifier("expression"),
        tracker=Tracker(moving, interval=1),
    )
    while running.step():
        assert len(running._answers) <= 101


def test_a_crop_that_the_gate_refuses_is_unknown_with_its_reason_and_never_classified() -> None:
    asked = []

    class Counted(Classifier):
        def classify(self, pixels: np.ndarray) -> tuple[Expression, ...]:
            asked.append(len(pixels))
            return super().classify(pixels)

    model = read_model(find("expression"))
    classifier = Counted(model, open_backend("auto", model.flatbuffer))
    small = Face(box=Box(x=90, y=10, w=12, h=12), score=0.7)
    running = Pipeline(
        camera=FakeCamera([frame(0)]),
        detector=FakeDetector(lambda f: (FACE, small)),
        classifier=classifier,
        gate=QualityGate(None, min_side=36),
    )
    observation = running.step()
    assert observation is not None
    first, second = observation.faces
    assert first.expression.reason in (None, "low_confidence")
    assert (second.expression.label, second.expression.reason) == ("unknown", "too_small")
    assert sum(second.expression.probabilities.values()) == pytest.approx(1)
    assert second.raw_expression == "unknown"
    assert asked == [1]


def test_followed_faces_are_smoothed_and_the_raw_answer_stands_beside() -> None:
    smoother = Smoother(open_classifier("expression").labels, method="ema")
    running = followed(1, 12, smoother=smoother)
    smooth, raw = [], []
    plain = followed(1, 12)
    while observation := running.step():
        assert "smooth" in observation.timings_ms
        smooth.append(observation.faces[0].expression.probabilities["neutral"])
        other = plain.step()
        assert other is not None
        raw.append(other.faces[0].expression.probabilities["neutral"])
        assert observation.faces[0].raw_expression == other.faces[0].raw_expression
    assert np.std(np.diff(smooth)) < 0.7 * np.std(np.diff(raw))


def test_it_says_what_it_is_made_of() -> None:
    running = followed(1, 1, about={"source": "here", "detector": "fake"})
    status = running.status()
    assert json.loads(json.dumps(status)) == status
    assert (status["source"], status["detector"], status["sinks"]) == ("here", "fake", [])
    assert status["model"]["sha256"] == running.classifier.model.sha256
    assert "litert" in status["backend"]["name"] or "tflite" in status["backend"]["name"]


def test_what_another_pipeline_has_too_stays_open() -> None:
    detector, sink = FakeDetector(), FakeSink()
    old, new = pipeline(detector, sink), pipeline(detector, sink)
    new.camera, new.classifier = old.camera, old.classifier
    new.detector = FakeDetector()
    old.close(but=new)
    assert detector.closed
    assert not sink.closed
    assert new.step() is not None


def test_a_camera_that_can_exposes_for_the_largest_face() -> None:
    class Metering(FakeCamera):
        def __init__(self, frames: list[Frame]) -> None:
            super().__init__(frames)
            self.boxes: list[Box | None] = []

        def meter_on(self, box: Box | None) -> None:
            self.boxes.append(box)

    near = replace(FACE, box=Box(x=60, y=20, w=90, h=90), score=0.6)
    camera = Metering([frame(0), frame(1)])
    running = pipeline(FakeDetector(lambda f: () if f.sequence else (FACE, near)))
    running.camera = camera
    assert running.step() is not None
    assert running.step() is not None
    assert camera.boxes == [near.box, None]
