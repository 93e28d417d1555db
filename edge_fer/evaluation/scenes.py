"""Pictures without faces: crops of them tell how often a model names what is none."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge_fer.contract import InputSpec
from edge_fer.errors import DataError
from edge_fer.pictures import PICTURE_SUFFIXES, decode_luma
from edge_fer.preprocess import fit, sample
from edge_fer.types import Image, Square

__all__ = [
    "Scenes",
    "archive_files",
    "kept_aside",
    "non_face_crops",
    "scene_crop",
    "split_scenes",
]

_PER_SCENE = 20
_SMALLEST = 20
_ASIDE = 0x55


def kept_aside(data: bytes) -> bool:
    """Whether a scene is kept from all training: the sha256 of its file begins below 0x55."""
    return hashlib.sha256(data).digest()[0] < _ASIDE


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenes:
    """Pictures ``uint8[H, W]`` luma for three uses, parted by the sha256 of their files.

    A first byte below 0x55 keeps a scene from ``teaching``; of those, even ones are for
    ``choosing`` a threshold and odd ones for ``reporting`` what it does.
    """

    teaching: list[Image]
    choosing: list[Image]
    reporting: list[Image]


def split_scenes(files: dict[str, bytes]) -> Scenes:
    """The pictures among some files; what is none, or too small to crop from, is passed over."""
    found = Scenes(teaching=[], choosing=[], reporting=[])
    for name, data in files.items():
        if Path(name).suffix.lower() not in PICTURE_SUFFIXES:
            continue
        picture = decode_luma(data)
        if picture is not None and min(picture.shape) > _SMALLEST:
            odd = hashlib.sha256(data).digest()[0] % 2
            aside = found.reporting if odd else found.choosing
            (aside if kept_aside(data) else found.teaching).append(picture)
    return found


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
