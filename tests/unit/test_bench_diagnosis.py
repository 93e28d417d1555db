"""What a broken contract looks like from outside, on a network that is a line of arithmetic."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_fer.backends.base import Array, TensorSpec
from edge_fer.backends.fake import FakeBackend
from edge_fer.classifier import Classifier
from edge_fer.contract import InputSpec, Licence, ModelContract, OutputSpec
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.modelfile import ModelFile
from edge_fer_bench.accuracy.assignment import best_assignment
from edge_fer_bench.accuracy.diagnosis import diagnose, exchanged
from edge_fer_bench.accuracy.inputs import plain_range, variants

LABELS = ("anger", "fear", "happiness", "neutral", "sadness")
# Of pixels from 0 to 1, each class has its level of the first channel.
LEVELS = np.array([0.05, 0.2, 0.3, 0.4, 0.5])
SWAPPED = ("anger", "fear", "sadness", "neutral", "happiness")


class Net:
    """Names the class whose level is nearest to the first channel's mean, and counts its work."""

    def __init__(self, *, always: int | None = None, careless: bool = False) -> None:
        self.always, self.careless = always, careless
        self.runs = 0

    def __call__(self, array: Array) -> tuple[Array, ...]:
        self.runs += 1
        mean = float(array[..., 0].mean())
        said = int(np.abs(LEVELS - mean).argmin()) if self.always is None else self.always
        if self.careless and round(mean * 255) % 5 < 2:  # two pictures of five, as they come
            said = 0
        return ((5 * np.eye(len(LEVELS))[[said]]).astype(np.float32),)


def spec(low: float = 0.0, high: float = 1.0, channels: int = 1) -> InputSpec:
    return InputSpec(
        height=4,
        width=4,
        channels=channels,
        colour="gray" if channels == 1 else "rgb",
        scale=((high - low) / 255,) * channels,
        offset=(low,) * channels,
    )


def model(net: Net, given: InputSpec | None = None, labels: tuple[str, ...] = LABELS) -> Classifier:
    given = given or spec()
    contract = ModelContract(
        labels=labels,
        label_scheme="custom",
        input=given,
        output=OutputSpec(kind="logits"),
        licence=Licence(code="none", weights="none"),
    )
    file = ModelFile(path=Path("mine.tflite"), flatbuffer=b"", contract=contract, sha256="00")
    shape = (1, 4, 4, given.channels)
    float32 = np.dtype(np.float32)
    tensor = TensorSpec(name="in", shape=shape, dtype=float32, quantisation=None)
    scores = TensorSpec(name="out", shape=(1, 5), dtype=float32, quantisation=None)
    return Classifier(file, FakeBackend(tensor, [scores], net))


def faces(n: int = 200, channels: int = 1) -> LabelledFaces:
    """As many of each class; gray levels a little around the class's own."""
    truth = np.arange(n) % len(LABELS)
    near = np.random.default_rng(1).integers(-5, 6, n)
    gray = (LEVELS[truth] * 255 + near).astype(np.uint8)
    images = np.full((n, 4, 4, channels), 13, np.uint8)
    images[..., 0] = gray[:, None, None]
    return LabelledFaces(
        path="x.npz",
        sha256="00",
        split="validation",
        images=list(images[..., 0] if channels == 1 else images),
        labels=LABELS,
        truth=truth,
        target=np.eye(len(LABELS), dtype=np.float32)[truth],
        copy_of_training=None,
    )


def answers(classifier: Classifier, rows: LabelledFaces) -> Any:
    """What a benchmark measured: classes in the order of the data's labels."""
    pixels = np.stack([np.reshape(i, (4, 4, -1)) for i in rows.images])
    p = classifier.probabilities(pixels)
    return p[:, [classifier.labels.index(label) for label in rows.labels]]


def found(
    quantised: Classifier, reference: Classifier, rows: LabelledFaces | None = None
) -> tuple[str, ...]:
    rows = rows or faces()
    return diagnose(quantised, reference, rows, answers(reference, rows), answers(quantised, rows))


def test_a_healthy_pair_is_not_asked_again() -> None:
    int8, float_ = Net(), Net()
    assert found(model(int8), model(float_)) == ()
    assert int8.runs == float_.runs == 200


def test_labels_that_only_stand_in_another_order_are_healthy() -> None:
    class Turned(Net):
        def __call__(self, array: Array) -> tuple[Array, ...]:
            return (super().__call__(array)[0][:, ::-1],)

    assert found(model(Net()), model(Turned(), labels=LABELS[::-1])) == ()


