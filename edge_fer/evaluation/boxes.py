"""Labelled scenes: pictures in a zip or folder, and a ``boxes.csv`` that says where the faces are.

The columns ``image, x1, y1, x2, y2`` are needed. ``w`` and ``h`` state the picture's size and are
checked; ``original_w`` and ``original_h`` say what it was before it was squashed, which is undone.
A box whose ``ignore`` is 1 is neither to be found nor an error when it is. ``NAME_x`` and
``NAME_y`` are keypoints, the two eyes first, the left one in the picture before the other; every
further column is an attribute. A picture of which one row is wrong is left out as a whole, for its
face would count as none. A row without coordinates, or with zeros (as WIDER FACE writes it),
says that a picture has no face. Without a ``boxes.csv`` no picture has one.
"""

from __future__ import annotations

import csv
import hashlib
import io
import math
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from edge_fer.errors import DataError
from edge_fer.evaluation.scenes import kept_aside
from edge_fer.pictures import PICTURE_SUFFIXES, decode_picture, luma_of
from edge_fer.types import Box, Frame, Image
from edge_fer.uri import suggestion

__all__ = [
    "FRAME",
    "SPLITS",
    "LabelledBox",
    "LabelledScene",
    "SceneSet",
    "View",
    "moved",
    "read_scenes",
]

FRAME = (640, 480)
"""Width and height of the frame that a squashed picture is fitted into: a camera's."""

