"""Pictures that no expression can be read from, so that the model learns to be unsure of them.

Outlier exposure (Hendrycks et al., arXiv:1812.04606): what is no readable face is given the even
distribution as its target. The less a corruption leaves to see, the more of the target is
even; then one threshold on the largest probability tells the readable from the rest.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from edge_fer.contract import InputSpec
from edge_fer.errors import DataError
from edge_fer.evaluation.corruptions import CORRUPTIONS, noise
from edge_fer.evaluation.labels import plurality
from edge_fer.evaluation.readers import Rows
from edge_fer.evaluation.scenes import archive_files, scene_crop, split_scenes
from edge_fer.pictures import decode_luma
from edge_fer.preprocess import displaced, fit
from edge_fer.types import Image

__all__ = ["Outliers", "read_outliers"]

# A masked face's box ends at the chin and spans the cheeks: FER2013's crop is about as wide.
_BOX_TO_SQUARE = 1.05
_SMALLEST_BOX = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Outliers:
    """What outliers are made from.

    Attributes:
        scenes: luma ``uint8[H, W]`` without faces; non-face crops are cut from them.
        crops: face crops that cannot be read: masked ones, and rows that the crowd voted
            unknown or not a face.
        choosing_scenes: scenes kept aside for choosing ``unknown``; never taught.
        sources: names and hashes of the files, for the record.
    """

    scenes: Sequence[Image] = ()
    crops: Sequence[Image] = ()
    choosing_scenes: Sequence[Image] = ()
    sources: tuple[tuple[str, str], ...] = ()

    def one(
        self,
        face: Image,
        target: NDArray[np.float32],
        spec: InputSpec,
        rng: np.random.Generator,
    ) -> tuple[Image, NDArray[np.float32]]:
        """An outlier, perhaps made of a training face.

        Args:
            face: ``uint8[height, width, channels]``, as the model sees it.
            target: ``float32[C]``, what the face is.
            spec: the model's input.
            rng: decides.

        Returns:
            ``uint8[height, width, channels]`` and ``float32[C]``.
        """
        kinds = ["noise", "wrong_crop", "turned", "covered_mouth", "dark_glasses", "dark_noise"]
        kinds += ["scene"] * (2 if self.scenes else 0) + ["crop"] * (1 if self.crops else 0)
        kind = str(rng.choice(kinds))
        readable, strength = 0.0, float(rng.uniform(0.5, 3))
        if kind == "noise":
            face = noise(1, spec, rng)[0]
        elif kind == "scene":
            face = scene_crop(self.scenes[int(rng.integers(len(self.scenes)))], spec, rng)
        elif kind == "crop":
            face = fit(self.crops[int(rng.integers(len(self.crops)))], spec)
        elif kind == "wrong_crop":
            face = _wrong_crop(face, spec, rng)
        elif kind == "turned":
            face = displaced(face, spec, roll_deg=rng.uniform(55, 305))
        else:
            face = CORRUPTIONS[kind](face, strength, spec, rng)
            readable = {
                "covered_mouth": 0.3,
                "dark_glasses": 0.6,
                "dark_noise": max(0.0, 1 - strength / 3),
            }[kind]
        even = np.full_like(target, 1 / len(target))
        return face, readable * target + (1 - readable) * even


def _wrong_crop(face: Image, spec: InputSpec, rng: np.random.Generator) -> Image:
    """A piece of a face, or one mostly outside the square."""
    if rng.random() < 0.5:
        zoom, shift = rng.uniform(0.22, 0.42), rng.uniform(0.1, 0.3)
    else:
        zoom, shift = rng.uniform(0.8, 1.3), rng.uniform(0.5, 0.8)
    angle = rng.uniform(0, 2 * np.pi)
    return displaced(face, spec, shift=(shift * np.cos(angle), shift * np.sin(angle)), zoom=zoom)


def read_outliers(rows: Rows, unused: NDArray[np.int64], paths: Sequence[Path]) -> Outliers:
    """Collect what outliers are made from.

    Args:
        rows: the training data; rows voted unknown or not a face are taken from it.
        unused: the row numbers of split Training that are taught as no expression.
        paths: zip files or folders of pictures. With a ``boxes.csv`` (image, x1, y1, x2, y2,
            class), its ``with_mask`` boxes are faces that cannot be read; without, the
            pictures show no face.

    Raises:
        DataError: a path has no readable picture, or its table lacks a column.
    """
    scenes: list[Image] = []
    aside: list[Image] = []
    crops = [rows.images[i] for i in unused.tolist() if _voted_unreadable(rows, i)]
    sources = []
    for path in paths:
        files = dict(archive_files(path))
        table = next((data for name, data in files.items() if name.endswith("boxes.csv")), None)
        if table is not None:
            masked = list(_masked_faces(path, table, files))
            crops += masked
            found = len(masked)
        else:
            parts = split_scenes(files)
            scenes += parts.teaching
            aside += parts.choosing
            found = len(parts.teaching) + len(parts.choosing) + len(parts.reporting)
        if not found:
            raise DataError(
                f"{path} has no picture that outliers could be made from.",
                "Give a zip file or folder of pictures without faces, or one with boxes.csv.",
            )
        whole = hashlib.sha256()
        for name in sorted(files):
            whole.update(name.encode() + b"\0" + hashlib.sha256(files[name]).digest())
        sources.append((path.name, whole.hexdigest()))
    return Outliers(scenes=scenes, crops=crops, choosing_scenes=aside, sources=tuple(sources))


def _voted_unreadable(rows: Rows, i: int) -> bool:
    return rows.votes is not None and int(plurality(rows.votes[i : i + 1])[0]) < 0


def _masked_faces(path: Path, table: bytes, files: dict[str, bytes]) -> Iterator[Image]:
    by_name = {Path(name).name: data for name, data in files.items()}
    try:
        wanted = [
            (row["image"], [float(row[k]) for k in ("x1", "y1", "x2", "y2")])
            for row in csv.DictReader(io.StringIO(table.decode()))
            if row["class"] == "with_mask"
        ]
    except (KeyError, ValueError) as err:
        raise DataError(
            f"boxes.csv in {path} is not what was expected: {err!r}.",
            "Its columns are image, x1, y1, x2, y2 (pixels) and class.",
        ) from err
    decoded: tuple[str, Image | None] = ("", None)
    for name, (x1, y1, x2, y2) in wanted:
        if min(x2 - x1, y2 - y1) < _SMALLEST_BOX or name not in by_name:
            continue
        if decoded[0] != name:
            decoded = (name, decode_luma(by_name[name]))
        if decoded[1] is not None:
            side = max(x2 - x1, y2 - y1) * _BOX_TO_SQUARE
            yield _cut(decoded[1], (x1 + x2) / 2, (y1 + y2) / 2, side)


def _cut(picture: Image, cx: float, cy: float, side: float) -> Image:
    """The square at its own resolution, border replicated."""
    pixels = max(8, round(side))
    moved = np.array([[1.0, 0.0, pixels / 2 - cx], [0.0, 1.0, pixels / 2 - cy]])
    cut = cv2.warpAffine(picture, moved, (pixels, pixels), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(cut, np.uint8)