def test_swapped_labels_are_told_as_a_pair_with_the_order_that_is_right() -> None:
    (words,) = found(model(Net(), labels=SWAPPED), model(Net()))
    assert words.startswith(
        "The int8 model says sadness where the float reference says happiness, and the other way "
        "round: the labels of its contract look swapped."
    )
    assert "adopt mine.tflite --labels anger,fear,happiness,neutral,sadness" in words
    assert "alphabetical" in words
    assert "--input-range=0,1 --kind logits" in words


def test_a_whole_other_order_is_told_one_for_one() -> None:
    turned = (*LABELS[1:], LABELS[0])
    (words,) = found(model(Net(), labels=turned), model(Net()))
    assert "fear for anger, happiness for fear, neutral for happiness" in words
    assert "wrong order" in words


def test_the_reference_may_be_the_broken_one() -> None:
    (words,) = found(model(Net()), model(Net(), labels=SWAPPED))
    assert words.startswith("The float reference says sadness where the int8 model says happiness")


def test_both_alike_are_judged_by_the_data() -> None:
    (words,) = found(model(Net(), labels=SWAPPED), model(Net(), labels=SWAPPED))
    assert words.startswith("Each of the two models says sadness where the data say happiness")
    assert "its contract, or those of the data, look swapped" in words


@pytest.mark.parametrize(
    ("stated", "named"),
    [
        ((-1.0, 1.0), "\u22121..1"),
        ((0.0, 255.0), "0..255"),
        ((-0.5, 0.5), "\u22120.5..0.5"),
    ],
)
def test_a_wrong_range_is_named_with_the_right_one(stated: tuple[float, float], named: str) -> None:
    words = " ".join(found(model(Net(), spec(*stated)), model(Net())))
    assert f"With pixels scaled to 0..1 instead of {named}, the int8 model agrees" in words
    assert "on 100 % of 200 pictures (now " in words
    assert "the range in its contract looks wrong" in words
    assert "--input-range=0,1" in words


def test_inverted_pixels_are_named() -> None:
    words = " ".join(found(model(Net(), spec(1.0, 0.0)), model(Net())))
    assert "With pixels scaled to 0..1 instead of 1..0 (inverted)" in words
    assert "the sense of black and white in its contract looks wrong" in words


def test_a_range_that_no_contract_line_can_state_has_another_remedy() -> None:
    class Inverted(Net):
        def __call__(self, array: Array) -> tuple[Array, ...]:
            return super().__call__(1 - array)

    words = " ".join(found(model(Inverted()), model(Net())))
    assert "With pixels scaled to 1..0 (inverted) instead of 0..1" in words
    assert "convert it again with edge-fer convert" in words
    assert "adopt" not in words


def test_the_order_of_colours_is_named() -> None:
    class BlueFirst(Net):
        def __call__(self, array: Array) -> tuple[Array, ...]:
            return super().__call__(array[..., ::-1])

    rgb = spec(channels=3)
    rows = faces(channels=3)
    words = " ".join(found(model(BlueFirst(), rgb), model(Net(), rgb), rows))
    assert "the colours in the order blue, green, red instead of red, green, blue" in words
    assert "the order of the colours in its contract looks wrong" in words
    assert found(model(Net(), rgb), model(Net(), rgb), rows) == ()


def test_imagenets_normalisation_is_named() -> None:
    class Normalised(Net):
        def __call__(self, array: Array) -> tuple[Array, ...]:
            return super().__call__(array * 0.229 + 0.485)

    rgb = spec(channels=3)
    words = " ".join(found(model(Normalised(), rgb), model(Net(), rgb), faces(channels=3)))
    assert "With pixels normalised with ImageNet's mean and deviation instead of" in words


def test_labels_and_range_at_once() -> None:
    first, second = found(model(Net(), spec(0, 255), SWAPPED), model(Net()))[-2:]
    assert "instead of 0..255" in first
    assert "says sadness where" in second
    assert "--labels anger,fear,happiness,neutral,sadness --input-range=0,1" in second


def test_both_ranges_wrong_alike_are_judged_by_the_data() -> None:
    words = found(model(Net(), spec(0, 255)), model(Net(), spec(0, 255)))
    assert "says sadness for 100 % of the pictures, whatever they show" in words[0]
    assert "is right on 100 % of 200 pictures (now 20 %)" in words[-1]


