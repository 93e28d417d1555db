"""What is to be measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge_fer.config import Settings
from edge_fer.errors import ConfigError, DataError
from edge_fer_bench.accuracy.robustness import ROWS
from edge_fer_bench.budgets import Budgets
from edge_fer_bench.sweep.variants import planned
from edge_fer_bench.timing.protocol import Protocol

__all__ = ["Request", "Sweeping"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweeping:
    """What varies; the first of each is what everything else is measured with."""

    models: Sequence[str]
    detectors: Sequence[str]
    threads: Sequence[int]
    sources: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to be measured; names and units as on the command line.

    Attributes:
        settings: of the pipeline that is timed: that of ``edge-fer run``.
        reference: the float twin; None for the usual one.
        data, ferplus, split: labelled pictures, to measure the accuracy drop.
        groups: a CSV file of groups of these pictures.
        robustness: also under corruptions.
        rows: so many pictures are shown under corruptions, at most.
        end_to_end: also pasted into scenes and detected first.
        scenes: these; None: generated ones.
        sustained: minutes that frames are timed for; None: as ``protocol`` says.
        sweep: what varies, or None.
        baseline: an earlier document to compare with.
        protocol: the rules of timing.
        budgets: limits.
    """

    settings: Settings
    reference: str | None = None
    data: Path | None = None
    ferplus: Path | None = None
    split: str | None = None
    groups: Path | None = None
    robustness: bool = False
    rows: int = ROWS
    end_to_end: bool = False
    scenes: Path | None = None
    sustained: float | None = None
    sweep: Sweeping | None = None
    baseline: Path | None = None
    protocol: Protocol = field(default_factory=Protocol)
    budgets: Budgets = field(default_factory=Budgets)

    @property
    def rules(self) -> Protocol:
        """The protocol, as long as ``sustained`` says."""
        if self.sustained is None:
            return self.protocol
        return replace(self.protocol, seconds=60 * self.sustained, p99_frames=0)

    def check(self) -> None:
        """Refuse what nobody can mean, before anything is measured.

        Raises:
            ConfigError: options that do not go together.
            DataError: there is no such data.
        """
        self.budgets.require_data(self.data)
        if self.sweep is not None:
            sweep = self.sweep
            planned(
                models=sweep.models,
                detectors=sweep.detectors,
                threads=sweep.threads,
                sources=sweep.sources,
            )
        if self.scenes is not None and not self.end_to_end:
            raise ConfigError(
                "--scenes says what faces are pasted into, and nothing is pasted.",
                "Add --end-to-end, or leave --scenes out.",
            )
        if self.data is not None:
            if not self.data.exists():
                raise DataError(f"There is no data at {self.data}.", "Check --data.")
            return
        wanting = {
            "--reference": self.reference,
            "--ferplus": self.ferplus,
            "--split": self.split,
            "--groups": self.groups,
            "--robustness": self.robustness or None,
            "--end-to-end": self.end_to_end or None,
        }
        for flag, value in wanting.items():
            if value is not None:
                raise ConfigError(
                    f"{flag} is about labelled pictures, but there is no --data.",
                    "Add --data with labelled pictures.",
                )
