"""Classifiers whose answers are written down beforehand, call by call, and rows for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from tiny_tflite import LABELS, SIDE, tiny_contract, tiny_spec

from edge_fer.backends.base import Array, TensorSpec
from edge_fer.backends.fake import FakeBackend
from edge_fer.classifier import Classifier
from edge_fer.contract import OutputSpec, Quantisation, TensorQuantisation
from edge_fer.evaluation.corruptions import CORRUPTIONS, STRENGTHS
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.evaluation.robustness import CLEAN, JITTER, NOISE
from edge_fer.modelfile import ModelFile
from edge_fer.types import Image

Said = tuple[int, float]
"""A label's index, and its probability."""

THRESHOLD = 0.5
_IN = TensorQuantisation(scale=1 / 255, zero_point=-128)
_OUT = TensorQuantisation(scale=0.03, zero_point=100)


def classifier(
    answer: Callable[[int, Image], Said],
    *,
    int8: bool,
    labels: tuple[str, ...] = LABELS,
    interpolation: str = "area",
    threshold: float = THRESHOLD,
    **contract: Any,
) -> Classifier:
    """Asked for the number of the call and the pixels, ``uint8[8, 8, 1]``."""
    calls = iter(range(10**9))
    scheme, dtype = ("int8", np.int8) if int8 else ("float32", np.float32)
    tensors = (_IN, _OUT) if int8 else (None, None)

    def run(array: Array) -> tuple[Array, ...]:
        real = array[0].astype(np.float64)
        pixels = np.rint(real + 128 if int8 else real * 255).astype(np.uint8)
        label, top = answer(next(calls), pixels)
        p = np.full(len(labels), (1 - top) / (len(labels) - 1))
        p[label] = top
        logits = np.log(p)
        if int8:
            logits = np.clip(np.rint(logits / _OUT.scale) + _OUT.zero_point, -128, 127)
        return (logits[None].astype(dtype),)

    backend = FakeBackend(
        TensorSpec(
            name="picture", shape=(1, SIDE, SIDE, 1), dtype=np.dtype(dtype), quantisation=tensors[0]
        ),
        [
            TensorSpec(
                name="scores",
                shape=(1, len(labels)),
                dtype=np.dtype(dtype),
                quantisation=tensors[1],
            )
        ],
        run,
    )
    model = ModelFile(
        path=Path(f"scripted.{scheme}.tflite"),
        flatbuffer=b"",
        contract=tiny_contract(
            labels=labels,
            input=tiny_spec().model_copy(update={"interpolation": interpolation}),
            output=OutputSpec(kind="logits", unknown={"min_probability": threshold}),
            quantisation=Quantisation(scheme=scheme, input=tensors[0], output=tensors[1]),
            **contract,
        ),
        sha256="00",
    )
    return Classifier(model, backend)


def faces(n: int, *, labels: tuple[str, ...] = LABELS, level: int = 128) -> LabelledFaces:
    """Rows of soft noise around a level; the truth goes round the labels."""
    truth = np.arange(n) % len(labels)
    rng = np.random.default_rng(5)
    images = np.clip(rng.normal(level, 12, (n, 48, 48)), 0, 255).astype(np.uint8)
    return LabelledFaces(
        path="some/rows.npz",
        sha256="00",
        split="PublicTest",
        images=list(images),
        labels=labels,
        truth=truth,
        target=np.eye(len(labels), dtype=np.float32)[truth],
        copy_of_training=None,
    )


def shown(n: int, noise: int = 2000) -> Iterator[tuple[str, int, int]]:
    """Name, strength and row of every picture that robustness shows, in order."""
    yield from ((CLEAN, 0, row) for row in range(n))
    for name in CORRUPTIONS:
        for strength in STRENGTHS:
            yield from ((name, strength, row) for row in range(n))
    yield from ((NOISE, 0, row) for row in range(noise))
    for draw in (1, 2, 3):
        yield from ((JITTER, draw, row) for row in range(n))
