"""The other formats: smaller, close to float32, and refused where they cannot be made."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from test_convert_candidate import ranges_of
from tiny_tflite import pictures, tiny_contract, tiny_float

from edge_fer.errors import ConfigError, ModelError
from edge_fer_convert.graph import Graph
from edge_fer_convert.int8.candidate import Candidate
from edge_fer_convert.reporting.formats import (
    FORMATS,
    convert_formats,
    measure_formats,
    parse_formats,
)


@cache
def int8() -> Candidate:
    model = tiny_float()
    return Candidate.quantised(model, tiny_contract(), ranges_of(model))


def files() -> dict[str, bytes]:
    return convert_formats(tiny_float(), FORMATS, int8=int8().flatbuffer)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("float,fp16,dynamic,int8", FORMATS),
        (" INT8 , float32,float ", ("float32", "int8")),
        ("dynamic", ("dynamic",)),
    ],
)
def test_the_names_that_other_exporters_use(text: str, expected: tuple[str, ...]) -> None:
    assert parse_formats(text) == expected


@pytest.mark.parametrize(("text", "says"), [("int4,float", "int4"), (" , ", "No format")])
def test_a_format_that_is_none_is_refused(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_formats(text)


def test_each_format_stores_what_it_says() -> None:
    made = files()
    assert tuple(made) == FORMATS
    assert made["float32"] == tiny_float()
    graphs = {name: Graph.read(data) for name, data in made.items()}
    weights = {
        name: {t.name: t for t in graph.tensors if t.data is not None}
        for name, graph in graphs.items()
    }
    assert weights["float16"]["kernel"].dtype == weights["float16"]["dense"].dtype == "FLOAT16"
    assert weights["dynamic"]["kernel"].dtype == weights["dynamic"]["dense"].dtype == "INT8"
    # One scale per output channel, but one for the whole dense layer: old runtimes go wrong else.
    assert len(weights["dynamic"]["kernel"].scales) == 4
    assert len(weights["dynamic"]["dense"].scales) == 1
    for name in ("float16", "dynamic"):
        ends = [graphs[name].tensors[i] for i in (*graphs[name].inputs, *graphs[name].outputs)]
        assert {t.dtype for t in ends} == {"FLOAT32"}


def test_the_weights_shrink_from_format_to_format() -> None:
    stored = [
        sum(
            len(t.data)
            for t in Graph.read(data).tensors
            if t.data and t.name in ("kernel", "dense")
        )
        for data in files().values()
    ]
    assert stored == [4 * 48, 2 * 48, 48, 48]


def test_the_same_model_gives_the_same_bytes() -> None:
    assert files() == files()


def test_rows_of_the_table_are_measured_on_the_runtime() -> None:
    pixels = pictures(64, 5)
    contract = tiny_contract()
    reference = Candidate(flatbuffer=tiny_float(), contract=contract).probabilities(pixels)
    truth = reference.argmax(axis=1)
    truth[:16] = (truth[:16] + 1) % 3
    done: list[int] = []
    rows = measure_formats(files(), contract, int8().contract, pixels, truth, on_done=done.append)
    assert [row.format for row in rows] == list(FORMATS)
    assert [row.bytes for row in rows] == [len(data) for data in files().values()]
    assert all(row.latency_ms is not None and row.latency_ms > 0 for row in rows)
    first, *others = rows
    assert (first.accuracy, first.agreement, first.drop_points) == (0.75, 1.0, 0.0)
    assert first.mean_abs_dp == 0
    for row in others:
        assert row.agreement >= 0.9
        assert row.drop_points == pytest.approx(100 * (0.75 - row.accuracy))
        assert 0 < row.mean_abs_dp < 0.02
    assert rows[1].mean_abs_dp < rows[2].mean_abs_dp
    assert done[-1] == 4 * 64
    assert all(a < b for a, b in pairwise(done))


def test_what_is_known_is_not_measured_again() -> None:
    pixels = pictures(8)
    truth = np.zeros(8, np.int64)
    said = np.tile(np.array([0.8, 0.1, 0.1]), (8, 1))
    rows = measure_formats(
        {"float32": tiny_float(), "int8": int8().flatbuffer},
        tiny_contract(),
        int8().contract,
        pixels,
        truth,
        known={"float32": said, "int8": said[:, ::-1]},
        timed=False,
    )
    assert [(row.accuracy, row.agreement, row.latency_ms) for row in rows] == [
        (1.0, 1.0, None),
        (0.0, 0.0, None),
    ]
    z = 1.959964**2  # all 8 lost: Tango's lower end is (n - z^2) / (n + z^2)
    assert rows[1].to_json()["ci95_points"] == pytest.approx([100 * (8 - z) / (8 + z), 100.0])


def test_what_cannot_be_made_or_compared_is_refused() -> None:
    with pytest.raises(ConfigError, match="needs the int8 model"):
        convert_formats(tiny_float(), ["int8"])
    with pytest.raises(ConfigError, match="int4"):
        convert_formats(tiny_float(), ["int4"])
    with pytest.raises(ConfigError, match="float32"):
        measure_formats({}, tiny_contract(), tiny_contract(), pictures(1), np.zeros(1, np.int64))


def test_only_a_float_model_has_formats() -> None:
    for name in ("float16", "dynamic"):
        with pytest.raises(ModelError, match="holds INT8"):
            convert_formats(int8().flatbuffer, [name])
        with pytest.raises(ModelError, match="not a readable"):
            convert_formats(b"TFL3" * 30, [name])
