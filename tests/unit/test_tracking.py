import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge_fer.detectors.fake import FakeDetector
from edge_fer.errors import ConfigError
from edge_fer.tracking import Search, Tracker, detect_in_crop
from edge_fer.types import Box, Detector, Face, Frame, RegionDetector

WIDTH, HEIGHT = 640, 480
STEP_NS = 40_000_000
Script = Callable[[int], Sequence[Face]]


def frame(number: int, **changes: object) -> Frame:
    luma = np.zeros((HEIGHT, WIDTH), np.uint8)
    made = Frame(luma=luma, colour=None, t_ns=number * STEP_NS, sequence=number, source="test")
    return replace(made, **changes)  # type: ignore[arg-type]


def face(cx: float, cy: float, size: float = 60, score: float = 0.9, points: int = 0) -> Face:
    places = tuple((cx + 5.0 * i, cy - 10.0) for i in range(points))
    box = Box(x=cx - size / 2, y=cy - size / 2, w=size, h=size)
    return Face(box=box, score=score, keypoints=places or None)


def centre(found: Face) -> tuple[float, float]:
    return found.box.x + found.box.w / 2, found.box.y + found.box.h / 2


class Network(FakeDetector):
    """Finds what a script says: by the frame's number, and by the region's bounds."""

    def __init__(self, script: Script, close_up: Script | None = None) -> None:
        super().__init__(lambda f: tuple(script(f.sequence)))
        self._close_up = close_up or script
        self.whole: list[int] = []
        self.regions: list[tuple[int, Box]] = []

    def detect(self, frame: Frame) -> tuple[Face, ...]:
        self.whole.append(frame.sequence)
        return super().detect(frame)

    def detect_in(self, frame: Frame, region: Box) -> tuple[Face, ...]:
        self.regions.append((frame.sequence, region))

        def holds(x: float, y: float) -> bool:
            return 0 < x - region.x < region.w and 0 < y - region.y < region.h

        return tuple(f for f in self._close_up(frame.sequence) if holds(*centre(f)))


def always(*faces: Face) -> Script:
    return lambda number: faces


def follow(
    script: Script, frames: int, **options: int
) -> tuple[list[dict[int, tuple[float, float]]], Network]:
    """Where each id was, frame by frame."""
    network = Network(script)
    tracker = Tracker(network, **options)
    seen = [tracker.update(frame(n)) for n in range(frames)]
    return [{number(f): centre(f) for f in faces} for faces in seen], network


def number(found: Face) -> int:
    assert found.track is not None
    return found.track


# when the whole frame is searched


def test_the_whole_frame_every_so_many_frames_and_regions_in_between() -> None:
    seen, network = follow(always(face(300, 200)), 25, interval=10)
    assert network.whole == [0, 10, 20]
    assert [n for n, _ in network.regions] == [n for n in range(25) if n not in network.whole]
    assert all(set(ids) == {0} for ids in seen)


def test_an_interval_of_one_searches_only_whole_frames() -> None:
    _, network = follow(always(face(300, 200)), 5, interval=1)
    assert network.whole == [0, 1, 2, 3, 4]
    assert network.regions == []


def test_with_nobody_there_every_frame_is_searched() -> None:
    seen, network = follow(lambda n: [face(300, 200)] if n == 4 else [], 6)
    assert network.whole == [0, 1, 2, 3, 4]
    assert [set(ids) for ids in seen] == [set(), set(), set(), set(), {0}, set()]


def test_a_lost_face_is_searched_for_in_the_whole_frame_once() -> None:
    away = range(5, 9)
    _, network = follow(lambda n: [] if n in away else [face(300, 200)], 13, interval=100)
    assert network.whole == [0, 6]


def test_a_face_that_the_whole_frame_did_not_show_is_not_searched_for_there_again() -> None:
    away = range(10, 14)
    _, network = follow(lambda n: [] if n in away else [face(300, 200)], 25, interval=10)
    assert network.whole == [0, 10, 20]


def test_the_region_is_two_and_a_half_faces_around_where_the_face_will_be() -> None:
    network = Network(lambda n: [face(100 + 10 * n, 200)])
    tracker = Tracker(network, interval=1000)
    for n in range(40):
        tracker.update(frame(n))
    _, region = network.regions[-1]
    assert (region.w, region.h) == pytest.approx((150, 150))
    assert region.x + region.w / 2 == pytest.approx(100 + 10 * 39, abs=1)
    assert region.y + region.h / 2 == pytest.approx(200, abs=1e-6)


