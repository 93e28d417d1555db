"""A result beside an earlier one of the same machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edge_fer_bench.compare.changes import Change, Shift, changes, shifts, why_no_shift
from edge_fer_bench.compare.differences import Difference, check_same_machine, differences
from edge_fer_bench.compare.documents import Baseline
from edge_fer_bench.compare.forest import forest
from edge_fer_bench.compare.reading import parse
from edge_fer_bench.drawing.section import Cell, Column, Figure, Grid, Row, points
from edge_fer_bench.statistics.bootstrap import Interval
from edge_fer_bench.statistics.ratio import METHOD

__all__ = ["Comparison", "check_same_machine", "compare"]

_COLUMNS = (
    Column(name="now / baseline", kind="text"),
    Column(name="then"),
    Column(name="now"),
    Column(name="ratio"),
    Column(name="95 %", kind="text"),
    Column(name="says", kind="text"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The section ``comparison``.

    Attributes:
        before: the baseline.
        changes: times, rates and sizes; the median of the whole frame is the first.
        shifts: accuracy, empty where it is not compared.
        no_shifts: why not; None where it is.
        not_the_same: software, settings and state of the machine.
        same_model: whether both ran the same model file.
        noisy: which of the two runs had other programs beside it, in words.
    """

    before: Baseline
    changes: tuple[Change, ...]
    shifts: tuple[Shift, ...]
    no_shifts: str | None
    not_the_same: tuple[Difference, ...]
    same_model: bool
    noisy: tuple[str, ...]

    @property
    def key(self) -> str:
        return "comparison"

    @property
    def title(self) -> str:
        return "Compared with the baseline"

    @property
    def lead(self) -> str:
        return (
            f"The baseline is {self._named} on the same machine. Every ratio is now / baseline; "
            "what was not the same stands first, because it may be the reason."
        )

    @property
    def findings(self) -> Sequence[str]:
        """How the median frame compares, what else changed, and what that may be due to."""
        found = [self._verdict]
        if self.not_the_same:
            found.append(f"Not the same: {', '.join(d.what for d in self.not_the_same)}.")
        if self.noisy:
            found.append(
                f"Other programs or virtual machines took more than a tenth of the machine in "
                f"{' and '.join(self.noisy)}, so no change of a time is called: repeat that on a "
                "quiet machine."
            )
        elif self._all_alike:
            found.append(
                "Every stage changed in the same direction, as when the machine itself is faster "
                "or slower (load, clock, heat): repeat both runs in turn before you believe it."
            )
        if self._unexplained:
            found.append(
                "The same model file gives another accuracy on the same pictures than in the "
                "baseline: preprocessing, runtime or OpenCV compute something else now."
            )
        if any(shift.words == "worse" for shift in self.shifts):
            worse = ", ".join(s.figure for s in self.shifts if s.words == "worse")
            found.append(f"Worse than in the baseline: {worse}.")
        throttled = [d for d in self.not_the_same if d.what == "throttling"]
        found += [f"The machine was not in the same state: {d.words}." for d in throttled]
        return found

    @property
    def grids(self) -> Sequence[Grid]:
        grids = [self._differences()] if self.not_the_same else []
        grids.append(self._changes())
        if self.shifts:
            grids.append(self._shifts())
        return grids

    @property
    def figures(self) -> Sequence[Figure]:
        return (
            Figure(
                caption="Ratio now / baseline with its 95 % interval; within the pale band two "
                "runs of the same differ too. Grey marks have no interval.",
                svg=forest(self.changes),
            ),
        )

    def to_json(self) -> dict[str, Any]:
        before = self.before
        return {
            "baseline": {
                "started": before.started,
                "edge_fer": before.software.get("edge_fer"),
                "model": before.model.name,
                "model_sha256": before.model.sha256,
            },
            "verdict": self._verdict,
            "noisy": list(self.noisy),
            "not_the_same": [difference.to_json() for difference in self.not_the_same],
            "figures": [change.to_json() for change in self.changes],
            "accuracy": [shift.to_json() for shift in self.shifts],
            "accuracy_not_compared": self.no_shifts,
            "method": METHOD,
        }

    @property
    def _named(self) -> str:
        version = self.before.software.get("edge_fer")
        day = self.before.started[:10] if self.before.started else "an unknown day"
        return (
            f"of {day} "
            f"(edge-fer {version or 'of an unknown version'}, model "
            f"{self.before.model.name or 'unknown'})"
        )

    @property
    def _unexplained(self) -> bool:
        return self.same_model and any(s.points for s in self.shifts if s.more_is_better)

    @property
    def _all_alike(self) -> bool:
        """Whether no stage stayed as it was; one change of a program seldom does that."""
        said = [change.says for change in self.changes if change.stage is not None]
        return len(said) > 2 and set(said) in ({"higher"}, {"lower"})

    @property
    def _verdict(self) -> str:
        median, *rest = self.changes
        interval = f" (95 % interval {_words(median.interval)})" if median.interval else ""
        words = (
            f"Against the baseline {self._named} the median frame takes {median.ratio:.2f} times "
            f"as long{interval}: {median.words}."
        )
        by_words: dict[str, list[str]] = {}
        for change in rest:
            if change.says in ("higher", "lower"):
                by_words.setdefault(change.words, []).append(change.figure)
        for said, names in by_words.items():
            words += f" {said.capitalize()}: {', '.join(names)}."
        return words

    def _differences(self) -> Grid:
        return Grid(
            key="comparison_differences",
            title="Not the same",
            columns=tuple(Column(name=name, kind="text") for name in ("what", "baseline", "now")),
            rows=tuple(Row(cells=(d.what, d.before, d.now)) for d in self.not_the_same),
        )

    def _changes(self) -> Grid:
        bare = [change.figure for change in self.changes if change.interval is None]
        notes = ["Times in ms, memory and size in MB.", METHOD]
        ranges = [change.figure for change in self.changes if change.is_range]
        if ranges:
            notes.append(f"Of {', '.join(ranges)}: the least and greatest ratio of any two starts.")
        if self.before.latency_ms.total.ci95 is None:
            notes.append("No interval: the baseline has none, so it takes 21 % to call a median.")
        elif bare:
            notes.append(f"No interval: {', '.join(bare)}.")
        if self.no_shifts:
            notes.append(f"Accuracy is not compared: {self.no_shifts}.")
        return Grid(
            key="comparison",
            title="Against the baseline",
            columns=_COLUMNS,
            rows=tuple(_row(i, change) for i, change in enumerate(self.changes)),
            note=" ".join(notes),
        )

    def _shifts(self) -> Grid:
        columns = (*_COLUMNS[:3], Column(name="points", kind="points"), *_COLUMNS[4:])
        rows = []
        for s in self.shifts:
            name = f"{s.figure}, {'%' if s.figure == 'accuracy' else 'points'}"
            cells: tuple[Cell, ...] = (name, s.before, s.now, s.points, _pair(s.interval))
            rows.append(Row(cells=(*cells, s.words), tone="bad" if s.words == "worse" else "plain"))
        return Grid(
            key="comparison_accuracy",
            title="Accuracy on the same pictures",
            columns=columns,
            rows=tuple(rows),
            note="The intervals take the two runs as independent. They saw the same pictures, so "
            "that is more than wide enough; which pictures each got right is in neither document.",
        )


