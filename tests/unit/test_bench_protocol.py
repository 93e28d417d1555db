from collections.abc import Callable
from dataclasses import replace

import pytest
from bench_samples import observation, picture

from edge_fer.errors import CameraAway, DataError, DeviceError
from edge_fer.types import Frame, Observation
from edge_fer_bench.timing.protocol import Protocol, Run, measure, timed
from edge_fer_bench.timing.source import Source, kind_of

RULES = Protocol(
    seconds=1.0, min_frames=5, p99_frames=50, window=4, tolerance=0.1, warm_up_cap_s=0.5
)


class FakePipeline:
    """Takes as long for each frame as it is told, by a clock of its own; None ends the source."""

    def __init__(self, ms: Callable[[int], float | None], faces: int = 1) -> None:
        self.now_ns, self.steps, self.faces = 0, 0, faces
        self.frame: Frame | None = None
        self._ms = ms

    def clock(self) -> int:
        return self.now_ns

    def step(self) -> Observation | None:
        took = self._ms(self.steps)
        self.steps += 1
        if took is None:
            self.frame = None
            return None
        self.now_ns += round(took * 1e6)
        self.frame = picture()
        return observation(self.steps - 1, self.faces, took)


class Recording:
    """Counts how often it was opened; what it gives does not matter here."""

    def __init__(self) -> None:
        self.opened = self.closed = 0

    def open(self, uri: str) -> "Recording":
        self.opened += 1
        return self

    def read(self) -> Frame | None:
        return picture()

    def close(self) -> None:
        self.closed += 1


def source(uri: str = "synthetic", recording: Recording | None = None) -> Source:
    return Source(uri, (recording or Recording()).open)


def test_warm_up_ends_when_two_windows_agree_and_none_of_it_is_measured() -> None:
    times = [90.0, 70.0, 50.0, 30.0] + [10.0] * 1000
    pipeline = FakePipeline(lambda i: times[i])
    run = measure(pipeline, source(), RULES, clock=pipeline.clock)  # type: ignore[arg-type]
    assert run.warm_up.steady
    assert run.warm_up.frames == 11  # 30 is the one slow frame of the window before
    assert max(run.samples.total_ms) == 10.0
    assert run.seconds == pytest.approx(1.0)
    assert run.fps == pytest.approx(100.0)
    assert run.stopped_by == "time"


def test_warm_up_that_never_gets_steady_is_capped_and_says_so() -> None:
    pipeline = FakePipeline(lambda i: 20.0 + i)
    run = measure(pipeline, source(), RULES, clock=pipeline.clock)  # type: ignore[arg-type]
    assert not run.warm_up.steady
    assert 0.5 <= run.warm_up.seconds < 0.6


def test_a_slow_machine_still_measures_enough_frames() -> None:
    pipeline = FakePipeline(lambda i: 900.0)
    run = measure(pipeline, source(), RULES, clock=pipeline.clock)  # type: ignore[arg-type]
    assert run.frames == RULES.min_frames
    assert run.seconds == pytest.approx(4.5)


class Clip(FakePipeline):
    """A recording of so many frames: its steps follow how often it was opened."""

    def __init__(self, frames: int, ms: float = 10.0, *, good_passes: int = 1000) -> None:
        super().__init__(lambda i: ms)
        self.length, self.at, self.opened, self.good_passes = frames, 0, 0, good_passes
        self.firsts: list[int] = []

    def open(self, uri: str) -> "Clip":
        self.opened += 1
        self.at = 0
        self.now_ns += 1_000_000
        return self

    def read(self) -> Frame | None:
        return picture()

    def close(self) -> None:
        pass

    def step(self) -> Observation | None:
        if self.at >= self.length or self.opened > self.good_passes:
            return None
        if not self.at:
            self.firsts.append(self.steps)
        self.at += 1
        return super().step()


def gone_through(clip: Clip, rules: Protocol = RULES) -> Run:
    return measure(clip, Source("clip.mp4", clip.open), rules, clock=clip.clock)  # type: ignore[arg-type]


def test_a_short_recording_goes_round_until_there_are_enough_for_a_p99() -> None:
    # 30 frames: once is too few for 50, and the second time goes to its end.
    clip = Clip(30)
    run = gone_through(clip, replace(RULES, seconds=600.0))
    assert (run.frames, run.passes, run.stopped_by) == (60, 2, "passes")
    assert clip.firsts == [0, 8, 38]  # the warm-up takes eight and is wound back
    assert run.seconds == pytest.approx(0.601)
    assert run.reopening_s == pytest.approx(0.001)
    assert run.fps == pytest.approx(100.0)


