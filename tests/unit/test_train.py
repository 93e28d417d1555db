"""Training on a handful of generated faces: the loop, not the accuracy."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_fer.classifier import softmax
from edge_fer.contract import ModelContract
from edge_fer.errors import ConfigError, DataError, ModelError
from edge_fer.evaluation.data import LabelledFaces, labelled, read
from edge_fer.evaluation.labels import FERPLUS8
from edge_fer_train.article import main as article
from edge_fer_train.augment import Augmentation
from edge_fer_train.batches import draw
from edge_fer_train.checkpoint import Epoch
from edge_fer_train.distillation import blend, opinion
from edge_fer_train.folds import cross_fit, fold_of
from edge_fer_train.muon import muon
from edge_fer_train.normalisation import fast_batch_normalisation
from edge_fer_train.outliers import Outliers
from edge_fer_train.record import CONTRACT_MEMBER, expression_spec, save
from edge_fer_train.training import Recipe, TrainedModel, fit_temperature, train
from edge_fer_train.zoo import ZOO, build, count_macs

RECIPE = Recipe(arch="resnet4", epochs=2, batch=16, warm_up_epochs=0.5, learning_rate=5e-3)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bright is happy, dark is sad: learnable in two epochs."""
    rng = np.random.default_rng(0)
    happy = rng.integers(0, 2, 160)
    images = np.where(happy[:, None, None], 200, 60) + rng.integers(-40, 40, (160, 48, 48))
    path = tmp_path_factory.mktemp("data") / "faces.npz"
    np.savez(
        path,
        images=images.astype(np.uint8),
        emotion=np.where(happy, 3, 4),
        usage=np.array(["Training"] * 160),
    )
    return path


@pytest.fixture(scope="module")
def splits(rows: Path) -> tuple[LabelledFaces, LabelledFaces]:
    data = read(rows)
    return (
        labelled(data, FERPLUS8, split="Training"),
        labelled(data, FERPLUS8, split="validation"),
    )


@pytest.fixture(scope="module")
def whole(
    splits: tuple[LabelledFaces, LabelledFaces], tmp_path_factory: pytest.TempPathFactory
) -> TrainedModel:
    return train(RECIPE, expression_spec(), *splits, tmp_path_factory.mktemp("whole"))


def test_it_learns(whole: TrainedModel) -> None:
    assert [e.epoch for e in whole.curve] == [1, 2]
    assert whole.curve[1].loss < whole.curve[0].loss
    assert whole.model.dtype_policy.name == "float32"


class Stopped(Exception):
    pass


def test_a_run_that_was_stopped_goes_on_where_it_was(
    whole: TrainedModel, splits: tuple[LabelledFaces, LabelledFaces], tmp_path: Path
) -> None:
    def stop(epoch: Epoch) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        train(RECIPE, expression_spec(), *splits, tmp_path, on_epoch=stop)
    seen: list[int] = []
    resumed = train(
        RECIPE, expression_spec(), *splits, tmp_path, on_epoch=lambda e: seen.append(e.epoch)
    )
    assert seen == [2]
    assert [e.loss for e in resumed.curve] == pytest.approx([e.loss for e in whole.curve], rel=1e-3)
    # The averaged weights are restored, too.
    nll = [e.validation_nll for e in resumed.curve]
    assert nll == pytest.approx([e.validation_nll for e in whole.curve], rel=1e-3)
    for ours, theirs in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        assert np.allclose(ours, theirs, atol=5e-3)