def test_a_constant_answer_that_nothing_explains_is_damage() -> None:
    (words,) = found(model(Net(always=2)), model(Net()))
    assert words.startswith("The int8 model says happiness for 100 % of the pictures")
    assert "damaged" in words
    assert "edge-fer convert" in words


def test_a_poor_model_is_not_accused() -> None:
    net = Net(careless=True)
    assert found(model(net), model(Net())) == ()
    assert net.runs > 200  # it was asked


def test_a_few_rows_prove_nothing() -> None:
    rows = faces(20)
    assert found(model(Net(), labels=SWAPPED), model(Net()), rows) == ()


def test_one_class_alone_is_no_constant_answer() -> None:
    rows = faces()
    rows = rows.take(np.flatnonzero(rows.truth == 2))
    assert len(rows) == 40
    assert found(model(Net()), model(Net()), rows) == ()


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([[20, 0, 0], [0, 20, 0], [0, 0, 20]], {}),
        ([[0, 20, 0], [20, 0, 0], [0, 0, 20]], {0: 1, 1: 0}),
        ([[0, 20, 0], [0, 0, 20], [20, 0, 0]], {0: 1, 1: 2, 2: 0}),
        # Everything is called the same: no exchange.
        ([[0, 40, 0], [0, 3, 0], [0, 20, 0]], {}),
        # One class is usually taken for another, and that one is not taken for it.
        ([[5, 15, 0], [0, 20, 0], [0, 0, 20]], {}),
        # Half of the rows are not most of them.
        ([[10, 10, 0], [11, 9, 0], [0, 0, 20]], {}),
        # A rare class follows the one that it changed names with.
        ([[0, 40, 0], [2, 1, 0], [0, 0, 20]], {0: 1, 1: 0}),
        # But rare ones alone prove nothing.
        ([[0, 9, 0], [9, 0, 0], [0, 0, 20]], {}),
    ],
)
def test_exchanged_names(counts: list[list[int]], expected: dict[int, int]) -> None:
    rows = [(s, w) for w, row in enumerate(counts) for s, n in enumerate(row) for _ in range(n)]
    said, wanted = np.array(rows).T
    assert exchanged(said, wanted, 3) == expected


def test_the_assignment_is_the_best_of_all() -> None:
    rng = np.random.default_rng(0)
    for size in (1, 2, 3, 5, 6):
        for _ in range(20):
            gain = rng.integers(0, 10, (size, size)).astype(float)
            chosen = best_assignment(gain)
            assert sorted(chosen) == list(range(size))
            best = max(
                sum(gain[i, order[i]] for i in range(size)) for order in permutations(range(size))
            )
            assert gain[np.arange(size), chosen].sum() == best


def test_a_greedy_assignment_would_be_wrong() -> None:
    # 9 first leaves 0 for the second row; 8 + 7 is more.
    assert best_assignment(np.array([[9.0, 8.0], [7.0, 0.0]])).tolist() == [1, 0]


def test_every_variant_differs_from_the_contract_and_from_the_others() -> None:
    for channels in (1, 3):
        given = spec(channels=channels)
        others = [v for v in variants(given) if not v.reversed_channels]
        settings = {(v.spec.scale, v.spec.offset) for v in others}
        assert len(settings) == len(others) == 9
        assert (given.scale, given.offset) not in settings
        assert len({v.words for v in variants(given)}) == len(variants(given))


def test_a_range_of_its_own_is_tried_inverted_too() -> None:
    own = spec(-2.0, 3.0)
    assert any(
        v.spec.offset == pytest.approx((3.0,)) and v.spec.scale == pytest.approx((-5 / 255,))
        for v in variants(own)
    )


def test_one_pair_of_numbers_says_a_range_or_nothing_does() -> None:
    assert plain_range(spec(-1, 1)) == (-1.0, 1.0)
    assert plain_range(spec(1, 0)) is None
    mixed = spec(channels=3).model_copy(update={"offset": (0.0, 0.1, 0.0)})
    assert plain_range(mixed) is None


def test_the_models_stay_as_they_are() -> None:
    int8 = model(Net(), spec(0, 255))
    contract, backend = int8.contract, int8.backend
    assert found(int8, model(Net()))
    assert int8.contract is contract
    assert int8.model.contract is contract
    assert backend.run(np.zeros((1, 4, 4, 1), np.float32))  # it was not closed
