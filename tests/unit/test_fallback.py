"""A preferred backend that is lost: nothing is lost with it, and it is taken back when well."""

from __future__ import annotations

import importlib.util
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from stub_delegate import build_stub, compiled_stand_in

from edge_fer.backends import open_backend
from edge_fer.backends.base import Array, TensorSpec
from edge_fer.backends.fake import FakeBackend
from edge_fer.backends.fallback import FallbackBackend
from edge_fer.backends.probe import Probe
from edge_fer.contract import TensorQuantisation
from edge_fer.errors import DeviceError, EdgeFerError, ModelError
from edge_fer.models import load

SCALE = TensorQuantisation(scale=0.5, zero_point=0)
SPEC = TensorSpec(name="in", shape=(1, 4), dtype=np.dtype(np.int8), quantisation=SCALE)
ABSENT = Probe(ok=False, reason="No Coral is plugged in.", remedy="Plug it in.", cause="no_device")
GENEROUS = 30.0


class Plug:
    """A device that can be pulled out and put in, and what was seen of it."""

    def __init__(self) -> None:
        self.there = True
        self.wrong = 0
        self.opened: list[FakeBackend] = []
        self.probes = 0

    def probe(self) -> Probe:
        self.probes += 1
        return Probe(ok=True) if self.there else ABSENT

    def open(self) -> FakeBackend:
        if not self.there:
            raise DeviceError("It cannot be opened.")
        made = FakeBackend(SPEC, [SPEC], self.answer)
        made.name = "preferred"
        self.opened.append(made)
        return made

    def answer(self, array: Array) -> tuple[Array, ...]:
        if not self.there:
            raise DeviceError("The device is gone.")
        return (np.clip(-1 - array.astype(int) + self.wrong, -128, 127).astype(np.int8),)


class Pauses:
    """Waits that end when the test says so; how long they should have been is kept."""

    def __init__(self) -> None:
        self.asked: list[float] = []
        self._begun = threading.Semaphore(0)
        self._ended = threading.Semaphore(0)

    def wait(self, stop: threading.Event, seconds: float) -> bool:
        self.asked.append(seconds)
        self._begun.release()
        while not self._ended.acquire(timeout=0.01):
            if stop.is_set():
                return True
        return stop.is_set()

    def until_next(self) -> None:
        assert self._begun.acquire(timeout=GENEROUS)

    def end(self) -> None:
        self._ended.release()


class Bench:
    """A fallback backend around a plug, with its waits and its clock in the test's hand."""

    def __init__(self, **changes: object) -> None:
        self.plug, self.pauses, self.now = Plug(), Pauses(), 0.0
        self.said: list[str] = []
        self.cpu = FakeBackend(SPEC, [SPEC], lambda array: ((-1 - array).astype(np.int8),))
        self.cpu.name = "cpu"
        self.changes = changes

    def start(self) -> FallbackBackend:
        self.backend = FallbackBackend(
            self.plug.open,
            self.cpu,
            probe=self.plug.probe,
            on_change=self.said.append,
            clock=lambda: self.now,
            wait=self.pauses.wait,
            **self.changes,  # type: ignore[arg-type]
        )
        return self.backend

    def run(self, value: int = 3) -> int:
        (out,) = self.backend.run(np.full((1, 4), value, np.int8))
        return int(out[0, 0])

    def back(self, wrong: int = 0) -> None:
        """Let the pause end, and run until the preferred one has taken over."""
        self.pauses.end()
        returns = self.backend.status()["returns"]
        deadline = threading.Event()
        for _ in range(int(GENEROUS * 100)):
            answer = self.run()
            if self.backend.status()["returns"] > returns:
                assert answer == -4 + wrong
                return
            assert answer == -4
            deadline.wait(0.01)
        pytest.fail("the preferred backend did not take over")


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    made.start()
    yield made
    made.backend.close()


def test_while_all_is_well_the_preferred_one_answers(bench: Bench) -> None:
    assert bench.run(3) == -4
    assert bench.backend.name == "preferred"
    assert bench.said == []
    assert bench.backend.status() == {
        "name": "preferred",
        "state": "preferred",
        "why": "",
        "since": 0.0,
        "falls": 0,
        "returns": 0,
    }


