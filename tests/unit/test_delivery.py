"""Queues, group commit, failures and the day's budget, with writers that block and fail."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from threading import Timer
from time import monotonic, sleep

import pytest

from edge_fer.aggregate import Aggregator
from edge_fer.errors import DeviceError
from edge_fer.records import AGGREGATE, Recorder
from edge_fer.sinks.budget import DAY_NS, DailyBudget
from edge_fer.sinks.delivery import Delivery
from edge_fer.sinks.fake import FakeWriter
from edge_fer.sinks.lane import Patience
from edge_fer.types import Observation

SOON = Patience(retry_s=0.01, longest_s=0.02, give_up_s=0.1)
FULL = DeviceError("The disk is full.", "Make room: df -h")


def observation(frame: int, t_ns: int | None = None) -> Observation:
    return Observation(
        frame=frame, t_ns=frame * 1000 if t_ns is None else t_ns, source="s", faces=()
    )


def until(true: Callable[[], bool]) -> None:
    give_up = monotonic() + 20
    while not true():
        assert monotonic() < give_up, "waited 20 s"
        sleep(0.002)


def seqs(writer: FakeWriter) -> list[int]:
    return [record.seq for record in writer.accepted]


@contextmanager
def closing(delivery: Delivery) -> Iterator[Delivery]:
    """Closed at the end, whether it has something to complain about or not."""
    try:
        yield delivery
    finally:
        with suppress(DeviceError, BrokenPipeError):
            delivery.close(0.5)


def of(*writers: FakeWriter, live: bool = True, **more: object) -> Delivery:
    return Delivery(Recorder("0" * 64), writers, live=live, **{"patience": SOON, **more})  # type: ignore[arg-type]


def test_a_writer_that_blocks_delays_nobody() -> None:
    slow, quick = FakeWriter("slow"), FakeWriter("quick")
    slow.open_gate.clear()
    with closing(of(slow, quick, queue=100, commit_interval_s=0)) as delivery:
        delivery.emit(observation(0))
        assert slow.entered.wait(20)
        # The gate is opened below, after all emits have returned: none of them waited for it.
        for frame in range(1, 300):
            delivery.emit(observation(frame))
            if frame % 50 == 0:
                until(lambda frame=frame: len(quick.accepted) == frame + 1)
        until(lambda: len(quick.accepted) == 300)
        blocked, other = delivery.status()["sinks"]
        assert (blocked["queued"], blocked["accepted"], blocked["dropped"]) == (100, 0, 200)
        assert (other["queued"], other["accepted"], other["dropped"]) == (0, 300, 0)
        slow.open_gate.set()
        delivery.close()
        assert seqs(quick) == list(range(300))
        # The one on its way, and the newest that fitted into the queue.
        assert seqs(slow) == [0, *range(201, 300)]
        assert (slow.closed, quick.closed) == (True, True)
        assert slow.syncs == len(slow.batches) > 1  # no commit window: each by itself


def test_what_is_on_its_way_is_never_dropped() -> None:
    slow = FakeWriter()
    slow.open_gate.clear()
    slow.write_error = FULL
    with closing(of(slow, queue=10)) as delivery:
        delivery.emit(observation(0))
        assert slow.entered.wait(20)
        for frame in range(1, 30):
            delivery.emit(observation(frame))
        slow.open_gate.set()  # it fails, and what it was given is given again
        until(lambda: delivery.status()["sinks"][0]["state"] == "failing")
        slow.write_error = None
        delivery.close()
    assert seqs(slow) == [0, *range(21, 30)]


def test_a_writer_that_fails_is_left_in_peace_for_a_while() -> None:
    writer = FakeWriter()
    writer.write_error = FULL
    with closing(of(writer, patience=Patience(retry_s=3600, longest_s=3600))) as delivery:
        delivery.emit(observation(0))
        until(lambda: delivery.status()["sinks"][0]["state"] == "failing")
        for frame in range(1, 50):
            delivery.emit(observation(frame))
        sleep(0.05)
        assert writer.attempts == 1
        writer.write_error = None
        delivery.close()  # does not wait an hour
    assert seqs(writer) == list(range(50))


def test_a_file_source_waits_for_room_and_loses_nothing() -> None:
    slow = FakeWriter()
    slow.open_gate.clear()
    with closing(of(slow, live=False, queue=8)) as delivery:
        for frame in range(8):
            delivery.emit(observation(frame))
        assert slow.entered.wait(20)
        # The queue is full: the next emit can only return after another thread has made room.
        timer = Timer(0.05, slow.open_gate.set)
        timer.start()
        for frame in range(8, 200):
            delivery.emit(observation(frame))
        timer.join()
        delivery.close()
    assert seqs(slow) == list(range(200))
    assert delivery.status()["sinks"][0]["dropped"] == 0


def test_a_file_source_ends_when_a_writer_keeps_failing() -> None:
    writer = FakeWriter("stick")
    writer.write_error = FULL
    with closing(of(writer, live=False, queue=4)) as delivery:
        for frame in range(4):
            delivery.emit(observation(frame))
        with pytest.raises(DeviceError, match=r"stick.*disk is full") as caught:
            delivery.emit(observation(4))
        assert (caught.value.exit_code, caught.value.remedy) == (4, "Make room: df -h")


def test_accepted_only_after_the_sync_of_the_window() -> None:
    writer, heard = FakeWriter("w"), []
    delivery = of(
        writer, commit_interval_s=3600, on_accepted=lambda name, seq: heard.append((name, seq))
    )
    for frame in range(10):
        delivery.emit(observation(frame))
    until(lambda: sum(writer.batches) == 10)
    assert (writer.accepted, heard, delivery.status()["sinks"][0]["accepted"]) == ([], [], 0)
    delivery.close()
    assert writer.syncs == 1
    assert heard == [("w", 9)]
    assert seqs(writer) == list(range(10))


def test_a_window_that_is_over_is_synced_without_a_new_record() -> None:
    writer = FakeWriter()
    with closing(of(writer, commit_interval_s=0.05)) as delivery:
        delivery.emit(observation(0))
        until(lambda: seqs(writer) == [0])


def test_unsynced_records_never_fill_the_queue() -> None:
    writer = FakeWriter()
    with closing(of(writer, live=False, queue=8, commit_interval_s=3600)) as delivery:
        for frame in range(100):
            delivery.emit(observation(frame))
        delivery.close()
    assert seqs(writer) == list(range(100))
    assert writer.syncs >= 100 // 8
    assert max(writer.batches) <= 2


def test_a_paced_writer_is_synced_as_it_says() -> None:
    class Paced(FakeWriter):
        commit_interval_s: float | None = 0.0

    writer = Paced()
    with closing(of(writer, commit_interval_s=3600)) as delivery:
        delivery.emit(observation(0))
        until(lambda: seqs(writer) == [0])


def test_what_failed_is_given_again_in_order() -> None:
    writer, other = FakeWriter("bad"), FakeWriter("good")
    writer.write_error = FULL
    with closing(of(writer, other, commit_interval_s=0)) as delivery:
        for frame in range(5):
            delivery.emit(observation(frame))
        until(lambda: delivery.status()["sinks"][0]["state"] == "failing")
        until(lambda: len(other.accepted) == 5)
        status = delivery.status()["sinks"][0]
        assert (status["last_error"], status["queued"]) == ("The disk is full.", 5)
        writer.write_error = None
        until(lambda: len(writer.accepted) == 5)
        assert delivery.status()["sinks"][0]["last_error"] is None
        delivery.close()
    assert seqs(writer) == list(range(5))


def test_what_a_failed_sync_lost_is_given_again() -> None:
    writer = FakeWriter()
    writer.sync_error = FULL
    with closing(of(writer, commit_interval_s=0)) as delivery:
        for frame in range(5):
            delivery.emit(observation(frame))
        until(lambda: len(writer.batches) > 3)
        assert writer.accepted == []
        writer.sync_error = None
        delivery.close()
    assert seqs(writer) == list(range(5))


def test_what_was_written_before_a_write_failed_is_synced() -> None:
    writer = FakeWriter()
    with closing(of(writer, commit_interval_s=3600)) as delivery:
        delivery.emit(observation(0))
        until(lambda: writer.batches == [1])
        writer.write_error = FULL
        delivery.emit(observation(1))
        until(lambda: seqs(writer) == [0])


def test_a_fault_in_one_writer_is_no_end_of_the_others() -> None:
    writer, other = FakeWriter("bad"), FakeWriter("good")
    writer.write_error = KeyError("x")
    with closing(of(writer, other, commit_interval_s=0)) as delivery:
        delivery.emit(observation(0))
        until(lambda: delivery.status()["sinks"][0]["last_error"] == "KeyError: 'x'")
        until(lambda: seqs(other) == [0])


def test_close_says_what_was_not_accepted_and_closes_all() -> None:
    bad, good = FakeWriter("bad"), FakeWriter("good")
    bad.write_error = FULL
    delivery = of(bad, good)
    for frame in range(7):
        delivery.emit(observation(frame))
    with pytest.raises(DeviceError, match=r"bad: 7 records were not accepted \(The disk") as caught:
        delivery.close(0.3)
    assert "good" not in caught.value.message
    assert caught.value.remedy == "Make room: df -h"
    assert seqs(good) == list(range(7))
    assert (bad.closed, good.closed) == (True, True)
    delivery.close()


def test_close_leaves_a_writer_that_never_answers() -> None:
    stuck, good = FakeWriter("stuck"), FakeWriter("good")
    stuck.open_gate.clear()
    delivery = of(stuck, good)
    delivery.emit(observation(0))
    assert stuck.entered.wait(20)
    with pytest.raises(DeviceError, match=r"stuck: 1 records were not accepted \(it did not"):
        delivery.close(0.1)
    assert seqs(good) == [0]
    assert not stuck.closed
    stuck.open_gate.set()
    until(lambda: stuck.closed)


def test_a_broken_pipe_reaches_the_next_emit_and_the_others_go_on() -> None:
    pipe, good = FakeWriter("pipe"), FakeWriter("good")
    pipe.write_error = BrokenPipeError(32, "Broken pipe")
    delivery = of(pipe, good)
    delivery.emit(observation(0))
    until(lambda: pipe.closed)
    with pytest.raises(BrokenPipeError) as caught:
        delivery.emit(observation(1))
    assert caught.value.errno == 32
    delivery.close()
    assert seqs(good) == [0, 1]
    assert delivery.status()["sinks"][0]["state"] == "ended"


def test_a_pipe_that_breaks_while_somebody_waits_for_room_is_told_once() -> None:
    pipe = FakeWriter("pipe")
    pipe.open_gate.clear()
    pipe.write_error = BrokenPipeError(32, "Broken pipe")
    delivery = of(pipe, live=False, queue=4)
    for frame in range(4):
        delivery.emit(observation(frame))
    timer = Timer(0.05, pipe.open_gate.set)
    timer.start()
    with pytest.raises(BrokenPipeError):
        delivery.emit(observation(4))
    timer.join()
    delivery.emit(observation(5))
    delivery.close()


def test_a_broken_pipe_reaches_close() -> None:
    pipe = FakeWriter("pipe")
    pipe.write_error = BrokenPipeError(32, "Broken pipe")
    delivery = of(pipe)
    delivery.emit(observation(0))
    with pytest.raises(BrokenPipeError):
        delivery.close()
    delivery.close()


def test_with_an_aggregator_no_observation_gets_out() -> None:
    recorder = Recorder("0" * 64)
    writers = [FakeWriter("a"), FakeWriter("b")]
    delivery = Delivery(
        recorder, writers, live=True, aggregate=Aggregator(recorder), commit_interval_s=3600
    )
    second = 1_000_000_000
    for frame in range(125):
        delivery.emit(observation(frame, frame * second))
    # Each minute is synced at once: nobody waits an hour for it.
    until(lambda: all(len(w.accepted) == 2 for w in writers))
    delivery.close()
    for writer in writers:
        assert [r.schema for r in writer.accepted] == [AGGREGATE] * 3
        assert [r.document["frames"] for r in writer.accepted] == [60, 60, 5]
        assert [r.document["partial"] for r in writer.accepted] == [False, False, True]


def test_thinned_on_disk_and_whole_elsewhere() -> None:
    now = [0]
    disk, screen, said = FakeWriter("disk", on_disk=True), FakeWriter("screen"), []
    delivery = of(
        disk,
        screen,
        commit_interval_s=0,
        clock=lambda: now[0],
        max_bytes_per_day=5000,
        warn=said.append,
    )
    # A frame every ten seconds, for hours: far too much.
    for frame in range(900):
        now[0] += 10_000_000_000
        delivery.emit(observation(frame))
        until(lambda frame=frame: len(screen.accepted) == frame + 1)
        until(lambda: delivery.status()["sinks"][0]["queued"] == 0)
    status = delivery.status()
    assert len(screen.accepted) == 900
    assert disk.bytes_written <= 5000 + 300
    assert status["thinning"] is True
    assert status["sinks"][0]["thinned"] == 900 - len(disk.accepted)
    assert status["sinks"][1]["thinned"] == 0
    assert len(said) == 2
    assert "will be reached after" in said[0]
    assert "one observation in a minute" in said[1]
    whole = [r.seq for r in disk.accepted]
    gaps = [after - before for before, after in pairwise(whole)]
    assert set(gaps) == {1, 6}  # first every frame, then one a minute
    assert gaps == sorted(gaps)
    now[0] = DAY_NS + 1
    delivery.emit(observation(900))
    delivery.close()
    assert disk.accepted[-1].document["frame"] == 900
    assert "every observation" in said[2]


def test_a_file_source_is_never_thinned() -> None:
    disk = FakeWriter(on_disk=True)
    delivery = of(disk, live=False, max_bytes_per_day=1000)
    for frame in range(200):
        delivery.emit(observation(frame))
        if frame == 100:
            until(lambda: disk.bytes_written > 1000)
    delivery.close()
    assert len(disk.accepted) == 200


def test_the_budget_warns_in_the_first_minute_only_where_it_would_not_do() -> None:
    said: list[str] = []
    budget = DailyBudget(50_000_000, now_ns=0, warn=said.append)
    # 500 bytes ten times a second: 432 MB a day.
    for tenth in range(1, 1000):
        assert budget.admits(tenth * 100_000_000, tenth * 500)
    assert len(said) == 1
    assert "432 MB a day" in said[0]
    assert "after 2.5 h" in said[0]
    said.clear()
    modest = DailyBudget(50_000_000, now_ns=0, warn=said.append)
    for second in range(1, 200):
        assert modest.admits(second * 1_000_000_000, second * 500)
    assert said == []


def test_bytes_per_day_is_a_rate() -> None:
    now = [0]
    disk = FakeWriter(on_disk=True)
    delivery = of(disk, commit_interval_s=0, clock=lambda: now[0])
    for frame in range(10):
        delivery.emit(observation(frame))
    delivery.close()
    now[0] = DAY_NS // 2
    assert delivery.status()["bytes_per_day"] == 2 * disk.bytes_written


def test_a_queue_has_a_least_size() -> None:
    with pytest.raises(ValueError, match="4 records"):
        of(FakeWriter(), queue=3)
