"""Files of labelled face crops, as they are: FER2013's csv files, ``.npz``, folders of classes."""

from __future__ import annotations

import csv
import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.errors import DataError
from edge_fer.evaluation.labels import FER2013_7, FERPLUS8, canonical
from edge_fer.pictures import PICTURE_SUFFIXES, read_picture
from edge_fer.types import Image

__all__ = ["Rows", "read"]

_FORMS = (
    "DATA is FER2013's fer2013.csv or icml_face_data.csv (emotion, pixels, Usage), "
    "an .npz with images and emotion, or a folder [split/]class/*.png"
)


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
        names: of a folder's pictures: their path in it, with ``/``; None where rows are numbered.
    """

    path: str
    sha256: str
    images: Sequence[Image]
    classes: tuple[str, ...]
    emotion: NDArray[np.int64]
    usage: NDArray[np.str_] | None
    votes: NDArray[np.integer] | None
    skipped: tuple[tuple[str, str], ...] = ()
    names: tuple[str, ...] | None = None


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
    shapes = images.ndim == 3 or (images.ndim == 4 and images.shape[3] == 3)
    if images.dtype != np.uint8 or not shapes or len(emotion) != len(images) or not len(images):
        raise DataError(
            f"{path}: images is {images.dtype}{list(images.shape)} for {len(emotion)} labels.",
            "images must be uint8[N,H,W] or uint8[N,H,W,3], one label per image.",
        )
    if emotion.ndim != 1 or emotion.dtype.kind not in "iu":
        raise DataError(
            f"{path}: emotion is {emotion.dtype}{list(emotion.shape)}.",
            "It must be a whole number per image, an index into emotion_names.",
        )
    usage = _usage(arrays, path)
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


def _usage(arrays: dict[str, NDArray[Any]], path: Path) -> NDArray[Any] | None:
    usage = arrays.get("usage")
    if usage is None:
        return None
    names = arrays.get("usage_names", np.array(["Training", "PublicTest", "PrivateTest"]))
    whole = usage.shape == arrays["emotion"].shape
    if whole and usage.dtype.kind in "iu" and usage.min() >= 0 and usage.max() < len(names):
        return np.asarray(names[usage])
    if whole and usage.dtype.kind in "US":
        return usage
    raise DataError(
        f"{path}: usage is {usage.dtype}{list(usage.shape)} for {len(arrays['emotion'])} images.",
        "It must be one split per image: a name, or an index into usage_names.",
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
        names=tuple("/".join(names) for names in kept),
    )


def _file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
