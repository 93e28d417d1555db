"""The live camera: newest frame first, and back from every loss, hang and mess.

The cameras behind it are scripted; clocks and back-off waits are injected. Threads are real.
"""

from __future__ import annotations

import gc
import json
import os
import random
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import count, pairwise
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pytest

from edge_fer.cameras import open_camera
from edge_fer.cameras.fake import FakeCamera, FaultyCamera
from edge_fer.cameras.lazy import LazyFrame
from edge_fer.cameras.live import LiveCamera
from edge_fer.errors import CameraAway, DataError, DeviceError, EdgeFerError
from edge_fer.types import Box, Camera, Frame

Step = Frame | Exception | Event
GENEROUS_S = 20.0


def frame(
    number: int, *, t_ns: int | None = None, value: int = 90, size: tuple[int, int] = (32, 24)
) -> Frame:
    luma = np.full((size[1], size[0]), value, np.uint8)
    luma[0, ::2] = 255
    return Frame(
        luma=luma,
        colour=None,
        t_ns=number * 1000 if t_ns is None else t_ns,
        sequence=number,
        source="fake",
    )


def frames(number: int) -> list[Step]:
    return [frame(n) for n in range(number)]


class Clock:
    def __init__(self) -> None:
        self.ns = 10**9

    def __call__(self) -> int:
        return self.ns

    def forward(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)


class Opener:
    """Opens one scripted camera after the other, or raises; the last one again and again."""

    def __init__(self, *plan: Sequence[Step] | Exception | Event) -> None:
        self.plan, self.cameras = list(plan), list[FaultyCamera]()

    def __call__(self) -> Camera:
        step = self.plan.pop(0) if len(self.plan) > 1 else self.plan[0]
        if isinstance(step, Exception):
            raise step
        if isinstance(step, Event):
            step.wait(GENEROUS_S)
            step = []
        self.cameras.append(FaultyCamera(step))
        return self.cameras[-1]

    def has_opened(self, number: int) -> bool:
        return len(self.cameras) == number


@contextmanager
def live(opener: Callable[[], Camera], *holds: Event, **how: Any) -> Iterator[LiveCamera]:
    """A live camera that is closed after the test, with whatever hangs set free."""
    camera = LiveCamera(
        opener,
        **{"source": "fake", "patience_s": 0.02, "wait": lambda stop, _: stop.is_set(), **how},
    )
    try:
        yield camera
    finally:
        for hold in holds:
            hold.set()
        camera.close()


def until(condition: Callable[[], object]) -> None:
    end = time.monotonic() + GENEROUS_S
    while not condition():
        assert time.monotonic() < end, "it never came to pass"
        time.sleep(0.002)


def has(camera: LiveCamera, key: str, value: object) -> Callable[[], bool]:
    return lambda: camera.status()[key] == value


def patient(camera: LiveCamera) -> Frame | None:
    """What a worker does."""
    end = time.monotonic() + GENEROUS_S
    while True:
        try:
            return camera.read()
        except CameraAway:
            assert time.monotonic() < end


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    until(lambda: set(threading.enumerate()) <= before)


def test_only_the_newest_frame_is_kept_and_the_dropped_ones_are_counted() -> None:
    gate = Event()
    with live(Opener([*frames(10), gate]), gate) as camera:
        until(has(camera, "captured", 10))
        newest = camera.read()
        assert newest is not None
        assert newest.sequence == 9
        with pytest.raises(CameraAway):
            camera.read()
        assert camera.status()["dropped"] == 9
        assert camera.status()["missed"] == 0


def test_a_frame_that_needs_no_new_number_is_handed_out_as_it_is() -> None:
    gate, given = Event(), frame(0)
    with live(Opener([given, gate]), gate) as camera:
        assert patient(camera) is given


def test_gaps_of_the_source_are_kept_and_counted() -> None:
    gates = [Event() for _ in range(3)]
    script: list[Step] = [frame(5), gates[0], frame(8), gates[1], frame(9), gates[2]]
    with live(Opener(script), *gates) as camera:
        seen = []
        for gate in gates:
            got = patient(camera)
            assert got is not None
            seen.append(got.sequence)
            gate.set()
        assert seen == [0, 3, 4]
        assert camera.status()["missed"] == 2