def compare(now: Mapping[str, Any], before: Baseline) -> Comparison:
    """Put a result beside an earlier one.

    Args:
        now: ``edge-fer/benchmark/1``, measured on the same machine.
        before: from :func:`edge_fer_bench.compare.baseline.read_baseline`.

    Raises:
        ConfigError: another machine, see :func:`check_same_machine`.
        DataError: ``now`` is no benchmark's document.
    """
    here = parse(now)
    check_same_machine(now["device"], before)
    return Comparison(
        before=before,
        changes=changes(here, before),
        shifts=shifts(here, before),
        no_shifts=why_no_shift(here, before),
        not_the_same=differences(here, before),
        noisy=tuple(
            words
            for words, run in (("the baseline's run", before), ("this run", here))
            if run.noisy
        ),
        same_model=here.model.sha256 is not None and here.model.sha256 == before.model.sha256,
    )


def _row(i: int, change: Change) -> Row:
    scale = 1e-6 if change.unit == "bytes" else 1.0
    return Row(
        cells=(
            change.figure,
            scale * change.before,
            scale * change.now,
            change.ratio,
            None if change.interval is None else _words(change.interval),
            change.words,
        ),
        tone="bad" if change.is_worse else "strong" if i == 0 else "plain",
    )


def _words(interval: Interval) -> str:
    return f"{interval[0]:.2f} to {interval[1]:.2f}"


def _pair(interval: Interval | None) -> str | None:
    return None if interval is None else " to ".join(points(end) for end in interval)
