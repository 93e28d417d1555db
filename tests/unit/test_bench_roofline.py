"""The roofline: which networks, what they multiply, and what is said to hold them back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flat_graph import FlatGraph
from tiny_tflite import tiny_contract, tiny_float

from edge_fer.assemble import build
from edge_fer.backends import open_backend
from edge_fer.backends.base import Array, Backend
from edge_fer.cameras.fake import FakeCamera
from edge_fer.classifier import Classifier
from edge_fer.config import load_settings
from edge_fer.detectors.fake import FakeDetector
from edge_fer.errors import MissingExtra
from edge_fer.graphfile import OPERATORS
from edge_fer.loaded import LoadedModel
from edge_fer.modelfile import embed, read_model
from edge_fer.models import find
from edge_fer.pipeline import Pipeline
from edge_fer_bench.drawing.section import shown
from edge_fer_bench.roofline.layer import Layer
from edge_fer_bench.roofline.networks import Network, networks
from edge_fer_bench.roofline.peak import Peak, Rate
from edge_fer_bench.roofline.roof_chart import Reached, roof_chart
from edge_fer_bench.roofline.roofline import Roofline, measure_roofline
from edge_fer_bench.roofline.turns import Timed

MS = 1_000_000


def timed(ns: float) -> Timed:
    return Timed(calls=9, min_ns=ns, p25_ns=ns, p50_ns=ns, p75_ns=ns)


def peak(gmac_s: float = 100.0, depthwise: float = 10.0, memory: float | None = 10.0) -> Peak:
    """A roof of these figures."""
    layers = {
        Layer(operator="CONV_2D", side=24, channels=256): gmac_s,
        Layer(operator="DEPTHWISE_CONV_2D", side=24, channels=256): depthwise,
    }
    return Peak(
        threads=1,
        backend="fake",
        rates=tuple(
            Rate(layer=layer, timed=timed(layer.macs / rate)) for layer, rate in layers.items()
        ),
        memory_gb_s=memory,
    )


def network(**changes: Any) -> Network:
    """A million multiply-accumulates at half of that peak, 50 of them a byte."""
    given = Network(
        name="net",
        scheme="int8",
        on_cpu=True,
        size_bytes=30_000,
        operators=12,
        macs=1_000_000,
        depthwise_macs=0,
        moved_bytes=20_000,
        timed=timed(20_000),
    )
    return replace(given, **changes)


class Slow:
    """A backend whose calls take so long by a clock of ours."""

    def __init__(self, backend: Backend, clock: Clock, ns: int) -> None:
        self._backend, self._clock, self._ns = backend, clock, ns
        self.name, self.input, self.outputs = backend.name, backend.input, backend.outputs
        self.given: list[Array] = []

    def run(self, array: Array) -> tuple[Array, ...]:
        self._clock.now += self._ns
        self.given.append(array)
        return self._backend.run(array)

    def close(self) -> None:
        self._backend.close()


class Clock:
    """Moves by ``tick`` from look to look, and by what :class:`Slow` takes."""

    def __init__(self, tick: int = 1000) -> None:
        self.now, self._tick = 0, tick

    def __call__(self) -> int:
        self.now += self._tick
        return self.now


class Opener:
    """Opens real backends that take 10 ms of our clock, and remembers for whom."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.asked: set[tuple[str, int]] = set()

    def __call__(self, name: str, flatbuffer: bytes, /, *, threads: int) -> Backend:
        self.asked.add((name, threads))
        return Slow(open_backend(name, flatbuffer, threads=threads), self._clock, 10 * MS)


@pytest.fixture
def pipeline(request: pytest.FixtureRequest) -> Iterator[Pipeline]:
    """That of ``edge-fer run``; the parameter is its settings."""
    given = {"source": "synthetic", **getattr(request, "param", {})}
    made = build(load_settings(None, given))
    yield made
    made.close()


def measured(pipeline: Pipeline, **changes: Any) -> Roofline:
    clock = Clock()
    given: dict[str, Any] = {"threads": 1, "seconds": 0.1, "memory_bytes": 4096, "clock": clock}
    for part in networks(pipeline):
        part.backend = Slow(part.backend, clock, 20 * MS)
    return measure_roofline(pipeline, **given | {"opener": Opener(clock)} | changes)


def test_the_networks_of_a_pipeline(pipeline: Pipeline) -> None:
    assert [part.model.name for part in networks(pipeline)] == ["expression", "face", "face-region"]


@pytest.mark.parametrize("pipeline", [{"track": False, "model": "expression-nano"}], indirect=True)
def test_without_a_tracker_nothing_looks_at_regions(pipeline: Pipeline) -> None:
    assert [part.model.name for part in networks(pipeline)] == ["expression-nano", "face"]


