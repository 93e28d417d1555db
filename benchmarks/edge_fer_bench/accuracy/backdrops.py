"""What labelled faces are pasted into: a user's pictures without faces, or generated ones."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePath

from edge_fer.errors import DataError
from edge_fer.evaluation.boxes import LabelledScene, read_scenes
from edge_fer.evaluation.composites import generated_scenes
from edge_fer.evaluation.robustness import REPORT_SEED

__all__ = ["Backdrops", "backdrops"]

_GENERATED = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class Backdrops:
    """What faces are pasted into.

    Attributes:
        path: of the pictures; None: they are generated.
        sha256: of the pictures; None of generated ones, which come from a fixed seed.
        scenes: without faces.
    """

    path: str | None
    sha256: str | None
    scenes: tuple[LabelledScene, ...]

    @property
    def words(self) -> str:
        """What they are, in a few words."""
        if self.path is None:
            return f"{len(self.scenes)} generated backgrounds"
        scenes = "1 scene" if len(self.scenes) == 1 else f"{len(self.scenes):,} scenes"
        return f"{scenes} of {PurePath(self.path).name}"


def backdrops(path: Path | None) -> Backdrops:
    """Scenes from a zip or folder of pictures without faces, or generated ones.

    Raises:
        DataError: missing, damaged, without pictures, or its pictures have faces.
    """
    if path is None:
        scenes = generated_scenes(_GENERATED, REPORT_SEED)
        return Backdrops(path=None, sha256=None, scenes=scenes)
    read = read_scenes(path)
    if read.labelled:
        raise DataError(
            f"{path} has faces: it has a boxes.csv.",
            "Give pictures without faces with --scenes, or leave it out.",
        )
    return Backdrops(path=read.path, sha256=read.sha256, scenes=read.scenes)
