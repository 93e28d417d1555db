"""The fields of ``edge-fer/benchmark/1`` that comparing needs, and ``edge-fer/baseline/1``.

Only what no comparison can do without is required, so that documents of older versions can be
read; fields of newer ones are ignored within version 1.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from edge_fer_bench.machine.card import MachineKind

__all__ = [
    "BASELINE",
    "BENCHMARK",
    "Accuracy",
    "Baseline",
    "Device",
    "Interval",
    "Model",
    "Published",
    "Times",
    "Total",
]

BENCHMARK: Literal["edge-fer/benchmark/1"] = "edge-fer/benchmark/1"
BASELINE: Literal["edge-fer/baseline/1"] = "edge-fer/baseline/1"

# Strict: neither true nor "12" is a number.
Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Positive = Annotated[Finite, Field(gt=0)]
NotNegative = Annotated[Finite, Field(ge=0)]
Share = Annotated[Finite, Field(ge=0, le=1)]
Count = Annotated[int, Field(strict=True, ge=0)]


def _in_order(interval: tuple[float, float]) -> tuple[float, float]:
    if interval[0] > interval[1]:
        raise ValueError("the lower end lies above the upper one")
    return interval


Interval = Annotated[tuple[Finite, Finite], AfterValidator(_in_order)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Device(_Part):
    """The machine; what it does not say is None."""

    kind: MachineKind
    name: str
    architecture: str
    cores: Annotated[int, Field(strict=True, gt=0)]
    cpu: str | None = None
    governor: str | None = None
    max_mhz: Finite | None = None
    memory_mb: Finite | None = None
    system: str | None = None


class Times(_Part):
    """One stage in milliseconds; ``ci95`` holds an interval per percentile, by its name."""

    n: Count
    mean: NotNegative | None = None
    p50: NotNegative | None = None
    p90: NotNegative | None = None
    p99: NotNegative | None = None
    ci95: dict[str, Interval | None] | None = None


class Total(Times):
    """The whole frame: the one stage that every document has."""

    n: Annotated[int, Field(strict=True, gt=0)]
    p50: Positive


class Latency(BaseModel):
    """The stages by name."""

    model_config = ConfigDict(frozen=True, extra="allow")
    __pydantic_extra__: dict[str, Times]

    total: Total

    @property
    def stages(self) -> dict[str, Times]:
        """All but the total."""
        return dict(self.__pydantic_extra__ or {})


class ColdStarts(_Part):
    """Each start of a fresh process, ms."""

    runs_ms: tuple[Positive, ...] = ()


class Model(BaseModel):
    """The model file, and whatever else is said of it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str | None = None
    path: str | None = None
    sha256: str | None = None
    size_bytes: Annotated[int, Field(strict=True, gt=0)] | None = None


class ThermalEvents(_Part):
    """What slowed the machine down; None where it does not say."""

    events: tuple[str, ...] | None = None


class MachineNoise(_Part):
    """Whether other programs, or other virtual machines, took more than a tenth of the machine."""

    noisy: bool | None = None


class Scores(_Part):
    """Of one of the two models."""

    accuracy: Share


class Accuracy(_Part):
    """What was measured on labelled pictures, and on which."""

    data_sha256: str | None = None
    split: str | None = None
    n: Annotated[int, Field(strict=True, gt=0)]
    quantised: Scores
    drop_points: Finite
    ci95_points: Interval | None = None


class Baseline(_Part):
    """A benchmark's document as far as comparing needs it."""

    schema_: Literal["edge-fer/benchmark/1"] = Field(alias="schema")
    device: Device
    latency_ms: Latency
    fps: Positive | None = None
    cold_start_ms: Positive | None = None
    cold_start: ColdStarts | None = None
    rss_peak_mb: Positive | None = None
    model: Model = Model()
    source: dict[str, Any] = {}
    software: dict[str, Any] = {}
    thermal: ThermalEvents | None = None
    machine_state: MachineNoise | None = None
    accuracy: Accuracy | None = None
    protocol: dict[str, Any] = {}
    started: str | None = None
    interrupted: bool = False

    @property
    def partial(self) -> bool:
        """Whether the run was stopped before its end."""
        return self.interrupted or self.protocol.get("stopped_by") == "interrupted"

    @property
    def noisy(self) -> bool:
        """Whether it is known that others worked beside; older documents do not say."""
        return self.machine_state is not None and bool(self.machine_state.noisy)

    @property
    def throttled(self) -> list[str] | None:
        """What slowed the machine down during the run; None where it does not say."""
        if self.thermal is None or self.thermal.events is None:
            return None
        return list(self.thermal.events)


class Published(_Part):
    """A file of ``benchmarks/baselines/``.

    Attributes:
        reference: what kind of machine it stands for, from ``benchmark.device.kind``.
        throttled: what slowed the machine down; null where it does not say.
        stamp: SHA-256 of the rest, see :mod:`edge_fer_bench.compare.baseline`.
    """

    schema_: Literal["edge-fer/baseline/1"] = Field(alias="schema")
    reference: str
    throttled: list[str] | None
    benchmark: Baseline
    stamp: str = Field(pattern="^[0-9a-f]{64}$")
