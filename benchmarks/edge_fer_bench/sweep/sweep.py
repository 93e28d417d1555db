"""Several models, detectors, numbers of threads and sources beside each other, on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter_ns
from types import MappingProxyType
from typing import Any

from edge_fer.assemble import build
from edge_fer.config import Settings
from edge_fer.pipeline import Pipeline
from edge_fer.uri import redacted
from edge_fer_bench.drawing.section import Figure, Grid
from edge_fer_bench.statistics.ratio import Rule, tell
from edge_fer_bench.statistics.rounds import Ratio
from edge_fer_bench.sweep.pareto import Point, pareto_front, pareto_picture
from edge_fer_bench.sweep.rounds import Skipped, take_turns
from edge_fer_bench.sweep.scaling import Cost, Fit, fits, line_chart
from edge_fer_bench.sweep.swept import MeasuredShare, Swept, swept
from edge_fer_bench.sweep.tables import WITHOUT_CAPTURE, scaling_grids, variant_grids
from edge_fer_bench.sweep.variants import Names, announced, planned

__all__ = ["Sweep", "measure_sweep"]

_AS_MANY_FACES = 0.98
_MOST_LINES = 4
_NO_ACCURACIES: Mapping[str, MeasuredShare] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """All variants; a :class:`~edge_fer_bench.drawing.section.Section`.

    Attributes:
        variants: those that were measured, in the order of the plan; the first is what the others
            are compared with.
        skipped: those that could not be opened or went wrong.
        rounds: in each of which every variant had its turn.
        frames: of one turn.
        reopened: whether each turn had to open its pipeline anew.
        faces_per_frame: how many faces are classified in one frame.
        interrupted: whether Ctrl-C ended it early.
    """

    variants: tuple[Swept, ...]
    skipped: tuple[Skipped, ...]
    rounds: int
    frames: int
    reopened: bool
    faces_per_frame: int
    interrupted: bool

    key = "sweep"
    title = "Variants beside each other"

    @property
    def lead(self) -> str:
        """How it was measured."""
        anew = " Each turn opened its pipeline anew." if self.reopened else ""
        early = " Ctrl-C ended it early." if self.interrupted else ""
        return (
            f"{len(self.variants)} variants took turns of {self.frames} frames, {self.rounds} "
            "rounds of them, each begun by another one. A ratio is the time of a frame over that "
            f"of the first variant in the same round: the median of the rounds and their quartiles."
            f"{anew}{early}"
        )

    @property
    def findings(self) -> Sequence[str]:
        """A variant that is faster and as accurate, and threads that cost time."""
        return [*self._better(), *self._slower_with_threads()]

    @property
    def grids(self) -> Sequence[Grid]:
        """The variants, in as many tables as 80 columns ask for; then how the cost grows."""
        tables = variant_grids(self.variants, self.skipped, self._names, self.front)
        return [*tables, *scaling_grids(self.scaling, self.faces_per_frame)]

    @property
    def figures(self) -> Sequence[Figure]:
        """Accuracy against latency, and a line for each fit."""
        return [*self._pareto(), *self._charts()]

    @property
    def scaling(self) -> tuple[Fit, ...]:
        """How the cost of a frame grows with faces and pixels, where the sources tell."""
        names = self._names
        costs = [
            Cost(
                what=names.label(v.variant, but="source"),
                faces=v.faces,
                width=v.width,
                height=v.height,
                ms=v.work_ms,
            )
            for v in self.variants
            if not v.live
        ]
        return fits(costs)

    @property
    def front(self) -> set[int]:
        """The places of the variants that no other one beats, among those of the first source."""
        places, points = self._points()
        return {places[i] for i in pareto_front(points)}

    def to_json(self) -> dict[str, Any]:
        """The field ``sweep``."""
        front = self.front
        return {
            "rounds": self.rounds,
            "frames_per_turn": self.frames,
            "reopened": self.reopened,
            "interrupted": self.interrupted,
            "variants": [
                {**v.to_json(), "on_front": i in front} for i, v in enumerate(self.variants)
            ],
            "skipped": [
                {
                    "model": s.variant.model,
                    "detector": s.variant.detector,
                    "threads": s.variant.threads,
                    "source": redacted(s.variant.source),
                    "reason": str(s.error),
                }
                for s in self.skipped
            ],
            "scaling": [fit.to_json() for fit in self.scaling],
        }

    @property
    def _names(self) -> Names:
        return Names([v.variant for v in self.variants])

    def _better(self) -> list[str]:
        first, *others = self.variants
        names = self._names
        good = [
            v
            for v in others
            if v.variant.source == first.variant.source
            and tell(v.ratio.median, v.ratio.ci95, Rule()) == "lower"
            and _no_worse(v, first)
        ]
        if not good:
            return []
        best = min(good, key=lambda v: v.ratio.median)
        mind = (
            "; how many faces each detector misses is told by: edge-fer evaluate --detector"
            if best.variant.detector != first.variant.detector
            else ""
        )
        return [
            f"With {names.label(best.variant)} a frame takes {_ratio(best.ratio)} of the time that "
            f"it takes with {names.label(first.variant)}, at no less accuracy{mind}."
        ]

    def _slower_with_threads(self) -> list[str]:
        names = self._names
        singles = {_but_threads(v): v for v in self.variants if v.variant.threads == 1}
        slower = []
        for v in self.variants:
            single = singles.get(_but_threads(v))
            if single is None or v is single:
                continue
            ratio = Ratio.of(v.rounds_ms, single.rounds_ms)
            if tell(ratio.median, ratio.ci95, Rule()) == "higher":
                slower.append(f"{names.label(v.variant)}: {_ratio(ratio)}")
        if not slower:
            return []
        return [f"More threads are slower than one here ({'; '.join(slower)} of its time)."]

    def _points(self) -> tuple[list[int], list[Point]]:
        """The variants of the first source whose accuracy is known: their places, and as points."""
        names, source = self._names, self.variants[0].variant.source
        places, points = [], []
        for i, v in enumerate(self.variants):
            if v.accuracy is None or v.variant.source != source:
                continue
            places.append(i)
            points.append(
                Point(
                    accuracy=v.accuracy.share,
                    latency_ms=v.ms,
                    size_kb=v.size_kb,
                    label=names.label(v.variant, but="source"),
                    group=v.judged,
                )
            )
        return places, points

    def _pareto(self) -> list[Figure]:
        _, points = self._points()
        if len(points) < 2:
            return []
        others = len({v.variant.source for v in self.variants}) > 1
        source = redacted(self.variants[0].variant.source)
        on = f" On {source}, the first source." if others else ""
        caption = (
            "Accuracy of the classifier against the median time of a frame; the area of a dot: "
            "size of the model files. Pale: another one is as good or better in all three. The "
            f"line joins those that are best in accuracy and time.{on}"
        )
        return [Figure(caption=caption, svg=pareto_picture(points))]

    def _charts(self) -> list[Figure]:
        found = self.scaling
        figures = []
        for over, held in dict.fromkeys((fit.over, fit.held) for fit in found):
            lines = [fit for fit in found if (fit.over, fit.held) == (over, held)]
            words = "; ".join(f"{fit.what}: {fit.cost}" for fit in lines[:_MOST_LINES])
            more = (
                f" {len(lines[_MOST_LINES:])} more are in the table." if lines[_MOST_LINES:] else ""
            )
            caption = f"{_upper(words)}. Measured at {lines[0].where}. {WITHOUT_CAPTURE}{more}"
            figures.append(Figure(caption=caption, svg=line_chart(lines[:_MOST_LINES])))
        return figures


def measure_sweep(
    base: Settings,
    *,
    models: Sequence[str],
    detectors: Sequence[str],
    threads: Sequence[int],
    sources: Sequence[str],
    seconds: float,
    accuracies: Mapping[str, MeasuredShare] = _NO_ACCURACIES,
    on_start: Callable[[str], None] = lambda words: None,
    on_progress: Callable[[float, float], None] = lambda done, total: None,
    on_skip: Callable[[str], None] = lambda why: None,
    clock: Callable[[], int] = perf_counter_ns,
    opened: Callable[[Settings], Pipeline] = build,
) -> Sweep:
    """Time every combination; Ctrl-C after the first round gives what there was so far.

    Args:
        base: what all variants share; its sinks are left out.
        models: names or files; every combination of them with the three that follow is a variant.
        detectors: with options, as ``haar?cascade=alt2``.
        threads: of one inference.
        sources: addresses.
        seconds: per variant.
        accuracies: by model, of labelled pictures, measured now; for the others the one that the
            contract recorded at conversion is shown.
        on_start: told how many variants there are and how long that takes.
        on_progress: told how many turns of how many are done.
        on_skip: told of each variant that is left out and why, and if it all takes longer.
        clock: nanoseconds, monotonic.
        opened: makes a pipeline.

    Raises:
        ConfigError: too many combinations, or none.
        EdgeFerError: of the first variant, where none could be measured.
        KeyboardInterrupt: Ctrl-C before the first round was whole.
    """
    variants = planned(models=models, detectors=detectors, threads=threads, sources=sources)
    on_start(announced(variants, seconds))
    turns = take_turns(
        variants,
        base,
        seconds=seconds,
        opened=opened,
        clock=clock,
        on_progress=on_progress,
        on_skip=on_skip,
    )
    first = turns.taken[0]
    return Sweep(
        variants=tuple(
            swept(taken, first, taken.variant.settings(base), accuracies) for taken in turns.taken
        ),
        skipped=turns.skipped,
        rounds=turns.rounds,
        frames=turns.frames,
        reopened=turns.reopened,
        faces_per_frame=base.faces_per_frame,
        interrupted=turns.interrupted,
    )


def _no_worse(v: Swept, first: Swept) -> bool:
    """Whether it is as accurate, as far as that is known, and finds as many faces."""
    if v.faces < _AS_MANY_FACES * first.faces:
        return False
    if v.variant.model == first.variant.model:
        return True
    if v.accuracy is None or first.accuracy is None or v.comparable != first.comparable:
        return False
    return v.accuracy.share >= first.accuracy.share


def _but_threads(v: Swept) -> tuple[str, str, str]:
    return v.variant.model, v.variant.detector, v.variant.source


def _ratio(ratio: Ratio) -> str:
    low, high = ratio.ci95 or (ratio.low, ratio.high)
    return f"{100 * ratio.median:.0f} % [{100 * low:.0f} to {100 * high:.0f}]"


def _upper(words: str) -> str:
    return words[:1].upper() + words[1:]