def test_no_more_than_one_frame_is_held() -> None:
    gate, alive = Event(), list[weakref.ref[Any]]()

    def script() -> Iterator[Step]:
        for number in range(40):
            made = frame(number)
            alive.append(weakref.ref(made.luma))
            yield made
            del made
        yield gate

    with live(lambda: FaultyCamera(script()), gate) as camera:
        until(has(camera, "captured", 40))
        gc.collect()
        assert sum(ref() is not None for ref in alive) == 1
        assert patient(camera) is not None
        gc.collect()
        assert sum(ref() is not None for ref in alive) == 0


def test_a_camera_that_is_not_there_at_first_says_so_itself() -> None:
    gone = DeviceError("There is no /dev/video9.", "There are: /dev/video0.")
    with pytest.raises(DeviceError) as caught:
        LiveCamera(Opener(gone), source="fake")
    assert caught.value is gone


def test_a_first_opening_that_hangs_is_given_up() -> None:
    gate = Event()
    opener = Opener(gate)
    with pytest.raises(DeviceError, match=r"fake did not open within 0.05 s") as caught:
        LiveCamera(opener, source="fake", stall_after_s=0.05, open_within_s=0.01)
    assert not isinstance(caught.value, CameraAway)
    gate.set()
    until(lambda: opener.cameras and opener.cameras[0].closed)


def test_unplugged_and_back_with_growing_delays() -> None:
    delays, plugged, gate = list[float](), Event(), Event()

    def wait(stop: Event, seconds: float) -> None:
        delays.append(seconds)
        plugged.wait(GENEROUS_S)

    gone = DeviceError("The camera was unplugged.", "Plug it in again.")
    opener = Opener([frame(0), frame(1), gone], *[gone] * 6, [frame(0), gone], [frame(0), gate])
    with live(opener, gate, wait=wait) as camera:
        until(has(camera, "state", "away"))
        first = camera.read()
        with pytest.raises(CameraAway, match="unplugged") as caught:
            camera.read()
        assert caught.value.remedy == "Plug it in again."
        assert camera.status()["last_error"] == str(gone)
        assert opener.cameras[0].closed
        plugged.set()
        until(has(camera, "reopened", 2))
        until(has(camera, "captured", 4))
        last = camera.read()
        assert first is not None
        assert last is not None
        assert (first.sequence, last.sequence) == (1, 3)
        # Once it gave a frame again, the next loss starts from the shortest delay.
        assert delays == [0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0, 0.5]
        assert camera.status()["state"] == "streaming"


def test_times_stay_the_sources_own_and_never_go_backwards() -> None:
    gates, clock = [Event() for _ in range(4)], Clock()
    times = [500, 400, 450, 2 * 10**9]
    script: list[Step] = []
    for number, (t_ns, gate) in enumerate(zip(times, gates, strict=True)):
        script += [frame(number, t_ns=t_ns), gate]
    with live(Opener(script), *gates, clock_ns=clock) as camera:
        seen = []
        for gate in gates:
            got = patient(camera)
            assert got is not None
            seen.append(got.t_ns)
            gate.set()
    assert seen == [500, 10**9, 10**9, 2 * 10**9]


def test_a_camera_that_blocks_for_ever_is_replaced_and_stays_silent() -> None:
    clock, old, new = Clock(), Event(), Event()
    opener = Opener([frame(0), old, frame(99, value=1)], [frame(0, value=2), new])
    with live(opener, old, new, clock_ns=clock) as camera:
        assert patient(camera) is not None
        clock.forward(4.9)
        with pytest.raises(CameraAway, match=r"given no frame for 4.9 s"):
            camera.read()
        assert camera.status()["state"] == "away"
        clock.forward(0.2)
        assert camera.status()["state"] == "stalled"
        with pytest.raises(CameraAway, match="read has not returned"):
            camera.read()
        again = patient(camera)
        assert again is not None
        assert (again.sequence, again.luma[1, 0]) == (1, 2)
        status = camera.status()
        assert (status["state"], status["abandoned"], status["reopened"]) == ("streaming", 1, 1)
        old.set()  # the driver lets go, long after
        until(lambda: opener.cameras[0].closed)
        with pytest.raises(CameraAway):
            camera.read()
        assert camera.status()["captured"] == 2
        assert not opener.cameras[1].closed