def test_lost_in_the_middle_every_call_is_answered_and_it_returns(bench: Bench) -> None:
    answers = [bench.run(n) for n in range(3)]
    bench.now, bench.plug.there = 100.0, False
    answers += [bench.run(n) for n in range(3, 6)]
    assert answers == [-1, -2, -3, -4, -5, -6]
    assert bench.said == ["The device is gone. Going on with cpu."]
    assert bench.backend.name == "cpu (fallback: The device is gone.)"
    bench.pauses.until_next()
    assert bench.plug.opened[0].closed  # on the thread, not in run()
    bench.now, bench.plug.there = 107.0, True
    assert bench.backend.status() == {
        "name": bench.backend.name,
        "state": "fallback",
        "why": "The device is gone.",
        "since": 7.0,
        "falls": 1,
        "returns": 0,
    }
    bench.back()
    status = bench.backend.status()
    assert (status["state"], status["falls"], status["returns"]) == ("preferred", 1, 1)
    assert bench.said[1:] == ["Back on preferred."]
    assert len(bench.plug.opened) == 2
    json.dumps(status)


def test_lost_for_good_the_pauses_grow_to_their_limit(bench: Bench) -> None:
    bench.plug.there = False
    bench.run()
    for _ in range(10):
        bench.pauses.until_next()
        bench.pauses.end()
        assert bench.run(5) == -6
    bench.pauses.until_next()
    assert bench.pauses.asked == [2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
    assert len(bench.said) == 1
    assert bench.backend.status()["why"] == "No Coral is plugged in."


def test_it_is_never_opened_before_the_probe_says_so(bench: Bench) -> None:
    bench.plug.there = False
    bench.run()
    bench.pauses.until_next()
    assert (bench.plug.probes, len(bench.plug.opened)) == (0, 1)
    bench.pauses.end()
    bench.pauses.until_next()
    assert (bench.plug.probes, len(bench.plug.opened)) == (1, 1)


def test_flapping_is_answered_with_longer_pauses_until_it_is_steady(bench: Bench) -> None:
    for _ in range(4):
        bench.plug.there = False
        bench.run()
        bench.pauses.until_next()
        bench.plug.there = True
        bench.back()
        bench.now += 10
    assert bench.pauses.asked == [2, 4, 8, 16]
    bench.now += 60
    bench.plug.there = False
    bench.run()
    bench.pauses.until_next()
    assert bench.pauses.asked[-1] == 2
    assert bench.backend.status()["falls"] == 5


def test_one_that_answers_wrongly_is_not_trusted(bench: Bench) -> None:
    bench.plug.there = False
    bench.run()
    bench.pauses.until_next()
    bench.plug.there, bench.plug.wrong = True, 50
    bench.pauses.end()
    bench.pauses.until_next()
    assert bench.run(5) == -6
    assert "answers wrongly" in bench.backend.status()["why"]
    assert bench.plug.opened[-1].closed
    bench.plug.wrong = 2  # within what another rounding explains
    bench.back(wrong=2)
    assert bench.run(5) == -4


def test_on_its_return_it_is_asked_for_the_last_real_answers(bench: Bench) -> None:
    bench.plug.there = False
    for value in (7, 8, 9, 10, 11, 12):
        bench.run(value)
    bench.pauses.until_next()
    asked: list[int] = []
    answer = bench.plug.answer

    def listening(array: Array) -> tuple[Array, ...]:
        asked.append(int(array[0, 0]))
        return answer(array)

    bench.plug.answer = listening  # type: ignore[method-assign]
    bench.plug.there = True
    bench.pauses.end()
    pause = threading.Event()
    for _ in range(int(GENEROUS * 100)):
        if len(asked) == 6:
            break
        pause.wait(0.01)
    assert asked[2:] == [9, 10, 11, 12]


def test_one_that_always_answers_alike_is_not_trusted() -> None:
    """The shipped classifiers say nearly the same of any noise: the questions must be better."""
    for name in ("expression", "expression-nano", "face"):
        real = open_backend("auto", load(name).flatbuffer)
        always = real.run(np.zeros(real.input.shape, np.int8))
        stuck = FakeBackend(real.input, real.outputs, lambda array, always=always: always)
        with pytest.raises(DeviceError, match="answers wrongly"):
            FallbackBackend(lambda stuck=stuck: stuck, real)


def test_wrong_from_the_start_it_is_an_error() -> None:
    bench = Bench()
    bench.plug.wrong = 50
    with pytest.raises(DeviceError, match="off by"):
        bench.start()
    assert bench.cpu.closed
    assert all(opened.closed for opened in bench.plug.opened)


def test_wrong_from_the_start_it_may_begin_on_the_fallback() -> None:
    bench = Bench(required=False)
    bench.plug.wrong = 50
    bench.start()
    assert bench.run(3) == -4
    assert bench.backend.status()["state"] == "fallback"
    assert "answers wrongly" in bench.backend.status()["why"]
    assert bench.said[0].endswith("Beginning with cpu.")
    bench.pauses.until_next()
    bench.plug.wrong = 0
    bench.back()
    bench.backend.close()


def test_a_preferred_model_of_another_shape_is_refused() -> None:
    bench = Bench()
    other = TensorSpec(name="in", shape=(1, 5), dtype=np.dtype(np.int8), quantisation=SCALE)
    made = FakeBackend(other, [SPEC], bench.plug.answer)
    with pytest.raises(ModelError, match="another"):
        FallbackBackend(lambda: made, bench.cpu)
    assert made.closed


def test_it_may_begin_on_the_fallback() -> None:
    bench = Bench(why="No Coral is plugged in.")
    bench.plug.there = False
    bench.start()
    assert bench.run(3) == -4
    assert bench.backend.name == "cpu (fallback: No Coral is plugged in.)"
    bench.pauses.until_next()
    bench.plug.there = True
    bench.back()
    assert bench.backend.status()["falls"] == 0
    bench.backend.close()


def test_an_input_that_does_not_fit_is_no_reason_to_fall(bench: Bench) -> None:
    with pytest.raises(ModelError, match="takes int8"):
        bench.backend.run(np.zeros((1, 4), np.float32))
    assert bench.backend.status()["falls"] == 0


def test_close_ends_the_thread_and_closes_all(bench: Bench) -> None:
    bench.plug.there = False
    bench.run()
    bench.pauses.until_next()
    bench.backend.close()
    bench.backend.close()
    assert bench.cpu.closed
    assert all(opened.closed for opened in bench.plug.opened)
    assert not [t for t in threading.enumerate() if t.name == "edge-fer-backend"]
    with pytest.raises(EdgeFerError, match="closed"):
        bench.run()


def test_what_a_probe_finds_after_close_is_closed_too() -> None:
    bench = Bench()
    probing, go = threading.Event(), threading.Event()
    first = bench.plug.probe

    def slow() -> Probe:
        probing.set()
        assert go.wait(GENEROUS)
        return first()

    bench.plug.probe = slow  # type: ignore[method-assign]
    bench.start()
    bench.plug.there = False
    bench.run()
    bench.pauses.until_next()
    bench.plug.there = True
    bench.pauses.end()
    assert probing.wait(GENEROUS)
    bench.backend.close()
    go.set()
    for thread in threading.enumerate():
        if thread.name == "edge-fer-backend":
            thread.join(GENEROUS)
    assert len(bench.plug.opened) == 2
    assert all(opened.closed for opened in bench.plug.opened)


def test_runs_are_answered_while_a_probe_hangs() -> None:
    bench = Bench()
    probing, go = threading.Event(), threading.Event()

    def hanging() -> Probe:
        probing.set()
        assert go.wait(GENEROUS)
        return ABSENT

    bench.plug.probe = hanging  # type: ignore[method-assign]
    bench.start()
    bench.plug.there = False
    bench.run()
    bench.pauses.until_next()
    bench.pauses.end()
    assert probing.wait(GENEROUS)
    assert [bench.run(n) for n in range(100)] == [-1 - n for n in range(100)]
    go.set()
    bench.pauses.until_next()
    bench.backend.close()


@pytest.mark.skipif(
    importlib.util.find_spec("ai_edge_litert") is None,
    reason="the stand-in for a compiled model is written with ai-edge-litert",
)
def test_a_real_delegate_that_is_pulled_out_and_put_in_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, lost = build_stub(tmp_path), tmp_path / "lost"
    monkeypatch.setenv("STUB_DELEGATE", "works")
    monkeypatch.setenv("STUB_DELEGATE_LOST", str(lost))
    model = load("expression")
    plain = open_backend("litert", model.flatbuffer)
    faces = np.random.default_rng(0).integers(-128, 128, (30, 1, 48, 48, 1)).astype(np.int8)
    expected = [plain.run(face)[0] for face in faces]
    said: list[str] = []
    backend = open_backend(
        "auto",
        model.flatbuffer,
        compiled=compiled_stand_in(model.flatbuffer),
        library=str(library),
        on_skip=said.append,
    )
    assert isinstance(backend, FallbackBackend)
    found = []
    for n, face in enumerate(faces):
        if n == 10:
            lost.touch()
        found.append(backend.run(face)[0])
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))
    assert backend.status()["state"] == "fallback"
    lost.unlink()
    pause = threading.Event()
    for _ in range(3000):
        assert np.array_equal(backend.run(faces[0])[0], expected[0])
        if backend.status()["state"] == "preferred":
            break
        pause.wait(0.01)
    assert backend.name.startswith("edgetpu")
    assert [text.split(".")[0] for text in said][-1].startswith("Back on edgetpu")
    assert len(said) == 2
    backend.close()
