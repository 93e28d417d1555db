"""Quantising, proving, finishing and comparing, on a tiny model that needs no TensorFlow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tiny_tflite import LABELS, pictures, tiny_contract, tiny_float, tiny_spec

from edge_fer.contract import OutputSpec, QualityRange, QualityRanges
from edge_fer.errors import ModelError
from edge_fer.modelfile import read_model
from edge_fer.preprocess import to_real
from edge_fer_convert.graph import Graph, from_object, to_object
from edge_fer_convert.inputs.source import Source, choose_labels, first_contract
from edge_fer_convert.int8.candidate import Candidate, Finished
from edge_fer_convert.int8.quantise import quantise
from edge_fer_convert.int8.verify import check_full_integer, graph_summary, output_kind
from edge_fer_convert.measuring.ranges import Ranges
from edge_fer_convert.measuring.statistics import measure_statistics
from edge_fer_convert.reporting.comparison import compare


def ranges_of(model: bytes) -> Ranges:
    inputs = to_real(pictures(16), tiny_spec())
    statistics = measure_statistics(model, (inputs[i : i + 1] for i in range(16)))
    return statistics.ranges("minmax", pinned={"picture": (0.0, 1.0)})


def finished(tmp_path: Path, name: str = "a", seed: int = 0, **changes: object) -> Finished:
    model = tiny_float(seed)
    candidate = Candidate.quantised(model, tiny_contract(**changes), ranges_of(model))
    return candidate.finish(tmp_path / f"{name}.tflite")


def test_the_int8_model_is_full_integer_and_close_to_float() -> None:
    model = tiny_float()
    contract = tiny_contract()
    int8 = Candidate.quantised(model, contract, ranges_of(model))
    assert int8.contract.quantisation.scheme == "int8"
    assert int8.contract.quantisation.input is not None
    assert int8.contract.quantisation.input.zero_point == -128
    assert int8.contract.quantisation.input.scale == pytest.approx(1 / 255, rel=1e-6)
    before = Candidate(flatbuffer=model, contract=contract).probabilities(pictures(32, 9))
    after = int8.probabilities(pictures(32, 9))
    assert np.abs(before - after).max() < 0.02


def test_same_model_and_ranges_give_the_same_bytes() -> None:
    model = tiny_float()
    assert quantise(model, ranges_of(model)) == quantise(model, ranges_of(model))


def test_operator_versions_and_runtime_are_those_of_int8() -> None:
    model = tiny_float()
    graph = Graph.read(quantise(model, ranges_of(model)))
    assert graph.counts() == {"CONV_2D v3": 1, "FULLY_CONNECTED v4": 1, "MEAN v2": 1}
    summary = graph_summary(graph)
    assert summary["min_runtime_version"] == "1.14.0"
    assert summary["full_integer"] is True
    # 4 kernels of 3x3, 4 biases, 3x4 dense, 3 offsets
    assert summary["weights"] == 36 + 4 + 12 + 3


def test_a_float_model_is_not_full_integer() -> None:
    with pytest.raises(ModelError, match="FLOAT32 in picture"):
        check_full_integer(Graph.read(tiny_float()))


def test_a_missing_range_is_a_model_error() -> None:
    model = tiny_float()
    known = {k: v for k, v in ranges_of(model).of.items() if k != "pooled"}
    with pytest.raises(ModelError, match=r"cannot be quantised|did not become full integer"):
        Candidate.quantised(model, tiny_contract(), Ranges(of=known))


def test_output_kind_follows_the_last_operator() -> None:
    graph = Graph.read(tiny_float())
    assert output_kind(graph) == "logits"
    for name, kind in (("SOFTMAX", "probabilities"), ("LOGISTIC", "sigmoid")):
        last = replace(graph.operators[-1], name=name)
        assert output_kind(replace(graph, operators=(*graph.operators[:-1], last))) == kind


def test_a_finished_file_carries_its_contract_and_golden_vectors(tmp_path: Path) -> None:
    made = finished(tmp_path)
    made.model.path.write_bytes(made.data)
    model = read_model(made.model.path)
    assert model.sha256 == made.model.sha256
    assert model.contract.labels == LABELS
    assert model.contract.golden is not None
    assert model.contract.golden.n == 4
    assert finished(tmp_path).data == made.data


def test_what_the_training_said_of_unknown_and_quality_reaches_both_files(tmp_path: Path) -> None:
    measure = QualityRange(p1=1.0, p50=2.0, p99=3.0)
    quality = QualityRanges(
        n=9, brightness=measure, contrast=measure, sharpness=measure, noise=measure
    )
    output = OutputSpec(kind="logits", temperature=1.5, unknown={"min_probability": 0.4})
    draft = tiny_contract(output=output, quality=quality)
    source = Source(path=Path("m.keras"), sha256="0", draft=draft)
    shape = (draft.input.height, draft.input.width, draft.input.channels)
    contract, _ = first_contract(source, choose_labels(source, None), shape, "logits", None)
    model = tiny_float()
    int8 = Candidate.quantised(model, contract, ranges_of(model))
    for name, candidate in (
        ("int8", int8),
        ("float", Candidate(flatbuffer=model, contract=contract)),
    ):
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(candidate.finish(path).data)
        found = read_model(path).contract
        assert (found.output, found.quality) == (output, quality)


def test_rubbish_is_no_flatbuffer() -> None:
    with pytest.raises(ModelError, match=r"not a readable \.tflite"):
        Graph.read(b"\x1c\x00\x00\x00TFL3" + b"\xff" * 40)


class TestComparison:
    said = np.zeros(8, np.int64)

    def test_the_same_file(self, tmp_path: Path) -> None:
        a = finished(tmp_path)
        found = compare(a, a, pictures(8), self.said)
        assert found.identical
        assert all(s.same for s in found.sections)
        assert found.golden_max_lsb == 0
        assert "Byte for byte" in found.words

    def test_other_weights(self, tmp_path: Path) -> None:
        a, b = finished(tmp_path), finished(tmp_path, "b", seed=3)
        found = compare(a, b, pictures(8), self.said)
        different = {s.name for s in found.sections if not s.same}
        assert different == {"quantisation", "weights", "contract"}
        assert found.same_graph
        assert found.same_weight_shapes
        assert found.golden_max_lsb is not None
        assert found.golden_max_lsb > 1
        detail = {s.name: s.detail for s in found.sections}
        assert detail["weights"].startswith("3 of 5 constants, int8 weights by at most ")
        assert "golden.output" in detail["contract"]

    def test_only_the_contract(self, tmp_path: Path) -> None:
        a = finished(tmp_path)
        b = finished(tmp_path, "b", provenance={"converted_by": {"ai-edge-litert": "1"}})
        found = compare(a, b, pictures(8), self.said)
        assert [(s.name, s.detail) for s in found.sections if not s.same] == [
            ("contract", "provenance.converted_by")
        ]
        assert found.golden_max_lsb == 0

    def test_other_labels_are_not_compared_further(self, tmp_path: Path) -> None:
        a = finished(tmp_path)
        b = finished(tmp_path, "b", labels=("x", "y", "z"))
        found = compare(a, b, pictures(8), self.said)
        assert not found.same_labels
        assert found.agreement is None
        assert found.golden_max_lsb is None
        assert {s.name for s in found.sections if not s.same} == {"contract", "zip"}

    def test_another_stride_is_another_graph(self, tmp_path: Path) -> None:
        a = finished(tmp_path)
        model = to_object(a.model.flatbuffer)
        model.subgraphs[0].operators[0].builtinOptions.dilationHFactor = 2
        changed = Candidate(flatbuffer=from_object(model), contract=a.model.contract)
        found = compare(a, changed.finish(tmp_path / "b.tflite"), pictures(8), self.said)
        assert not found.same_graph
        assert "operator 0 (CONV_2D)" in found.sections[0].detail

    def test_agreement_is_the_share_of_equal_labels(self, tmp_path: Path) -> None:
        a = finished(tmp_path)
        candidate = Candidate(flatbuffer=a.model.flatbuffer, contract=a.model.contract)
        said = candidate.probabilities(pictures(8)).argmax(axis=1)
        said[:2] = (said[:2] + 1) % 3
        found = compare(a, a, pictures(8), said)
        assert (found.agreement, found.n) == (0.75, 8)
