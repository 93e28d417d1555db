"""What the conversion of a detector did and what it cost: one JSON document, and one page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from edge_fer_convert.graph import Graph
from edge_fer_convert.int8.verify import graph_summary
from edge_fer_convert.reporting.layers import LayerError, worst
from edge_fer_convert.reporting.page import GENERATOR, layer_rows, page_environment

if TYPE_CHECKING:
    from edge_fer_convert.int8.candidate import Finished

__all__ = ["SCHEMA", "detector_document", "detector_page"]

SCHEMA = "edge-fer/convert-detector/1"
_TEMPLATE = "report_detector.html.jinja"


def detector_document(
    *,
    source: Mapping[str, Any],
    finished: Mapping[str, Finished],
    rebuilt: Mapping[str, Any],
    heads: Sequence[Mapping[str, Any]],
    agreement: Mapping[str, Any],
    accuracy: Mapping[str, Any] | None,
    budget: Mapping[str, Any],
    calibration: Mapping[str, Any],
    rungs: Sequence[Mapping[str, Any]],
    chosen: Mapping[str, Any],
    layers: Sequence[LayerError],
    partitions: Mapping[str, Any] | None,
    warnings: Sequence[str],
) -> dict[str, Any]:
    """The report, ``edge-fer/convert-detector/1``.

    Args:
        source: ``path`` and ``sha256`` of the file that was converted.
        finished: the two models, ``int8`` and ``float``.
        rebuilt: ``largest_difference`` of the float model with raw heads from the file, over
            ``pictures``, and the ``largest_value`` that it was found beside.
        heads: :meth:`edge_fer_convert.detection.heads.Head.to_json` of each output.
        agreement: :meth:`edge_fer_convert.detection.agreement.Agreement.to_json`, and ``scenes``,
            where they are from.
        accuracy: :meth:`edge_fer_convert.detection.accuracy.PrecisionDrop.to_json`, or None where
            there were no boxes.
        budget: ``max_drop`` in points of AP50, ``min_box_iou``, ``verdict`` and ``words``.
        calibration: what set the ranges.
        rungs: what was tried, on the scenes that choose.
        chosen: ``recipe`` and ``method`` of the one that was taken.
        layers: :func:`edge_fer_convert.reporting.layers.layer_errors`.
        partitions: ``count`` of XNNPACK here and the operators ``outside``, or None.
        warnings: sentences that were said on the way.
    """
    int8 = finished["int8"].model
    contract = int8.contract
    graph = graph_summary(Graph.read(int8.flatbuffer))
    golden = contract.golden
    return {
        "schema": SCHEMA,
        "model": dict(source),
        "outputs": {
            name: {
                "path": str(file.model.path),
                "bytes": len(file.data),
                "flatbuffer_bytes": len(file.model.flatbuffer),
                "sha256": file.model.sha256,
            }
            for name, file in finished.items()
        },
        "input": {
            "width": contract.input.width,
            "height": contract.input.height,
            "colour": contract.input.colour,
        },
        "detection": None
        if contract.detection is None
        else contract.detection.model_dump(mode="json"),
        "rebuilt": dict(rebuilt),
        "heads": [dict(head) for head in heads],
        "agreement": dict(agreement),
        "accuracy": None if accuracy is None else dict(accuracy),
        "budget": dict(budget),
        "calibration": dict(calibration),
        "rungs": [dict(rung) for rung in rungs],
        "chosen": dict(chosen),
        "layers": [layer.to_json() for layer in layers],
        "hurting": [layer.index for layer in worst(layers)],
        "graph": {
            key: graph[key]
            for key in ("operators", "min_runtime_version", "weights", "full_integer", "input")
        },
        "partitions": None if partitions is None else dict(partitions),
        "golden": {
            "n": 0 if golden is None else golden.n,
            "max_lsb": 0,
            "allowed_lsb": None if golden is None else golden.max_steps,
        },
        "software": contract.provenance["converted_by"],
        "warnings": list(warnings),
    }


def detector_page(report: dict[str, Any]) -> str:
    """The document as a page: styles inside, nothing loaded from anywhere."""
    accuracy = report["accuracy"]
    return (
        page_environment()
        .get_template(_TEMPLATE)
        .render(
            r=report,
            generator=Markup(GENERATOR),  # noqa: S704 - a constant
            layers=layer_rows(report),
            sizes=[] if accuracy is None else _sizes(accuracy),
        )
    )


def _sizes(accuracy: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Recall by size of the face, float beside int8."""
    before, after = accuracy["float"]["by_size"], accuracy["int8"]["by_size"]
    return [
        {"size": size.replace("-", " to "), "n": row["n"], "float": row, "int8": after[size]}
        for size, row in before.items()
    ]
