"""The figures of two results side by side: each with its ratio or difference, and what it tells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import sqrt
from typing import Any, Literal

from edge_fer_bench.compare.documents import Accuracy, Baseline, Times
from edge_fer_bench.limits import MAX_DROP
from edge_fer_bench.statistics.bootstrap import Z95, Interval
from edge_fer_bench.statistics.ratio import (
    FLOOR,
    Rule,
    Says,
    difference_interval,
    ratio_interval,
    tell,
)

__all__ = ["Called", "Change", "Shift", "changes", "shifts", "why_no_shift"]

Called = Says | Literal["other_load"]
"""``other_load``: what would be a change, where other programs may be the reason."""

Unit = Literal["ms", "fps", "mb", "bytes"]
# Without an interval each of two medians may be off by the floor; means and tails by any amount.
_MEDIAN = Rule(bare=(1 + FLOOR) ** 2 - 1)
_LOOSE = Rule()
_MEMORY = Rule(bare=FLOOR)
_EXACT = Rule(floor=0.0, bare=0.0)

_WORDS: dict[Unit, tuple[str, str]] = {
    "ms": ("slower", "faster"),
    "fps": ("faster", "slower"),
    "mb": ("more", "less"),
    "bytes": ("larger", "smaller"),
}
_SAYS: dict[Called, str] = {
    "no_difference": "no difference shows",
    "cannot_be_told": "cannot be told",
    "other_load": "not called: other load",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One figure, and its ratio now / before.

    Attributes:
        figure: its name.
        unit: of both values.
        interval: 95 %, of the ratio; None where one of the two has none.
        is_range: the interval is instead all that the ratio of two single values may be.
        says: what may be said of the ratio and of the runs.
        stage: of which this is the median; None where it is none.
    """

    figure: str
    unit: Unit
    before: float
    now: float
    interval: Interval | None
    says: Called
    is_range: bool = False
    stage: str | None = None

    @property
    def ratio(self) -> float:
        """Now / before."""
        return self.now / self.before

    @property
    def words(self) -> str:
        """``faster``, ``slower`` (memory: ``more``, ``less``), or why neither."""
        if self.says in _SAYS:
            return _SAYS[self.says]
        return _WORDS[self.unit][self.says == "lower"]

    @property
    def is_worse(self) -> bool:
        """Slower, or more of what costs."""
        return self.says == ("lower" if self.unit == "fps" else "higher")

    def to_json(self) -> dict[str, Any]:
        """One entry of ``figures``."""
        return {
            "figure": self.figure,
            "unit": self.unit,
            "before": self.before,
            "now": self.now,
            "ratio": self.ratio,
            "ci95": None if self.interval is None or self.is_range else list(self.interval),
            "range": list(self.interval) if self.interval is not None and self.is_range else None,
            "verdict": self.words if self.says in ("higher", "lower") else self.says,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """One figure of accuracy, and its difference now - before in percentage points.

    Attributes:
        figure: its name.
        before: per cent or points.
        now: the same.
        interval: 95 %, of the difference; None where one of the two has none.
    """

    figure: Literal["accuracy", "drop"]
    before: float
    now: float
    interval: Interval | None

    @property
    def more_is_better(self) -> bool:
        """Whether a rise is an improvement."""
        return self.figure == "accuracy"

    @property
    def points(self) -> float:
        """Now - before."""
        return self.now - self.before

    @property
    def says(self) -> Says:
        """Within the usual limit of a drop nothing shows; beyond it the interval decides."""
        if self.interval is not None and self.interval[0] > 0:
            return "higher"
        if self.interval is not None and self.interval[1] < 0:
            return "lower"
        return "no_difference" if abs(self.points) <= MAX_DROP else "cannot_be_told"

    @property
    def words(self) -> str:
        """``better``, ``worse``, or why neither."""
        if self.says in _SAYS:
            return _SAYS[self.says]
        return "better" if (self.says == "higher") == self.more_is_better else "worse"

    def to_json(self) -> dict[str, Any]:
        """One entry of ``accuracy``."""
        if self.figure == "accuracy":
            values = {"before": self.before / 100, "now": self.now / 100}
        else:
            values = {"before_points": self.before, "now_points": self.now}
        return {
            "figure": self.figure,
            **values,
            "difference_points": self.points,
            "ci95_points": None if self.interval is None else list(self.interval),
            "verdict": self.words if self.says in ("higher", "lower") else self.says,
        }


def changes(now: Baseline, before: Baseline) -> tuple[Change, ...]:
    """Times, rates and sizes that both have: the whole frame first, then the rest by stage.

    Beside other programs a time may be anything: where one of the two runs had some, no change of
    a time is called, and ``other_load`` says why.
    """
    found: list[Change | None] = list(_total(now, before))
    a, b = now.cold_start, before.cold_start
    found += [
        _change(
            "cold start",
            "ms",
            (now.cold_start_ms, before.cold_start_ms),
            _LOOSE,
            reach=_any_two(a.runs_ms if a else (), b.runs_ms if b else ()),
        ),
        _change("peak memory", "mb", (now.rss_peak_mb, before.rss_peak_mb), _MEMORY),
    ]
    then = before.latency_ms.stages
    for stage, times in now.latency_ms.stages.items():
        if stage in then:
            median = _percentile(stage, "p50", times, then[stage], _MEDIAN)
            found.append(None if median is None else replace(median, stage=stage))
    sizes = (now.model.size_bytes, before.model.size_bytes)
    found.append(_change("model size", "bytes", sizes, _EXACT))
    noisy = now.noisy or before.noisy
    return tuple(_beside_others(c) if noisy else c for c in found if c is not None)


def _beside_others(change: Change) -> Change:
    if change.unit not in ("ms", "fps") or change.says not in ("higher", "lower"):
        return change
    return replace(change, says="other_load")


def _total(now: Baseline, before: Baseline) -> Iterator[Change | None]:
    a, b = now.latency_ms.total, before.latency_ms.total
    yield _percentile("frame", "p50", a, b, _MEDIAN)
    yield _percentile("frame", "p90", a, b, _LOOSE)
    yield _percentile("frame", "p99", a, b, _LOOSE)
    yield _percentile("frame", "mean", a, b, _LOOSE)
    yield _change("fps", "fps", (now.fps, before.fps), _LOOSE, (_rate95(now), _rate95(before)))


def _percentile(
    stage: str, name: Literal["p50", "p90", "p99", "mean"], a: Times, b: Times, rule: Rule
) -> Change | None:
    values = getattr(a, name), getattr(b, name)
    intervals = (a.ci95 or {}).get(name), (b.ci95 or {}).get(name)
    return _change(f"{stage} {name}", "ms", values, rule, intervals)


def _rate95(document: Baseline) -> Interval | None:
    """Of the frame rate, from that of the mean: frames come one after the other."""
    total = document.latency_ms.total
    mean95 = (total.ci95 or {}).get("mean")
    if document.fps is None or mean95 is None or not total.mean or mean95[0] <= 0:
        return None
    return document.fps * total.mean / mean95[1], document.fps * total.mean / mean95[0]


def _any_two(now: tuple[float, ...], before: tuple[float, ...]) -> Interval | None:
    """The least and the greatest ratio of two starts: three are too few for an interval."""
    if min(len(now), len(before)) < 3:
        return None
    return min(now) / max(before), max(now) / min(before)


def _change(
    figure: str,
    unit: Unit,
    values: tuple[float | None, float | None],
    rule: Rule,
    intervals: tuple[Interval | None, Interval | None] = (None, None),
    reach: Interval | None = None,
) -> Change | None:
    """None where one of the two values is unknown or 0."""
    now, before = values
    if not now or not before:
        return None
    interval = ratio_interval(now, before, *intervals) if reach is None else reach
    return Change(
        figure=figure,
        unit=unit,
        before=before,
        now=now,
        interval=interval,
        is_range=reach is not None,
        says=tell(now / before, interval, rule),
    )


def why_no_shift(now: Baseline, before: Baseline) -> str | None:
    """Why accuracies are not compared; None where they are."""
    a, b = now.accuracy, before.accuracy
    if a is None and b is None:
        return "neither run measured it"
    if a is None or b is None:
        return f"{'this run' if a is None else 'the baseline'} did not measure it"
    apart = [
        words
        for name, words in (("data_sha256", "other data"), ("split", "another split"))
        if getattr(a, name) != getattr(b, name) or getattr(a, name) is None
    ]
    if a.n != b.n:
        apart.append(f"{b.n:,} \u2192 {a.n:,} pictures")
    return ", ".join(apart) or None


def shifts(now: Baseline, before: Baseline) -> tuple[Shift, ...]:
    """Accuracy and drop, where both were measured on the same pictures; else nothing."""
    a, b = now.accuracy, before.accuracy
    if a is None or b is None or why_no_shift(now, before):
        return ()
    right = 100 * a.quantised.accuracy, 100 * b.quantised.accuracy
    drops = a.drop_points, b.drop_points
    return (
        Shift(
            figure="accuracy",
            now=right[0],
            before=right[1],
            interval=difference_interval(*right, _share95(a), _share95(b)),
        ),
        Shift(
            figure="drop",
            now=drops[0],
            before=drops[1],
            interval=difference_interval(*drops, a.ci95_points, b.ci95_points),
        ),
    )


def _share95(accuracy: Accuracy) -> Interval:
    """Of an accuracy in per cent, as a binomial share (normal approximation)."""
    share = accuracy.quantised.accuracy
    half = 100 * Z95 * sqrt(share * (1 - share) / accuracy.n)
    return 100 * share - half, 100 * share + half
