"""Scenes that calibrate a detector: letterboxed as the device does it, whole and in parts.

A detector sees whole frames, and regions around faces that are known; a face is small in the one
and fills the other. So two scenes of three are shown whole, and the third is cut. More cuts, and
deeper ones, widen the ranges with blurred close-ups and cost precision on small faces (measured on
blazeface-full). The order is that of the scenes' sha256, and so is the place of the cut: nothing
is random.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edge_fer.contract import Calibration, InputSpec
from edge_fer.detectors.letterbox import letterbox
from edge_fer.errors import DataError
from edge_fer.evaluation.scenes import archive_files
from edge_fer.pictures import PICTURE_SUFFIXES, decode_picture, luma_of
from edge_fer.types import Box, Frame, Image

__all__ = ["LetterboxedSet", "Scene", "letterboxed_set", "part_scenes", "read_scenes"]

_WHOLE, _CUT = 1.0, 0.6  # of the scene's sides
_EVERY = 3  # scenes, of which one is cut
_SMALLEST = 16  # pixels: nothing can be seen in a smaller picture
_CHOOSING = 256  # scenes, at most a third of all, that choose and do not calibrate
_LEAST = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A picture file: its name, and the sha256 of its bytes in hex."""

    name: str
    sha256: str
    data: bytes = field(repr=False)

    def frame(self) -> Frame | None:
        """The picture; None where it cannot be read, or is smaller than 16 pixels."""
        picture = decode_picture(self.data)
        if picture is None or min(picture.shape[:2]) < _SMALLEST:
            return None
        return Frame(
            luma=luma_of(picture),
            colour=picture if picture.ndim == 3 else None,
            t_ns=0,
            sequence=0,
            source=self.name,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LetterboxedSet:
    """Pictures as the detector sees them.

    Attributes:
        pixels: ``uint8[N, height, width, channels]``.
        source: the zip or folder.
        scenes: sha256 of the scene behind each picture, in hex.
        views: share of the scene's sides that each picture shows.
        wanted: how many pictures were asked for.
    """

    pixels: Image = field(repr=False)
    source: str
    scenes: tuple[str, ...]
    views: tuple[float, ...]
    wanted: int

    @property
    def sha256(self) -> str:
        """Over all pixels, in hex."""
        return hashlib.sha256(np.ascontiguousarray(self.pixels).tobytes()).hexdigest()

    @property
    def record(self) -> Calibration:
        """For the contract."""
        return Calibration(sha256=self.sha256, n=len(self.pixels))

    def manifest(self) -> dict[str, Any]:
        """For the report: enough to make the same set again from the same scenes."""
        return {
            "source": self.source,
            "sha256": self.sha256,
            "n": len(self.pixels),
            "wanted": self.wanted,
            "rule": f"scenes by their sha256, every third cut to {100 * _CUT:.0f} % of its sides, "
            "letterboxed; nothing random",
            "pictures": [
                {"scene": scene, "view": view}
                for scene, view in zip(self.scenes, self.views, strict=True)
            ],
        }


def read_scenes(path: Path) -> tuple[Scene, ...]:
    """The picture files of a zip or folder, in the order of their sha256, copies left out.

    Raises:
        DataError: neither, or it cannot be read.
    """
    found: dict[str, Scene] = {}
    for name, data in archive_files(path):
        if Path(name).suffix.lower() in PICTURE_SUFFIXES:
            digest = hashlib.sha256(data).hexdigest()
            found.setdefault(digest, Scene(name=name, sha256=digest, data=data))
    return tuple(found[digest] for digest in sorted(found))


def part_scenes(
    scenes: Sequence[Scene], path: Path, *, kept_out: Iterable[str] = ()
) -> tuple[tuple[Scene, ...], tuple[Scene, ...]]:
    """Two parts without a scene in common: to choose a recipe by, and to calibrate with.

    Args:
        scenes: in the order of their sha256.
        path: where they are from, for the error.
        kept_out: sha256 of scenes that belong to the evaluation, and so to neither.

    Raises:
        DataError: fewer than eight scenes are left that can be read.
    """
    out = frozenset(kept_out)
    usable = [s for s in scenes if s.sha256 not in out and s.frame() is not None]
    if len(usable) < _LEAST:
        raise DataError(
            f"{path} has {len(usable)} scenes that can be read; a detector needs {_LEAST} or more "
            "to calibrate with.",
            "Give a zip or folder of photographs with faces, best several hundred: --data scenes/",
        )
    choosing = min(_CHOOSING, len(usable) // 3)
    return tuple(usable[:choosing]), tuple(usable[choosing:])


def letterboxed_set(
    scenes: Sequence[Scene],
    spec: InputSpec,
    count: int,
    *,
    source: str,
    on_done: Callable[[int], None] = lambda done: None,
) -> LetterboxedSet:
    """Choose pictures to calibrate with.

    Args:
        scenes: readable ones, at least one, in the order of their sha256.
        spec: the model's input.
        count: how many pictures; each scene gives one, and both where there are too few scenes.
        source: the name of the zip or folder.
        on_done: told how many pictures there are.
    """
    pictures: list[Image] = []
    digests: list[str] = []
    views: list[float] = []
    for again in (False, True):
        for place, scene in enumerate(scenes):
            if len(pictures) == count:
                break
            cut = (place % _EVERY == _EVERY - 1) != again
            view = _CUT if cut else _WHOLE
            frame = scene.frame()
            if frame is None:
                continue
            pictures.append(letterbox(frame, spec, _region(frame, scene, view))[0])
            digests.append(scene.sha256)
            views.append(view)
            on_done(len(pictures))
    return LetterboxedSet(
        pixels=np.stack(pictures),
        source=source,
        scenes=tuple(digests),
        views=tuple(views),
        wanted=count,
    )


def _region(frame: Frame, scene: Scene, view: float) -> Box | None:
    """A part of the scene, at a place that its hash says; None for all of it."""
    if view == _WHOLE:
        return None
    across, down = (int(scene.sha256[i : i + 4], 16) / 0xFFFF for i in (0, 4))
    wide, high = view * frame.width, view * frame.height
    return Box(x=across * (frame.width - wide), y=down * (frame.height - high), w=wide, h=high)
