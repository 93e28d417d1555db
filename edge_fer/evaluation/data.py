"""Readers for labelled face crops: FER2013's csv files, ``.npz``, and folders of classes.

Three steps: :func:`read` gives the rows as they are (:class:`Rows`), :func:`select` one split of
them, :func:`labelled` scores them in a model's label scheme (:class:`LabelledFaces`).
"""

from __future__ import annotations

import csv
import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_fer.errors import DataError
from edge_fer.evaluation.labels import (
    FER2013_7,
    FERPLUS8,
    canonical,
    majority,
    vote_distribution,
)
from edge_fer.pictures import PICTURE_SUFFIXES, read_picture
from edge_fer.types import Image

__all__ = ["SPLITS", "LabelledFaces", "Rows", "labelled", "load", "read", "select"]

SPLITS = ("Training", "validation", "PublicTest", "PrivateTest")
_FORMS = (
    "DATA is FER2013's fer2013.csv or icml_face_data.csv (emotion, pixels, Usage), "
    "an .npz with images and emotion, or a folder [split/]class/*.png"
)
_VALIDATION_SHARE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A data file as it is.

    Attributes:
        path: where it came from.
        sha256: of the file; of names and contents for a folder.
        images: one ``uint8[H, W]`` or ``uint8[H, W, 3]`` (RGB) per row.
        classes: the names that ``emotion`` counts through, canonical.
        emotion: ``int64[N]`` index into ``classes``.
        usage: the split of each row, or None where the data has none.
        votes: ``int[N, 10]`` FER+ votes, or None.
        skipped: pictures that could not be read, each with the reason.
    """

    path: str
    sha256: str
    images: Sequence[Image]
    classes: tuple[str, ...]
    emotion: NDArray[np.int64]
    usage: NDArray[np.str_] | None
    votes: NDArray[np.integer] | None
    skipped: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledFaces:
    """One split, in one label scheme.

    Attributes:
        path, sha256, split: what was read.
        images: the pictures.
        labels: the classes, in the model's order.
        truth: ``int64[N]`` index into ``labels``.
        target: ``float32[N, C]``: the crowd's distribution, or one-hot where there are no votes.
        copy_of_training: ``bool[N]``, a pixel copy of a Training row; None where it cannot be told.
        left_out: classes that only one side has, named for the reader.
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

    def __len__(self) -> int:
        return len(self.truth)


def load(
    path: Path, labels: Sequence[str], *, split: str | None, ferplus: Path | None = None
) -> LabelledFaces:
    """Read, select and label in one go; see :func:`read`, :func:`select`, :func:`labelled`."""
    return labelled(read(path, ferplus), labels, split=split)


def read(path: Path, ferplus: Path | None = None) -> Rows:
    """Read any of the known forms.

    Args:
        path: a csv, an npz or a folder.
        ferplus: FER+'s ``fer2013new.csv``, to go with FER2013's csv.

    Raises:
        DataError: missing, damaged, or its columns are not the expected ones.
    """
    if not path.exists():
        raise DataError(f"There is no data at {path}.", _FORMS + ".")
    if path.is_dir():
        return _read_folder(path)
    if path.suffix == ".npz":
        return _read_npz(path)
    if path.suffix == ".csv":
        return _read_csv(path, ferplus)
    raise DataError(f"{path} is no data set that edge-fer reads.", _FORMS + ".")


def select(rows: Rows, split: str | None) -> tuple[str, NDArray[np.int64]]:
    """The row numbers of a split, and its name (the default one where ``split`` is None).

    ``Training`` leaves out ``validation`` (rows whose pixels' sha256, first 8 hex digits, is 0
    modulo 10, so that duplicates stay together) and pixel copies of the test splits.

    Raises:
        DataError: the data has no such split, or it is empty.
    """
    if rows.usage is None:
        if split is not None:
            raise DataError(
                f"{rows.path} has no splits, so there is no split {split!r} in it.",
                "Leave out --split, or put the classes into folders named after the splits.",
            )
        return "everything", np.arange(len(rows.images))
    usage = rows.usage
    present = sorted(set(usage.tolist()))
    name = split or next(
        (s for s in ("PublicTest", "test", "Test", "val", "validation") if s in present), None
    )
    if name is None:
        return "everything", np.arange(len(rows.images))
    if name in ("Training", "validation") and "Training" in present:
        chosen = _training_or_validation(rows, usage, name)
    else:
        chosen = np.flatnonzero(usage == name)
    if len(chosen) == 0:
        known = ", ".join([*present, *(["validation"] if "Training" in present else [])])
        raise DataError(f"{rows.path} has no rows of split {name!r}.", f"It has: {known}.")
    return name, chosen