@pytest.mark.parametrize(
    ("frames", "ms", "passes"),
    [
        (50, 10.0, 1),  # as many as a 99th percentile takes
        (49, 10.0, 2),
        (20, 50.0, 1),  # a second is over
        (19, 50.0, 2),
        (3, 500.0, 2),  # five frames at least, however long they take
    ],
)
def test_when_a_recording_is_gone_through_once_more(frames: int, ms: float, passes: int) -> None:
    run = gone_through(Clip(frames, ms))
    assert (run.frames, run.passes) == (frames * passes, passes)
    assert run.stopped_by == "passes"


def test_without_a_p99_to_reach_only_the_time_counts() -> None:
    run = gone_through(Clip(30), replace(RULES, p99_frames=0))
    assert (run.frames, run.passes) == (120, 4)


def test_a_recording_longer_than_the_run_is_cut() -> None:
    run = gone_through(Clip(1000))
    assert (run.frames, run.passes, run.stopped_by) == (100, 0, "time")


def test_a_folder_of_three_pictures_goes_round_to_warm_up() -> None:
    run = gone_through(Clip(3))
    assert run.warm_up.frames == 8
    assert (run.frames, run.passes) == (51, 17)


def test_a_recording_that_gives_nothing_the_second_time_ends_the_run() -> None:
    clip = Clip(30, good_passes=2)
    run = gone_through(clip)
    assert (run.frames, run.passes, run.stopped_by) == (30, 1, "source_ended")
    assert clip.opened == 3


def test_timing_that_starts_at_the_end_of_a_recording_goes_round() -> None:
    clip = Clip(60)
    source = Source("clip.mp4", clip.open)
    clip.at = 60
    assert timed(clip, source, RULES, clock=clip.clock).frames == 60  # type: ignore[arg-type]


def test_a_source_that_cannot_be_wound_back_ends_the_run() -> None:
    pipeline = FakePipeline(lambda i: 10.0 if i < 8 + 30 else None)
    run = measure(pipeline, source("synthetic?frames=38"), RULES, clock=pipeline.clock)  # type: ignore[arg-type]
    assert (run.frames, run.passes, run.stopped_by) == (30, 0, "source_ended")


@pytest.mark.parametrize(
    ("uri", "error", "remedy"),
    [
        ("synthetic?frames=5", DataError, "synthetic without frames="),
        ("rtsp://host/", DeviceError, "goes on"),
    ],
)
def test_a_source_that_the_warm_up_used_up(uri: str, error: type[Exception], remedy: str) -> None:
    pipeline = FakePipeline(lambda i: 10.0 if i < 5 else None)
    with pytest.raises(error, match="ended after 5 frames, which warming up took") as caught:
        measure(pipeline, source(uri), RULES, clock=pipeline.clock)  # type: ignore[arg-type]
    assert remedy in caught.value.remedy  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("uri", "error", "code"),
    [
        ("empty.mp4", DataError, 2),
        ("/dev/video0", DeviceError, 4),
        ("rtsp://host/", DeviceError, 4),
    ],
)
def test_a_source_without_a_frame_is_named(uri: str, error: type[Exception], code: int) -> None:
    pipeline = FakePipeline(lambda i: None)
    with pytest.raises(error, match=uri) as caught:
        measure(pipeline, source(uri), RULES, clock=pipeline.clock)  # type: ignore[arg-type]
    assert caught.value.exit_code == code  # type: ignore[attr-defined]
    assert caught.value.remedy  # type: ignore[attr-defined]


class Silent:
    """A live camera that is there and gives nothing."""

    asked = 0

    def open(self, uri: str) -> "Silent":
        return self

    def read(self) -> Frame | None:
        self.asked += 1
        raise CameraAway("/dev/video0 gives nothing.", "Plug it in.")

    def close(self) -> None:
        pass


def test_a_source_that_never_delivers_ends_the_benchmark_after_some_patience() -> None:
    camera = Silent()
    live = Source("/dev/video0", camera.open)
    pipeline = FakePipeline(lambda i: 10.0)
    pipeline.step = live.read  # type: ignore[assignment, method-assign]
    with pytest.raises(CameraAway) as caught:
        measure(pipeline, live, RULES, clock=pipeline.clock)  # type: ignore[arg-type]
    assert caught.value.exit_code == 4
    assert camera.asked == 10


class Counting(Recording):
    """Drops a frame for each that is read."""

    reads = 0

    def read(self) -> Frame | None:
        self.reads += 1
        return picture()

    def status(self) -> dict[str, int]:
        return {"dropped": self.reads}