def test_a_hanging_opening_is_replaced_too() -> None:
    clock, hold, gate = Clock(), Event(), Event()
    opener = Opener([frame(0), DeviceError("gone")], hold, [frame(0), gate])
    with live(opener, hold, gate, clock_ns=clock) as camera:
        until(lambda: len(opener.plan) == 1)
        assert patient(camera) is not None
        clock.forward(14)
        with pytest.raises(CameraAway, match="gone"):
            camera.read()
        clock.forward(2)
        with pytest.raises(CameraAway, match="open has not returned"):
            camera.read()
        assert patient(camera) is not None


def test_three_threads_may_hang_and_then_only_a_new_process_helps() -> None:
    clock, hold = Clock(), Event()
    opener = Opener([hold])
    with live(opener, hold, clock_ns=clock, stall_after_s=1.0) as camera:
        for round_ in range(3):
            until(partial(opener.has_opened, round_ + 1))
            until(lambda: camera._capture.busy[0] == "read")
            clock.forward(2)
            with pytest.raises(CameraAway):
                camera.read()
        until(lambda: camera._capture.busy[0] == "read")
        clock.forward(2)
        for _ in range(2):
            with pytest.raises(DeviceError, match="hung 4 times") as caught:
                camera.read()
            assert not isinstance(caught.value, CameraAway)
        assert len(opener.cameras) == 4


def test_threads_that_came_back_are_forgiven() -> None:
    clock, holds = Clock(), [Event() for _ in range(8)]
    opener = Opener(*[[hold] for hold in holds])
    with live(opener, *holds, clock_ns=clock) as camera:
        for number, hold in enumerate(holds[:-1]):
            until(partial(opener.has_opened, number + 1))
            until(lambda: camera._capture.busy[0] == "read")
            clock.forward(6)
            with pytest.raises(CameraAway):
                camera.read()
            hold.set()
            until(partial(getattr, opener.cameras[number], "closed"))
        assert camera.status()["abandoned"] == 7


def test_a_device_that_a_hanging_thread_holds_is_given_up_after_a_minute() -> None:
    clock, hold = Clock(), Event()
    opener = Opener([frame(0), hold], DeviceError("busy"))
    with live(opener, hold, clock_ns=clock) as camera:
        assert patient(camera) is not None
        clock.forward(6)
        with pytest.raises(CameraAway):
            camera.read()
        until(lambda: "busy" in camera.status()["last_error"])
        clock.forward(50)
        with pytest.raises(CameraAway, match="busy"):
            camera.read()
        clock.forward(5)
        with pytest.raises(DeviceError, match="does not let go") as caught:
            camera.read()
        assert not isinstance(caught.value, CameraAway)


def test_frames_of_changed_size_pass() -> None:
    gates = [Event(), Event()]
    script: list[Step] = [frame(0), gates[0], frame(1, size=(64, 48)), gates[1]]
    with live(Opener(script), *gates) as camera:
        sizes = []
        for gate in gates:
            got = patient(camera)
            assert got is not None
            sizes.append((got.width, got.height))
            assert camera.status()["size"] == list(sizes[-1])
            gate.set()
    assert sizes == [(32, 24), (64, 48)]


def test_black_pictures_are_told() -> None:
    clock, gates = Clock(), [Event() for _ in range(3)]
    dark, black = frame(0, value=16), frame(1, value=0)
    dark.luma[0, ::2] = 17
    black.luma[0, ::2] = 0
    script: list[Step] = [dark, gates[0], black, gates[1], frame(2), gates[2]]
    with live(Opener(script), *gates, clock_ns=clock) as camera:
        until(has(camera, "captured", 1))
        assert camera.status()["black_for_s"] == 0.0
        clock.forward(3)
        gates[0].set()
        until(has(camera, "captured", 2))
        assert camera.status()["black_for_s"] == 3.0
        gates[1].set()
        until(has(camera, "captured", 3))
        assert camera.status()["black_for_s"] == 0.0


