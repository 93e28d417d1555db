"""What a run leaves after each epoch: model, optimiser, averaged weights and curve, in one file."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_fer.errors import ConfigError, ModelError
from edge_fer.files import atomic_write

__all__ = ["Epoch", "State"]

# Averaging copies all weights to the host; every few steps give the same average.
_AVERAGE_EVERY = 4


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

    @property
    def judged_by(self) -> float:
        """The lower, the better the epoch."""
        return self.validation_nll


class Line(Protocol):
    """A line of any curve: a dataclass of numbers."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def judged_by(self) -> float:
        """The lower, the better the epoch."""
        ...


AnyEpoch = TypeVar("AnyEpoch", bound=Line)


class State(Generic[AnyEpoch]):
    """A run as it stands.

    Args:
        path: the checkpoint; written by :meth:`finish`, read by :meth:`resume`.
        fingerprint: recipe and data; a checkpoint of another run is refused.
        model: its optimiser built.
        optimizer: of the model.
        line: what the curve is made of.
    """

    def __init__(
        self, path: Path, fingerprint: str, model: Any, optimizer: Any, line: type[AnyEpoch]
    ) -> None:
        self.path, self.fingerprint = path, fingerprint
        self.model, self.optimizer, self.line = model, optimizer, line
        self.averaged: list[NDArray[np.float32]] = [w.copy() for w in model.get_weights()]
        self.best: list[NDArray[np.float32]] = [w.copy() for w in self.averaged]
        self.curve: list[AnyEpoch] = []
        self.steps = 0

    def average(self, decay: float) -> None:
        """Take the weights of this step into the moving average."""
        self.steps += 1
        if self.steps % _AVERAGE_EVERY:
            return
        keep = min(decay, (1 + self.steps) / (10 + self.steps)) ** _AVERAGE_EVERY
        for i, now in enumerate(self.model.get_weights()):
            self.averaged[i] += (1 - keep) * (now - self.averaged[i])

    def finish(self, epoch: AnyEpoch) -> None:
        """Add an epoch to the curve and save everything, atomically.

        The best epoch is the one with the lowest loss, not the highest accuracy: on two thousand
        rows the accuracy of neighbouring epochs differs by noise.
        """
        if all(epoch.judged_by <= e.judged_by for e in self.curve):
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
        """Go on where the checkpoint stopped, if there is one.

        Raises:
            ConfigError: it belongs to a run with another recipe or other data.
            ModelError: it is damaged.
        """
        if not self.path.exists():
            return
        with self._open() as stored:
            if str(stored["fingerprint"]) != self.fingerprint:
                raise ConfigError(
                    f"{self.path} belongs to a run with another recipe or other data.",
                    "Name another folder with --resume, or remove this one to start afresh.",
                )
            self.curve = [self.line(**e) for e in json.loads(str(stored["curve"]))]
            self.steps = int(stored["steps"])
            for name, group in self._groups():
                for i in range(len(group)):
                    group[i] = stored[f"{name}_{i}"]
                if name == "variables":
                    for variable, value in zip(self._variables(), group, strict=True):
                        variable.assign(value)

    def _open(self) -> Any:
        try:
            return np.load(BytesIO(self.path.read_bytes()))
        except (OSError, ValueError, zipfile.BadZipFile) as err:
            raise ModelError(
                f"The checkpoint {self.path} is damaged: {err}.",
                "Remove it to start afresh, or name another folder with --resume.",
            ) from err

    def _variables(self) -> Sequence[Any]:
        return [*self.model.variables, *self.optimizer.variables]

    def _groups(self) -> list[tuple[str, list[Any]]]:
        now = [np.asarray(v) for v in self._variables()]
        return [("averaged", self.averaged), ("best", self.best), ("variables", now)]
