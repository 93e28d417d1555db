"""How soon the next frame is taken: gate, governor, and a model of a hot box."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from fake_service import Clock

from edge_fer.machine import Reading
from edge_fer.pacing import ActivityGate, Pacing, ThermalGovernor


def rates(
    pacing: Pacing,
    clock: Clock,
    seconds: float,
    *,
    camera_fps: float = 30.0,
    faces: Callable[[], int] = lambda: 0,
    on_frame: Callable[[], None] = lambda: None,
) -> float:
    """Run a loop on a camera's beat for a while; frames per second that were taken."""
    end, taken = clock.ns + int(seconds * 1e9), 0
    while clock.ns < end:
        wait_s = pacing.wait_s(clock())
        if wait_s > 0:
            clock.pass_s(wait_s)
            continue
        pacing.taken(clock())
        period = 1e9 / camera_fps
        clock.ns = int(math.ceil((clock.ns + 1) / period) * period)  # the next frame
        taken += 1
        pacing.seen(faces(), clock())
        on_frame()
    return taken / seconds


@pytest.mark.parametrize(("bound", "rate"), [(0, 30), (10, 10), (60, 30), (0.5, 0.5), (29, 29)])
def test_no_more_frames_than_allowed_and_hardly_fewer(bound: float, rate: float) -> None:
    assert rates(Pacing(max_fps=bound), Clock(), 60) == pytest.approx(rate, rel=0.1)


def test_a_long_pause_is_not_made_up_for() -> None:
    clock, pacing = Clock(), Pacing(max_fps=10)
    rates(pacing, clock, 10)
    clock.pass_s(3600)
    assert rates(pacing, clock, 1) <= 11


def test_nobody_there_slows_down_and_the_first_face_speeds_up_at_once() -> None:
    clock = Clock()
    pacing = Pacing(gate=ActivityGate(idle_fps=2, idle_after_s=10))
    assert rates(pacing, clock, 9.5) == pytest.approx(30, rel=0.05)
    rates(pacing, clock, 1)
    assert rates(pacing, clock, 20) == pytest.approx(2, abs=0.2)
    assert pacing.status(clock())["idle"] is True
    pacing.seen(1, clock())
    assert pacing.wait_s(clock()) == 0.0
    assert rates(pacing, clock, 9) == pytest.approx(30, rel=0.05)
    assert pacing.status(clock())["idle"] is False


def test_somebody_there_keeps_the_rate() -> None:
    pacing = Pacing(gate=ActivityGate(idle_fps=2, idle_after_s=10))
    assert rates(pacing, Clock(), 100, faces=lambda: 1) == pytest.approx(30, rel=0.05)


def test_a_gate_that_is_off_never_closes() -> None:
    pacing = Pacing(gate=ActivityGate(idle_fps=0))
    assert rates(pacing, Clock(), 100) == pytest.approx(30, rel=0.05)


def test_files_are_not_paced() -> None:
    looks = []

    def look() -> Reading:
        looks.append(1)
        return Reading(celsius=99.0, throttled=0xF)

    pacing = Pacing(
        max_fps=1,
        gate=ActivityGate(idle_fps=1, idle_after_s=0),
        governor=ThermalGovernor(look=look),
        live=False,
    )
    assert rates(pacing, Clock(), 10) == pytest.approx(30, rel=0.05)
    assert looks == []
    assert pacing.status(0)["live"] is False


class Box:
    """A box whose processor warms with every frame: degrees above ambient follow the rate."""

    def __init__(self, clock: Clock, ambient: float, per_fps: float) -> None:
        self.clock, self.ambient, self.per_fps = clock, ambient, per_fps
        self.celsius, self.throttled = ambient, 0
        self._last_ns, self._frames = clock(), 0
        self.hottest = 0.0

    def frame(self) -> None:
        self._frames += 1

    def look(self) -> Reading:
        elapsed = (self.clock() - self._last_ns) / 1e9
        if elapsed > 0:
            target = self.ambient + self.per_fps * self._frames / elapsed
            # Two minutes to warm up: a Pi with a small heat sink in a closed case.
            self.celsius += (target - self.celsius) * (1 - math.exp(-elapsed / 120))
            self._last_ns, self._frames = self.clock(), 0
        self.hottest = max(self.hottest, self.celsius)
        return Reading(celsius=self.celsius, throttled=self.throttled)