def test_each_network_is_timed_alone_and_counted_by_its_file(pipeline: Pipeline) -> None:
    clock = Clock()
    opener = Opener(clock)
    parts = networks(pipeline)
    slow = [
        Slow(part.backend, clock, ms * MS) for part, ms in zip(parts, (20, 40, 15), strict=True)
    ]
    for part, backend in zip(parts, slow, strict=True):
        part.backend = backend
    told: list[tuple[float, float]] = []
    found = measure_roofline(
        pipeline,
        threads=2,
        backend="litert",
        seconds=0.1,
        opener=opener,
        memory_bytes=4096,
        clock=clock,
        on_progress=lambda *at: told.append(at),
    )
    assert opener.asked == {("litert", 2)}
    assert found.peak.threads == 2
    assert [net.name for net in found.networks] == ["expression", "face", "face-region"]
    assert [net.ms for net in found.networks] == pytest.approx([20.001, 40.001, 15.001])
    classifier, face, _ = found.networks
    assert classifier.macs == 36_597_632
    assert classifier.depthwise_macs == 0
    assert 0 < face.depthwise_macs < (face.macs or 0)
    assert classifier.size_bytes == find("expression").stat().st_size
    assert classifier.gmac_s == pytest.approx(36_597_632 / 20.001e6)
    assert found.share(classifier) == pytest.approx(
        36_597_632 / 20.001e6 / (found.peak.gmac_s or 0.0)
    )
    assert found.left_out == ()
    assert told[-1] == (0.1, 0.1)
    # The picture is one that the network could get, and no constant.
    for part, backend in zip(parts, slow, strict=True):
        assert backend.given[0].shape == part.backend.input.shape
        assert backend.given[0].std() > 10
    assert pipeline.classifier.backend.run(slow[0].given[0])  # all is still open


def test_moved_bytes_by_hand(tmp_path: Path) -> None:
    path = tmp_path / "tiny.tflite"
    path.write_bytes(embed(tiny_float(), tiny_contract()))
    model = read_model(path)
    classifier = Classifier(model, open_backend("auto", model.flatbuffer))
    net = Network.of(classifier, timed(1000))
    # Constants: 4 x 9 + 4 floats, two axes, 3 x 4 + 3 floats. Written: 8 x 8 x 4, 4 and 3 floats.
    assert net.moved_bytes == 4 * (36 + 4 + 2 + 12 + 3) + 4 * (256 + 4 + 3) + 4 * 64
    assert net.macs == 64 * 4 * 9 + 12
    assert net.intensity == pytest.approx((64 * 4 * 9 + 12) / net.moved_bytes)
    pipeline = Pipeline(
        camera=FakeCamera([]), detector=FakeDetector(lambda f: ()), classifier=classifier
    )
    found = measured(pipeline)
    assert found.left_out == ("fake",)
    (net,) = found.networks
    assert found.share(net) is None
    assert found.words(net) == "tiny is a float model: no share of the int8 peak."
    assert "fake: no .tflite, not in the roofline." in found.grids[0].note
    pipeline.close()


def test_an_operator_that_hides_its_work_is_said() -> None:
    flat = FlatGraph()
    given = flat.tensor("x", (1, 4))
    hidden = flat.unary("CUSTOM", "y", given)
    assert "CUSTOM" in OPERATORS
    model = read_model(find("expression"))
    # No runtime would load it: the backend is another model's.
    part = LoadedModel(
        replace(model, flatbuffer=flat.done([given], [hidden])),
        open_backend("auto", model.flatbuffer),
    )
    net = Network.of(part, timed(1000))
    assert (net.macs, net.gmac_s, net.intensity) == (None, None, None)
    found = Roofline(peak=peak(), networks=(net,))
    assert "cannot be told" in found.grids[0].note
    assert found.figures[0].svg.count("<circle") == 0
    part.close()


@pytest.mark.parametrize("pipeline", [{"detector": "haar"}], indirect=True)
def test_a_detector_that_is_no_network_is_left_out(pipeline: Pipeline) -> None:
    found = measured(pipeline)
    assert [net.name for net in found.networks] == ["expression"]
    assert found.left_out == ("haar",)
    assert "haar: no .tflite, not in the roofline." in found.grids[0].note


def test_without_a_peak_the_networks_are_shown_all_the_same(pipeline: Pipeline) -> None:
    def opener(name: str, flatbuffer: bytes, /, *, threads: int) -> Backend:
        raise MissingExtra("No runtime.")

    found = measured(pipeline, opener=opener)
    assert [net.ms for net in found.networks] == pytest.approx([20.001] * 3)
    assert {found.share(net) for net in found.networks} == {None}
    (grid,) = found.grids
    assert "not measured: No runtime." in grid.note
    assert found.figures == ()
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["peak"]["gmac_s"] is None
    assert document["networks"][0]["share_of_peak"] is None


