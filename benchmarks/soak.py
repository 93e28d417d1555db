"""Months of uptime in an hour: many frames through the loop of ``edge-fer run``, watched.

The generated scene, with faces coming and going, is a live camera here: it goes through the thread
and the mailbox of ``LiveCamera`` and the loop of ``Service``, with status and state files. Every
sink that needs no other machine is attached. The process's memory, the latency of a frame, drops
and open files are looked at in equal blocks. The first block warms up and is not judged.

Example: python benchmarks/soak.py --frames 200000
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event, Semaphore
from time import monotonic, sleep
from typing import Annotated, Any

import numpy as np
import typer

from edge_fer.assemble import build, next_seq
from edge_fer.cameras.live import LiveCamera
from edge_fer.cameras.orientation import UPRIGHT
from edge_fer.cameras.synthetic import SyntheticCamera
from edge_fer.cli.console import Talk
from edge_fer.config import load_settings
from edge_fer.notify import Notify
from edge_fer.pacing import ActivityGate, Pacing
from edge_fer.pipeline import Pipeline
from edge_fer.records import Recorder
from edge_fer.service import Service
from edge_fer.sinks.delivery import Delivery
from edge_fer.sinks.fake import FakeWriter
from edge_fer.state import State
from edge_fer.status import Status
from edge_fer.types import Frame, Image, Observation

_BLOCKS = 20
_SCENE = 200  # generated once and shown over and over: drawing it would take most of the time
_EMPTY_EVERY, _EMPTY = 50, 10  # of so many frames, so many show nobody: faces come and go


class Reel:
    """A camera that shows the same generated pictures for ever; its clock goes on.

    It waits until its last frame was taken: made faster than that, most would be dropped.

    Args:
        pictures: ``uint8[H, W, 3]`` BGR.
        frames: how many are shown.
    """

    def __init__(self, pictures: list[Image], frames: int) -> None:
        self._pictures, self._frames, self._shown = pictures, frames, 0
        self._nobody = np.full_like(pictures[0], 90)
        self._wanted, self._closed = Semaphore(), Event()

    def taken(self) -> None:
        """The last frame was taken: another one may come."""
        self._wanted.release()

    def let_go(self) -> None:
        """Whoever waits in ``read`` gets the end."""
        self._closed.set()
        self._wanted.release()

    def read(self) -> Frame | None:
        self._wanted.acquire()
        if self._shown == self._frames or self._closed.is_set():
            return None
        number = self._shown
        self._shown += 1
        away = number // _EMPTY_EVERY % 4 == 3 and number % _EMPTY_EVERY < _EMPTY
        picture = self._nobody if away else self._pictures[number % len(self._pictures)]
        return UPRIGHT.frame(picture, t_ns=number * 33_000_000, sequence=number, source="reel")

    def close(self) -> None:
        self.let_go()


class Watched(LiveCamera):
    """A live camera that tells its reel when a frame was taken out of the mailbox."""

    def __init__(self, reel: Reel) -> None:
        self._reel = reel
        super().__init__(lambda: reel, source="reel")

    def read(self) -> Frame | None:
        frame = super().read()
        self._reel.taken()
        return frame

    def close(self) -> None:
        self._reel.let_go()
        super().close()


class Nobody:
    """Sends no signals: a service ends with its source, or when ``stop`` is set."""

    stopped_by = None

    def __init__(self) -> None:
        self.stop = False

    def take_reload(self) -> bool:
        return False

    def wait(self, seconds: float) -> None:
        sleep(seconds)


def served(
    pipeline: Pipeline,
    reel: Reel,
    folder: Path,
    on_observation: Callable[[Observation], None],
    waiter: Nobody | None = None,
) -> None:
    """The loop of ``edge-fer run`` on a live camera, with status and state, to the reel's end."""
    pipeline.camera.close()
    pipeline.camera = Watched(reel)
    ended = Service(
        pipeline,
        signals=waiter or Nobody(),
        notify=Notify(),
        status=Status(folder / "status.json"),
        state=State(folder / "state.json"),
        pacing=Pacing(gate=ActivityGate(idle_fps=0.0)),
        on_observation=lambda parts, seen: on_observation(seen),
        next_seq=lambda: next_seq(pipeline),
    ).run()
    if ended.error is not None:
        raise ended.error


def scene(frames: int = _SCENE, faces: int = 2) -> list[Image]:
    """The first pictures of the generated scene."""
    camera = SyntheticCamera(faces=faces, frames=frames)
    pictures = []
    while (frame := camera.read()) is not None:
        if frame.colour is not None:
            pictures.append(frame.colour)
    return pictures


