"""The training loop: vote distributions, shaken faces, averaged weights, resumable to the epoch.

The published recipe of FER+ (arXiv:1608.01041): the target is the crowd's distribution of votes
(cross-entropy, "PLD"). Muon with warm-up and cosine decay; the judged and kept weights
are an exponential moving average (Polyak and Juditsky, 1992), because single epochs jump by points.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.classifier import softmax
from edge_fer.contract import InputSpec
from edge_fer.errors import ConfigError, ModelError
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.evaluation.metrics import macro_recall, top1
from edge_fer.preprocess import fit, to_real
from edge_fer.types import Image
from edge_fer_train.augment import Augmentation
from edge_fer_train.batches import Batches, Mixing, prefetch
from edge_fer_train.checkpoint import Epoch, State
from edge_fer_train.muon import muon
from edge_fer_train.normalisation import fast_batch_normalisation
from edge_fer_train.outliers import Outliers
from edge_fer_train.zoo import build, count_macs

__all__ = ["Recipe", "TrainedModel", "fit_temperature", "train"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides the outcome, and so stands in the run record.

    ``balance`` draws class c in proportion to ``n_c ** (1 - balance)``: 0 leaves the data as
    it is, 1 makes classes equal. ``averaging`` is the moving average's decay per step;
    ``outliers`` the share of each batch that is made unreadable, where there is something to
    make outliers from.
    """

    arch: str = "resnet10"
    epochs: int = 60
    batch: int = 128
    learning_rate: float = 1e-2
    weight_decay: float = 0.05
    warm_up_epochs: float = 2.0
    averaging: float = 0.998
    balance: float = 0.25
    outliers: float = 0.12
    precision: str = "float32"
    seed: int = 1
    augmentation: Augmentation = field(default_factory=Augmentation)
    mixing: Mixing = field(default_factory=Mixing)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """The outcome: a float32 Keras model, its temperature, and how it got there."""

    model: Any
    temperature: float
    curve: tuple[Epoch, ...]
    best: Epoch
    parameters: int
    macs: int


def train(
    recipe: Recipe,
    spec: InputSpec,
    training: LabelledFaces,
    validation: LabelledFaces,
    run_dir: Path,
    *,
    target: NDArray[np.float32] | None = None,
    learnt_from: Mapping[str, Any] | None = None,
    outliers: Outliers | None = None,
    initial: Any = None,
    on_step: Callable[[int, int, float], None] = lambda done, total, loss: None,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
) -> TrainedModel:
    """Train, or go on where ``run_dir`` left off.

    Args:
        recipe: see :class:`Recipe`.
        spec: what the model takes.
        training: rows to learn from.
        validation: rows that choose the epoch and the temperature.
        run_dir: holds ``checkpoint.npz`` after each epoch.
        target: ``float32[N, C]`` to learn instead of ``training.target``.
        learnt_from: where ``target`` comes from, as JSON; a run is known by it, because the numbers
            themselves differ in their last bits between processors.
        outliers: what unreadable pictures are made from; none without.
        initial: a Keras model of the same architecture whose weights to begin with; the classifier
            begins afresh where the number of classes differs.
        on_step: called with steps done, steps in the epoch, loss.
        on_epoch: called after each epoch.

    Raises:
        ConfigError: ``run_dir`` holds a run with another recipe or other data, or ``initial`` has
            another architecture.
        ModelError: the loss is no longer a number.
    """
    import keras

    keras.utils.set_random_seed(recipe.seed)
    keras.config.set_dtype_policy("mixed_bfloat16" if recipe.precision == "bfloat16" else "float32")
    model = build(recipe.arch, spec, len(training.labels), fast_batch_normalisation)
    if initial is not None:
        _begin_with(model, initial)
    steps = max(1, len(training) // recipe.batch)
    optimizer = muon(
        keras.optimizers.schedules.CosineDecay(
            0.0,
            decay_steps=max(1, int(steps * (recipe.epochs - recipe.warm_up_epochs))),
            warmup_target=recipe.learning_rate,
            warmup_steps=max(1, int(steps * recipe.warm_up_epochs)),
        ),
        recipe.weight_decay,
    )
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True))

    fingerprint = _fingerprint(recipe, training, learnt_from, outliers, initial)
    state = State(run_dir / "checkpoint.npz", fingerprint, model, optimizer, Epoch)
    state.resume()
    batches = Batches(
        faces=training if target is None else replace(training, target=target),
        spec=spec,
        size=recipe.batch,
        balance=recipe.balance,
        augmentation=recipe.augmentation,
        mixing=recipe.mixing,
        outliers=outliers,
        outlier_share=recipe.outliers,
    )
    held_out = np.stack([fit(image, spec) for image in validation.images])
    for number in range(len(state.curve), recipe.epochs):
        began, losses = time.monotonic(), []
        rng = np.random.default_rng((recipe.seed, number))
        with closing(prefetch(batches.epoch(rng, steps))) as made:
            for done, (pixels, targets) in enumerate(made, 1):
                losses.append(float(model.train_on_batch(to_real(pixels, spec), targets)))
                state.average(recipe.averaging)
                on_step(done, steps, float(np.mean(losses[-50:])))
        if not np.isfinite(losses).all():
            raise ModelError(
                "Training diverged: the loss is not a number.", "Lower --learning-rate."
            )
        logits = _averaged_logits(state, spec, held_out)
        epoch = Epoch(
            epoch=number + 1,
            loss=float(np.mean(losses)),
            learning_rate=float(optimizer.learning_rate),
            validation_accuracy=top1(logits, validation.truth),
            validation_macro_recall=macro_recall(
                logits.argmax(1), validation.truth, len(validation.labels)
            ),
            validation_nll=_nll(logits, validation.truth, 1.0),
            seconds=time.monotonic() - began,
        )
        state.finish(epoch)
        on_epoch(epoch)
    return _outcome(recipe, spec, validation, held_out, state)