SPLITS = ("test", "training")
_CORNERS = ("x1", "y1", "x2", "y2")
_SIZES = ("w", "h", "original_w", "original_h")
_FORM = (
    "Give a zip file or folder with pictures and a boxes.csv (image, x1, y1, x2, y2), "
    "or with pictures without faces and no boxes.csv."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledBox:
    """One face.

    Attributes:
        box: in pixels of the stored picture; of a :class:`View`, in pixels of its frame.
        ignore: found or not, it does not count.
        keypoints: (x, y), the eyes first; None where they are not labelled.
        attributes: further columns of its row, by name.
    """

    box: Box
    ignore: bool = False
    keypoints: tuple[tuple[float, float], ...] | None = None
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A scene as a detector sees it: the frame, and the faces in its pixels."""

    frame: Frame
    faces: tuple[LabelledBox, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelledScene:
    """A picture that is read when it is looked at.

    Attributes:
        name: of the file in its zip or folder.
        faces: empty where it has none.
        stated: width and height that the labels give for the stored picture, or None.
        original: width and height before the picture was squashed, or None.
        contents: reads the file.
    """

    name: str
    faces: tuple[LabelledBox, ...]
    stated: tuple[float, float] | None
    original: tuple[float, float] | None
    contents: Callable[[], bytes]

    def view(self, fit: tuple[int, int] | None = None) -> View:
        """Decode the picture.

        Args:
            fit: width and height of a frame to fit it into, scaled as a whole and centred on
                black. None shows it as it is; one that was squashed is fitted into ``FRAME``.

        Raises:
            DataError: it is damaged, or of another size than its labels state.
        """
        picture = decode_picture(self.contents())
        if picture is None:
            raise DataError(f"{self.name} is not a readable picture.", "Use a whole copy of it.")
        height, width = picture.shape[:2]
        if self.stated not in (None, (width, height)):
            stated = "x".join(f"{side:g}" for side in self.stated or ())
            raise DataError(
                f"{self.name} is {width}x{height}, its labels are for {stated}.",
                "Use the pictures that the boxes were drawn on.",
            )
        frame_size = fit or (FRAME if self.original else None)
        if frame_size is None:
            return View(frame=_frame(picture, self.name), faces=self.faces)
        whole = self.original or (width, height)
        zoom = min(frame_size[0] / whole[0], frame_size[1] / whole[1])
        size = (max(1, round(whole[0] * zoom)), max(1, round(whole[1] * zoom)))
        left, top = (frame_size[0] - size[0]) // 2, (frame_size[1] - size[1]) // 2
        shape = (frame_size[1], frame_size[0], *picture.shape[2:])
        canvas = np.zeros(shape, np.uint8)
        # "area" would blur where one side grows while the other shrinks.
        shrinks = size[0] <= width and size[1] <= height
        how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        scaled = cv2.resize(picture, size, interpolation=how)
        canvas[top : top + size[1], left : left + size[0]] = scaled
        scale = (size[0] / width, size[1] / height)
        return View(
            frame=_frame(canvas, self.name),
            faces=tuple(moved(face, scale, (left, top)) for face in self.faces),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneSet:
    """What a zip or folder holds.

    Attributes:
        path: of the zip or folder.
        sha256: of the zip; of names and contents of a folder's files.
        labelled: it has a ``boxes.csv``.
        scenes: by name.
        skipped: rows and pictures that are left out, each with the reason.
    """

    path: str
    sha256: str
    labelled: bool
    scenes: tuple[LabelledScene, ...]
    skipped: tuple[tuple[str, str], ...] = ()


def moved(face: LabelledBox, scale: tuple[float, float], shift: tuple[float, float]) -> LabelledBox:
    """A face of a picture that was scaled, then shifted."""
    (sx, sy), (dx, dy), box = scale, shift, face.box
    points = face.keypoints
    return replace(
        face,
        box=Box(x=box.x * sx + dx, y=box.y * sy + dy, w=box.w * sx, h=box.h * sy),
        keypoints=points and tuple((x * sx + dx, y * sy + dy) for x, y in points),
    )


def read_scenes(path: Path, *, split: str | None = None, leave_out: Iterable[str] = ()) -> SceneSet:
    """The scenes of a zip or folder; pictures are decoded when they are looked at.

    Args:
        path: of the zip or folder.
        split: ``test`` (the pictures whose sha256 begins below 0x55) or ``training`` (the
            others); all where it is None.
        leave_out: names of pictures, without their folder, that are not wanted.

    Raises:
        DataError: missing, damaged, without pictures, its columns are not the expected ones, or a
            picture to leave out is not there.
    """
    if split not in (None, *SPLITS):
        raise DataError(
            f"Scenes have no split {split!r}.", f"Known: {', '.join(SPLITS)}; or leave it out."
        )
    files = _files(path)
    pictures = {n for n in files if PurePosixPath(n).suffix.lower() in PICTURE_SUFFIXES}
    tables = [n for n in files if PurePosixPath(n).name == "boxes.csv"]
    if not pictures or len(tables) > 1:
        what = f"{len(tables)} files boxes.csv" if pictures else "no pictures"
        raise DataError(f"{path} holds {what}.", _FORM)
    unwanted = set(leave_out)
    _check_names(path, unwanted, {PurePosixPath(n).name for n in pictures})
    skipped: list[tuple[str, str]] = []
    if tables:
        scenes = _labelled(files, pictures, tables[0], skipped)
    else:
        scenes = [_scene(name, files[name]) for name in sorted(pictures)]
    kept = [s for s in scenes if PurePosixPath(s.name).name not in unwanted]
    if split is not None:
        kept = [s for s in kept if kept_aside(s.contents()) == (split == "test")]
    if not kept:
        why = f" The first reason: {skipped[0][0]}: {skipped[0][1]}." if skipped else ""
        raise DataError(f"{path} has no scene that can be used.{why}", _FORM)
    return SceneSet(
        path=str(path),
        sha256=_sha256(path, files),
        labelled=bool(tables),
        scenes=tuple(kept),
        skipped=tuple(skipped),
    )


def _check_names(path: Path, unwanted: set[str], known: set[str]) -> None:
    for name in sorted(unwanted - known):
        # All that are known would be hundreds.
        near = get_close_matches(name, known, n=1)
        raise DataError(
            f"{path} has no picture {name!r} to leave out.",
            suggestion(name, near)
            if near
            else f"Give a picture's name without its folder, such as {min(known)}.",
        )


def _files(path: Path) -> dict[str, Callable[[], bytes]]:
    """Name in the zip or folder to what reads it."""
    try:
        if path.is_dir():
            found = sorted(p for p in path.rglob("*") if p.is_file())
            return {p.relative_to(path).as_posix(): p.read_bytes for p in found}
        archive = zipfile.ZipFile(path)
    except (OSError, zipfile.BadZipFile) as err:
        raise DataError(f"{path} cannot be read: {err}.", _FORM) from err
    names = sorted(n for n in archive.namelist() if not n.endswith("/"))
    return {n: partial(_member, archive, n) for n in names}


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        return archive.read(name)
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError) as err:
        # RuntimeError: it is encrypted.
        raise DataError(
            f"{name} in {archive.filename} cannot be read: {err}.", "Get a whole copy of the zip."
        ) from err


def _sha256(path: Path, files: Mapping[str, Callable[[], bytes]]) -> str:
    if path.is_file():
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    whole = hashlib.sha256()
    for name, contents in files.items():
        whole.update(name.encode() + b"\0" + hashlib.sha256(contents()).digest())
    return whole.hexdigest()


def _labelled(
    files: Mapping[str, Callable[[], bytes]],
    pictures: set[str],
    table: str,
    skipped: list[tuple[str, str]],
) -> list[LabelledScene]:
    """The scenes that the table names; rows and pictures left out are added to ``skipped``."""
    folder = PurePosixPath(table).parent
    refused: dict[str, str] = {}
    scenes: dict[str, LabelledScene] = {}
    for place, row in _rows(files[table](), table):
        names = (str(folder / row["image"]), str(folder / "images" / row["image"]))
        name = next((n for n in names if n in pictures), None)
        if name is None:
            skipped.append((place, f"there is no picture {row['image']!r}"))
            continue
        try:
            read = _row(row)
        except ValueError as err:
            refused.setdefault(name, f"{place}: {err}")
            continue
        scene = scenes.get(name) or _scene(name, files[name])
        faces = scene.faces if read.face is None else (*scene.faces, read.face)
        scenes[name] = replace(scene, faces=faces, stated=read.stated, original=read.original)
    skipped.extend(sorted(refused.items()))
    unnamed = pictures - set(scenes) - set(refused)
    skipped.extend((n, "boxes.csv does not name it") for n in sorted(unnamed))
    # Its other faces alone would make a false positive of the one whose row is wrong.
    return [scenes[name] for name in sorted(set(scenes) - set(refused))]


def _scene(name: str, contents: Callable[[], bytes]) -> LabelledScene:
    return LabelledScene(name=name, faces=(), stated=None, original=None, contents=contents)


def _rows(data: bytes, table: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Where it stands, and the row."""
    try:
        reader = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
        names = [n.strip() for n in reader.fieldnames or ()]
        missing = [n for n in ("image", *_CORNERS) if n not in names]
        if missing:
            raise DataError(
                f"{table} has no column {', '.join(missing)}; it has {', '.join(names) or 'none'}.",
                _FORM,
            )
        reader.fieldnames = names
        for row in reader:
            whole = {k: (v or "").strip() for k, v in row.items() if k is not None}
            yield f"{table}, line {reader.line_num}", whole
    except (UnicodeDecodeError, csv.Error) as err:
        raise DataError(f"{table} is not a readable csv ({err}).", _FORM) from err


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    face: LabelledBox | None
    stated: tuple[float, float] | None
    original: tuple[float, float] | None


def _row(row: Mapping[str, str]) -> _Row:
    """One line of the table; ValueError says what is wrong with it."""
    stated, original = (
        (_number(row, w), _number(row, h)) if row.get(w) and row.get(h) else None
        for w, h in (_SIZES[:2], _SIZES[2:])
    )
    if any(min(size) < 1 for size in (stated, original) if size):
        raise ValueError("a size is below 1")
    if all(row[c] == "" for c in _CORNERS) or not any(_number(row, c) for c in _CORNERS):
        return _Row(face=None, stated=stated, original=original)
    x1, y1, x2, y2 = (_number(row, c) for c in _CORNERS)
    if not (x2 > x1 and y2 > y1):
        raise ValueError(f"the box from ({x1:g}, {y1:g}) to ({x2:g}, {y2:g}) is empty")
    if x2 <= 0 or y2 <= 0 or (stated and (x1 >= stated[0] or y1 >= stated[1])):
        raise ValueError("the box lies outside the picture")
    points = [n[:-2] for n in row if n.endswith("_x") and f"{n[:-2]}_y" in row]
    known = {*_CORNERS, *_SIZES, "image", "ignore", *(f"{p}_{a}" for p in points for a in "xy")}
    labelled = bool(points) and all(row[f"{p}_{a}"] for p in points for a in "xy")
    face = LabelledBox(
        box=Box(x=x1, y=y1, w=x2 - x1, h=y2 - y1),
        ignore=row.get("ignore", "") not in ("", "0"),
        keypoints=tuple((_number(row, f"{p}_x"), _number(row, f"{p}_y")) for p in points)
        if labelled
        else None,
        attributes={k: v for k, v in row.items() if k not in known},
    )
    return _Row(face=face, stated=stated, original=original)


def _number(row: Mapping[str, str], column: str) -> float:
    try:
        value = float(row[column])
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{column} is {row[column]!r}, no number")
    return value


def _frame(picture: Image, name: str) -> Frame:
    colour = picture if picture.ndim == 3 else None
    return Frame(luma=luma_of(picture), colour=colour, t_ns=0, sequence=0, source=name)
