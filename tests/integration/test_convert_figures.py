"""What the ladder is for, measured on real models and real faces, against plain quantisation.

Everything here is judged on rows of FER2013's Training split: PublicTest is for the reports.
The figures themselves: ``pytest --log-cli-level=info tests/integration/test_convert_figures.py``.
"""

from __future__ import annotations

import logging
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge_fer.contract import Quantisation
from edge_fer.evaluation.drop import AccuracyDrop
from edge_fer.models import find
from edge_fer.quiet import hushed_stderr
from edge_fer.types import Image
from edge_fer_convert.climbing.budget import Budget
from edge_fer_convert.climbing.ladder import Workshop, climb
from edge_fer_convert.climbing.recipe import LADDER, load_recipe
from edge_fer_convert.graph import Graph, constant, from_object, set_constant, to_object
from edge_fer_convert.int8.candidate import Candidate
from edge_fer_convert.int8.verify import tensor_quantisation
from edge_fer_convert.measuring.probe import Probe
from edge_fer_convert.measuring.statistics import measure_statistics
from edge_fer_convert.preparation import prepare
from edge_fer_convert.request import Listener, Request
from edge_fer_convert.targets.target import load_target

pytest.importorskip("ai_edge_quantizer", reason="the extra convert is not installed")

pytestmark = pytest.mark.slow
# What `edge-fer convert` aims at when it is told nothing else.
BUDGET = Budget(max_drop=0.5, max_class_drop=3.0, min_agreement=0.98)
RECIPES = [load_recipe(name) for name in LADDER]
DRAWS, DRAWN = 3, 100
LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D")
LOG = logging.getLogger(__name__)


def workshop(model: Path, data: Path, folder: Path, **said: object) -> Workshop:
    """All that the ladder needs of a float model; it chooses by the rows of validation."""
    request = Request(model=model, output=folder / "out.tflite", data=data, **said)  # type: ignore[arg-type]
    shop = prepare(request, load_target("pi"), Listener()).workshop
    assert (shop.selection.split, len(shop.selection)) == ("validation", 2332)
    return shop


