"""What a detector learns from, read and parted: scenes, face-free pictures, face crops.

Nothing is taught and judged by at the same time. A scene or a crop judges when its sha256 says so;
of face-free pictures those that :mod:`edge_fer.evaluation.scenes` keeps aside are not read at all,
and FER2013's split Training has no row of ``validation`` and no pixel copy of a test row.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_fer.errors import DataError
from edge_fer.evaluation.data import load, pixel_sha256
from edge_fer.evaluation.labels import FERPLUS8
from edge_fer.evaluation.scenes import archive_files, split_scenes
from edge_fer.types import Image
from edge_fer_train.detection.compose import Composer, FaceCrops, Scene
from edge_fer_train.detection.labels import (
    Teacher,
    crop_keypoints,
    labelled_scenes,
    median_square,
)

__all__ = ["Material", "read_material", "sha256_of"]

_FER2013_SQUARE = (0.5, 0.5, 1.0)
# Turned and noisy copies of each other: what judges must have no twin among what teaches.
_COPIES = ("augmented",)
_BLANK = 8.0  # standard deviation below which a crop shows nothing
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """Two disjoint parts, and where they come from.

    Attributes:
        scenes: for learning, and for judging.
        empty: likewise.
        crops: likewise.
        sources: names, sha256 and counts, for the record.
    """

    scenes: tuple[list[Scene], list[Scene]]
    empty: tuple[list[Image], list[Image]]
    crops: tuple[list[FaceCrops], list[FaceCrops]]
    sources: dict[str, Any]

    def composers(self, height: int, width: int) -> tuple[Composer, Composer]:
        """For learning and for judging, of pictures of this size."""
        learning, judging = (
            Composer(
                height=height,
                width=width,
                scenes=self.scenes[part],
                empty=self.empty[part],
                crops=self.crops[part],
            )
            for part in (0, 1)
        )
        return learning, judging


def read_material(
    scenes: Path,
    empty: Path,
    crops: Sequence[Path],
    teacher: Teacher,
    on_progress: Progress = lambda what, done, total: None,
    *,
    leave_out: Sequence[str] = (),
) -> Material:
    """Read and complete the labels; minutes, most of them the teacher's.

    Args:
        scenes: zip or folder with ``boxes.csv``.
        empty: zip or folder of pictures without faces.
        crops: FER2013 (csv or npz), or an npz with ``images uint8[N, S, S]`` of aligned faces.
        teacher: see :mod:`edge_fer_train.detection.labels`.
        on_progress: told what is done, how much of it, of how much.
        leave_out: names of pictures in ``empty`` that show faces after all.

    Raises:
        DataError: a file cannot be read, or holds too little to part.
    """
    parted: tuple[list[Scene], list[Scene]] = ([], [])
    told = labelled_scenes(scenes, teacher, lambda d, n: on_progress("labelling scenes", d, n))
    for digest, scene in told:
        judges = int(digest[:8], 16) % 10 == 0 and scene.source not in _COPIES
        parted[judges].append(scene)
    files = {n: data for n, data in archive_files(empty) if Path(n).name not in leave_out}
    pictures = split_scenes(files).teaching
    free: tuple[list[Image], list[Image]] = ([], [])
    for picture, digest in zip(pictures, pixel_sha256(pictures), strict=True):
        free[int(digest[8:16], 16) % 10 == 0].append(picture)
    cut: tuple[list[FaceCrops], list[FaceCrops]] = ([], [])
    for path in crops:
        for part, kind in enumerate(_crops(path, teacher, on_progress)):
            cut[part].append(kind)
    counts = {
        "scenes with faces": [len(part) for part in parted],
        "face-free pictures": [len(part) for part in free],
        "face crops": [min((len(c.images) for c in part), default=0) for part in cut],
    }
    for name, each in counts.items():
        if not all(each):
            raise DataError(
                f"{sum(each)} {name} are too few to learn and judge by.", "Give a few dozen."
            )
    return Material(
        scenes=parted,
        empty=free,
        crops=cut,
        sources={
            "files": {p.name: sha256_of(p) for p in (scenes, empty, *crops)},
            "scenes": [len(part) for part in parted],
            "faces": [sum(len(s.truth) for s in part) for part in parted],
            "masked": [sum(int(s.masked.sum()) for s in part) for part in parted],
            "face_free": [len(part) for part in free],
            "left_out": sorted(leave_out),
            "crops": [[len(c.images) for c in part] for part in cut],
        },
    )


def _crops(path: Path, teacher: Teacher, on_progress: Progress) -> tuple[FaceCrops, FaceCrops]:
    images, square = _images(path)
    points = crop_keypoints(
        list(images), teacher, lambda d, n: on_progress(f"keypoints of {path.name}", d, n)
    )
    square = square or median_square(points)
    judging = np.array([int(h[8:16], 16) % 20 == 0 for h in pixel_sha256(images)])

    def part(chosen: NDArray[np.bool_]) -> FaceCrops:
        return FaceCrops(images=images[chosen], keypoints=points[chosen], square=square, weight=1.0)

    return part(~judging), part(judging)


def _images(path: Path) -> tuple[Image, tuple[float, float, float] | None]:
    """``uint8[N, S, S]``, and FER2013's square in them where it is known."""
    if path.suffix == ".npz":
        try:
            with np.load(path) as stored:
                if "emotion" not in stored and "images" in stored:
                    return np.asarray(stored["images"], np.uint8), None
        except (OSError, ValueError, zipfile.BadZipFile) as err:
            raise DataError(f"{path} cannot be read: {err}.", "Give a whole copy of it.") from err
    faces = load(path, FERPLUS8, split="Training")
    return np.stack([i for i in faces.images if i.std() > _BLANK]), _FER2013_SQUARE


def sha256_of(path: Path) -> str:
    """Of a file, or of the names and contents in a folder."""
    if path.is_file():
        return hashlib.sha256(path.read_bytes()).hexdigest()
    whole = hashlib.sha256()
    for name, data in archive_files(path):
        whole.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
    return whole.hexdigest()
