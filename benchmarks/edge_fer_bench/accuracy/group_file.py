"""The file behind ``--groups``: which picture belongs to which group.

It has a column ``image`` (the row number in the data, from 0, or the picture's path in the data
folder) and a column for each way to group them.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from edge_fer.errors import DataError
from edge_fer.evaluation.data import LabelledFaces
from edge_fer_bench.accuracy.group_figures import Grouping

__all__ = ["GroupFile", "groupings_of", "names_of", "read_groups", "unreadable"]

_COLUMN = "image"
_MOST_GROUPS = 20
_REMEDY = (
    "FILE.csv has a column image (a row number from 0, or a picture's path in the data folder) "
    "and one or more columns of groups, such as: image,age,glasses"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupFile:
    """A file of groups, as it is.

    Attributes:
        path: where it came from.
        columns: what the pictures are grouped by.
        of: the groups of each picture, one text per column, empty for none.
    """

    path: str
    columns: tuple[str, ...]
    of: Mapping[str, tuple[str, ...]]


def read_groups(path: Path) -> GroupFile:
    """Read a file of groups.

    Raises:
        DataError: missing, not UTF-8, without ``image`` or without groups, empty, a line too long,
            a picture twice, or a column with so many values that they are no groups.
    """
    of: dict[str, tuple[str, ...]] = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)  # an open quote is an error
            names = [name.strip() for name in next(reader, [])]
            place = _image_column(names, path)
            for line in reader:
                cells = [cell.strip() for cell in line]
                if not any(cells):
                    continue
                where = f"{path}, line {reader.line_num}"
                if len(cells) > len(names):
                    raise DataError(
                        f"{where} has {len(cells)} cells for {len(names)} columns.", _REMEDY
                    )
                cells.extend([""] * (len(names) - len(cells)))
                image = _normal(cells.pop(place))
                if not image:
                    raise DataError(f"{where} names no image.", _REMEDY)
                if image in of:
                    raise DataError(
                        f"{where} names the image {image} a second time.",
                        "Give each image one line, with its groups in columns.",
                    )
                of[image] = tuple(cells)
    except (OSError, UnicodeDecodeError, csv.Error) as err:
        why = "not UTF-8" if isinstance(err, UnicodeDecodeError) else err
        raise DataError(f"{path} is not a readable csv ({why}).", _REMEDY) from err
    if not of:
        raise DataError(f"{path} has no rows.", _REMEDY)
    columns = tuple(name for i, name in enumerate(names) if i != place)
    for i, column in enumerate(columns):
        values = len({groups[i] for groups in of.values()} - {""})
        if values > _MOST_GROUPS:
            raise DataError(
                f"{path}: column {column} has {values} values; groups are at most {_MOST_GROUPS}.",
                "Put numbers into ranges, such as 18-29, and leave other columns out.",
            )
    return GroupFile(path=str(path), columns=columns, of=of)


def groupings_of(file: GroupFile, faces: LabelledFaces) -> tuple[Grouping, ...]:
    """The groups of labelled rows, one grouping for each column; groups by name.

    Pictures of the data that are not in its split, or were left out, may stand in the file.

    Raises:
        DataError: the file names pictures that the data does not have, or none of these rows.
    """
    names = names_of(faces)
    known = _known(faces)
    unknown = [image for image in file.of if image not in known]
    if unknown:
        more = f" and {len(unknown) - 3:,} more" if len(unknown) > 3 else ""
        kind = (
            "paths in it, such as " + names[0]
            if faces.names
            else f"row numbers, 0 to {(faces.data_rows or 1) - 1}"
        )
        raise DataError(
            f"{file.path} names images that {faces.path} does not have: "
            f"{', '.join(unknown[:3])}{more}.",
            f"The images of this data are {kind}.",
        )
    if not any(name in file.of for name in names):
        raise DataError(
            f"{file.path} has a group for none of the {len(names):,} pictures of the split "
            f"{faces.split}.",
            "Name another one with --split.",
        )
    nothing = ("",) * len(file.columns)
    found = []
    for i, column in enumerate(file.columns):
        values = [file.of.get(name, nothing)[i] for name in names]
        groups = tuple(sorted(set(values) - {""}))
        member = np.array([groups.index(v) if v else -1 for v in values], np.int64)
        found.append(Grouping(name=column, groups=groups, member=member))
    return tuple(found)


def names_of(faces: LabelledFaces) -> Sequence[str]:
    """What a file of groups calls each of the rows."""
    if faces.names is not None:
        return faces.names
    rows = np.arange(len(faces)) if faces.rows is None else faces.rows
    return [str(row) for row in rows.tolist()]


def unreadable(faces: LabelledFaces) -> list[str]:
    """Paths in the folder of the pictures that could not be read."""
    found = []
    for name, _ in faces.skipped:
        try:
            found.append(Path(name).relative_to(faces.path).as_posix())
        except ValueError:
            found.append(name)
    return found


def _image_column(names: Sequence[str], path: Path) -> int:
    images = [i for i, name in enumerate(names) if name.lower() == _COLUMN]
    joined = ",".join(names)
    for sign, what in ((";", "semicolons"), ("\t", "tabs")):
        if not images and sign in joined:
            raise DataError(
                f"{path} has {what} between its columns, and commas are wanted.",
                f"Save it as csv with commas. {_REMEDY}",
            )
    if len(images) != 1:
        raise DataError(
            f"{path} has {'no' if not images else 'more than one'} column {_COLUMN}; "
            f"it has {', '.join(names) or 'none'}.",
            _REMEDY,
        )
    if len(names) < 2:
        raise DataError(f"{path} has a column {_COLUMN} and no groups.", _REMEDY)
    if "" in names or len(set(names)) != len(names):
        raise DataError(
            f"{path}: every column needs a name of its own; it has {', '.join(names)}.", _REMEDY
        )
    return images[0]


def _normal(image: str) -> str:
    """``7`` for 007, ``test/a.png`` for ./test/a.png, also where the slashes are Windows'."""
    if image.isdecimal():
        return str(int(image))
    return PurePosixPath(image.replace("\\", "/")).as_posix() if image else ""


def _known(faces: LabelledFaces) -> set[str]:
    """What it may call pictures of the data, of any split."""
    if faces.names is None:
        return {str(row) for row in range(faces.data_rows or len(faces))}
    return {*(faces.data_names or faces.names), *unreadable(faces)}