def test_more_faces_than_regions_pay_for_are_searched_in_the_whole_frame() -> None:
    two = [face(100, 100), face(300, 100)]
    _, network = follow(always(*two), 10)
    assert (network.whole, len(network.regions)) == ([0], 18)
    seen, network = follow(always(*two, face(500, 100)), 10)
    assert (network.whole, network.regions) == (list(range(10)), [])
    assert all(set(ids) == {0, 1, 2} for ids in seen)


def test_a_face_that_only_a_region_shows_is_seen_in_every_frame() -> None:
    there, off = [face(300, 200)], []
    network = Network(lambda n: there if n == 0 else off, close_up=always(*there))
    tracker = Tracker(network, interval=5)
    assert [len(tracker.update(frame(n))) for n in range(20)] == [1] * 20
    assert network.whole == [0, 5, 10, 15]


def test_nobody_is_taken_up_from_a_region() -> None:
    one, cut_off = face(300, 200), face(350, 245)
    network = Network(lambda n: [one] if n == 0 else [], close_up=always(one, cut_off))
    tracker = Tracker(network, interval=3)
    ids = {number(f) for n in range(12) for f in tracker.update(frame(n))}
    assert (ids, len(network.regions)) == ({0}, 11)


def test_what_was_done_is_said() -> None:
    tracker = Tracker(Network(lambda n: [face(300, 200)] if n < 3 else []))
    assert tracker.search == Search()
    done = []
    for n in range(5):
        tracker.update(frame(n))
        done.append((tracker.search.full_frame, tracker.search.regions, tracker.search.missed))
        assert tracker.search.detect_ms > 0
    region, whole = (False, 1, 0), (True, 0, 0)
    assert done == [whole, region, region, (False, 1, 1), (True, 1, 1)]


def test_a_region_detector_takes_the_regions_and_both_are_closed() -> None:
    wide, near = Network(always(face(300, 200))), Network(always(face(302, 200)))
    tracker = Tracker(wide, region_detector=near)
    for n in range(10):
        tracker.update(frame(n))
    assert (wide.whole, wide.regions) == ([0], [])
    assert (near.whole, len(near.regions)) == ([], 9)
    tracker.close()
    tracker.close()
    assert (wide.closed, near.closed) == (True, True)


# who is who


def test_a_moving_face_keeps_its_id_and_the_box_does_not_lag() -> None:
    seen, _ = follow(lambda n: [face(60 + 12 * n, 240)], 45)
    assert all(set(ids) == {0} for ids in seen)
    assert seen[-1][0][0] == pytest.approx(60 + 12 * 44, abs=1)


@pytest.mark.parametrize("hidden", [range(0), range(17, 24), range(18, 22)])
def test_crossing_faces_keep_their_ids(hidden: range) -> None:
    """They meet in frame 20; ``hidden``: the frames in which only the one in front is found."""

    def script(n: int) -> list[Face]:
        front, back = face(100 + 10 * n, 200), face(500 - 10 * n, 215)
        return [front] if n in hidden else [front, back]

    seen, _ = follow(script, 41)
    assert set(seen[0]) == set(seen[40]) == {0, 1}
    first = min(seen[0], key=lambda i: seen[0][i][0])
    assert seen[40][first][0] == pytest.approx(500, abs=5)
    assert seen[40][1 - first][0] == pytest.approx(100, abs=5)
    assert {i for ids in seen for i in ids} == {0, 1}


@pytest.mark.parametrize(("length", "ids"), [(1, {0}), (10, {0}), (11, {0, 1})])
def test_a_face_keeps_its_id_over_ten_searches_without_success(length: int, ids: set[int]) -> None:
    away = range(12, 12 + length)
    seen, _ = follow(lambda n: [] if n in away else [face(50 + 4 * n, 200)], 40)
    assert all(seen[n] == {} for n in away)
    assert {i for found in seen for i in found} == ids
    assert len(seen[39]) == 1


def test_a_face_that_was_found_only_once_is_given_up_at_once() -> None:
    seen, network = follow(lambda n: [face(300, 200)] if n in (0, 2) else [], 4)
    assert [set(ids) for ids in seen] == [{0}, set(), {1}, set()]
    assert network.whole == [0, 2]


