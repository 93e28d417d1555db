"""Can the benchmark be trusted? The same thing measured twice, and what measuring costs.

* Two runs of the same pipeline, interleaved in blocks: how far their medians are apart.
* Two whole ``edge-fer benchmark --data`` of the same model: whether their verdicts are the same.
* The protocol's loop against a plain one, both over a pipeline that has its answer ready: what
  keeping the times of a frame adds to it; and what watching the machine takes of a core.
* The stages of all frames against their totals: what no stage accounts for.

Example: python benchmarks/trust.py --data fer2013.npz
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from time import perf_counter_ns
from typing import Annotated, Any

import numpy as np
import typer

from edge_fer.assemble import build, open_camera
from edge_fer.cli.console import Talk
from edge_fer.config import Settings, load_settings
from edge_fer.files import write_text
from edge_fer.pipeline import STAGES, Pipeline
from edge_fer.types import Observation
from edge_fer_bench.machine.watch import Watch
from edge_fer_bench.timing.protocol import Protocol, timed
from edge_fer_bench.timing.source import Source

_BLOCK = Protocol(seconds=0.0, min_frames=100, p99_frames=0)
_WATCHED_S = 15.0
_READY_FRAMES, _READY_ROUNDS = 2000, 21
_BENCHMARK = (sys.executable, "-c", "from edge_fer.cli import main; main()", "benchmark")


def opened(settings: Settings) -> tuple[Pipeline, Source]:
    """The pipeline of ``edge-fer run``."""
    pipeline = build(settings)
    return pipeline, Source.of(pipeline, settings.source, open_camera)


class Ready:
    """Has seen its frame already: a pipeline whose step takes no time.

    Args:
        pipeline: takes the one frame.
    """

    def __init__(self, pipeline: Pipeline) -> None:
        self._seen = pipeline.step()
        self.frame = pipeline.frame

    def step(self) -> Observation | None:
        return self._seen


def keeping_ms(ready: Ready, source: Source) -> float:
    """What the protocol's loop does for a frame beside the pipeline's step."""
    rules = Protocol(seconds=0.0, min_frames=_READY_FRAMES, p99_frames=0)
    began = perf_counter_ns()
    timed(ready, source, rules)  # type: ignore[arg-type]
    between = perf_counter_ns()
    for _ in range(_READY_FRAMES):
        ready.step()
    ended = perf_counter_ns()
    return (2 * between - began - ended) / 1e6 / _READY_FRAMES


def interleaved(settings: Settings, rounds: int, talk: Talk) -> dict[str, Any]:
    """All that is measured in this process."""
    first, first_source = opened(settings)
    second, second_source = opened(settings)
    totals: dict[str, list[float]] = {"first": [], "second": []}
    unaccounted = []
    try:
        for pipeline, source in ((first, first_source), (second, second_source)):
            timed(pipeline, source, _BLOCK)
        keeping = [keeping_ms(Ready(first), first_source) for _ in range(_READY_ROUNDS)]
        with talk.progress() as bar:
            for turn in bar.track(range(rounds), description="blocks in turns"):
                order = [("first", first, first_source), ("second", second, second_source)]
                for name, pipeline, source in order if turn % 2 else order[::-1]:
                    samples = timed(pipeline, source, _BLOCK).samples
                    totals[name] += samples.total_ms.tolist()
                    stages = [np.nansum(samples.stage(s)) for s in STAGES if s != "total"]
                    unaccounted.append(1 - sum(stages) / samples.total_ms.sum())
        with Watch() as watch:
            run = timed(first, first_source, Protocol(seconds=_WATCHED_S, p99_frames=0))
        state = watch.state(seconds=run.seconds, frames=run.frames)
    finally:
        first.close()
        second.close()
    p50 = {name: float(np.median(each)) for name, each in totals.items()}
    return {
        "frames": len(totals["first"]),
        "p50_ms": p50,
        "p50_ratio": p50["second"] / p50["first"],
        "keeping_ms": float(np.median(keeping)),
        "keeping_share": float(np.median(keeping)) / p50["first"],
        "watching_share_of_a_core": state.cost_share,
        "stages_below_total": float(np.median(unaccounted)),
    }


def verdicts(data: Path, talk: Talk) -> list[str]:
    """The verdicts of two whole benchmarks of the same model."""
    found = []
    for turn in (1, 2):
        talk.say(f"whole benchmark {turn} of 2")
        command = [*_BENCHMARK, "--seconds", "5", "--json", "--data", str(data)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
        document = json.loads(done.stdout)
        found.append(f"{document['accuracy']['verdict']}, bounded by {document['bound']}")
    return found


def main(
    data: Annotated[Path | None, typer.Option(help="FER2013: also compare two verdicts.")] = None,
    source: Annotated[str, typer.Option(help="As for edge-fer benchmark.")] = "synthetic",
    rounds: Annotated[int, typer.Option(min=3, help="Blocks of 100 frames.")] = 120,
    json_file: Annotated[Path | None, typer.Option("--json", help="Where all of it goes.")] = None,
) -> None:
    """Measure the benchmark, and print how far it can be trusted on this machine."""
    talk = Talk()
    settings = load_settings(None, {"source": source}, usual_files=False)
    found = interleaved(settings, rounds, talk)
    found["verdicts"] = verdicts(data, talk) if data else None
    if json_file is not None:
        write_text(json_file, json.dumps(found, indent=1) + "\n")
    typer.echo(
        f"two runs in turns, {found['frames']:,} frames each: p50 "
        f"{found['p50_ms']['first']:.2f} and {found['p50_ms']['second']:.2f} ms, ratio "
        f"{found['p50_ratio']:.3f}\n"
        f"keeping its times adds {1000 * found['keeping_ms']:.1f} us to a frame, "
        f"{100 * found['keeping_share']:.2f} %; watching the machine takes "
        f"{100 * found['watching_share_of_a_core']:.2f} % of a core\n"
        f"the stages add up to {100 * (1 - found['stages_below_total']):.2f} % of the total"
    )
    if found["verdicts"]:
        typer.echo(f"verdicts: {' / '.join(found['verdicts'])}")


if __name__ == "__main__":
    typer.run(main)
