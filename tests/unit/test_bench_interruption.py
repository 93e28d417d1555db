import os
import signal
import threading

import pytest

from edge_fer_bench.interruption import Interruption


def sent(number: int = signal.SIGINT) -> None:
    os.kill(os.getpid(), number)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_where_it_is_allowed_it_ends_things_at_once(number: int) -> None:
    with Interruption() as interruption:
        with pytest.raises(KeyboardInterrupt), interruption.allowed():
            sent(number)
        assert interruption.asked


def test_elsewhere_it_waits_for_the_next_place() -> None:
    reached = []
    with Interruption() as interruption:
        sent()
        reached.append("measured")
        with pytest.raises(KeyboardInterrupt), interruption.allowed():
            reached.append("never")
        reached.append("written")
    assert reached == ["measured", "written"]


def test_a_second_wish_is_obeyed_and_the_same_one_twice_is_not() -> None:
    clock = Clock()
    with Interruption(clock) as interruption:
        sent()
        sent(signal.SIGTERM)  # timeout(1) and a process group
        clock.now = 2.0
        with pytest.raises(KeyboardInterrupt):
            sent()
        assert interruption.asked


def test_afterwards_signals_do_what_they_did() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interruption():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before


def test_in_another_thread_it_changes_nothing() -> None:
    entered = []

    def work() -> None:
        with Interruption() as interruption, interruption.allowed():
            entered.append(interruption.asked)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert entered == [False]