def fit_temperature(logits: NDArray[np.float32], truth: NDArray[np.int64]) -> float:
    """The temperature with the least negative log-likelihood (Guo et al., arXiv:1706.04599)."""
    grid = np.exp(np.linspace(np.log(0.25), np.log(4.0), 281))
    return round(float(min(grid, key=lambda t: _nll(logits, truth, t))), 3)


def _nll(logits: NDArray[np.float32], truth: NDArray[np.int64], temperature: float) -> float:
    p = softmax(logits / temperature)[np.arange(len(truth)), truth]
    return float(-np.log(np.maximum(p, 1e-12)).mean())


def _fingerprint(
    recipe: Recipe,
    training: LabelledFaces,
    learnt_from: Mapping[str, Any] | None,
    outliers: Outliers | None,
    initial: Any,
) -> str:
    """Whatever decides the outcome: two runs with the same one may share a checkpoint."""
    begun_with = hashlib.sha256()
    for weight in [] if initial is None else initial.get_weights():
        begun_with.update(np.ascontiguousarray(weight).tobytes())
    return json.dumps(
        {
            "recipe": asdict(recipe),
            "data": training.sha256,
            "n": len(training),
            "target": hashlib.sha256(training.target.tobytes()).hexdigest(),
            "learnt_from": learnt_from,
            "outliers": None if outliers is None else [list(s) for s in outliers.sources],
            "initial": begun_with.hexdigest(),
        },
        sort_keys=True,
    )


def _begin_with(model: Any, initial: Any) -> None:
    """Take over all weights; those of the classifier only where there are as many classes.

    Raises:
        ConfigError: another architecture.
    """
    ours, theirs = ([layer for layer in net.layers if layer.weights] for net in (model, initial))
    shapes = [[[w.shape for w in x.weights] for x in net[:-1]] for net in (ours, theirs)]
    if shapes[0] != shapes[1]:
        raise ConfigError(
            f"The weights to begin with are of another architecture than {model.name}.",
            "Give the --arch that they were trained with.",
        )
    for mine, other in zip(ours, theirs, strict=True):
        if [w.shape for w in mine.weights] == [w.shape for w in other.weights]:
            mine.set_weights(other.get_weights())


def _averaged_logits(state: State[Epoch], spec: InputSpec, pixels: Image) -> NDArray[np.float32]:
    own = state.model.get_weights()
    state.model.set_weights(state.averaged)
    logits = np.asarray(state.model.predict(to_real(pixels, spec), batch_size=256, verbose=0))
    state.model.set_weights(own)
    return logits


def _outcome(
    recipe: Recipe, spec: InputSpec, validation: LabelledFaces, held_out: Image, state: State[Epoch]
) -> TrainedModel:
    import keras

    keras.config.set_dtype_policy("float32")
    model = build(recipe.arch, spec, len(validation.labels))
    model.set_weights(state.best)
    logits = np.asarray(model.predict(to_real(held_out, spec), batch_size=256, verbose=0))
    best = min(state.curve, key=lambda e: (e.validation_nll, -e.epoch))
    return TrainedModel(
        model=model,
        temperature=fit_temperature(logits, validation.truth),
        curve=tuple(state.curve),
        best=best,
        parameters=int(model.count_params()),
        macs=count_macs(model),
    )
