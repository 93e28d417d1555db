"""The generated scene: reproducible, with faces that the real detector finds."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from edge_fer.cameras import open_camera
from edge_fer.cameras.synthetic import SyntheticCamera
from edge_fer.errors import ConfigError
from edge_fer.types import Box, Frame

FERPLUS8 = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt")


def next_frame(camera: SyntheticCamera) -> Frame:
    frame = camera.read()
    assert frame is not None
    return frame


def haar(luma: np.ndarray) -> list[Box]:
    cascade = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")
    found = cascade.detectMultiScale(luma, scaleFactor=1.1, minNeighbors=5)
    return [Box(x=x, y=y, w=w, h=h) for x, y, w, h in found]


def test_a_seed_is_a_scene() -> None:
    a, b, c = (SyntheticCamera(seed=s, size=(320, 240)) for s in (5, 5, 6))
    for _ in range(3):
        ours, same, other = next_frame(a), next_frame(b), next_frame(c)
        assert np.array_equal(ours.luma, same.luma)
        assert not np.array_equal(ours.luma, other.luma)
        assert a.truth == b.truth


@pytest.mark.parametrize("faces", [0, 1, 2, 5])
def test_the_truth_lies_in_the_picture(faces: int) -> None:
    camera = SyntheticCamera(faces=faces)
    assert camera.truth == ()
    sides = []
    for _ in range(60):
        frame = next_frame(camera)
        assert len(camera.truth) == faces
        for box, label in camera.truth:
            assert label in FERPLUS8
            assert box.x >= 0
            assert box.y >= 0
            assert box.x + box.w <= frame.width
            assert box.y + box.h <= frame.height
            sides.append(box.w * 1.04)
        boxes = [box for box, _ in camera.truth]
        assert all(a.iou(b) == 0 for i, a in enumerate(boxes) for b in boxes[:i])
    assert all(80 <= side <= 200 for side in sides)


def test_faces_move_and_scale_and_change() -> None:
    camera = SyntheticCamera(faces=1, size=(400, 400))
    seen = []
    for _ in range(400):
        next_frame(camera)
        seen += camera.truth
    sides = [box.w * 1.04 for box, _ in seen]
    assert min(sides) < 90
    assert max(sides) > 190
    assert {label for _, label in seen} == set(FERPLUS8)
    assert len({(box.x, box.y) for box, _ in seen}) > 100


def test_the_truth_ends_with_the_frames() -> None:
    camera = SyntheticCamera(frames=1)
    next_frame(camera)
    assert camera.truth
    assert camera.read() is None
    assert camera.truth == ()


def test_stamped_by_the_given_clock() -> None:
    ticks = iter([10, 20])
    camera = SyntheticCamera(clock_ns=lambda: next(ticks))
    assert [next_frame(camera).t_ns for _ in range(2)] == [10, 20]


def test_as_many_faces_as_there_is_room_for() -> None:
    SyntheticCamera(faces=1, size=(107, 107))
    SyntheticCamera(faces=0, size=(32, 32))
    with pytest.raises(ConfigError, match="no room"):
        SyntheticCamera(faces=1, size=(106, 200))
    with pytest.raises(ConfigError, match="no room"):
        SyntheticCamera(faces=16, size=(640, 360))


@pytest.mark.parametrize("turn", ["", "&mirror=1"])
def test_haar_finds_every_class_at_every_size(turn: str) -> None:
    """Measured: all of 2,000 faces over 5 scenes; here every 25th frame of one."""
    camera = open_camera(f"synthetic?seed=1&size=480x400&faces=1&frames=400{turn}")
    assert isinstance(camera, SyntheticCamera)
    missed, extra, number = [], 0, 0
    while (frame := camera.read()) is not None:
        number += 1
        if number % 25 != 0:
            continue
        found = haar(frame.luma)
        for box, label in camera.truth:
            if not any(box.iou(other) >= 0.5 for other in found):
                missed.append((label, box))
        extra += max(0, len(found) - len(camera.truth))
    assert missed == []
    assert extra <= 4


def test_skin_is_not_gray_and_keeps_its_luma() -> None:
    camera = SyntheticCamera(faces=1, size=(240, 240), frames=1)
    frame = next_frame(camera)
    assert frame.colour is not None
    box, _ = camera.truth[0]
    x, y = int(box.x + box.w / 2), int(box.y + box.h / 2)
    blue, green, red = (float(v) for v in frame.colour[y, x])
    assert red > green > blue
    assert np.array_equal(frame.luma, cv2.cvtColor(frame.colour, cv2.COLOR_BGR2GRAY))


def test_on_a_clock_it_waits_for_each_frame_and_skips_what_a_slow_reader_missed() -> None:
    now, waits = [7 * 10**9], list[int]()

    def wait(seconds: float) -> None:
        waits.append(round(seconds * 1000))
        now[0] += round(seconds * 1e9)

    camera = SyntheticCamera(
        size=(160, 120), faces=0, fps=10, frames=20, clock_ns=lambda: now[0], wait=wait
    )
    seen = []
    for late_ms in (0, 40, 100, 130, 2000, 0):
        now[0] += late_ms * 10**6
        frame = camera.read()
        seen.append(frame and (frame.sequence, (frame.t_ns - 7 * 10**9) // 10**6))
    # The fourth read is 30 ms late; the fifth misses all that was left of the twenty.
    assert seen == [(0, 0), (1, 100), (2, 200), (3, 300), None, None]
    assert waits[:1] == [60]
    camera.close()


def test_a_frame_on_the_clock_is_the_one_of_its_number() -> None:
    now = [0]
    camera = SyntheticCamera(fps=30, seed=5, clock_ns=lambda: now[0], wait=lambda _: None)
    plain = SyntheticCamera(seed=5)
    first = camera.read()
    now[0] = 10**9
    late = camera.read()
    assert first is not None
    assert late is not None
    assert late.sequence == 30
    for _ in range(31):
        expected = plain.read()
    assert expected is not None
    assert np.array_equal(late.luma, expected.luma)