def test_another_recipe_does_not_resume(
    whole: TrainedModel, splits: tuple[LabelledFaces, LabelledFaces], tmp_path: Path
) -> None:
    one = Recipe(arch="resnet4", epochs=1, batch=16)
    train(one, expression_spec(), *splits, tmp_path)
    others: list[dict[str, Any]] = [
        {"recipe": RECIPE},
        {"learnt_from": {"teachers": ["a"]}},
        {"outliers": Outliers()},
        {"initial": build("resnet4", expression_spec(), 8)},
        {"training": replace(splits[0], target=splits[0].target[::-1].copy())},
    ]
    for other in others:
        recipe, training = other.pop("recipe", one), other.pop("training", splits[0])
        with pytest.raises(ConfigError, match="another recipe"):
            train(recipe, expression_spec(), training, splits[1], tmp_path, **other)
    checkpoint = tmp_path / "checkpoint.npz"
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    with pytest.raises(ModelError, match="damaged"):
        train(one, expression_spec(), *splits, tmp_path)


def test_kernels_go_to_muon_and_only_kernels_decay() -> None:
    model = build("resnet4", expression_spec(), 8)
    optimizer = muon(0.01, 0.5)
    optimizer.build(model.trainable_variables)
    for variable in model.trainable_variables:
        kernel = len(variable.shape) == 4
        assert optimizer._should_use_adamw(variable) == (not kernel), variable.path
        decays = kernel or variable.path.endswith("logits/kernel")
        assert optimizer._use_weight_decay(variable) == decays, variable.path


def test_weights_of_another_architecture_are_refused(
    splits: tuple[LabelledFaces, LabelledFaces], tmp_path: Path
) -> None:
    other = build("resnet7-nano", expression_spec(), 8)
    with pytest.raises(ConfigError, match="another architecture than resnet4"):
        train(RECIPE, expression_spec(), *splits, tmp_path, initial=other)


