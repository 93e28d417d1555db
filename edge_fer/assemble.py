"""Configuration to parts: the one place that picks camera, detector, model and sinks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from socket import gethostname
from typing import Any

from edge_fer.aggregate import Aggregator
from edge_fer.backends import open_backend
from edge_fer.backends.compiled import compiled_beside
from edge_fer.cameras import open_camera
from edge_fer.cameras.live import LiveCamera
from edge_fer.classifier import Classifier
from edge_fer.config import Settings
from edge_fer.detectors import open_detector
from edge_fer.detectors.network import NetworkDetector
from edge_fer.errors import EdgeFerError
from edge_fer.gate import QualityGate
from edge_fer.loaded import LoadedModel
from edge_fer.models import load, shipped
from edge_fer.pipeline import Pipeline
from edge_fer.records import Recorder
from edge_fer.sinks import open_writer
from edge_fer.sinks.delivery import Delivery
from edge_fer.smoothing import Smoother
from edge_fer.tracking import Tracker
from edge_fer.types import Camera, Detector, Sink
from edge_fer.uri import redacted, split_query

__all__ = [
    "Surroundings",
    "budget_state",
    "build",
    "is_live",
    "next_seq",
    "open_camera",
    "open_classifier",
    "open_detector",
    "open_model",
    "open_writer",
    "rebuild",
]


def open_classifier(
    model: str,
    *,
    backend: str = "auto",
    threads: int = 1,
    on_skip: Callable[[str], None] = lambda why: None,
) -> Classifier:
    """A classifier from a shipped model's name or a path.

    Raises:
        ModelError: no such model, damaged, or it breaks its contract.
        ConfigError: no such backend.
        MissingExtra: no runtime is installed.
    """
    file = load(model)
    compiled = compiled_beside(file, on_skip)
    return Classifier(
        file,
        open_backend(backend, file.flatbuffer, threads=threads, on_skip=on_skip, compiled=compiled),
    )


def open_model(
    model: str, *, backend: str = "auto", on_skip: Callable[[str], None] = lambda why: None
) -> LoadedModel:
    """A classifier or a detector, whichever the contract says, from a name or a path.

    Raises:
        ModelError: no such model, damaged, or it breaks its contract.
        ConfigError: no such backend.
        MissingExtra: no runtime is installed.
    """
    file = load(model)
    kind = Classifier if file.contract.detection is None else NetworkDetector
    return kind(file, open_backend(backend, file.flatbuffer, on_skip=on_skip))


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """The program around a pipeline: what its parts tell it, and ask of it.

    Attributes:
        say: told what a person should know: a runtime that was passed over, a sink that would
            write too much, a file that was set aside.
        service: tells the status document, for sinks that pass it on.
        first_seq: the number of the first record.
        budget: what an earlier run has used of the day's bytes.
        also_written: bytes that the program itself has written to the disk so far.
        wait_for_camera: a live camera that is not there yet is no error, it is away.
    """

    say: Callable[[str], None] = lambda text: None
    service: Callable[[], Mapping[str, Any]] = dict
    first_seq: int = 0
    budget: Mapping[str, Any] = field(default_factory=dict)
    also_written: Callable[[], int] = lambda: 0
    wait_for_camera: bool = False


_ALONE = Surroundings()


def build(settings: Settings, around: Surroundings = _ALONE) -> Pipeline:
    """A whole pipeline; whatever was opened is closed again when a later part fails.

    Args:
        settings: of everything.
        around: the program that runs it.

    Raises:
        EdgeFerError: whatever the parts raise.
    """
    with ExitStack() as opened:
        classifier = open_classifier(
            settings.model, backend=settings.backend, threads=settings.threads, on_skip=around.say
        )
        opened.callback(classifier.close)
        # Which runtimes were passed over has been said.
        detector, tracker = _finders(settings)
        opened.callback((tracker or detector).close)
        camera = open_camera(
            settings.source,
            stall_after=settings.stall_after,
            first_within=0.0 if around.wait_for_camera else None,
        )
        opened.callback(camera.close)
        sinks = _sinks(settings, classifier, camera, around)
        pipeline = _joined(settings, camera, detector, tracker, classifier, sinks)
        opened.pop_all()
    return pipeline


def rebuild(
    old: Pipeline, before: Settings, after: Settings, around: Surroundings = _ALONE
) -> Pipeline:
    """The pipeline of other settings, with those parts of a running one that they leave alone.

    The model is read again in any case, and asked for its golden vectors before it is trusted.

    Args:
        old: in use; what the new one has not of it is closed.
        before: its settings.
        after: the new ones.
        around: the program that runs it; also told what a sink that is closed did not accept.

    Raises:
        EdgeFerError: whatever the parts raise; the old pipeline is then in use as before.
    """

    def same(*names: str) -> bool:
        return all(getattr(before, name) == getattr(after, name) for name in names)

    def sinks_of(settings: Settings, model: Classifier, camera: Camera) -> tuple[Sink, ...]:
        on = replace(around, first_seq=next_seq(old), budget=budget_state(old))
        return _sinks(settings, model, camera, on)

    with ExitStack() as undo:
        classifier = open_classifier(
            after.model, backend=after.backend, threads=after.threads, on_skip=around.say
        )
        undo.callback(classifier.close)
        classifier.check_golden()
        detector, tracker = old.detector, old.tracker
        if not same(*_OF_FINDERS):
            first_id = old.tracker.next_id if old.tracker else 0
            detector, tracker = _finders(after, first_id=first_id)
            undo.callback((tracker or detector).close)
        camera, sinks = old.camera, old.sinks
        if not same("source", "stall_after"):
            camera = _other_camera(old, before, after, undo)
        if not (same(*_OF_SINKS) and is_live(camera) == is_live(old.camera)):
            # A port or a spool has one owner, so that the old sinks must go first.
            for sink in old.sinks:
                _closed(sink, around.say)

            def sinks_back() -> None:
                old.sinks = sinks_of(before, old.classifier, old.camera)

            undo.callback(sinks_back)
            sinks = sinks_of(after, classifier, camera)
        new = _joined(after, camera, detector, tracker, classifier, sinks)
        undo.pop_all()
    for sink in sinks:
        if isinstance(sink, Delivery):
            sink.recorder.model = classifier.model.sha256[:12]
    if (
        same("smoothing", "transition", "model")
        and classifier.model.sha256 == old.classifier.model.sha256
    ):
        new.smoother = old.smoother  # what it knows of the faces in sight stays true
    old.sinks = tuple(sink for sink in old.sinks if sink in sinks)  # the others are closed
    old.close(but=new)
    return new


def _other_camera(old: Pipeline, before: Settings, after: Settings, undo: ExitStack) -> Camera:
    """The camera of other settings; ``undo`` brings the old one back."""

    def open_new() -> Camera:
        opened = open_camera(
            after.source, stall_after=after.stall_after, first_within=_RELOAD_OPENING_S
        )
        undo.callback(opened.close)
        return opened

    if not is_live(old.camera):  # a file can be read twice at a time
        return open_new()

    def camera_back() -> None:
        # It may be away just now; that is no reason to end.
        old.camera = open_camera(before.source, stall_after=before.stall_after, first_within=0.0)

    # A device can be opened once only, so that the old camera must go first.
    old.camera.close()
    undo.callback(camera_back)
    return open_new()


def _closed(sink: Sink, warn: Callable[[str], None]) -> None:
    """Close a sink that is replaced; what it did not accept is told, and is no reason to stop."""
    try:
        sink.close()
    except EdgeFerError as err:
        warn(str(err))
    except BrokenPipeError:
        warn("Whoever read our standard output has gone.")


def is_live(camera: Camera) -> bool:
    """Whether a source goes on without us, so that frames are dropped rather than waited for."""
    return isinstance(camera, LiveCamera)


def next_seq(pipeline: Pipeline) -> int:
    """The number of the next record."""
    numbers = [sink.recorder.seq for sink in pipeline.sinks if isinstance(sink, Delivery)]
    return max(numbers, default=0)


def budget_state(pipeline: Pipeline) -> dict[str, Any]:
    """What of the day's bytes is used up; empty where nothing is written."""
    kept = [sink.budget_state() for sink in pipeline.sinks if isinstance(sink, Delivery)]
    return kept[0] if kept else {}