def labelled(rows: Rows, labels: Sequence[str], *, split: str | None) -> LabelledFaces:
    """Score one split in a model's classes.

    FER+ votes are used, by the majority rule, where the data has them and the model knows
    contempt (FER+'s eight classes); else the data's own classes, matched by name.

    Raises:
        DataError: no class of the data is one of the model's.
    """
    name, chosen = select(rows, split)
    labels = tuple(labels)
    if rows.votes is not None and set(labels) == set(FERPLUS8):
        votes = rows.votes[chosen]
        found = majority(votes)
        chosen, votes, found = chosen[found >= 0], votes[found >= 0], found[found >= 0]
        place = np.array([labels.index(c) for c in FERPLUS8])
        truth = place[found]
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
    )


def _digests(rows: Rows, which: NDArray[np.int64]) -> list[str]:
    return [hashlib.sha256(rows.images[i].tobytes()).hexdigest() for i in which.tolist()]


def _training_or_validation(rows: Rows, usage: NDArray[np.str_], name: str) -> NDArray[np.int64]:
    training = np.flatnonzero(usage == "Training")
    digests = _digests(rows, training)
    held_out = np.array([int(d[:8], 16) % _VALIDATION_SHARE == 0 for d in digests], bool)
    if name == "validation":
        return np.asarray(training[held_out])
    test = set(_digests(rows, np.flatnonzero(usage != "Training")))
    copied = np.array([d in test for d in digests], bool)
    return np.asarray(training[~held_out & ~copied])


def _copies(rows: Rows, chosen: NDArray[np.int64], split: str) -> NDArray[np.bool_] | None:
    if rows.usage is None or split in ("Training", "validation", "everything"):
        return None
    training = set(_digests(rows, np.flatnonzero(rows.usage == "Training")))
    if not training:
        return None
    return np.array([d in training for d in _digests(rows, chosen)], bool)