def test_only_frames_dropped_while_measuring_count() -> None:
    pipeline = FakePipeline(lambda i: 10.0)
    live = Source("synthetic?fps=30", Counting().open)
    plain = pipeline.step

    def step() -> Observation | None:
        live.read()
        return plain()

    pipeline.step = step  # type: ignore[method-assign]
    run = measure(pipeline, live, RULES, clock=pipeline.clock)  # type: ignore[arg-type]
    assert run.warm_up.frames > 0
    assert run.dropped == run.frames
    assert measure(pipeline, source(), RULES, clock=pipeline.clock).dropped is None  # type: ignore[arg-type]


def interrupted_at(step: int) -> FakePipeline:
    def ms(i: int) -> float:
        if i == step:
            raise KeyboardInterrupt
        return 10.0

    return FakePipeline(ms)


def test_ctrl_c_keeps_the_whole_frames_so_far() -> None:
    pipeline = interrupted_at(8 + 20)
    run = measure(pipeline, source(), RULES, clock=pipeline.clock)  # type: ignore[arg-type]
    assert run.frames == 20
    assert run.stopped_by == "interrupted"


@pytest.mark.parametrize("step", [3, 8])
def test_ctrl_c_before_the_first_measured_frame_leaves_nothing_to_report(step: int) -> None:
    pipeline = interrupted_at(step)
    with pytest.raises(KeyboardInterrupt):
        measure(pipeline, source(), RULES, clock=pipeline.clock)  # type: ignore[arg-type]


def test_the_kept_frame_is_the_one_with_most_faces() -> None:
    pipeline = FakePipeline(lambda i: 10.0)
    plain = pipeline.step

    def step() -> Observation | None:
        pipeline.faces = 3 if pipeline.steps == 40 else 1
        return plain()

    pipeline.step = step  # type: ignore[method-assign]
    run = measure(pipeline, source(), RULES, clock=pipeline.clock)  # type: ignore[arg-type]
    assert run.best is not None
    assert run.best[1].frame == 40


def test_progress_comes_in_seconds_now_and_then() -> None:
    told: list[float] = []
    pipeline = FakePipeline(lambda i: 10.0)
    measure(pipeline, source(), RULES, clock=pipeline.clock, on_progress=told.append)  # type: ignore[arg-type]
    assert told == [pytest.approx(0.51)]


@pytest.mark.parametrize(
    ("uri", "kind"),
    [
        ("synthetic", "synthetic"),
        ("synthetic?faces=2", "synthetic"),
        ("clips/a.mp4", "recording"),
        ("folder", "recording"),
        ("what?.mp4", "recording"),
        ("/dev/video0", "camera"),
        ("picamera2:0", "camera"),
        ("rtsp://host/stream", "stream"),
    ],
)
def test_kinds_of_source(uri: str, kind: str) -> None:
    assert kind_of(uri) == kind


class Away(Recording):
    """A live camera that has nothing for a while."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times = times

    def read(self) -> Frame | None:
        if self.times:
            self.times -= 1
            raise CameraAway("The camera is being opened again.")
        return super().read()


def test_a_live_camera_that_is_away_for_a_moment_is_waited_for() -> None:
    assert source("usb:Webcam", Away(3)).read() is not None
    with pytest.raises(CameraAway):
        source("usb:Webcam", Away(1000)).read()


@pytest.mark.parametrize(
    ("uri", "live"),
    [
        ("usb:Webcam", True),
        ("/dev/video0?fps=15", True),
        ("rtsp://camera/1", True),
        ("synthetic?faces=2&fps=30", True),
        ("synthetic?faces=2", False),
        ("clip.mp4", False),
    ],
)
def test_which_sources_have_a_rate_of_their_own(uri: str, live: bool) -> None:
    assert source(uri).live is live


class Numbered(Recording):
    """Three frames, and how many were read since it was opened."""

    reads = 0

    def open(self, uri: str) -> "Numbered":
        self.reads = 0
        super().open(uri)
        return self

    def read(self) -> Frame | None:
        self.reads += 1
        return replace(picture(), sequence=self.reads) if self.reads <= 3 else None


def test_winding_back_reads_the_first_frame_so_that_no_timing_holds_the_decoders_start() -> None:
    clip = Numbered()
    again = source("clip.mp4", clip)
    for _ in range(2):
        assert again.rewind()
        assert clip.reads == 1
        seen = [again.read() for _ in range(4)]
        assert [frame and frame.sequence for frame in seen] == [1, 2, 3, None]
    again.rewind()
    again.read()
    assert again.rewind()  # also half-way
    first = again.read()
    assert first is not None
    assert first.sequence == 1


def test_only_a_recording_can_be_rewound() -> None:
    recording = Recording()
    assert not source("synthetic", recording).rewind()
    assert recording.opened == 1
    assert recording.closed == 0
