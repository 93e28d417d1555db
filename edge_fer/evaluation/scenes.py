"""Pictures without faces: crops of them tell how often a model names what is none."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np

from edge_fer.contract import InputSpec
from edge_fer.errors import DataError
from edge_fer.pictures import PICTURE_SUFFIXES
from edge_fer.preprocess import fit, sample
from edge_fer.types import Image, Square

__all__ = ["archive_files", "is_test_scene", "non_face_crops", "scene_crop", "split_scenes"]

_PER_SCENE = 20
_SMALLEST = 20


def archive_files(path: Path) -> Iterator[tuple[str, bytes]]:
    """Name and contents of every file in a zip or folder, by name.

    Raises:
        DataError: it is neither, or cannot be read.
    """
    try:
        if path.is_dir():
            for file in sorted(p for p in path.rglob("*") if p.is_file()):
                yield file.relative_to(path).as_posix(), file.read_bytes()
            return
        with zipfile.ZipFile(path) as archive:
            for name in sorted(archive.namelist()):
                if not name.endswith("/"):
                    yield name, archive.read(name)
    except (OSError, zipfile.BadZipFile) as err:
        raise DataError(
            f"{path} cannot be read: {err}.", "Give a zip file or a folder of pictures."
        ) from err


def is_test_scene(data: bytes) -> bool:
    """Whether a scene is kept from training: its file's sha256 begins with a byte below 0x55."""
    return hashlib.sha256(data).digest()[0] < 0x55


def split_scenes(files: dict[str, bytes]) -> tuple[list[Image], list[Image]]:
    """The pictures among some files, ``uint8[H, W]`` luma: those for training, those for testing.

    What is no picture, and pictures too small to crop from, are passed over.
    """
    training: list[Image] = []
    testing: list[Image] = []
    for name, data in files.items():
        if Path(name).suffix.lower() not in PICTURE_SUFFIXES:
            continue
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
        if picture is not None and min(picture.shape) > _SMALLEST:
            (testing if is_test_scene(data) else training).append(np.asarray(picture, np.uint8))
    return training, testing


def scene_crop(scene: Image, spec: InputSpec, rng: np.random.Generator) -> Image:
    """A random square of a scene ``uint8[H, W]``: ``uint8[height, width, channels]``."""
    height, width = scene.shape[:2]
    side = float(np.exp(rng.uniform(np.log(_SMALLEST), np.log(min(height, width)))))
    where = Square(
        cx=rng.uniform(side / 2, width - side / 2),
        cy=rng.uniform(side / 2, height - side / 2),
        side=side,
    )
    luma = spec.model_copy(update={"channels": 1, "colour": "gray"})
    return fit(sample(scene, where, luma)[:, :, 0], spec)


def non_face_crops(scenes: Sequence[Image], spec: InputSpec) -> Image | None:
    """Twenty crops of each scene, ``uint8[N, height, width, channels]``; None without scenes."""
    if not scenes:
        return None
    rng = np.random.default_rng(0)
    return np.stack([scene_crop(s, spec, rng) for s in scenes for _ in range(_PER_SCENE)])
