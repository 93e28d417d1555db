"""One benchmark from beginning to end: the order in which things are measured."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from edge_fer.assemble import open_camera, open_classifier, open_detector
from edge_fer.classifier import Classifier
from edge_fer.errors import DataError
from edge_fer.evaluation.data import load
from edge_fer.machine import read_thermal, rss_peak_mb
from edge_fer.modelfile import read_model
from edge_fer.models import find
from edge_fer.pipeline import Pipeline
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
from edge_fer_bench.source import Source
from edge_fer_bench.thermal import Thermal

__all__ = ["Request", "run_benchmark"]

# Phase, how much of it is done, and how much there is.
Progress = Callable[[str, float, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be measured; names and units as on the command line."""

    model: str = "expression"
    reference: str | None = None
    data: Path | None = None
    ferplus: Path | None = None
    split: str | None = None
    source: str = "synthetic"
    detector: str = "face"
    threads: int = 1
    backend: str = "auto"
    protocol: Protocol = field(default_factory=Protocol)
    budgets: Budgets = field(default_factory=Budgets)


def run_benchmark(
    request: Request,
    *,
    on_progress: Progress = lambda phase, done, total: None,
    on_skip: Callable[[str], None] = lambda why: None,
    cold_starts: Callable[[dict[str, str]], ColdStart] = measure_cold_start,
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
    request.budgets.require_data(request.data)
    reference = _reference(request)
    settings = {
        "model": request.model,
        "source": request.source,
        "detector": request.detector,
        "backend": request.backend,
        "threads": str(request.threads),
    }
    with ExitStack() as opened:
        classifier = open_classifier(
            request.model, backend=request.backend, threads=request.threads, on_skip=on_skip
        )
        opened.callback(classifier.close)
        golden = _golden(classifier)
        detector = open_detector(request.detector, backend=request.backend, threads=request.threads)
        on_progress("cold start", 0, 1)
        cold_start = cold_starts(settings)
        on_progress("cold start", 1, 1)
        source = Source(request.source, open_camera)
        pipeline = Pipeline(camera=source, detector=detector, classifier=classifier)
        opened.callback(pipeline.close)
        on_progress("warming up", 0, 1)
        before = read_thermal()
        seconds = request.protocol.seconds
        run = measure(
            pipeline,
            source,
            request.protocol,
            on_progress=lambda done: on_progress("measuring", min(done, seconds), seconds),
        )
        thermal = Thermal(before=before, after=read_thermal())
        memory = rss_peak_mb()
        on_progress("measuring", seconds, seconds)
        accuracy, stopped = _accuracy(request, classifier, reference, run, on_progress)
        latency = summarise(run)
        width, height = source.size or (0, 0)
        return BenchmarkReport(
            started=started,
            machine=read_machine(),
            software=software(classifier.backend.name),
            model=ModelCard.of(classifier, request.threads),
            source=SourceCard(
                uri=_without_secrets(request.source),
                kind=source.kind,
                width=width,
                height=height,
                detector=request.detector,
            ),
            protocol=request.protocol,
            run=run,
            latency=latency,
            bounded_by=bounded_by(run, latency, source, seconds),
            cold_start=cold_start,
            rss_peak_mb=memory,
            thermal=thermal,
            accuracy=accuracy,
            recorded=classifier.contract.metrics,
            golden=golden,
            budgets=request.budgets.check(latency, run.fps, memory, accuracy),
            interrupted=stopped or run.stopped_by == "interrupted",
        )


def _reference(request: Request) -> str | None:
    """The float twin where a drop is to be measured; refused early where it cannot be."""
    if request.data is None:
        return None
    if not request.data.exists():
        raise DataError(f"There is no data at {request.data}.", "Check --data.")
    reference = find_reference(request.model, request.reference)
    check_comparable(read_model(find(request.model)), read_model(find(reference)))
    return reference


def _golden(classifier: Classifier) -> GoldenCheck:
    found = classifier.check_golden()
    int8 = classifier.contract.quantisation.scheme == "int8"
    if found is None:
        return GoldenCheck(n=0, max_error=None, int8=int8)
    return GoldenCheck(n=found[0], max_error=found[1], int8=int8)


def _accuracy(
    request: Request,
    quantised: Classifier,
    reference: str | None,
    run: Run,
    on_progress: Progress,
) -> tuple[MeasuredAccuracy | None, bool]:
    """The drop, and whether Ctrl-C stopped it."""
    if request.data is None or reference is None or run.stopped_by == "interrupted":
        return None, False
    budgets = request.budgets
    try:
        on_progress("accuracy", 0, 1)
        faces = load(request.data, quantised.labels, split=request.split, ferplus=request.ferplus)
        twin = open_classifier(reference, backend=request.backend, threads=request.threads)
        try:
            measured = measure_accuracy(
                quantised,
                twin,
                faces,
                max_drop=MAX_DROP if budgets.max_drop is None else budgets.max_drop,
                max_class_drop=(
                    MAX_CLASS_DROP if budgets.max_class_drop is None else budgets.max_class_drop
                ),
                on_progress=lambda done, total: on_progress("accuracy", done, total),
            )
        finally:
            twin.close()
    except KeyboardInterrupt:
        return None, True
    return measured, False


def _without_secrets(uri: str) -> str:
    """A stream's address without the name and password in it."""
    return re.sub(r"//[^/@]*@", "//", uri)
