"""One benchmark from beginning to end: the order in which things are measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from edge_fer.assemble import Surroundings, build, open_camera
from edge_fer.classifier import Classifier
from edge_fer.config import Settings
from edge_fer.machine import rss_peak_mb
from edge_fer.modelfile import read_model
from edge_fer.models import find
from edge_fer.pipeline import Pipeline
from edge_fer.uri import redacted
from edge_fer_bench.accuracy.backdrops import Backdrops, backdrops
from edge_fer_bench.accuracy.group_file import GroupFile, read_groups
from edge_fer_bench.accuracy.measured import check_comparable, find_reference
from edge_fer_bench.accuracy.precheck import require_usable
from edge_fer_bench.compare.baseline import read_baseline
from edge_fer_bench.compare.comparison import check_same_machine, compare
from edge_fer_bench.compare.documents import Baseline
from edge_fer_bench.further import Further, Progress
from edge_fer_bench.interruption import Interruption
from edge_fer_bench.machine.card import Machine, read_machine, software
from edge_fer_bench.machine.state import MachineState
from edge_fer_bench.machine.watch import Watch
from edge_fer_bench.report.report import BenchmarkReport, GoldenCheck, ModelCard, SourceCard
from edge_fer_bench.request import Request
from edge_fer_bench.timing.cold_start import ColdStart, measure_cold_start
from edge_fer_bench.timing.latency import bounded_by, summarise
from edge_fer_bench.timing.protocol import Run, measure
from edge_fer_bench.timing.source import Source

__all__ = ["run_benchmark"]

_IDLE_S = 10.0  # that the machine rests before a sustained run, where something measures its power


def run_benchmark(
    request: Request,
    interruption: Interruption,
    *,
    on_progress: Progress = lambda phase, done, total: None,
    on_skip: Callable[[str], None] = lambda why: None,
    cold_starts: Callable[[dict[str, Any]], ColdStart] = measure_cold_start,
) -> BenchmarkReport:
    """Measure. Ctrl-C once frames are timed gives a report with what there was so far; so does what
    goes wrong later, which then stands in the report's ``problem``.

    Speed and memory come before accuracy, so that the labelled pictures, which the device never
    holds, do not count as its memory.

    Args:
        request: what to measure.
        interruption: entered by the caller, who writes the report within it, too.
        on_progress: told how far each phase is.
        on_skip: told of each runtime that was passed over, and why.
        cold_starts: times fresh processes with these settings.

    Raises:
        ConfigError: options that do not go together.
        DataError: labelled pictures or a recording that cannot be used.
        DeviceError: the source gives nothing.
        ModelError: no such model, damaged, or it computes something else here.
    """
    with interruption.allowed():
        plan = _planned(request, on_progress)
        on_progress("cold start", 0, 1)
        # Before anything is opened here: a camera can be opened once at a time.
        cold_start = cold_starts(request.settings.model_dump(mode="json"))
        on_progress("cold start", 1, 1)
    with _opened(request.settings, on_skip) as (pipeline, source):
        with interruption.allowed():
            golden = _golden(pipeline.classifier)
            run, state = _timed(request, pipeline, source, on_progress)
        memory = rss_peak_mb()
        latency = summarise(run)
        further = Further(
            request,
            pipeline,
            reference=plan.reference,
            groups=plan.groups,
            behind=plan.behind,
            on_progress=on_progress,
            on_skip=on_skip,
        )
        further.measure(run, state, interruption)
        classifier, settings = pipeline.classifier, request.settings
        report = BenchmarkReport(
            started=plan.started,
            machine=plan.machine,
            software=software(classifier.backend.name),
            model=ModelCard.of(classifier, settings.threads),
            source=_source_card(settings, source),
            protocol=request.rules,
            run=run,
            latency=latency,
            bound=bounded_by(run, latency, source, request.rules.seconds),
            cold_start=cold_start,
            rss_peak_mb=memory,
            state=state,
            accuracy=further.accuracy,
            recorded=classifier.contract.metrics,
            golden=golden,
            budgets=request.budgets.check(latency, run.fps, memory, further.accuracy),
            sections=tuple(further.sections),
            interrupted=further.interrupted,
            problem=further.problem,
        )
    if plan.before is None:
        return report
    return replace(report, sections=(compare(report.to_json(), plan.before), *report.sections))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What is read before anything is measured."""

    started: datetime
    machine: Machine
    before: Baseline | None
    reference: str | None
    groups: GroupFile | None
    behind: Backdrops | None


def _planned(request: Request, on_progress: Progress) -> _Plan:
    """Everything that can be refused, before the user waits for it."""
    started = datetime.now(UTC)
    request.check()
    machine = read_machine()
    before = None if request.baseline is None else read_baseline(request.baseline)
    if before is not None:
        check_same_machine(machine.to_json(), before)
    plan = _Plan(
        started=started,
        machine=machine,
        before=before,
        reference=_reference(request),
        groups=None if request.groups is None else read_groups(request.groups),
        behind=backdrops(request.scenes) if request.end_to_end else None,
    )
    if request.data is not None:
        on_progress("looking at the data", 0, 1)
        require_usable(
            request.data,
            read_model(find(request.settings.model)).contract.labels,
            split=request.split,
            ferplus=request.ferplus,
            groups=request.groups,
        )
    return plan


def _timed(
    request: Request, pipeline: Pipeline, source: Source, on_progress: Progress
) -> tuple[Run, MachineState]:
    rules = request.rules
    on_progress("warming up", 0, 1)
    with Watch() as watch:
        if request.sustained is not None:
            watch.idle(_IDLE_S)
        run = measure(
            pipeline,
            source,
            rules,
            on_progress=lambda done: on_progress(
                "measuring", min(done, rules.seconds), rules.seconds
            ),
        )
    on_progress("measuring", rules.seconds, rules.seconds)
    return run, watch.state(seconds=run.seconds, frames=run.frames)


@contextmanager
def _opened(
    settings: Settings, on_skip: Callable[[str], None]
) -> Iterator[tuple[Pipeline, Source]]:
    """The pipeline of ``edge-fer run``, and its source, which can be wound back."""
    pipeline = build(settings, Surroundings(say=on_skip))
    try:
        yield pipeline, Source.of(pipeline, settings.source, open_camera)
    finally:
        pipeline.close()


def _reference(request: Request) -> str | None:
    """The float twin where a drop is to be measured; refused early where it cannot be."""
    if request.data is None:
        return None
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
