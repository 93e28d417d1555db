"""The most that a machine multiplies and accumulates, measured through the runtime that serves.

A large 1x1 convolution is the best case of a network: no border, no stride, all of it one matrix
product. What a runtime's kernels reach there is the flat part of the roof that Williams, Waterman
and Patterson draw ("Roofline: An Insightful Visual Performance Model for Multicore
Architectures", CACM 52(4), 2009); memory gives its slope. It is measured, not computed from clock
and instruction set: no network can be faster through this runtime, and data sheets promise more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from time import perf_counter_ns, process_time_ns
from typing import Any, Protocol

import numpy as np

from edge_fer.backends import open_backend
from edge_fer.backends.base import Backend
from edge_fer.errors import EdgeFerError
from edge_fer_bench.roofline.layer import Layer, flatbuffer
from edge_fer_bench.roofline.memory import buffer_bytes, copy_rate
from edge_fer_bench.roofline.turns import Timed, Work, in_turns

__all__ = ["LAYERS", "OpenBackend", "Peak", "Rate", "brief", "measure_peak"]

# Weights of 16 KB to 1 MB each: some of them fit any cache, and one is large enough for any core.
LAYERS = (
    Layer(operator="CONV_2D", side=48, channels=128, times=4),
    Layer(operator="CONV_2D", side=24, channels=256, times=4),
    Layer(operator="CONV_2D", side=12, channels=512, times=4),
    Layer(operator="CONV_2D", side=8, channels=1024, times=2),
    Layer(operator="DEPTHWISE_CONV_2D", side=24, channels=256, times=8),
)
_MEMORY_SHARE = 0.1
_OURS = 0.7


class OpenBackend(Protocol):
    """Loads a model, as :func:`edge_fer.backends.open_backend` does."""

    def __call__(self, name: str, flatbuffer: bytes, /, *, threads: int) -> Backend:
        """A backend by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """How fast one layer ran."""

    layer: Layer
    timed: Timed

    @property
    def gmac_s(self) -> float:
        """10^9 multiply-accumulates per second, in the median call."""
        return self.layer.macs / max(1.0, self.timed.p50_ns)

    def to_json(self) -> dict[str, Any]:
        """Its shape and figures."""
        return {
            "operator": self.layer.operator,
            "shape": list(self.layer.shape),
            "times": self.layer.times,
            "macs": self.layer.macs,
            "weight_bytes": self.layer.channels * self.layer.taps,
            "gmac_s": self.gmac_s,
            "calls": self.timed.calls,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """The roof of one machine, runtime and number of threads, for int8.

    Attributes:
        threads: of the runtime, and of the copy.
        backend: what the runtime calls itself; empty where it ran nothing.
        rates: of every layer that was tried.
        memory_gb_s: 10^9 bytes per second, read and written; None where not measured.
        busy: processor time per second while the layers were timed; near ``threads`` on a machine
            that has nothing else to do.
        why_not: why there are no rates; empty where there are.
    """

    threads: int
    backend: str = ""
    rates: tuple[Rate, ...] = ()
    memory_gb_s: float | None = None
    busy: float | None = None
    why_not: str = ""

    @property
    def pointwise(self) -> Rate | None:
        """The fastest 1x1 convolution: the peak."""
        return self._best("CONV_2D")

    @property
    def depthwise(self) -> Rate | None:
        """The fastest depthwise convolution: a lower roof, for layers of that kind."""
        return self._best("DEPTHWISE_CONV_2D")

    @property
    def gmac_s(self) -> float | None:
        """The peak; None where not measured."""
        return None if self.pointwise is None else self.pointwise.gmac_s

    @property
    def ridge(self) -> float | None:
        """MAC per byte from which memory is no longer the bound; None where not measured."""
        return self.gmac_s / self.memory_gb_s if self.gmac_s and self.memory_gb_s else None

    @property
    def words(self) -> str:
        """One sentence."""
        if self.pointwise is None or self.gmac_s is None:
            return f"The int8 peak is not measured: {self.why_not}"
        plural = "" if self.threads == 1 else "s"
        words = (
            f"The int8 peak of {self.threads} thread{plural} is {brief(self.gmac_s)} GMAC/s "
            f"({self.pointwise.layer.name}, {self.backend})"
        )
        if self.depthwise is not None:
            words += f", of depthwise layers {brief(self.depthwise.gmac_s)}"
        if self.memory_gb_s is not None:
            words += f"; memory gives {brief(self.memory_gb_s)} GB/s"
        if self.disturbed:
            words += (
                f". Other work held the processor ({self.busy:.1f} of {self.threads} were ours), "
                "so the true peak may be higher"
            )
        return f"{words}."

    @property
    def disturbed(self) -> bool:
        """Whether threads had to wait for each other because other work held the processor.

        One thread alone that is interrupted now and then has the same median all the same.
        """
        return self.threads > 1 and self.busy is not None and self.busy < _OURS * self.threads

    def to_json(self) -> dict[str, Any]:
        """All figures."""
        return {
            "threads": self.threads,
            "backend": self.backend or None,
            "gmac_s": self.gmac_s,
            "depthwise_gmac_s": None if self.depthwise is None else self.depthwise.gmac_s,
            "memory_gb_s": self.memory_gb_s,
            "busy_cores": self.busy,
            "disturbed": self.disturbed,
            "ridge_mac_per_byte": self.ridge,
            "layers": [rate.to_json() for rate in self.rates],
            "why_not": self.why_not or None,
        }

    def _best(self, operator: str) -> Rate | None:
        rates = [rate for rate in self.rates if rate.layer.operator == operator]
        return max(rates, key=lambda rate: rate.gmac_s, default=None)


def measure_peak(
    *,
    threads: int,
    backend: str = "auto",
    beside: Sequence[Work] = (),
    layers: Sequence[Layer] = LAYERS,
    seconds: float = 3.0,
    opener: OpenBackend = open_backend,
    memory_bytes: int | None = None,
    clock: Callable[[], int] = perf_counter_ns,
    cpu_clock: Callable[[], int] = process_time_ns,
    on_progress: Callable[[float, float], None] = lambda done, total: None,
) -> tuple[Peak, tuple[Timed, ...]]:
    """Time the layers, and what shall be compared with them, in turns; then memory.

    A runtime that cannot run the layers is no failure: the peak then says why it was not measured.

    Args:
        threads: CPU threads.
        backend: name of the runtime, as for :func:`edge_fer.backends.open_backend`.
        beside: work that is timed in the same turns, each with everything that one call takes.
        layers: what is tried.
        seconds: for all of it.
        opener: loads a model.
        memory_bytes: of the buffer that is copied; default: by the caches of this machine.
        clock: nanoseconds, monotonic.
        cpu_clock: nanoseconds of processor time that this process had, over all its threads.
        on_progress: told how many of the seconds are over.

    Returns:
        The peak, and the times of ``beside``.
    """
    copying = _MEMORY_SHARE * seconds
    with ExitStack() as opened:
        try:
            backends = []
            for layer in layers:
                backends.append(opener(backend, flatbuffer(layer), threads=threads))
                opened.callback(backends[-1].close)
            works = [
                partial(one.run, _input(layer)) for one, layer in zip(backends, layers, strict=True)
            ]
            for work in works:
                work()
            why_not, name = "", backends[0].name
        except EdgeFerError as err:
            works, why_not, name = [], str(err), ""
        began, had = clock(), cpu_clock()
        timed = in_turns(
            [*works, *beside],
            seconds=seconds - copying,
            clock=clock,
            on_progress=lambda done, _: on_progress(done, seconds),
        )
        busy = (cpu_clock() - had) / max(1, clock() - began)
    peak = Peak(
        threads=threads,
        backend=name,
        rates=tuple(
            Rate(layer=layer, timed=times)
            for layer, times in zip(layers, timed[: len(works)], strict=not why_not)
        ),
        memory_gb_s=_memory(threads, memory_bytes or buffer_bytes(), copying, clock),
        busy=busy if works else None,
        why_not=why_not,
    )
    on_progress(seconds, seconds)
    return peak, timed[len(works) :]


def brief(value: float) -> str:
    """A number above 0 with three digits, and none after the point from 100 on."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _input(layer: Layer) -> np.ndarray[Any, np.dtype[np.int8]]:
    return np.random.default_rng(layer.side).integers(-128, 128, layer.shape, dtype=np.int8)


def _memory(threads: int, size: int, seconds: float, clock: Callable[[], int]) -> float | None:
    try:
        return copy_rate(threads=threads, size=size, seconds=seconds, clock=clock)
    except MemoryError:
        return None
