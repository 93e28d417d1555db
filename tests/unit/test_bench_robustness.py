"""Spoilt faces in the benchmark: figures that can be worked out by hand, and what they come to."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from scripted_models import THRESHOLD, Said, classifier, faces, shown
from tiny_tflite import LABELS

from edge_fer.classifier import Classifier
from edge_fer.contract import QualityRange, QualityRanges
from edge_fer.errors import ConfigError, DataError
from edge_fer.evaluation.corruptions import ANY_STRENGTH, CORRUPTIONS, STRENGTHS
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.evaluation.robustness import JITTER, NOISE, REPORT_SEED, SETS, measure
from edge_fer.preprocess import fit
from edge_fer_bench.accuracy.robustness import MeasuredRobustness, measure_robustness
from edge_fer_bench.drawing.section import Section
from edge_fer_bench.drawing.section import shown as cell_text

Rule = Callable[[str, int, int], tuple[bool, float]]
"""Name, strength and row of a picture to whether it is named rightly, and how surely."""

SURE, UNSURE = 0.9, 0.4
DISTINCT = len(STRENGTHS) * len(CORRUPTIONS) - 2 * len(ANY_STRENGTH)


def always(name: str, strength: int, row: int) -> tuple[bool, float]:
    return True, 0.4 if name == NOISE else SURE


def wrong_where(wrong: Callable[[str, int, int], bool]) -> Rule:
    """Surely wrong there, else as :func:`always`."""
    return lambda *at: (False, SURE) if wrong(*at) else always(*at)


def scripted(rule: Rule, rows: LabelledFaces, *, int8: bool, **contract: Any) -> Classifier:
    script = list(shown(len(rows)))

    def answer(call: int, pixels: np.ndarray) -> Said:
        name, strength, row = script[call]
        right, top = rule(name, strength, row)
        truth = 0 if name == NOISE else int(rows.truth[row])
        return (truth if right else (truth + 1) % len(LABELS)), top

    return classifier(answer, int8=int8, **contract)


def measured(
    n: int, int8: Rule, reference: Rule = always, max_drop: float = 0.5
) -> MeasuredRobustness:
    rows = faces(n)
    return measure_robustness(
        scripted(int8, rows, int8=True),
        scripted(reference, rows, int8=False),
        rows,
        max_drop=max_drop,
    )


def test_the_figures_of_one_corruption() -> None:
    """Of 60 rows under blur 2, float is right on all; int8 wrong on 12, 3 of these unsurely."""

    def int8(name: str, strength: int, row: int) -> tuple[bool, float]:
        if (name, strength) != ("blur", 2):
            return always(name, strength, row)
        return row >= 12, UNSURE if row < 3 else SURE

    found = measured(60, int8)
    blur = found.found.corrupted["blur"]
    assert [c.strength for c in blur] == [1, 2, 3]
    spoilt = blur[1]
    assert spoilt.drop.reference.accuracy == 1.0
    assert spoilt.drop.quantised.accuracy == 0.8
    assert spoilt.drop.drop_points == pytest.approx(20.0)
    assert spoilt.drop.agreement == pytest.approx(0.8)
    assert spoilt.quantised.coverage == pytest.approx(57 / 60)
    assert spoilt.quantised.accuracy == pytest.approx(48 / 57)
    assert (spoilt.reference.coverage, spoilt.reference.accuracy) == (1.0, 1.0)
    assert spoilt.mistaken_for in LABELS
    others = [c for c in found.found.each() if c is not spoilt]
    assert len(others) == DISTINCT
    assert {c.drop.drop_points for c in others} == {0.0}
    assert {c.mistaken_for for c in others} == {None}
    # Together the strengths are evaluate's: 12 of 180 wrong, 3 of them unknown.
    pooled = found.to_json()["quantised"]["corrupted"]["blur"]["all"]
    assert pooled == {
        "n": 180,
        "coverage": pytest.approx(177 / 180),
        "accuracy": pytest.approx(168 / 177),
    }
    (finding,) = found.findings
    assert finding.startswith("Int8 loses more against float than the limit of 0.5 points under ")
    assert "under blur (strength 2): 20.0 points (95 % interval" in finding
    assert finding.endswith("95 % of the faces get a name).")
    assert found.to_json()["corrupted"]["blur"]["2"]["verdict"] == "fail"
    rows = {row.cells[0]: row for row in found.grids[0].rows}
    assert rows["blur, 2"].tone == "bad"
    assert list(rows["blur, 2"].cells[1:4]) == pytest.approx([1.0, 0.8, 20.0])
    assert [row.tone for row in found.grids[0].rows].count("bad") == 1


def test_a_loss_that_many_intervals_explain_is_no_finding() -> None:
    """6 of 300: the interval is beyond 0.5 points, yet one in 39 tests gives as much by chance."""
    found = measured(300, wrong_where(lambda *at: at[:2] == ("jpeg", 1) and at[2] < 6))
    assert found.found.corrupted["jpeg"][0].drop.verdict(0.5) == "fail"
    assert found.findings == []
    # What float loses as well is none either.
    rule = wrong_where(lambda name, strength, row: name == "jpeg" and row % 4 == 0)
    worse = measured(80, rule, rule)
    assert worse.found.corrupted["jpeg"][2].drop.quantised.accuracy == 0.75
    assert worse.findings == []


def test_the_limit_is_that_of_the_request() -> None:
    int8 = wrong_where(lambda *at: at[:2] == ("roll", 3) and at[2] < 12)
    assert len(measured(60, int8).findings) == 1
    assert measured(60, int8, max_drop=30.0).findings == []


def test_wrong_names_are_a_finding_and_unknown_ones_are_none() -> None:
    """Turned faces get sure names, half of them wrong; covered ones none; few names tell little."""

    def both(name: str, strength: int, row: int) -> tuple[bool, float]:
        if name == "turn_180":
            return row % 2 == 0, SURE
        if name == "covered_mouth":
            return False, UNSURE
        if name == "dark_glasses":
            return False, SURE if row < 49 else UNSURE
        return always(name, strength, row)

    found = measured(60, both, both)
    (finding,) = found.findings
    assert finding.startswith("Under turn 180 100 % of the faces get a name")
    assert "only 50 % of these names are right" in finding
    assert finding.endswith(f"mostly {found.found.corrupted['turn_180'][0].mistaken_for}.")
    covered = found.found.corrupted["covered_mouth"][0]
    assert (covered.quantised.coverage, covered.quantised.accuracy) == (0.0, None)
    assert found.found.corrupted["dark_glasses"][0].few
    dim = [row.cells[0] for row in found.grids[1].rows if row.tone == "dim"]
    assert dim == [f"{name}, {s}" for name in ("covered mouth", "dark glasses") for s in (1, 2, 3)]
    bad = [row.cells[0] for row in found.grids[1].rows if row.tone == "bad"]
    assert bad == ["turn 180"]


def test_each_model_is_held_to_its_own_threshold() -> None:
    rows = faces(10)
    int8 = scripted(always, rows, int8=True)
    found = measure_robustness(int8, scripted(always, rows, int8=False, threshold=0.95), rows)
    assert (found.found.clean.reference.coverage, found.found.clean.quantised.coverage) == (0, 1)
    assert found.found.reference.clean.coverage == 0
    assert found.to_json()["reference"]["min_probability"] == 0.95
    assert "Below a probability of 0.5 (float 0.95)" in found.lead


def test_noise_that_gets_names_is_a_finding() -> None:
    def int8(name: str, strength: int, row: int) -> tuple[bool, float]:
        return True, SURE if name != NOISE or row < 240 else UNSURE

    found = measured(20, int8)
    assert found.found.quantised.accepted_noise == found.found.noise_answered == 0.12
    assert found.found.reference.accepted_noise == 0
    assert list(found.findings) == ["12 % of pictures of noise, without a face, get a name."]


def test_shaken_crops_cost_what_they_cost() -> None:
    # 2, 4 and 6 of 40 are wrong.
    found = measured(40, wrong_where(lambda name, draw, row: name == JITTER and row < 2 * draw))
    assert found.found.quantised.jitter_loss_points == pytest.approx(10.0)
    assert found.found.reference.jitter_loss_points == 0
    assert "cost float 0.00 points and int8 10.00" in found.grids[0].note


def ranges() -> QualityRanges:
    def between(low: float, middle: float, high: float) -> QualityRange:
        return QualityRange(p1=low, p50=middle, p99=high)

    return QualityRanges(
        n=100,
        brightness=between(60, 128, 200),
        contrast=between(0.1, 5, 90),
        sharpness=between(0.01, 1, 9),
        noise=between(0, 1, 500),
    )


def test_the_gate_is_asked_about_light_and_what_it_refuses_gets_no_name() -> None:
    rows = faces(20)
    for dark in rows.images[:5]:
        dark[:] = 3
    int8 = scripted(always, rows, int8=True, quality=ranges())
    found = measure_robustness(int8, scripted(always, rows, int8=False), rows)
    clean = found.found.clean
    assert clean.refused == 0.25
    assert clean.quantised.coverage == 1.0
    assert (clean.answered.coverage, clean.answered.accuracy) == (0.75, 1.0)
    assert "was asked about the light and the sharpness" in found.lead
    assert found.to_json()["clean"]["refused_by_gate"] == 0.25

    int8, reference = (scripted(always, rows, int8=i, quality=ranges()) for i in (True, False))
    for without in (measured(20, always), measure_robustness(int8, reference, rows, gate=False)):
        assert without.found.clean.refused is None
        assert without.found.clean.answered == without.found.clean.quantised
        assert "The quality gate was not asked" in without.lead
        assert without.grids[1].rows[0].cells[5] is None


def by_pixels(call: int, pixels: np.ndarray) -> Said:
    """Some function of the pixels, other for other pixels."""
    mean, deviation = float(pixels.mean()), float(pixels.std())
    return int(10 * mean + 7 * deviation) % 3, 0.34 + 0.6 * ((mean + 3 * deviation) % 1)


def test_each_model_alone_has_the_figures_of_evaluate() -> None:
    rows = faces(25)
    int8, reference = classifier(by_pixels, int8=True), classifier(by_pixels, int8=False)
    document = measure_robustness(int8, reference, rows).to_json()
    for name, model in (("quantised", int8), ("reference", reference)):
        spec = model.contract.input
        pixels = np.stack([fit(image, spec) for image in rows.images])
        alone = measure(model.probabilities, pixels, rows.truth, spec, seed=REPORT_SEED)
        assert document[name] == alone.at(THRESHOLD).to_json()
    assert document["same_pixels"]
    # Both saw identical pixels, and both answer by them.
    assert document["clean"]["agreement"] == 1.0


def test_models_that_scale_otherwise_are_each_shown_their_own() -> None:
    rows = faces(6)
    ours = classifier(lambda call, pixels: (2, SURE), int8=True)
    theirs = classifier(lambda call, pixels: (2, SURE), int8=False, interpolation="linear")
    found = measure_robustness(ours, theirs, rows)
    assert not found.found.same_pixels
    assert "each was shown the corruptions through its own preprocessing" in found.lead
    assert found.found.clean.drop.quantised.accuracy == pytest.approx(2 / 6)
    assert measured(6, always).lead.count("identical pixels") == 1


def test_labels_in_another_order_are_the_same_labels() -> None:
    """A contract with exchanged labels must not be taken for a float model that is wrong."""
    rows = faces(30)
    turned = LABELS[::-1]
    script = list(shown(len(rows)))

    def answer(call: int, pixels: np.ndarray) -> Said:
        name, _, row = script[call]
        return (0 if name == NOISE else turned.index(LABELS[rows.truth[row]])), SURE

    reference = classifier(answer, int8=False, labels=turned)
    found = measure_robustness(scripted(always, rows, int8=True), reference, rows)
    assert {c.drop.reference.accuracy for c in found.found.each()} == {1.0}
    assert found.found.reference.clean.accuracy == 1.0
    assert found.findings == []


def test_rows_are_drawn_and_that_is_said() -> None:
    rows = faces(50)
    int8, reference = (classifier(by_pixels, int8=kind) for kind in (True, False))
    first, again = (measure_robustness(int8, reference, rows, rows=10) for _ in range(2))
    assert (len(first.faces), first.of) == (10, 50)
    assert first.to_json() == again.to_json()
    assert (first.to_json()["n"], first.to_json()["of"]) == (10, 50)
    assert "10 of 50 rows, drawn by a seed" in first.lead
    assert "10 of 50 rows, drawn by a seed" in first.grids[0].note
    assert "all 6 rows" in measured(6, always).lead


def test_it_is_a_section_with_a_cell_for_each_column_and_finite_json() -> None:
    found: Section = measured(8, always)
    assert found.key == "robustness"
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert set(document["corrupted"]) == set(CORRUPTIONS)
    assert document["noise"] == {"refused_by_gate": None, "answered": 0.0}
    for grid in found.grids:
        assert len({column.name for column in grid.columns}) == len(grid.columns)
        assert len({row.cells[0] for row in grid.rows}) == len(grid.rows) == 1 + DISTINCT
        assert {len(row.cells) for row in grid.rows} == {len(grid.columns)}
        wide = [
            max(len(cell_text(row.cells[i], column)) for row in grid.rows)
            for i, column in enumerate(grid.columns)
        ]
        words = [max(map(len, column.name.split())) for column in grid.columns]
        # Two characters between columns, one at either side, 80 in all.
        assert sum(map(max, wide, words)) + 2 * len(wide) <= 80


def test_the_picture_has_every_value_written_in_it() -> None:
    def int8(name: str, strength: int, row: int) -> tuple[bool, float]:
        if name == "turn_90":
            return False, UNSURE
        if name == "turn_180":
            return row < 15, SURE
        return name != "blur" or strength < 3 or row >= 30, SURE

    (figure,) = measured(60, int8).figures
    root = ET.fromstring(figure.svg)  # noqa: S314 - we made it
    cells = list(root.iter("rect"))
    assert len(cells) == 3 * DISTINCT
    assert all(0 <= float(cell.get("fill-opacity", "")) <= 1 for cell in cells)
    words = [node.text for node in root.iter("text")]
    assert words.count("\u2013") == 1  # nothing is named of what is turned by 90 degrees
    assert words.count("25 %") == 1
    assert "50.0" in words
    assert {name.replace("_", " ") for name in CORRUPTIONS} <= set(words)
    # Framed: wrong names of turn 180 and of blur 3; the losses of both turns and of blur 3.
    assert len([path for path in root.iter("path") if path.get("class") == "limit"]) == 5
    # A corruption without strengths has one cell, as wide as the three of another.
    wide = sorted({round(float(cell.get("width", ""))) for cell in cells})
    assert len(wide) == 2
    assert wide[1] == pytest.approx(3 * wide[0], abs=5)


def test_only_losses_that_leave_out_0_are_shaded() -> None:
    """12 of 60 lost under blur 2; 2 of 60, whose interval reaches 0, under jpeg 1."""
    lost = {("blur", 2): 12, ("jpeg", 1): 2}
    found = measured(
        60, wrong_where(lambda name, strength, row: row < lost.get((name, strength), 0))
    )
    (figure,) = found.figures
    cells = list(ET.fromstring(figure.svg).iter("rect"))  # noqa: S314 - we made it
    drops = cells[2 * DISTINCT :]
    shaded = [cell for cell in drops if float(cell.get("fill-opacity", "")) > 0]
    assert [cell.get("class") for cell in shaded] == ["bad"]
    words = [node.text for node in ET.fromstring(figure.svg).iter("text")]  # noqa: S314
    assert {"20.0", "3.3"} <= set(words)  # written all the same


def test_what_the_strength_does_not_change_is_shown_once_and_kept_thrice_in_json() -> None:
    found = measured(60, wrong_where(lambda name, strength, row: name == "mirror" and row < 20))
    for grid in found.grids:
        names = [row.cells[0] for row in grid.rows]
        for name in ("mirror", "turn 180", "turn 90"):
            assert [n for n in names if str(n).startswith(name)] == [name]
        assert {"blur, 1", "blur, 2", "blur, 3"} <= set(names)
        assert "the same at every strength" in grid.note
    assert set(found.to_json()["corrupted"]["mirror"]) == {"1", "2", "3"}
    (finding,) = found.findings  # one row, not three
    assert "under mirror: 33.3 points" in finding
    assert "more row" not in finding


def test_much_that_is_wrong_is_two_sentences() -> None:
    """A broken int8: everything lost, every name wrong, noise named too."""
    lost, misled = measured(60, lambda name, strength, row: (False, SURE)).findings
    assert lost.endswith(f"; and {DISTINCT} more rows, see the table.")
    assert f"and {DISTINCT - 1} more rows, see the table; 100 % of pictures of noise" in misled


def test_bad_input_is_refused() -> None:
    rows = faces(6)
    int8, reference = (scripted(always, rows, int8=kind) for kind in (True, False))
    with pytest.raises(DataError, match="no faces") as caught:
        measure_robustness(int8, reference, rows.take(np.empty(0, np.int64)))
    assert caught.value.remedy
    other = classifier(by_pixels, int8=False, labels=("fear", *LABELS[1:]))
    with pytest.raises(ConfigError, match="has the labels fear"):
        measure_robustness(int8, other, rows)
    with pytest.raises(ConfigError, match="is no float model"):
        measure_robustness(int8, int8, rows)


def test_progress_comes_to_its_end_and_ctrl_c_passes_through() -> None:
    told: list[tuple[float, float]] = []
    rows = faces(4)
    int8, reference = (classifier(by_pixels, int8=kind) for kind in (True, False))
    measure_robustness(int8, reference, rows, on_progress=lambda *at: told.append(at))
    assert [done for done, _ in told] == list(range(2 * SETS + 1))
    assert {total for _, total in told} == {2 * SETS}

    def stop(done: float, total: float) -> None:
        if done == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_robustness(int8, reference, rows, on_progress=stop)
