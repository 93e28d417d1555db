"""A long run in stretches of equal time: frames, and what the machine did meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge_fer_bench.machine.state import MachineState
from edge_fer_bench.statistics.bootstrap import P99_FRAMES

__all__ = ["TENTHS", "Bucket", "cut", "ends"]

Floats = NDArray[np.floating]

TENTHS = 10
"""The beginning and the end of a run are a tenth of it each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """A stretch of the run; None where nothing was measured in it.

    Attributes:
        from_s, to_s: seconds from the run's start.
        n: frames that ended in it.
        p50_ms, p99_ms: of their whole time; no 99th percentile from fewer than 400 frames.
        fps: frames per second.
        celsius: highest temperature.
        mhz: median frequency, the firmware's where it tells one.
        throttled: whether anything slowed the machine down; None where that cannot be told.
        rss_mb: highest resident memory, 10^6 bytes.
    """

    from_s: float
    to_s: float
    n: int
    p50_ms: float | None
    p99_ms: float | None
    fps: float
    celsius: float | None
    mhz: float | None
    throttled: bool | None
    rss_mb: float | None


def cut(at_s: Floats, total_ms: Floats, state: MachineState, count: int) -> tuple[Bucket, ...]:
    """The run in stretches of equal time.

    Args:
        at_s: ``float64[N]`` when each frame ended, ascending, N at least 1.
        total_ms: ``float64[N]``.
        state: what the machine did.
        count: of stretches.
    """
    edges = np.linspace(0, at_s[-1], count + 1)
    frames = np.searchsorted(at_s, edges, side="right")
    frames[0] = 0
    when = state.column("at_s")
    celsius, mhz, rss = state.column("celsius"), state.true_mhz, state.column("rss_mb")
    bits = state.column("throttled")
    cut = []
    for i in range(count):
        low, high = float(edges[i]), float(edges[i + 1])
        times = total_ms[frames[i] : frames[i + 1]]
        last = i == count - 1
        seen = (when >= low) & ((when < high) | last)
        slowed = _known(bits[seen])
        cut.append(
            Bucket(
                from_s=low,
                to_s=high,
                n=len(times),
                p50_ms=float(np.median(times)) if len(times) else None,
                p99_ms=float(np.percentile(times, 99)) if len(times) >= P99_FRAMES else None,
                fps=len(times) / max(1e-9, high - low),
                celsius=_most(celsius[seen]),
                mhz=_middle(mhz[seen]),
                throttled=bool((slowed.astype(int) & 0xF).any()) if len(slowed) else None,
                rss_mb=_most(rss[seen]),
            )
        )
    return tuple(cut)


def ends(state: MachineState, values: Floats, end_s: float) -> tuple[float, float] | None:
    """Medians of a machine's values in the first and in the last tenth; None without either."""
    when = state.column("at_s")
    first = _middle(values[when <= end_s / TENTHS])
    last = _middle(values[when > end_s * (1 - 1 / TENTHS)])
    return None if first is None or last is None else (first, last)


def _known(values: Floats) -> Floats:
    return values[~np.isnan(values)]


def _most(values: Floats) -> float | None:
    known = _known(values)
    return float(known.max()) if len(known) else None


def _middle(values: Floats) -> float | None:
    known = _known(values)
    return float(np.median(known)) if len(known) else None