# Of a new camera while the service waits: its watchdog must not run out.
_RELOAD_OPENING_S = 8.0
_OF_FINDERS = ("detector", "backend", "threads", "track", "track_interval", "max_faces")
_OF_SINKS = (
    *("sinks", "aggregate", "commit_interval", "max_mb_per_day"),
    *("name", "operator", "purpose", "notice"),
)


def _joined(
    settings: Settings,
    camera: Camera,
    detector: Detector,
    tracker: Tracker | None,
    classifier: Classifier,
    sinks: Sequence[Sink],
) -> Pipeline:
    """All parts, opened, and those that need no opening."""
    contract = classifier.contract
    gate = smoother = None
    if settings.gate:
        network = detector if isinstance(detector, NetworkDetector) else None
        names = network.detection.keypoints if network else getattr(detector, "keypoints", ())
        gate = QualityGate(contract.quality, keypoints=names, min_side=settings.min_face)
    if settings.smoothing != "none" or settings.transition:
        least = contract.output.min_probability
        smoother = Smoother(
            contract.labels,
            method=settings.smoothing,
            min_probability=least,
            transition=settings.transition or None,
        )
    return Pipeline(
        camera=camera,
        detector=detector,
        classifier=classifier,
        sinks=sinks,
        tracker=tracker,
        gate=gate,
        smoother=smoother,
        faces_per_frame=settings.faces_per_frame,
        about={"source": redacted(settings.source), "detector": settings.detector},
    )


