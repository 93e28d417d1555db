"""The loop: what is told to whom when cameras go, models hang, signals come and clocks jump."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from fake_service import Clock, FakeParts, FakeSignals, FakeSystemd

from edge_fer.errors import CameraAway, ConfigError, DataError, DeviceError, ModelError
from edge_fer.notify import Notify
from edge_fer.pacing import ActivityGate, Pacing
from edge_fer.service import Ended, Service
from edge_fer.state import SPARE, State
from edge_fer.status import Status

AWAY = CameraAway("The camera usb:cam is away: unplugged.", "Plug it in.")


class Bench:
    """A service on fakes, with a real socket and real files."""

    def __init__(self, folder: Path) -> None:
        self.clock = Clock()
        self.systemd = FakeSystemd(folder)
        self.signals = FakeSignals(self.clock)
        self.file, self.kept = folder / "status.json", folder / "state.json"
        self.wall = datetime(2026, 5, 4, 12, tzinfo=UTC)
        self.problems: list[str] = []
        self.parts = FakeParts(self.clock, ())

    def service(self, script: Iterable[Any], **options: Any) -> Service:
        self.parts.script = iter(script)
        self.notify = Notify(self.systemd.address, watchdog_s=20, clock=self.clock)
        chosen: dict[str, Any] = {"pacing": Pacing(live=False), **options}
        return Service(
            self.parts,
            signals=self.signals,
            notify=self.notify,
            status=Status(self.file, now=lambda: self.wall, clock=self.clock),
            state=State(self.kept),
            on_problem=self.problems.append,
            clock=self.clock,
            uptime=self.clock,
            **chosen,
        )

    def run(self, script: Iterable[Any], **options: Any) -> Ended:
        ended = self.service(script, **options).run()
        self.notify.close()
        return ended

    def status(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.file.read_text())
        return document

    def terminate(self) -> int:
        """A step during which SIGTERM comes."""
        self.signals.stopped_by = signal.SIGTERM
        return 0

    def hang_up(self) -> int:
        """A step during which SIGHUP comes."""
        self.signals.reload = True
        return 0


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.systemd.close()


def kinds(said: Iterable[str]) -> list[str]:
    """First words, without the watchdog and the line for people."""
    return [s.split("=")[0] for s in said if not s.startswith(("WATCHDOG", "STATUS"))]


def test_a_source_to_its_end(bench: Bench) -> None:
    seen = []
    ended = bench.run([1, 0, 2], on_observation=lambda parts, o: seen.append(o.frame))
    assert (ended.by, ended.frames, ended.faces, ended.error) == ("source", 3, 3, None)
    assert seen == [0, 1, 2]
    assert kinds(bench.systemd.read()) == ["READY", "STOPPING"]
    said = bench.status()
    assert (said["state"], said["ended"]) == ("stopping", "its source has ended")
    assert (said["frames"], said["faces"], said["observations"]) == (3, 3, 3)
    assert (said["latency_p50_ms"], said["restarts"]) == (50.0, 0)
    assert bench.parts.closed == 0  # whoever made it closes it


def test_ready_is_said_only_after_the_first_frame_went_through(bench: Bench) -> None:
    heard: list[list[str]] = []

    def step() -> int:
        heard.append(bench.systemd.read())
        return 0

    bench.run([step, step])
    assert "READY" not in kinds(heard[0])
    assert kinds(heard[1]) == ["READY"]


def test_a_signal_ends_it_after_the_step_in_progress(bench: Bench) -> None:
    ended = bench.run([0, bench.terminate, 0, 0])
    assert (ended.by, ended.signal, ended.frames) == ("signal", signal.SIGTERM, 2)
    assert bench.status()["ended"] == "told to, by SIGTERM"


def test_a_signal_ends_a_long_wait_between_frames(bench: Bench) -> None:
    bench.signals.on_wait = bench.terminate
    ended = bench.run([0, 0], pacing=Pacing(max_fps=0.01))
    assert (ended.by, ended.frames) == ("signal", 1)
    assert bench.signals.waits == [1.0]  # slices, so that watchdog and status go on


@pytest.mark.parametrize(
    "error", [DeviceError("full"), DataError("bad"), ModelError("broken"), ConfigError("no")]
)
def test_any_other_error_ends_it_and_keeps_its_exit_code(bench: Bench, error: Any) -> None:
    ended = bench.run([0, error, 0])
    assert (ended.by, ended.error, ended.frames) == ("error", error, 1)
    said = bench.status()
    assert (said["ended"], said["last_error"]["message"]) == (str(error), str(error))
    assert bench.problems == [str(error)]
    assert kinds(bench.systemd.read())[-1] == "STOPPING"


def test_a_fault_of_ours_is_raised_after_all_was_told(bench: Bench) -> None:
    with pytest.raises(ZeroDivisionError):
        bench.run([0, ZeroDivisionError()])
    bench.notify.close()
    assert bench.status()["state"] == "stopping"
    assert json.loads(bench.kept.read_text())["frames"] == 1


# The camera is away.


def test_a_camera_that_is_away_is_no_error(bench: Bench) -> None:
    phases = []

    def look() -> CameraAway:
        phases.append(bench.status()["state"])
        return AWAY

    ended = bench.run([0, 0, *[look] * 5, 1, 0])
    assert (ended.by, ended.frames, ended.away, ended.faces) == ("source", 4, 1, 1)
    assert phases[-1] == "camera_away"
    assert bench.problems[0] == str(AWAY)
    assert re.fullmatch(r"fake is back after [1-9][0-9.]* s\.", bench.problems[1])
    assert len(bench.problems) == 2
    said = bench.status()
    assert (said["camera_away"], said["last_error"]["message"]) == (1, str(AWAY))
    assert f"STATUS=camera away: {AWAY}" in bench.systemd.read()


def test_each_time_that_it_goes_is_told_once_and_another_reason_too(bench: Bench) -> None:
    other = CameraAway("The camera usb:cam is away: not permitted.")
    ended = bench.run([0, AWAY, AWAY, 0, AWAY, AWAY, other, other, 0])
    lost = [problem for problem in bench.problems if " is back after " not in problem]
    assert lost == [str(AWAY), str(AWAY), str(other)]
    assert len(bench.problems) == len(lost) + 2
    assert ended.away == 2


def test_a_camera_that_answers_at_once_that_it_is_away_does_not_spin(bench: Bench) -> None:
    class Hasty(FakeParts):
        def step(self) -> Any:
            before = self.clock.ns
            try:
                return super().step()
            finally:
                self.clock.ns = before + 1_000_000

    bench.parts = Hasty(bench.clock, ())
    began = bench.clock()
    bench.run([AWAY] * 50)
    assert (bench.clock() - began) / 1e9 >= 50 * 0.19


def test_without_a_camera_at_start_the_model_is_proved_first(bench: Bench) -> None:
    proved: list[list[str]] = []
    bench.parts.told["camera"] = {"state": "away"}
    bench.run([AWAY, AWAY, 0], prove=lambda: proved.append(bench.systemd.read()))
    assert len(proved) == 1
    assert kinds(proved[0]) == []
    assert petted(proved[0]) == 0
    assert kinds(bench.systemd.read()) == ["READY", "STOPPING"]


def test_a_model_that_fails_its_proof_is_never_ready(bench: Bench) -> None:
    def prove() -> None:
        raise ModelError("The model gives other outputs than its golden ones.")

    ended = bench.run([AWAY, AWAY], prove=prove)
    assert isinstance(ended.error, ModelError)
    assert kinds(bench.systemd.read()) == ["STOPPING"]


# The watchdog.


def petted(said: Iterable[str]) -> int:
    return sum(s == "WATCHDOG=1" for s in said)


def test_frames_pet_the_watchdog(bench: Bench) -> None:
    bench.run([0] * 1200)  # a minute
    assert petted(bench.systemd.read()) in (6, 7)


@pytest.mark.parametrize("pacing", [Pacing(live=False), Pacing(max_fps=0.1)])
def test_an_impatient_watchdog_is_petted_in_time(bench: Bench, pacing: Pacing) -> None:
    heard: list[int] = []
    bench.signals.on_wait = lambda: heard.append(bench.clock())
    service = bench.service([0] * 100, pacing=pacing)
    bench.notify.watchdog_s = 0.4
    impatient = Service(
        bench.parts,
        signals=bench.signals,
        notify=bench.notify,
        status=Status(clock=bench.clock),
        state=State(),
        pacing=pacing,
        clock=bench.clock,
        uptime=bench.clock,
    )
    assert service.parts is impatient.parts
    began = bench.clock()
    impatient.run()
    bench.notify.close()
    seconds = (bench.clock() - began) / 1e9
    # At least every 0.3 s: half the time, and up to a quarter later.
    assert petted(bench.systemd.read()) >= seconds / 0.31 - 1


def test_waiting_for_the_next_frame_on_purpose_pets_it(bench: Bench) -> None:
    bench.run([0] * 4, pacing=Pacing(max_fps=1 / 30))
    assert petted(bench.systemd.read()) >= 9


@pytest.mark.parametrize(("state", "least", "most"), [("away", 60, 61), ("stalled", 1, 3)])
def test_away_for_a_known_reason_pets_it_and_a_stalled_camera_does_not(
    bench: Bench, state: str, least: int, most: int
) -> None:
    bench.parts.told["camera"] = {"state": state}
    bench.run([0, *[AWAY] * 600])  # ten minutes
    assert least <= petted(bench.systemd.read()) <= most


@pytest.mark.parametrize("camera", [None, {}, {"state": "streaming"}, "usb"])
def test_a_camera_that_does_not_say_that_it_is_away_does_not_pet_it(
    bench: Bench, camera: Any
) -> None:
    bench.parts.told["camera"] = camera
    bench.run([0, *[AWAY] * 600])
    assert petted(bench.systemd.read()) <= 3


def test_a_step_that_hangs_does_not_pet_it(bench: Bench) -> None:
    heard: list[int] = []

    def hang() -> int:
        bench.systemd.read()
        for _ in range(100):
            bench.clock.pass_s(10)
            heard.append(petted(bench.systemd.read()))
        return 0

    bench.run([0, hang])
    assert sum(heard) == 0


# Reloading.


def test_new_settings_swap_the_parts(bench: Bench) -> None:
    other = FakeParts(bench.clock, [0, 0])
    given = []

    def reload(parts: Any) -> FakeParts:
        given.append((parts, bench.status()["state"]))
        parts.close()
        return other

    service = bench.service([0, bench.hang_up, 0, 0], reload=reload)
    ended = service.run()
    bench.notify.close()
    assert service.parts is other
    assert (bench.parts.steps, other.steps, ended.frames) == (2, 3, 4)
    assert [parts is bench.parts for parts, _ in given] == [True]
    said = bench.systemd.read()
    assert kinds(said) == ["READY", "RELOADING", "READY", "STOPPING"]
    micros = next(s for s in said if s.startswith("RELOADING")).split("MONOTONIC_USEC=")[1]
    assert 1_000_000_000 <= int(micros) <= bench.clock() // 1000


@pytest.mark.parametrize(
    "error", [ConfigError("fps = 'x' is no number."), ModelError("truncated"), OSError(28, "full")]
)
def test_settings_that_are_wrong_leave_the_old_ones(bench: Bench, error: Exception) -> None:
    def reload(parts: Any) -> Any:
        raise error

    ended = bench.run([0, bench.hang_up, 0, bench.hang_up, 0], reload=reload)
    assert (ended.by, ended.frames) == ("source", 5)
    assert kinds(bench.systemd.read()) == ["READY", *["RELOADING", "READY"] * 2, "STOPPING"]
    assert len(bench.problems) == 2  # the same twice, and told twice
    message = bench.status()["last_error"]["message"]
    assert message.startswith("The new settings are not used, the old ones stay: ")
    assert str(error) in message


def test_a_reload_before_the_first_frame_does_not_say_ready(bench: Bench) -> None:
    bench.signals.reload = True
    heard = []

    def step() -> int:
        heard.extend(kinds(bench.systemd.read()))
        return 0

    bench.run([step])
    assert heard == []


def test_reloads_that_come_while_one_is_made_are_one(bench: Bench) -> None:
    made = []

    def reload(parts: Any) -> Any:
        made.append(1)
        if len(made) == 1:
            bench.signals.reload = True  # and another two, but a flag has no number
        return parts

    bench.run([0, bench.hang_up, 0, 0], reload=reload)
    assert len(made) == 2


# Time, state, pace.


@pytest.mark.parametrize("year", [1970, 2076])
def test_a_jump_of_the_wall_clock_changes_nothing_but_what_is_shown(
    bench: Bench, year: int
) -> None:
    def jump() -> int:
        bench.wall = bench.wall.replace(year=year)
        return 0

    calm = bench.run([0] * 600)
    before, first = bench.status(), bench.systemd.read()
    bench.signals.stopped_by = None
    bench.parts.steps = 0
    jumped = bench.run([0] * 299 + [jump] + [0] * 300)
    after, second = bench.status(), bench.systemd.read()
    assert jumped == calm
    assert petted(first) == petted(second)
    assert after["wall_time"].startswith(str(year))
    for key in ("fps", "latency_p50_ms", "latency_p99_ms", "uptime_s", "frames"):
        assert after[key] == before[key], key
    if year == 1970:
        assert after["clock_ok"] is False


def test_counters_and_numbers_go_on_after_a_restart(bench: Bench) -> None:
    bench.run([1, 1], next_seq=lambda: bench.parts.steps)
    ended = bench.run([1], next_seq=lambda: 5007)
    said = bench.status()
    assert (ended.frames, said["frames"], said["restarts"]) == (1, 1, 1)
    assert said["total"]["frames"] == 3
    assert State(bench.kept).first_seq == 5007 + SPARE


def test_nobody_there_slows_the_loop_down(bench: Bench) -> None:
    pacing = Pacing(gate=ActivityGate(idle_fps=2, idle_after_s=5))
    began = bench.clock()
    bench.run([0] * 100 + [0] * 20 + [1] * 20, pacing=pacing)
    seconds = (bench.clock() - began) / 1e9
    assert 5 + 10 <= seconds < 20  # 100 at 20/s, 20 at 2/s, then 20 at 20/s again
    assert bench.status()["pacing"]["idle"] is False


def test_a_full_disk_is_said_once_and_survived(bench: Bench) -> None:
    bench.file = Path("/proc/no/status.json")
    bench.run([0] * 1000)
    assert len([p for p in bench.problems if "status.json was not written" in p]) == 1


def test_what_watches_costs_nothing_in_most_turns(bench: Bench) -> None:
    asked: list[int] = []
    told: Callable[[], dict[str, Any]] = bench.parts.status

    def status() -> dict[str, Any]:
        asked.append(1)
        return told()

    bench.parts.status = status  # type: ignore[method-assign]
    bench.parts.step_s = 0.001
    bench.run([0] * 10_000)  # ten seconds
    assert len(asked) <= 8
