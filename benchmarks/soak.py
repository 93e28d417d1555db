"""Months of uptime in an hour: many frames through the pipeline of ``edge-fer run``, watched.

The source is the generated scene with faces coming and going, every sink that needs no other
machine is attached, and the process's memory, the latency of a frame, drops and open files are
looked at in equal blocks. The first block warms up and is not judged.

Example: python benchmarks/soak.py --frames 200000
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic, perf_counter_ns
from typing import Annotated, Any

import numpy as np
import typer

from edge_fer.assemble import build
from edge_fer.cameras.orientation import UPRIGHT
from edge_fer.cameras.synthetic import SyntheticCamera
from edge_fer.cli.console import Talk
from edge_fer.config import load_settings
from edge_fer.pipeline import Pipeline
from edge_fer.records import Recorder
from edge_fer.sinks.delivery import Delivery
from edge_fer.sinks.fake import FakeWriter
from edge_fer.types import Frame, Image

_BLOCKS = 20
_SCENE = 200  # generated once and shown over and over: drawing it would take most of the time
_EMPTY_EVERY, _EMPTY = 50, 10  # of so many frames, so many show nobody: faces come and go


class Reel:
    """A camera that shows the same generated pictures for ever; its clock goes on.

    Args:
        pictures: ``uint8[H, W, 3]`` BGR.
        frames: how many are shown.
    """

    def __init__(self, pictures: list[Image], frames: int) -> None:
        self._pictures, self._frames, self._shown = pictures, frames, 0
        self._nobody = np.full_like(pictures[0], 90)

    def read(self) -> Frame | None:
        if self._shown == self._frames:
            return None
        number = self._shown
        self._shown += 1
        away = number // _EMPTY_EVERY % 4 == 3 and number % _EMPTY_EVERY < _EMPTY
        picture = self._nobody if away else self._pictures[number % len(self._pictures)]
        return UPRIGHT.frame(picture, t_ns=number * 33_000_000, sequence=number, source="reel")

    def close(self) -> None:
        self._shown = self._frames


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


def soaked(pipeline: Pipeline, frames: int, blocks: int = _BLOCKS) -> Iterator[dict[str, Any]]:
    """Run it, and say after each block how it is."""
    spent: list[float] = []
    faces = done = 0
    while True:
        began = perf_counter_ns()
        observation = pipeline.step()
        if observation is not None:
            spent.append((perf_counter_ns() - began) / 1e6)
            faces += len(observation.faces)
            done += 1
        if spent and (observation is None or done % max(1, frames // blocks) == 0):
            gc.collect()
            yield {
                "frames": done,
                "faces": faces,
                "rss_mb": resident_mb(),
                "p50_ms": float(np.percentile(spent, 50)),
                "p99_ms": float(np.percentile(spent, 99)),
                "open_files": len(list(Path("/proc/self/fd").iterdir())),
                "sinks": pipeline.status()["sinks"],
            }
            spent = []
        if observation is None:
            return


def blocked(pipeline: Pipeline, seconds: float, turns: int = 3) -> dict[str, Any]:
    """What a sink that blocks does to the frames: so many seconds with it, so many without."""
    writer = FakeWriter("blocking")
    sha256 = pipeline.classifier.model.sha256
    delivery = Delivery(Recorder(sha256), [writer], live=True, queue=1_000_000)
    pipeline.sinks = (*pipeline.sinks, delivery)
    spent: dict[bool, list[float]] = {True: [], False: []}
    for turn in range(2 * turns):
        blocks = turn % 2 == 1
        (writer.open_gate.clear if blocks else writer.open_gate.set)()
        until = monotonic() + seconds
        while monotonic() < until:
            began = perf_counter_ns()
            if pipeline.step() is None:
                break
            spent[blocks].append((perf_counter_ns() - began) / 1e6)
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
    talk, rows = Talk(), []
    pictures = scene()
    shown = sum(picture.nbytes for picture in pictures) / 2**20
    with TemporaryDirectory() as folder:
        sinks = (f"jsonl:{folder}/seen.jsonl?rotate=10MB&keep=2", f"sqlite:{folder}/seen.db")
        pipeline = build(load_settings(None, {"source": "synthetic", "sinks": sinks}))
        pipeline.camera.close()
        pipeline.camera = Reel(pictures, frames)
        talk.say(f"{'frames':>9} {'RSS MB':>8} {'p50 ms':>7} {'p99 ms':>7} {'files':>5}  dropped")
        for row in soaked(pipeline, frames):
            rows.append(row)
            dropped = sum(sink["dropped"] for sink in row["sinks"])
            talk.say(
                f"{row['frames']:>9} {row['rss_mb'] - shown:>8.1f} {row['p50_ms']:>7.2f} "
                f"{row['p99_ms']:>7.2f} {row['open_files']:>5}  {dropped}"
            )
        held = None
        if block:
            pipeline.camera = Reel(pictures, 10**9)
            held = blocked(pipeline, block)
        pipeline.close()
    judged = rows[1:] or rows
    document = {
        "frames": frames,
        "rss_mb": judged[-1]["rss_mb"] - shown,
        "growth_mb": judged[-1]["rss_mb"] - judged[0]["rss_mb"],
        "p50_ratio": judged[-1]["p50_ms"] / judged[0]["p50_ms"],
        "dropped": sum(sink["dropped"] for sink in rows[-1]["sinks"]),
        "blocked_sink": held,
        "blocks": rows,
    }
    typer.echo(
        f"{frames} frames: {document['rss_mb']:.1f} MB resident without the {shown:.0f} MB of "
        f"pictures shown, {document['growth_mb']:+.1f} MB from the first judged block to the last; "
        f"p50 there {document['p50_ratio']:.2f} times; {document['dropped']} records dropped."
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
