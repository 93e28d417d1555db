"""Limits that the user set, and whether they were kept."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from edge_fer.errors import ConfigError
from edge_fer.evaluation.metrics import MIN_CLASS_ROWS
from edge_fer_bench.accuracy.measured import MeasuredAccuracy
from edge_fer_bench.timing.latency import Latency
from edge_fer_bench.timing.protocol import P99_FRAMES

__all__ = ["Budgets", "Check"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One limit and what was measured against it.

    Attributes:
        budget: the flag's name without dashes, for JSON.
        limit: what the user set.
        measured: the figure, in the limit's unit.
        met: whether the limit was kept; True also where a drop cannot be told from it.
        words: the sentence for people.
    """

    budget: str
    limit: float
    measured: float
    met: bool
    words: str

    def to_json(self) -> dict[str, Any]:
        """One entry of the field ``budgets``."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budgets:
    """What ``--max-...`` and ``--min-...`` were set to; None where the user did not.

    Attributes:
        max_drop: top-1 drop, percentage points.
        max_class_drop: recall drop of the worst class, percentage points.
        max_p99: 99th percentile of a frame's whole time, ms; of fewer than 400 frames the slowest.
        min_fps: frames per second.
        max_rss: peak memory, 10^6 bytes.
    """

    max_drop: float | None = None
    max_class_drop: float | None = None
    max_p99: float | None = None
    min_fps: float | None = None
    max_rss: float | None = None

    def require_data(self, data: object) -> None:
        """Refuse an accuracy limit that nothing would be measured for.

        Raises:
            ConfigError: a drop is limited, but there is no data.
        """
        if data is None and not (self.max_drop is None and self.max_class_drop is None):
            raise ConfigError(
                "--max-drop and --max-class-drop limit what is measured here, and without --data "
                "no accuracy is.",
                "Add --data with labelled pictures.",
            )

    def check(
        self, latency: Latency, fps: float, rss_mb: float, accuracy: MeasuredAccuracy | None
    ) -> tuple[Check, ...]:
        """Every limit that was set and measured, in the order of the flags."""
        checks = []
        if accuracy is not None and self.max_drop is not None:
            checks.append(_drop(self.max_drop, accuracy))
        if accuracy is not None and self.max_class_drop is not None:
            checks.append(_class_drop(self.max_class_drop, accuracy))
        if self.max_p99 is not None:
            checks.append(_p99(self.max_p99, latency))
        if self.min_fps is not None:
            words = f"{fps:.1f} frames per second, the least allowed is {self.min_fps:g}"
            met = fps >= self.min_fps and latency.faces > 0
            words += _faceless(latency)
            checks.append(_check("min_fps", self.min_fps, fps, met, words))
        if self.max_rss is not None:
            words = f"memory peaked at {rss_mb:.0f} MB, the limit is {self.max_rss:g} MB"
            checks.append(_check("max_rss", self.max_rss, rss_mb, rss_mb <= self.max_rss, words))
        return tuple(checks)


def _p99(limit: float, latency: Latency) -> Check:
    """Judged by the slowest frame where there are too few for a 99th percentile."""
    total = latency.total
    if total.n >= P99_FRAMES:
        slow = total.p99 or 0.0
        words = f"99 % of frames take at most {slow:.1f} ms, the limit is {limit:g} ms"
    else:
        slow = total.max or 0.0
        words = (
            f"the slowest of {total.n} frames, too few for a 99th percentile, took {slow:.1f} ms, "
            f"the limit is {limit:g} ms"
        )
    met = slow <= limit and latency.faces > 0
    return _check("max_p99", limit, slow, met, words + _faceless(latency))


def _faceless(latency: Latency) -> str:
    """Why a limit of time cannot be kept where nobody was seen."""
    if latency.faces:
        return ""
    return ", but no face was found, so that classifying was never timed: name another --source"


def _drop(limit: float, accuracy: MeasuredAccuracy) -> Check:
    drop = accuracy.drop
    verdict = drop.verdict(limit)
    low, high = drop.ci95_points
    says = {
        "pass": "is within",
        "fail": "is beyond",
        "not_distinguishable": "cannot be told from",
    }[verdict]
    words = (
        f"the accuracy drop of {drop.drop_points:.2f} points (95 % interval {low:.2f} to "
        f"{high:.2f}) {says} the limit of {limit:g}"
    )
    return _check("max_drop", limit, drop.drop_points, verdict != "fail", words)


def _class_drop(limit: float, accuracy: MeasuredAccuracy) -> Check:
    drops = {label: c.drop_points or 0.0 for label, c in accuracy.drop.per_class.items()}
    over = accuracy.drop.classes_over(limit)
    if over:
        worst = max(over, key=lambda label: drops[label])
        named = ", ".join(f"{label} {drops[label]:.1f}" for label in over)
        words = f"lost more than {limit:g} points of recall: {named}"
        return _check("max_class_drop", limit, drops[worst], False, words)
    judged = [drops[label] for label, c in accuracy.drop.per_class.items() if c.n >= MIN_CLASS_ROWS]
    words = (
        f"no class that has at least {MIN_CLASS_ROWS} pictures lost more than {limit:g} points "
        "of recall"
    )
    if not judged:
        words = f"no class was judged: none has {MIN_CLASS_ROWS} pictures"
    return _check("max_class_drop", limit, max(judged, default=0.0), bool(judged), words)


def _check(budget: str, limit: float, measured: float, met: bool, words: str) -> Check:
    return Check(budget=budget, limit=limit, measured=measured, met=met, words=words)
