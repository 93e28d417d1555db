"""Faces as the deployed detector finds and cuts them, to calibrate with; they need no labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from edge_fer.contract import InputSpec
from edge_fer.errors import DataError
from edge_fer.evaluation.scenes import archive_files
from edge_fer.pictures import PICTURE_SUFFIXES, decode_picture, luma_of
from edge_fer.preprocess import crop
from edge_fer.types import Detector, Frame, Image

__all__ = ["crops_from_scenes"]


def crops_from_scenes(
    path: Path,
    detector: Detector,
    spec: InputSpec,
    *,
    on_done: Callable[[int], None] = lambda done: None,
) -> Image:
    """Every face that a detector finds in some pictures, as the model would see it.

    What is no picture, or cannot be read, is passed over.

    Args:
        path: a zip or folder of pictures.
        detector: the one that will be deployed.
        spec: the model's input.
        on_done: told how many files have been looked at.

    Returns:
        ``uint8[N, height, width, channels]``, in the order of the names.

    Raises:
        DataError: not a zip or folder, or no face was found.
    """
    crops: list[Image] = []
    scenes = 0
    for done, (name, data) in enumerate(archive_files(path), 1):
        picture = decode_picture(data) if Path(name).suffix.lower() in PICTURE_SUFFIXES else None
        if picture is not None:
            frame = Frame(
                luma=luma_of(picture),
                colour=picture if picture.ndim == 3 else None,
                t_ns=0,
                sequence=scenes,
                source=name,
            )
            faces = detector.detect(frame)
            crops += [crop(frame, detector.face_square(face), spec) for face in faces]
            scenes += 1
        on_done(done)
    if not crops:
        raise DataError(
            f"The detector finds no face in the {scenes} readable pictures of {path}.",
            "Give scenes with faces, or calibrate without scenes.",
        )
    return np.stack(crops)
