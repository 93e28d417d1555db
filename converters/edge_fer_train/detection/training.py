"""The training loop of the detector: composed pictures, averaged weights, resumable."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.errors import ConfigError, ModelError
from edge_fer.types import Image
from edge_fer_train.batches import prefetch
from edge_fer_train.checkpoint import State
from edge_fer_train.detection.compose import Composer
from edge_fer_train.detection.network import build_detector
from edge_fer_train.detection.targets import assign, detection_loss
from edge_fer_train.muon import muon
from edge_fer_train.normalisation import fast_batch_normalisation

__all__ = ["DetectorEpoch", "DetectorRecipe", "TrainedDetector", "train_detector"]

_HELD_OUT = 512
_ADAMW = ("depthwise", "score_", "box_", "keypoints_")


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorRecipe:
    """Everything that decides the outcome; an epoch is ``steps`` batches of new pictures."""

    height: int = 192
    width: int = 256
    epochs: int = 60
    steps: int = 250
    batch: int = 32
    learning_rate: float = 4e-3
    weight_decay: float = 0.05
    warm_up_epochs: float = 1.0
    averaging: float = 0.998
    seed: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorEpoch:
    """One line of the curve; the validation loss is that of the averaged weights."""

    epoch: int
    loss: float
    learning_rate: float
    validation_score: float
    validation_box: float
    validation_keypoints: float
    seconds: float

    @property
    def judged_by(self) -> float:
        """The lower, the better the epoch."""
        return self.validation_score + self.validation_box


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedDetector:
    """The outcome: weights for :func:`build_detector` at any size, and how it got there."""

    weights: list[NDArray[np.float32]]
    curve: tuple[DetectorEpoch, ...]


def train_detector(
    recipe: DetectorRecipe,
    training: Composer,
    validation: Composer,
    run_dir: Path,
    *,
    learnt_from: Mapping[str, Any],
    initial: Any = None,
    on_step: Callable[[int, int, float], None] = lambda done, total, loss: None,
    on_epoch: Callable[[DetectorEpoch], None] = lambda epoch: None,
) -> TrainedDetector:
    """Train, or go on where ``run_dir`` left off.

    Args:
        recipe: see :class:`DetectorRecipe`.
        training: makes the pictures to learn from.
        validation: makes pictures of other scenes and crops; they choose the epoch.
        run_dir: holds ``checkpoint.npz`` after each epoch.
        learnt_from: what a run is known by beside its recipe: the data, as JSON.
        initial: a Keras model of the same net whose weights to begin with.
        on_step: called with steps done, steps in the epoch, loss.
        on_epoch: called after each epoch.

    Raises:
        ConfigError: ``run_dir`` holds a run with another recipe or other data, or ``initial`` is
            another net.
        ModelError: the loss is no longer a number.
    """
    import keras
    from keras import ops

    keras.utils.set_random_seed(recipe.seed)
    model = build_detector(recipe.height, recipe.width, normalisation=fast_batch_normalisation)
    if initial is not None:
        _begin_with(model, initial)
    total = recipe.steps * recipe.epochs
    warm_up = max(1, int(recipe.steps * recipe.warm_up_epochs))
    optimizer = muon(
        keras.optimizers.schedules.CosineDecay(
            0.0,
            decay_steps=max(1, total - warm_up),
            warmup_target=recipe.learning_rate,
            warmup_steps=warm_up,
        ),
        recipe.weight_decay,
        adamw=_ADAMW,
    )
    optimizer.build(model.trainable_variables)
    step, judge = _steps(model, optimizer)
    fingerprint = json.dumps({"recipe": asdict(recipe), **learnt_from}, sort_keys=True)
    state = State(run_dir / "checkpoint.npz", fingerprint, model, optimizer, DetectorEpoch)
    state.resume()
    held_out = list(_batches(validation, np.random.default_rng(0), recipe.batch, _HELD_OUT))
    for number in range(len(state.curve), recipe.epochs):
        began, losses = time.monotonic(), []
        rng = np.random.default_rng((recipe.seed, number))
        made = prefetch(_batches(training, rng, recipe.batch, recipe.steps * recipe.batch))
        with closing(made):
            for done, (pixels, told) in enumerate(made, 1):
                parts = step(ops.convert_to_tensor(pixels / np.float32(255)), told)
                losses.append(float(sum(parts)))
                state.average(recipe.averaging)
                on_step(done, recipe.steps, float(np.mean(losses[-50:])))
        if not np.isfinite(losses).all():
            raise ModelError(
                "Training diverged: the loss is not a number.", "Lower --learning-rate."
            )
        own = model.get_weights()
        model.set_weights(state.averaged)
        judged = np.mean(
            [[float(p) for p in judge(x / np.float32(255), t)] for x, t in held_out], 0
        )
        model.set_weights(own)
        epoch = DetectorEpoch(
            epoch=number + 1,
            loss=float(np.mean(losses)),
            learning_rate=float(optimizer.learning_rate),
            validation_score=float(judged[0]),
            validation_box=float(judged[1]),
            validation_keypoints=float(judged[2]),
            seconds=time.monotonic() - began,
        )
        state.finish(epoch)
        on_epoch(epoch)
    return TrainedDetector(weights=state.best, curve=tuple(state.curve))


def _begin_with(model: Any, initial: Any) -> None:
    shapes = [[w.shape for w in net.get_weights()] for net in (model, initial)]
    if shapes[0] != shapes[1]:
        raise ConfigError(
            "The weights to begin with are of another net than this detector's.",
            "Give a .keras file that edge-fer train-detector of this version made.",
        )
    model.set_weights(initial.get_weights())


def _steps(model: Any, optimizer: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """One step of learning, and one of judging: the parts of the loss."""
    import tensorflow as tf

    @tf.function(jit_compile=False)  # type: ignore[untyped-decorator]
    def learn(pixels: Any, told: Any) -> list[Any]:
        with tf.GradientTape() as tape:
            parts = list(detection_loss(model(pixels, training=True), told).values())
            loss = sum(parts)
        gradients = tape.gradient(loss, model.trainable_variables)
        gradients, _ = tf.clip_by_global_norm(gradients, 10.0)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return parts

    @tf.function(jit_compile=False)  # type: ignore[untyped-decorator]
    def judge(pixels: Any, told: Any) -> list[Any]:
        return list(detection_loss(model(pixels, training=False), told).values())

    return learn, judge


def _batches(
    composer: Composer, rng: np.random.Generator, size: int, count: int
) -> Iterator[tuple[Image, NDArray[np.float32]]]:
    """``uint8[size, height, width, 1]`` and ``float32[size, cells, COLUMNS]``."""
    for _ in range(count // size):
        made = [composer.one(rng) for _ in range(size)]
        pixels = np.stack([picture for picture, _ in made])[..., None]
        told = np.stack([assign(truth, composer.height, composer.width) for _, truth in made])
        yield pixels, told
