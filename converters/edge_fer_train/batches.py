"""Batches as the model learns from them: drawn, shaken, mixed, some of them outliers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.contract import InputSpec
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.types import Image
from edge_fer_train.augment import Augmentation
from edge_fer_train.outliers import Outliers

__all__ = ["Batches", "Mixing", "draw", "prefetch"]

Batch = tuple[Image, NDArray[np.float32]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixing:
    """Two faces in one picture, their targets mixed alike.

    ``mixup`` (arXiv:1710.09412) blends whole pictures, ``cutmix`` (arXiv:1905.04899) pastes a
    rectangle. Each is the share of batches that it is done to; the proportion is drawn
    evenly.
    """

    mixup: float = 0.0
    cutmix: float = 0.0

    def __call__(
        self, pixels: Image, targets: NDArray[np.float32], rng: np.random.Generator
    ) -> Batch:
        """``uint8[N, h, w, c]`` and ``float32[N, C]``, each row mixed with the one before it."""
        chance = rng.random()
        if chance >= self.mixup + self.cutmix:
            return pixels, targets
        others, kept = np.roll(pixels, 1, axis=0), float(rng.random())
        if chance < self.mixup:
            blend = pixels * np.float32(kept) + others * np.float32(1 - kept)
            mixed = np.rint(blend).astype(np.uint8)
        else:
            height, width = pixels.shape[1:3]
            h, w = round(height * (1 - kept) ** 0.5), round(width * (1 - kept) ** 0.5)
            y, x = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
            mixed = pixels.copy()
            mixed[:, y : y + h, x : x + w] = others[:, y : y + h, x : x + w]
            kept = 1 - h * w / (height * width)
        mixture = kept * targets + (1 - kept) * np.roll(targets, 1, axis=0)
        return mixed, mixture.astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Batches:
    """How batches are made.

    Attributes:
        faces: the rows, with their targets.
        spec: the model's input.
        size: rows of a batch.
        balance: see :func:`draw`.
        augmentation: how hard to shake.
        mixing: which share of batches to mix.
        outliers: what outliers are made from, or None.
        outlier_share: of each batch.
    """

    faces: LabelledFaces
    spec: InputSpec
    size: int
    balance: float
    augmentation: Augmentation
    mixing: Mixing
    outliers: Outliers | None
    outlier_share: float

    def epoch(self, rng: np.random.Generator, steps: int) -> Iterator[Batch]:
        """``uint8[size, h, w, c]`` and ``float32[size, C]``, ``steps`` times."""
        order = draw(self.faces.truth, self.balance, rng)
        for start in range(0, steps * self.size, self.size):
            chosen = order[start : start + self.size]
            images = [self.faces.images[i] for i in chosen]
            pixels = self.augmentation.batch(images, self.spec, rng)
            pixels, targets = self.mixing(pixels, self.faces.target[chosen], rng)
            yield self._spoil(pixels, targets, rng)

    def _spoil(
        self, pixels: Image, targets: NDArray[np.float32], rng: np.random.Generator
    ) -> Batch:
        if self.outliers is None:
            return pixels, targets
        targets = targets.copy()
        for i in np.flatnonzero(rng.random(len(pixels)) < self.outlier_share):
            pixels[i], targets[i] = self.outliers.one(pixels[i], targets[i], self.spec, rng)
        return pixels, targets


def draw(truth: NDArray[np.int64], balance: float, rng: np.random.Generator) -> NDArray[np.int64]:
    """As many row numbers as there are rows; each row about equally often within its class.

    Class c comes up in proportion to ``n_c ** (1 - balance)``.
    """
    count = np.bincount(truth).astype(np.float64)
    weight = count[truth] ** -balance
    copies = weight / weight.sum() * len(truth)
    edges = np.floor(np.cumsum(copies) + rng.random())
    repeats = np.diff(edges, prepend=0.0).astype(np.int64)
    order = rng.permutation(np.repeat(np.arange(len(truth)), repeats))
    return np.resize(order, len(truth))


def prefetch(batches: Iterator[Any], depth: int = 4) -> Generator[Any, None, None]:
    """Make the next batches on a thread while the model learns from this one.

    Close it (``contextlib.closing``) to end the thread early.
    """
    ready: queue.Queue[Any] = queue.Queue(depth)
    end, stopped = object(), threading.Event()

    def hand_over(item: Any) -> None:
        while not stopped.is_set():
            with suppress(queue.Full):
                ready.put(item, timeout=0.1)
                return

    def work() -> None:
        try:
            for batch in batches:
                hand_over(batch)
                if stopped.is_set():
                    return
            hand_over(end)
        except Exception as err:  # handed to the consumer, who raises it
            hand_over(err)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not end:
            if isinstance(item, Exception):
                raise item
            yield item
    finally:
        # A thread inside OpenCV when Python ends takes the whole process down with it.
        stopped.set()
        thread.join()
