"""Which rung is taken, on a small graph whose channels were spread apart."""

from __future__ import annotations

import numpy as np
import pytest
from test_convert_equalise import SIDE, separable
from tiny_tflite import pictures

from edge_fer.contract import InputSpec, Licence, ModelContract, OutputSpec
from edge_fer.errors import ModelError
from edge_fer_convert.climbing.budget import Budget
from edge_fer_convert.climbing.ladder import Outcome, Selection, Workshop, climb
from edge_fer_convert.climbing.recipe import LADDER, Recipe, load_recipe
from edge_fer_convert.graph import constant, from_object, set_constant, to_object
from edge_fer_convert.int8.candidate import Candidate
from edge_fer_convert.measuring.probe import Probe

LABELS = ("anger", "fear", "happiness", "neutral", "sadness")


def level(model: bytes) -> bytes:
    """The same net with classes about equally likely."""
    probe = Probe(model, ["scores"])
    scores = np.concatenate(
        [probe(p[None].astype(np.float32) / 255)["scores"] for p in pictures(200, seed=8)]
    )
    made = to_object(model)
    dense = made.subgraphs[0].operators[-1]
    for number in dense.inputs[1:]:
        values = constant(made, number) - (scores.mean(axis=0) if number == dense.inputs[2] else 0)
        spread = scores.std(axis=0)
        set_constant(made, number, values / (spread if values.ndim == 1 else spread[:, None]))
    return from_object(made)


def workshop(spread: float) -> Workshop:
    """Rows are truly what the float model says of them."""
    model = level(separable(spread))
    contract = ModelContract(
        labels=LABELS,
        label_scheme="custom",
        input=InputSpec(
            height=SIDE, width=SIDE, channels=1, colour="gray", scale=(1 / 255,), offset=(0.0,)
        ),
        output=OutputSpec(kind="logits"),
        licence=Licence(code="none", weights="none"),
    )
    pixels = pictures(300, seed=3)
    reference = Candidate(flatbuffer=model, contract=contract).probabilities(pixels)
    return Workshop(
        flatbuffer=model,
        contract=contract,
        calibration=pictures(48, seed=5),
        selection=Selection(
            pixels=pixels,
            truth=reference.argmax(axis=1),
            labels=LABELS,
            split="validation",
            reference=reference,
        ),
        learning=lambda: pictures(64, seed=6),
    )


def climbed(spread: float, budget: Budget, *names: str) -> Outcome:
    return climb(workshop(spread), [load_recipe(name) for name in names or LADDER[:3]], budget)


def test_the_first_rung_that_meets_the_budget_is_taken() -> None:
    found = climbed(0, Budget(max_drop=20, min_agreement=0.5))
    assert found.met
    assert found.chosen == "plain"
    assert [r.status for r in found.rungs] == ["accepted", "not_run", "not_run"]
    assert "plain meets the budget" in found.rungs[1].why
    assert found.made.candidate.contract.quantisation.recipe == "plain"


def test_it_climbs_where_channels_were_spread() -> None:
    found = climbed(4, Budget(max_drop=8, min_agreement=0.9))
    by_name = {r.recipe.name: r for r in found.rungs}
    assert by_name["plain"].status == by_name["ranges"].status == "missed"
    assert found.chosen == "equalised"
    assert found.met
    plain = by_name["plain"].made
    assert plain is not None
    assert plain.drop.drop_points > 20 + found.made.drop.drop_points
    assert "points lost, 8 allowed" in by_name["plain"].why


def test_where_no_rung_is_good_enough_the_best_is_kept_and_said() -> None:
    found = climbed(4, Budget(max_drop=-50))
    assert not found.met
    assert [r.status for r in found.rungs] == ["missed"] * 3
    assert found.chosen == "equalised"


def test_labels_that_change_call_for_more_rungs_but_miss_no_budget() -> None:
    found = climbed(0, Budget(max_drop=20, min_agreement=1.01), *LADDER)
    assert [r.status for r in found.rungs] == ["missed"] * 3 + ["not_run"]
    assert "within the points allowed" in found.rungs[3].why
    assert found.met
    best = max(r.made.drop.agreement for r in found.rungs if r.made is not None)
    assert found.made.drop.agreement == best


def test_a_rung_that_cannot_be_done_is_passed_over() -> None:
    shop = workshop(0)
    broken = Recipe(name="broken", words="none", ranges=("minmax",))
    object.__setattr__(broken, "ranges", ())
    with pytest.raises(Exception, match="names no ranges"):
        shop.make(broken)
    damaged = Workshop(
        flatbuffer=shop.flatbuffer[:200],
        contract=shop.contract,
        calibration=shop.calibration,
        selection=shop.selection,
        learning=shop.learning,
    )
    with pytest.raises(ModelError):
        climb(damaged, [load_recipe("plain")], Budget())


def test_the_same_work_gives_the_same_bytes() -> None:
    first, second = (workshop(2).make(load_recipe("equalised")).candidate for _ in range(2))
    assert first.flatbuffer == second.flatbuffer
    assert np.array_equal(first.probabilities(pictures(4)), second.probabilities(pictures(4)))