def test_every_second_detection_missing_does_not_change_the_id() -> None:
    seen, _ = follow(lambda n: [face(300, 200)] if n < 2 or n % 2 else [], 60)
    assert {i for ids in seen for i in ids} == {0}
    assert sum(len(ids) for ids in seen) == 31


def test_whoever_leaves_is_gone_and_comes_back_with_a_new_id() -> None:
    def script(n: int) -> list[Face]:
        x = 400 + 12 * n if n < 40 else 1200 - 16 * (n - 40)
        right = min(x + 30, WIDTH)
        box = Box(x=x - 30, y=200, w=right - x + 30, h=60)
        return [Face(box=box, score=0.9)] if box.w > 25 else []

    seen, network = follow(script, 90)
    assert [i for ids in seen for i in ids] == sorted(i for ids in seen for i in ids)
    assert {i for ids in seen for i in ids} == {0, 1}
    gone = next(n for n, ids in enumerate(seen) if not ids)
    # The first search without success ended it: nobody is followed, so whole frames are searched.
    assert set(range(gone + 1, gone + 10)) <= set(network.whole)
    assert not any(gone < n < gone + 10 for n, _ in network.regions)


def test_whoever_enters_is_there_with_the_next_whole_frame() -> None:
    first, second = face(200, 200), face(450, 200)
    seen, _ = follow(lambda n: [first, second] if n >= 13 else [first], 30, interval=10)
    assert next(n for n, ids in enumerate(seen) if 1 in ids) == 20
    assert all(0 in ids for ids in seen)


def test_a_scene_cut_leaves_no_ghosts() -> None:
    def script(n: int) -> list[Face]:
        if n < 10:
            return [face(100, 100), face(300, 300)]
        return [face(500, 100)]

    seen, _ = follow(script, 40, interval=30)
    assert [set(ids) for ids in seen[:10]] == [{0, 1}] * 10
    assert seen[10] == {}
    assert [set(ids) for ids in seen[11:]] == [{2}] * 29


def test_two_near_faces_are_two_and_their_regions_do_not_double_them() -> None:
    left, right = face(300, 200), face(355, 205)
    seen, network = follow(always(left, right), 30)
    assert all(set(ids) == {0, 1} for ids in seen)
    assert len(network.regions) == 2 * 27


def test_one_of_two_near_faces_vanishes_and_does_not_take_the_others_box() -> None:
    left, right = face(300, 200), face(345, 200)
    seen, _ = follow(lambda n: [left, right] if n < 15 else [left], 40)
    stays = min(seen[0], key=lambda i: seen[0][i][0])
    assert all(set(ids) == {stays} for ids in seen[15:])


def test_an_overlapping_second_box_of_a_detector_is_no_second_face() -> None:
    seen, _ = follow(always(face(300, 200, 80), face(305, 205, 70, score=0.6)), 12)
    assert all(set(ids) == {0} for ids in seen)


# the budget


def test_only_so_many_faces_are_followed_the_largest() -> None:
    faces = [face(100 + 120 * i, 200, size=40 + 12 * i) for i in range(5)]
    seen, _ = follow(always(*faces), 12, max_faces=2)
    for ids in seen:
        assert sorted(x for x, _ in ids.values()) == pytest.approx([460, 580])


def test_two_equal_faces_do_not_take_turns() -> None:
    random = np.random.default_rng(1)

    def script(n: int) -> list[Face]:
        return [face(200, 200, random.normal(80, 4)), face(450, 200, random.normal(80, 4))]

    seen, _ = follow(script, 60, max_faces=1, interval=1)
    assert {i for ids in seen for i in ids} == {0}


def test_a_much_larger_newcomer_takes_the_place() -> None:
    def script(n: int) -> list[Face]:
        return [face(200, 200, 60)] + ([face(450, 200, 120)] if n >= 5 else [])

    seen, _ = follow(script, 20, max_faces=1)
    assert [set(ids) for ids in seen] == [{0}] * 10 + [{1}] * 10


def test_a_face_out_of_sight_has_no_better_claim_to_its_place() -> None:
    def script(n: int) -> list[Face]:
        return [face(450, 200, 66)] if n >= 10 else [face(200, 200, 60)]

    seen, _ = follow(script, 15, max_faces=1)
    assert [set(ids) for ids in seen] == [{0}] * 10 + [{1}] * 5


