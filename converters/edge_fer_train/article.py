"""The net and the training of a widely copied introductory article, to see what they really give.

Run ``python -m edge_fer_train.article DATA``. Two convolutions of 32 and 64 channels with pooling,
a dense layer of 128, dropout 0.5, seven classes; Adam as Keras has it, 20 epochs, batches of 64,
pictures divided by 255, no augmentation, FER2013's own labels. The article claims 82.3 %.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edge_fer.errors import EdgeFerError
from edge_fer.evaluation.data import LabelledFaces, labelled, read
from edge_fer.evaluation.drop import wilson
from edge_fer.evaluation.labels import FER2013_7
from edge_fer.preprocess import fit, to_real
from edge_fer_train.record import expression_spec
from edge_fer_train.zoo import build

__all__ = ["main", "measure"]

_CLAIMED = 0.823


def measure(data: Path, epochs: int = 20, seed: int = 1) -> dict[str, Any]:
    """Train it as described and score it on PublicTest.

    Args:
        data: FER2013, see :func:`edge_fer.evaluation.data.read`.
        epochs: passes over split Training.
        seed: of everything random.

    Returns:
        ``accuracy`` with its 95 % interval ``ci95``, ``n``, ``training_accuracy`` and what the
        article claims; fractions.

    Raises:
        DataError: the data cannot be read or lack a split.
    """
    import keras

    keras.utils.set_random_seed(seed)
    rows = read(data)
    training = labelled(rows, FER2013_7, split="Training")
    test = labelled(rows, FER2013_7, split="PublicTest")
    spec = expression_spec()

    def real(faces: LabelledFaces) -> Any:
        return to_real(np.stack([fit(image, spec) for image in faces.images]), spec)

    model = build("article-cnn", spec, len(FER2013_7))
    model.compile(
        "adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"]
    )
    history = model.fit(
        real(training), training.truth, batch_size=64, epochs=epochs, shuffle=True, verbose=0
    )
    said = np.asarray(model.predict(real(test), batch_size=256, verbose=0)).argmax(axis=1)
    hits = int((said == test.truth).sum())
    return {
        "accuracy": hits / len(test),
        "ci95": list(wilson(hits, len(test))),
        "n": len(test),
        "training_accuracy": float(history.history["accuracy"][-1]),
        "claimed": _CLAIMED,
        "epochs": epochs,
        "parameters": int(model.count_params()),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """The command; prints one JSON document."""
    parser = argparse.ArgumentParser(prog="python -m edge_fer_train.article")
    parser.add_argument("data", type=Path, help="FER2013, csv or npz")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args(argv)
    try:
        found = measure(arguments.data, arguments.epochs, arguments.seed)
    except EdgeFerError as err:
        sys.stderr.write(f"{err}\n")
        return err.exit_code
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
