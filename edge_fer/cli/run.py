"""``edge-fer run``."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_fer.cli.console import Json, Quiet, Talk, Verbose, emit_json

if TYPE_CHECKING:
    from edge_fer.pipeline import Pipeline
    from edge_fer.tracking import Search
    from edge_fer.types import Observation

__all__ = ["run"]


def run(
    source: Annotated[
        str | None,
        typer.Option(help="A video, a folder, a picture, or synthetic; ?rotate=90&mirror=1."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="A shipped model, or a .tflite file.")] = None,
    detector: Annotated[
        str | None, typer.Option(help="face, haar, yunet or a model: haar?cascade=alt2.")
    ] = None,
    backend: Annotated[str | None, typer.Option(help="auto, litert or tflite-runtime.")] = None,
    threads: Annotated[int | None, typer.Option(help="CPU threads of one inference.")] = None,
    track: Annotated[
        bool | None,
        typer.Option("--track/--no-track", help="Follow faces from frame to frame, or not."),
    ] = None,
    detect_every: Annotated[
        int | None,
        typer.Option(help="Search the whole frame at least every so many frames."),
    ] = None,
    max_faces: Annotated[int | None, typer.Option(help="How many faces are followed.")] = None,
    sink: Annotated[
        list[str] | None, typer.Option(help="Where observations go, e.g. jsonl:out.jsonl.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file with these settings.")] = None,
    annotate: Annotated[
        Path | None, typer.Option(help="Write a video (.mp4) with boxes and labels drawn in.")
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run the pipeline on a source until it ends, or until SIGTERM or Ctrl-C.

    Settings come from edge_fer/defaults.toml, a --config file, EDGE_FER__* variables and these
    flags, each above the one before. No picture is stored unless --annotate asks for it.

    Example: edge-fer run --source visitors.mp4 --sink jsonl:out.jsonl
    """
    from edge_fer.assemble import build
    from edge_fer.config import load_settings
    from edge_fer.errors import ConfigError, DataError, Interrupted

    talk = Talk(quiet=quiet, verbose=verbose)
    settings = load_settings(
        config,
        {
            "source": source,
            "model": model,
            "detector": detector,
            "backend": backend,
            "threads": threads,
            "track": track,
            "track_interval": detect_every,
            "max_faces": max_faces,
            "sinks": tuple(sink) if sink else None,
        },
    )
    if json and "jsonl:-" in settings.sinks:
        raise ConfigError(
            "Both --json and the sink jsonl:- want stdout.", "Leave out one, or use jsonl:FILE."
        )
    talk.detail(f"settings: {settings!r}")
    ended: DataError | None = None
    with ExitStack() as stack:
        stop = stack.enter_context(_stop_signals())
        pipeline = build(settings, on_skip=talk.say)
        stack.callback(pipeline.close)
        talk.detail(f"{pipeline.classifier.model.path} on {pipeline.classifier.backend.name}")
        tally = _Tally()
        draw = stack.enter_context(_drawing(annotate))
        try:
            while not stop and (observation := pipeline.step()) is not None:
                tally.add(observation, pipeline.tracker.search if pipeline.tracker else None)
                draw(pipeline, observation)
                if not (settings.sinks or json or quiet):
                    _print(observation)
        except DataError as err:
            ended = err  # what came before the damage was emitted and is counted
    talk.say(tally.words())
    talk.detail(f"tracking: {'off' if tally.tracking is None else dict(tally.tracking)}")
    document = tally.to_json(settings.source, bool(stop))
    if ended is not None:
        raise ended
    if signal.SIGINT in stop:
        raise Interrupted("Stopped; what was seen until then is in the sinks.", document=document)
    if json:
        emit_json(document)


class _Tally:
    """Counts, for the last line and ``--json``."""

    def __init__(self) -> None:
        self.frames = self.faces = self.frames_with_faces = 0
        self.expressions: Counter[str] = Counter()
        self.tracking: Counter[str] | None = None
        self.started = monotonic()

    def add(self, observation: Observation, search: Search | None) -> None:
        self.frames += 1
        self.faces += len(observation.faces)
        self.frames_with_faces += bool(observation.faces)
        self.expressions.update(face.expression.label for face in observation.faces)
        if search is not None:
            if self.tracking is None:
                self.tracking = Counter(tracks=0, full_frames=0, regions=0, missed=0)
            # They are numbered from 0, and no number comes twice.
            numbers = (f.face.track for f in observation.faces if f.face.track is not None)
            self.tracking["tracks"] = max(self.tracking["tracks"], *(n + 1 for n in numbers), 0)
            self.tracking["full_frames"] += search.full_frame
            self.tracking["regions"] += search.regions
            self.tracking["missed"] += search.missed

    def words(self) -> str:
        most = ", ".join(f"{label} {n}" for label, n in self.expressions.most_common())
        return (
            f"{self.frames} frames, faces in {self.frames_with_faces}, "
            f"{self.frames / max(1e-9, monotonic() - self.started):.1f} frames/s"
            + (f" ({most})" if most else "")
        )

    def to_json(self, source: str, stopped: bool) -> dict[str, Any]:
        return {
            "schema": "edge-fer/run/1",
            "source": source,
            "frames": self.frames,
            "frames_with_faces": self.frames_with_faces,
            "faces": self.faces,
            "expressions": dict(sorted(self.expressions.items())),
            "tracking": None if self.tracking is None else dict(self.tracking),
            "ended_by": "signal" if stopped else "source",
        }


@contextmanager
def _stop_signals() -> Iterator[list[int]]:
    """A list that SIGTERM and SIGINT append to, so that a step always ends whole."""
    seen: list[int] = []
    before = {
        number: signal.signal(number, lambda got, _: seen.append(got))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield seen
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _drawing(path: Path | None) -> Iterator[Any]:
    """A function that adds the pipeline's frame to the annotated video, if there is one."""
    if path is None:
        yield lambda pipeline, observation: None
        return
    from edge_fer.annotate import AnnotatedVideo

    with AnnotatedVideo(path) as video:

        def add(pipeline: Pipeline, observation: Observation) -> None:
            if pipeline.frame is not None:
                video.add(pipeline.frame, ((f.face, f.expression) for f in observation.faces))

        yield add


def _print(observation: Observation) -> None:
    seen = ", ".join(
        f"{f.expression.label} {100 * max(f.expression.probabilities.values()):.0f} %"
        for f in observation.faces
    )
    typer.echo(f"{observation.frame:>6}  {seen or '-'}")
