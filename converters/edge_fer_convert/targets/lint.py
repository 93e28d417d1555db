"""What stands between a graph and its target: a finding for each thing, with what to use instead.

Errors are what the target's runtime refuses or was not made for; warnings are operators that leave
the accelerator and run in TFLite's own kernels. A float graph is looked at before it is quantised:
its types and versions will change, so only its operators count.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from edge_fer_convert.graph import Graph, GraphTensor, Operator
from edge_fer_convert.int8.verify import dense_scales, graph_summary, partitions
from edge_fer_convert.targets.limits import LIMITS, constants
from edge_fer_convert.targets.target import Accelerator, Target

__all__ = ["Finding", "lint", "summary"]

Severity = Literal["error", "warning"]
_CONVERSIONS = frozenset({"QUANTIZE", "DEQUANTIZE", "CAST"})
# The one accelerator that this machine has as well, so that its partitions can be counted here.
_HERE = "XNNPACK"
_REPLACE = "convolution, dense, max pooling, addition or ReLU"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that stands between a graph and its target.

    Attributes:
        severity: ``error`` where the target does not run it, ``warning`` where it runs slower.
        operator: the schema's name, or empty where the finding is about a tensor alone.
        version: of the operator, or None.
        tensor: what the operator makes, or the tensor that is meant.
        why: what is wrong, without a full stop.
        instead: what to use, without a full stop.
    """

    severity: Severity
    operator: str
    version: int | None
    tensor: str
    why: str
    instead: str

    def __str__(self) -> str:
        made = self.tensor if not self.operator else f"{self.operator} making {self.tensor}"
        return f"{made}: {self.why}; use {self.instead}."

    def to_json(self) -> dict[str, Any]:
        """The fields, as the report holds them."""
        return asdict(self)


def lint(graph: Graph, target: Target) -> tuple[Finding, ...]:
    """Compare a graph with a target.

    Args:
        graph: float, before quantising, or int8.
        target: where it is to run.

    Returns:
        Errors first, each kind in the order of the graph.
    """
    found = list(_unmapped(graph, target.accelerator))
    if any(tensor.scales for tensor in graph.tensors):
        found += [*_conversions(graph), *_versions(graph, target), *_types(graph, target)]
        found += [*_shapes(graph, target), *_dense(graph, target)]
    # Sorting keeps the order among equals.
    return tuple(sorted(found, key=lambda finding: finding.severity))


def summary(flatbuffer: bytes, target: Target) -> dict[str, Any]:
    """The section of the report: findings, and what the runtime made of the model.

    Args:
        flatbuffer: the finished model, without a contract.
        target: where it is to run.

    Returns:
        ``target``; ``findings``; ``partitions`` and operators ``outside`` them as measured here, or
        None where the target's accelerator is not XNNPACK; ``full_integer``; and
        ``per_tensor_dense``, whether each dense layer has one scale.
    """
    graph = Graph.read(flatbuffer)
    here = target.accelerator is not None and target.accelerator.name == _HERE
    measured = partitions(flatbuffer) if here else None
    return {
        "target": target.name,
        "findings": [finding.to_json() for finding in lint(graph, target)],
        "partitions": None if measured is None else measured.count,
        "outside": None if measured is None else len(measured.outside),
        "full_integer": graph_summary(graph)["full_integer"],
        "per_tensor_dense": all(scales <= 1 for _, scales in dense_scales(graph)),
    }


def _about(graph: Graph, operator: Operator, severity: Severity, why: str, instead: str) -> Finding:
    return Finding(
        severity=severity,
        operator=operator.name,
        version=operator.version,
        tensor=graph.tensors[operator.outputs[0]].name if operator.outputs else "",
        why=why,
        instead=instead,
    )


def _unmapped(graph: Graph, accelerator: Accelerator | None) -> Iterator[Finding]:
    if accelerator is None:
        return
    for operator in graph.operators:
        instead = accelerator.instead.get(operator.name, _REPLACE)
        if operator.name not in accelerator.operators:
            if operator.name not in _CONVERSIONS:
                why = f"{accelerator.name} does not map it"
                yield _about(graph, operator, "warning", why, instead)
            continue
        for rule, value in accelerator.limits.get(operator.name, {}).items():
            broken = LIMITS[rule].broken(graph, operator, value)
            if broken is not None:
                why, other = broken
                why = f"{accelerator.name} maps it only with {why}"
                yield _about(graph, operator, "warning", why, other)
        if accelerator.max_dimensions is not None:
            deep = [
                t for t in _activations(graph, operator) if _rank(t) > accelerator.max_dimensions
            ]
            if deep:
                why = (
                    f"{deep[0].name} has {_rank(deep[0])} sizes that count, and {accelerator.name} "
                    f"maps {accelerator.max_dimensions}"
                )
                yield _about(
                    graph, operator, "warning", why, "tensors [1, height, width, channels]"
                )


