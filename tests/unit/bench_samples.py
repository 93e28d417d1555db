"""Reports made of plain numbers, for the tests of what is printed from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from edge_fer.contract import Metric
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.evaluation.drop import measure_drop
from edge_fer.machine import Reading
from edge_fer.types import Box, Expression, Face, Frame, Observation, ObservedFace
from edge_fer_bench.accuracy.measured import MeasuredAccuracy
from edge_fer_bench.machine.card import Machine
from edge_fer_bench.machine.state import MachineState
from edge_fer_bench.report.report import BenchmarkReport, GoldenCheck, ModelCard, SourceCard
from edge_fer_bench.timing.cold_start import ColdStart
from edge_fer_bench.timing.latency import Bound, summarise
from edge_fer_bench.timing.protocol import Protocol, Run, Samples, WarmUp

LABELS = ("neutral", "happiness", "contempt")

PI = Machine(
    kind="raspberry_pi",
    name="Raspberry Pi 5 Model B Rev 1.0",
    architecture="aarch64",
    cpu="Cortex-A76",
    cores=4,
    governor="ondemand",
    max_mhz=2400.0,
    memory_mb=8000.0,
    system="Debian GNU/Linux 12 (bookworm), Linux 6.12",
)
COMPUTER = replace(PI, kind="computer", name="x86_64 computer", cpu="Some CPU")

METRIC = Metric(
    data="faces.npz",
    data_sha256="00",
    split="PublicTest",
    n=3199,
    float_accuracy=0.85,
    int8_accuracy=0.848,
    drop_points=0.2,
    ci95_points=(-0.1, 0.5),
    agreement=0.99,
)


def timings(total: float, faces: int = 1) -> dict[str, float]:
    """The stages of a frame, which add up to its total."""
    each = {"capture": 0.1 * total, "detect": 0.6 * total, "total": total}
    return each | ({"preprocess": 0.1 * total, "classify": 0.2 * total} if faces else {})


def frames(totals: Sequence[float], faces: Sequence[int] | int = 1) -> Samples:
    """Frames of these times, one after the other."""
    each = [faces] * len(totals) if isinstance(faces, int) else faces
    at = np.cumsum(totals) / 1000
    return Samples((float(s), timings(t, n), n) for s, t, n in zip(at, totals, each, strict=True))


def picture() -> Frame:
    """A gray frame."""
    luma = np.full((48, 64), 90, np.uint8)
    return Frame(luma=luma, colour=None, t_ns=0, sequence=0, source="fake")


def observation(frame: int = 0, faces: int = 1, total: float = 10.0, side: float = 20.0) -> Any:
    """An observation with this many faces of this size."""
    expression = Expression(label="neutral", probabilities={"neutral": 1.0}, entropy=0.0)
    seen = ObservedFace(
        face=Face(box=Box(x=5, y=5, w=side, h=side), score=1.0),
        expression=expression,
        raw_expression="neutral",
    )
    return Observation(
        frame=frame,
        t_ns=0,
        source="fake",
        faces=(seen,) * faces,
        timings_ms=timings(total, faces),
    )


def run(totals: list[float] | None = None, **changes: Any) -> Run:
    """Frames of these times, one face each."""
    totals = [10.0 + i % 7 for i in range(420)] if totals is None else totals
    given = Run(
        warm_up=WarmUp(frames=20, seconds=0.3, steady=True),
        samples=frames(totals),
        seconds=sum(totals) / 1000,
        stopped_by="time",
        best=(picture(), observation()),
    )
    return replace(given, **changes)


def accuracy(
    lost: int, won: int = 0, *, n: int = 1000, label: int = 0, **limits: float
) -> MeasuredAccuracy:
    """Rows of three classes: int8 loses ``lost`` of class ``label`` that float had, and wins some.

    Half of the rows are neutral, the others happiness, but for ten of contempt.
    """
    truth = np.array([0] * (n // 2) + [1] * (n - n // 2 - 10) + [2] * 10)
    before, after = np.eye(3)[truth] * 0.9 + 0.01, np.eye(3)[truth] * 0.9 + 0.01
    rows = np.flatnonzero(truth == label)
    after[rows[:lost]] = np.roll(after[rows[:lost]], 1, axis=1)
    before[rows[lost : lost + won]] = np.roll(before[rows[lost : lost + won]], 1, axis=1)
    faces = LabelledFaces(
        path="some/faces.npz",
        sha256="00",
        split="PublicTest",
        images=[np.zeros((48, 48), np.uint8)] * n,
        labels=LABELS,
        truth=truth,
        target=np.eye(3, dtype=np.float32)[truth],
        copy_of_training=None,
    )
    return MeasuredAccuracy(
        faces=faces,
        drop=measure_drop(before, after, truth, LABELS),
        clean=None,
        reference="tiny.float",
        reference_sha256="11",
        reference_is_parent=True,
        max_drop=limits.get("max_drop", 0.5),
        max_class_drop=limits.get("max_class_drop", 3.0),
        before=before,
        after=after,
        coverage=(0.95, 0.93),
    )


def report(**changes: Any) -> BenchmarkReport:
    """A report from a Pi, without accuracy, but for the changes."""
    timed = changes.get("run", run())
    given = BenchmarkReport(
        started=datetime(2026, 11, 20, 12, 0, tzinfo=UTC),
        machine=PI,
        software={
            "edge_fer": "0.1.0",
            "python": "3.11.7",
            "numpy": "2.4.6",
            "opencv": "4.14.0",
            "opencv_threads": 4,
            "litert": "2.3.0",
            "tflite_runtime": None,
            "backend": "litert 2.3.0, 1 thread",
        },
        model=ModelCard(
            name="tiny",
            path="tiny.tflite",
            sha256="ab" * 32,
            size_bytes=250_000,
            scheme="int8",
            recipe=None,
            parent_sha256=None,
            label_scheme="custom",
            labels=LABELS,
            input="48x48 gray",
            backend="litert 2.3.0, 1 thread",
            threads=1,
        ),
        source=SourceCard(
            uri="synthetic", kind="synthetic", width=640, height=480, detector="haar"
        ),
        protocol=Protocol(),
        run=timed,
        latency=summarise(timed),
        bound=Bound(
            by="compute", words="Computing: finding faces takes 60 % of the time of a frame."
        ),
        cold_start=ColdStart(
            runs_ms=(700.0, 650.0, 720.0), imports_ms=400.0, open_ms=50.0, first_frame_ms=60.0
        ),
        rss_peak_mb=111.0,
        state=MachineState(
            before=Reading(celsius=50.0, throttled=0), after=Reading(celsius=61.0, throttled=0)
        ),
        accuracy=None,
        recorded=(METRIC,),
        golden=GoldenCheck(n=8, max_error=1.0, int8=True),
        budgets=(),
    )
    return replace(given, **changes)