def test_coloured_pictures_of_any_size_teach_a_gray_model(
    splits: tuple[LabelledFaces, LabelledFaces], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    sizes = rng.integers(30, 90, (len(splits[0]), 2))
    images = [rng.integers(0, 256, (h, w, 3), dtype=np.uint8) for h, w in sizes]
    coloured = replace(splits[0], images=images)
    one = replace(RECIPE, epochs=1)
    found = train(one, expression_spec(), coloured, splits[1], tmp_path, outliers=Outliers())
    assert np.isfinite(found.curve[0].loss)


def test_the_saved_model_carries_its_contract_and_loads(
    whole: TrainedModel, splits: tuple[LabelledFaces, LabelledFaces], tmp_path: Path
) -> None:
    import keras

    path = tmp_path / "m.keras"
    save(path, RECIPE, "ferplus8", *splits, whole)
    with zipfile.ZipFile(path) as archive:
        contract = ModelContract.parse(archive.read(CONTRACT_MEMBER), "m.keras")
    assert contract.labels == FERPLUS8
    assert contract.provenance["trained_on"]["n"] == len(splits[0])
    loaded = keras.models.load_model(path)
    faces = np.random.default_rng(1).random((2, 48, 48, 1), dtype=np.float32)
    assert np.allclose(loaded(faces), whole.model(faces), atol=1e-5)
    record = json.loads(path.with_suffix(".run.json").read_text())
    assert len(record["curve"]) == 2
    assert record["recipe"]["arch"] == "resnet4"


@pytest.mark.parametrize("name", sorted(ZOO))
def test_the_zoo_uses_only_operators_that_stay_int8(name: str) -> None:
    model = build(name, expression_spec(), 8)
    allowed = {
        "InputLayer", "Conv2D", "DepthwiseConv2D", "BatchNormalization", "ReLU", "Add",
        "GlobalAveragePooling2D", "Dropout", "Dense", "MaxPooling2D", "Flatten",
    }  # fmt: skip
    assert {type(layer).__name__ for layer in model.layers} <= allowed
    assert model.output.shape == (None, 8)


@pytest.mark.parametrize(
    ("name", "mmac", "parameters"),
    [
        ("resnet10", 40, 350_000),
        ("separable14", 40, 290_000),  # each channel of a separable net costs a file 28 bytes more
        ("resnet7-nano", 6, 70_000),
        ("separable10-nano", 6, 50_000),
    ],
)
def test_what_ships_stays_small(name: str, mmac: float, parameters: int) -> None:
    model = build(name, expression_spec(), 8)
    assert count_macs(model) <= mmac * 1e6
    assert model.count_params() <= parameters


def test_the_article_s_net_is_as_the_article_has_it() -> None:
    model = build("article-cnn", expression_spec(), 7)
    kinds = [
        (type(x).__name__, getattr(x, "filters", getattr(x, "units", None))) for x in model.layers
    ]
    assert kinds == [
        ("InputLayer", None), ("Conv2D", 32), ("MaxPooling2D", None), ("Conv2D", 64),
        ("MaxPooling2D", None), ("Flatten", None), ("Dense", 128), ("Dropout", None), ("Dense", 7),
    ]  # fmt: skip


def test_the_fast_normalisation_is_keras_s_own_in_other_kernels() -> None:
    import keras

    ours, theirs = fast_batch_normalisation(0.9), keras.layers.BatchNormalization(momentum=0.9)
    x = np.random.default_rng(0).normal(2, 3, (32, 6, 6, 5)).astype(np.float32)
    for training in (True, True, False):
        assert np.allclose(ours(x, training=training), theirs(x, training=training), atol=5e-3)
    # The kernel keeps the unbiased variance, n / (n - 1) of the other.
    for mine, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        assert np.allclose(mine, other, rtol=2e-3)


def test_kernels_move_by_orthogonal_steps_of_adam_s_size() -> None:
    import keras

    kernel = keras.Variable(np.zeros((3, 3, 4, 8), np.float32), name="kernel")
    scale = keras.Variable(np.ones(8, np.float32), name="gamma")
    optimizer = muon(0.01, 0.0)
    optimizer.build([kernel, scale])
    rng = np.random.default_rng(0)
    optimizer.apply([rng.normal(0, 5, v.shape).astype(np.float32) for v in (kernel, scale)])
    step = np.asarray(kernel).reshape(36, 8) / 0.01
    values = np.linalg.svd(step, compute_uv=False) / (0.2 * 6)
    assert 0.6 < values.min() <= values.max() < 1.3  # all about 1: the iteration is a rough one
    # Adam's first step is the learning rate, whatever the gradient's size.
    assert np.abs(np.asarray(scale) - 1) == pytest.approx(np.full(8, 0.01), rel=1e-2)


def test_it_begins_with_the_weights_of_another(
    splits: tuple[LabelledFaces, LabelledFaces], tmp_path: Path
) -> None:
    other = build("resnet4", expression_spec(), 7)
    still = replace(RECIPE, epochs=1, learning_rate=0.0, averaging=0.0)
    begun = train(still, expression_spec(), *splits, tmp_path, initial=other)
    kernels = [
        [np.asarray(x.kernel) for x in model.layers if hasattr(x, "kernel")]
        for model in (begun.model, other)
    ]
    for mine, theirs in zip(kernels[0][:-1], kernels[1][:-1], strict=True):
        assert np.allclose(mine, theirs)
    assert kernels[0][-1].shape != kernels[1][-1].shape


def test_folds_judge_every_row_by_a_model_without_it(
    splits: tuple[LabelledFaces, LabelledFaces], tmp_path: Path
) -> None:
    training, validation = splits
    part = fold_of(training, 2)
    assert set(part) == {0, 1}
    one = replace(RECIPE, epochs=1)
    with pytest.raises(DataError, match="too few for 900 folds"):
        cross_fit(one, expression_spec(), training, validation, tmp_path, 900)
    found = cross_fit(one, expression_spec(), training, validation, tmp_path, 2)
    assert found.probabilities.sum(axis=1) == pytest.approx(np.ones(len(training)), abs=1e-5)
    alone = train(
        one, expression_spec(), training.take(np.flatnonzero(part != 0)), validation,
        tmp_path / "fold-0",
    )  # fmt: skip
    first = training.take(np.flatnonzero(part == 0))
    expected = opinion(alone.model, alone.temperature, first, expression_spec())
    assert np.allclose(found.probabilities[part == 0], expected, atol=1e-5)
    said = found.to_json()
    assert said["per_class"]["happiness"]["n"] == int((training.truth == 1).sum())
    assert said["per_class"]["disgust"] == {"n": 0, "recall": None, "ci95": None}


def test_the_teachers_opinion_is_blended_by_weight(
    splits: tuple[LabelledFaces, LabelledFaces],
) -> None:
    training = splits[0]
    even = np.full(training.target.shape, 1 / 8, np.float32)
    sure = np.eye(8, dtype=np.float32)[np.zeros(len(training), int)]
    target = blend(training.target, [even, sure], 0.4)
    assert np.allclose(target, 0.6 * training.target + 0.2 * even + 0.2 * sure, atol=1e-6)


def test_macs_by_hand() -> None:
    from keras import Model, layers

    inputs = layers.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same")(inputs)
    x = layers.GlobalAveragePooling2D()(x)
    model = Model(inputs, layers.Dense(2)(x))
    assert count_macs(model) == 64 * 27 * 4 + 8


def test_temperature_is_found_again() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 8))
    p = softmax(logits)
    truth = np.array([rng.choice(8, p=row) for row in p])
    assert fit_temperature((logits * 1.7).astype(np.float32), truth) == pytest.approx(1.7, abs=0.15)