def _conversions(graph: Graph) -> Iterator[Finding]:
    for operator in graph.operators:
        if operator.name not in _CONVERSIONS:
            continue
        kinds = [graph.tensors[i].dtype for i in (operator.inputs[0], operator.outputs[0])]
        if kinds[0] == kinds[1]:
            why = f"one {kinds[0]} scale is turned into another, a pass over the whole tensor"
            instead = "layers whose inputs and outputs share a scale"
            yield _about(graph, operator, "warning", why, instead)
        else:
            why = f"{kinds[0]} is turned into {kinds[1]} inside the model"
            yield _about(graph, operator, "error", why, f"{_REPLACE}, which stay int8")


def _versions(graph: Graph, target: Target) -> Iterator[Finding]:
    for operator in graph.operators:
        highest = target.versions.get(operator.name)
        if highest is None:
            why = f"{target.runtime} has no such operator"
            yield _about(graph, operator, "error", why, _instead(target, operator))
        elif operator.version > highest:
            why = f"{target.runtime} has it up to version {highest}, this is {operator.version}"
            instead = f"a plainer form of it, or {_instead(target, operator)}"
            yield _about(graph, operator, "error", why, instead)


def _types(graph: Graph, target: Target) -> Iterator[Finding]:
    makers = {index: operator for operator in graph.operators for index in operator.outputs}
    used = {i for o in graph.operators for i in (*o.inputs, *o.outputs)} | set(graph.inputs)
    allowed = ", ".join(sorted(target.types))
    for tensor in graph.tensors:
        if tensor.index not in used or tensor.dtype in target.types:
            continue
        why = f"its type is {tensor.dtype}, and {target.name} takes {allowed}"
        instead = f"{_REPLACE}, which stay int8"
        maker = makers.get(tensor.index)
        if maker is not None:
            yield _about(graph, maker, "error", why, instead)
        else:
            yield _tensor(tensor, why, instead)


def _shapes(graph: Graph, target: Target) -> Iterator[Finding]:
    ends = {*graph.inputs, *graph.outputs}
    for tensor in graph.activations():
        if target.static_shapes and min(tensor.shape, default=1) < 1:
            why = f"its shape {list(tensor.shape)} is open"
            yield _tensor(tensor, why, "a model that is exported with one fixed size")
        elif target.batch_one and tensor.index in ends and tensor.shape[:1] != (1,):
            why = f"its shape {list(tensor.shape)} is not that of one picture"
            yield _tensor(tensor, why, "a model that is exported with batch 1")


def _dense(graph: Graph, target: Target) -> Iterator[Finding]:
    if not target.per_tensor_dense:
        return
    for operator, scales in dense_scales(graph):
        if scales > 1:
            why = f"its weights have {scales} scales, and {target.name} takes one"
            instead = f"one scale per dense layer: edge-fer convert --target {target.name}"
            yield _about(graph, operator, "error", why, instead)


def _tensor(tensor: GraphTensor, why: str, instead: str) -> Finding:
    return Finding(
        severity="error", operator="", version=None, tensor=tensor.name, why=why, instead=instead
    )


def _instead(target: Target, operator: Operator) -> str:
    known = {} if target.accelerator is None else target.accelerator.instead
    return known.get(operator.name, _REPLACE)


def _activations(graph: Graph, operator: Operator) -> list[GraphTensor]:
    fixed = constants(graph)
    numbers = [i for i in (*operator.inputs, *operator.outputs) if i >= 0]
    return [graph.tensors[i] for i in numbers if i not in fixed]


def _rank(tensor: GraphTensor) -> int:
    """How many sizes count: those from the first that exceeds 1."""
    leading = next((i for i, size in enumerate(tensor.shape) if size > 1), len(tensor.shape))
    return len(tensor.shape) - leading
