"""What a conversion did and what it cost: one JSON document, and one page that needs no network."""

from __future__ import annotations

import json
from importlib.resources import files as resources
from math import floor
from typing import TYPE_CHECKING, Any

from edge_fer.evaluation.data import LabelledFaces
from edge_fer.evaluation.drop import AccuracyDrop
from edge_fer_convert.graph import Graph
from edge_fer_convert.ranges import Ranges
from edge_fer_convert.verify import graph_summary

if TYPE_CHECKING:
    from edge_fer_convert.candidate import Finished
    from edge_fer_convert.source import KerasSource

__all__ = ["GENERATOR", "SCHEMA", "as_html", "as_json", "document"]

SCHEMA = "edge-fer/convert/1"
GENERATOR = '<meta name="generator" content="edge-fer convert">'
_TEMPLATE = "report.html.jinja"


def document(
    *,
    source: KerasSource,
    finished: dict[str, Finished],
    evaluation: LabelledFaces,
    drop: AccuracyDrop,
    budget: dict[str, Any],
    calibration: dict[str, Any],
    ranges: Ranges,
    comparison: dict[str, Any] | None,
    warnings: list[str],
) -> dict[str, Any]:
    """The report, ``edge-fer/convert/1``; accuracies are fractions, ``*_points`` are points.

    Args:
        source: the Keras model.
        finished: the two models, ``int8`` and ``float``.
        evaluation: what the figures were measured on.
        drop: float against int8.
        budget: :meth:`edge_fer_convert.budget.Judgement.to_json`.
        calibration: :meth:`edge_fer_convert.calibration.CalibrationSet.manifest`.
        ranges: of the activations, as quantised.
        comparison: :meth:`edge_fer_convert.comparison.Comparison.to_json`, or None.
        warnings: sentences that were said on the way.
    """
    int8 = finished["int8"].model
    contract = int8.contract
    return {
        "schema": SCHEMA,
        "model": {"path": str(source.path), "sha256": source.sha256},
        "outputs": {
            name: {
                "path": str(file.model.path),
                "bytes": len(file.data),
                "sha256": file.model.sha256,
            }
            for name, file in finished.items()
        },
        "labels": list(contract.labels),
        "label_scheme": contract.label_scheme,
        "output_kind": contract.output.kind,
        "temperature": contract.output.temperature,
        "recipe": contract.quantisation.recipe,
        "accuracy": {
            "data": {"path": evaluation.path, "sha256": evaluation.sha256},
            "split": evaluation.split,
            **drop.to_json(),
            "verdict": budget["verdict"],
        },
        "budget": budget,
        "calibration": calibration,
        "ranges": {name: list(bounds) for name, bounds in sorted(ranges.of.items())},
        "graph": graph_summary(Graph.read(int8.flatbuffer)),
        "golden": {"n": 0 if contract.golden is None else contract.golden.n, "max_lsb": 0},
        "comparison": comparison,
        "software": contract.provenance["converted_by"],
        "warnings": warnings,
    }


def as_json(report: dict[str, Any]) -> str:
    """The document as a file."""
    return json.dumps(report, indent=1, allow_nan=False) + "\n"


def as_html(report: dict[str, Any]) -> str:
    """The document as a page: styles and drawings inside, nothing loaded from anywhere."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["percent"] = lambda share: "-" if share is None else f"{100 * share:.2f} %"
    environment.filters["signed"] = _signed
    environment.filters["kib"] = lambda count: f"{count / 1024:.0f} KiB"
    text = (resources(__package__) / _TEMPLATE).read_text(encoding="utf-8")
    template = environment.from_string(text)
    return template.render(
        r=report, generator=GENERATOR, drop=_drop_axis(report), classes=_class_rows(report)
    )


def _signed(points: float | None) -> str:
    if points is None:
        return "-"
    return "0.00" if abs(points) < 0.005 else f"{points:+.2f}"


def _drop_axis(report: dict[str, Any]) -> dict[str, Any]:
    """Places on a 0..100 axis for the drawing of the drop and its interval."""
    accuracy, limit = report["accuracy"], report["budget"]["max_drop"]
    low, high = accuracy["ci95_points"]
    shown: list[float] = [0.0, low, high, *([] if limit is None else [limit])]
    pad = 0.15 * max(max(shown) - min(shown), 0.2)
    left, width = min(shown) - pad, max(shown) - min(shown) + 2 * pad

    def place(points: float) -> float:
        return round(100 * (points - left) / width, 2)

    return {
        "zero": place(0),
        "low": place(low),
        "high": place(high),
        "drop": place(accuracy["drop_points"]),
        "limit": None if limit is None else place(limit),
    }


def _class_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """One row per class, with the places of both recalls on a common axis."""
    per_class = report["accuracy"]["per_class"]
    recalls = [
        c[key]
        for c in per_class.values()
        for key in ("reference_recall", "quantised_recall")
        if c[key] is not None
    ]
    left = floor(10 * min(recalls)) / 10 if recalls and min(recalls) < 1 else 0.0

    def place(recall: float | None) -> float | None:
        return None if recall is None else round(100 * (recall - left) / (1 - left), 2)

    return [
        {
            "label": label,
            **c,
            "float_at": place(c["reference_recall"]),
            "int8_at": place(c["quantised_recall"]),
            "from": left,
        }
        for label, c in per_class.items()
    ]
