"""The benchmark of flicker: its counting, its shaking, and that it shows what smoothing does."""

import sys
from pathlib import Path

import numpy as np
import pytest

from edge_fer.assemble import open_classifier
from edge_fer.evaluation.data import labelled, read
from edge_fer.smoothing import Constants
from edge_fer.types import Expression

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

import flicker


def said(label: str) -> Expression:
    others = {"neutral": 0.05, "happiness": 0.05, "unknown": 0.0}
    p = {**others, label: 0.95}
    p.pop("unknown")
    return Expression(label=label, probabilities=p, entropy=0.0)


def test_flips_are_changes_from_frame_to_frame() -> None:
    assert flicker.flips([]) == flicker.flips(["a"]) == flicker.flips(["a"] * 9) == 0
    assert flicker.flips(["a", "b", "b", "a", "unknown"]) == 3


def test_the_reaction_is_the_first_frame_that_shows_it() -> None:
    assert flicker.reaction_s(["a", "a", "b", "a"], "b", 10) == pytest.approx(0.2)
    assert flicker.reaction_s(["b"], "b", 30) == 0
    assert flicker.reaction_s(["a"], "b", 30) == float("inf")


def test_steady_is_a_label_of_nearly_all_frames() -> None:
    def still(*labels: str) -> flicker.Still:
        return flicker.Still(said=tuple(map(said, labels)), truth="neutral", clear=True)

    assert still(*["neutral"] * 95, *["happiness"] * 5).steady == "neutral"
    assert still(*["neutral"] * 94, *["happiness"] * 6).steady is None
    assert still(*["unknown"] * 100).steady is None


def test_changes_are_between_faces_of_two_opinions_and_the_same_every_time() -> None:
    stills = [
        flicker.Still(said=(said(label),) * 20, truth=label, clear=True)
        for label in ("neutral", "happiness", "unknown", "neutral")
    ]
    pairs = flicker.changes(stills)
    assert pairs == flicker.changes(stills)
    assert {(a.steady, b.steady) for a, b in pairs} == {
        ("neutral", "happiness"),
        ("happiness", "neutral"),
    }


def test_a_shaken_face_stays_in_its_place_and_is_the_same_again(fer2013: Path) -> None:
    classifier = open_classifier("expression", threads=1)
    spec = classifier.contract.input
    classifier.close()
    face = np.tile(np.linspace(40, 200, 48), (48, 1)).astype(np.uint8)
    one = flicker.shaken(face, spec, 90, np.random.default_rng(3))
    assert one.shape == (90, 48, 48, 1)
    assert (one == flicker.shaken(face, spec, 90, np.random.default_rng(3))).all()
    assert not (one[0] == one[1]).all()
    away = np.abs(one.astype(float) - face[None, :, :, None]).mean(axis=(1, 2, 3))
    assert 2 < np.median(away) < 25


@pytest.mark.slow
def test_smoothing_keeps_what_it_promises_on_a_few_faces(fer2013: Path) -> None:
    """The figures of the README on a small part: nine flips in ten are gone, changes are shown."""
    classifier = open_classifier("expression", threads=1)
    spec = classifier.contract.input
    faces = labelled(read(fer2013, None), classifier.labels, split="validation", every_vote=True)
    rows = [int(r) for k in range(7) for r in np.flatnonzero(faces.truth == k)[:5]]
    stills = []
    for row in rows:
        shown = flicker.shaken(faces.images[row], spec, 150, np.random.default_rng(row))
        stills.append(
            flicker.Still(
                said=classifier.classify(shown),
                truth=classifier.labels[int(faces.truth[row])],
                clear=True,
            )
        )
    for method in ("ema", "hmm"):
        found = flicker.figures(stills, stills[:2], classifier, method, 30, Constants())
        assert found.raw_flips > 20
        assert found.fewer >= 0.9
        assert found.reaction_p95 <= 0.5
        assert found.accuracy >= found.raw_accuracy - 0.01
    classifier.close()