def test_balance_draws_rare_classes_more_often_and_every_row_evenly() -> None:
    truth = np.array([0] * 900 + [1] * 100)
    plain = np.bincount(draw(truth, 0.0, np.random.default_rng(0)), minlength=1000)
    assert plain.tolist() == [1] * 1000
    equal = np.bincount(draw(truth, 1.0, np.random.default_rng(0)), minlength=1000)
    assert equal[:900].sum() == pytest.approx(500, abs=5)
    assert set(equal[900:]) <= {4, 5, 6}


def test_augmentation_is_repeatable_and_keeps_shape_and_type() -> None:
    spec = expression_spec()
    face = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    shake = Augmentation()
    one = shake.batch([face] * 20, spec, np.random.default_rng(3))
    two = shake.batch([face] * 20, spec, np.random.default_rng(3))
    assert np.array_equal(one, two)
    assert one.shape == (20, 48, 48, 1)
    assert one.dtype == np.uint8
    assert len({image.tobytes() for image in one}) == 20


def test_no_augmentation_leaves_the_face_or_its_mirror_image() -> None:
    still = Augmentation(
        zoom=0, shift=0, roll_deg=0, contrast=0, brightness=0, gamma=0,
        blur=0, low_resolution=0, jpeg=0, noise=0, occlusion=0,
    )  # fmt: skip
    face = np.random.default_rng(0).integers(1, 255, (48, 48), dtype=np.uint8)
    found = still.batch([face] * 8, expression_spec(), np.random.default_rng(0))[..., 0]
    for image in found:
        off = np.minimum(
            np.abs(image.astype(int) - face).max(), np.abs(image.astype(int) - face[:, ::-1]).max()
        )
        assert off <= 1  # the table's rounding


def test_the_article_s_training_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    happy = rng.integers(0, 2, 240)
    images = np.where(happy[:, None, None], 200, 60) + rng.integers(-40, 40, (240, 48, 48))
    np.savez(
        tmp_path / "faces.npz",
        images=images.astype(np.uint8),
        emotion=np.where(happy, 3, 4),
        usage=np.array(["Training"] * 200 + ["PublicTest"] * 40),
    )
    assert article([str(tmp_path / "faces.npz"), "--epochs", "12"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == 40
    assert found["accuracy"] > 0.9
    assert found["ci95"][0] <= found["accuracy"] <= found["ci95"][1]
    assert article([str(tmp_path / "gone.npz")]) == 2
