import pytest
from bench_samples import frames, run, timings

from edge_fer.pipeline import STAGES
from edge_fer_bench.timing.latency import StageTimes, bounded_by, summarise
from edge_fer_bench.timing.protocol import Run, Samples, WarmUp
from edge_fer_bench.timing.source import Source


def test_figures_of_a_stage() -> None:
    values = [float(i) for i in range(1, 101)]
    times = StageTimes.of(values)
    assert times.n == 100
    assert times.mean == 50.5
    assert times.p50 == 50.5
    assert times.p90 == pytest.approx(90.1)
    assert times.p99 == pytest.approx(99.01)
    assert times.max == 100.0


def test_a_stage_that_never_ran_has_n_0_and_nulls() -> None:
    document = summarise(run()).to_json()
    assert list(document) == list(STAGES)
    assert document["track"] == {
        "n": 0,
        "mean": None,
        "p50": None,
        "p90": None,
        "p99": None,
        "max": None,
        "ci95": None,
    }


def test_crop_and_classify_count_only_the_frames_with_a_face() -> None:
    latency = summarise(run(samples=frames([10.0] * 4, (0, 2, 0, 1))))
    assert latency.stages["total"].n == 4
    assert latency.stages["classify"].n == 2
    assert latency.faces == 3
    assert latency.frames_with_face == 2


def test_too_few_frames_for_a_p99_are_noted() -> None:
    assert any("99th percentile" in note for note in summarise(run([10.0] * 399)).notes)
    assert summarise(run([10.0] * 400)).notes == ()


def test_no_face_and_unsteady_times_are_noted() -> None:
    blind = run(
        samples=frames([10.0] * 100, 0),
        warm_up=WarmUp(frames=9, seconds=5.0, steady=False),
    )
    notes = " ".join(summarise(blind).notes)
    assert "No face was found" in notes
    assert "not steady" in notes


class Nothing:
    def read(self) -> None:
        return None

    def close(self) -> None:
        return None


def words(given: Run, uri: str) -> str:
    return bounded_by(given, summarise(given), Source(uri, lambda _: Nothing()), 10.0).words


def test_the_slowest_stage_bounds_a_computed_run() -> None:
    said = words(run(), "synthetic")
    assert "finding faces takes 60 %" in said
    assert "Drawing the synthetic scene takes 10 %" in said


def test_a_camera_that_is_waited_for_bounds_the_run() -> None:
    waiting = {"capture": 80.0, "detect": 20.0, "total": 100.0}
    given = run(samples=Samples([(0.1 * i, waiting, 1) for i in range(9)]))
    assert "waiting for the next picture" in words(given, "/dev/video0")
    # A file is read as fast as it goes: that is work, not waiting.
    assert "waiting" not in words(given, "clip.mp4")


def test_a_sink_that_takes_longest_bounds_the_run() -> None:
    writing = timings(10.0) | {"emit": 30.0, "total": 40.0}
    given = run(samples=Samples([(0.1 * i, writing, 1) for i in range(9)]))
    bound = bounded_by(given, summarise(given), Source("synthetic", lambda _: Nothing()), 10.0)
    assert bound.by == "sink"
    assert "Writing: writing results takes 75 %" in bound.words


def test_frames_that_were_not_taken_are_told() -> None:
    said = words(run([10.0] * 300, dropped=100), "synthetic?fps=60")
    assert "100 frames came and were not taken" in said
    assert "(25 % of those that came)" in said
    assert "not taken" not in words(run(dropped=0), "synthetic?fps=60")


def test_a_source_that_ended_early_is_said() -> None:
    said = words(run([10.0] * 72, stopped_by="source_ended"), "synthetic?frames=72")
    assert "ended after 72 frames (0.7 s of the 10 s asked for)" in said


@pytest.mark.parametrize(
    ("frames", "passes", "said"),
    [
        (432, 6, "The recording has 72 frames and was gone through 6 times."),
        (500, 1, "The recording has 500 frames and was gone through once."),
        (400, 400, "The recording has 1 frame and was gone through 400 times."),
    ],
)
def test_how_often_a_recording_was_gone_through(frames: int, passes: int, said: str) -> None:
    given = run([10.0] * frames, stopped_by="passes", passes=passes)
    assert words(given, "clip.mp4").endswith(said)


def test_a_recording_that_was_cut_is_said() -> None:
    assert "longer than its first 420 frames" in words(run(), "clip.mp4")
    assert "longer" not in words(run(), "synthetic")


def test_an_interrupted_run_is_said() -> None:
    assert "interrupted after" in words(run(stopped_by="interrupted"), "synthetic")
