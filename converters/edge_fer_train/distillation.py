"""Learning from larger models: their opinion of each row, mixed into the crowd's votes.

Hinton et al. (arXiv:1503.02531), with the temperature that calibrates each teacher instead of a
tuned one. A teacher sees the plain face and its mirror image.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.classifier import softmax
from edge_fer.contract import InputSpec, ModelContract
from edge_fer.errors import ConfigError, ModelError
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.evaluation.robustness import Probabilities
from edge_fer.preprocess import fit, to_real
from edge_fer.types import Image
from edge_fer_train.record import CONTRACT_MEMBER

__all__ = ["Teacher", "blend", "keras_probabilities", "opinion", "read_keras"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Teacher:
    """A model of an earlier run."""

    path: Path
    sha256: str
    model: Any
    contract: ModelContract

    @classmethod
    def read(cls, path: Path, labels: Sequence[str]) -> Teacher:
        """Read the ``.keras`` file of a run.

        Raises:
            ConfigError: its labels are not ``labels``.
            ModelError: it is missing, no Keras file, or carries no contract.
        """
        model, contract = read_keras(path)
        if contract.labels != tuple(labels):
            raise ConfigError(
                f"{path} names {', '.join(contract.labels)}; a teacher needs the labels of "
                f"what it teaches: {', '.join(labels)}.",
                "Train the teacher with the same --labels.",
            )
        return cls(
            path=path,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            model=model,
            contract=contract,
        )

    def opinion(self, faces: LabelledFaces) -> NDArray[np.float32]:
        """See :func:`opinion`; the faces are fitted to the teacher's own input."""
        return opinion(self.model, self.contract.output.temperature, faces, self.contract.input)


def read_keras(path: Path) -> tuple[Any, ModelContract]:
    """The model and the contract of a run's ``.keras`` file.

    Raises:
        ModelError: missing, not a Keras file, or without a contract.
    """
    import keras

    try:
        with zipfile.ZipFile(path) as archive:
            contract = ModelContract.parse(archive.read(CONTRACT_MEMBER), str(path))
        return keras.models.load_model(path, compile=False), contract
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as err:
        raise ModelError(
            f"{path} is no model of an earlier run: {err}.",
            "Give the .keras file that edge-fer train wrote.",
        ) from err


def opinion(
    model: Any, temperature: float, faces: LabelledFaces, spec: InputSpec
) -> NDArray[np.float32]:
    """``float32[N, C]``: the model's probabilities for each face, averaged with its mirror image.

    Args:
        model: Keras, from real input to logits.
        temperature: that its logits are divided by.
        faces: the rows.
        spec: the model's input.
    """
    pixels = np.stack([fit(image, spec) for image in faces.images])
    ask = keras_probabilities(model, spec, temperature)
    return np.asarray((ask(pixels) + ask(pixels[:, :, ::-1])) / 2, np.float32)


def keras_probabilities(model: Any, spec: InputSpec, temperature: float) -> Probabilities:
    """Asks a Keras model that ends in logits, 256 pictures at a time."""

    def probabilities(pixels: Image) -> NDArray[np.float64]:
        logits = model.predict(to_real(pixels, spec), batch_size=256, verbose=0)
        return softmax(np.asarray(logits) / temperature)

    return probabilities


def blend(
    target: NDArray[np.float32], opinions: Sequence[NDArray[np.float32]], weight: float
) -> NDArray[np.float32]:
    """``float32[N, C]``: the target with ``weight`` parts of the teachers' mean opinion."""
    teachers = np.mean(np.stack(opinions), axis=0)
    return np.asarray((1 - weight) * target + weight * teachers, np.float32)