def test_a_dim_scene_is_not_black() -> None:
    gate, clock = Event(), Clock()
    dim = frame(0, value=5)
    dim.luma[:, 16:] = 40
    with live(Opener([dim, gate]), gate, clock_ns=clock) as camera:
        until(has(camera, "captured", 1))
        clock.forward(2)
        assert camera.status()["black_for_s"] == 0.0


def test_corrupt_frames_are_counted_and_passed_over() -> None:
    gate, spoilt = Event(), DataError("A frame cannot be decoded.")
    opener = Opener([*[spoilt] * 29, frame(0), *[spoilt] * 29, frame(1), gate])
    with live(opener, gate) as camera:
        until(has(camera, "captured", 2))
        assert patient(camera) is not None
        status = camera.status()
        assert (status["corrupt"], status["reopened"]) == (58, 0)
        assert status["last_error"] == str(spoilt)


def test_thirty_corrupt_frames_in_a_row_reopen_the_camera() -> None:
    gate = Event()
    opener = Opener([*[DataError("no picture")] * 30, frame(7)], [frame(0), gate])
    with live(opener, gate) as camera:
        got = patient(camera)
        assert got is not None
        assert got.sequence == 0
        status = camera.status()
        assert (status["corrupt"], status["reopened"], status["captured"]) == (30, 1, 1)
        assert "30 frames in a row" in status["last_error"]
        assert opener.cameras[0].closed


def test_the_true_end_comes_after_the_last_frame_and_stays() -> None:
    with live(Opener([frame(0), frame(1)])) as camera:
        until(has(camera, "state", "ended"))
        last = camera.read()
        assert last is not None
        assert last.sequence == 1
        assert camera.read() is None
        assert camera.read() is None


def test_close_lets_go_of_a_camera_that_hangs() -> None:
    gate = Event()
    opener = Opener([frame(0), gate, frame(1)])
    with live(opener, gate) as camera:
        assert patient(camera) is not None
        camera.close()  # returns while the gate is shut
        camera.close()
        assert camera.status()["state"] == "closed"
        with pytest.raises(EdgeFerError, match="closed"):
            camera.read()
        assert not opener.cameras[0].closed
        gate.set()
        until(lambda: opener.cameras[0].closed)
        assert camera.status()["captured"] == 1


def test_close_frees_a_worker_that_waits_and_a_thread_that_waits() -> None:
    gone, said = DeviceError("gone"), list[str]()
    camera = LiveCamera(Opener([gone]), source="fake", patience_s=GENEROUS_S)

    def work() -> None:
        try:
            camera.read()
        except EdgeFerError as err:
            said.append(str(err))

    worker = threading.Thread(target=work)
    worker.start()
    until(has(camera, "last_error", "gone"))
    camera.close()
    worker.join(GENEROUS_S)
    assert said == ["The camera fake was closed."]


def test_a_fault_of_the_program_reaches_the_worker() -> None:
    with live(Opener([frame(0), TypeError("a bug")])) as camera:
        until(lambda: camera._fault is not None)
        assert camera.read() is not None
        with pytest.raises(TypeError, match="a bug"):
            camera.read()


def test_an_operating_system_error_is_a_loss() -> None:
    gate = Event()
    opener = Opener([frame(0), OSError(19, "No such device")], [frame(0), gate])
    with live(opener, gate) as camera:
        until(has(camera, "reopened", 1))
        assert "No such device" in camera.status()["last_error"]


def test_the_status_is_json_in_every_state() -> None:
    gate, clock = Event(), Clock()
    with live(Opener([gate, frame(0)]), gate, clock_ns=clock) as camera:
        status = json.loads(json.dumps(camera.status()))
        assert (status["state"], status["age_s"], status["fps"]) == ("away", None, 0.0)
        gate.set()
        until(has(camera, "state", "ended"))
        assert json.loads(json.dumps(camera.status()))["age_s"] == 0.0


def test_the_rate_is_measured_and_falls_in_silence() -> None:
    clock, gates = Clock(), [Event() for _ in range(12)]
    script: list[Step] = []
    for number, gate in enumerate(gates):
        script += [frame(number), gate]
    with live(Opener(script), *gates, clock_ns=clock) as camera:
        for number, gate in enumerate(gates[:-1]):
            until(has(camera, "captured", number + 1))
            clock.forward(0.1)
            gate.set()
        until(has(camera, "captured", 12))
        assert camera.status()["fps"] == 10.0
        clock.forward(10.9)
        assert camera.status()["fps"] == 1.0


