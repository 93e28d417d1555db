"""How much of what this machine can do each network of a pipeline reaches, and what keeps it from
the rest.

The model is the roofline of Williams, Waterman and Patterson (CACM 52(4), 2009): no network is
faster than the machine's peak, nor than memory brings its bytes. The work is counted in
multiply-accumulates from the model file, time is that of one call of the network alone, and the
peak is what :mod:`edge_fer_bench.roofline.peak` measured in the same seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from time import perf_counter_ns, process_time_ns
from typing import Any

from edge_fer.backends import open_backend
from edge_fer.loaded import LoadedModel
from edge_fer.pipeline import Pipeline
from edge_fer_bench.drawing.section import Column, Figure, Grid, Row, percent
from edge_fer_bench.roofline.networks import Network, detectors, networks, typical_input
from edge_fer_bench.roofline.peak import OpenBackend, Peak, brief, measure_peak
from edge_fer_bench.roofline.roof_chart import Reached, roof_chart

__all__ = ["Roofline", "measure_roofline"]

_NEAR = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Roofline:
    """The networks under the machine's roof; a :class:`~edge_fer_bench.drawing.section.Section`.

    Attributes:
        peak: the roof.
        networks: of the pipeline, the classifier first.
        left_out: detectors that are no network of ours, by name.
    """

    peak: Peak
    networks: tuple[Network, ...]
    left_out: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return "roofline"

    @property
    def title(self) -> str:
        return "Roofline"

    @property
    def lead(self) -> str:
        return (
            "What each network multiplies in one call, how fast it was here when called alone, and "
            "what share that is of the most that this runtime reaches: large 1x1 convolutions, "
            "timed in the same seconds."
        )

    @property
    def findings(self) -> Sequence[str]:
        return ()

    @property
    def grids(self) -> Sequence[Grid]:
        unmeasured = [] if self.peak.rates else [self.peak.words]
        left_out = [f"{name}: no .tflite, not in the roofline." for name in self.left_out]
        table = Grid(
            key="roofline",
            title="Share of the int8 peak",
            columns=(
                Column(name="network", kind="text"),
                Column(name="MMAC", digits=1),
                Column(name="kB", kind="count"),
                Column(name="ms"),
                Column(name="GMAC/s", digits=1),
                Column(name="of peak", kind="share", digits=0),
                Column(name="MAC/B", digits=0),
            ),
            rows=tuple(
                Row(
                    cells=(
                        net.name,
                        None if net.macs is None else net.macs / 1e6,
                        net.size_bytes / 1e3,
                        net.ms,
                        net.gmac_s,
                        self.share(net),
                        net.intensity,
                    )
                )
                for net in self.networks
            ),
            note=" ".join([*unmeasured, *map(self.words, self.networks), *left_out]),
        )
        if not self.peak.rates:
            return (table,)
        roof = Grid(
            key="roofline_peak",
            detail=True,
            title="What the peak was measured with",
            columns=(
                Column(name="layer", kind="text"),
                Column(name="weights kB", kind="count"),
                Column(name="GMAC/s", digits=1),
            ),
            rows=tuple(
                Row(
                    cells=(
                        rate.layer.name,
                        rate.layer.channels * rate.layer.taps / 1e3,
                        rate.gmac_s,
                    ),
                    tone="strong" if rate is self.peak.pointwise else "plain",
                )
                for rate in self.peak.rates
            ),
            note=self.peak.words,
        )
        return (table, roof)

    @property
    def figures(self) -> Sequence[Figure]:
        if self.peak.gmac_s is None or self.peak.memory_gb_s is None:
            return ()
        reached = [
            Reached(name=net.name, intensity=net.intensity, gmac_s=net.gmac_s)
            for net in self.networks
            if net.intensity and net.gmac_s
        ]
        lower = self.peak.depthwise
        return (
            Figure(
                caption=(
                    "Under the roof: work per byte to the right, speed upwards, both logarithmic. "
                    "The slope is memory, the flat part the int8 peak, dashed the peak of "
                    "depthwise layers."
                ),
                svg=roof_chart(
                    reached,
                    peak=self.peak.gmac_s,
                    memory=self.peak.memory_gb_s,
                    lower=None if lower is None else lower.gmac_s,
                ),
            ),
        )

    def share(self, net: Network) -> float | None:
        """Of the int8 peak, 0 to 1; None where there is nothing to compare."""
        if net.scheme != "int8" or not net.on_cpu or not net.gmac_s or not self.peak.gmac_s:
            return None
        return net.gmac_s / self.peak.gmac_s

    def allowed(self, net: Network) -> float | None:
        """Share of the peak that its kinds of layers allow; None where that is unknown.

        Depthwise layers run at their own peak at best, all others at that of the 1x1 convolution.
        """
        lower = self.peak.depthwise
        if not net.macs or lower is None or not self.peak.gmac_s:
            return None
        slower = max(1.0, self.peak.gmac_s / lower.gmac_s)
        return net.macs / (net.macs + net.depthwise_macs * (slower - 1))

    def words(self, net: Network) -> str:
        """What it reaches, and what is its bound."""
        share = self.share(net)
        if share is None:
            return f"{net.name} {self._no_share(net)}."
        words = f"{net.name} reaches {percent(share)} of the int8 peak"
        if share >= 1:
            return f"{words}: the layers that it was measured with do not show all of it."
        return f"{words}; {self._bound(net, share)}."

    def to_json(self) -> dict[str, Any]:
        """The field ``roofline``."""
        return {
            "peak": self.peak.to_json(),
            "networks": [
                {
                    **net.to_json(),
                    "share_of_peak": self.share(net),
                    "share_allowed": self.allowed(net),
                    "words": self.words(net),
                }
                for net in self.networks
            ],
            "left_out": list(self.left_out),
        }

    def _no_share(self, net: Network) -> str:
        """Why there is none, about the network."""
        if net.macs is None:
            return "has an operator whose work cannot be told from the file"
        if net.macs == 0:
            return "has no layers with weights, so there is nothing to compare"
        if net.scheme != "int8":
            return "is a float model: no share of the int8 peak"
        if not net.on_cpu:
            return "does not run on the processor that the peak is of"
        return "has no share, as the peak was not measured"

    def _bound(self, net: Network, share: float) -> str:
        """The largest part of what is lost, by the roofs that it is under."""
        ridge, by_memory, words = self.peak.ridge, 1.0, ""
        if net.intensity is not None and ridge is not None:
            by_memory = min(1.0, net.intensity / ridge)
            words = f"at {brief(net.intensity)} MAC per byte "
            if by_memory < 1:
                words += f"memory would allow {percent(by_memory)} if no cache held anything; "
            else:
                words += "memory is not its bound; "
        allowed = self.allowed(net) or 1.0
        if share >= _NEAR:
            return f"{words}that is near the peak of such layers"
        if share >= _NEAR * by_memory:
            return f"{words}that may be its bound"
        slower, rest = share * (1 / allowed - 1), max(0.0, 1 - share / allowed)
        lost = f"{percent(rest)} {{}}to small or narrow layers and to what multiplies nothing"
        if not net.depthwise_macs:
            return f"{words}of its time about {lost.format('goes ')}"
        words += (
            f"of its time about {percent(slower)} would go to what depthwise layers take more, if "
            "they ran at the measured depthwise rate"
        )
        return f"{words}, and {lost.format('then ')}"


def measure_roofline(
    pipeline: Pipeline,
    *,
    threads: int,
    backend: str = "auto",
    seconds: float = 3.0,
    opener: OpenBackend = open_backend,
    memory_bytes: int | None = None,
    clock: Callable[[], int] = perf_counter_ns,
    cpu_clock: Callable[[], int] = process_time_ns,
    on_progress: Callable[[float, float], None] = lambda done, total: None,
) -> Roofline:
    """Time every network of a pipeline alone, in turns with what the peak is made of.

    Args:
        pipeline: opened; its camera and sinks are not touched.
        threads: those that it was opened with.
        backend: that it was opened with.
        seconds: for all of it.
        opener: loads a model.
        memory_bytes: of the buffer that is copied; default: by the caches of this machine.
        clock: nanoseconds, monotonic.
        cpu_clock: nanoseconds of processor time that this process had.
        on_progress: told how many of the seconds are over.

    Raises:
        DeviceError: the processor failed in the middle.
    """
    parts = networks(pipeline)
    peak, timed = measure_peak(
        threads=threads,
        backend=backend,
        beside=[partial(part.backend.run, typical_input(part)) for part in parts],
        seconds=seconds,
        opener=opener,
        memory_bytes=memory_bytes,
        clock=clock,
        cpu_clock=cpu_clock,
        on_progress=on_progress,
    )
    return Roofline(
        peak=peak,
        networks=tuple(Network.of(part, times) for part, times in zip(parts, timed, strict=True)),
        left_out=tuple(
            type(part).__name__.removesuffix("Detector").lower()
            for part in detectors(pipeline)
            if not isinstance(part, LoadedModel)
        ),
    )
