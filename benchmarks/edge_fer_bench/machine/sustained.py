"""A long run: whether the machine keeps up its speed once it is warm, and its memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.errors import DataError
from edge_fer_bench.drawing.section import Column, Figure, Grid, Row
from edge_fer_bench.machine.buckets import TENTHS, Bucket, cut, ends
from edge_fer_bench.machine.state import MachineState
from edge_fer_bench.machine.sustained_chart import over_time
from edge_fer_bench.machine.thermal import Spell
from edge_fer_bench.statistics.bootstrap import P99_FRAMES, intervals
from edge_fer_bench.statistics.ratio import FLOOR, Rule, Says, ratio_interval, tell

__all__ = ["HEAT_MINUTES", "Sustained", "sustained"]

Floats = NDArray[np.floating]

HEAT_MINUTES = 5.0
"""A shorter run says nothing of heat: board and heat sink need minutes to warm through."""

_BUCKETS = 60
_IN_SECONDS = 600.0  # a shorter run is told in seconds
_GROWTH_MB, _GROWTH_SHARE = 5.0, 0.05
# Under-voltage is the supply's doing, not that of heat.
_HEAT = ("throttled", "soft temperature limit", "frequency capped")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sustained:
    """A report's section: the curve over time and what it comes to.

    Attributes:
        asked_minutes, minutes: how long it was to last, and how long it did.
        buckets: the curve.
        tenths: the same in ten rows.
        ratio: median time of a frame in the last tenth, divided by that in the first.
        ratio_ci95: its 95 % interval; None where a tenth has too few frames for one.
        mhz_ratio: the same of the median frequency; None where it is unknown.
        throttled: the first spell of throttling by heat; None for none.
        throttled_frame: the number of the frame at its beginning, from 1.
        throttling_known: whether this machine tells of throttling at all.
        growth_mb: resident memory in the last tenth less that in the first, medians.
        rss_mb: median in the first tenth.
        noisy: whether other programs were at work; None where that is unknown.
    """

    asked_minutes: float
    minutes: float
    buckets: tuple[Bucket, ...]
    tenths: tuple[Bucket, ...]
    ratio: float | None
    ratio_ci95: tuple[float, float] | None
    mhz_ratio: float | None
    throttled: Spell | None
    throttled_frame: int | None
    throttling_known: bool
    growth_mb: float | None
    rss_mb: float | None
    noisy: bool | None
    key: str = "sustained"
    title: str = "Sustained load"

    @property
    def too_short(self) -> bool:
        """Whether it says nothing of heat."""
        return self.minutes < HEAT_MINUTES

    @property
    def says(self) -> Says:
        """How the time of a frame changed; while other programs were at work no change is told."""
        if self.ratio is None or self.ratio_ci95 is None:
            return "cannot_be_told"
        said = tell(self.ratio, self.ratio_ci95, Rule())
        return "cannot_be_told" if self.noisy and said != "no_difference" else said

    @property
    def slower(self) -> bool | None:
        """Whether the end is slower than the beginning for sure; None where it cannot be told."""
        return None if self.says == "cannot_be_told" else self.says == "higher"

    @property
    def lead(self) -> str:
        """How long, and how the end compares with the beginning."""
        asked = (
            ""
            if self.minutes >= 0.99 * self.asked_minutes
            else (f" of the {self.asked_minutes:g} asked for")
        )
        lasted = f"{self.minutes:.1f} min{asked}"
        return f"Frames were measured without a pause for {lasted}. {self._speed()}"

    @property
    def findings(self) -> Sequence[str]:
        """Heat, speed and memory, as far as a decider must know."""
        found = []
        if self.too_short:
            found.append(
                f"The sustained run lasted {self.minutes:.1f} min, too short to say anything of "
                f"heat: a board needs {HEAT_MINUTES:g} min and more to warm through."
            )
        if self.throttled is not None:
            found.append(self._throttling(self.throttled))
        if self.slower:
            found.append(self._speed())
        if self.mhz_ratio is not None and self.mhz_ratio < 1 / (1 + FLOOR):
            found.append(
                f"The processor ended the sustained run at {100 * self.mhz_ratio:.0f} % of the "
                "frequency that it began with."
            )
        if self._grew:
            found.append(
                f"Memory grew by {self.growth_mb:.1f} MB during the sustained run, from "
                f"{self.rss_mb:.0f} MB; a longer run tells whether that goes on."
            )
        if self.noisy:
            found.append(
                "Other programs were at work during the sustained run, so a change of speed may be "
                "theirs."
            )
        return found

    @property
    def grids(self) -> Sequence[Grid]:
        """Ten rows; the JSON document has the whole curve."""
        long = 60 * self.minutes >= _IN_SECONDS
        columns = (
            Column(name="minutes" if long else "seconds", kind="text"),
            Column(name="p50 ms", digits=1),
            Column(name="p99 ms", digits=1),
            Column(name="fps", digits=1),
            Column(name="°C", digits=0),
            Column(name="MHz", kind="count"),
            Column(name="throttled", kind="text"),
            Column(name="MB", digits=0),
        )
        rows = tuple(
            Row(
                cells=(
                    f"{b.from_s / 60:.1f} to {b.to_s / 60:.1f}"
                    if long
                    else f"{b.from_s:.1f} to {b.to_s:.1f}",
                    b.p50_ms,
                    b.p99_ms,
                    b.fps,
                    b.celsius,
                    b.mhz,
                    None if b.throttled is None else "yes" if b.throttled else "no",
                    b.rss_mb,
                ),
                tone="bad" if b.throttled else "plain",
            )
            for b in self.tenths
        )
        note = (
            ""
            if self.throttling_known
            else ("Throttling is not measured: only a Raspberry Pi's firmware tells of it.")
        )
        return [Grid(key="sustained", title="Over time", columns=columns, rows=rows, note=note)]

    @property
    def figures(self) -> Sequence[Figure]:
        """Time of a frame, temperature and frequency over the run."""
        if all(b.p50_ms is None for b in self.buckets):
            return []
        began = None if self.throttled is None else self.throttled.began_s
        caption = "Time of a frame over the run: median, and up to the 99th percentile in blue"
        if any(b.celsius is not None or b.mhz is not None for b in self.buckets):
            caption += "; below it what the machine did"
        mark = "" if began is None else "; throttling began at the dashed line"
        return [Figure(caption=f"{caption}{mark}.", svg=over_time(self.buckets, began))]

    def to_json(self) -> dict[str, Any]:
        """Ratios of 1 are no change; None where unknown."""
        return {
            "asked_minutes": self.asked_minutes,
            "minutes": self.minutes,
            "too_short_for_heat": self.too_short,
            "p50_ratio": self.ratio,
            "p50_ratio_ci95": None if self.ratio_ci95 is None else list(self.ratio_ci95),
            "slower": self.slower,
            "mhz_ratio": self.mhz_ratio,
            "throttling_began": None
            if self.throttled is None
            else {**self.throttled.to_json(), "frame": self.throttled_frame},
            "memory_growth_mb": self.growth_mb,
            "noisy": self.noisy,
            "buckets": [asdict(bucket) for bucket in self.buckets],
        }

    @property
    def _grew(self) -> bool:
        if self.growth_mb is None or self.rss_mb is None:
            return False
        return self.growth_mb > max(_GROWTH_MB, _GROWTH_SHARE * self.rss_mb)

    def _speed(self) -> str:
        if self.ratio is None:
            return "There are too few frames to compare its end with its beginning."
        change = (
            f"In the last tenth of the sustained run the median frame took {self.ratio:.2f} times "
            "as long as in the first"
        )
        if self.ratio_ci95 is None:
            return f"{change}; there are too few frames for an interval."
        low, high = self.ratio_ci95
        noise = ", as other programs were at work" if self.noisy else ""
        word = {
            "higher": "slower",
            "lower": "faster",
            "no_difference": f"no change beyond {100 * FLOOR:.0f} %",
            "cannot_be_told": f"whether that is a change cannot be told{noise}",
        }[self.says]
        return f"{change} (95 % interval {low:.2f} to {high:.2f}): {word}."

    def _throttling(self, spell: Spell) -> str:
        heat = "" if spell.celsius is None else f", at {spell.celsius:.0f} °C"
        if spell.began_s is None:
            return f"The processor was slowed down at some time of the run ({spell.name}{heat})."
        if spell.began_s == 0:
            return f"The processor was slowed down from the start of the run ({spell.name}{heat})."
        return (
            f"The processor was slowed down ({spell.name}) from about second {spell.began_s:.0f} "
            f"on, frame {self.throttled_frame:,}{heat}."
        )


def sustained(
    at_s: Floats, total_ms: Floats, state: MachineState, asked_minutes: float
) -> Sustained:
    """Put a long run together.

    Args:
        at_s: ``float64[N]`` when each frame ended, seconds from the run's start, ascending.
        total_ms: ``float32[N]`` or ``float64[N]``, the whole time of each frame.
        state: what the machine did meanwhile.
        asked_minutes: how long it was to last.

    Raises:
        DataError: no frames, or not one time for each.
    """
    at_s, total_ms = np.asarray(at_s, np.float64), np.asarray(total_ms, np.float64)
    if not len(at_s) or at_s.shape != total_ms.shape:
        raise DataError(
            f"A sustained run needs a time for each frame; there are {len(at_s)} and "
            f"{len(total_ms)}.",
            "Measure again: edge-fer benchmark --sustained 10",
        )
    end = float(at_s[-1])
    count = int(np.clip(len(at_s) // P99_FRAMES, TENTHS, _BUCKETS))
    early, late = total_ms[at_s <= end / TENTHS], total_ms[at_s > end * (1 - 1 / TENTHS)]
    ratio, interval = _ratio(early, late)
    thermal = state.thermal
    spell = next((s for s in thermal.spells if s.name in _HEAT), None)
    frame = None
    if spell is not None and spell.began_s is not None:
        frame = min(len(at_s), int(np.searchsorted(at_s, spell.began_s)) + 1)
    clocks, memory = ends(state, state.true_mhz, end), ends(state, state.column("rss_mb"), end)
    return Sustained(
        asked_minutes=asked_minutes,
        minutes=end / 60,
        buckets=cut(at_s, total_ms, state, count),
        tenths=cut(at_s, total_ms, state, TENTHS),
        ratio=ratio,
        ratio_ci95=interval,
        mhz_ratio=None if clocks is None or not clocks[0] else clocks[1] / clocks[0],
        throttled=spell,
        throttled_frame=frame,
        throttling_known=thermal.events is not None,
        growth_mb=None if memory is None else memory[1] - memory[0],
        rss_mb=None if memory is None else memory[0],
        noisy=state.noisy,
    )


def _ratio(early: Floats, late: Floats) -> tuple[float | None, tuple[float, float] | None]:
    """Of two medians, with an interval from those of both."""
    if not len(early) or not len(late):
        return None, None
    before, now = float(np.median(early)), float(np.median(late))
    if before <= 0 or now <= 0:
        return None, None
    before95, now95 = intervals(early, [50]), intervals(late, [50])
    if before95 is None or now95 is None:
        return now / before, None
    return now / before, ratio_interval(now, before, now95["p50"], before95["p50"])
