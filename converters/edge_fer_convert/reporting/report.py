"""What a conversion did and what it cost: one JSON document, and one page that needs no network."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from math import floor
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from edge_fer.evaluation.data import LabelledFaces
from edge_fer.evaluation.drop import AccuracyDrop
from edge_fer_convert.graph import Graph
from edge_fer_convert.int8.verify import graph_summary
from edge_fer_convert.measuring.ranges import Ranges
from edge_fer_convert.reporting import charts
from edge_fer_convert.reporting.layers import LayerError, worst
from edge_fer_convert.reporting.page import GENERATOR, layer_rows, page_environment

if TYPE_CHECKING:
    from edge_fer_convert.inputs.source import Source
    from edge_fer_convert.int8.candidate import Finished

__all__ = ["GENERATOR", "SCHEMA", "as_html", "as_json", "document"]

SCHEMA = "edge-fer/convert/1"
_TEMPLATE = "report.html.jinja"
_PARTS = ("rungs", "chosen", "layers", "hurting", "confusion", "stability", "sweep", "lint")
_MORE_PARTS = ("edgetpu", "formats", "input_range", "plain")


def document(
    *,
    source: Source,
    finished: dict[str, Finished],
    evaluation: LabelledFaces,
    drop: AccuracyDrop,
    budget: dict[str, Any],
    calibration: dict[str, Any],
    ranges: Ranges,
    comparison: dict[str, Any] | None,
    warnings: list[str],
    rungs: Sequence[Mapping[str, Any]] | None = None,
    chosen: str | None = None,
    plain: Mapping[str, Any] | None = None,
    layers: Sequence[LayerError] | None = None,
    confusion: Mapping[str, Any] | None = None,
    stability: Mapping[str, Any] | None = None,
    sweep: Sequence[Mapping[str, Any]] | None = None,
    lint: Mapping[str, Any] | None = None,
    edgetpu: Mapping[str, Any] | None = None,
    formats: Sequence[Mapping[str, Any]] | None = None,
    input_range: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The report, ``edge-fer/convert/1``; accuracies are fractions, ``*_points`` are points.

    Args:
        source: the model.
        finished: the two models, ``int8`` and ``float``.
        evaluation: what the figures were measured on.
        drop: float against int8.
        budget: :meth:`edge_fer_convert.climbing.budget.Judgement.to_json`.
        calibration: :meth:`edge_fer_convert.calibration.parting.CalibrationSet.manifest`.
        ranges: of the activations, as quantised.
        comparison: :meth:`edge_fer_convert.reporting.comparison.Comparison.to_json`, or None.
        warnings: sentences that were said on the way.
        rungs: what was tried, in order: ``name``, ``words``, ``status`` (``accepted``, ``missed``,
            ``failed``, ``baseline``, ``not_run``), ``why``, ``bytes``, ``latency_ms`` here,
            ``split``, ``n``, ``float_accuracy``, ``int8_accuracy``, ``drop_points``,
            ``ci95_points``, ``worst_class``, ``agreement``, ``mean_abs_dp``, ``flips``,
            ``seconds``; what was not measured is None.
        chosen: name of the rung that was delivered.
        plain: what the plain rung would have cost on the rows of the report, as ``accuracy``.
        layers: :func:`edge_fer_convert.reporting.layers.layer_errors`.
        confusion: ``labels``, and ``float`` and ``int8`` as rows of counts, truth by what was said.
        stability: ``agreement``, ``n`` and ``drop_points`` of the models of two disjoint halves of
            the calibration set.
        sweep: ``n``, ``agreement`` and ``mean_abs_dp`` for sets of several sizes.
        lint: ``target``, ``findings``, ``partitions``, ``outside``, ``full_integer``,
            ``per_tensor_dense``.
        edgetpu: ``compiled``, ``words``, ``mapped``, ``on_cpu`` of the Edge TPU's compiler.
        formats: :meth:`edge_fer_convert.reporting.formats.FormatRow.to_json` of each.
        input_range: ``chosen``, ``n`` and ``accuracy`` by range (``"0,1"``).

    Parts that are None or empty are null in the document and have no section on the page.
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
        "rungs": [dict(rung) for rung in rungs] if rungs else None,
        "chosen": chosen,
        "plain": dict(plain) if plain else None,
        "layers": [layer.to_json() for layer in layers] if layers else None,
        "hurting": [layer.index for layer in worst(layers)] if layers else None,
        "confusion": dict(confusion) if confusion else None,
        "stability": dict(stability) if stability else None,
        "sweep": [dict(point) for point in sweep] if sweep else None,
        "lint": dict(lint) if lint else None,
        "edgetpu": dict(edgetpu) if edgetpu else None,
        "formats": [dict(row) for row in formats] if formats else None,
        "input_range": dict(input_range) if input_range else None,
    }


def as_json(report: dict[str, Any]) -> str:
    """The document as a file."""
    return json.dumps(report, indent=1, allow_nan=False) + "\n"


def as_html(report: dict[str, Any]) -> str:
    """The document as a page: styles and drawings inside, nothing loaded from anywhere.

    Sections whose part is missing or null are left out, so that older documents have a page too.
    """
    report = {**dict.fromkeys((*_PARTS, *_MORE_PARTS)), **report}
    chosen, light = report["chosen"], report["calibration"].get("brightness")
    low, high = report["accuracy"]["ci95_points"]
    drop, limit = report["accuracy"]["drop_points"], report["budget"]["max_drop"]
    return (
        page_environment()
        .get_template(_TEMPLATE)
        .render(
            r=report,
            generator=Markup(GENERATOR),  # noqa: S704 - a constant
            axis=charts.drop_axis(drop, low, high, limit),
            classes=_class_rows(report),
            taken=next((g for g in report["rungs"] or () if g["name"] == chosen), None),
            trade_offs=_trade_offs(report),
            layers=layer_rows(report),
            heat_maps=_heat_maps(report["confusion"]),
            brightness=charts.brightness(light) if light else "",
            sweeps=_sweeps(report["sweep"]),
            ranges=_range_rows(report["input_range"]),
        )
    )


def _trade_offs(report: dict[str, Any]) -> list[Markup]:
    """Accuracy over size and over time, for rungs and formats with both known."""
    rungs, formats = report["rungs"] or [], report["formats"] or []
    if not rungs and not formats:
        return []
    shown = [("rung", row["name"], row["name"] == report["chosen"], row) for row in rungs]
    shown += [("format", row["format"], False, row) for row in formats]
    if not formats:
        reference = {"bytes": report["outputs"]["float"]["bytes"], "drop_points": 0.0}
        shown.append(("format", "float", False, reference))
    drawn, limit = [], report["budget"]["max_drop"]
    for key, per, unit, title in (
        ("bytes", 1024, "KiB", "points against float, by size"),
        ("latency_ms", 1, "ms on this build host", "points against float, by time here"),
    ):
        points = []
        for kind, name, chosen, row in shown:
            x, drop = row.get(key), row.get("drop_points")
            if x is None or drop is None:
                continue
            low, high = row.get("ci95_points") or (None, None)
            points.append(
                charts.Point(
                    name=name,
                    x=x / per,
                    change=-drop,
                    low=None if high is None else -high,
                    high=None if low is None else -low,
                    kind=kind,
                    chosen=chosen,
                )
            )
        if points:
            drawn.append(charts.trade_off(points, unit=unit, title=title, limit=limit))
    return drawn


def _heat_maps(confusion: Mapping[str, Any] | None) -> list[Markup]:
    if not confusion:
        return []
    labels, before, after = (confusion[key] for key in ("labels", "float", "int8"))
    change = [
        [b - a for a, b in zip(x, y, strict=True)] for x, y in zip(before, after, strict=True)
    ]
    return [
        charts.heat_map(labels, before, title="float"),
        charts.heat_map(labels, after, title="int8"),
        charts.heat_map(labels, change, title="int8 less float", difference=True),
    ]


def _sweeps(sweep: Sequence[Mapping[str, Any]] | None) -> list[Markup]:
    points = sorted(sweep or (), key=lambda point: point["n"])
    return [
        charts.curve([(p["n"], p[key]) for p in points], title=title, percent=percent)
        for key, title, percent in (
            ("agreement", "same label as float", True),
            ("mean_abs_dp", "mean change of a probability", False),
        )
        if points
    ]


def _range_rows(found: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    if not found:
        return []
    return [
        {
            "range": " to ".join(name.split(",")),
            "accuracy": accuracy,
            # A range of its own for each channel is the only one that was tried.
            "chosen": found["chosen"] is None
            or [float(end) for end in name.split(",")] == list(found["chosen"]),
        }
        for name, accuracy in found["accuracy"].items()
    ]


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