def _read_npz(path: Path) -> Rows:
    try:
        with path.open("rb") as file, np.load(file) as stored:
            arrays = {key: stored[key] for key in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as err:
        raise DataError(f"{path} is not a readable .npz ({err}).", _FORMS + ".") from err
    missing = [key for key in ("images", "emotion") if key not in arrays]
    if missing:
        raise DataError(
            f"{path} has no array {' and no '.join(missing)}; it has {', '.join(arrays)}.",
            "An .npz needs images uint8[N,H,W(,3)] and emotion; usage and ferplus are optional.",
        )
    images, emotion = arrays["images"], arrays["emotion"]
    if images.dtype != np.uint8 or images.ndim not in (3, 4) or len(emotion) != len(images):
        raise DataError(
            f"{path}: images is {images.dtype}{list(images.shape)} for {len(emotion)} labels.",
            "images must be uint8[N,H,W] or uint8[N,H,W,3], one label per image.",
        )
    usage = arrays.get("usage")
    if usage is not None and usage.dtype.kind in "iu":
        names = arrays.get("usage_names", np.array(["Training", "PublicTest", "PrivateTest"]))
        usage = names[usage]
    names = arrays.get("emotion_names")
    classes = tuple(canonical(str(n)) for n in names) if names is not None else FER2013_7
    if emotion.min() < 0 or emotion.max() >= len(classes):
        raise DataError(
            f"{path}: emotion counts to {int(emotion.max())}, but there are {len(classes)} names.",
            "Add emotion_names, one per class, to the .npz.",
        )
    votes = arrays.get("ferplus")
    if votes is not None and votes.shape != (len(images), 10):
        raise DataError(f"{path}: ferplus is {list(votes.shape)}.", "It must be [N, 10] votes.")
    return Rows(
        path=str(path),
        sha256=_file_sha256(path),
        images=images,
        classes=classes,
        emotion=emotion.astype(np.int64),
        usage=None if usage is None else usage.astype(str),
        votes=votes,
    )


def _read_csv(path: Path, ferplus: Path | None) -> Rows:
    images: list[Image] = []
    emotion: list[int] = []
    usage: list[str] = []
    for number, row in _csv_rows(path, ("emotion", "pixels", "usage")):
        try:
            pixels = np.array(row["pixels"].split(), dtype=np.uint8)
            side = round(len(pixels) ** 0.5)
            images.append(pixels.reshape(side, side))
            emotion.append(int(row["emotion"]))
        except (ValueError, OverflowError) as err:
            raise DataError(f"{path}, line {number}: {err}.", "The file may be cut off.") from err
        usage.append(row["usage"].strip())
    if not images:
        raise DataError(f"{path} has no rows.", _FORMS + ".")
    found = np.array(emotion, np.int64)
    if found.min() < 0 or found.max() >= len(FER2013_7):
        raise DataError(f"{path}: an emotion is not one of 0 to 6.", _FORMS + ".")
    votes = None
    if ferplus is not None:
        columns = ("usage", *FERPLUS8, "unknown", "nf")
        votes = np.array(
            [[int(row[c]) for c in columns[1:]] for _, row in _csv_rows(ferplus, columns)],
            np.int8,
        )
        if len(votes) != len(images):
            raise DataError(
                f"{ferplus} has {len(votes)} rows, {path} {len(images)}.",
                "FER+ votes go with the whole fer2013.csv, row by row.",
            )
    return Rows(
        path=str(path),
        sha256=_file_sha256(path),
        images=images,
        classes=FER2013_7,
        emotion=found,
        usage=np.array(usage),
        votes=votes,
    )


def _csv_rows(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and row, keys lower-case and stripped (icml_face_data.csv has blanks in them)."""
    csv.field_size_limit(1 << 24)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            names = [n.strip().lower() for n in reader.fieldnames or ()]
            missing = [n for n in needed if n not in names]
            if missing:
                raise DataError(
                    f"{path} has no column {', '.join(missing)}; "
                    f"it has {', '.join(names) or 'none'}.",
                    _FORMS + ".",
                )
            reader.fieldnames = names
            for row in reader:
                yield reader.line_num, {k: v or "" for k, v in row.items() if k is not None}
    except (OSError, UnicodeDecodeError, csv.Error) as err:
        raise DataError(f"{path} is not a readable csv ({err}).", _FORMS + ".") from err


def _read_folder(path: Path) -> Rows:
    files = sorted(
        p for p in path.rglob("*") if p.suffix.lower() in PICTURE_SUFFIXES and p.is_file()
    )
    parts = [(p, p.relative_to(path).parts) for p in files]
    parts = [(p, names) for p, names in parts if len(names) in (2, 3)]
    if not parts:
        raise DataError(f"{path} holds no pictures in class folders.", _FORMS + ".")
    if any(len(names) == 3 for _, names in parts):
        parts = [(p, names) for p, names in parts if len(names) == 3]
    classes = tuple(sorted({canonical(names[-2]) for _, names in parts}))
    images: list[Image] = []
    kept: list[tuple[str, ...]] = []
    skipped: list[tuple[str, str]] = []
    whole = hashlib.sha256()
    for file, names in parts:
        try:
            picture = read_picture(file)
            if picture.ndim == 3:
                picture = np.ascontiguousarray(picture[:, :, ::-1])
        except DataError as err:
            skipped.append((str(file), err.message))
            continue
        images.append(picture)
        kept.append(names)
        whole.update("/".join(names).encode() + b"\0" + picture.tobytes())
    if not images:
        raise DataError(f"No picture under {path} could be read.", skipped[0][1])
    return Rows(
        path=str(path),
        sha256=whole.hexdigest(),
        images=images,
        classes=classes,
        emotion=np.array([classes.index(canonical(names[-2])) for names in kept], np.int64),
        usage=np.array([n[0] for n in kept]) if len(kept[0]) == 3 else None,
        votes=None,
        skipped=tuple(skipped),
    )


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
