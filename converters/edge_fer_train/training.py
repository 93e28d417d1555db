"""The training loop: vote distributions, shaken faces, averaged weights, resumable to the epoch.

The published recipe of FER+ (arXiv:1608.01041): the target is the crowd's distribution of votes
(cross-entropy, "PLD"). AdamW with warm-up and cosine decay; the judged and kept weights
are an exponential moving average (Polyak and Juditsky, 1992), because single epochs jump by points.
"""

from __future__ import annotations

import json
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.classifier import softmax
from edge_fer.contract import InputSpec
from edge_fer.errors import ConfigError, ModelError
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.evaluation.metrics import macro_recall, top1
from edge_fer.files import atomic_write
from edge_fer.preprocess import fit, to_real
from edge_fer.types import Image
from edge_fer_train.augment import Augmentation
from edge_fer_train.zoo import build, count_macs

__all__ = ["Epoch", "Recipe", "TrainedModel", "draw", "fit_temperature", "train"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides the outcome, and so stands in the run record.

    ``balance`` draws class c in proportion to ``n_c ** (1 - balance)``: 0 leaves the data as
    it is, 1 makes classes equal. ``averaging`` is the moving average's decay per step.
    """

    arch: str = "resnet10"
    epochs: int = 60
    batch: int = 128
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warm_up_epochs: float = 2.0
    averaging: float = 0.998
    balance: float = 0.25
    precision: str = "float32"
    seed: int = 1
    augmentation: Augmentation = field(default_factory=Augmentation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One line of the curve; accuracies are those of the averaged weights on ``validation``."""

    epoch: int
    loss: float
    learning_rate: float
    validation_accuracy: float
    validation_macro_recall: float
    validation_nll: float
    seconds: float


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
        on_step: called with steps done, steps in the epoch, loss.
        on_epoch: called after each epoch.

    Raises:
        ConfigError: ``run_dir`` holds a run with another recipe or other data.
        ModelError: the loss is no longer a number.
    """
    import keras

    keras.utils.set_random_seed(recipe.seed)
    keras.config.set_dtype_policy("mixed_bfloat16" if recipe.precision == "bfloat16" else "float32")
    model = build(recipe.arch, spec, len(training.labels))
    steps = max(1, len(training) // recipe.batch)
    optimizer = keras.optimizers.AdamW(
        keras.optimizers.schedules.CosineDecay(
            0.0,
            decay_steps=max(1, int(steps * (recipe.epochs - recipe.warm_up_epochs))),
            warmup_target=recipe.learning_rate,
            warmup_steps=max(1, int(steps * recipe.warm_up_epochs)),
        ),
        weight_decay=recipe.weight_decay,
    )
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    optimizer.build(model.trainable_variables)
    model.compile(optimizer, keras.losses.CategoricalCrossentropy(from_logits=True))

    state = _State(run_dir / "checkpoint.npz", _fingerprint(recipe, training), model)
    state.resume()
    held_out = np.stack([fit(image, spec) for image in validation.images])
    for number in range(len(state.curve), recipe.epochs):
        began, losses = time.monotonic(), []
        rng = np.random.default_rng((recipe.seed, number))
        batches = _batches(recipe, spec, training, rng, steps)
        for done, (pixels, targets) in enumerate(_prefetch(batches), 1):
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


def _fingerprint(recipe: Recipe, training: LabelledFaces) -> str:
    return json.dumps(
        {"recipe": asdict(recipe), "data": training.sha256, "n": len(training)}, sort_keys=True
    )


class _State:
    """Model, optimizer, averaged weights and curve, saved together after each epoch."""

    def __init__(self, path: Path, fingerprint: str, model: Any) -> None:
        self.path, self.fingerprint, self.model = path, fingerprint, model
        self.averaged: list[NDArray[np.float32]] = [w.copy() for w in model.get_weights()]
        self.best: list[NDArray[np.float32]] = [w.copy() for w in self.averaged]
        self.curve: list[Epoch] = []
        self.steps = 0

    def average(self, decay: float) -> None:
        self.steps += 1
        keep = min(decay, (1 + self.steps) / (10 + self.steps))
        for i, now in enumerate(self.model.get_weights()):
            self.averaged[i] = keep * self.averaged[i] + (1 - keep) * now

    def finish(self, epoch: Epoch) -> None:
        if all(epoch.validation_accuracy >= e.validation_accuracy for e in self.curve):
            self.best = [w.copy() for w in self.averaged]
        self.curve.append(epoch)
        arrays: dict[str, Any] = {
            "fingerprint": np.array(self.fingerprint),
            "curve": np.array(json.dumps([asdict(e) for e in self.curve])),
            "steps": np.array(self.steps),
        }
        for name, group in self._groups():
            for i, value in enumerate(group):
                arrays[f"{name}_{i}"] = value
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(self.path) as file:
            np.savez(file, **arrays)

    def resume(self) -> None:
        if not self.path.exists():
            return
        with np.load(self.path) as stored:
            if str(stored["fingerprint"]) != self.fingerprint:
                raise ConfigError(
                    f"{self.path} belongs to a run with another recipe or other data.",
                    "Name another folder with --resume, or remove this one to start afresh.",
                )
            self.curve = [Epoch(**e) for e in json.loads(str(stored["curve"]))]
            self.steps = int(stored["steps"])
            for name, group in self._groups():
                for i in range(len(group)):
                    group[i] = stored[f"{name}_{i}"]
                if name == "variables":
                    for variable, value in zip(self._variables(), group, strict=True):
                        variable.assign(value)

    def _variables(self) -> list[Any]:
        return [*self.model.variables, *self.model.optimizer.variables]

    def _groups(self) -> list[tuple[str, list[Any]]]:
        now = [np.asarray(v) for v in self._variables()]
        return [("averaged", self.averaged), ("best", self.best), ("variables", now)]


def _averaged_logits(state: _State, spec: InputSpec, pixels: Image) -> NDArray[np.float32]:
    own = state.model.get_weights()
    state.model.set_weights(state.averaged)
    logits = np.asarray(state.model.predict(to_real(pixels, spec), batch_size=256, verbose=0))
    state.model.set_weights(own)
    return logits


def _outcome(
    recipe: Recipe, spec: InputSpec, validation: LabelledFaces, held_out: Image, state: _State
) -> TrainedModel:
    import keras

    keras.config.set_dtype_policy("float32")
    model = build(recipe.arch, spec, len(validation.labels))
    model.set_weights(state.best)
    logits = np.asarray(model.predict(to_real(held_out, spec), batch_size=256, verbose=0))
    best = max(state.curve, key=lambda e: (e.validation_accuracy, e.epoch))
    return TrainedModel(
        model=model,
        temperature=fit_temperature(logits, validation.truth),
        curve=tuple(state.curve),
        best=best,
        parameters=int(model.count_params()),
        macs=count_macs(model),
    )


def _batches(
    recipe: Recipe,
    spec: InputSpec,
    faces: LabelledFaces,
    rng: np.random.Generator,
    steps: int,
) -> Iterator[tuple[Image, NDArray[np.float32]]]:
    order = draw(faces.truth, recipe.balance, rng)
    for start in range(0, steps * recipe.batch, recipe.batch):
        chosen = order[start : start + recipe.batch]
        pixels = recipe.augmentation.batch([faces.images[i] for i in chosen], spec, rng)
        yield pixels, faces.target[chosen]


def draw(truth: NDArray[np.int64], balance: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """As many row numbers as there are rows; each row about equally often within its class."""
    count = np.bincount(truth).astype(np.float64)
    weight = count[truth] ** -balance
    copies = weight / weight.sum() * len(truth)
    edges = np.floor(np.cumsum(copies) + rng.random())
    repeats = np.diff(edges, prepend=0.0).astype(np.int64)
    order = rng.permutation(np.repeat(np.arange(len(truth)), repeats))
    return np.resize(order, len(truth))


def _prefetch(batches: Iterator[Any], depth: int = 4) -> Iterator[Any]:
    """Make the next batches on a thread while the model learns from this one."""
    ready: queue.Queue[Any] = queue.Queue(depth)
    end = object()

    def work() -> None:
        try:
            for batch in batches:
                ready.put(batch)
            ready.put(end)
        except Exception as err:  # handed to the consumer, who raises it
            ready.put(err)

    threading.Thread(target=work, daemon=True).start()
    while (item := ready.get()) is not end:
        if isinstance(item, Exception):
            raise item
        yield item
