"""What is measured once frames were timed: of networks alone, on labelled pictures, of variants.

It comes later so that what the device never holds does not count as its memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack

from edge_fer.assemble import open_classifier
from edge_fer.errors import EdgeFerError
from edge_fer.evaluation.data import LabelledFaces, load
from edge_fer.pipeline import Pipeline
from edge_fer_bench.accuracy.backdrops import Backdrops
from edge_fer_bench.accuracy.end_to_end import measure_end_to_end
from edge_fer_bench.accuracy.group_file import GroupFile
from edge_fer_bench.accuracy.groups import measure_groups
from edge_fer_bench.accuracy.measured import (
    MeasuredAccuracy,
    measure_accuracy,
)
from edge_fer_bench.accuracy.proxies import measure_proxies
from edge_fer_bench.accuracy.robustness import measure_robustness
from edge_fer_bench.drawing.section import Section
from edge_fer_bench.interruption import Interruption
from edge_fer_bench.limits import MAX_CLASS_DROP, MAX_DROP
from edge_fer_bench.machine.state import MachineState
from edge_fer_bench.machine.sustained import sustained
from edge_fer_bench.request import Request
from edge_fer_bench.roofline.roofline import measure_roofline
from edge_fer_bench.sweep.shares import measure_shares
from edge_fer_bench.sweep.sweep import measure_sweep
from edge_fer_bench.sweep.swept import MeasuredShare
from edge_fer_bench.timing.protocol import Run

__all__ = ["Further", "Progress"]

# Phase, how much of it is done, and how much there is.
Progress = Callable[[str, float, float], None]

_ROOFLINE_SHARE = 0.3  # of the seconds that frames are timed
_ROOFLINE_S = (0.5, 3.0)


class Further:
    """The sections of a report, in their order; Ctrl-C leaves those that are whole.

    Args:
        request: what to measure.
        pipeline: that was timed.
        reference: the float twin, where there is data.
        groups: of the pictures, or None.
        behind: what faces are pasted into, or None.
        on_progress: told how far each phase is.
        on_skip: told what is passed over, and why.

    Attributes:
        accuracy: the drop; None where nothing was to be measured, or not to its end.
        sections: what else there is.
        interrupted: whether Ctrl-C ended it.
        problem: the error that ended it.
    """

    def __init__(
        self,
        request: Request,
        pipeline: Pipeline,
        *,
        reference: str | None,
        groups: GroupFile | None,
        behind: Backdrops | None,
        on_progress: Progress,
        on_skip: Callable[[str], None],
    ) -> None:
        self._request, self._pipeline, self._reference = request, pipeline, reference
        self._groups, self._behind = groups, behind
        self._on_progress, self._on_skip = on_progress, on_skip
        self.accuracy: MeasuredAccuracy | None = None
        self.sections: list[Section] = []
        self.interrupted = False
        self.problem: EdgeFerError | None = None

    def measure(self, run: Run, state: MachineState, interruption: Interruption) -> None:
        """All of it, or up to what ends it: what was measured before is worth a report."""
        minutes = self._request.sustained
        if minutes is not None:
            samples = run.samples
            self.sections.append(sustained(samples.at_s, samples.total_ms, state, minutes))
        if run.stopped_by == "interrupted":
            self.interrupted = True
            return
        try:
            with interruption.allowed():
                self._of_networks()
                self._of_pictures()
                self._of_variants()
        except KeyboardInterrupt:
            self.interrupted = True
        except EdgeFerError as err:
            self.problem = err

    def _told(self, phase: str) -> Callable[[float, float], None]:
        self._on_progress(phase, 0, 1)
        return lambda done, total: self._on_progress(phase, done, total)

    def _of_networks(self) -> None:
        settings = self._request.settings
        least, most = _ROOFLINE_S
        found = measure_roofline(
            self._pipeline,
            threads=settings.threads,
            backend=settings.backend,
            seconds=min(most, max(least, _ROOFLINE_SHARE * self._request.protocol.seconds)),
            on_progress=self._told("roofline"),
        )
        self.sections.append(found)

    def _of_pictures(self) -> None:
        request, classifier = self._request, self._pipeline.classifier
        if request.data is None or self._reference is None:
            return
        settings, budgets = request.settings, request.budgets
        on_progress = self._told("accuracy")
        faces = load(request.data, classifier.labels, split=request.split, ferplus=request.ferplus)
        max_drop = MAX_DROP if budgets.max_drop is None else budgets.max_drop
        limit = budgets.max_class_drop
        twin = open_classifier(self._reference, backend=settings.backend, threads=settings.threads)
        with ExitStack() as opened:
            opened.callback(twin.close)
            accuracy = measure_accuracy(
                classifier,
                twin,
                faces,
                max_drop=max_drop,
                max_class_drop=MAX_CLASS_DROP if limit is None else limit,
                on_progress=on_progress,
            )
            self.accuracy = accuracy
            self.sections.append(self._grouped(faces, accuracy, max_drop))
            if request.robustness:
                found = measure_robustness(
                    classifier,
                    twin,
                    faces,
                    rows=request.rows,
                    gate=settings.gate,
                    max_drop=max_drop,
                    on_progress=self._told("robustness"),
                )
                self.sections.append(found)
            if self._behind is not None:
                pasted = measure_end_to_end(
                    self._pipeline.detector,
                    classifier,
                    twin,
                    faces,
                    self._behind,
                    detector_name=settings.detector,
                    max_drop=max_drop,
                    on_progress=self._told("faces in scenes"),
                )
                self.sections.append(pasted)

    def _grouped(
        self, faces: LabelledFaces, accuracy: MeasuredAccuracy, max_drop: float
    ) -> Section:
        before, after = accuracy.before, accuracy.after
        if self._groups is not None:
            return measure_groups(self._groups, faces, before, after, max_drop=max_drop)
        return measure_proxies(
            faces,
            before,
            after,
            self._pipeline.classifier.contract.input,
            self._pipeline.detector,
            max_drop=max_drop,
            on_progress=self._told("proxies"),
        )

    def _of_variants(self) -> None:
        request, sweep = self._request, self._request.sweep
        if sweep is None:
            return
        self._pipeline.camera.close()  # a device can be opened once at a time
        found = measure_sweep(
            request.settings,
            models=sweep.models,
            detectors=sweep.detectors,
            threads=sweep.threads,
            sources=sweep.sources,
            seconds=request.protocol.seconds,
            accuracies=self._shares(sweep.models),
            on_start=self._on_skip,
            on_progress=self._told("sweep"),
            on_skip=self._on_skip,
        )
        self.sections.append(found)
        self.interrupted = found.interrupted

    def _shares(self, models: Sequence[str]) -> Mapping[str, MeasuredShare]:
        """How often each model is right on the labelled pictures."""
        request = self._request
        known: dict[str, MeasuredShare] = {}
        if request.data is None:
            return known
        if self.accuracy is not None:
            drop, split = self.accuracy.drop, self.accuracy.faces.split
            share = MeasuredShare(share=drop.quantised.accuracy, n=drop.n, split=split)
            known[request.settings.model] = share
        return measure_shares(
            models,
            request.data,
            split=request.split,
            ferplus=request.ferplus,
            backend=request.settings.backend,
            known=known,
            on_progress=self._told("accuracy of each model"),
            on_skip=self._on_skip,
        )