@pytest.mark.parametrize("wrong", [{"interval": 0}, {"max_faces": 0}])
def test_a_limit_below_one_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match="at least 1"):
        Tracker(FakeDetector(), **wrong)


# time


def test_two_frames_of_the_same_time_are_no_jump() -> None:
    tracker = Tracker(Network(lambda n: [face(100 + 8 * n, 200)]))
    ids = [tracker.update(frame(n, t_ns=n // 2 * STEP_NS)) for n in range(20)]
    assert {number(f) for found in ids for f in found} == {0}


def test_the_same_frame_twice_gives_the_same_face() -> None:
    tracker = Tracker(Network(lambda n: [face(300, 200)]))
    assert [tracker.update(frame(3)) for _ in range(4)] == [tracker.update(frame(3))] * 4


def test_dropped_frames_count_for_where_a_face_is_expected() -> None:
    tracker = Tracker(Network(lambda n: [face(40 + 6 * n, 200, 40)]), interval=1000)
    read = [*range(30), 36, 42, 48, 60, 72]
    ids = {number(f) for n in read for f in tracker.update(frame(n))}
    assert ids == {0}


def test_a_slow_reader_does_not_make_a_still_face_run_away() -> None:
    tracker = Tracker(Network(lambda n: [face(300 + n // 30 % 2, 200)]))
    for n in range(0, 3000, 30):
        (found,) = tracker.update(frame(n))
        assert found.track == 0
        assert 299 < centre(found)[0] < 302


@pytest.mark.parametrize("fps", [5.0, 0.5, 0.1])
def test_however_slow_the_frames_come_a_face_keeps_its_id(fps: float) -> None:
    """Of a camera of 120 a second: with ``max_fps`` most of its frames are left out."""
    network = Network(always(face(300, 200)))
    tracker = Tracker(network, interval=100)
    for n in range(8):
        taken = frame(round(120 / fps) * n, t_ns=round(n * 1e9 / fps))
        assert [f.track for f in tracker.update(taken)] == [0]
    assert network.whole == [0]


@pytest.mark.parametrize(("fps", "pause_s"), [(30.0, 1.6), (0.5, 6.1), (0.1, 30.1)])
def test_a_pause_much_longer_than_the_period_is_a_jump_once(fps: float, pause_s: float) -> None:
    tracker = Tracker(Network(always(face(300, 200))))
    times = [n / fps for n in range(8)]
    times += [times[-1] + pause_s + n / fps for n in range(4)]
    ids = []
    for n, seconds in enumerate(times):
        ids += [number(f) for f in tracker.update(frame(n, t_ns=round(seconds * 1e9)))]
    assert ids == [0] * 8 + [1] * 4


def test_from_many_frames_a_second_to_few_the_ids_settle() -> None:
    tracker = Tracker(Network(always(face(300, 200))))
    times = [n / 30 for n in range(30)] + [1 + 2 * n for n in range(1, 10)]
    ids = []
    for n, seconds in enumerate(times):
        ids += [number(f) for f in tracker.update(frame(n, t_ns=round(seconds * 1e9)))]
    assert ids[:30] == [0] * 30
    assert len(set(ids[32:])) == 1


def test_a_velocity_of_noise_does_not_carry_a_still_face_away_when_frames_get_rare() -> None:
    """All of a camera's 120 frames a second, then less than one, then all again."""
    random = np.random.default_rng(3)
    sizes = {n: random.normal(0, 3) for n in range(2000)}
    network = Network(lambda n: [face(300 + sizes[n], 200)])
    tracker = Tracker(network, interval=1000)
    for n in [*range(200), 370, 540, 710, 880, *range(881, 1100)]:
        (found,) = tracker.update(frame(n, t_ns=n * 8_333_333))
        assert found.track == 0
        assert 290 < centre(found)[0] < 310


def test_from_idle_to_full_rate_a_walker_keeps_the_id() -> None:
    """Every sixth of 30 frames a second, then all of them, then every sixth again."""
    read = [*range(0, 31, 6), *range(31, 60), *range(60, 91, 6)]
    tracker = Tracker(Network(lambda n: [face(60 + 4 * n, 240, 80)]), interval=10)
    ids = {number(f) for n in read for f in tracker.update(frame(n, t_ns=n * 33_333_333))}
    assert ids == {0}


@pytest.mark.parametrize(
    "changes",
    [
        {"t_ns": 9 * STEP_NS + 1_600_000_000},
        {"t_ns": 0},
        {"source": "another picture"},
        {"luma": np.zeros((240, 320), np.uint8)},
        {"sequence": 3},
    ],
    ids=["gap", "clock back", "source", "size", "rewound"],
)
def test_a_jump_begins_anew_and_no_id_comes_twice(changes: Mapping[str, object]) -> None:
    network = Network(always(face(200, 150)))
    tracker = Tracker(network, interval=100)
    for n in range(10):
        assert [f.track for f in tracker.update(frame(n))] == [0]
    assert [f.track for f in tracker.update(frame(10, **changes))] == [1]
    assert len(network.whole) == 2


# boxes and keypoints


def test_boxes_and_keypoints_are_steadier_than_the_detectors() -> None:
    random = np.random.default_rng(0)

    def script(n: int) -> list[Face]:
        dx, dy, ds = random.normal(0, 2, 3)
        return [face(300 + dx, 200 + dy, 60 + ds, points=2)]

    raw = [script(0)[0] for _ in range(300)]
    tracker = Tracker(Network(script))
    steady = [tracker.update(frame(n))[0] for n in range(300)]

    def jumps(faces: Sequence[Face]) -> list[float]:
        rows = [(*centre(f), f.box.w, *(f.keypoints or ((0, 0),))[0]) for f in faces]
        return [float(v) for v in np.diff(np.array(rows), axis=0).std(axis=0)]

    assert all(now < 0.6 * before for now, before in zip(jumps(steady), jumps(raw), strict=True))


def test_a_detector_with_other_keypoints_takes_over() -> None:
    wide = Network(always(face(300, 200, points=2)))
    near = Network(always(face(300, 200, points=6)))
    tracker = Tracker(wide, region_detector=near, interval=3)
    found = [tracker.update(frame(n))[0] for n in range(6)]
    assert [len(f.keypoints or ()) for f in found] == [2, 6, 6, 2, 6, 6]
    assert {f.track for f in found} == {0}


def test_the_square_is_the_detectors_on_the_smoothed_face() -> None:
    detector = Network(lambda n: [face(300 + 10 * (n % 2), 200)])
    tracker = Tracker(detector)
    assert tracker.detectors == (detector,)
    for n in range(4):
        (found,) = tracker.update(frame(n))
    square = detector.face_square(found)
    assert (square.cx, square.cy, square.side) == pytest.approx((*centre(found), found.box.w))
    assert 300 < square.cx < 310


def blobs(picture: Frame) -> tuple[Face, ...]:
    """Finds white squares, as a detector of whole frames that is fooled by nothing."""
    rows, columns = np.nonzero(picture.luma)
    if len(rows) == 0:
        return ()
    x, y = float(columns.min()), float(rows.min())
    w, h = columns.max() + 1 - x, rows.max() + 1 - y
    assert picture.colour is None or picture.colour.shape[:2] == picture.luma.shape
    return (Face(box=Box(x=x, y=y, w=w, h=h), score=0.9, keypoints=((x, y), (x + w, y))),)


def test_a_detector_without_regions_is_given_a_part_of_the_frame() -> None:
    sizes = []

    def answer(picture: Frame) -> tuple[Face, ...]:
        sizes.append((picture.width, picture.height))
        return blobs(picture)

    tracker = Tracker(FakeDetector(answer))
    for n in range(10):
        picture = frame(n, colour=np.zeros((HEIGHT, WIDTH, 3), np.uint8))
        picture.luma[200:240, 300 + n : 340 + n] = 255
        (found,) = tracker.update(picture)
        assert found.track == 0
        assert found.box.iou(Box(x=300 + n, y=200, w=40, h=40)) > 0.9
        assert found.keypoints is not None
        assert found.keypoints[0] == pytest.approx((found.box.x, found.box.y))
    assert sizes[0] == (WIDTH, HEIGHT)
    assert all(100 <= w <= 103 and 100 <= h <= 103 for w, h in sizes[1:])


def test_a_part_shows_no_more_than_the_whole_frame_did() -> None:
    asked = []

    def answer(picture: Frame) -> tuple[Face, ...]:
        asked.append(picture.sequence)
        return blobs(picture)

    tracker = Tracker(FakeDetector(answer), interval=3)
    for n in range(4):
        picture = frame(n)
        if n < 3:
            picture.luma[200:240, 300:340] = 255
        tracker.update(picture)
    assert tracker.search.full_frame
    assert tracker.search.missed == 1
    assert asked == [0, 1, 2, 3]


def test_a_large_face_is_not_worth_cutting_out() -> None:
    sizes = []

    def answer(picture: Frame) -> tuple[Face, ...]:
        sizes.append(picture.luma.shape)
        return blobs(picture)

    tracker = Tracker(FakeDetector(answer))
    for n in range(5):
        picture = frame(n)
        picture.luma[100:350, 200:450] = 255
        assert [f.track for f in tracker.update(picture)] == [0]
    assert sizes == [(HEIGHT, WIDTH)] * 5


@pytest.mark.parametrize(
    "region",
    [Box(x=700, y=10, w=50, h=50), Box(x=-80, y=10, w=80, h=50), Box(x=5, y=900, w=1, h=1)],
)
def test_a_region_outside_the_frame_holds_nothing(region: Box) -> None:
    detector = FakeDetector(always_a_face)
    assert detect_in_crop(detector, frame(0), region) == ()


def always_a_face(picture: Frame) -> tuple[Face, ...]:
    return (face(picture.width / 2, picture.height / 2),)


def test_a_region_that_sticks_out_is_cut_at_the_frame() -> None:
    picture = frame(0)
    picture.luma[0:20, 0:30] = 255
    found = detect_in_crop(FakeDetector(blobs), picture, Box(x=-40.5, y=-40.5, w=90, h=90))
    assert [f.box for f in found] == [Box(x=0, y=0, w=30, h=20)]


def test_who_can_look_into_regions_is_known_by_the_method() -> None:
    plain: Detector = FakeDetector()
    assert isinstance(Network(always()), RegionDetector)
    assert not isinstance(plain, RegionDetector)


# anything

FACES = st.lists(
    st.builds(
        face,
        st.floats(0, WIDTH),
        st.floats(0, HEIGHT),
        st.floats(1, 500),
        st.floats(0, 1),
        st.sampled_from([0, 2]),
    ),
    max_size=4,
).map(tuple)
WALKS = st.lists(st.tuples(FACES, st.integers(0, 3), st.integers(-1, 3)), max_size=30)


@settings(max_examples=150, deadline=None)
@given(WALKS, st.integers(1, 5), st.integers(1, 3), st.booleans())
def test_whatever_is_found_ids_are_unique_and_boxes_in_the_frame(
    walk: list[tuple[tuple[Face, ...], int, int]], interval: int, most: int, magnifies: bool
) -> None:
    frames, sequence, t_ns = [], 0, 0
    for _, steps, ticks in walk:
        sequence, t_ns = sequence + steps, max(0, t_ns + ticks * STEP_NS * 10)
        frames.append(frame(sequence, t_ns=t_ns))

    def play() -> list[tuple[Face, ...]]:
        current: list[tuple[Face, ...]] = [()]
        script: Script = lambda n: current[0]  # noqa: E731
        detector = Network(script) if magnifies else FakeDetector(lambda f: tuple(script(0)))
        tracker = Tracker(detector, interval=interval, max_faces=most)
        answers = []
        for picture, (faces, _, _) in zip(frames, walk, strict=True):
            current[0] = faces
            answers.append(tracker.update(picture))
        return answers

    answers = play()
    assert answers == play()
    known: set[int] = set()
    for faces in answers:
        ids = [number(f) for f in faces]
        assert ids == sorted(set(ids))
        assert len(ids) <= most
        # A new one has the next number: none is left out and none comes twice.
        assert sorted(set(ids) - known) == list(range(len(known), len(known | set(ids))))
        known |= set(ids)
        for found in faces:
            box = found.box
            assert all(math.isfinite(v) for v in (box.x, box.y, box.w, box.h))
            assert min(box.x, box.y) >= 0
            assert min(box.w, box.h) > 0
            assert box.x + box.w <= WIDTH + 1e-6
            assert box.y + box.h <= HEIGHT + 1e-6