@pytest.fixture(scope="module")
def peer(shared: Path, fer2013: Path, tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """The strongest small FER+ classifier by others: depthwise, leaky ReLU, logits."""
    return workshop(
        shared / "models" / "peer_vicksam_ferplus.tflite",
        fer2013,
        tmp_path_factory.mktemp("peer"),
        labels="ferplus8",
        input_range=(0.0, 1.0),
        calibration=256,
    )


def drawn(shop: Workshop) -> list[Image]:
    """Training pictures as most people take them: some, at random; several times."""
    pixels, rng = shop.learning(), np.random.default_rng(7)
    return [pixels[rng.choice(len(pixels), DRAWN, replace=False)] for _ in range(DRAWS)]


def plain(shop: Workshop, pixels: Image) -> Candidate:
    """ai-edge-quantizer's own int8 recipe, with the lowest and highest value seen.

    An operator that it does not know stays in float, between operators that go there and back.
    """
    from ai_edge_quantizer import quantizer, recipe

    seen = measure_statistics(shop.flatbuffer, (i[None] for i in shop.inputs(pixels)))
    known = {
        name: {
            "min": np.full((1, 1, 1, 1), histogram.lowest, "f4"),
            "max": np.full((1, 1, 1, 1), histogram.highest, "f4"),
        }
        for name, histogram in seen.histograms.items()
    }
    with warnings.catch_warnings(), hushed_stderr():
        # A bias that does not fit beside weights that vanish, among others.
        warnings.simplefilter("ignore")
        engine = quantizer.Quantizer(shop.flatbuffer, recipe.static_wi8_ai8())
        made = engine.quantize(known, enable_progress_bar=False, enable_progress_report=False)
    flatbuffer = bytes(made.quantized_model)
    graph = Graph.read(flatbuffer)
    quantisation = Quantisation(
        scheme="int8",
        recipe="static_wi8_ai8",
        input=tensor_quantisation(graph.tensors[graph.inputs[0]]),
        output=tensor_quantisation(graph.tensors[graph.outputs[0]]),
    )
    return Candidate(flatbuffer=flatbuffer, contract=shop.contract.with_(quantisation=quantisation))


def told(name: str, drop: AccuracyDrop) -> AccuracyDrop:
    low, high = drop.ci95_points
    LOG.info(
        "%s: %+.2f points (%+.2f to %+.2f), %.2f %% flips, mean |dp| %.4f",
        *(name, drop.drop_points, low, high, 100 * (1 - drop.agreement), drop.mean_abs_dp),
    )
    return drop


def flips(reference: np.ndarray, candidate: Candidate, pixels: Image) -> float:
    """Share of the pictures whose label changed."""
    said = candidate.probabilities(pixels)
    return float((said.argmax(axis=1) != reference.argmax(axis=1)).mean())


def test_the_peer_flips_at_most_half_as_often_as_by_plain_quantisation(peer: Workshop) -> None:
    candidates = [plain(peer, pixels) for pixels in drawn(peer)]
    drops = [told("ai-edge-quantizer", peer.judge(c, "plain")) for c in candidates]
    outcome = climb(peer, RECIPES, BUDGET)
    for rung in outcome.rungs:
        if rung.made is not None:
            told(rung.recipe.name, rung.made.drop)
    assert outcome.rungs[-1].status == "not_run"  # no fine-tuning is needed for it
    ours = outcome.made.drop
    assert 1 - ours.agreement <= 0.5 * np.mean([1 - drop.agreement for drop in drops])
    assert ours.drop_points <= 0.5 * np.mean([drop.drop_points for drop in drops])
    assert outcome.met

    # The recipe was chosen by those rows; these chose nothing.
    known = {picture.tobytes() for picture in peer.calibration}
    others = np.stack([p for p in peer.learning() if p.tobytes() not in known])
    original = Candidate(flatbuffer=peer.flatbuffer, contract=peer.contract)
    reference = original.probabilities(others)
    theirs = np.mean([flips(reference, candidate, others) for candidate in candidates])
    mine = flips(reference, outcome.made.candidate, others)
    LOG.info("on %d others: %.2f %% and %.2f %% flips", len(others), 100 * theirs, 100 * mine)
    assert mine <= 0.5 * theirs


def rescaled(flatbuffer: bytes, octaves: float) -> bytes:
    """The channels of each layer times ``2^U(-octaves, octaves)``, undone by the layer behind it.

    For a chain of convolutions with leaky ReLU and max pooling between them, through which a
    positive factor passes.
    """
    model, rng = to_object(flatbuffer), np.random.default_rng(11)
    layers = [o for o in Graph.of(model).operators if o.name in LAYERS]
    undo = np.ones(1)
    for layer in layers:
        weights, bias = (constant(model, number) for number in layer.inputs[1:3])
        factor = (
            np.ones(len(bias))
            if layer is layers[-1]
            else 2 ** rng.uniform(-octaves, octaves, len(bias))
        )
        # [1, h, w, channels] of a depthwise layer, else [out, h, w, in].
        each = factor if layer.name == "DEPTHWISE_CONV_2D" else factor[:, None, None, None]
        set_constant(model, layer.inputs[1], weights / undo * each)
        set_constant(model, layer.inputs[2], bias * factor)
        undo = factor
    return from_object(model)


def test_channels_of_very_different_reach_are_made_alike_again(peer: Workshop) -> None:
    spread = replace(peer, flatbuffer=rescaled(peer.flatbuffer, 4))
    probes = [Probe(model) for model in (peer.flatbuffer, spread.flatbuffer)]
    name = Graph.read(peer.flatbuffer).tensors[Graph.read(peer.flatbuffer).outputs[0]].name
    for picture in peer.inputs(peer.selection.pixels[:64]):
        before, after = (probe(picture[None])[name] for probe in probes)
        assert np.abs(after - before).max() < 1e-4

    theirs = told("ai-edge-quantizer", spread.judge(plain(spread, drawn(spread)[0]), "plain"))
    outcome = climb(spread, RECIPES[:-1], BUDGET)
    by_name = {r.recipe.name: told(r.recipe.name, r.made.drop) for r in outcome.rungs if r.made}
    assert theirs.drop_points >= 5
    assert by_name["plain"].drop_points >= 5
    assert outcome.chosen == "equalised"
    assert by_name["equalised"].drop_points <= 1


def test_the_shipped_model_needs_no_more_than_plain_quantisation(
    fer2013: Path, tmp_path: Path
) -> None:
    shop = workshop(find("expression.float"), fer2013, tmp_path)
    outcome = climb(shop, RECIPES, BUDGET)
    assert outcome.chosen == "plain"
    assert outcome.met
    assert [rung.status for rung in outcome.rungs] == ["accepted", *["not_run"] * 3]
    drop = told("plain", outcome.made.drop)
    points = drop.drop_points
    assert points <= 0.5
