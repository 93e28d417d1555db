"""Configuration to parts: the one place that picks camera, detector, model and sinks."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

from edge_fer.backends import open_backend
from edge_fer.cameras import open_camera
from edge_fer.classifier import Classifier
from edge_fer.config import Settings
from edge_fer.detectors import open_detector
from edge_fer.detectors.network import NetworkDetector
from edge_fer.loaded import LoadedModel
from edge_fer.models import load, shipped
from edge_fer.pipeline import Pipeline
from edge_fer.sinks import open_sink
from edge_fer.tracking import Tracker
from edge_fer.types import Detector
from edge_fer.uri import split_query

__all__ = ["build", "open_camera", "open_classifier", "open_detector", "open_model", "open_sink"]


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
    return Classifier(
        file, open_backend(backend, file.flatbuffer, threads=threads, on_skip=on_skip)
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


def build(settings: Settings, on_skip: Callable[[str], None] = lambda why: None) -> Pipeline:
    """A whole pipeline; whatever was opened is closed again when a later part fails.

    Raises:
        EdgeFerError: whatever the parts raise.
    """
    with ExitStack() as opened:
        classifier = open_classifier(
            settings.model, backend=settings.backend, threads=settings.threads, on_skip=on_skip
        )
        opened.callback(classifier.close)
        # Which runtimes were passed over has been said.
        detector = open_detector(
            settings.detector, backend=settings.backend, threads=settings.threads
        )
        opened.callback(detector.close)
        sinks = []
        for uri in settings.sinks:
            sinks.append(open_sink(uri, classifier.model.sha256))
            opened.callback(sinks[-1].close)
        camera = open_camera(settings.source)
        opened.callback(camera.close)
        tracker = _tracker(settings, detector) if settings.track else None
        opened.pop_all()
        return Pipeline(
            camera=camera,
            detector=detector,
            classifier=classifier,
            sinks=sinks,
            tracker=tracker,
        )


def _tracker(settings: Settings, detector: Detector) -> Tracker:
    """With the same weights at a smaller input for regions, where they are shipped beside."""
    name, _ = split_query(settings.detector)
    twin = f"{name}-region"
    near = None
    if twin in shipped():
        uri = settings.detector.replace(name, twin, 1)
        near = open_detector(uri, backend=settings.backend, threads=settings.threads)
    return Tracker(
        detector,
        region_detector=near,
        interval=settings.track_interval,
        max_faces=settings.max_faces,
    )
