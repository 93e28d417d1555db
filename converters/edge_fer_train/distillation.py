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

__all__ = ["EarlierRun", "blend", "keras_probabilities", "opinion"]


@dataclass(frozen=True, slots=True, kw_only=True)
class EarlierRun:
    """The ``.keras`` file that a run left: a teacher, or weights to begin with."""

    path: Path
    sha256: str
    model: Any
    contract: ModelContract

    @classmethod
    def read(cls, path: Path) -> EarlierRun:
        """Read it.

        Raises:
            ModelError: missing, not a Keras file, or without a contract.
        """
        import keras

        try:
            with zipfile.ZipFile(path) as archive:
                contract = ModelContract.parse(archive.read(CONTRACT_MEMBER), str(path))
            model = keras.models.load_model(path, compile=False)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as err:
            raise ModelError(
                f"{path} is no model of an earlier run: {err}.",
                "Give the .keras file that edge-fer train wrote.",
            ) from err
        return cls(path=path, sha256=digest, model=model, contract=contract)

    def teaches(self, labels: Sequence[str]) -> None:
        """Make sure that it can teach these classes.

        Raises:
            ConfigError: its labels are others.
        """
        if self.contract.labels != tuple(labels):
            raise ConfigError(
                f"{self.path} names {', '.join(self.contract.labels)}; a teacher needs the labels "
                f"of what it teaches: {', '.join(labels)}.",
                "Train the teacher with the same --labels.",
            )

    def stated(self) -> dict[str, str]:
        """Name and hash of the file, for fingerprint and record."""
        return {"file": self.path.name, "sha256": self.sha256}

    def opinion(self, faces: LabelledFaces) -> NDArray[np.float32]:
        """See :func:`opinion`; the faces are fitted to the teacher's own input."""
        return opinion(self.model, self.contract.output.temperature, faces, self.contract.input)


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
