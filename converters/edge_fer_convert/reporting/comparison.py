"""A new model against an earlier file: the same model or not, and where the bytes differ."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.modelfile import METADATA_NAME, ModelFile
from edge_fer.types import Image
from edge_fer_convert.graph import Graph, GraphTensor
from edge_fer_convert.int8.candidate import Candidate, Finished, open_classifier

__all__ = ["Comparison", "Section", "compare"]

_HASH_MEMBER = "flatbuffer.sha256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of the file; ``detail`` says what differs, or is empty."""

    name: str
    same: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What is the same in two model files.

    Attributes:
        path, sha256: the earlier file.
        identical: byte for byte.
        same_labels, same_graph, same_weight_shapes: of the contract and the graph.
        sections: graph, names, quantisation, weights, contract, other metadata, zip; ``layout``
            where all these agree and the bytes still do not.
        golden_max_lsb: largest difference of the outputs for the golden vectors, in steps of the
            earlier model's output; None where the two cannot be compared.
        agreement: share of evaluation pictures that get the same label from both, or None.
        n: how many pictures that was.
    """

    path: str
    sha256: str
    identical: bool
    same_labels: bool
    same_graph: bool
    same_weight_shapes: bool
    sections: tuple[Section, ...]
    golden_max_lsb: float | None
    agreement: float | None
    n: int

    def to_json(self) -> dict[str, Any]:
        """For the report."""
        return {**asdict(self), "words": self.words}

    @property
    def words(self) -> str:
        """One sentence."""
        if self.identical:
            return f"Byte for byte the same as {self.path}."
        different = ", ".join(s.name for s in self.sections if not s.same)
        steps = self.golden_max_lsb
        golden = "" if steps is None else f" Golden outputs differ by at most {steps:.2g} steps."
        agree = "" if self.agreement is None else f" {100 * self.agreement:.2f} % same labels."
        return f"Differs from {self.path} in: {different}.{golden}{agree}"


def compare(
    new: Finished,
    earlier: Finished,
    pixels: Image,
    said: NDArray[np.int64],
    *,
    on_done: Callable[[int], None] = lambda done: None,
) -> Comparison:
    """Compare two model files.

    Args:
        new: the one that was just made.
        earlier: the one that was there before.
        pixels: evaluation pictures, ``uint8[N, h, w, c]`` in the new model's input.
        said: ``int64[N]``, the labels that the new model gives them.
        on_done: told how many pictures the earlier model has seen.

    Raises:
        ModelError: the earlier model breaks its own contract.
    """
    graphs = Graph.read(new.model.flatbuffer), Graph.read(earlier.model.flatbuffer)
    sections = _sections(new, earlier, graphs)
    if new.data != earlier.data and all(s.same for s in sections):
        sections = (*sections, Section(name="layout", same=False, detail="same parts, other order"))
    contracts = new.model.contract, earlier.model.contract
    same_labels = contracts[0].labels == contracts[1].labels
    golden, agreement = None, None
    if same_labels and contracts[0].input == contracts[1].input:
        golden = _golden_steps(new.model, earlier.model)
        theirs = Candidate(flatbuffer=earlier.model.flatbuffer, contract=contracts[1])
        their_labels = theirs.probabilities(pixels, on_done=on_done).argmax(axis=1)
        agreement = float((their_labels == said).mean())
    return Comparison(
        path=str(earlier.model.path),
        sha256=earlier.model.sha256,
        identical=new.data == earlier.data,
        same_labels=same_labels,
        same_graph=sections[0].same,
        same_weight_shapes=_weight_shapes(graphs[0]) == _weight_shapes(graphs[1]),
        sections=sections,
        golden_max_lsb=golden,
        agreement=agreement,
        n=0 if agreement is None else len(pixels),
    )


def _sections(new: Finished, earlier: Finished, graphs: tuple[Graph, Graph]) -> tuple[Section, ...]:
    a, b = graphs
    contracts = [json.loads(f.model.contract.to_json()) for f in (new, earlier)]
    metadata = [{k: v for k, v in g.metadata.items() if k != METADATA_NAME} for g in graphs]
    zips = [_members(f.data[len(f.model.flatbuffer) :]) for f in (new, earlier)]
    found = (
        ("graph", _graph_difference(a, b)),
        ("names", _count_difference([t.name for t in a.tensors], [t.name for t in b.tensors])),
        ("quantisation", _count_difference(_scales(a), _scales(b))),
        ("weights", _weights_difference(a, b)),
        ("contract", ", ".join(_differing_keys(contracts[0], contracts[1]))),
        ("other metadata", ", ".join(_differing_keys(metadata[0], metadata[1]))),
        ("zip", ", ".join(_differing_keys(zips[0], zips[1]))),
    )
    return tuple(Section(name=n, same=not detail, detail=detail) for n, detail in found)


def _graph_difference(a: Graph, b: Graph) -> str:
    if len(a.operators) != len(b.operators):
        return f"{len(a.operators)} operators against {len(b.operators)}"
    for i, (x, y) in enumerate(zip(a.operators, b.operators, strict=True)):
        if x != y:
            same_kind = (x.name, x.version) == (y.name, y.version)
            what = "" if same_kind else f": {x.name} v{x.version} against {y.name} v{y.version}"
            return f"operator {i}{what or f' ({x.name}): other inputs, outputs or options'}"
    shapes = [[(t.shape, t.dtype) for t in g.tensors] for g in (a, b)]
    if shapes[0] != shapes[1] or (a.inputs, a.outputs) != (b.inputs, b.outputs):
        return "shapes or types of tensors"
    return ""


def _weights_difference(a: Graph, b: Graph) -> str:
    pairs = list(zip(_constants(a), _constants(b), strict=False))
    if len(_constants(a)) != len(_constants(b)):
        return f"{len(_constants(a))} constants against {len(_constants(b))}"
    changed = [(x, y) for x, y in pairs if x.data != y.data]
    if not changed:
        return ""
    said = f"{len(changed)} of {len(pairs)} constants"
    steps = [_steps(x, y) for x, y in changed if x.dtype == y.dtype == "INT8"]
    if steps and all(s is not None for s in steps):
        said += f", int8 weights by at most {max(s for s in steps if s is not None)} steps"
    return said


def _steps(x: GraphTensor, y: GraphTensor) -> int | None:
    if x.data is None or y.data is None or len(x.data) != len(y.data):
        return None
    values = [np.frombuffer(t.data or b"", np.int8).astype(int) for t in (x, y)]
    return int(np.abs(values[0] - values[1]).max())


def _constants(graph: Graph) -> list[GraphTensor]:
    return [t for t in graph.tensors if t.data is not None]


def _weight_shapes(graph: Graph) -> list[tuple[tuple[int, ...], str]]:
    return [(t.shape, t.dtype) for t in _constants(graph)]


def _scales(graph: Graph) -> list[tuple[tuple[float, ...], tuple[int, ...]]]:
    return [(t.scales, t.zero_points) for t in graph.tensors]


def _count_difference(a: list[Any], b: list[Any]) -> str:
    changed = sum(x != y for x, y in zip(a, b, strict=False)) + abs(len(a) - len(b))
    return f"{changed} of {max(len(a), len(b))} tensors" if changed else ""


def _differing_keys(a: Mapping[str, Any], b: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Dotted names of what two documents differ in, two levels deep."""
    names = []
    for key in sorted({*a, *b}):
        x, y = a.get(key), b.get(key)
        if x == y:
            continue
        if isinstance(x, dict) and isinstance(y, dict) and not prefix:
            names += _differing_keys(x, y, f"{key}.")
        else:
            names.append(prefix + key)
    return names


def _members(data: bytes) -> dict[str, Any]:
    """The zip's members, without the hash, which follows the flatbuffer."""
    with zipfile.ZipFile(BytesIO(data)) as archive:
        return {
            i.filename: (archive.read(i), i.date_time)
            for i in archive.infolist()
            if i.filename != _HASH_MEMBER
        }


def _golden_steps(new: ModelFile, earlier: ModelFile) -> float | None:
    golden = earlier.contract.golden or new.contract.golden
    unit = earlier.contract.quantisation.output
    if golden is None or unit is None:
        return None
    real = []
    for model in (new, earlier):
        scale = model.contract.quantisation.output
        if scale is None:
            return None
        with open_classifier(model) as classifier:
            raw = classifier.raw(golden.pixels(model.contract.input))
        real.append((raw.astype(np.float64) - scale.zero_point) * scale.scale)
    return round(float(np.abs(real[0] - real[1]).max() / unit.scale), 6)
