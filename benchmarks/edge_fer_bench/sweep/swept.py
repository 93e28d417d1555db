"""One variant of a sweep in figures: its times, what its files weigh and how often it is right."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from edge_fer.config import Settings
from edge_fer.contract import ModelContract
from edge_fer.detectors import DETECTORS
from edge_fer.detectors.haar import CASCADES
from edge_fer.models import find, load, shipped
from edge_fer.uri import redacted, split_query
from edge_fer_bench.statistics.bootstrap import P99_FRAMES
from edge_fer_bench.statistics.rounds import Ratio
from edge_fer_bench.sweep.rounds import Block, Taken
from edge_fer_bench.sweep.variants import Variant

__all__ = ["MeasuredShare", "Swept", "model_kb", "swept"]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredShare:
    """How often a classifier is right on labelled crops: a fraction 0 to 1, of ``n`` pictures."""

    share: float
    n: int
    split: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Swept:
    """The figures of one variant.

    Attributes:
        variant: which.
        rounds_ms: median of a whole frame, per round.
        frames: how many were measured.
        faces: found per frame.
        width, height: of the frames in pixels.
        mean_ms, p50_ms, p99_ms: of a whole frame, as it came; p99 None below 400 frames.
        ms: median of a whole frame of the first variant; of another one, that times ``ratio``, so
            that a mood of the machine that met one of them more does not count.
        work_ms: median of a frame without getting the picture.
        detect_ms, classify_ms: medians over the frames in which they ran; None where they never
            did.
        fps: frames per second of wall time.
        ratio: its time over that of the first variant.
        size_kb: of the model files, the detector's among them.
        accuracy: None where nobody knows it.
        measured: whether that was measured now; else the contract has it, from the build host.
        label_scheme: of the model: accuracies of different ones are not comparable.
        live: whether the source has a rate of its own, so that times hold waiting.
    """

    variant: Variant
    rounds_ms: tuple[float, ...]
    frames: int
    faces: float
    width: int
    height: int
    mean_ms: float
    p50_ms: float
    p99_ms: float | None
    ms: float
    work_ms: float
    detect_ms: float | None
    classify_ms: float | None
    fps: float
    ratio: Ratio
    size_kb: float
    accuracy: MeasuredShare | None
    measured: bool
    label_scheme: str
    live: bool

    @property
    def share(self) -> float | None:
        """The accuracy, where it is known."""
        return None if self.accuracy is None else self.accuracy.share

    @property
    def comparable(self) -> tuple[object, ...]:
        """The same for variants whose accuracies mean the same."""
        known = self.accuracy
        return (self.label_scheme, self.measured, known and (known.split, known.n))

    @property
    def judged(self) -> str:
        """Where the accuracy comes from; empty where there is none."""
        known = self.accuracy
        if known is None:
            return ""
        where = f"{known.split}, " if known.split else ""
        when = "measured now" if self.measured else "recorded"
        return f"{self.label_scheme}, {when} ({where}n {known.n:,})"

    def to_json(self) -> dict[str, Any]:
        """One entry of ``sweep.variants``."""
        variant, known = self.variant, self.accuracy
        fields = asdict(self)
        for name in ("variant", "measured"):
            del fields[name]
        return {
            "model": variant.model,
            "detector": variant.detector,
            "threads": variant.threads,
            "source": redacted(variant.source),
            **fields,
            "rounds_ms": list(self.rounds_ms),
            "accuracy": None
            if known is None
            else {
                "accuracy": known.share,
                "n": known.n,
                "split": known.split or None,
                "how": "measured" if self.measured else "recorded",
            },
        }


def swept(
    taken: Taken, first: Taken, settings: Settings, accuracies: Mapping[str, MeasuredShare]
) -> Swept:
    """Sum up.

    Args:
        taken: what was timed.
        first: what it is compared with, in the same rounds.
        settings: of its pipeline.
        accuracies: by model, measured now.
    """
    blocks = taken.blocks
    total = [ms for block in blocks for ms in block.total_ms]
    capture = [ms for block in blocks for ms in block.capture_ms]
    ratio = Ratio.of(_medians(blocks), _medians(first.blocks))
    contract = load(settings.model).contract
    measured = accuracies.get(settings.model)
    return Swept(
        variant=taken.variant,
        rounds_ms=_medians(blocks),
        frames=len(total),
        faces=sum(block.faces for block in blocks) / len(total),
        width=taken.size[0],
        height=taken.size[1],
        mean_ms=float(np.mean(total)),
        p50_ms=float(np.median(total)),
        p99_ms=float(np.percentile(total, 99)) if len(total) >= P99_FRAMES else None,
        ms=ratio.median * float(np.median([ms for block in first.blocks for ms in block.total_ms])),
        work_ms=float(np.median(np.subtract(total, capture))),
        detect_ms=_median([ms for block in blocks for ms in block.detect_ms]),
        classify_ms=_median([ms for block in blocks for ms in block.classify_ms]),
        fps=len(total) / max(1e-9, sum(block.seconds for block in blocks)),
        ratio=ratio,
        size_kb=model_kb(settings),
        accuracy=_recorded(contract) if measured is None else measured,
        measured=measured is not None,
        label_scheme=contract.label_scheme,
        live=taken.live,
    )


def model_kb(settings: Settings) -> float:
    """Size of all model files that a pipeline of these settings reads, in kB (1000 bytes).

    A Haar cascade, which comes with OpenCV, counts as well.

    Raises:
        ModelError: one of them is not there.
    """
    return sum(path.stat().st_size for path in _files(settings)) / 1e3


def _files(settings: Settings) -> list[Path]:
    name, given = split_query(settings.detector)
    files = [find(settings.model)]
    if name == "haar":
        cascade = CASCADES[given.get("cascade", "default")]
        return [*files, Path(cv2.__file__).parent / "data" / cascade]
    if name in DETECTORS:
        return [*files, Path(given["file"]) if "file" in given else find(name)]
    files.append(find(name))
    twin = f"{name}-region"
    if settings.track and twin in shipped():  # as edge_fer.assemble opens it
        files.append(find(twin))
    return files


def _recorded(contract: ModelContract) -> MeasuredShare | None:
    """What the contract says of the test split, else of the last one that it names."""
    if not contract.metrics:
        return None
    metric = next((m for m in contract.metrics if m.split == "PublicTest"), contract.metrics[-1])
    is_float = contract.quantisation.scheme == "float32"
    share = metric.float_accuracy if is_float else metric.int8_accuracy
    return MeasuredShare(share=share, n=metric.n, split=metric.split)


def _medians(blocks: tuple[Block, ...]) -> tuple[float, ...]:
    return tuple(block.median_ms for block in blocks)


def _median(values: list[float]) -> float | None:
    return float(np.median(values)) if values else None