def governed(ambient: float, per_fps: float) -> tuple[Clock, Box, Pacing]:
    clock = Clock()
    box = Box(clock, ambient, per_fps)
    return clock, box, Pacing(governor=ThermalGovernor(look=box.look, max_celsius=75))


def test_a_cool_box_is_left_alone() -> None:
    clock, box, pacing = governed(30, 1.0)
    assert rates(pacing, clock, 1800, on_frame=box.frame) == pytest.approx(30, rel=0.02)
    assert pacing.status(clock())["governor"]["words"] == "full rate"


def test_a_hot_box_settles_below_the_firmwares_limit() -> None:
    # At the full 30 frames a second it would come to 100 degrees; 75 allow 17.5.
    clock, box, pacing = governed(40, 2.0)
    rates(pacing, clock, 900, on_frame=box.frame)
    assert box.hottest < 80
    box.hottest = 0.0
    settled = [rates(pacing, clock, 60, on_frame=box.frame) for _ in range(30)]
    assert box.hottest < 77
    assert 12 < sum(settled) / 30 < 18.5  # most of what the heat allows is used
    assert max(settled) - min(settled) < 6  # and it does not swing
    assert "slowed down" in pacing.status(clock())["governor"]["words"]
    # The sun goes down: all of it comes back.
    box.ambient = 10
    rates(pacing, clock, 1800, on_frame=box.frame)
    assert rates(pacing, clock, 60, on_frame=box.frame) == pytest.approx(30, rel=0.05)
    assert pacing.status(clock())["governor"]["allowed_fps"] is None


def test_a_box_that_is_hot_whatever_we_do_gets_the_floor_and_no_less() -> None:
    clock, box, pacing = governed(90, 1.0)
    rates(pacing, clock, 900, on_frame=box.frame)
    assert rates(pacing, clock, 60, on_frame=box.frame) == pytest.approx(1, rel=0.1)


@pytest.mark.parametrize(
    ("celsius", "bits", "halved"),
    [
        (60.0, 0x4, True),
        (60.0, 0x2, True),
        (None, 0x4, True),
        (None, 0x8, True),
        (73.0, 0x8, True),
        (61.0, 0x8, False),  # a Pi 3B+'s soft limit of 60 degrees
        (60.0, 0x1, False),  # a weak power supply is another matter
        (60.0, 0xF0000, False),  # over again
    ],
)
def test_throttle_bits_halve_the_rate_at_once(
    celsius: float | None, bits: int, halved: bool
) -> None:
    reading = Reading(celsius=50.0, throttled=0)
    clock = Clock()
    pacing = Pacing(governor=ThermalGovernor(look=lambda: reading))
    rates(pacing, clock, 20)
    reading = Reading(celsius=celsius, throttled=bits)
    rates(pacing, clock, 5.1)
    assert rates(pacing, clock, 10) == pytest.approx(15 if halved else 30, rel=0.1)


def test_without_a_sensor_nothing_is_done_and_that_is_said() -> None:
    clock = Clock()
    governor = ThermalGovernor(look=lambda: Reading(celsius=None, throttled=None))
    pacing = Pacing(governor=governor)
    assert rates(pacing, clock, 60) == pytest.approx(30, rel=0.02)
    assert pacing.status(clock())["governor"] == {
        "max_celsius": 75.0,
        "allowed_fps": None,
        "words": "off: this machine tells neither temperature nor throttling",
    }


def test_the_sensor_is_read_every_few_seconds_only() -> None:
    looks = []

    def look() -> Reading:
        looks.append(1)
        return Reading(celsius=50.0, throttled=0)

    rates(Pacing(governor=ThermalGovernor(look=look, every_s=5)), Clock(), 60)
    assert len(looks) == 12


def test_a_box_that_is_throttled_from_the_start_is_slowed_down_from_the_start() -> None:
    clock = Clock()
    hot = Reading(celsius=82.0, throttled=0x4)
    pacing = Pacing(governor=ThermalGovernor(look=lambda: hot))
    rates(pacing, clock, 6)
    assert rates(pacing, clock, 4) == pytest.approx(15, rel=0.1)