def resident_mb() -> float:
    """This process's resident memory now, MB of 2^20 bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Soak:
    """Says after each block of frames how the process is.

    Args:
        pipeline: what is run.
        frames: how many there will be.
        say: told of each block.
    """

    def __init__(
        self, pipeline: Pipeline, frames: int, say: Callable[[dict[str, Any]], None]
    ) -> None:
        self._pipeline, self._say = pipeline, say
        self._block = max(1, frames // _BLOCKS)
        self._frames, self._done, self._faces = frames, 0, 0
        self._spent: list[float] = []
        self.rows: list[dict[str, Any]] = []

    def add(self, seen: Observation) -> None:
        """One frame more."""
        self._spent.append(work_ms(seen))
        self._faces += len(seen.faces)
        self._done += 1
        if self._done % self._block and self._done != self._frames:
            return
        gc.collect()
        status = self._pipeline.status()
        row = {
            "frames": self._done,
            "faces": self._faces,
            "rss_mb": resident_mb(),
            "p50_ms": float(np.percentile(self._spent, 50)),
            "p99_ms": float(np.percentile(self._spent, 99)),
            "open_files": len(list(Path("/proc/self/fd").iterdir())),
            "camera": status["camera"],
            "sinks": status["sinks"],
        }
        self._spent = []
        self.rows.append(row)
        self._say(row)


def work_ms(seen: Observation) -> float:
    """Without the waiting for the camera."""
    return seen.timings_ms["total"] - seen.timings_ms["capture"]


def lost(row: dict[str, Any]) -> int:
    """Records that sinks had to drop."""
    return sum(sink["dropped"] for sink in row["sinks"])


def blocked(
    pipeline: Pipeline, pictures: list[Image], folder: Path, seconds: float, turns: int = 3
) -> dict[str, Any]:
    """What a sink that blocks does to the frames: so many seconds with it, so many without."""
    writer = FakeWriter("blocking")
    sha256 = pipeline.classifier.model.sha256
    delivery = Delivery(Recorder(sha256), [writer], live=True, queue=1_000_000)
    pipeline.sinks = (*pipeline.sinks, delivery)
    spent: dict[bool, list[float]] = {True: [], False: []}
    waiter, began = Nobody(), monotonic()

    def turn(seen: Observation) -> None:
        turns_done = int((monotonic() - began) / seconds)
        blocks = not writer.open_gate.is_set()
        spent[blocks].append(work_ms(seen))
        waiter.stop = turns_done >= 2 * turns
        (writer.open_gate.clear if turns_done % 2 == 1 else writer.open_gate.set)()

    served(pipeline, Reel(pictures, 10**9), folder, turn, waiter)
    writer.open_gate.set()
    delivery.close(60)
    free, held = (float(np.percentile(spent[key], 50)) for key in (False, True))
    return {
        "seconds": seconds,
        "frames": {"free": len(spent[False]), "blocked": len(spent[True])},
        "p50_ms": {"free": free, "blocked": held},
        "ratio": held / free,
        "dropped": delivery.status()["sinks"][0]["dropped"],
        "accepted": len(writer.accepted),
    }


def main(
    frames: Annotated[int, typer.Option(min=100, help="How many.")] = 200_000,
    block: Annotated[
        float, typer.Option(min=0, help="Then hold up a sink for so many seconds, thrice.")
    ] = 0,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where all of it goes.")] = None,
) -> None:
    """Print memory, latency and drops block by block, and how they drifted."""
    talk = Talk()
    pictures = scene()
    shown = sum(picture.nbytes for picture in pictures) / 2**20

    def say(row: dict[str, Any]) -> None:
        talk.say(
            f"{row['frames']:>9} {row['rss_mb'] - shown:>8.1f} {row['p50_ms']:>7.2f} "
            f"{row['p99_ms']:>7.2f} {row['open_files']:>5}  "
            f"{row['camera']['dropped']} frames, {lost(row)} records"
        )

    with TemporaryDirectory() as name:
        folder = Path(name)
        settings = load_settings(
            None,
            {
                # Live, for sinks that lose records rather than wait; the reel takes its place.
                "source": "synthetic?fps=30",
                "sinks": (f"jsonl:{name}/seen.jsonl?rotate=10MB&keep=2", f"sqlite:{name}/seen.db"),
                "max_mb_per_day": 1e6,  # hours pass in minutes here
            },
        )
        pipeline = build(settings)
        soak = Soak(pipeline, frames, say)
        talk.say(f"{'frames':>9} {'RSS MB':>8} {'p50 ms':>7} {'p99 ms':>7} {'files':>5}  dropped")
        served(pipeline, Reel(pictures, frames), folder, soak.add)
        held = blocked(pipeline, pictures, folder, block) if block else None
        pipeline.close()
    rows = soak.rows
    judged = rows[1:] or rows
    document = {
        "frames": frames,
        "rss_mb": judged[-1]["rss_mb"] - shown,
        "growth_mb": judged[-1]["rss_mb"] - judged[0]["rss_mb"],
        "p50_ratio": judged[-1]["p50_ms"] / judged[0]["p50_ms"],
        "dropped": lost(rows[-1]),
        "dropped_frames": rows[-1]["camera"]["dropped"],
        "blocked_sink": held,
        "blocks": rows,
    }
    typer.echo(
        f"{frames} frames: {document['rss_mb']:.1f} MB resident without the {shown:.0f} MB of "
        f"pictures shown, {document['growth_mb']:+.1f} MB from the first judged block to the last; "
        f"p50 there {document['p50_ratio']:.2f} times; {document['dropped_frames']} frames and "
        f"{document['dropped']} records dropped."
    )
    if held is not None:
        typer.echo(
            f"With a sink that blocks for {block:g} s, thrice, a frame takes {held['ratio']:.3f} "
            f"times as long (p50); {held['accepted']} records accepted afterwards, "
            f"{held['dropped']} dropped."
        )
    if json_file is not None:
        json_file.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