def _finder(settings: Settings, uri: str) -> Detector:
    # No detector is compiled for the Edge TPU, which holds one model at a time.
    backend = "auto" if settings.backend == "edgetpu" else settings.backend
    return open_detector(uri, backend=backend, threads=settings.threads)


def _finders(settings: Settings, *, first_id: int = 0) -> tuple[Detector, Tracker | None]:
    detector = _finder(settings, settings.detector)
    if not settings.track:
        return detector, None
    try:
        return detector, _tracker(settings, detector, first_id)
    except BaseException:
        detector.close()
        raise


def _sinks(
    settings: Settings,
    classifier: Classifier,
    camera: Camera,
    around: Surroundings,
) -> tuple[Sink, ...]:
    """One delivery to all of them, or nothing."""
    if not settings.sinks:
        return ()
    recorder = Recorder(classifier.model.sha256, first_seq=around.first_seq)
    texts = {key: getattr(settings, key) for key in ("operator", "purpose", "notice")}
    with ExitStack() as opened:
        writers = []
        for uri in settings.sinks:
            device = settings.name or gethostname()
            writers.append(open_writer(uri, device=device, texts=texts, warn=around.say))
            opened.callback(writers[-1].close)
        delivery = Delivery(
            recorder,
            writers,
            live=is_live(camera),
            commit_interval_s=settings.commit_interval,
            aggregate=Aggregator(recorder) if settings.aggregate else None,
            max_bytes_per_day=round(settings.max_mb_per_day * 1e6),
            budget=around.budget,
            also_written=around.also_written,
            warn=around.say,
        )
        opened.pop_all()
    delivery.watch(around.service)
    return (delivery,)


def _tracker(settings: Settings, detector: Detector, first_id: int) -> Tracker:
    """With the same weights at a smaller input for regions, where they are shipped beside."""
    name, _ = split_query(settings.detector)
    twin = f"{name}-region"
    near = None
    if twin in shipped():
        near = _finder(settings, settings.detector.replace(name, twin, 1))
    return Tracker(
        detector,
        region_detector=near,
        interval=settings.track_interval,
        max_faces=settings.max_faces,
        first_id=first_id,
    )
