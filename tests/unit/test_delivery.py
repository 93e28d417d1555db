"""Queues, group commit, failures and the day's budget, with writers that block and fail."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from threading import Timer
from time import monotonic, sleep

import pytest

from edge_fer.aggregate import Aggregator
from edge_fer.errors import DeviceError
from edge_fer.records import AGGREGATE, Recorder
from edge_fer.sinks.budget import DAY_NS, DailyBudget, sync_cost
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
        delivery.close(0.5)
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
    assert "would be reached after" in said[0]
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


SECOND = 1_000_000_000
MINUTE = 60 * SECOND


@pytest.mark.parametrize(
    ("before", "after", "blocks"),
    [
        (0, 0, 0),
        (5000, 5000, 0),
        (5000, 0, 0),  # emptied
        (0, 1, 3),  # its block, and two for the file system
        (4095, 4096, 3),
        (4096, 4097, 3),
        (4095, 4097, 4),
        (100, 20_000, 7),
    ],
)
def test_a_sync_costs_whole_blocks(before: int, after: int, blocks: int) -> None:
    assert sync_cost(before, after) == 4096 * blocks


def test_close_leaves_within_its_time_whatever_hangs() -> None:
    """A process has 5 s from SIGTERM to its end; each writer here hangs for ever."""

    class Hangs(FakeWriter):
        def close(self) -> None:
            self.open_gate.wait()
            super().close()

    in_write, in_close = FakeWriter("in write"), Hangs("in close")
    in_write.open_gate.clear()
    delivery = of(in_write, in_close)
    delivery.emit(observation(0))
    assert in_write.entered.wait(20)
    until(lambda: len(in_close.batches) == 1)
    in_close.open_gate.clear()
    began = monotonic()
    with pytest.raises(DeviceError, match="in write: 1 records") as caught:
        delivery.close()
    took = monotonic() - began
    # Less than it had is a promise; how much less depends on the machine.
    assert 3.4 < took < 4.5
    assert "in close" not in caught.value.message  # its record was accepted
    assert seqs(in_close) == [0]
    in_write.open_gate.set()
    in_close.open_gate.set()
    until(lambda: in_write.closed and in_close.closed)


def test_a_minute_gets_out_while_no_frame_comes() -> None:
    now, recorder = [5 * SECOND], Recorder("0" * 64)
    writer = FakeWriter()
    aggregate = Aggregator(recorder, clock=lambda: now[0])
    with closing(
        Delivery(recorder, [writer], live=True, aggregate=aggregate, clock=lambda: now[0])
    ) as delivery:
        for second in range(11):
            now[0] = (5 + second) * SECOND
            delivery.emit(observation(second, now[0]))
        assert writer.accepted == []
        now[0] += 52 * SECOND  # the camera stays away
        until(lambda: len(writer.accepted) == 1)  # by a thread that ticks, not by a frame
        document = writer.accepted[0].document
        assert (document["frames"], document["seconds"], document["partial"]) == (11, 10.0, True)
        now[0] += 3 * 3600 * SECOND
        delivery.emit(observation(11, now[0]))
        delivery.close()
    assert [r.document["frames"] for r in writer.accepted] == [11, 1]


def test_a_pipe_that_breaks_under_a_ticked_minute_is_told_to_whoever_emits() -> None:
    now, recorder = [0], Recorder("0" * 64)
    pipe = FakeWriter("pipe")
    pipe.write_error = BrokenPipeError(32, "Broken pipe")
    aggregate = Aggregator(recorder, clock=lambda: now[0])
    delivery = Delivery(
        recorder, [pipe], live=True, aggregate=aggregate, clock=lambda: now[0], patience=SOON
    )
    delivery.emit(observation(0, 0))
    now[0] = 70 * SECOND
    until(lambda: pipe.closed)
    delivery.aggregate.add(observation(1, now[0]))  # type: ignore[union-attr]
    now[0] += 70 * SECOND
    until(lambda: delivery.recorder.seq == 2)  # the next minute, offered by the thread
    with pytest.raises(BrokenPipeError):
        delivery.emit(observation(2, now[0]))
    delivery.close()


def test_what_a_day_has_used_outlives_the_delivery() -> None:
    now = [0]
    first = FakeWriter(on_disk=True)
    delivery = of(first, clock=lambda: now[0], max_bytes_per_day=100_000)
    for frame in range(20):
        delivery.emit(observation(frame))
    delivery.close()
    now[0] = DAY_NS // 2
    kept = json.loads(json.dumps(delivery.budget_state()))
    assert kept["used"] == first.bytes_written > 0
    now[0] += DAY_NS // 4  # a pause of six hours, in the same boot
    again = FakeWriter(on_disk=True)
    said: list[str] = []
    later = of(
        again, clock=lambda: now[0], max_bytes_per_day=kept["used"], budget=kept, warn=said.append
    )
    later.emit(observation(0))
    later.close()
    assert later.status()["thinning"] is True  # all of the bound was used by the one before
    assert later.budget_state()["passed_ns"] == 3 * DAY_NS // 4
    now[0] = DAY_NS
    assert later.budget_state()["used"] == 0


def test_after_a_reboot_the_day_goes_on_where_it_was() -> None:
    kept = {"used": 900, "passed_ns": DAY_NS // 2, "at_ns": 10**15, "boot_id": "another"}
    budget = DailyBudget(1000, now_ns=5, kept=kept)
    assert not budget.admits(6, 100)
    assert not budget.admits(5 + DAY_NS // 2 - 1, 100)
    assert budget.admits(5 + DAY_NS // 2, 100)


@pytest.mark.parametrize(
    "kept", [{}, {"used": "much"}, {"used": True}, {"used": -5}, {"passed_ns": 2**60, "used": None}]
)
def test_a_kept_budget_that_makes_no_sense_counts_for_nothing(kept: dict[str, object]) -> None:
    assert DailyBudget(1000, now_ns=0, kept=kept).kept(0, 0)["used"] == 0


def test_what_others_write_counts_too() -> None:
    others = [7]
    delivery = of(FakeWriter(), max_bytes_per_day=1000, also_written=lambda: others[0])
    others[0] += 1000
    assert delivery.budget_state()["used"] == 1000
    delivery.close()


class Costly(FakeWriter):
    """On a disk, where each sync costs two blocks."""

    def sync(self) -> None:
        self.bytes_written += 8192 if self.written else 0
        super().sync()


def test_commits_become_rarer_before_anything_is_thinned_and_come_back() -> None:
    now = [0]
    disk, screen = Costly("disk", on_disk=True), FakeWriter("screen")
    limit = 50_000_000
    delivery = of(disk, screen, clock=lambda: now[0], max_bytes_per_day=limit)

    def minute(size: int) -> tuple[float, float]:
        now[0] += MINUTE
        disk.bytes_written += size
        delivery.emit(observation(0))
        return tuple(sink["commit_s"] for sink in delivery.status()["sinks"])  # type: ignore[return-value]

    much, little = limit // 1000, limit // 10_000  # of a day's 1440 minutes
    with closing(delivery):
        assert minute(0) == (5, 5)
        assert [minute(much)[0] for _ in range(5)] == [10, 20, 40, 60, 60]
        assert delivery.status()["sinks"][0]["thinned"] == 0
        assert [minute(little)[0] for _ in range(20)] == [
            *[60] * 4, *[30] * 5, *[15] * 5, *[7.5] * 5, 5
        ]  # fmt: skip
        assert minute(much) == (10, 5)  # what is on no disk keeps its pace


def test_a_pace_that_the_address_names_is_kept() -> None:
    class Paced(FakeWriter):
        commit_interval_s: float | None = 7.0

    now = [0]
    disk = Paced(on_disk=True)
    with closing(of(disk, clock=lambda: now[0], max_bytes_per_day=1_000_000)) as delivery:
        for _ in range(5):
            now[0] += MINUTE
            disk.bytes_written += 10_000
            delivery.emit(observation(0))
        assert delivery.status()["sinks"][0]["commit_s"] == 7


def test_a_broker_that_was_away_once_is_not_thinned_for_ever() -> None:
    now = [0]
    disk, broker = FakeWriter("disk", on_disk=True), FakeWriter("broker")
    delivery = of(
        disk, broker, clock=lambda: now[0], commit_interval_s=0, max_bytes_per_day=300_000
    )
    with closing(delivery):
        delivery.emit(observation(0))
        broker.bytes_written = 4096  # spooled, and later delivered
        for frame in range(1, 20):
            now[0] += MINUTE
            delivery.emit(observation(frame))
        disk.bytes_written += 300_000  # the day's budget is used up
        for frame in range(20, 30):
            now[0] += SECOND
            delivery.emit(observation(frame))
        thinned = [sink["thinned"] for sink in delivery.status()["sinks"]]
        assert thinned == [10, 0]
        broker.bytes_written += 4096  # away again: it is on the disk now
        now[0] += SECOND
        delivery.emit(observation(30))
        assert delivery.status()["sinks"][1]["thinned"] == 1