def test_whatever_happens_order_and_counts_hold() -> None:
    for seed in range(20 * (10 if os.environ.get("EDGE_FER_LONG") == "1" else 1)):
        chance = random.Random(seed)  # noqa: S311
        clock = count(10**9, 1000)

        def mess(chance: random.Random = chance) -> list[Step]:
            script: list[Step] = []
            number = chance.randrange(3)
            for _ in range(chance.randrange(60)):
                number += 1 + (chance.random() < 0.1) * chance.randrange(5)
                script.append(frame(number, t_ns=chance.randrange(10**12)))
                if chance.random() < 0.1:
                    script.append(DataError("no picture"))
            return [*script, DeviceError("gone")]

        plan = [mess() for _ in range(6)]
        plan[-1].pop()
        given = sum(isinstance(step, Frame) for script in plan for step in script)
        with live(Opener(*plan), clock_ns=lambda clock=clock: next(clock)) as camera:
            seen = []
            while (got := patient(camera)) is not None:
                seen.append(got)
            status = camera.status()
        assert status["captured"] == given == len(seen) + status["dropped"]
        assert status["reopened"] == 5
        assert all(a.sequence < b.sequence for a, b in pairwise(seen))
        assert all(a.t_ns <= b.t_ns for a, b in pairwise(seen))


def test_a_hundred_openings_leak_neither_threads_nor_files() -> None:
    def files() -> int:
        return sum(1 for _ in Path("/proc/self/fd").iterdir())

    with_one = open_camera("synthetic?fps=240&size=160x120&faces=0")
    with_one.close()
    before, threads = files(), threading.active_count()
    for _ in range(100):
        camera = open_camera("synthetic?fps=240&size=160x120&faces=0")
        assert camera.read() is not None
        camera.close()
        assert threading.active_count() == threads
    assert files() == before


def test_a_hundred_losses_leak_neither_threads_nor_cameras() -> None:
    opener = Opener(*[[*frames(1), DeviceError("gone")] for _ in range(100)], frames(1))
    with live(opener) as camera:
        threads = threading.active_count()
        until(has(camera, "state", "ended"))
        assert threading.active_count() <= threads
        assert camera.status()["reopened"] == 100
    until(lambda: all(one.closed for one in opener.cameras))


def test_frames_of_a_program_can_be_live_too() -> None:
    with live(lambda: FakeCamera([frame(0)])) as camera:
        assert patient(camera) is not None


def test_colour_made_later_stays_so_through_a_new_number() -> None:
    gate, made = Event(), list[int]()

    def colour() -> np.ndarray:
        made.append(1)
        return np.zeros((24, 32, 3), np.uint8)

    lazy = LazyFrame(
        luma=frame(0).luma, colour=colour, t_ns=7, sequence=3, source="fake", lores=frame(1).luma
    )
    with live(Opener([lazy, gate]), gate) as camera:
        got = patient(camera)
        assert got is not None
        assert (got.sequence, got.t_ns, got.lores is lazy.lores, made) == (0, 7, True, [])
        assert got.colour is not None
        assert got.colour.shape == (24, 32, 3)
        assert made == [1]


class Speaking(FaultyCamera):
    """Says what it is, and takes the face to expose for."""

    def __init__(self, script: Sequence[Step]) -> None:
        super().__init__(script)
        self.face: Box | None = None

    def describe(self) -> str:
        return "fake: 32x24"

    def meter_on(self, box: Box | None) -> None:
        self.face = box


def test_what_a_camera_says_and_can_do_more() -> None:
    gate, face = Event(), Box(x=1, y=2, w=3, h=4)
    plain = Speaking([frame(0), gate])
    with live(lambda: plain, gate) as camera:
        assert patient(camera) is not None
        assert camera.status()["camera"] == "fake: 32x24"
        camera.meter_on(face)
        assert plain.face == face


def test_a_camera_that_cannot_meter_is_left_alone() -> None:
    gate = Event()
    with live(Opener([frame(0), gate]), gate) as camera:
        camera.meter_on(Box(x=1, y=2, w=3, h=4))
        assert camera.status()["camera"] is None