# A peak of 100, depthwise 10; the network does 50 and 50 MAC a byte but for the changes.
@pytest.mark.parametrize(
    ("changes", "memory", "words"),
    [
        (
            {"timed": timed(12_500)},
            10.0,
            r"80 % .*memory is not its bound; that is near the peak of such layers",
        ),
        ({}, 10.0, r"50 % .*at 50 MAC per byte memory is not its bound; .*50 % goes to small or"),
        ({"moved_bytes": 200_000}, 10.0, r"would allow 50 % if no cache held .* may be its bound"),
        (
            {"moved_bytes": 200_000, "timed": timed(50_000)},
            10.0,
            r"20 % .*would allow 50 % if no cache held anything; .*80 % goes to small or",
        ),
        # A tenth of the work takes ten times as long: 1.9 times the time at the peak.
        (
            {"depthwise_macs": 100_000, "timed": timed(25_000)},
            10.0,
            r"40 % .*36 % would go .* if they ran at the measured .*, and 24 % then to small",
        ),
        ({"timed": timed(5000)}, 10.0, r"reaches 200 %.*do not show all of it"),
        ({"moved_bytes": None}, 10.0, r"int8 peak; of its time about 50 % goes"),
        ({}, None, r"int8 peak; of its time about 50 % goes"),
        ({"macs": None}, 10.0, r"an operator whose work cannot be told"),
        ({"macs": 0}, 10.0, r"no layers with weights"),
        ({"scheme": "float32"}, 10.0, r"is a float model"),
        ({"on_cpu": False}, 10.0, r"does not run on the processor"),
    ],
)
def test_what_bounds_a_network(changes: dict[str, Any], memory: float | None, words: str) -> None:
    net = network(**changes)
    found = Roofline(peak=peak(memory=memory), networks=(net,))
    assert re.search(words, found.words(net))
    assert found.grids[0].note == found.words(net)
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["networks"][0]["words"] == found.words(net)


def test_shares_and_what_the_kinds_of_layers_allow() -> None:
    found = Roofline(peak=peak(), networks=())
    assert found.share(network()) == pytest.approx(0.5)
    assert found.allowed(network()) == 1.0
    assert found.allowed(network(depthwise_macs=100_000)) == pytest.approx(1 / 1.9)
    assert found.allowed(network(depthwise_macs=1_000_000)) == pytest.approx(0.1)
    faster = Roofline(peak=peak(depthwise=200.0), networks=())
    assert faster.allowed(network(depthwise_macs=1_000_000)) == 1.0
    assert found.share(network(macs=0)) is None


def test_it_is_shown_as_any_section() -> None:
    found = Roofline(peak=peak(), networks=(network(), network(name="other", macs=None)))
    assert (found.key, found.title, tuple(found.findings)) == ("roofline", "Roofline", ())
    table, roof = found.grids
    cells = [
        [shown(*pair) for pair in zip(row.cells, table.columns, strict=True)] for row in table.rows
    ]
    assert cells[0] == ["net", "1.0", "30", "0.02", "50.0", "50 %", "50"]
    assert cells[1] == ["other", "–", "30", "0.02", "–", "–", "–"]  # noqa: RUF001
    assert [row.tone for row in roof.rows] == ["strong", "plain"]
    assert roof.note == found.peak.words
    svg = found.figures[0].svg
    assert svg.count("<circle") == 1
    for words in ("net 50", "int8 peak 100 GMAC/s", "depthwise 10 GMAC/s", "memory 10 GB/s"):
        assert words in svg


@pytest.mark.parametrize("gmac_s", [0.09, 0.9, 9.5, 1800.0])
def test_the_chart_keeps_within_its_frame(gmac_s: float) -> None:
    reached = [
        Reached(name="a", intensity=0.3, gmac_s=gmac_s / 300),
        Reached(name="<b>", intensity=2000.0, gmac_s=gmac_s),
        Reached(name="c", intensity=2000.0, gmac_s=gmac_s),
    ]
    svg = str(roof_chart(reached, peak=gmac_s, memory=2.0, lower=gmac_s / 10))
    places = [(float(x), float(y)) for x, y in re.findall(r'c[x]="([\d.-]+)" cy="([\d.-]+)"', svg)]
    assert len(places) == 3
    assert all(0 < x < 928 and 0 < y < 360 for x, y in places)
    x, y, ridge, flat = (
        float(n)
        for n in re.search(r'class="line" d="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)H', svg).groups()  # type: ignore[union-attr]
    )
    assert 64 <= x < ridge < 904
    assert flat < y <= 318.1
    assert places[1][1] == flat  # at the peak
    assert "&lt;b&gt;" in svg
    # Two dots in one place: their words are in two.
    words = re.findall(r'x="([\d.]+)" y="([\d.]+)">(?:&lt;b&gt;|c) ', svg)
    assert len(set(words)) == 2


def test_a_roof_without_networks_is_drawn_whole() -> None:
    svg = str(roof_chart([], peak=0.9, memory=2.0))
    found = re.search(r'class="line" d="M([\d.]+) ([\d.]+)L([\d.]+) ([\d.]+)H', svg)
    assert found is not None
    x, y, ridge, flat = map(float, found.groups())
    assert 64 <= x < ridge
    assert 22 < flat < y <= 318.1
