"""What a report comes to, in words that can be read without the rest of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from edge_fer.contract import Metric
from edge_fer_bench.accuracy.measured import MeasuredAccuracy
from edge_fer_bench.drawing.section import points
from edge_fer_bench.report.report import BenchmarkReport
from edge_fer_bench.timing.latency import StageTimes

__all__ = [
    "NOT_MEASURED",
    "Headline",
    "State",
    "judge",
    "measured_words",
    "p_value",
    "recorded_words",
]

State = Literal["pass", "fail", "open", "info"]
_OF_ACCURACY = ("groups", "proxies", "robustness", "end_to_end")
NOT_MEASURED = "accuracy: not measured here"


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """The first thing that a reader sees.

    Attributes:
        state: ``pass`` and ``fail`` where limits were judged, ``open`` where the figures do not
            decide, ``info`` where nothing was to be judged.
        word: the state in a word or two.
        text: one line.
        sentences: what it rests on.
    """

    state: State
    word: str
    text: str
    sentences: tuple[str, ...]


def judge(report: BenchmarkReport) -> Headline:
    """The verdict: an interrupted run first, then missed limits, then the accuracy drop."""
    state, word, text = _first(report)
    met = [check.words for check in report.budgets if check.met]
    sentences = [_speed(report), _accuracy(report), report.golden.words]
    suspicions: tuple[str, ...] = ()
    if report.accuracy is not None:
        suspicions = report.accuracy.suspicions
        sentences[:2] = sentences[1], sentences[0]  # what the headline is about comes first
        sentences[:0] = suspicions  # and before it what explains it all
    if report.problem is not None:
        sentences[:0] = [f"Not all was measured: {report.problem}"]
    for section in report.sections:
        # What a wrong contract does to groups and spoilt faces is no news of int8.
        if not (suspicions and section.key in _OF_ACCURACY):
            sentences += section.findings
    if met:
        sentences.append(f"Limits kept: {'; '.join(met)}.")
    return Headline(state=state, word=word, text=text, sentences=tuple(sentences))


def measured_words(accuracy: MeasuredAccuracy) -> str:
    """The drop that was measured here, with its interval and what classes it hit."""
    drop = accuracy.drop
    low, high = drop.ci95_points
    pictures = "picture" if drop.n == 1 else "pictures"
    words = (
        f"On {drop.n:,} labelled {pictures} ({PurePath(accuracy.faces.path).name}, "
        f"{accuracy.faces.split}) the int8 model is right {100 * drop.quantised.accuracy:.2f} % "
        f"of the time and its float reference {100 * drop.reference.accuracy:.2f} %: a drop of "
        f"{points(drop.drop_points)} points, 95 % interval {points(low)} to {points(high)}."
    )
    over = accuracy.classes_over
    if over:
        worst = (f"{label} {points(drop.per_class[label].drop_points or 0, 1)}" for label in over)
        words += (
            f" These classes lost more than {accuracy.max_class_drop:g} points of recall: "
            f"{', '.join(worst)}."
        )
    if accuracy.reference_is_parent is False:
        words += (
            f" Mind: {accuracy.reference} is not the file that this model's contract names as "
            "its float parent."
        )
    return words


def recorded_words(metric: Metric) -> str:
    """What the contract says was measured at conversion: data, split, n and interval."""
    low, high = metric.ci95_points
    return (
        f"data {metric.data}, split {metric.split}, n {metric.n:,}: float "
        f"{100 * metric.float_accuracy:.2f} %, int8 {100 * metric.int8_accuracy:.2f} %, drop "
        f"{points(metric.drop_points)} points, 95 % interval {points(low)} to {points(high)}"
    )


def p_value(p: float) -> str:
    """``p = 0.33`` or ``p < 0.001``."""
    return f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"


def _first(report: BenchmarkReport) -> tuple[State, str, str]:
    if report.partial:
        cut = "Interrupted" if report.interrupted else "Incomplete"
        return "open", cut, f"Partial report: {report.run.frames} frames so far"
    if report.accuracy is not None and report.accuracy.suspicions:
        what, mark, _ = report.accuracy.suspicions[0].partition(". ")
        return "fail", "Contract looks wrong", what + mark.strip()
    if report.missed:
        missed = "; ".join(check.words for check in report.missed)
        return "fail", "Limit missed", f"{missed[0].upper()}{missed[1:]}"
    if report.accuracy is not None:
        return _of_drop(report.accuracy)
    word: tuple[State, str] = ("pass", "Limits kept") if report.budgets else ("info", "Measured")
    return *word, f"{report.run.fps:.0f} frames per second on this machine"


def _of_drop(accuracy: MeasuredAccuracy) -> tuple[State, str, str]:
    drop, limit = accuracy.drop.drop_points, f"the limit of {accuracy.max_drop:g} points"
    if accuracy.verdict == "pass":
        cost = "Int8 loses nothing" if drop <= 0 else f"Int8 costs {points(drop)} points"
        return "pass", "Pass", f"{cost} against float, within {limit}"
    if accuracy.verdict == "fail":
        over = f"Int8 loses too much in: {', '.join(accuracy.classes_over)}"
        beyond = f"Int8 costs {points(drop)} points, beyond {limit}"
        return "fail", "Fail", over if accuracy.classes_over else beyond
    more = accuracy.rows_to_decide
    rows = f"; about {more:,} pictures would decide" if more and more > accuracy.drop.n else ""
    told = f"A drop of {points(drop)} points cannot be told from {limit}{rows}"
    return "open", "Not distinguishable", told


def _accuracy(report: BenchmarkReport) -> str:
    if report.accuracy is not None:
        return measured_words(report.accuracy)
    recorded = [recorded_words(metric) for metric in report.recorded]
    if not recorded:
        return f"{NOT_MEASURED}, and the contract has no drop recorded at conversion."
    return f"{NOT_MEASURED}. Recorded in the contract at conversion: {'; '.join(recorded)}."


def _speed(report: BenchmarkReport) -> str:
    total = report.latency.total
    cold = report.cold_start.median_ms
    start = f"; a fresh process gives its first result after {cold / 1000:.2f} s" if cold else ""
    half = f"Half of the frames take at most {_interval(total, 'p50')}"
    if total.claimed_p99 is None:
        return f"{half}, the slowest of {total.n} took {total.max:.1f} ms{start}."
    return f"{half}, 99 % at most {_interval(total, 'p99')}{start}."


def _interval(times: StageTimes, name: Literal["p50", "p99"]) -> str:
    """``3.6 ms (95 % interval 3.5 to 3.7)``."""
    value = f"{getattr(times, name):.1f} ms"
    if times.ci95 is None:
        return value
    low, high = times.ci95[name]
    return f"{value} ({'95 % interval ' if name == 'p50' else ''}{low:.1f} to {high:.1f})"
