"""Signals to this process itself: flags, waking, and what was there before."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable

import pytest

from edge_fer.signals import Signals


def until(true: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.005)
    return False


def me(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_wish_for_the_end_is_a_flag_and_ends_a_wait(number: signal.Signals) -> None:
    with Signals() as signals:
        assert not signals.stop
        threading.Timer(0.05, me, [number]).start()
        began = time.monotonic()
        signals.wait(60)
        assert time.monotonic() - began < 30
        assert until(lambda: signals.stop)
        assert signals.stopped_by is number
        signals.wait(60)  # does not wait any more
        assert time.monotonic() - began < 30


def test_new_settings_are_asked_for_once_however_often() -> None:
    with Signals() as signals:
        for _ in range(10):
            me(signal.SIGHUP)
        assert until(signals.take_reload)
        time.sleep(0.05)
        signals.take_reload()
        assert not signals.take_reload()
        assert not signals.stop


def test_what_was_there_before_is_there_again() -> None:
    def mine(number: int, frame: object) -> None: ...

    before = signal.signal(signal.SIGHUP, mine)
    try:
        threads = threading.active_count()
        for _ in range(3):
            with Signals():
                assert signal.getsignal(signal.SIGHUP) is not mine
        assert signal.getsignal(signal.SIGHUP) is mine
        assert signal.set_wakeup_fd(-1) == -1
        assert threading.active_count() == threads
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_end_that_takes_too_long_is_given_up(capfd: pytest.CaptureFixture[str]) -> None:
    codes: list[int] = []
    with Signals(grace_s=0.1, give_up=codes.append):
        me(signal.SIGTERM)
        assert until(lambda: codes == [7])
    assert "did not end within 0.1 s" in capfd.readouterr().err


def test_an_end_in_time_is_not(capfd: pytest.CaptureFixture[str]) -> None:
    codes: list[int] = []
    with Signals(grace_s=20, give_up=codes.append):
        me(signal.SIGTERM)
        me(signal.SIGTERM)  # the same wish, delivered twice
    assert codes == []
    assert capfd.readouterr().err == ""


def test_other_signals_pass_by() -> None:
    before = signal.signal(signal.SIGUSR1, lambda number, frame: None)
    try:
        with Signals() as signals:
            me(signal.SIGUSR1)
            me(signal.SIGHUP)
            assert until(signals.take_reload)
            assert not signals.stop
    finally:
        signal.signal(signal.SIGUSR1, before)
