"""One benchmark from beginning to end: the order in which things are measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from edge_fer.assemble import Surroundings, build, open_camera, open_classifier
from edge_fer.classifier import Classifier
from edge_fer.config import Settings
from edge_fer.errors import DataError
from edge_fer.evaluation.data import load
from edge_fer.machine import read_thermal, rss_peak_mb
from edge_fer.modelfile import read_model
from edge_fer.models import find
from edge_fer.pipeline import Pipeline
from edge_fer.uri import redacted
from edge_fer_bench.accuracy import (
    MAX_CLASS_DROP,
    MAX_DROP,
    MeasuredAccuracy,
    check_comparable,
    find_reference,
    measure_accuracy,
)
from edge_fer_bench.budgets import Budgets
from edge_fer_bench.cold_start import ColdStart, measure_cold_start
from edge_fer_bench.latency import bounded_by, summarise
from edge_fer_bench.machine import read_machine, software
from edge_fer_bench.protocol import Protocol, Run, measure
from edge_fer_bench.report import BenchmarkReport, GoldenCheck, ModelCard, SourceCard
from edge_fer_bench.section import Section
from edge_fer_bench.source import Source
from edge_fer_bench.thermal import Thermal

__all__ = ["Request", "run_benchmark"]

# Phase, how much of it is done, and how much there is.
Progress = Callable[[str, float, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be measured; names and units as on the command line.

    Attributes:
        settings: of the pipeline that is timed: that of ``edge-fer run``.
        reference: the float twin; None for the usual one.
        data, ferplus, split: labelled pictures, to measure the accuracy drop.
        protocol: the rules of timing.
        budgets: limits.
    """

    settings: Settings
    reference: str | None = None
    data: Path | None = None
    ferplus: Path | None = None
    split: str | None = None
    protocol: Protocol = field(default_factory=Protocol)
    budgets: Budgets = field(default_factory=Budgets)


def run_benchmark(
    request: Request,
    *,
    on_progress: Progress = lambda phase, done, total: None,
    on_skip: Callable[[str], None] = lambda why: None,
    cold_starts: Callable[[dict[str, Any]], ColdStart] = measure_cold_start,
) -> BenchmarkReport:
    """Measure. Ctrl-C once frames are timed gives a report with what there was so far.

    Speed and memory come before accuracy, so that the labelled pictures, which the device never
    holds, do not count as its memory.

    Args:
        request: what to measure.
        on_progress: told how far each phase is.
        on_skip: told of each runtime that was passed over, and why.
        cold_starts: times fresh processes with these settings.

    Raises:
        ConfigError: options that do not go together.
        DataError: labelled pictures or a recording that cannot be used.
        DeviceError: the source gives nothing.
        ModelError: no such model, damaged, or it computes something else here.
    """
    started = datetime.now(UTC)
    settings, protocol = request.settings, request.protocol
    request.budgets.require_data(request.data)
    reference = _reference(request)
    on_progress("cold start", 0, 1)
    # Before anything is opened here: a camera can be opened once at a time.
    cold_start = cold_starts(settings.model_dump(mode="json"))
    on_progress("cold start", 1, 1)
    with _opened(settings, on_skip) as (pipeline, source):
        classifier = pipeline.classifier
        golden = _golden(classifier)
        on_progress("warming up", 0, 1)
        before = read_thermal()
        run = measure(
            pipeline,
            source,
            protocol,
            on_progress=lambda done: on_progress(
                "measuring", min(done, protocol.seconds), protocol.seconds
            ),
        )
        thermal = Thermal(before=before, after=read_thermal())
        memory = rss_peak_mb()
        on_progress("measuring", protocol.seconds, protocol.seconds)
        latency = summarise(run)
        further = _Further(request, classifier, reference, on_progress)
        further.measure(run)
        return BenchmarkReport(
            started=started,
            machine=read_machine(),
            software=software(classifier.backend.name),
            model=ModelCard.of(classifier, settings.threads),
            source=_source_card(settings, source),
            protocol=protocol,
            run=run,
            latency=latency,
            bound=bounded_by(run, latency, source, protocol.seconds),
            cold_start=cold_start,
            rss_peak_mb=memory,
            thermal=thermal,
            accuracy=further.accuracy,
            recorded=classifier.contract.metrics,
            golden=golden,
            budgets=request.budgets.check(latency, run.fps, memory, further.accuracy),
            sections=tuple(further.sections),
            interrupted=further.interrupted,
        )


class _Further:
    """What is measured once frames are timed; Ctrl-C leaves what there is so far."""

    def __init__(
        self,
        request: Request,
        classifier: Classifier,
        reference: str | None,
        on_progress: Progress,
    ) -> None:
        self._request, self._classifier, self._reference = request, classifier, reference
        self._on_progress = on_progress
        self.accuracy: MeasuredAccuracy | None = None
        self.sections: list[Section] = []
        self.interrupted = False

    def measure(self, run: Run) -> None:
        """All of it."""
        if run.stopped_by == "interrupted":
            self.interrupted = True
            return
        try:
            self._measure()
        except KeyboardInterrupt:
            self.interrupted = True

    def _measure(self) -> None:
        request = self._request
        if request.data is None or self._reference is None:
            return
        self._on_progress("accuracy", 0, 1)
        labels = self._classifier.labels
        faces = load(request.data, labels, split=request.split, ferplus=request.ferplus)
        settings, budgets = request.settings, request.budgets
        twin = open_classifier(self._reference, backend=settings.backend, threads=settings.threads)
        with ExitStack() as opened:
            opened.callback(twin.close)
            self.accuracy = measure_accuracy(
                self._classifier,
                twin,
                faces,
                max_drop=MAX_DROP if budgets.max_drop is None else budgets.max_drop,
                max_class_drop=(
                    MAX_CLASS_DROP if budgets.max_class_drop is None else budgets.max_class_drop
                ),
                on_progress=lambda done, total: self._on_progress("accuracy", done, total),
            )


@contextmanager
def _opened(
    settings: Settings, on_skip: Callable[[str], None]
) -> Iterator[tuple[Pipeline, Source]]:
    """The pipeline of ``edge-fer run``, and its source, which can be wound back."""
    pipeline = build(settings, Surroundings(say=on_skip))
    source = Source(settings.source, open_camera, pipeline.camera)
    pipeline.camera = source
    try:
        yield pipeline, source
    finally:
        pipeline.close()


def _reference(request: Request) -> str | None:
    """The float twin where a drop is to be measured; refused early where it cannot be."""
    if request.data is None:
        return None
    if not request.data.exists():
        raise DataError(f"There is no data at {request.data}.", "Check --data.")
    model = request.settings.model
    reference = find_reference(model, request.reference)
    check_comparable(read_model(find(model)), read_model(find(reference)))
    return reference


def _golden(classifier: Classifier) -> GoldenCheck:
    found = classifier.check_golden()
    int8 = classifier.contract.quantisation.scheme == "int8"
    if found is None:
        return GoldenCheck(n=0, max_error=None, int8=int8)
    return GoldenCheck(n=found[0], max_error=found[1], int8=int8)


def _source_card(settings: Settings, source: Source) -> SourceCard:
    width, height = source.size or (0, 0)
    return SourceCard(
        uri=redacted(settings.source),
        kind=source.kind,
        width=width,
        height=height,
        detector=settings.detector,
        track=settings.track,
        gate=settings.gate,
        smoothing=settings.smoothing,
        sinks=tuple(redacted(uri) for uri in settings.sinks),
    )
