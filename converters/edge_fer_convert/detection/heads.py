"""The heads of an int8 detector: what they hold, in which steps, and whether that is enough.

Printing the scales of the score heads first is what tells a detector that int8 breaks from one
that it does not (measured): good ones have .09 to .18 logits a step; BlazeFace short range of 2020
has 120 on its coarse grid, so that every score near one half falls on one step.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from edge_fer.contract import ModelContract
from edge_fer_convert.graph import Graph

__all__ = ["Head", "heads_of", "too_coarse"]

_COARSEST = 1.0  # logits a step: between scores of .1 and .9 there are four
_BETWEEN = 2 * math.log(9)  # logits between these scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """One output of the int8 graph.

    Attributes:
        name: of the tensor.
        kind: ``score``, ``box``, ``centre``, ``size``, ``keypoints``, or ``box and keypoints``.
        shape: of the tensor.
        scale, zero_point: of it.
        lowest, highest: what it can hold.
        steps_between: of a head of logits: steps between scores of .1 and .9.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    scale: float
    zero_point: int
    lowest: float
    highest: float
    steps_between: float | None

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return {**asdict(self), "shape": list(self.shape)}


def heads_of(graph: Graph, contract: ModelContract) -> tuple[Head, ...]:
    """The outputs of an int8 graph, in its order."""
    found: list[Head] = []
    for tensor in (graph.tensors[i] for i in graph.outputs):
        earlier = sum(head.shape == tensor.shape for head in found)
        kind = _kind(tensor.shape, contract, earlier)
        scale, zero_point = tensor.scales[0], tensor.zero_points[0]
        logits = kind == "score" and contract.output.kind == "logits"
        found.append(
            Head(
                name=tensor.name,
                kind=kind,
                shape=tensor.shape,
                scale=scale,
                zero_point=zero_point,
                lowest=(-128 - zero_point) * scale,
                highest=(127 - zero_point) * scale,
                steps_between=_BETWEEN / scale if logits else None,
            )
        )
    return tuple(found)


def too_coarse(heads: tuple[Head, ...]) -> str:
    """Why the scores cannot be told apart in int8, or nothing where they can."""
    worst = max((h for h in heads if h.steps_between is not None), key=_scale, default=None)
    if worst is None or worst.scale <= _COARSEST:
        return ""
    rows, columns = worst.shape[1:3]
    return (
        f"The score head of the {columns}x{rows} grid reaches from {worst.lowest:.0f} to "
        f"{worst.highest:.0f}, so that int8 holds it in steps of {worst.scale:.3g} logits: scores "
        f"from .1 to .9 fall on {max(1, round(worst.steps_between or 0))} of them. Good detectors "
        "have .1 to .2 a step."
    )


def _scale(head: Head) -> float:
    return head.scale


def _kind(shape: tuple[int, ...], contract: ModelContract, earlier: int) -> str:
    spec, picture = contract.detection, contract.input
    if spec is None:
        return ""
    points = 2 * len(spec.keypoints)
    for stride, anchors in zip(spec.strides, spec.anchors, strict=True):
        grid = (1, -(-picture.height // stride), -(-picture.width // stride))
        if shape[:3] != grid:
            continue
        kinds = {anchors: "score", 4: "box", points: "keypoints"}
        if spec.decoder == "anchors":
            kinds = {
                anchors * (4 + points): "box and keypoints",
                anchors * 2: "size" if earlier else "centre",
                anchors * points: "keypoints",
                anchors: "score",
            }
        return kinds.get(shape[3], "")
    return ""
