"""An entrant in a process of its own, which names the expressions of face crops."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.errors import DataError
from edge_fer.evaluation.data import LabelledFaces
from edge_fer.evaluation.labels import canonical
from edge_fer.types import Image
from peers.entrant import Card, Part, Step
from peers.process import Process

__all__ = ["AskedEntrant"]


class AskedEntrant:
    """A worker that can be given a face, on the one core and thread that it started with."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.card = _card(process.about)

    def probabilities(
        self, faces: LabelledFaces, on_step: Step = lambda done, total: None
    ) -> NDArray[np.float64]:
        found = self._classified(faces.images)
        on_step(len(faces), len(faces))
        return found

    def prepare(self, images: Sequence[Image]) -> None:
        self._classified(images)

    def time(self, part: Part, calls: int) -> list[int]:
        return [int(ns) for ns in self._process.ask("time", part=part, calls=calls)["ns"]]

    def close(self) -> None:
        self._process.close()

    def _classified(self, images: Sequence[Image]) -> NDArray[np.float64]:
        rows, out = (self._process.folder / name for name in ("rows.npz", "answer.npz"))
        np.savez(rows, images=_stacked(images))
        self._process.ask("classify", rows=str(rows), out=str(out))
        with np.load(out) as stored:
            return np.asarray(stored["probabilities"], np.float64)


def _card(about: dict[str, Any]) -> Card:
    model = Path(about["model"]).read_bytes()
    return Card(
        name=about["name"],
        ours=False,
        numbers=about["numbers"],
        labels=tuple(canonical(name) for name in about["labels"]),
        size_bytes=len(model),
        sha256=hashlib.sha256(model).hexdigest(),
        runtime=about["runtime"],
        terms=about["terms"],
    )


def _stacked(images: Sequence[Image]) -> Image:
    if len({image.shape for image in images}) != 1:
        raise DataError("Peers are measured on rows of one size only.", "Give --data of one size.")
    return np.stack(list(images))
