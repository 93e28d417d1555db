"""Everything that one benchmark found out, and the JSON document that others read."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from edge_fer.classifier import Classifier
from edge_fer.contract import Metric
from edge_fer.errors import EdgeFerError
from edge_fer_bench.accuracy.measured import MeasuredAccuracy
from edge_fer_bench.budgets import Check
from edge_fer_bench.drawing.section import Section
from edge_fer_bench.machine.card import Machine
from edge_fer_bench.machine.state import MachineState
from edge_fer_bench.timing.cold_start import ColdStart
from edge_fer_bench.timing.latency import Bound, Latency
from edge_fer_bench.timing.protocol import Protocol, Run
from edge_fer_bench.timing.source import SourceKind

__all__ = ["SCHEMA", "BenchmarkReport", "GoldenCheck", "ModelCard", "SourceCard"]

SCHEMA = "edge-fer/benchmark/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenCheck:
    """The contract's golden vectors, computed here.

    Attributes:
        n: how many; 0 where the contract has none.
        max_error: the largest difference to what the build host computed: in steps of the
            output (LSB) of an int8 model, absolute for a float one; None where n is 0.
        int8: which of the two.
    """

    n: int
    max_error: float | None
    int8: bool

    @property
    def words(self) -> str:
        """What they prove."""
        if self.max_error is None:
            return "The contract has no golden vectors, so this device's arithmetic is unproven."
        off = f"{self.max_error:.0f} LSB" if self.int8 else f"{self.max_error:.2g}"
        within = "within 1 LSB" if self.int8 else "within 0.001"
        return (
            f"The {self.n} golden vectors prove that this device computes what the build host "
            f"computed, {within} (largest difference: {off})."
        )

    def to_json(self) -> dict[str, Any]:
        """The field ``golden``."""
        if self.max_error is None or self.int8:
            lsb = None if self.max_error is None else round(self.max_error)
            return {"n": self.n, "max_lsb": lsb}
        return {"n": self.n, "max_lsb": None, "max_abs": self.max_error}


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """Which model ran, and in which runtime."""

    name: str
    path: str
    sha256: str
    size_bytes: int
    scheme: str
    recipe: str | None
    parent_sha256: str | None
    label_scheme: str
    labels: tuple[str, ...]
    input: str
    backend: str
    threads: int

    @classmethod
    def of(cls, classifier: Classifier, threads: int) -> ModelCard:
        """Read off an open classifier."""
        contract, file = classifier.contract, classifier.model
        size = contract.input
        return cls(
            name=file.name,
            path=str(file.path),
            sha256=file.sha256,
            size_bytes=Path(file.path).stat().st_size,
            scheme=contract.quantisation.scheme,
            recipe=contract.quantisation.recipe,
            parent_sha256=contract.quantisation.parent_sha256,
            label_scheme=contract.label_scheme,
            labels=contract.labels,
            input=f"{size.width}x{size.height} {size.colour}",
            backend=classifier.backend.name,
            threads=threads,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceCard:
    """Where the frames came from, and what of ``edge-fer run`` they went through.

    Attributes:
        uri: without names and passwords.
        kind: see :data:`SourceKind`.
        width, height: in pixels.
        detector: as the user named it.
        track, gate: whether faces were followed, and judged before they were named.
        smoothing: of expressions over time.
        sinks: without names and passwords.
    """

    uri: str
    kind: SourceKind
    width: int
    height: int
    detector: str
    track: bool = True
    gate: bool = True
    smoothing: str = "hmm"
    sinks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkReport:
    """The whole result, in the order in which it was measured.

    Attributes:
        started: wall-clock time, with its zone.
        accuracy: measured now, or None.
        recorded: the contract's metrics, measured at conversion on the build host.
        state: what the machine did meanwhile.
        bound: what the frame rate depended on.
        sections: what else was measured, in the order in which it is shown.
        interrupted: whether the user stopped it before its end.
        problem: the error that ended it before its end.
    """

    started: datetime
    machine: Machine
    software: dict[str, Any]
    model: ModelCard
    source: SourceCard
    protocol: Protocol
    run: Run
    latency: Latency
    bound: Bound
    cold_start: ColdStart
    rss_peak_mb: float
    state: MachineState
    accuracy: MeasuredAccuracy | None
    recorded: tuple[Metric, ...]
    golden: GoldenCheck
    budgets: tuple[Check, ...]
    sections: tuple[Section, ...] = ()
    interrupted: bool = False
    problem: EdgeFerError | None = None

    @property
    def partial(self) -> bool:
        """Whether something that was asked for is missing."""
        return self.interrupted or self.problem is not None

    @property
    def missed(self) -> tuple[Check, ...]:
        """The budgets that were not met."""
        return tuple(check for check in self.budgets if not check.met)

    def to_json(self) -> dict[str, Any]:
        """The document ``edge-fer/benchmark/1``: DESIGN's fields, then what else is known."""
        return {
            "schema": SCHEMA,
            "device": self.machine.to_json(),
            "software": self.software,
            "model": self._model(),
            "source": self._source(),
            "latency_ms": self.latency.to_json(),
            "cold_start_ms": self.cold_start.median_ms,
            "fps": self.run.fps,
            "rss_peak_mb": self.rss_peak_mb,
            "thermal": self.state.thermal.to_json(),
            "accuracy": self.accuracy.to_json() if self.accuracy else None,
            "recorded": [metric.model_dump(mode="json") for metric in self.recorded],
            "golden": self.golden.to_json(),
            "started": self.started.isoformat(timespec="seconds"),
            "protocol": self._protocol(),
            "cold_start": self.cold_start.to_json(),
            "machine_state": self.state.to_json(),
            "bound": self.bound.by,
            "bounded_by": self.bound.words,
            "budgets": [check.to_json() for check in self.budgets],
            "notes": list(self.latency.notes),
            "interrupted": self.partial,
            "problem": None if self.problem is None else str(self.problem),
            **{section.key: section.to_json() for section in self.sections},
        }

    def _model(self) -> dict[str, Any]:
        card = self.model
        fields = {name: getattr(card, name) for name in ModelCard.__dataclass_fields__}
        return {**fields, "labels": list(card.labels)}

    def _source(self) -> dict[str, Any]:
        frames = self.run.frames
        return {
            **asdict(self.source),
            "sinks": list(self.source.sinks),
            "frames": frames,
            "dropped": self.run.dropped,
            "frames_with_face": self.latency.frames_with_face,
            "faces": self.latency.faces,
            "faces_per_frame": self.latency.faces / frames,
        }

    def _protocol(self) -> dict[str, Any]:
        warm_up = self.run.warm_up
        return {
            **self.protocol.to_json(),
            "warm_up_frames": warm_up.frames,
            "warm_up_s": warm_up.seconds,
            "steady": warm_up.steady,
            "frames": self.run.frames,
            "measured_s": self.run.seconds,
            "stopped_by": self.run.stopped_by,
            "passes": self.run.passes,
            "reopening_s": self.run.reopening_s,
        }
