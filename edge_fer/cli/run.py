"""``edge-fer run``."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edge_fer.cli.console import Json, Quiet, Talk, Verbose, emit_json

if TYPE_CHECKING:
    from edge_fer.cli.live import Screen
    from edge_fer.config import Settings
    from edge_fer.pipeline import Pipeline
    from edge_fer.service import Ended
    from edge_fer.signals import Signals
    from edge_fer.types import Observation

__all__ = ["run"]


def run(
    source: Annotated[
        str | None,
        typer.Option(
            help="picamera2:0, /dev/video0, usb:NAME, rtsp://..., a video, a folder, a picture, or "
            "synthetic; ?rotate=90&mirror=1."
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(help="A shipped model, or a .tflite file.")] = None,
    detector: Annotated[
        str | None, typer.Option(help="face, haar, yunet or a model: haar?cascade=alt2.")
    ] = None,
    backend: Annotated[
        str | None, typer.Option(help="auto, edgetpu, litert or tflite-runtime.")
    ] = None,
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
    smoothing: Annotated[
        str | None, typer.Option(help="Of expressions over time: hmm, ema or none.")
    ] = None,
    max_fps: Annotated[
        float | None, typer.Option(help="Frames per second at most, of a live source.")
    ] = None,
    sink: Annotated[
        list[str] | None,
        typer.Option(
            help="Where observations go: jsonl:FILE, sqlite:FILE, mqtt://BROKER, "
            "sse://127.0.0.1:PORT, jsonl:-; several at once."
        ),
    ] = None,
    aggregate: Annotated[
        str | None, typer.Option(help="1min: only counts per minute leave the process.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file with these settings.")] = None,
    annotate: Annotated[
        Path | None,
        typer.Option(help="Draw boxes and labels: a video (.mp4, .avi), or pictures in a folder."),
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
) -> None:
    """Run the pipeline on a source until it ends, or until SIGTERM or Ctrl-C.

    Settings come from edge_fer/defaults.toml, a --config file, EDGE_FER__* variables and these
    flags, each above the one before; SIGHUP reads them again. No picture is stored unless
    --annotate asks for it. `edge-fer status` says how a run with a status_file is.

    Example: edge-fer run --source visitors.mp4 --sink jsonl:out.jsonl

    Example: edge-fer run --source "/dev/video0?rotate=90" --sink sqlite:seen.db
    """
    from edge_fer.signals import Signals

    # From the first moment: a service may be told to end while it still starts.
    with Signals() as signals:
        flags = {
            "source": source,
            "model": model,
            "detector": detector,
            "backend": backend,
            "threads": threads,
            "track": track,
            "track_interval": detect_every,
            "max_faces": max_faces,
            "smoothing": smoothing,
            "max_fps": max_fps,
            "sinks": tuple(sink) if sink else None,
            "aggregate": aggregate,
        }
        talk = Talk(quiet=quiet, verbose=verbose)
        _run(signals, flags, config, annotate, talk, json=json)


def _run(
    signals: Signals,
    flags: dict[str, Any],
    config: Path | None,
    annotate: Path | None,
    talk: Talk,
    *,
    json: bool,
) -> None:
    from edge_fer.config import load_settings
    from edge_fer.errors import Interrupted
    from edge_fer.serving import serve

    settings = load_settings(config, flags)
    _sensible(settings, annotate, json=json)
    talk.detail(f"settings: {settings!r}")
    tally = _Tally()

    def again() -> Settings:
        found = load_settings(config, flags)
        _sensible(found, annotate, json=json)
        return found

    try:
        with _drawing(annotate, settings) as draw, _screen(settings, talk, json=json) as screen:

            def seen(pipeline: Pipeline, observation: Observation) -> None:
                tally.add(observation, pipeline)
                draw(pipeline, observation)
                screen.show(observation)

            def begin(pipeline: Pipeline) -> None:
                tally.started = monotonic()
                model = pipeline.classifier
                talk.detail(f"{model.model.path} on {model.backend.name}")

            ended = serve(
                settings,
                signals=signals,
                reread=again,
                on_observation=seen,
                on_begin=begin,
                say=screen.say,
            )
    finally:
        if tally.frames:
            talk.say(tally.words())
    talk.detail(f"tracking: {'off' if tally.tracking is None else dict(tally.tracking)}")
    document = tally.to_json(settings.source, ended)
    if ended.error is not None:
        raise ended.error
    if ended.signal is signal.SIGINT:
        raise Interrupted("Stopped; what was seen until then is in the sinks.", document=document)
    if json:
        emit_json(document)


def _sensible(settings: Settings, annotate: Path | None, *, json: bool) -> None:
    """Refuse what no one can mean."""
    from edge_fer.errors import ConfigError

    if json and _prints(settings):
        raise ConfigError(
            "Both --json and the sink jsonl:- want stdout.", "Leave out one, or use jsonl:FILE."
        )
    if annotate is not None and settings.aggregate:
        raise ConfigError(
            "With aggregate only counts leave the process, and --annotate draws faces.",
            "Leave out one of the two.",
        )
    source = Path(settings.source.partition("?")[0])
    files = [uri.partition(":")[2].partition("?")[0] for uri in settings.sinks]
    for target in (*([annotate] if annotate else []), *(Path(file) for file in files if file)):
        if source.is_file() and target.is_file() and target.samefile(source):
            raise ConfigError(f"{target} is the source; it would be overwritten.", "Name another.")


class _Tally:
    """Counts, for the last line and ``--json``."""

    def __init__(self) -> None:
        self.frames = self.faces = self.frames_with_faces = 0
        self.expressions: Counter[str] = Counter()
        self.tracking: Counter[str] | None = None
        self.started = monotonic()

    def add(self, observation: Observation, pipeline: Pipeline) -> None:
        self.frames += 1
        self.faces += len(observation.faces)
        self.frames_with_faces += bool(observation.faces)
        self.expressions.update(face.expression.label for face in observation.faces)
        if pipeline.tracker is not None:
            if self.tracking is None:
                self.tracking = Counter(tracks=0, full_frames=0, regions=0, missed=0)
            search = pipeline.tracker.search
            self.tracking["tracks"] = pipeline.tracker.next_id  # they are numbered from 0
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

    def to_json(self, source: str, ended: Ended) -> dict[str, Any]:
        from edge_fer.uri import redacted

        return {
            "schema": "edge-fer/run/1",
            "source": redacted(source),
            "frames": self.frames,
            "frames_with_faces": self.frames_with_faces,
            "faces": self.faces,
            "expressions": dict(sorted(self.expressions.items())),
            "tracking": None if self.tracking is None else dict(self.tracking),
            "camera_away": ended.away,
            "ended_by": ended.by,
        }


def _prints(settings: Settings) -> bool:
    """Whether a sink has standard output for itself."""
    return any(uri.startswith(("jsonl:-", "stdout")) for uri in settings.sinks)


def _screen(settings: Settings, talk: Talk, *, json: bool) -> AbstractContextManager[Screen]:
    """A live table on a terminal; else lines, unless the observations go elsewhere."""
    from edge_fer.cli.live import Lines, LiveTable, Nothing
    from edge_fer.uri import redacted

    console = talk.console()
    if settings.aggregate or talk.quiet or _prints(settings):
        return Nothing(talk.say)
    if console.is_terminal:
        return LiveTable(console, redacted(settings.source))
    return Nothing(talk.say) if settings.sinks or json else Lines(talk.say)


@contextmanager
def _drawing(path: Path | None, settings: Settings) -> Iterator[Any]:
    """A function that adds the pipeline's frame to what is drawn, where anything is."""
    if path is None:
        yield lambda pipeline, observation: None
        return
    from edge_fer.annotate import open_annotation

    source = Path(settings.source.partition("?")[0])
    with open_annotation(path, source=source) as drawing:

        def add(pipeline: Pipeline, observation: Observation) -> None:
            if pipeline.frame is not None:
                drawing.add(pipeline.frame, ((f.face, f.expression) for f in observation.faces))

        yield add
