"""The wrong input range is noticed on labelled pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_tflite import pictures, tiny_contract, tiny_float, tiny_spec

from edge_fer.contract import InputSpec, ModelContract
from edge_fer.errors import ModelError
from edge_fer.evaluation.data import load
from edge_fer.evaluation.labels import FERPLUS8
from edge_fer_convert.graph import constant, from_object, to_object
from edge_fer_convert.inputs.imports import import_float
from edge_fer_convert.inputs.sanity import check_input_range, stated_range


def contract(low: float, high: float) -> ModelContract:
    spec = tiny_spec().model_copy(update={"scale": ((high - low) / 255,), "offset": (low,)})
    return tiny_contract(input=spec)


def brightness_model() -> bytes:
    """Three logits that are lines in the mean picture ``m``: right only in 0..1.

    Crossings at 1/3 and 2/3: class 0 below, class 1 between, class 2 above.
    """
    model = to_object(tiny_float())
    held = model.subgraphs[0].tensors
    values: dict[str, Any] = {name.name.decode(): i for i, name in enumerate(held)}

    def put(name: str, array: np.ndarray) -> None:
        buffer = model.buffers[held[values[name]].buffer]
        buffer.data = np.frombuffer(array.astype(np.float32).tobytes(), np.uint8)

    kernel = np.zeros_like(constant(model, values["kernel"]))
    kernel[0, 1, 1, 0] = 1.0
    put("kernel", kernel)
    put("bias", np.zeros(4))
    dense = np.zeros((3, 4))
    dense[:, 0] = [0.0, 3.0, 6.0]
    put("dense", dense)
    put("offset", np.array([0.0, -1.0, -3.0]))
    return from_object(model)


def labelled_levels(count: int = 120) -> tuple[list[np.ndarray], np.ndarray]:
    """Flat pictures of random gray, and the third of the scale that each lies in."""
    levels = np.random.default_rng(2).integers(0, 256, count)
    images = [np.full((8, 8), level, np.uint8) for level in levels]
    return images, np.minimum(levels * 3 // 256, 2).astype(np.int64)


def test_the_right_range_says_nothing() -> None:
    images, truth = labelled_levels()
    found = check_input_range(brightness_model(), contract(0, 1), images, truth)
    assert found.chosen == (0.0, 1.0)
    assert found.accuracy["0,1"] > 0.95
    assert found.accuracy["0,255"] < 0.5
    assert found.warning is None
    assert not found.refused
    found.raise_if_refused()
    assert found.to_json() == {
        "chosen": [0.0, 1.0],
        "n": 120,
        "accuracy": found.accuracy,
        "majority_share": found.majority_share,
        "warning": None,
    }


def test_the_wrong_range_is_refused() -> None:
    images, truth = labelled_levels(90)
    found = check_input_range(brightness_model(), contract(0, 255), images, truth)
    assert found.warning is not None
    assert "Say --input-range=0,1" in found.warning
    assert found.accuracy["0,255"] <= found.majority_share
    assert found.refused
    with pytest.raises(ModelError, match="with 0 and 1 in") as caught:
        found.raise_if_refused()
    assert caught.value.remedy == "Say --input-range=0,1"


def test_a_middling_range_is_warned_of_and_not_refused() -> None:
    images, truth = labelled_levels()
    found = check_input_range(brightness_model(), contract(-1, 1), images, truth)
    assert found.majority_share < found.accuracy["-1,1"] < 0.9
    assert found.warning is not None
    assert not found.refused


def test_another_range_than_the_contract_says_can_be_asked_about() -> None:
    images, truth = labelled_levels()
    found = check_input_range(brightness_model(), contract(0, 1), images, truth, (0.0, 2.0))
    assert found.chosen == (0.0, 2.0)
    assert set(found.accuracy) == {"0,1", "-1,1", "0,255", "0,2"}


def test_a_model_that_does_not_care_is_left_alone() -> None:
    """Random answers: some range is always a little better, and that must not be a warning."""
    images, truth = list(pictures(200)[..., 0]), np.arange(200) % 3
    for seed in range(5):
        for low, high in ((0, 1), (-1, 1), (0, 255)):
            found = check_input_range(tiny_float(seed), contract(low, high), images, truth)
            assert found.warning is None


def test_rows_are_chosen_evenly_and_whatever_their_order() -> None:
    images = list(pictures(600)[..., 0])
    truth = np.where(np.arange(600) < 20, 1, np.where(np.arange(600) < 500, 0, 2))
    first = check_input_range(tiny_float(), contract(0, 1), images, truth)
    assert first.n == 300
    assert first.majority_share == pytest.approx(0.5, abs=0.17)
    mixed = np.random.default_rng(4).permutation(600)
    again = check_input_range(
        tiny_float(), contract(0, 1), [images[i] for i in mixed], truth[mixed]
    )
    assert again == first


def test_channels_that_differ_have_no_alternatives() -> None:
    spec = InputSpec(
        height=8,
        width=8,
        channels=3,
        colour="rgb",
        scale=(0.017, 0.018, 0.017),
        offset=(-2.1, -2.0, -1.8),
    )
    assert stated_range(spec) is None
    model = to_object(tiny_float())
    held = model.subgraphs[0].tensors
    held[0].shape = [1, 8, 8, 3]
    kernel = np.repeat(constant(model, 1), 3, axis=3)
    held[1].shape = list(kernel.shape)
    model.buffers[held[1].buffer].data = np.frombuffer(kernel.tobytes(), np.uint8)
    images, truth = labelled_levels(30)
    found = check_input_range(from_object(model), tiny_contract(input=spec), images, truth)
    assert found.chosen is None
    assert list(found.accuracy) == ["stated"]
    assert found.to_json()["chosen"] is None
    assert found.warning is None


def test_a_real_model(shared: Path, fer2013: Path) -> None:
    path = shared / "models" / "peer_vicksam_ferplus.tflite"
    if not path.exists():
        pytest.skip(f"no {path}")
    faces = load(fer2013, FERPLUS8, split="validation")
    chosen = np.arange(0, len(faces), 20)
    faces = faces.take(chosen)
    peer = import_float(path.read_bytes(), "peer")
    spec = InputSpec(
        height=48, width=48, channels=1, colour="gray", scale=(2 / 255,), offset=(-1.0,)
    )
    stated = tiny_contract(labels=FERPLUS8, label_scheme="ferplus8", input=spec)
    found = check_input_range(peer.flatbuffer, stated, faces.images, faces.truth)
    assert found.accuracy["0,1"] > found.accuracy["-1,1"] + 0.2
    assert found.warning is not None
    assert "--input-range=0,1" in found.warning
