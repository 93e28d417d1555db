"""What the report tells beside the result: how much hangs on the calibration pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.errors import DataError
from edge_fer.evaluation.drop import AccuracyDrop
from edge_fer.evaluation.metrics import MIN_CLASS_ROWS
from edge_fer.types import Image
from edge_fer_convert.calibration.parting import CalibrationSet
from edge_fer_convert.climbing.ladder import Made, Outcome, Workshop
from edge_fer_convert.int8.candidate import Candidate
from edge_fer_convert.measuring.statistics import measure_statistics
from edge_fer_convert.reporting.latency import latencies_ms

__all__ = ["drawn", "halves", "rung_rows", "sweep"]

_SIZES = (16, 32, 64, 128, 256, 512, 1024)
_DRAWN = 100
_MEASURED = (
    "bytes", "latency_ms", "method", "n", "float_accuracy", "int8_accuracy", "drop_points",
    "ci95_points", "worst_class", "agreement", "mean_abs_dp", "flips", "seconds",
)  # fmt: skip


def halves(shop: Workshop, calibration: CalibrationSet, made: Made) -> dict[str, Any] | None:
    """Two models, each with the ranges of one half of the calibration set, on the selection rows.

    Returns:
        ``n``, ``agreement`` of the two, ``drop_points`` of each; None where the set is too small.
    """
    try:
        parts = calibration.halves()
    except DataError:
        return None
    said = [_said(shop, made.floating, part.pixels, made.method) for part in parts]
    drops = [shop.selection.drop(p) for p in said]
    same = said[0].argmax(axis=1) == said[1].argmax(axis=1)
    return {
        "n": len(same),
        "agreement": float(same.mean()),
        "drop_points": [drop.drop_points for drop in drops],
    }


def sweep(shop: Workshop, calibration: CalibrationSet, made: Made) -> list[dict[str, Any]]:
    """The same recipe's ranges from ever more of the pictures; each set holds the one before."""
    sizes = [n for n in _SIZES if n < len(calibration)] + [len(calibration)]
    rows = []
    for size in sizes:
        said = _said(shop, made.floating, calibration.first(size).pixels, made.method)
        drop = shop.selection.drop(said)
        rows.append({"n": size, "agreement": drop.agreement, "mean_abs_dp": drop.mean_abs_dp})
    return rows


def drawn(shop: Workshop) -> dict[str, Any]:
    """What most people do: a hundred pictures drawn at random, lowest and highest value."""
    pixels = shop.learning()[:_DRAWN]
    row = _row("drawn", f"{len(pixels)} pictures drawn at random, lowest and highest value")
    drop = shop.selection.drop(_said(shop, shop.flatbuffer, pixels, "minmax"))
    return {**row, "status": "baseline", "why": "what most converters are given", **_figures(drop)}


def _said(shop: Workshop, flatbuffer: bytes, pixels: Image, method: str) -> NDArray[np.float64]:
    """The selection rows' probabilities by a float model in int8, its ranges from some pictures."""
    statistics = measure_statistics(flatbuffer, (i[None] for i in shop.inputs(pixels)))
    ranges = shop.pinned(statistics, method)
    candidate = Candidate.quantised(
        flatbuffer, shop.contract, ranges, per_tensor_dense=shop.per_tensor_dense
    )
    return candidate.probabilities(shop.selection.pixels)


def rung_rows(outcome: Outcome, shop: Workshop, *others: dict[str, Any]) -> list[dict[str, Any]]:
    """The rungs for the report, with their latencies here, taken in turns."""
    made = {r.recipe.name: r.made for r in outcome.rungs if r.made is not None}
    latencies = latencies_ms({name: m.candidate.flatbuffer for name, m in made.items()})
    rows = list(others)
    for rung in outcome.rungs:
        row = _row(rung.recipe.name, rung.recipe.words)
        row |= {"status": rung.status, "why": rung.why, "seconds": round(rung.seconds, 1)}
        if rung.made is not None:
            row |= _figures(rung.made.drop)
            row |= {
                "bytes": len(rung.made.candidate.flatbuffer),
                "latency_ms": latencies[rung.recipe.name],
                "method": rung.made.method,
            }
        rows.append(row)
    return [{**row, "split": shop.selection.split} for row in rows]


def _row(name: str, words: str) -> dict[str, Any]:
    """A row of the table with nothing measured."""
    return {"name": name, "words": words, **dict.fromkeys(_MEASURED)}


def _figures(drop: AccuracyDrop) -> dict[str, Any]:
    worst = max(
        (
            (c.drop_points, label)
            for label, c in drop.per_class.items()
            if c.n >= MIN_CLASS_ROWS and c.drop_points is not None
        ),
        default=None,
    )
    return {
        "n": drop.n,
        "float_accuracy": drop.reference.accuracy,
        "int8_accuracy": drop.quantised.accuracy,
        "drop_points": drop.drop_points,
        "ci95_points": list(drop.ci95_points),
        "worst_class": None
        if worst is None
        else {"label": worst[1], "n": drop.per_class[worst[1]].n, "drop_points": worst[0]},
        "agreement": drop.agreement,
        "mean_abs_dp": drop.mean_abs_dp,
        "flips": round((1 - drop.agreement) * drop.n),
    }
