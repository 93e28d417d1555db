"""Splits of labelled face crops, in a model's label scheme.

Three steps: :func:`read` gives the rows as they are (:class:`Rows`), :func:`select` one split of
them, :func:`labelled` scores them in the model's classes (:class:`LabelledFaces`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.errors import DataError
from edge_fer.evaluation.labels import FERPLUS8, majority, plurality, vote_distribution
from edge_fer.evaluation.readers import Rows, read
from edge_fer.types import Image

__all__ = [
    "EVERYTHING",
    "TRAINING_NAMES",
    "LabelledFaces",
    "Rows",
    "labelled",
    "load",
    "pixel_sha256",
    "read",
    "select",
]

_VALIDATION_SHARE = 10
TRAINING_NAMES = ("Training", "training", "Train", "train")
_VALIDATION_NAMES = ("validation", "val", "Validation", "Val")
_TEST_NAMES = ("PublicTest", "test", "Test")
EVERYTHING = "everything"


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledFaces:
    """One split, in one label scheme.

    Attributes:
        path, sha256, split: what was read.
        images: the pictures.
        labels: the classes, in the model's order.
        truth: ``int64[N]`` index into ``labels``.
        target: ``float32[N, C]``: the crowd's distribution, or one-hot where there are no votes.
        rows: ``int64[N]``, the row numbers in the data, or None.
        clear: ``bool[N]``, rows that FER+'s majority rule scores; None where all are.
        copy_of_training: ``bool[N]``, a pixel copy of a Training row; None where it cannot be told.
        left_out: classes that only one side has, named for the reader.
        skipped: pictures of the data, of any split, that could not be read, each with the reason.
        names: ``N`` paths in the folder that was read; None where the data has none.
        data_names: the same of the whole data, of any split.
        data_rows: how many rows the whole data has; None where it is not known.
    """

    path: str
    sha256: str
    split: str
    images: Sequence[Image]
    labels: tuple[str, ...]
    truth: NDArray[np.int64]
    target: NDArray[np.float32]
    copy_of_training: NDArray[np.bool_] | None
    left_out: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    rows: NDArray[np.int64] | None = None
    clear: NDArray[np.bool_] | None = None
    names: tuple[str, ...] | None = None
    data_names: tuple[str, ...] | None = None
    data_rows: int | None = None

    def __len__(self) -> int:
        return len(self.truth)

    def take(self, chosen: NDArray[np.int64]) -> LabelledFaces:
        """Some of the rows, by their place, ``int64[M]``."""

        def of(values: NDArray[Any] | None) -> NDArray[Any] | None:
            return None if values is None else values[chosen]

        return replace(
            self,
            images=[self.images[i] for i in chosen.tolist()],
            truth=self.truth[chosen],
            target=self.target[chosen],
            copy_of_training=of(self.copy_of_training),
            rows=of(self.rows),
            clear=of(self.clear),
            names=None if self.names is None else tuple(self.names[i] for i in chosen.tolist()),
        )

    @property
    def clean(self) -> NDArray[np.bool_] | None:
        """``bool[N]``, no copy of a Training row; None where none is, or it cannot be told."""
        copies = self.copy_of_training
        return None if copies is None or copies.all() else ~copies


def load(
    path: Path, labels: Sequence[str], *, split: str | None, ferplus: Path | None = None
) -> LabelledFaces:
    """Read, select and label in one go; see :func:`read`, :func:`select`, :func:`labelled`."""
    return labelled(read(path, ferplus), labels, split=split)


def select(rows: Rows, split: str | None) -> tuple[str, NDArray[np.int64]]:
    """The row numbers of a split, and its name (the default one where ``split`` is None).

    ``Training`` are the rows of that split (``train`` in folders; all rows of data without
    splits), without ``validation`` and without pixel copies of the other splits. ``validation``
    is the data's own (``validation`` or ``val``) where it has one; else the training rows whose
    pixels' sha256, first 8 hex digits, is 0 modulo 10, so that duplicates stay together.

    Raises:
        DataError: the data has no such split, or it is empty.
    """
    names = [] if rows.usage is None else sorted(set(rows.usage.tolist()))
    name = split or next((s for s in _TEST_NAMES + _VALIDATION_NAMES if s in names), None)
    if name is None:
        return EVERYTHING, np.arange(len(rows.images))
    if name in names and name not in TRAINING_NAMES:
        return name, np.flatnonzero(rows.usage == name)
    if name in (*TRAINING_NAMES, "validation"):
        chosen = _training_or_validation(rows, "validation" if name == "validation" else "Training")
        if len(chosen):
            return name, chosen
    raise DataError(f"{rows.path} has no rows of split {name!r}.", _splits(rows, names))


def _splits(rows: Rows, names: Sequence[str]) -> str:
    """What may be asked for instead."""
    made = [] if set(names) & set(_VALIDATION_NAMES) else ["validation"]
    made = [name for name in made if len(_training_or_validation(rows, name))]
    if rows.usage is None:
        return (
            "It has no splits: leave --split out for all rows, say "
            f"{' or '.join(['Training', *made])}, or put the classes into folders named after "
            "splits."
        )
    of = " (a share of the training rows)" if made else ""
    return f"It has: {', '.join([*names, *made])}{of}."


def labelled(
    rows: Rows, labels: Sequence[str], *, split: str | None, every_vote: bool = False
) -> LabelledFaces:
    """Score one split in a model's classes.

    FER+ votes are used, by the majority rule, where the data has them and the model knows
    contempt (FER+'s eight classes); else the data's own classes, matched by name.

    Args:
        rows: the data.
        labels: the model's classes.
        split: see :func:`select`.
        every_vote: also take rows on which the crowd was divided; to learn from their
            distribution of votes, never to score.

    Raises:
        DataError: no class of the data is one of the model's.
    """
    name, chosen = select(rows, split)
    labels = tuple(labels)
    clear = None
    if rows.votes is not None and set(labels) == set(FERPLUS8):
        votes = rows.votes[chosen]
        found = plurality(votes) if every_vote else majority(votes)
        chosen, votes, found = chosen[found >= 0], votes[found >= 0], found[found >= 0]
        place = np.array([labels.index(c) for c in FERPLUS8])
        truth = place[found]
        clear = majority(votes) >= 0 if every_vote else None
        target = vote_distribution(votes)[:, np.argsort(place)]
        left_out: tuple[str, ...] = ()
    else:
        place = np.array([labels.index(c) if c in labels else -1 for c in rows.classes])
        truth = place[rows.emotion[chosen]]
        chosen, truth = chosen[truth >= 0], truth[truth >= 0]
        target = np.eye(len(labels), dtype=np.float32)[truth]
        left_out = tuple(sorted(set(rows.classes) ^ set(labels)))
    if len(chosen) == 0:
        raise DataError(
            f"None of the classes of {rows.path} ({', '.join(rows.classes)}) is one of the "
            f"model's ({', '.join(labels)}).",
            "Rename the class folders, or evaluate a model with these labels.",
        )
    return LabelledFaces(
        path=rows.path,
        sha256=rows.sha256,
        split=name,
        images=[rows.images[i] for i in chosen.tolist()],
        labels=labels,
        truth=truth.astype(np.int64),
        target=target,
        copy_of_training=_copies(rows, chosen, name),
        left_out=left_out,
        skipped=rows.skipped,
        rows=chosen,
        clear=clear,
        names=None if rows.names is None else tuple(rows.names[i] for i in chosen.tolist()),
        data_names=rows.names,
        data_rows=len(rows.images),
    )


def pixel_sha256(images: Iterable[Image]) -> list[str]:
    """Of each picture's pixels, in hex digits: equal for copies."""
    return [hashlib.sha256(image.tobytes()).hexdigest() for image in images]


def _digests(rows: Rows, which: NDArray[np.int64]) -> list[str]:
    return pixel_sha256(rows.images[i] for i in which.tolist())


def _training_or_validation(rows: Rows, name: str) -> NDArray[np.int64]:
    usage = np.full(len(rows.images), "Training") if rows.usage is None else rows.usage
    teaches = np.isin(usage, TRAINING_NAMES)
    own = np.isin(usage, _VALIDATION_NAMES)
    if name == "validation" and own.any():
        return np.flatnonzero(own)
    training = np.flatnonzero(teaches)
    digests = _digests(rows, training)
    held_out = np.array([int(d[:8], 16) % _VALIDATION_SHARE == 0 for d in digests], bool)
    if name == "validation":
        return np.asarray(training[held_out])
    if own.any():
        held_out[:] = False
    others = set(_digests(rows, np.flatnonzero(~teaches)))
    copied = np.array([d in others for d in digests], bool)
    return np.asarray(training[~held_out & ~copied])


def _copies(rows: Rows, chosen: NDArray[np.int64], split: str) -> NDArray[np.bool_] | None:
    if rows.usage is None or split in (*TRAINING_NAMES, "validation", EVERYTHING):
        return None
    training = set(_digests(rows, np.flatnonzero(np.isin(rows.usage, TRAINING_NAMES))))
    if not training:
        return None
    return np.array([d in training for d in _digests(rows, chosen)], bool)
